//! The pieces of a source, each of which is read on its own.
//!
//! ```text
//! one snapshot:     pages of the table   0 .. 4095 | 4096 .. 8191 | 8192 ..
//!
//! read apart:       statistics of the key's column   a ... f ... k ... r ... z   as many rows between two
//!                   ranges of about so many pages    .. k          k ..
//! ```
//!
//! What is read apart is read by keys: pages would give a row that moves meanwhile twice, or not at all,
//! and keys do not move. Their order is the server's, under the column's own collation: it is used by the
//! column's index, and all rows of a key are in one range, so they are of one instant. Values of a key are
//! parameters, and stand in no statement.

use std::sync::Arc;

use tokio_postgres::types::Type as Theirs;

use super::fetch::Parameter;
use super::{Column, Postgres, scoped};
use crate::postgres::{Hold, PostgresError, Snapshot};
use crate::source::{Ask, InDatabase, KeysFrom, Pages, PartOf, Place, Unit};

/// What is to be read for `ask`. The rows of some keys are not cut: each piece would have to be asked for
/// all of them.
pub(super) fn of(
    source: &Postgres,
    snapshot: &Arc<Snapshot>,
    ask: &Ask,
) -> Result<Vec<Unit>, PostgresError> {
    match &ask.only {
        Some(only) if only.keys().is_empty() => return Ok(Vec::new()),
        Some(_) => return Ok(vec![piece(snapshot, None, 0)]),
        None => {}
    }
    if let Some(scope) = &ask.scope {
        return Ok(scoped::units(snapshot, ask, scope));
    }
    let pages = if source.rows.is_table {
        snapshot.pages(&source.rows.from)?
    } else {
        0
    };
    match snapshot.hold() {
        Hold::Together => Ok(by_pages(snapshot, pages)),
        Hold::Apart => by_keys(source, snapshot, ask, pages),
    }
}

fn by_pages(snapshot: &Arc<Snapshot>, pages: u32) -> Vec<Unit> {
    let each = pages.div_ceil(MOST_UNITS).max(UNIT_PAGES);
    let firsts = (0..pages.max(1)).step_by(each as usize);
    let unit = |first: u32| {
        let end = first.checked_add(each).filter(|end| *end < pages);
        let here = end.unwrap_or(pages) - first;
        let part = (pages > each).then_some(PartOf::Pages(Pages { first, end }));
        piece(snapshot, part, here)
    };
    firsts.map(unit).collect()
}

/// Ranges of keys where the server knows how they are spread, and has no digests to make of them; else all
/// of it.
fn by_keys(
    source: &Postgres,
    snapshot: &Arc<Snapshot>,
    ask: &Ask,
    pages: u32,
) -> Result<Vec<Unit>, PostgresError> {
    let whole = || Ok(vec![piece(snapshot, None, pages)]);
    let key = ask.bounds_of.as_deref().filter(|_| ask.hashed.is_none());
    let key = key.filter(|key| has_ranges(source.column(key)));
    let count = pages.div_ceil(UNIT_PAGES);
    let Some(key) = key.filter(|_| count > 1) else {
        return whole();
    };
    let position = source.schema.position(key);
    let header = &source.headers[position.expect("the key is a column of the source")];
    let bounds = snapshot.bounds(&source.rows.from, header)?;
    // What is at the ends of the statistics is at no end of the table.
    let inner = bounds.get(1..bounds.len().saturating_sub(1));
    let mut begins = spread(inner.unwrap_or_default(), count as usize - 1);
    begins.dedup();
    if begins.is_empty() {
        return whole();
    }
    let ends = begins.iter().cloned().map(Some).chain([None]);
    let firsts = [None].into_iter().chain(begins.iter().cloned().map(Some));
    let column: Arc<str> = key.into();
    let here = pages / u32::try_from(begins.len() + 1).unwrap_or(pages).max(1);
    let unit = |(first, end)| {
        let column = Arc::clone(&column);
        let keys = KeysFrom { column, first, end };
        piece(snapshot, Some(PartOf::Keys(keys)), here)
    };
    Ok(firsts.zip(ends).map(unit).collect())
}

/// A piece of so many pages; without a part all rows.
pub(super) fn piece(snapshot: &Arc<Snapshot>, part: Option<PartOf>, pages: u32) -> Unit {
    Unit {
        place: Place::Rows(InDatabase {
            instant: snapshot.instant().to_owned(),
            part,
        }),
        rows: None,
        bytes: u64::from(pages) * PAGE_BYTES,
        bounds: None,
        held: Some(Arc::clone(snapshot)),
    }
}

/// At most so many of them, as far apart as can be.
fn spread(bounds: &[String], count: usize) -> Vec<Arc<str>> {
    let count = count.min(bounds.len());
    let at = |number: usize| (number + 1) * bounds.len() / (count + 1);
    (0..count)
        .map(|number| bounds[at(number)].as_str().into())
        .collect()
}

/// What a row of a range meets; what it is compared with is added to `parameters`.
pub(super) fn condition(
    source: &Postgres,
    keys: &KeysFrom,
    parameters: &mut Vec<Parameter>,
) -> String {
    let column = source.column(&keys.column);
    let (select, theirs) = (&column.select, column.theirs.name());
    let mut compared = |sign: &str, with: &Arc<str>| {
        parameters.push(Box::new(with.to_string()));
        format!("{select} {sign} ${}::text::{theirs}", parameters.len())
    };
    let first = keys.first.as_ref().map(|first| compared(">=", first));
    let end = keys.end.as_ref().map(|end| compared("<", end));
    match (first, end) {
        (Some(first), Some(end)) => format!("{first} and {end}"),
        (Some(first), None) => first,
        (None, Some(end)) => format!("({end} or {select} is null)"),
        (None, None) => "true".to_owned(),
    }
}

/// Whether values of the column are the same when they come back from their texts, and are in an order.
fn has_ranges(column: &Column) -> bool {
    let plain = [
        Theirs::INT2,
        Theirs::INT4,
        Theirs::INT8,
        Theirs::TEXT,
        Theirs::VARCHAR,
        Theirs::UUID,
        Theirs::DATE,
    ];
    plain.contains(&column.theirs) && *column.sent() == column.theirs
}

/// How many pages a unit has at least: 32 MiB, behind which starting another read costs nothing.
const UNIT_PAGES: u32 = 4096;

/// How many units a table has at most: each is known by itself, and asked for open keys by itself.
const MOST_UNITS: u32 = 256;

/// The bytes of a page of a server that nobody has compiled otherwise: it is for the progress only.
const PAGE_BYTES: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_far_apart_as_can_be() {
        let bounds: Vec<String> = (1..=9).map(|n| n.to_string()).collect();
        let spread = |count| {
            let begins = spread(&bounds, count);
            begins
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(spread(0), "");
        assert_eq!(spread(1), "5");
        assert_eq!(spread(2), "47");
        assert_eq!(spread(9), "123456789");
        assert_eq!(super::spread(&[], 3).len(), 0);
    }
}
