//! Rows go through their transitions; what each column becomes is the table of the policies.

use super::*;
use crate::sink::policy::Transition;

const ROW: [(&str, Type); 2] = [("id", Type::Text), ("v", Type::Int)];

fn row(value: Value) -> Vec<Value> {
    vec![text("a"), value]
}

/// What is written under `columns.v`.
type Fields = &'static [(&'static str, &'static str)];

/// Insert 5, update to 3, then to null, then to 7, retract, reopen with 1: the value after each.
fn life(fields: Fields) -> Vec<String> {
    let mut fixture = Fixture::new(&ROW, &["id"]).column("v", fields);
    fixture = fixture.on_retract("mark");
    let mut seen = Vec::new();
    for value in [int(5), int(3), Value::Null, int(7)] {
        fixture.tell(&[row(value)], &[]);
        seen.extend(fixture.query("SELECT v FROM t"));
    }
    fixture.tell(&[], &[vec![text("a")]]);
    seen.extend(fixture.query("SELECT v FROM t"));
    fixture.tell(&[row(int(1))], &[]);
    seen.extend(fixture.query("SELECT v FROM t"));
    seen
}

#[test]
fn each_policy_has_its_value_at_each_transition() {
    let cases: [(Fields, [&str; 6]); 9] = [
        (&[], ["5", "3", "null", "7", "7", "1"]),
        (
            &[("policy", "overwrite")],
            ["5", "3", "null", "7", "7", "1"],
        ),
        (&[("policy", "keep")], ["5", "5", "5", "5", "5", "5"]),
        (&[("policy", "sticky")], ["5", "5", "5", "7", "7", "7"]),
        (&[("policy", "set-once")], ["5", "5", "5", "5", "5", "5"]),
        (
            &[("policy", "keep"), ("reopen", "new.v * 10")],
            ["5", "5", "5", "5", "5", "10"],
        ),
        (&[("retract", "null")], ["5", "3", "null", "7", "null", "1"]),
        (
            &[("insert", "coalesce(old.v, -1)"), ("update", "old.v + 1")],
            // An expression of its own value always differs, so each update is written.
            ["-1", "0", "1", "2", "2", "1"],
        ),
        (
            &[("retract", "coalesce(new.v, old.v + 100)")],
            ["5", "3", "null", "7", "107", "1"],
        ),
    ];
    for (fields, values) in cases {
        assert_eq!(life(fields), values, "{fields:?}");
    }
}

#[test]
fn a_value_that_was_null_is_set_once_and_the_greater_one_sticks_for_every_type() {
    let types = [
        (Type::Text, text("N"), text("Y")),
        (Type::Bool, Value::Bool(false), Value::Bool(true)),
        (
            Type::Float,
            Value::Float(f64::NEG_INFINITY),
            Value::Float(-1.5),
        ),
        (Type::Date, Value::Date(-3), Value::Date(4)),
        (Type::Timestamp, Value::Timestamp(-3), Value::Timestamp(4)),
    ];
    for (ty, small, great) in types {
        let columns = [("id", Type::Text), ("once", ty), ("sticky", ty)];
        let mut fixture = Fixture::new(&columns, &["id"])
            .column("once", &[("policy", "set-once")])
            .column("sticky", &[("policy", "sticky")]);
        for value in [&Value::Null, &small, &great, &small, &Value::Null] {
            fixture.tell(&[vec![text("a"), value.clone(), value.clone()]], &[]);
        }
        assert_eq!(fixture.live().0, [vec![text("a"), small, great]]);
    }
}

#[test]
fn stamps_of_the_sink_alone_follow_the_pinned_now_and_cause_no_write() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .column("created", &[("type", "timestamp"), ("insert", "now()")])
        .column("changed", &[("type", "timestamp"), ("update", "now()")])
        .column(
            "resolved",
            &[
                ("type", "timestamp"),
                ("reopen", "null"),
                ("retract", "now()"),
            ],
        )
        .column("note", &[("type", "text")]);
    let all = "SELECT v, substr(created, 12, 2), substr(changed, 12, 2), substr(resolved, 12, 2),
               note, _tidemill_live FROM t";
    let seen = |fixture: &mut Fixture, cells: &[Vec<Value>], retracted: &[Vec<Value>]| {
        fixture.hour += 1;
        let counted = counts(&fixture.tell(cells, retracted));
        (counted, fixture.query(all).join("; "))
    };
    let id = || vec![text("a")];
    let told = seen(&mut fixture, &[row(int(1))], &[]);
    assert_eq!(told, ([1, 0, 0, 0, 0], "1 01 null null null 1".into()));
    let told = seen(&mut fixture, &[row(int(1))], &[]);
    assert_eq!(told, ([0, 0, 0, 0, 1], "1 01 null null null 1".into()));
    let told = seen(&mut fixture, &[row(int(2))], &[]);
    assert_eq!(told, ([0, 1, 0, 0, 0], "2 01 03 null null 1".into()));
    fixture.execute("UPDATE t SET note = 'mine'");
    let told = seen(&mut fixture, &[], &[id()]);
    assert_eq!(told, ([0, 0, 0, 1, 0], "2 01 03 04 mine 0".into()));
    let told = seen(&mut fixture, &[], &[id()]);
    assert_eq!(told, ([0, 0, 0, 0, 1], "2 01 03 04 mine 0".into()));
    // The same values come back: a row that was retracted is written all the same.
    let told = seen(&mut fixture, &[row(int(2))], &[]);
    assert_eq!(told, ([0, 0, 1, 0, 0], "2 01 03 null mine 1".into()));
}

