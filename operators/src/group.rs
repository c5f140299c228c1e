//! Key groups: the rows of one key from all inputs, and what is wrong with them.
//!
//! ```text
//! chunk of an input --> parcels, one for each worker --> groups of that worker --> digests --> gate
//!                                                              +--> batch: whole groups of open keys
//! ```

mod canonical;
mod kept;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::chunk::Chunk;
use crate::digest::{Digest, bytes_hash};
use crate::key::Key;
use crate::parcel::Parcel;
use crate::value::Value;
use kept::{Group, Input, Taken};

/// What is wrong with a row of a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ErrorRow {
    /// The stage that found it.
    pub stage: Arc<str>,
    /// What is wrong; holds no value of the row.
    pub message: String,
    /// The row's id, as [`ErrorRow::row_of`] writes it, where it is known. It may be a person's number: it
    /// is for the errors' own sink, not for messages.
    pub row: Option<String>,
}

impl fmt::Debug for ErrorRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stage, message) = (&self.stage, &self.message);
        f.debug_struct("ErrorRow")
            .field("stage", stage)
            .field("message", message)
            .finish_non_exhaustive()
    }
}

impl ErrorRow {
    /// The id of a row with these cells, as `column=value` for each; `None` of one without any.
    pub fn row_of<'a>(id: impl Iterator<Item = (&'a str, Value)>) -> Option<String> {
        let cells = id.map(|(column, value)| format!("{column}={value}"));
        let cells: Vec<String> = cells.collect();
        (!cells.is_empty()).then(|| cells.join(" "))
    }

    /// The hash of its content: its identity within its key.
    pub fn hash(&self) -> u128 {
        let row = self.row.as_deref().unwrap_or("\0");
        bytes_hash(format!("{}\0{}\0{row}", self.stage, self.message).as_bytes())
    }
}

/// The groups of the keys that one worker owns.
pub struct Groups {
    inputs: Vec<Input>,
    bytes: usize,
    /// Rows that a group may have, and the stage that reports one with more.
    most: (u64, Arc<str>),
}

/// What is known of a key from a unit that is not read.
#[derive(Clone, Copy, Debug)]
pub struct Recalled<'a> {
    /// Which input.
    pub input: u16,
    /// The number of the unit.
    pub unit: u32,
    /// The digest of the rows that the unit has of the key, without errors.
    pub digest: Digest,
    /// What is wrong with them.
    pub errors: &'a BTreeSet<ErrorRow>,
}

/// Whole groups of some keys.
#[derive(Clone, Debug)]
pub struct Batch {
    /// How reports name it.
    pub cut: String,
    /// The keys, in order; also those of which there are no rows any more.
    pub keys: Vec<Key>,
    /// The digest of each key from each input, by input and key; none where it has nothing of the key.
    pub digests: Vec<Vec<Option<Digest>>>,
    /// The rows of each input: in the order of their keys, then in canonical order. The origin of a
    /// row is the position of its key.
    pub inputs: Vec<Chunk>,
    /// What was wrong before the gate, with the position of the key.
    pub errors: Vec<(u32, ErrorRow)>,
}

impl Batch {
    /// The rows of each side of the partition; `side_of` says for each input to which it leads. Fails
    /// when a column would be larger than Arrow allows: 2 GiB of text.
    pub fn of_sides(&self, side_of: &[usize]) -> Result<Vec<Chunk>, ArrowError> {
        let sides: BTreeSet<usize> = side_of.iter().copied().collect();
        let rows = |side: usize| {
            let inputs = self.inputs.iter().zip(side_of);
            let of_side = inputs.filter(|(_, of)| **of == side);
            Chunk::by_origin(&of_side.map(|(rows, _)| rows.clone()).collect::<Vec<_>>())
        };
        sides.into_iter().map(rows).collect()
    }
}

impl Groups {
    /// No groups yet of inputs with these columns, of which some identify a row. A group with more
    /// rows than `most` is an error of the stage named there, and has none.
    ///
    /// Errors count in the digests of an input, unless its rows go by a version: then not all of its
    /// columns are looked at, and what is wrong with a row is mended by another version of it.
    pub fn new(
        inputs: impl IntoIterator<Item = (SchemaRef, Vec<usize>, bool)>,
        most: (u64, Arc<str>),
    ) -> Self {
        let input = |(schema, id, by_version)| Input::new(schema, id, by_version);
        Groups {
            inputs: inputs.into_iter().map(input).collect(),
            bytes: 0,
            most,
        }
    }

