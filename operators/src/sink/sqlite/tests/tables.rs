//! The table is made, mended or refused; and what an author declares is checked.

use super::*;
use crate::sink::SinkError;

const ROW: [(&str, Type); 2] = [("id", Type::Text), ("v", Type::Int)];

/// Why the sink does not begin over a table that somebody made, and what to do.
fn unfit(table: &str) -> (String, String) {
    let fixture = Fixture::new(&ROW, &["id"]).on_retract("mark");
    fixture.execute(table);
    let before = std::fs::read(fixture.path()).unwrap();
    let error = fixture.open().begin(None, &fence(1)).unwrap_err();
    let help = error.help().unwrap_or_default();
    assert!(!error.is_transient());
    assert_eq!(std::fs::read(fixture.path()).unwrap(), before);
    match error {
        SinkError::Unfit { what, .. } => (what, help),
        other => (other.to_string(), help),
    }
}

#[test]
fn a_new_table_has_the_columns_the_key_and_what_is_ours() {
    let mut fixture = Fixture::new(&ROW, &["v", "id"]).column("note", &[("type", "date")]);
    fixture.schema = schema(&ROW);
    fixture.tell(&[], &[]);
    assert_eq!(
        fixture.query("SELECT name, type, \"notnull\", pk FROM pragma_table_info('t')"),
        [
            "id TEXT 1 2",
            "v INTEGER 1 1",
            "note TEXT 0 0",
            "_tidemill_live INTEGER 1 0",
            "_tidemill_owner TEXT 0 0",
        ]
    );
}

#[test]
fn names_are_quoted_whatever_stands_in_them() {
    let strange = "a \"b'; DROP TABLE t; --";
    let columns = [
        (strange, Type::Text),
        ("select", Type::Int),
        ("né?1", Type::Int),
    ];
    let mut fixture = Fixture::new(&columns, &[strange, "select"]);
    fixture.config.table = "my \"table\"".into();
    fixture.config.path = "new/fol der/ünï.db".into();
    let row = |value| vec![text("x"), int(1), int(value)];
    assert_eq!(counts(&fixture.tell(&[row(1)], &[])), [1, 0, 0, 0, 0]);
    assert_eq!(counts(&fixture.tell(&[row(2)], &[])), [0, 1, 0, 0, 0]);
    assert_eq!(fixture.live().0, [row(2)]);
    assert_eq!(
        counts(&fixture.tell(&[], &[row(2)[..2].to_vec()])),
        [0, 0, 0, 1, 0]
    );
}

#[test]
fn a_column_that_the_table_lacks_is_added_and_its_rows_are_live() {
    let mut fixture = Fixture::new(&ROW, &["id"]);
    fixture.execute("CREATE TABLE T (ID TEXT PRIMARY KEY, theirs TEXT)");
    fixture.execute("INSERT INTO t VALUES ('a', 'x'), ('b', 'y')");
    fixture = fixture.on_retract("mark");
    // Before it is taken over it can be read.
    assert_eq!(
        fixture.live().0,
        [vec![text("a"), Value::Null], vec![text("b"), Value::Null]]
    );
    let applied = fixture.tell(&[vec![text("a"), int(1)]], &[vec![text("b")]]);
    assert_eq!(counts(&applied), [0, 1, 0, 1, 0]);
    assert_eq!(fixture.query("SELECT * FROM t"), ["a x 1 1", "b y null 0"]);
    // Later the pipeline yields one more.
    fixture.schema = schema(&[ROW[0], ROW[1], ("w", Type::Text)]).with_key(Some(0));
    fixture.tell(&[vec![text("a"), int(1), text("z")]], &[]);
    assert_eq!(
        fixture.query("SELECT * FROM t"),
        ["a x 1 1 z", "b y null 0 null"]
    );
    assert_eq!(fixture.live().0, [vec![text("a"), int(1), text("z")]]);
}

