//! Rows of one key as bytes: ids, each with the hash of its content or without.
//!
//! A row is a tag; the length of its id, u32; the id; and, where it is told, the hash, u128. Numbers
//! are little-endian. What is put after each other is read in the same order.

use super::StateError;

const TOLD: u8 = 1;
const RETRACTED: u8 = 2;
const KEPT: u8 = 3;

/// A row: its id, and what is put of it.
pub(super) type Row<'a> = (&'a [u8], Put);

/// What is put of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The sink holds it, and its content has this hash.
    Told(u128),
    /// The same; and the sink was told it beneath the same key before. Stands in what is staged alone.
    Kept(u128),
    /// The sink does not hold it, or not for this key.
    Retracted,
}

impl Put {
    /// The hash of its content, where the sink holds it.
    pub(super) fn hash(self) -> Option<u128> {
        match self {
            Put::Told(hash) | Put::Kept(hash) => Some(hash),
            Put::Retracted => None,
        }
    }

    fn tag(self) -> u8 {
        match self {
            Put::Told(_) => TOLD,
            Put::Kept(_) => KEPT,
            Put::Retracted => RETRACTED,
        }
    }
}

/// Puts a row behind others.
///
/// # Panics
/// When the id is longer than 4 GiB, which no store could hold.
pub(super) fn put(bytes: &mut Vec<u8>, (id, put): Row<'_>) {
    let length = u32::try_from(id.len()).expect("an id is shorter than 4 GiB");
    bytes.push(put.tag());
    bytes.extend(length.to_le_bytes());
    bytes.extend(id);
    if let Some(hash) = put.hash() {
        bytes.extend(hash.to_le_bytes());
    }
}

/// How many bytes a row takes.
pub(super) fn len((id, put): Row<'_>) -> usize {
    1 + 4 + id.len() + put.hash().map_or(0, |_| 16)
}

/// The rows of these bytes, which stood in `table`.
pub(super) fn rows<'a>(
    mut bytes: &'a [u8],
    table: &'static str,
) -> impl Iterator<Item = Result<Row<'a>, StateError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((row, rest)) = split_row(bytes) else {
            bytes = &[];
            return Some(Err(StateError::record(table)));
        };
        bytes = rest;
        Some(Ok(row))
    })
}

fn split_row(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (id, rest) = rest.split_at_checked(length)?;
    let of = match *tag {
        TOLD => Put::Told,
        KEPT => Put::Kept,
        RETRACTED => return Some(((id, Put::Retracted), rest)),
        _ => return None,
    };
    let (hash, rest) = rest.split_first_chunk()?;
    Some(((id, of(u128::from_le_bytes(*hash))), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_as_they_were_put() {
        let long = vec![7; 70_000];
        let all: [Row<'_>; 4] = [
            (b"", Put::Told(0)),
            (b"a", Put::Retracted),
            (&long, Put::Kept(u128::MAX)),
            (b"", Put::Retracted),
        ];
        let mut bytes = Vec::new();
        for row in all {
            put(&mut bytes, row);
        }
        assert_eq!(bytes.len(), all.into_iter().map(len).sum::<usize>());
        let read: Vec<Row<'_>> = rows(&bytes, "told").map(Result::unwrap).collect();
        assert_eq!(read, all);
    }

    #[test]
    fn what_is_cut_off_or_of_another_tag_is_refused_and_not_read_on() {
        let mut whole = Vec::new();
        put(&mut whole, (b"id", Put::Told(1)));
        let mut other = whole.clone();
        other[0] = 9;
        let cut = (1..whole.len()).map(|len| whole[..len].to_vec());
        for bytes in cut.chain([other, vec![1, 255, 255, 255, 255]]) {
            let read: Vec<_> = rows(&bytes, "told").collect();
            assert!(matches!(read[..], [Err(StateError::Record { .. })]));
        }
    }
}
