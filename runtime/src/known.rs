//! What a process that follows its sources knows of them from pass to pass, so that a pass reads only
//! what is new.
//!
//! ```text
//! units of a pass --> read before and still the same: known
//!                 --> new, or changed: read
//! units of the pass before that are not among them: gone
//!
//! keys of units that were read or are gone, and unclean keys: touched
//!   digest of a touched key = what is known of it from all units that are not gone
//! ```
//!
//! All other keys have the digest that they had, so the gate need not see them. What is known takes
//! some ninety bytes for each key in each unit, beside what `memory` bounds; no rows.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use operators::digest::Digest;
use operators::fault;
use operators::group::{ErrorRow, Recalled};
use operators::key::Key;
use operators::parcel::Parcel;
use operators::source::{Place, Unit};

use crate::scan::{Piece, Scan};

/// The number that a unit has as long as it is known.
pub(crate) type UnitNumber = u32;

/// What there was in the passes by now.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    units: RefCell<Units>,
    /// Whether the next pass is over everything, whatever is known.
    is_full: Cell<bool>,
}

impl Passes {
    /// Says whether the next pass is over everything.
    pub(crate) fn next_is_full(&self, is_full: bool) {
        self.is_full.set(is_full);
    }

    /// Whether the next pass is over everything whatever is known; always where nothing is.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.get() || self.units.borrow().of.is_none()
    }

    /// Whether the next pass is to be over everything, although something is known.
    pub(crate) fn wants_all(&self) -> bool {
        self.is_full.get()
    }

    /// The next pass knows nothing: this one looks at some keys alone.
    pub(crate) fn forget(&self) {
        *self.units.borrow_mut() = Units::default();
    }

    /// Finds what of a pass of this plan and these dimensions is known, which the scan then leaves out.
    pub(crate) fn number(&self, scan: &mut Scan, of: u128) {
        let full = self.is_full.take() || !scan.can_feed();
        self.units.borrow_mut().number(scan, of, full);
    }
}

/// The units of the last pass, with their numbers: the same in all processes, since all pass over
/// the same units in the same order.
#[derive(Debug, Default)]
struct Units {
    known: BTreeMap<Identity, UnitNumber>,
    next: UnitNumber,
    /// What the last pass was of: nothing is known where this one is of something else.
    of: Option<u128>,
}

/// A unit of an input: as long as its place stands, so do the rows.
type Identity = (usize, Place);

impl Units {
    /// Numbers the pieces of a pass of this plan and these dimensions, and finds which of them are
    /// known, and which units are gone. Nothing is known in a pass that is `full`.
    fn number(&mut self, scan: &mut Scan, of: u128, full: bool) {
        let forgets = full || self.of != Some(of);
        let before = std::mem::take(&mut self.known);
        self.of = Some(of);
        for piece in &mut scan.pieces {
            let identity = (piece.input, piece.unit.place.clone());
            let known = before.get(&identity).copied().filter(|_| !forgets);
            piece.is_known = known.is_some();
            piece.number = known.unwrap_or_else(|| {
                self.next += 1;
                self.next
            });
            self.known.insert(identity, piece.number);
        }
        let left: BTreeSet<UnitNumber> = self.known.values().copied().collect();
        let gone = before.into_values().filter(|number| !left.contains(number));
        scan.feed(gone.collect(), !forgets);
    }
}

/// What a worker knows of the keys that it owns.
#[derive(Default)]
pub(crate) struct Known {
    keys: BTreeMap<Key, Vec<InUnit>>,
    units: BTreeMap<UnitNumber, BTreeSet<Key>>,
}

/// What a unit has of a key.
struct InUnit {
    input: u16,
    unit: UnitNumber,
    digest: Digest,
    errors: BTreeSet<ErrorRow>,
}

impl Known {
    /// Notes what a parcel has of each key.
    pub(crate) fn add(&mut self, parcel: &Parcel, unit: UnitNumber) {
        for (key, rows) in parcel.rows_of_keys() {
            let share = self.in_unit(key, parcel.input, unit);
            for row in rows {
                share.digest.add_all(parcel.digest(*row));
            }
        }
        for (key, error) in &parcel.errors {
            let share = self.in_unit(key, parcel.input, unit);
            share.errors.insert(error.clone());
        }
    }

    /// The keys that have something in these units.
    pub(crate) fn keys_in<'a>(
        &'a self,
        units: impl Iterator<Item = UnitNumber> + 'a,
    ) -> impl Iterator<Item = Key> + 'a {
        units
            .filter_map(|unit| self.units.get(&unit))
            .flatten()
            .cloned()
    }

    /// Forgets these units.
    pub(crate) fn forget(&mut self, units: &BTreeSet<UnitNumber>) {
        for unit in units {
            for key in self.units.remove(unit).into_iter().flatten() {
                let Some(shares) = self.keys.get_mut(&key) else {
                    continue;
                };
                shares.retain(|share| share.unit != *unit);
                if shares.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Known::default();
    }

    /// What is known of a key from units that are not read in this pass.
    pub(crate) fn recall<'a>(
        &'a self,
        key: &Key,
        scan: &'a Scan,
    ) -> impl Iterator<Item = Recalled<'a>> + 'a {
        let shares = self
            .keys
            .get(key)
            .filter(|_| !fault::seeded("known-forgotten"));
        let shares = shares.into_iter().flatten();
        shares.filter_map(|share| {
            let piece = scan.known_piece(share.unit)?;
            Some(Recalled {
                input: share.input,
                unit: piece,
                digest: share.digest,
                errors: &share.errors,
            })
        })
    }

    fn in_unit(&mut self, key: &Key, input: u16, unit: UnitNumber) -> &mut InUnit {
        let shares = self.keys.entry(key.clone()).or_default();
        let found = shares
            .iter()
            .position(|share| (share.input, share.unit) == (input, unit));
        let at = found.unwrap_or_else(|| {
            self.units.entry(unit).or_default().insert(key.clone());
            shares.push(InUnit {
                input,
                unit,
                digest: Digest::default(),
                errors: BTreeSet::new(),
            });
            shares.len() - 1
        });
        &mut shares[at]
    }
}

impl Piece {
    /// A piece that is to be read.
    pub(crate) fn new(input: usize, unit: Unit) -> Self {
        Piece {
            input,
            unit,
            stretch: 0,
            process: 0,
            number: 0,
            is_known: false,
        }
    }
}
