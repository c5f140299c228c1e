//! Rows go through their transitions, by statements over sets of them and by policies, and both
//! count what they do.

use operators::sink::policy::Transition;

use super::*;

const ROW: [(&str, Type); 2] = [("id", Type::Text), ("v", Type::Int)];

fn row(id: &str, value: i64) -> Vec<Value> {
    vec![text(id), int(value)]
}

/// Rows that come, and ids of those that go.
type Told<'a> = (&'a [Vec<Value>], &'a [Vec<Value>]);

/// What is written under `columns.v`.
type Fields = &'static [(&'static str, &'static str)];

/// Inserted, updated, left alone, retracted, retracted again, reopened: what each counts, and the
/// table after each.
fn life(mut fixture: Fixture) -> Vec<([usize; 5], Vec<String>)> {
    let steps: [Told; 6] = [
        (&[row("a", 1), row("b", 1)], &[]),
        (&[row("a", 2), row("b", 1), row("c", 1)], &[]),
        (&[row("a", 2)], &[]),
        (&[], &[vec![text("a")], vec![text("b")]]),
        (&[], &[vec![text("a")], vec![text("z")]]),
        (&[row("a", 2), row("b", 5)], &[]),
    ];
    let mut seen = Vec::new();
    for (rows, retracted) in steps {
        let applied = fixture.tell(rows, retracted);
        let table = fixture.query("SELECT * FROM t ORDER BY 1");
        seen.push((counts(&applied), table));
    }
    seen
}

fn expected(marked: bool) -> Vec<([usize; 5], Vec<String>)> {
    let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    if marked {
        return vec![
            ([2, 0, 0, 0, 0], rows(&["a|1|t", "b|1|t"])),
            ([1, 1, 0, 0, 1], rows(&["a|2|t", "b|1|t", "c|1|t"])),
            ([0, 0, 0, 0, 1], rows(&["a|2|t", "b|1|t", "c|1|t"])),
            ([0, 0, 0, 2, 0], rows(&["a|2|f", "b|1|f", "c|1|t"])),
            ([0, 0, 0, 0, 2], rows(&["a|2|f", "b|1|f", "c|1|t"])),
            ([0, 0, 2, 0, 0], rows(&["a|2|t", "b|5|t", "c|1|t"])),
        ];
    }
    vec![
        ([2, 0, 0, 0, 0], rows(&["a|1", "b|1"])),
        ([1, 1, 0, 0, 1], rows(&["a|2", "b|1", "c|1"])),
        ([0, 0, 0, 0, 1], rows(&["a|2", "b|1", "c|1"])),
        ([0, 0, 0, 2, 0], rows(&["c|1"])),
        ([0, 0, 0, 0, 2], rows(&["c|1"])),
        ([2, 0, 0, 0, 0], rows(&["a|2", "b|5", "c|1"])),
    ]
}

#[test]
fn rows_live_and_are_counted_the_same_by_sets_and_by_policies() {
    let sets = || Fixture::new(&ROW, &["id"]);
    // A policy that says what holds anyway.
    let policies = || sets().column("v", &[("update", "new.v"), ("insert", "new.v")]);
    for fixture in [sets(), policies()] {
        assert_eq!(life(fixture.on_retract("delete")), expected(false));
    }
    for fixture in [sets(), policies()] {
        assert_eq!(life(fixture.on_retract("mark")), expected(true));
    }
}

/// What the table holds decides what becomes of a row, whatever the sink was told of it.
#[test]
fn rows_that_are_taken_for_new_and_are_there_are_updated() {
    let table = "CREATE TABLE t (id text PRIMARY KEY, v bigint); INSERT INTO t VALUES ('z', 9)";
    let fixture = Fixture::new(&ROW, &["id"]).over(table);
    let sink = fixture.sink();
    let mut writer = sink.open(false).unwrap();
    let lookups = sink.lookups(&BTreeMap::new());
    let commits = [
        (vec![row("a", 1), row("b", 1)], [2, 0, 0, 0, 0]),
        (vec![row("b", 1), row("c", 1), row("z", 1)], [1, 1, 0, 0, 1]),
        (vec![row("d", 1)], [1, 0, 0, 0, 0]),
    ];
    for (epoch, (rows, expected)) in (1..).zip(commits) {
        let before = (epoch > 1).then(|| fence(epoch - 1));
        writer.begin(before.as_ref(), &fence(epoch)).unwrap();
        let applied = writer.apply(&fixture.updates(&rows, &[]), &lookups, None);
        assert_eq!(counts(&applied.unwrap()), expected);
        writer.commit().unwrap();
    }
    let rows = fixture.query("SELECT * FROM t ORDER BY 1");
    assert_eq!(rows, ["a|1", "b|1", "c|1", "d|1", "z|1"]);
}