#[test]
fn a_delete_sink_deletes_and_an_ignore_sink_leaves_what_it_has() {
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.tell(&[row(int(1))], &[]);
    assert_eq!(
        counts(&fixture.tell(&[], &[vec![text("a")]])),
        [0, 0, 0, 1, 0]
    );
    assert_eq!(fixture.query("SELECT * FROM t"), [] as [&str; 0]);
    assert_eq!(
        counts(&fixture.tell(&[], &[vec![text("a")]])),
        [0, 0, 0, 0, 1]
    );

    let mut fixture = Fixture::new(&ROW, &["id"]).on_retract("ignore");
    fixture.tell(&[row(int(1))], &[]);
    assert_eq!(
        counts(&fixture.tell(&[], &[vec![text("a")]])),
        [0, 0, 0, 0, 1]
    );
    assert_eq!(fixture.query("SELECT * FROM t"), ["a 1"]);
    assert_eq!(counts(&fixture.tell(&[row(int(1))], &[])), [0, 0, 0, 0, 1]);
    assert_eq!(counts(&fixture.tell(&[row(int(2))], &[])), [0, 1, 0, 0, 0]);
}

#[test]
fn a_row_that_moves_to_another_owner_says_so_in_the_table() {
    let mut fixture = Fixture::new(&ROW, &["id"]).on_retract("mark");
    fixture.schema = schema(&ROW);
    let mut updates = fixture.updates(&[row(int(1))], &[]);
    fixture.tell_updates(&updates);
    assert_eq!(fixture.live().1, [Some("a".to_owned())]);
    updates.owners = vec![Key::of("b")];
    assert_eq!(counts(&fixture.tell_updates(&updates).0), [0, 1, 0, 0, 0]);
    assert_eq!(fixture.live().1, [Some("b".to_owned())]);
    assert_eq!(counts(&fixture.tell_updates(&updates).0), [0, 0, 0, 0, 1]);
}

#[test]
fn changes_say_what_was_done() {
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.tell(&[row(int(1))], &[]);
    let mut updates = fixture.updates(&[vec![text("b"), int(2)]], &[vec![text("a")]]);
    updates.owners = vec![Key::of("k")];
    let (_, changes) = fixture.tell_updates(&updates);
    let retracted = Change {
        id: RowId::of(&[text("a")]),
        owner: Key::of("a"),
        transition: Transition::Retract,
        old: Some(row(int(1))),
        new: None,
    };
    let inserted = Change {
        id: RowId::of(&[text("b")]),
        owner: Key::of("k"),
        transition: Transition::Insert,
        old: None,
        new: Some(vec![text("b"), int(2)]),
    };
    assert_eq!(changes, [retracted, inserted]);
}

/// The status of the visit conflicts: set by people, deleted, missed, reopened.
fn pairs() -> Fixture {
    let columns = [
        ("VisitID", Type::Int),
        ("ConVisitID", Type::Int),
        ("IsMissed", Type::Bool),
        ("SameSchTimeFlag", Type::Text),
    ];
    Fixture::new(&columns, &["VisitID", "ConVisitID"])
        .column("SameSchTimeFlag", &[("policy", "sticky")])
        .column(
            "StatusFlag",
            &[
                ("type", "text"),
                ("insert", "case when new.IsMissed then 'R' else 'N' end"),
                (
                    "update",
                    "case when old.StatusFlag in ('W', 'I') then old.StatusFlag
                          when new.IsMissed then 'R'
                          when old.IsMissed then 'U'
                          else old.StatusFlag end",
                ),
                (
                    "reopen",
                    "case when old.StatusFlag in ('W', 'I') then old.StatusFlag
                          when new.IsMissed then 'R' else 'U' end",
                ),
                (
                    "retract",
                    "case when old.StatusFlag in ('W', 'I') then old.StatusFlag
                          when gone.VisitID is not null or con_gone.VisitID is not null then 'D'
                          else 'R' end",
                ),
            ],
        )
        .lookup("gone", &[("VisitID", Type::Int)], &[("VisitID", "VisitID")])
        .lookup(
            "con_gone",
            &[("VisitID", Type::Int)],
            &[("old.ConVisitID", "VisitID")],
        )
}

