//! What an answer costs, as the server's statistics have it: for who chooses how changes are found.

use std::collections::BTreeMap;

use super::columns::Rows;
use crate::postgres::{PostgresError, Session};
use crate::source::{Ask, Estimate, Hashed};

/// What the server knows of a table.
pub(super) struct Statistics {
    rows: f64,
    columns: BTreeMap<String, Spread>,
}

/// How the values of a column are.
struct Spread {
    /// The bytes of one, about.
    width: f64,
    /// How many there are that differ; less than nothing: for each row.
    distinct: f64,
}

impl Statistics {
    /// None of what is no table, or was never analyzed.
    pub(super) fn of(session: &mut Session, rows: &Rows) -> Result<Option<Self>, PostgresError> {
        if !rows.is_table {
            return Ok(None);
        }
        let found = session.query(STATISTICS, &[&rows.from])?;
        let mut columns = BTreeMap::new();
        let mut count = 0.0;
        for row in &found {
            let (rows, name): (f64, String) = (row.try_get(0)?, row.try_get(1)?);
            let (width, distinct) = (row.try_get(2)?, row.try_get(3)?);
            count = rows;
            columns.insert(name, Spread { width, distinct });
        }
        let is_known = count > 0.0;
        Ok(is_known.then_some(Statistics {
            rows: count,
            columns,
        }))
    }

    /// What it costs to answer; `header` is what a column is called there.
    pub(super) fn estimate(&self, ask: &Ask, header: impl Fn(&str) -> String) -> Estimate {
        let spread = |name: &str| self.columns.get(&header(name));
        let of_key = |key: &String| {
            let spread = spread(key)?;
            let keys = if spread.distinct < 0.0 {
                -spread.distinct * self.rows
            } else {
                spread.distinct
            };
            Some((keys, spread.width + DIGEST))
        };
        let by_key = ask
            .hashed
            .as_ref()
            .and_then(|Hashed { by_key, .. }| by_key.as_ref());
        let (rows, width) = by_key.and_then(of_key).unwrap_or_else(|| {
            let columns = ask.columns.iter();
            let widths = columns.filter_map(|name| Some(spread(name)?.width + LENGTH));
            (self.rows, widths.sum())
        });
        Estimate {
            rows: whole(rows),
            bytes: whole(rows * width),
        }
    }
}

/// The bytes before a value on its way.
const LENGTH: f64 = 4.0;

/// The bytes of a digest beside those of its key: a count, and two sums as texts.
const DIGEST: f64 = 64.0;

/// A whole number of what cannot be less than nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "statistics are estimates, and no table has 2^64 rows or bytes"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// Columns of a table with parts are those of all of them. The view is asked for one table by its name,
/// which is looked up before: joined with the table it would be made of all.
const STATISTICS: &str = "
    select distinct on (attname)
        (select reltuples::float8 from pg_class where oid = $1::text::regclass),
        attname::text, avg_width::float8, n_distinct::float8
    from pg_stats
    where tablename = (select relname from pg_class where oid = $1::text::regclass)
      and schemaname = (select nspname from pg_namespace n join pg_class c on c.relnamespace = n.oid
                        where c.oid = $1::text::regclass)
    order by attname, inherited desc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_cost_what_is_asked_of_them_and_digests_what_keys_there_are() {
        let spread = |width, distinct| Spread { width, distinct };
        let columns = [
            ("ssn".to_owned(), spread(11.0, -0.1)),
            ("page".to_owned(), spread(80.0, 7.0)),
        ];
        let statistics = Statistics {
            rows: 1000.0,
            columns: columns.into(),
        };
        let mut ask = Ask::all_of(&["person".to_owned(), "page".to_owned()]);
        let header = |name: &str| name.replace("person", "ssn");
        let estimate = statistics.estimate(&ask, header);
        assert_eq!((estimate.rows, estimate.bytes), (1000, 99_000));
        ask.hashed = Some(Hashed {
            columns: ask.columns.clone(),
            by_key: Some("person".to_owned()),
        });
        let estimate = statistics.estimate(&ask, header);
        assert_eq!((estimate.rows, estimate.bytes), (100, 7500));
    }
}
