//! What queries yield, what they are refused for, and that a key's rows depend on no other key.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::fixture::{at, chunk, errors, language, lines, table, told};
use super::super::{Place, Prepared};
use super::*;
use crate::schema::Type;
use crate::value::Value;

const SALES: &str = "
    k text | id int | art int | price float
    a      | 1      | 7       | 10
    a      | 2      | 8       | 20
    a      | 3      | -       | -
    b      | 4      | 7       | 5
";

const ARTS: &str = "
    art int | title text
    7       | Day Dream
    8       | Marine
    9       | Unsold
";

fn config(tables: &[&str], query: &str) -> SqlConfig {
    let inputs = tables
        .iter()
        .map(|name| ((*name).to_owned(), (*name).to_owned()));
    SqlConfig {
        input: None,
        inputs: inputs.collect(),
        query: query.to_owned(),
        unique: BTreeMap::new(),
        on_error: OnError::Drop,
    }
}

/// The query over `sales`, grouped by `k`, and the dimension `arts`, as far as it names them.
fn checked(query: &str) -> Result<(Sql, Schema), Vec<Problem>> {
    let (sales, arts) = (table(SALES).0.with_key(Some(0)), table(ARTS).0);
    let both = [
        Upstream {
            schema: &sales,
            role: Role::Input,
        },
        Upstream {
            schema: &arts,
            role: Role::Dimension,
        },
    ];
    let tables = if query.contains("arts") { 2 } else { 1 };
    let config = config(&["sales", "arts"][..tables], query);
    Sql::check(&config, &both[..tables], &language())
}

/// The rows with the position of the key of each: a is 0, b is 1.
fn sales() -> Chunk {
    Chunk::new(table(SALES).1.rows().clone(), vec![0, 0, 0, 1].into())
}

fn with_arts() -> Prepared {
    let rows = vec![table(ARTS).1.rows().clone()];
    Prepared {
        tables: BTreeMap::from([(Arc::from("stage"), rows)]),
        ..Prepared::default()
    }
}

/// `origin: row` for each row, behind the gate.
fn yields(query: &str) -> Vec<String> {
    let (sql, _) = checked(query).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    assert_eq!(sql.misaligned(), None);
    let prepared = with_arts();
    let mut at = Evaluation::new(Place::BehindGate, &prepared);
    at.enter(&Arc::from("stage"));
    let rows = sql.evaluate(&[sales()], &mut at).unwrap();
    assert_eq!(errors(&at), [""; 0]);
    let origins = rows.origin().values().iter();
    let lines = origins.zip(lines(&rows));
    lines
        .map(|(origin, line)| format!("{origin}: {line}"))
        .collect()
}

#[test]
fn joins_aggregates_and_windows_that_hold_the_key_run_over_all_keys_together() {
    let query = "select k, count(*) as n, sum(price) as total from sales group by k";
    assert_eq!(yields(query), ["0: a | 3 | 30", "1: b | 1 | 5"]);
    let query = "
        select s.k as who, s.id, a.title, row_number() over (partition by s.k order by price) as n
        from sales s left join arts a on s.art = a.art";
    let rows = [
        "0: a | 1 | Day Dream | 1",
        "0: a | 2 | Marine | 2",
        "0: a | 3 | - | 3",
        "1: b | 4 | Day Dream | 1",
    ];
    assert_eq!(yields(query), rows);
    // A comma join with an equality is a join.
    let query = "select s.k, t.id from sales s, sales t where s.k = t.k and s.id < t.id";
    assert_eq!(yields(query), ["0: a | 2", "0: a | 3", "0: a | 3"]);
    let query = "select k, id from sales where art in (select art from arts where title > 'E')";
    assert_eq!(yields(query), ["0: a | 2"]);
    let query = "
        with best as (select k, max(price) as price from sales group by k)
        select distinct sales.k, best.price from sales join best on best.k = sales.k
        union all select k, price from sales where price > (select max(art) * 2 from arts)";
    assert_eq!(yields(query), ["0: a | 20", "0: a | 20", "1: b | 5"]);
}

#[test]
fn lists_and_structs_are_json() {
    let query = "
        select k, array_agg(named_struct('id', id, 'price', price) order by id desc) as sold
        from sales group by k";
    let (_, schema) = checked(query).unwrap();
    assert_eq!(schema.kind(1), Type::Json);
    assert_eq!(
        yields(query),
        [
            r#"0: a | [{"id":3,"price":null},{"id":2,"price":20.0},{"id":1,"price":10.0}]"#,
            r#"1: b | [{"id":4,"price":5.0}]"#
        ]
    );
}

