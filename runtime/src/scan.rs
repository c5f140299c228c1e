//! What is read of the partition's inputs, in which order, and when which keys are complete.
//!
//! ```text
//! units, by their least key     [10 .. 17] [12 .. 18] | [30 .. 34] | [40 .. 41] [? .. ?]
//! stretches                     0                     | 1          | 2
//! complete after it             keys before 30        | before 40  | all
//! ```
//!
//! A unit whose keys are not known may hold any key, so it is read first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use operators::key::Key;
use operators::source::{Ask, Only, Pinned, Unit};
use operators::value::Value;
use pipelines::plan::Plan;

use crate::error::RunError;
use crate::known::UnitNumber;

/// How many stretches there are at most: each is a round through the gate.
const STRETCHES: usize = 64;

/// The reading of a run.
pub(crate) struct Scan {
    /// The inputs.
    pub(crate) inputs: Vec<Input>,
    /// The units of all inputs, in the order in which they are read.
    pub(crate) pieces: Vec<Piece>,
    /// For each stretch but the last, the text before which keys are complete after it.
    ends: Vec<String>,
    next: AtomicUsize,
    /// The pieces that this process is to read, of those that all read between them.
    to_read: Vec<usize>,
    /// Which piece has the number of a known unit.
    known: BTreeMap<UnitNumber, u32>,
    /// The units that were known, and are there no more.
    gone: BTreeSet<UnitNumber>,
    /// Whether only what is new is read.
    feeds: bool,
    /// The number of this process, and how many share the pieces.
    process: (usize, usize),
}

/// An input of the partition.
pub(crate) struct Input {
    /// What is wanted of its source: all that is read of it.
    pub(crate) ask: Ask,
    /// What is wanted for digests only.
    pub(crate) digest_ask: Ask,
    /// The source's files.
    pub(crate) pinned: Pinned,
    /// Whether its source can give the rows of some keys.
    selects: bool,
    /// Whether the first read is for digests only, and the rows of open keys are read afterwards.
    pub(crate) reads_twice: bool,
}

/// A unit in the order of reading.
pub(crate) struct Piece {
    /// Whose it is.
    pub(crate) input: usize,
    /// What it is.
    pub(crate) unit: Unit,
    /// The stretch in which it is read.
    pub(crate) stretch: usize,
    /// Its number, in a process that follows.
    pub(crate) number: UnitNumber,
    /// Whether it is known, so that it is read for open keys only.
    pub(crate) is_known: bool,
}

impl Scan {
    /// Pins the sources. Each of several processes reads its part of the pieces.
    pub(crate) fn of(plan: &Plan, process: (usize, usize)) -> Result<Scan, RunError> {
        let mut inputs = Vec::new();
        let mut pieces = Vec::new();
        for (number, input) in plan.inputs.iter().enumerate() {
            let source = &plan.sources[input.source];
            let ask = Ask {
                bounds_of: input.key.clone(),
                ..source.ask()
            };
            let pinned = source.source.units(&ask)?;
            let units = pinned.units.iter().cloned();
            pieces.extend(units.map(|unit| Piece::new(number, unit)));
            let digest_ask = Ask {
                columns: input.digest.reads.clone(),
                ..ask.clone()
            };
            inputs.push(Input {
                digest_ask,
                selects: source.source.selects() && input.key.is_some(),
                reads_twice: false,
                ask,
                pinned,
            });
        }
        let ends = stretches(&mut pieces);
        let mut scan = Scan {
            inputs,
            pieces,
            ends,
            next: AtomicUsize::new(0),
            to_read: Vec::new(),
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            feeds: false,
            process,
        };
        scan.share_out();
        Ok(scan)
    }

    /// With only what is new to be read, when that is what `feeds` says: what is known was numbered,
    /// these units are gone, and all keys are complete at the end.
    pub(crate) fn feed(&mut self, gone: BTreeSet<UnitNumber>, feeds: bool) {
        (self.gone, self.feeds) = (gone, feeds);
        if feeds {
            self.ends.clear();
            for (number, piece) in (0..).zip(&mut self.pieces) {
                piece.stretch = 0;
                if piece.is_known {
                    self.known.insert(piece.number, number);
                }
            }
            for input in &mut self.inputs {
                input.reads_twice = true;
            }
        }
        self.share_out();
    }

    /// Whether only what is new is read.
    pub(crate) fn feeds(&self) -> bool {
        self.feeds
    }

