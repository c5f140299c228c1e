//! Rows that the server does not take: told without their cells, and all others are there.

use operators::sink::Refused;

use super::*;

const ROW: [(&str, Type); 3] = [("id", Type::Text), ("v", Type::Int), ("w", Type::Text)];

fn row(id: &str, v: i64, w: &str) -> Vec<Value> {
    vec![text(id), int(v), text(w)]
}

/// Tells rows to a table that is made so, by sets, by policies and as entries of a log. Gives the ids of
/// those that are there, and why others are not: the same for all three.
fn told(made: &str, rows: &[Vec<Value>]) -> (Vec<String>, Vec<String>) {
    let [sets, policies, log] = ["sets", "policies", "log"].map(|way| {
        let fixture = Fixture::new(&ROW, &["id"]).over(made);
        let mut fixture = match way {
            "policies" => fixture
                .column("v", &[("update", "new.v")])
                .on_retract("ignore"),
            "log" => fixture.write("append"),
            _ => fixture.on_retract("ignore"),
        };
        let applied = fixture.tell(rows, &[]);
        assert_eq!(applied.inserted + applied.refused.len(), rows.len());
        let there = fixture.query("SELECT id FROM t ORDER BY 1");
        (there, reasons(applied.refused))
    });
    assert_eq!(sets, policies);
    assert_eq!(sets, log);
    sets
}

/// The id of each row and why it was refused.
fn reasons(refused: Vec<Refused>) -> Vec<String> {
    let said = refused
        .into_iter()
        .map(|row| match row.id.values().as_slice() {
            [Value::Text(id), ..] => format!("{id}: {}", row.reason),
            _ => row.reason,
        });
    let mut said: Vec<String> = said.collect();
    said.sort();
    said
}

#[test]
fn what_a_constraint_refuses_is_told_by_its_name() {
    let made = "CREATE TABLE other (v bigint PRIMARY KEY); INSERT INTO other VALUES (1), (2), (3);
                CREATE TABLE t (
                    id text PRIMARY KEY,
                    v bigint CONSTRAINT known REFERENCES other,
                    w text NOT NULL CONSTRAINT short CHECK (length(w) < 4),
                    CONSTRAINT once UNIQUE (v, w) DEFERRABLE INITIALLY DEFERRED
                )";
    let null = vec![text("n"), int(1), Value::Null];
    let rows = [
        row("a", 1, "x"),
        row("b", 7, "x"),
        row("c", 1, "secret"),
        null,
        row("d", 1, "x"),
        row("e", 2, "x"),
    ];
    let (there, refused) = told(made, &rows);
    assert_eq!(there, ["a", "e"]);
    assert_eq!(
        refused,
        [
            "b: it breaks the foreign key `known`",
            "c: it fails the check `short`",
            "d: another row has its values in the unique index `once`",
            "n: column `w` must not be null",
        ]
    );
}

#[test]
fn what_a_column_does_not_hold_is_told_by_its_type() {
    let made = "CREATE TYPE size AS ENUM ('big', 'small');
                CREATE TABLE t (id uuid PRIMARY KEY, v smallint, w size)";
    let id = |digit: u32| format!("00000000-0000-0000-0000-00000000000{digit}");
    let rows = [
        row(&id(1), 1, "big"),
        row(&id(2), 40_000, "big"),
        row(&id(3), 1, "huge"),
        row("078-05-1120", 1, "big"),
        row("AAAAAAAA-0000-0000-0000-000000000000", 1, "small"),
        row(&id(4), -1, "small"),
    ];
    let (there, refused) = told(made, &rows);
    assert_eq!(there, [id(1), id(4)]);
    let says = |id: &str, what: &str| format!("{id}: {what}, which does not hold the value");
    assert_eq!(
        refused,
        [
            says(&id(2), "column `v` is smallint"),
            says(&id(3), "column `w` is size"),
            says("078-05-1120", "column `id` is uuid"),
            says(
                "AAAAAAAA-0000-0000-0000-000000000000",
                "column `id` is uuid"
            ),
        ]
    );
}

