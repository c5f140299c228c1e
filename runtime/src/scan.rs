//! What is read of the partition's inputs: by whom, in which order, and when which keys are complete.
//!
//! ```text
//! units, by their least key --> ranges: whose the keys are, and who reads the unit
//!                           --> stretches: when it is read, and when keys are complete
//! ```

mod ranges;
mod scope;
mod span;
mod stretches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use operators::key::Key;
use operators::placement::Ranges;
use operators::source::{Ask, Only, Pinned, Unit};
use pipelines::plan::Plan;

use self::span::Span;
use self::stretches::Stretches;
use crate::dimensions::Dimensions;
use crate::error::RunError;
use crate::known::UnitNumber;
use crate::look::Look;
use crate::sample::Sample;

/// The reading of a run.
pub(crate) struct Scan {
    /// The inputs.
    pub(crate) inputs: Vec<Input>,
    /// The units of all inputs, in the order in which they are read.
    pub(crate) pieces: Vec<Piece>,
    /// The keys of each process, if the units fall apart so.
    ranges: Option<Ranges>,
    stretches: Stretches,
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
    /// The source as it is read.
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
    /// The process that reads it.
    pub(crate) process: usize,
    /// Its number, in a process that follows.
    pub(crate) number: UnitNumber,
    /// Whether it is known, so that it is read for open keys only.
    pub(crate) is_known: bool,
}

impl Scan {
    /// Pins the sources. Dimensions say which rows those have that are driven; of these the rows of the
    /// keys in `look` are read, and of a sample of the keys no more where that can be. Each of several
    /// processes reads its part of the pieces: those of its range of keys, where processes may have such
    /// (`by_range`).
    pub(crate) fn of(
        plan: &Plan,
        (dimensions, look, sample): (&Dimensions, &Look, Option<Sample>),
        process: (usize, usize),
        by_range: bool,
    ) -> Result<Scan, RunError> {
        let mut inputs = Vec::new();
        let mut pieces = Vec::new();
        for (number, input) in plan.inputs.iter().enumerate() {
            let source = &plan.sources[input.source];
            let mut scope = dimensions.scope(source);
            if let Some(sample) = sample {
                scope = scope::of_sample(sample, (input, source), scope)?;
            }
            let ask = Ask {
                scope: scope.clone(),
                only: look.only(input, source),
                ..input.ask(source)
            };
            let pinned = source.source.units(&ask)?;
            let units = pinned.units.iter().cloned();
            pieces.extend(units.map(|unit| Piece::new(number, unit)));
            inputs.push(Input {
                digest_ask: Ask {
                    scope,
                    ..input.digest_ask(source)
                },
                // The rows of keys that are named are few, and are read at once.
                selects: source.source.selects() && input.key.is_some() && !look.leaves_out(),
                reads_twice: false,
                ask,
                pinned,
            });
        }
        let (ranges, stretches) = order(&mut pieces, if by_range { process.1 } else { 1 });
        let mut scan = Scan {
            inputs,
            pieces,
            ranges,
            stretches,
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
            self.stretches = Stretches::one();
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

    /// The keys of each process, if each reads the rows of its own.
    pub(crate) fn ranges(&self) -> Option<&Ranges> {
        self.ranges.as_ref()
    }

    /// Gives each piece to a process: by its keys, or in turn.
    fn share_out(&mut self) {
        let (process, processes) = self.process;
        let (mut read, mut known) = ((0..processes).cycle(), (0..processes).cycle());
        for piece in &mut self.pieces {
            let turns = if piece.is_known {
                &mut known
            } else {
                &mut read
            };
            let by_range = self.ranges.as_ref().zip(Span::of(&piece.unit));
            piece.process = match by_range {
                Some((ranges, span)) => ranges.reader_of(&span.least),
                None => turns.next().expect("there is a process"),
            };
        }
        let mine = self.pieces.iter().enumerate();
        let mine = mine.filter(|(_, piece)| !piece.is_known && piece.process == process);
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
        self.stretches.count
    }

    /// The stretch after which a key is complete.
    pub(crate) fn stretch_of(&self, key: &Key) -> usize {
        self.stretches.of_key(key)
    }

    /// Whether a key is complete when the first `reached` stretches are.
    pub(crate) fn is_complete(&self, key: &Key, reached: usize) -> bool {
        self.stretches.is_complete(key, reached)
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

/// Puts the pieces into the order of their least keys, and gives each its stretch; gives the ranges
/// of so many processes, if they have such.
fn order(pieces: &mut [Piece], processes: usize) -> (Option<Ranges>, Stretches) {
    pieces.sort_by_cached_key(|piece| Span::of(&piece.unit).map(|span| span.least));
    let units = pieces.iter();
    let units: Vec<_> = units
        .map(|piece| (Span::of(&piece.unit), piece.unit.bytes))
        .collect();
    let ranges = ranges::ranges(&units, processes);
    let leasts = units
        .iter()
        .map(|(span, _)| Some(span.as_ref()?.least.as_str()));
    let leasts: Vec<Option<&str>> = leasts.collect();
    let bytes = units.iter().map(|(_, bytes)| bytes).sum();
    let stretches = Stretches::of(leasts.iter().copied(), ranges.as_ref(), bytes);
    for (piece, least) in pieces.iter_mut().zip(leasts) {
        piece.stretch = least.map_or(0, |least| stretches.of_unit(least));
    }
    (ranges, stretches)
}