    /// Whether a pass may read only what is new: each input can give the rows of some keys.
    pub(crate) fn can_feed(&self) -> bool {
        self.inputs
            .iter()
            .all(|input| input.ask.bounds_of.is_some())
    }

    /// The piece that has the number of a known unit.
    pub(crate) fn known_piece(&self, number: UnitNumber) -> Option<u32> {
        self.known.get(&number).copied()
    }

    /// The numbers of units that are new, or gone.
    pub(crate) fn moved(&self) -> impl Iterator<Item = UnitNumber> {
        let new = self.pieces.iter().filter(|piece| !piece.is_known);
        new.map(|piece| piece.number)
            .chain(self.gone.iter().copied())
    }

    /// The units that were known, and are there no more.
    pub(crate) fn gone(&self) -> &BTreeSet<UnitNumber> {
        &self.gone
    }

    fn share_out(&mut self) {
        let (process, processes) = self.process;
        let unread = self.pieces.iter().enumerate();
        let unread = unread.filter(|(_, piece)| !piece.is_known);
        let mine = unread.skip(process).step_by(processes);
        self.to_read = mine.map(|(number, _)| number).collect();
    }

    /// Few keys are expected to be open: then a source that can give the rows of some keys is read for
    /// digests first.
    pub(crate) fn expect_few(&mut self) {
        for input in &mut self.inputs {
            input.reads_twice |= input.selects;
        }
    }

    /// How many stretches there are: at least one.
    pub(crate) fn stretches(&self) -> usize {
        self.ends.len() + 1
    }

    /// The stretch after which a key is complete. Errors without a key are so in the end.
    pub(crate) fn stretch_of(&self, key: &Key) -> usize {
        if key.is_reserved() {
            return self.ends.len();
        }
        self.ends.partition_point(|end| end.as_str() <= key.text())
    }

    /// Whether a key is complete when the first `reached` stretches are.
    pub(crate) fn is_complete(&self, key: &Key, reached: usize) -> bool {
        match reached.checked_sub(1).map(|last| self.ends.get(last)) {
            None => false,
            Some(Some(end)) => !key.is_reserved() && key.text() < end.as_str(),
            Some(None) => true,
        }
    }

    /// The next piece to be read by this process; each is given once.
    pub(crate) fn next(&self) -> Option<usize> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.to_read.get(next).copied()
    }

    /// Whether some input is read twice.
    pub(crate) fn reads_twice(&self) -> bool {
        self.inputs.iter().any(|input| input.reads_twice)
    }
}

impl Input {
    /// What is wanted of the source when the rows of these keys are.
    pub(crate) fn only(&self, keys: &[Key]) -> Ask {
        let column = self.ask.bounds_of.as_deref();
        let column = column.expect("a source that is read twice has a column of the key");
        let keys = keys.iter().filter(|key| !key.is_reserved());
        let only = Only::of(column, keys.map(|key| key.text().to_owned()).collect());
        Ask {
            only: Some(only),
            ..self.ask.clone()
        }
    }
}

/// Puts the pieces into the order in which they are read and gives each its stretch; gives the ends
/// of the stretches.
fn stretches(pieces: &mut [Piece]) -> Vec<String> {
    pieces.sort_by_cached_key(|piece| least_key(&piece.unit));
    let mut ends: Vec<(usize, String)> = Vec::new();
    for at in 1..pieces.len() {
        let Some(least) = least_key(&pieces[at].unit) else {
            continue;
        };
        if ends.last().map_or(
            Some(&least) > least_key(&pieces[0].unit).as_ref(),
            |(_, end)| *end < least,
        ) {
            ends.push((at, least));
        }
    }
    // Some keys are complete only if no unit that may hold any key is left: such units come first.
    let each = ends.len().div_ceil(STRETCHES).max(1);
    let ends: Vec<(usize, String)> = ends
        .into_iter()
        .enumerate()
        .filter(|(at, _)| (at + 1) % each == 0)
        .map(|(_, end)| end)
        .collect();
    for (at, piece) in pieces.iter_mut().enumerate() {
        piece.stretch = ends.partition_point(|(first, _)| *first <= at);
    }
    ends.into_iter().map(|(_, end)| end).collect()
}