#[test]
fn the_status_of_a_pair_follows_its_life() {
    let pair = |id: i64, missed: bool, flag: &str| {
        vec![int(id), int(id + 100), Value::Bool(missed), text(flag)]
    };
    let mut fixture = pairs();
    let all = "SELECT VisitID, StatusFlag, SameSchTimeFlag, _tidemill_live FROM t ORDER BY 1";
    let cells: Vec<_> = (1..=7).map(|id| pair(id, id == 2, "N")).collect();
    fixture.tell(&cells, &[]);
    let expected = [
        "1 N N 1", "2 R N 1", "3 N N 1", "4 N N 1", "5 N N 1", "6 N N 1", "7 N N 1",
    ];
    assert_eq!(fixture.query(all), expected);

    fixture.execute("UPDATE t SET StatusFlag = 'W' WHERE VisitID = 3");
    fixture.execute("UPDATE t SET StatusFlag = 'I' WHERE VisitID = 4");
    // 1 becomes missed, 2 is no longer, people's words stay, and a flag goes up and not down.
    fixture.tell(
        &[
            pair(1, true, "Y"),
            pair(2, false, "N"),
            pair(3, true, "Y"),
            pair(5, false, "Y"),
        ],
        &[vec![int(4), int(104)]],
    );
    let expected = [
        "1 R Y 1", "2 U N 1", "3 W Y 1", "4 I N 0", "5 N Y 1", "6 N N 1", "7 N N 1",
    ];
    assert_eq!(fixture.query(all), expected);

    // 5 is only no longer yielded; a visit of 6 and the other visit of 7 are deleted. The live
    // pair 1 has a deleted visit too, and stays live as long as the rules yield it.
    fixture.look_up_in(
        "gone",
        &[vec![int(6)], vec![int(1)], vec![Value::Null], vec![int(6)]],
    );
    fixture.look_up_in("con_gone", &[vec![int(107)]]);
    let retracted: Vec<_> = (5..=7).map(|id| vec![int(id), int(id + 100)]).collect();
    let applied = fixture.tell(&[pair(5, false, "N")][..0], &retracted);
    assert_eq!(counts(&applied), [0, 0, 0, 3, 0]);
    let expected = [
        "1 R Y 1", "2 U N 1", "3 W Y 1", "4 I N 0", "5 R Y 0", "6 D N 0", "7 D N 0",
    ];
    assert_eq!(fixture.query(all), expected);

    // They come back: as reopened, as missed, as what a person said; the flag that stood stays.
    fixture.tell(
        &[pair(4, false, "N"), pair(5, false, "N"), pair(6, true, "N")],
        &[],
    );
    let expected = [
        "1 R Y 1", "2 U N 1", "3 W Y 1", "4 I N 1", "5 U Y 1", "6 R N 1", "7 D N 0",
    ];
    assert_eq!(fixture.query(all), expected);
}

#[test]
fn a_lookup_gives_the_first_match_and_nulls_where_there_is_none() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .column(
            "name",
            &[
                ("type", "text"),
                ("insert", "names.name"),
                ("update", "names.name"),
            ],
        )
        .lookup(
            "names",
            &[("n", Type::Int), ("name", Type::Text)],
            &[("new.v", "n")],
        );
    // Nobody has a name yet.
    fixture.tell(&[row(int(1))], &[]);
    assert_eq!(fixture.query("SELECT name FROM t"), ["null"]);
    let names = [
        (int(1), "one"),
        (int(2), "two"),
        (int(2), "also two"),
        (Value::Null, "nobody"),
    ];
    let names: Vec<_> = names.map(|(n, name)| vec![n, text(name)]).into();
    fixture.look_up_in("names", &names);
    fixture.tell(
        &[
            row(int(2)),
            vec![text("b"), int(3)],
            vec![text("c"), Value::Null],
        ],
        &[],
    );
    assert_eq!(
        fixture.query("SELECT id, name FROM t"),
        ["a two", "b null", "c null"]
    );
}
