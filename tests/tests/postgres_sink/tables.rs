//! Tables: made, mended where that is allowed, and told of, all at once, where they do not fit.

use super::*;

const ROW: [(&str, Type); 3] = [
    ("id", Type::Text),
    ("v", Type::Int),
    ("At", Type::Timestamp),
];

fn row(id: &str) -> Vec<Value> {
    vec![text(id), int(1), Value::Timestamp(0)]
}

#[test]
fn a_table_that_is_missing_is_made() {
    let every = Type::ALL.map(|ty| (ty.to_string(), ty));
    let mut columns: Vec<(&str, Type)> = every
        .iter()
        .map(|(name, ty)| (name.as_str(), *ty))
        .collect();
    columns.insert(0, ("id", Type::Text));
    let fixture = Fixture::new(&columns, &["id"]).column("own", &[("type", "text")]);
    assert_eq!(fixture.unfit(), Vec::<String>::new());
    fixture.open().begin(None, &fence(1)).unwrap();
    let mut writer = fixture.open();
    writer.begin(None, &fence(1)).unwrap();
    writer.commit().unwrap();
    let columns = "SELECT column_name || ' ' || data_type FROM information_schema.columns
                   WHERE table_name = 't' ORDER BY ordinal_position";
    assert_eq!(
        fixture.query(columns),
        [
            "id text",
            "text text",
            "int bigint",
            "float double precision",
            "bool boolean",
            "date date",
            "timestamp timestamp without time zone",
            "json jsonb",
            "own text",
            "_tidemill_live boolean",
        ]
    );
    assert_eq!(fixture.unfit(), Vec::<String>::new());
}

#[test]
fn what_does_not_fit_is_told_at_once_with_what_to_do() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .over("CREATE TABLE t (id bigint, v text, extra text)")
        .on_retract("mark");
    assert_eq!(
        fixture.unfit(),
        [
            "column `id` of `t` is bigint, which does not hold text | \
             declare it text, or cast it before",
            "column `v` of `t` is text, which does not hold int | \
             declare it bigint, or cast it before",
            "table `t` has no column `At` | say `add_columns = true`, or run: \
             ALTER TABLE \"t\" ADD COLUMN \"At\" timestamp",
            "table `t` has no column `_tidemill_live`, which the sink keeps there | \
             say `add_columns = true`, or run: \
             ALTER TABLE \"t\" ADD COLUMN _tidemill_live boolean NOT NULL DEFAULT true",
            "table `t` has no unique index on exactly its key | make one: \
             CREATE UNIQUE INDEX \"t_key\" ON \"t\" (\"id\")",
        ]
    );
    fixture.config.add_columns = true;
    assert_eq!(fixture.unfit().len(), 3);
    fixture.config.table = "aside.t".into();
    fixture.database.sql(
        "CREATE SCHEMA aside; CREATE VIEW aside.t AS SELECT 1;
         CREATE TABLE g (id text PRIMARY KEY, v bigint GENERATED ALWAYS AS (1) STORED,
                         \"At\" timestamp)",
    );
    assert_eq!(fixture.unfit(), ["`t` is a view | name a table"]);
    fixture = fixture.on_retract("delete");
    fixture.config.table = "g".into();
    assert_eq!(
        fixture.unfit(),
        ["the database computes column `v` of `g` | leave it out of the pipeline, or rename it"]
    );
}