/// The least text that a key of the unit can have; `None` when nothing is known of it. A prefix says
/// no more than that: it is the least text that begins with it.
///
/// The texts of whole numbers are in the order of the numbers when they have equally many digits.
fn least_key(unit: &Unit) -> Option<String> {
    let bounds = unit.bounds.as_ref()?;
    match (&bounds.least, &bounds.greatest) {
        (Value::Text(least), _) => Some(least.clone()),
        (Value::Int(least), Value::Int(greatest)) if *least >= 0 => {
            let (least, greatest) = (least.to_string(), greatest.to_string());
            (least.len() == greatest.len()).then_some(least)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use operators::source::{Bounds, FileInstant, Part};

    use super::*;

    fn piece(bounds: Option<(Value, Value)>) -> Piece {
        let file = FileInstant {
            path: "x".into(),
            bytes: 0,
            modified: 0,
        };
        let bounds = bounds.map(|(least, greatest)| Bounds {
            least,
            greatest,
            prefix: None,
            nulls: true,
        });
        let unit = Unit {
            file,
            part: Part::Whole,
            rows: None,
            bytes: 0,
            bounds,
            path_values: std::collections::BTreeMap::new(),
        };
        Piece::new(0, unit)
    }

    fn texts(bounds: &[(&str, &str)]) -> (Vec<usize>, Vec<String>) {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut pieces: Vec<Piece> = bounds
            .iter()
            .map(|(least, greatest)| piece(Some((text(least), text(greatest)))))
            .collect();
        let ends = stretches(&mut pieces);
        (pieces.iter().map(|piece| piece.stretch).collect(), ends)
    }

    #[test]
    fn a_key_is_complete_when_no_later_unit_begins_before_it() {
        let (stretches, ends) = texts(&[("30", "34"), ("10", "17"), ("12", "99"), ("12", "18")]);
        assert_eq!(stretches, [0, 1, 1, 2]);
        assert_eq!(ends, ["12", "30"]);
        let scan = Scan {
            inputs: Vec::new(),
            pieces: Vec::new(),
            ends,
            next: AtomicUsize::new(0),
            to_read: Vec::new(),
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            feeds: false,
            process: (0, 1),
        };
        let of = |key: &str| scan.stretch_of(&Key::of(key));
        // What ends in a unit of the first stretch may go on in the second.
        assert_eq!(
            ["", "11", "12", "29", "30", "x"].map(of),
            [0, 0, 1, 1, 2, 2]
        );
        assert_eq!(scan.stretch_of(&Key::reserved("a")), 2);
    }

    #[test]
    fn a_prefix_bounds_keys_by_its_own_text() {
        // As `prefix_of` gives them: every key begins with the prefix, which is the least of them.
        let prefixes = ["21", "12", "123", "3", "12", "\u{10ffff}"];
        let mut pieces = prefixes.map(|prefix| {
            let text = |text: &str| Value::Text(text.to_owned());
            let mut piece = piece(Some((text(prefix), text("\u{10ffff}"))));
            let bounds = piece.unit.bounds.as_mut().unwrap();
            bounds.prefix = Some(prefix.to_owned());
            piece
        });
        let ends = stretches(&mut pieces);
        assert_eq!(ends, ["123", "21", "3", "\u{10ffff}"]);
        for piece in &pieces {
            let prefix = piece.unit.bounds.as_ref().unwrap().prefix.as_ref().unwrap();
            for more in ["", "\0", "0", "3", "\u{10ffff}"] {
                let key = format!("{prefix}{more}");
                let complete = ends[..piece.stretch].iter().find(|end| key < **end);
                assert_eq!(complete, None, "{key:?} comes after its stretch");
            }
        }
    }

    #[test]
    fn what_may_hold_any_key_is_read_first() {
        let number = |number| Value::Int(number);
        let mut pieces = vec![
            piece(Some((number(10), number(20)))),
            piece(Some((number(5), number(20)))),
            piece(None),
            piece(Some((number(30), number(40)))),
        ];
        assert_eq!(stretches(&mut pieces), ["10", "30"]);
        let all: Vec<usize> = pieces.iter().map(|piece| piece.stretch).collect();
        // The unknown one, and the one whose numbers are not in the order of their texts.
        assert_eq!(all, [0, 0, 1, 2]);
    }

    #[test]
    fn there_are_not_more_stretches_than_is_good() {
        let bounds: Vec<String> = (0..5000).map(|at| format!("{at:04}")).collect();
        let bounds: Vec<(&str, &str)> =
            bounds.iter().map(|at| (at.as_str(), at.as_str())).collect();
        let (stretches, ends) = texts(&bounds);
        assert!(
            ends.len() < STRETCHES && ends.len() > STRETCHES / 2,
            "{}",
            ends.len()
        );
        assert!(stretches.is_sorted() && *stretches.last().unwrap() == ends.len());
        assert_eq!(texts(&[]), (vec![], vec![]));
    }
}