#[test]
fn what_looks_at_rows_of_several_keys_is_refused() {
    let cases = [
        ("select count(*) as n from sales", "an aggregate"),
        (
            "select id, count(*) as n from sales group by id",
            "an aggregate",
        ),
        (
            "select upper(k) as k, count(*) as n from sales group by upper(k)",
            "an aggregate",
        ),
        (
            "select k, count(*) as n from sales group by rollup(k)",
            "an aggregate",
        ),
        (
            "select k, row_number() over (order by id) as n from sales",
            "a window",
        ),
        (
            "select s.k, t.id from sales s join sales t on s.id = t.id",
            "a join",
        ),
        ("select s.k, t.id from sales s, sales t", "a join"),
        // A name is not the key.
        (
            "with x as (select id as k, k as id from sales) select k, count(*) as n from x group by k",
            "an aggregate",
        ),
        // Nulls of an outer join are not the key.
        (
            "select t.k, count(*) as n from sales s left join (select * from sales where id > 1) t
             on s.k = t.k group by t.k",
            "an aggregate",
        ),
        ("select k, id from sales order by id limit 1", "LIMIT"),
        ("select distinct id from sales", "an aggregate"),
        ("select id from sales", "the query does not yield"),
        (
            "select a.art, s.k from arts a left join sales s on a.art = s.art",
            "a join keeps",
        ),
        (
            "select k from sales union all select title from arts",
            "a union",
        ),
        (
            "select k, (select count(*) from sales) as n from sales",
            "an aggregate",
        ),
        (
            "select k from sales s where exists (select 1 from sales t where t.id > s.id)",
            "a join",
        ),
        ("select title from arts", "the query does not yield"),
    ];
    for (query, message) in cases {
        // The query must read its inputs, if only to nothing.
        let query = if query.contains("sales") {
            query.to_owned()
        } else {
            format!("with none as (select 1 from sales) {query}")
        };
        let sql = checked(&query)
            .unwrap_or_else(|wrong| panic!("{query}: {wrong:#?}"))
            .0;
        let problem = sql.misaligned().unwrap_or_else(|| panic!("{query}"));
        assert!(problem.message.starts_with(message), "{query}: {problem:?}");
        assert!(problem.help.is_some());
    }
}

#[test]
fn what_a_query_cannot_hold_is_refused() {
    let wrong = |query: &str| told(checked(query)).join("; ");
    let cases = [
        ("", "query: the query is empty"),
        ("select", "query: expected an expression, found the end"),
        (
            "select k from sales; select 1",
            "query: expected the end of the query, found `select`",
        ),
        ("select k from slaes", "query: there is no table `slaes`"),
        ("select kk from sales", "query: there is no column `kk`"),
        (
            "select k, uper(k) as u from sales",
            "query: there is no function `uper`",
        ),
        (
            "select k, random() as r from sales",
            "query: `random` is not the same at every call",
        ),
        (
            "select k, $x as x from sales",
            "query: there is no parameter `x`",
        ),
        (
            "select k, id as k from sales",
            "query: two columns are called `k`",
        ),
        (
            "select k, price from sales cross join generate_series(1, 3)",
            "query: a query reads tables only",
        ),
        (
            "with recursive r as (select k from sales) select k from r",
            "query: a query cannot be recursive",
        ),
        (
            "select k, now() - now() as d from sales",
            "query: column `d` is of type duration",
        ),
        (
            "select k, sum(distinct price) as p, count(distinct id) as n from sales group by k",
            "query: the order of distinct values is not known",
        ),
        (
            "select k, approx_median(price) as p from sales group by k",
            "query: `approx_median` is not the same at every call",
        ),
        (
            "select 1 as one",
            "query: the query does not read its input `sales`",
        ),
    ];
    for (query, message) in cases {
        assert_eq!(wrong(query), message, "{query}");
    }
}

#[test]
fn the_fields_besides_the_query_are_checked() {
    let (sales, _) = table(SALES);
    let none = SqlConfig {
        unique: BTreeMap::from([("x".to_owned(), vec!["y".to_owned()])]),
        on_error: OnError::Null,
        ..config(&[], "select 1")
    };
    assert_eq!(
        told(Sql::check(&none, &[], &language())),
        [
            ": it is not said what the query reads",
            "on_error: a query that fails has no row to set a null in",
            "unique.x: there is no table `x`"
        ]
    );
    let both = SqlConfig {
        input: Some("sales".to_owned()),
        ..config(&["sales"], "select k from input join sales using (k)")
    };
    let upstream = Upstream {
        schema: &sales,
        role: Role::Input,
    };
    assert_eq!(
        told(Sql::check(&both, &[upstream, upstream], &language())),
        ["input: `input` and `inputs` exclude each other"]
    );
}