#[test]
fn a_table_that_cannot_hold_the_rows_is_refused_with_what_to_do() {
    let (what, help) = unfit("CREATE TABLE t (id TEXT, v INTEGER); CREATE INDEX i ON t (id)");
    assert_eq!(what, "table `t` has no unique index on exactly its key");
    assert_eq!(
        help,
        "make one: CREATE UNIQUE INDEX \"t_key\" ON \"t\" (\"id\")"
    );
    for index in [
        "CREATE TABLE t (id TEXT, v INTEGER, PRIMARY KEY (id, v))",
        "CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, v INTEGER)",
        "CREATE TABLE t (id TEXT, v INTEGER); CREATE UNIQUE INDEX i ON t (id) WHERE v > 0",
        "CREATE TABLE t (id TEXT, v INTEGER); CREATE UNIQUE INDEX i ON t (lower(id))",
    ] {
        assert!(unfit(index).0.contains("no unique index"), "{index}");
    }
    let (what, help) = unfit("CREATE TABLE t (id TEXT PRIMARY KEY, v VARCHAR(10))");
    assert_eq!(
        what,
        "column `v` of `t` is declared VARCHAR(10), which does not keep int as it is"
    );
    assert_eq!(help, "declare it INTEGER, or cast it before");
    let (what, _) = unfit("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)");
    assert!(
        what.starts_with("column `id` of `t` is declared INTEGER"),
        "{what}"
    );
    let (what, _) = unfit("CREATE TABLE t (other TEXT PRIMARY KEY, v INTEGER)");
    assert_eq!(what, "table `t` has no key column `id`");
    let (what, _) = unfit("CREATE TABLE t (id TEXT PRIMARY KEY, v INTEGER AS (length(id)))");
    assert_eq!(what, "the database computes column `v` of `t`");
    let (what, _) = unfit("CREATE VIEW t AS SELECT 'a' AS id, 1 AS v");
    assert_eq!(what, "`t` is a view");
}

#[test]
fn a_key_may_be_the_number_of_the_row_or_any_unique_index() {
    for table in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER) WITHOUT ROWID",
        "CREATE TABLE t (n INTEGER PRIMARY KEY, id INTEGER UNIQUE, v INTEGER)",
        "CREATE TABLE t (ID INT, v INT) STRICT; CREATE UNIQUE INDEX \"x y\" ON t (id)",
    ] {
        let mut fixture = Fixture::new(&[("id", Type::Int), ("v", Type::Int)], &["id"]);
        fixture.execute(table);
        let row = vec![int(i64::MIN), int(1)];
        assert_eq!(
            counts(&fixture.tell(std::slice::from_ref(&row), &[]))[0],
            1,
            "{table}"
        );
        assert_eq!(fixture.live().0, [row], "{table}");
    }
}

#[test]
fn another_table_or_key_has_another_fingerprint_and_a_policy_or_a_path_has_not() {
    let fixture = |key: &[&str]| {
        let mut fixture = Fixture::new(&ROW, key);
        fixture.config.path = "/data/x.db".into();
        fixture
    };
    let one = fixture(&["id"]).sink().fingerprint();
    assert_eq!(one, "sqlite \"t\" (\"id\" text) Delete");
    let mut moved = fixture(&["id"]);
    moved.config.path = "/data/y.db".into();
    assert_eq!(
        moved.sink().fingerprint(),
        one,
        "the file is known by its fence"
    );
    let mut others = vec![
        fixture(&["id", "v"]),
        fixture(&["v"]),
        fixture(&["id"]).on_retract("mark"),
    ];
    others.push(fixture(&["id"]));
    others[3].config.table = "u".into();
    for other in others {
        assert_ne!(other.sink().fingerprint(), one);
    }
    let policy = fixture(&["id"])
        .column("v", &[("policy", "keep")])
        .on_retract("delete");
    assert_eq!(policy.sink().fingerprint(), one);
    assert_eq!(policy.sink().policy_columns(), [1]);
    assert_eq!(
        policy.sink().columns().names().collect::<Vec<_>>(),
        ["id", "v"]
    );
}