#[test]
fn what_no_text_of_the_server_holds_and_what_no_row_is_found_by_is_never_sent() {
    let made = "CREATE TABLE t (id text PRIMARY KEY, v bigint, w text)";
    let null = vec![Value::Null, int(1), text("x")];
    let (there, refused) = told(made, &[row("a", 1, "x"), row("b", 1, "x\0y"), null]);
    assert_eq!(there, ["a"]);
    assert_eq!(
        refused,
        [
            "b: column `w` holds a NUL character, which no text of PostgreSQL does",
            "key column `id` is null, and a row is found by its key",
        ]
    );
}

#[test]
fn a_row_without_a_partition_and_one_that_a_trigger_refuses_or_ignores_is_told() {
    let made = "CREATE TABLE t (id text, v bigint, w text, PRIMARY KEY (id, v))
                PARTITION BY RANGE (v);
                CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)";
    let key = |fixture: Fixture| {
        let mut fixture = fixture;
        fixture.config.key.push("v".into());
        fixture
    };
    let mut fixture = key(Fixture::new(&ROW, &["id"]).over(made));
    let applied = fixture.tell(&[row("a", 1, "x"), row("b", 20, "x")], &[]);
    assert_eq!(applied.inserted, 1);
    assert_eq!(
        reasons(applied.refused),
        ["b: the table has no partition for it"]
    );

    let made = "CREATE TABLE t (id text PRIMARY KEY, v bigint, w text);
                CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF NEW.w = 'bad' THEN RAISE 'no %', NEW.w; END IF;
                    IF NEW.w = 'odd' THEN RETURN NULL; END IF;
                    RETURN NEW;
                END $$;
                CREATE TRIGGER judges BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION judge()";
    let (there, refused) = told(
        made,
        &[
            row("a", 1, "x"),
            row("b", 1, "bad"),
            row("c", 1, "odd"),
            row("d", 1, "x"),
        ],
    );
    assert_eq!(there, ["a", "d"]);
    assert_eq!(
        refused,
        [
            "b: a trigger of the table refused it",
            "c: a trigger or a rule of the table ignored it",
        ]
    );
}

#[test]
fn a_retraction_that_others_hold_on_to_is_refused_and_the_rest_goes() {
    for policies in [false, true] {
        let mut fixture = Fixture::new(&ROW, &["id"]);
        if policies {
            fixture = fixture.column("v", &[("update", "new.v")]);
        }
        let mut fixture = fixture.on_retract("delete");
        fixture.tell(&[row("a", 1, "x"), row("b", 1, "x")], &[]);
        fixture.database.sql(
            "CREATE TABLE child (id text CONSTRAINT parent REFERENCES t);
             INSERT INTO child VALUES ('a')",
        );
        let applied = fixture.tell(&[], &[vec![text("a")], vec![text("b")]]);
        assert_eq!(applied.retracted, 1);
        assert!(applied.refused[0].retraction);
        assert_eq!(
            reasons(applied.refused),
            ["a: it breaks the foreign key `parent`"]
        );
        assert_eq!(fixture.query("SELECT id FROM t"), ["a"]);
    }
}

/// Every second of many rows is bad, and each is found.
#[test]
fn many_bad_rows_are_found_among_many() {
    let made = "CREATE TABLE t (id text PRIMARY KEY, v smallint CHECK (v <> 7), w text)";
    let mut fixture = Fixture::new(&ROW, &["id"]).over(made);
    let rows: Vec<Vec<Value>> = (0..400)
        .map(|number| {
            let v = match number % 4 {
                0 => 7,
                1 => 70_000,
                _ => 1,
            };
            row(&format!("{number:04}"), v, "x")
        })
        .collect();
    let applied = fixture.tell(&rows, &[]);
    assert_eq!((applied.inserted, applied.refused.len()), (200, 200));
    assert_eq!(fixture.query("SELECT count(*) FROM t WHERE v = 1"), ["200"]);
    let again = fixture.tell(&rows, &[]);
    assert_eq!((again.unchanged, again.refused.len()), (200, 200));
}