#[test]
fn each_policy_has_its_value_at_each_transition() {
    let cases: [(Fields, [&str; 5]); 5] = [
        (&[], ["5", "3", "7", "7", "1"]),
        (&[("policy", "keep")], ["5", "5", "5", "5", "5"]),
        (&[("policy", "sticky")], ["5", "5", "7", "7", "7"]),
        (
            &[("insert", "coalesce(old.v, -1)"), ("update", "old.v + 1")],
            ["-1", "0", "1", "1", "1"],
        ),
        (
            &[("retract", "coalesce(new.v, old.v + 100)")],
            ["5", "3", "7", "107", "1"],
        ),
    ];
    for (fields, values) in cases {
        let mut fixture = Fixture::new(&ROW, &["id"]).column("v", fields);
        fixture = fixture.on_retract("mark");
        let mut seen = Vec::new();
        let gone = vec![text("a")];
        let steps: [Told; 5] = [
            (&[row("a", 5)], &[]),
            (&[row("a", 3)], &[]),
            (&[row("a", 7)], &[]),
            (&[], &[gone]),
            (&[row("a", 1)], &[]),
        ];
        for (rows, retracted) in steps {
            fixture.tell(rows, retracted);
            seen.extend(fixture.query("SELECT v FROM t"));
        }
        assert_eq!(seen, values, "{fields:?}");
    }
}

#[test]
fn what_people_write_in_a_column_of_theirs_stays() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .column("status", &[("type", "text"), ("insert", "'N'")])
        .on_retract("mark");
    fixture.tell(&[row("a", 1)], &[]);
    fixture.database.sql("UPDATE t SET status = 'W'");
    let applied = fixture.tell(&[row("a", 2)], &[]);
    assert_eq!(counts(&applied), [0, 1, 0, 0, 0]);
    assert_eq!(fixture.query("SELECT v, status FROM t"), ["2|W"]);
    fixture.tell(&[], &[vec![text("a")]]);
    fixture.tell(&[row("a", 2)], &[]);
    assert_eq!(fixture.query("SELECT v, status FROM t"), ["2|W"]);
}

/// Their old cells are not held all at once.
#[test]
fn more_rows_than_go_through_policies_at_once_go_through_them() {
    let columns = [("id", Type::Text), ("v", Type::Int)];
    let mut fixture = Fixture::new(&columns, &["id"])
        .column("v", &[("update", "old.v + new.v")])
        .on_retract("mark");
    let ids = 0..70_000_i64;
    let row = |v: i64| move |id: i64| vec![text(&format!("{id}")), int(v)];
    let rows = |v: i64| ids.clone().map(row(v)).collect::<Vec<_>>();
    let gone: Vec<Vec<Value>> = ids.clone().map(|id| vec![text(&format!("{id}"))]).collect();
    assert_eq!(counts(&fixture.tell(&rows(1), &[])), [70_000, 0, 0, 0, 0]);
    assert_eq!(counts(&fixture.tell(&rows(2), &[])), [0, 70_000, 0, 0, 0]);
    let sum = "SELECT count(*), sum(v), count(*) FILTER (WHERE _tidemill_live) FROM t";
    assert_eq!(fixture.query(sum), ["70000|210000|70000"]);
    assert_eq!(counts(&fixture.tell(&[], &gone)), [0, 0, 0, 70_000, 0]);
    assert_eq!(fixture.query(sum), ["70000|210000|0"]);
}

#[test]
fn changes_tell_rows_before_and_after() {
    let mut fixture = Fixture::new(&ROW, &["id"]).on_retract("delete");
    fixture.tell(&[row("a", 1), row("b", 1)], &[]);
    let updates = fixture.updates(&[row("a", 2), row("c", 3)], &[vec![text("b")]]);
    let mut changes = Vec::new();
    fixture.tell_updates(&updates, Some(&mut changes));
    let told: Vec<_> = changes
        .into_iter()
        .map(|change| (change.transition, change.old, change.new))
        .collect();
    assert_eq!(
        told,
        [
            (Transition::Retract, Some(row("b", 1)), None),
            (Transition::Insert, None, Some(row("c", 3))),
            (Transition::Update, Some(row("a", 1)), Some(row("a", 2))),
        ]
    );
}

#[test]
fn an_owner_stands_beside_a_row_that_does_not_hold_it_and_moves_with_it() {
    for policies in [false, true] {
        let mut fixture = Fixture::new(&[("id", Type::Int), ("v", Type::Int)], &["id"]);
        fixture.schema = fixture.schema.with_key(None);
        if policies {
            fixture = fixture.column("v", &[("update", "new.v")]);
        }
        fixture = fixture.on_retract("delete");
        fixture.tell(&[vec![int(1), int(1)]], &[]);
        let owned = |owner: &str| vec![(vec![int(1), int(1)], Some(owner.to_owned()))];
        assert_eq!(fixture.live(), owned("owner"));
        let mut updates = fixture.updates(&[vec![int(1), int(1)]], &[]);
        updates.owners = vec![Key::of("other")];
        let applied = fixture.tell_updates(&updates, None);
        assert_eq!(counts(&applied), [0, 1, 0, 0, 0]);
        assert_eq!(fixture.live(), owned("other"));
    }
}

#[test]
fn rows_that_are_only_updated_are_not_made_and_stay() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .over("CREATE TABLE t (id text PRIMARY KEY, v bigint, theirs text DEFAULT 'x')")
        .over("INSERT INTO t VALUES ('a', 1), ('b', 1)")
        .write("update-only");
    assert!(!fixture.open().has_rows().unwrap());
    let applied = fixture.tell(&[row("a", 2), row("b", 1), row("c", 3)], &[]);
    assert_eq!(counts(&applied), [0, 1, 0, 0, 2]);
    let applied = fixture.tell(&[], &[vec![text("a")]]);
    assert_eq!(counts(&applied), [0, 0, 0, 0, 1]);
    assert_eq!(
        fixture.query("SELECT * FROM t ORDER BY id"),
        ["a|2|x", "b|1|x"]
    );
}
