//! Rows of a `COPY .. TO STDOUT (format binary)`, out of bytes that are cut anywhere.
//!
//! ```text
//!   "PGCOPY\n\xff\r\n\0"  flags  length of more  more  | count  length value  length value .. | .. | -1
//!   head                                               | row                                  |    | end
//! ```

use super::cells::Malformed;

/// The bytes that came and are not yet rows.
#[derive(Default)]
pub(super) struct Tuples {
    /// What is left of the bytes that came before: the beginning of a row.
    left: Vec<u8>,
    is_past_head: bool,
    has_ended: bool,
}

/// Takes a row.
pub(super) type Each<'a, E> = &'a mut dyn FnMut(&mut Tuple) -> Result<(), E>;

/// The values of a row, one after the other.
pub(super) struct Tuple<'a> {
    rest: &'a [u8],
}

impl Tuples {
    /// Takes more bytes, and gives each row that is whole, of so many values, to `row`.
    pub(super) fn take<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        columns: usize,
        row: Each<'_, E>,
    ) -> Result<(), E> {
        if self.left.is_empty() {
            let taken = self.rows(bytes, columns, row)?;
            self.left.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.left);
        all.extend_from_slice(bytes);
        let taken = self.rows(&all, columns, row)?;
        all.drain(..taken);
        self.left = all;
        Ok(())
    }

    /// Whether all rows came.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended && self.left.is_empty()
    }

    /// Gives the rows that are whole, and how many bytes they and what is before them are.
    fn rows<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        columns: usize,
        row: Each<'_, E>,
    ) -> Result<usize, E> {
        let mut rest = bytes;
        if !self.is_past_head {
            let Some(behind) = behind_head(rest)? else {
                return Ok(0);
            };
            rest = behind;
            self.is_past_head = true;
        }
        while let Some((count, values)) = rest.split_first_chunk() {
            if self.has_ended {
                return Err(Malformed.into());
            }
            let count = i16::from_be_bytes(*count);
            if count == END {
                (rest, self.has_ended) = (values, true);
                continue;
            }
            if usize::try_from(count) != Ok(columns) {
                return Err(Malformed.into());
            }
            let Some(length) = length(values, columns)? else {
                break;
            };
            let (values, behind) = values.split_at(length);
            row(&mut Tuple::of(values))?;
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }
}

impl<'a> Tuple<'a> {
    /// The row of these values, each with its length before it.
    pub(super) fn of(values: &'a [u8]) -> Self {
        Tuple { rest: values }
    }

    /// What is left of it.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// The next value; `None` is null.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        let length = i32::from_be_bytes(*length);
        if length == NULL {
            self.rest = rest;
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Some(value))
    }
}

/// What comes behind the head; `None`: it is not all there.
fn behind_head(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let head = SIGNATURE.len() + 4;
    let Some((length, rest)) = bytes.get(head..).and_then(<[u8]>::split_first_chunk) else {
        return Ok(None);
    };
    if !bytes.starts_with(SIGNATURE) {
        return Err(Malformed);
    }
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Malformed)?;
    Ok(rest.get(length..))
}

/// How many bytes the values of a row take; `None`: they are not all there.
fn length(values: &[u8], columns: usize) -> Result<Option<usize>, Malformed> {
    let mut at = 0;
    for _ in 0..columns {
        let Some(length) = values.get(at..).and_then(<[u8]>::first_chunk) else {
            return Ok(None);
        };
        at += 4;
        match i32::from_be_bytes(*length) {
            NULL => {}
            length => at += usize::try_from(length).map_err(|_| Malformed)?,
        }
    }
    Ok((at <= values.len()).then_some(at))
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The count of values behind the last row.
const END: i16 = -1;

/// The length of a value that is null.
const NULL: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 4]);
        bytes.extend([0, 0, 0, 2, 7, 7]);
        for row in [b"ab", b"cd"] {
            bytes.extend([0, 2, 0, 0, 0, 2]);
            bytes.extend(row);
            bytes.extend([0xff; 4]);
        }
        bytes.extend([0xff; 2]);
        bytes
    }

    fn read(pieces: &[&[u8]]) -> Result<(Vec<Vec<u8>>, bool), Malformed> {
        let (mut tuples, mut rows) = (Tuples::default(), Vec::new());
        for piece in pieces {
            tuples.take(piece, 2, &mut |row| {
                rows.push(row.next()?.unwrap_or_default().to_vec());
                assert_eq!(row.next()?, None);
                Ok::<_, Malformed>(())
            })?;
        }
        Ok((rows, tuples.has_ended()))
    }

    #[test]
    fn rows_are_the_same_wherever_their_bytes_are_cut() {
        let stream = stream();
        let rows = vec![b"ab".to_vec(), b"cd".to_vec()];
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(read(&[first, second]), Ok((rows.clone(), true)), "{cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes), Ok((rows.clone(), true)));
    }

    #[test]
    fn what_is_no_such_stream_is_told() {
        let stream = stream();
        let cut = &stream[..stream.len() - 1];
        assert_eq!(read(&[cut]).map(|(_, ended)| ended), Ok(false));
        assert_eq!(read(&[&stream, &[0, 2]]), Err(Malformed));
        assert_eq!(read(&[&stream[1..]]), Err(Malformed));
        let mut tuples = Tuples::default();
        let taken = tuples.take(&stream, 3, &mut |_| Ok(()));
        assert_eq!(taken, Err(Malformed));
    }
}