#[test]
fn only_what_is_read_is_needed() {
    let query = "with x as (select * from sales) select k, id from x join arts using (art)";
    let (sql, _) = checked(query).unwrap();
    assert_eq!(
        sql.reads(&BTreeSet::new()),
        [BTreeSet::from([0, 1, 2]), BTreeSet::from([0])]
    );
    // Rows that have only these columns are enough.
    let sales = sales();
    let less = sales.rows().project(&[0, 1, 2]).unwrap();
    let sales = Chunk::new(less, sales.origin().clone());
    let prepared = with_arts();
    let mut at = Evaluation::new(Place::BehindGate, &prepared);
    at.enter(&Arc::from("stage"));
    let rows = sql.evaluate(&[sales], &mut at).unwrap();
    assert_eq!(lines(&rows), ["a | 1", "a | 2", "b | 4"]);
}

/// A join of `DataFusion` keeps the rows of its left side, and copies of it share them.
#[test]
fn a_query_forgets_the_rows_of_the_batch_before() {
    let query = "select s.k, s.id, arts.title from sales s left join arts using (art)
         union all select s.k, t.id, 'self' from sales s join sales t using (k) where s.id < t.id";
    let (sql, _) = checked(query).unwrap();
    let prepared = with_arts();
    let evaluate = |rows: Chunk| {
        let mut at = Evaluation::new(Place::BehindGate, &prepared);
        at.enter(&Arc::from("stage"));
        lines(&sql.evaluate(&[rows], &mut at).unwrap())
    };
    let rows = |at: &[u32]| sales().take(&at.to_vec().into()).unwrap();
    assert_eq!(evaluate(sales()).len(), 7);
    assert_eq!(evaluate(rows(&[3])), ["b | 4 | Day Dream"]);
    let two = ["a | 1 | Day Dream", "a | 3 | -", "a | 3 | self"];
    assert_eq!(evaluate(rows(&[0, 2])), two);
    assert!(evaluate(rows(&[])).is_empty());
}

#[test]
fn one_key_that_fails_has_an_error_and_the_others_have_their_rows() {
    let query = "select k, id, 10 / (id - 2) as x from sales";
    let (sql, _) = checked(query).unwrap();
    let mut evaluation = at(Place::BehindGate);
    let rows = sql.evaluate(&[sales()], &mut evaluation).unwrap();
    assert_eq!(lines(&rows), ["b | 4 | 5"]);
    assert_eq!(errors(&evaluation), ["0: divide by zero"]);
    let stop = Sql {
        on_error: OnError::Stop,
        ..sql
    };
    assert!(
        stop.evaluate(&[sales()], &mut at(Place::BehindGate))
            .is_err()
    );
}

#[test]
fn values_that_are_to_be_unique_and_are_not_are_told() {
    let (sales_schema, arts) = (table(SALES).0.with_key(Some(0)), table(ARTS).0);
    let unique = [("sales", vec!["art"]), ("arts", vec!["title"])];
    let unique = unique.map(|(table, columns)| {
        let columns = columns.into_iter().map(str::to_owned);
        (table.to_owned(), columns.collect())
    });
    let config = SqlConfig {
        unique: BTreeMap::from(unique),
        ..config(
            &["sales", "arts"],
            "select k from sales join arts using (art)",
        )
    };
    let upstream = [
        Upstream {
            schema: &sales_schema,
            role: Role::Input,
        },
        Upstream {
            schema: &arts,
            role: Role::Dimension,
        },
    ];
    let (sql, _) = Sql::check(&config, &upstream, &language()).unwrap();
    let (_, twice) = table(
        "k text | id int | art int | price float\n a | 1 | 7 | 1\n a | 2 | 7 | 1\n a | 3 | - | 1\n b | 4 | 7 | 1\n a | 5 | - | 1",
    );
    let twice = Chunk::new(twice.rows().clone(), vec![0, 0, 0, 1, 0].into());
    let prepared = with_arts();
    let mut at = Evaluation::new(Place::BehindGate, &prepared);
    at.enter(&Arc::from("stage"));
    assert_eq!(sql.evaluate(&[twice], &mut at).unwrap().len(), 3);
    let told = ["0: 2 rows of `sales` share their `art` with another"];
    assert_eq!(errors(&at), told);
    let dimension = Dimension {
        name: Arc::from("arts"),
        rows: table("art int | title text\n 1 | x\n 2 | x\n 3 | y")
            .1
            .rows()
            .clone(),
    };
    let warning = sql.warning(&[&dimension]).unwrap();
    assert_eq!(warning, "2 rows of `arts` share their `title` with another");
}