    /// Adds the rows and errors of a parcel; gives the keys of which the input had nothing before.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn add(&mut self, parcel: Parcel) -> Vec<Key> {
        let input = &mut self.inputs[usize::from(parcel.input)];
        let keeps_rows = parcel.rows.num_columns() > 0;
        let chunk = input.next_chunk();
        let mut new = Vec::new();
        for (key, rows) in parcel.rows_of_keys() {
            let group = input.group(key, &mut new);
            for row in rows {
                group.digest.add_all(parcel.digest(*row));
            }
            if keeps_rows {
                group.rows.extend(rows.iter().map(|row| (chunk, *row)));
            }
            group.is_in(parcel.unit);
        }
        for (key, error) in &parcel.errors {
            let counts = !input.by_version || key.is_reserved();
            let group = input.group(key, &mut new);
            if group.errors.insert(error.clone()) && counts {
                group.digest.add_error(error.hash());
            }
            // Also of a key whose rows are all dropped: it is to be read again for its errors.
            group.is_in(parcel.unit);
        }
        if keeps_rows && !parcel.at.is_empty() {
            let bytes = parcel.bytes();
            self.bytes += bytes;
            input.keep(parcel, bytes);
        }
        new
    }

    /// Adds what is known of a key without reading it; gives whether the input had nothing of the key
    /// before.
    ///
    /// # Panics
    /// When there is no such input.
    pub fn recall(&mut self, key: &Key, recalled: &Recalled) -> bool {
        let input = &mut self.inputs[usize::from(recalled.input)];
        let counts = !input.by_version || key.is_reserved();
        let mut new = Vec::new();
        let group = input.group(key, &mut new);
        group.digest.add_all(recalled.digest);
        for error in recalled.errors {
            if group.errors.insert(error.clone()) && counts {
                group.digest.add_error(error.hash());
            }
        }
        group.is_in(recalled.unit);
        !new.is_empty()
    }

    /// The bytes that the rows take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Brings all rows to disk, those of one cut together. Fails when the disk does.
    pub fn spill(&mut self, folder: &Path, cut: impl Fn(&Key) -> String) -> Result<(), ArrowError> {
        for input in &mut self.inputs {
            input.spill(folder, &cut)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The digest of each key from each input, in no order.
    pub fn digests(&self) -> impl Iterator<Item = (&Key, u16, Digest)> {
        (0..).zip(&self.inputs).flat_map(|(number, input)| {
            input
                .groups
                .iter()
                .map(move |(key, group)| (key, number, group.digest))
        })
    }

    /// The digest of a key from each input that has something of it.
    pub fn digests_of(&self, key: &Key) -> impl Iterator<Item = (u16, Digest)> {
        let inputs = (0..).zip(&self.inputs);
        inputs.filter_map(move |(number, input)| Some((number, input.groups.get(key)?.digest)))
    }

    /// Forgets what there is of a key from an input, which is about to come again; gives the units
    /// that hold something of it.
    pub fn reopen(&mut self, key: &Key, input: u16) -> Vec<u32> {
        let input = &mut self.inputs[usize::from(input)];
        let Some(group) = input.groups.remove(key) else {
            return Vec::new();
        };
        self.bytes -= input.release(&group.rows);
        group.units.into_vec()
    }

    /// How many bytes the rows of a key take, or will take, about.
    pub fn weight(&self, key: &Key) -> usize {
        let of = |input: &Input| {
            let rows = input.groups.get(key).map_or(0, |group| group.digest.rows);
            let (all, bytes) = match input.came {
                (0, _) => (1, input.schema.fields().len() * CELL),
                came => came,
            };
            usize::try_from(rows)
                .unwrap_or(usize::MAX)
                .saturating_mul(bytes)
                / all
        };
        self.inputs.iter().map(of).sum()
    }

    /// Forgets what there is of a key; it may come again.
    pub fn forget(&mut self, key: &Key) {
        for input in &mut self.inputs {
            if let Some(group) = input.groups.remove(key) {
                self.bytes -= input.release(&group.rows);
            }
        }
    }

    /// Takes the groups of these keys of a cut out, which are in order. Fails when a column by which rows are put in order would
    /// be larger than Arrow allows: 2 GiB of text.
    pub fn take(&mut self, (cut, name): (&str, &str), keys: Vec<Key>) -> Result<Batch, ArrowError> {
        let (mut digests, mut inputs, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = vec![0; keys.len()];
        let mut of_inputs = Vec::with_capacity(self.inputs.len());
        for input in &mut self.inputs {
            let groups = keys.iter().map(|key| input.groups.remove(key));
            let groups: Vec<Option<Group>> = groups.collect();
            for (rows, group) in rows.iter_mut().zip(&groups) {
                *rows += group.as_ref().map_or(0, |group| group.digest.rows);
            }
            of_inputs.push(groups);
        }
        for (position, rows) in (0..).zip(&rows).filter(|(_, rows)| **rows > self.most.0) {
            errors.push((position, too_many(*rows, &self.most)));
        }
        for (input, groups) in self.inputs.iter_mut().zip(of_inputs) {
            let mut of_keys = Vec::with_capacity(keys.len());
            let mut taken = Taken::default();
            for (position, group) in (0..).zip(groups) {
                of_keys.push(group.as_ref().map(|group| group.digest));
                let Some(mut group) = group else { continue };
                let found = std::mem::take(&mut group.errors);
                errors.extend(found.into_iter().map(|error| (position, error)));
                if rows[position as usize] > self.most.0 {
                    self.bytes -= input.release(&group.rows);
                    continue;
                }
                self.bytes -= input.take(position, &group, &mut taken);
            }
            input.take_spilled((cut, &keys), &mut taken)?;
            digests.push(of_keys);
            inputs.push(input.sorted(taken)?);
        }
        Ok(Batch {
            cut: name.to_owned(),
            keys,
            digests,
            inputs,
            errors,
        })
    }
}

/// The bytes that a cell takes when nothing is known of it.
const CELL: usize = 16;

fn too_many(rows: u64, (most, stage): &(u64, Arc<str>)) -> ErrorRow {
    ErrorRow {
        stage: Arc::clone(stage),
        message: format!("{rows} rows of one key, more than `max_group_rows`: {most}"),
        row: None,
    }
}