#[test]
fn every_problem_of_a_section_is_named_at_its_field() {
    let mut fixture = Fixture::new(
        &[("id", Type::Text), ("v", Type::Int), ("V", Type::Int)],
        &["id", "x", "id"],
    );
    fixture.config.table = "sqlite_x".into();
    fixture.config.write = Some("upsert".into());
    fixture.config.on_retract = Some("deleet".into());
    fixture.config.newest_by = vec!["w".into()];
    let fixture = fixture
        .column("Stat", &[("insert", "'x'")])
        .column("_tidemill_live", &[("type", "int")])
        .column("note", &[("type", "txt")])
        .column("v", &[("type", "text")]);
    assert_eq!(
        fixture.problems(),
        [
            "table: a table cannot be called \"sqlite_x\" | names that begin with `sqlite_` are SQLite's, those with `_tidemill_` are tidemill's",
            "input: SQLite does not tell column `V` from `v` | rename one of the two",
            "columns._tidemill_live: a column of this sink cannot be called \"_tidemill_live\" | rename it in a stage before",
            "write: a sink of type `sqlite` does not write `upsert` | the choices are `merge`, `append`, `replace`",
            "on_retract: a retraction cannot `deleet` | did you mean `delete`?",
            "key.1: there is no column `x` | the columns are `id`, `v`, `V`",
            "key.2: `id` is listed twice | leave one of the two out",
            "newest_by.0: there is no column `w` | the columns are `id`, `v`, `V`",
            "columns.Stat: there is no column `Stat` in the input | a column that only the sink has needs a `type`; the columns of the input are `id`, `v`, `V`",
            "columns.note.type: there is no type `txt` | did you mean `text`?",
            "columns.v.type: `v` is a column of the input, and it is int | leave `type` out",
        ]
    );
    assert_eq!(
        Fixture::new(&ROW, &[]).problems(),
        ["key: no column identifies a row | name the columns that tell each row from all others"]
    );
}

#[test]
fn every_problem_of_a_policy_is_named_at_its_field() {
    let columns = [("ssn", Type::Text), ("id", Type::Text), ("v", Type::Int)];
    let fixture = Fixture::new(&columns, &["id"])
        .column("id", &[("policy", "keep")])
        .column("ssn", &[("update", "old.ssn")])
        .column(
            "v",
            &[
                ("policy", "stiky"),
                ("update", "old.id"),
                ("insert", "new.vv"),
            ],
        )
        .column(
            "own",
            &[
                ("type", "float"),
                ("policy", "sticky"),
                ("insert", "1"),
                ("update", "now()"),
            ],
        )
        .lookup(
            "names",
            &[("n", Type::Int)],
            &[("id", "n"), ("v", "n"), ("old.x", "n"), ("new.v", "m")],
        )
        .lookup("old", &[("n", Type::Int)], &[("new.v", "n")])
        .lookup("none", &[("n", Type::Int)], &[]);
    assert_eq!(
        fixture.problems(),
        [
            "lookups.names.on.id: `id` is text, but `n` of the lookup is int | cast one of the two in a stage",
            "lookups.names.on.new.v: there is no column `m` | the columns are `n`",
            "lookups.names.on.old.x: there is no column `x` | the columns are `ssn`, `id`, `v`, `own`",
            "lookups.names.on.v: `v` is not a column of the sink's key | write `old.v` or `new.v`, or a column of the key",
            "lookups.none.on: nothing is compared | name the values that must be equal, as in `on = { \"id\" = \"id\" }`",
            "lookups.old: a lookup cannot be called `old` | `old` and `new` are the rows of the sink and of the pipeline",
        ]
    );
    let mut fixture = fixture;
    fixture.config.lookups.clear();
    let problems = fixture.problems();
    let starts = [
        "columns.ssn: `ssn` holds the partition key and cannot have a policy | ",
        "columns.id: `id` identifies the sink's rows and cannot have a policy | ",
        "columns.v.policy: there is no policy `stiky` | did you mean `sticky`?",
        "columns.v.insert: ",
        "columns.v.update: this is text, but `v` is int | cast it to the type of the column",
        "columns.own.policy: `own` is a column of the sink alone: there is nothing to merge | ",
        "columns.own.update: this is timestamp, but `own` is float | ",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
    let deletes = Fixture::new(&ROW, &["id"]).on_retract("delete");
    let deletes = deletes.column("v", &[("reopen", "1"), ("retract", "1")]);
    assert_eq!(deletes.problems().len(), 2);
}