#[test]
fn of_a_whole_partition_a_query_may_see_all_rows_and_there_may_be_none() {
    let (schema, chunk) = table(SALES);
    let whole = |chunk: Chunk, query: &str, at: &mut Evaluation| {
        let upstream = Upstream {
            schema: &schema,
            role: Role::Input,
        };
        let (sql, _) = Sql::check(&config(&["sales"], query), &[upstream], &language()).unwrap();
        let rows = sql.evaluate(&[chunk], at).unwrap();
        (lines(&rows), rows.origin().values().to_vec())
    };
    let query = "select id, price from sales order by price desc nulls last limit 2";
    let mut one = at(Place::BehindGate).of_whole(Some(3));
    let expected = (vec!["1 | 10".to_owned(), "2 | 20".to_owned()], vec![3, 3]);
    assert_eq!(whole(chunk.clone(), query, &mut one), expected);
    let count = "select count(*) as n, sum(price) as total from sales";
    let empty = Chunk::empty(schema.arrow());
    let expected = (vec!["0 | -".to_owned()], vec![3]);
    assert_eq!(whole(empty.clone(), count, &mut one), expected);
    // The key is on another worker.
    let mut none = at(Place::BehindGate).of_whole(None);
    assert_eq!(whole(empty.clone(), count, &mut none), (vec![], vec![]));
    let mut dimension = at(Place::Dimension);
    assert_eq!(whole(chunk, count, &mut dimension).0, ["4 | 35"]);
    let lists = "select array_agg(id) as ids from sales where id > 1 having count(*) > 0";
    assert_eq!(whole(empty, lists, &mut dimension).0, [""; 0]);
}

/// Rows of a few keys, with values whose sum depends on the order in which they are added.
fn rows() -> impl Strategy<Value = Vec<(u8, i64, f64)>> {
    let price = prop_oneof![Just(0.1), Just(1e16), Just(-1e16), Just(3.7), -1e3..1e3];
    proptest::collection::vec((0_u8..5, 0_i64..4, price), 0..60)
}

const SENSITIVE: [&str; 5] = [
    "select k, art, sum(price) as s, avg(price) as a, stddev(price) as d, count(distinct price) as n
     from sales group by k, art",
    "select k, id, sum(price) over (partition by k order by art) as s,
     row_number() over (partition by k order by art) as n,
     sum(price) over (partition by k order by art rows between 1 preceding and current row) as w
     from sales",
    "select s.k, sum(s.price * t.price) as p, array_agg(t.id) as ids
     from sales s join sales t on s.k = t.k and s.art = t.art group by s.k",
    "select t.k, t.art, sum(s.price) as p, array_agg(s.id) as ids from
     (select * from sales where art < 2) s right join sales t on s.k = t.k and s.id = t.id
     group by t.k, t.art",
    "select k, sum(price) as p, array_agg(id) as ids from
     (select k, id, price from sales union all select k, -id, price from sales where art > 1) x
     group by k",
];

/// The rows of some keys, in the order of their keys; the origin of each is its key.
fn of_keys(rows: &[(u8, i64, f64)], keys: &dyn Fn(u8) -> bool) -> Chunk {
    let mut rows: Vec<_> = (0..).zip(rows).filter(|(_, row)| keys(row.0)).collect();
    rows.sort_by_key(|(_, row)| row.0);
    let cells = rows.iter().map(|(id, (k, art, price))| {
        vec![
            Value::Text(k.to_string()),
            Value::Int(*id),
            Value::Int(*art),
            Value::Float(*price),
        ]
    });
    let cells: Vec<Vec<Value>> = cells.collect();
    let origins: Vec<u32> = rows.iter().map(|(_, row)| row.0.into()).collect();
    Chunk::new(
        chunk(&table(SALES).0, &cells).rows().clone(),
        origins.into(),
    )
}

/// Rows, a line each, floats by their bits.
fn bits(chunk: &Chunk) -> Vec<String> {
    let cell = |column, row| match Value::at(column, row) {
        Value::Float(value) => format!("{:x}", value.to_bits()),
        value => value.to_string(),
    };
    let row = |row| {
        let columns = chunk.rows().columns().iter();
        columns
            .map(|column| cell(column, row))
            .collect::<Vec<_>>()
            .join(" ")
    };
    (0..chunk.len()).map(row).collect()
}

proptest! {
    // Each runs 30 queries.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_key_yields_the_same_bits_whatever_keys_are_beside_it(rows in rows()) {
        static QUERIES: LazyLock<Vec<Sql>> =
            LazyLock::new(|| SENSITIVE.map(|query| checked(query).unwrap().0).into());
        for (sql, query) in QUERIES.iter().zip(SENSITIVE) {
            prop_assert_eq!(sql.misaligned(), None);
            let evaluate = |keys: &dyn Fn(u8) -> bool| {
                let made = sql.evaluate(&[of_keys(&rows, keys)], &mut at(Place::BehindGate));
                bits(&made.unwrap())
            };
            let mut apart: Vec<String> = Vec::new();
            for key in 0..5 {
                apart.extend(evaluate(&|other| other == key));
            }
            prop_assert_eq!(evaluate(&|_| true), apart, "{}", query);
        }
    }
}