#[test]
fn only_an_index_that_tells_all_ids_apart_will_do() {
    let index = |definition: &str| {
        let made = format!("CREATE TABLE t (id text, v bigint, \"At\" timestamp); {definition}");
        Fixture::new(&ROW, &["id"]).over(&made).unfit().len()
    };
    assert_eq!(index("CREATE UNIQUE INDEX ON t (id)"), 0);
    assert_eq!(index("CREATE UNIQUE INDEX ON t (id) INCLUDE (v)"), 0);
    for other in [
        "CREATE INDEX ON t (id)",
        "CREATE UNIQUE INDEX ON t (id, v)",
        "CREATE UNIQUE INDEX ON t (id) WHERE v = 1",
        "CREATE UNIQUE INDEX ON t (lower(id))",
        "ALTER TABLE t ADD UNIQUE (id) DEFERRABLE",
    ] {
        assert_eq!(index(other), 1, "{other}");
    }
    let folds = "CREATE COLLATION folds
                 (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 ALTER TABLE t ALTER COLUMN id TYPE text COLLATE folds;
                 CREATE UNIQUE INDEX ON t (id)";
    assert_eq!(index(folds), 1);
}

/// Of a key values that are equal to the server must be one text.
#[test]
fn a_key_is_of_a_type_whose_equal_values_are_written_alike() {
    let of = |declared: &str| {
        let made =
            format!("CREATE TABLE t (id {declared} PRIMARY KEY, v bigint, \"At\" timestamp)");
        Fixture::new(&ROW, &["id"]).over(&made).unfit()
    };
    for known in ["uuid", "numeric(38,0)", "timetz", "char(9)", "inet"] {
        assert_eq!(of(known), Vec::<String>::new(), "{known}");
    }
    for unknown in ["numeric", "interval"] {
        let told = format!(
            "column `id` of `t` is {unknown}, of which values that are equal may be written \
             differently | declare it text, as it is a key"
        );
        assert_eq!(of(unknown), [told]);
    }
}

/// A row that changes stays on its page.
#[test]
fn a_table_is_made_with_room_for_rows_that_change() {
    let mut fixture = Fixture::new(&ROW, &["id"]).on_retract("delete");
    let rows = |value: i64, every: usize| -> Vec<Vec<Value>> {
        let ids = (0..5_000).step_by(every);
        let row = |id| vec![text(&format!("{id:06}")), int(value), Value::Null];
        ids.map(row).collect()
    };
    fixture.tell(&rows(1, 1), &[]);
    let page = "(ctid::text::point)[0]";
    fixture.database.sql(&format!(
        "CREATE TABLE was AS SELECT id, {page} AS page FROM t"
    ));
    fixture.tell(&rows(2, 20), &[]);
    let told = format!(
        "SELECT count(*) FILTER (WHERE v = 2), count(*) FILTER (WHERE now.page <> was.page), \
                max(was.page) > 10 \
         FROM was JOIN (SELECT id, v, {page} AS page FROM t) AS now USING (id)"
    );
    assert_eq!(fixture.query(&told), ["250|0|t"]);
}

/// Nothing is looked for in a log; a key that its owner gives it holds all the same.
#[test]
fn a_log_is_made_without_a_key_and_takes_a_table_without() {
    let mut log = Fixture::new(&ROW, &["id"]).write("append");
    log.tell(&[row("a")], &[]);
    assert_eq!(
        log.query("SELECT indexname FROM pg_indexes WHERE tablename = 't'"),
        Vec::<String>::new()
    );
    let made = "CREATE TABLE t (id text, v bigint, \"At\" timestamp)";
    let log = Fixture::new(&ROW, &["id"]).over(made).write("append");
    assert_eq!(log.unfit(), Vec::<String>::new());
    let mut log = log.over("ALTER TABLE t ADD PRIMARY KEY (id)");
    assert_eq!(log.tell(&[row("a"), row("b")], &[]).inserted, 2);
    let applied = log.tell(&[row("b"), row("c")], &[]);
    assert_eq!((applied.inserted, applied.refused.len()), (1, 1));
}

#[test]
fn columns_are_added_where_that_is_allowed_and_those_of_others_stay() {
    let mut fixture = Fixture::new(&ROW, &["id"])
        .over("CREATE TABLE t (id text PRIMARY KEY, extra text DEFAULT 'x')")
        .over("INSERT INTO t VALUES ('old')")
        .on_retract("mark");
    assert_eq!(fixture.unfit().len(), 3);
    fixture.config.add_columns = true;
    assert_eq!(fixture.unfit(), Vec::<String>::new());
    let old = vec![text("old"), Value::Null, Value::Null];
    assert_eq!(fixture.live(), [(old, None)]);
    fixture.tell(&[row("a")], &[]);
    assert_eq!(
        fixture.query("SELECT * FROM t ORDER BY id"),
        ["a|x|1|1970-01-01 00:00:00|t", "old|x|||t"]
    );
}

#[test]
fn names_are_as_they_are_written() {
    let columns = [
        ("Id", Type::Text),
        ("a \"b\"; --", Type::Int),
        ("select", Type::Int),
    ];
    let mut fixture = Fixture::new(&columns, &["Id"]).on_retract("delete");
    fixture.config.table = "My \"Table\"".into();
    let row = |value: i64| vec![text("x"), int(value), int(2)];
    fixture.tell(&[row(1)], &[]);
    fixture.tell(&[row(5)], &[]);
    assert_eq!(
        fixture.query("SELECT \"a \"\"b\"\"; --\", \"select\" FROM \"My \"\"Table\"\"\""),
        ["5|2"]
    );
    fixture.tell(&[], &[vec![text("x")]]);
    assert_eq!(fixture.live(), []);
    fixture.config.table = "_tidemill_fence".into();
    fixture.schema = schema(&[("Id", Type::Text), (&"x".repeat(64), Type::Int)]);
    assert_eq!(
        fixture.check().err().map(|problems| problems.len()),
        Some(2)
    );
}

#[test]
fn a_table_of_partitions_is_one_table() {
    let made = "CREATE TABLE t (id text PRIMARY KEY, v bigint, \"At\" timestamp)
                PARTITION BY HASH (id);
                CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)";
    let mut fixture = Fixture::new(&ROW, &["id"]).over(made).on_retract("delete");
    let rows: Vec<Vec<Value>> = (0..20).map(|number| row(&number.to_string())).collect();
    assert_eq!(counts(&fixture.tell(&rows, &[])), [20, 0, 0, 0, 0]);
    assert_eq!(counts(&fixture.tell(&rows, &[])), [0, 0, 0, 0, 20]);
    assert_eq!(fixture.live().len(), 20);
}
