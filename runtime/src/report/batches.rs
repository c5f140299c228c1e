//! The batches of a run: which were evaluated, why the others were not, and what each weighed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::keys::NOT_SKIPPED;
use super::opened::{Opened, Reason};

/// The batches of a run.
#[derive(Default, Serialize)]
pub struct Batches {
    /// How many were evaluated.
    pub total: usize,
    /// How many there are keys for.
    pub seen: usize,
    /// How many were not opened, because nothing changed.
    pub skipped: usize,
    /// Why the others were: how many for each reason. A batch may have several.
    pub why: BTreeMap<&'static str, usize>,
    /// Those that failed twice, and why; their keys come again in the next run.
    pub failed: BTreeMap<String, String>,
    /// What each weighed that was evaluated; none where there are more than `EACH`.
    pub each: Vec<BatchWeight>,
    /// Those that took longest, the longest first.
    pub heaviest: Vec<BatchWeight>,
}

/// What a batch weighed, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchWeight {
    /// The batch.
    pub cut: String,
    /// Its keys.
    pub keys: usize,
    /// The rows of the sources that its keys have.
    pub rows_in: u64,
    /// The rows that it yields for sinks.
    pub rows_out: u64,
    /// The bytes of the rows that came in, in memory.
    pub bytes: u64,
    /// How long the key function took.
    pub milliseconds: f64,
}

/// Of how many batches a report names each.
const EACH: usize = 1000;

/// How many of the heaviest keys and batches a report names.
pub(crate) const HEAVIEST: usize = 10;

impl BatchWeight {
    /// Adds what another worker had of the batch, or another try.
    pub(crate) fn add(&mut self, other: &BatchWeight) {
        self.keys += other.keys;
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.bytes += other.bytes;
        self.milliseconds += other.milliseconds;
    }
}

impl Batches {
    /// Of a run that saw keys of some cuts and evaluated some batches; one that `opens_all` skips none.
    pub(super) fn of(
        seen: &BTreeSet<String>,
        opened: &Opened,
        opens_all: bool,
        evaluated: BTreeMap<String, BatchWeight>,
    ) -> Batches {
        let of_cut = |(cut, reasons): (&String, &BTreeSet<Reason>)| {
            let reasons = reasons.iter().map(|reason| reason.text());
            (cut.clone(), reasons.collect())
        };
        let reasons = opened.cuts.iter().map(of_cut);
        let mut reasons: BTreeMap<String, BTreeSet<&'static str>> = reasons.collect();
        if opens_all {
            for cut in seen {
                reasons
                    .entry(cut.clone())
                    .or_insert_with(|| BTreeSet::from([NOT_SKIPPED]));
            }
        }
        let mut batches = Batches {
            total: evaluated.len(),
            seen: seen
                .iter()
                .chain(reasons.keys())
                .collect::<BTreeSet<_>>()
                .len(),
            skipped: seen
                .iter()
                .filter(|cut| !reasons.contains_key(*cut))
                .count(),
            ..Batches::default()
        };
        for reason in reasons.values().flatten() {
            *batches.why.entry(reason).or_default() += 1;
        }
        let mut weights: Vec<BatchWeight> = evaluated.into_values().collect();
        if weights.len() <= EACH {
            batches.each.clone_from(&weights);
        }
        weights.sort_by(|one, other| other.milliseconds.total_cmp(&one.milliseconds));
        weights.truncate(HEAVIEST);
        batches.heaviest = weights;
        batches
    }
}

#[cfg(test)]
mod tests {
    use operators::gate::{Clean, GateRow};
    use operators::key::Key;

    use super::*;

    fn row(key: &str, clean: Option<Clean>) -> GateRow {
        let key = Key::of(key);
        GateRow {
            key,
            input: 0,
            clean,
        }
    }

    fn clean() -> Clean {
        let digest = operators::digest::Digest::default();
        Clean { digest, stamp: 1 }
    }

    fn cuts(cuts: &[&str]) -> BTreeSet<String> {
        cuts.iter().map(|cut| (*cut).to_owned()).collect()
    }

    #[test]
    fn a_batch_of_which_no_key_is_open_is_skipped() {
        let found = [
            ("12", vec![(row("12", Some(clean())), 1)]),
            (
                "13",
                vec![(row("13", None), -1), (row("13", Some(clean())), 1)],
            ),
            ("45", vec![(row("45", Some(clean())), -1)]),
        ];
        let mut opened = Opened::default();
        for (key, rows) in found {
            opened.add(&Key::of(key), &key[..1], &rows);
        }
        let batches = Batches::of(&cuts(&["1", "2", "3"]), &opened, false, BTreeMap::new());
        assert_eq!((batches.seen, batches.skipped), (4, 2));
        let why = BTreeMap::from([("new", 1), ("unclean", 1), ("vanished", 1)]);
        assert_eq!(batches.why, why);
    }

    #[test]
    fn a_run_that_opens_every_key_skips_no_batch() {
        let seen = cuts(&["1", "2"]);
        let batches = Batches::of(&seen, &Opened::default(), true, BTreeMap::new());
        assert_eq!((batches.seen, batches.skipped), (2, 0));
        assert_eq!(batches.why, BTreeMap::from([(NOT_SKIPPED, 2)]));
    }

    #[test]
    fn the_heaviest_batches_come_first_and_of_very_many_each_is_not_named() {
        let weights = (0..=EACH).map(|cut| {
            let weight = BatchWeight {
                cut: cut.to_string(),
                milliseconds: f64::from(u32::try_from(cut).unwrap()),
                ..BatchWeight::default()
            };
            (cut.to_string(), weight)
        });
        let weights = weights.collect();
        let batches = Batches::of(&BTreeSet::new(), &Opened::default(), false, weights);
        assert_eq!((batches.total, batches.each.len()), (EACH + 1, 0));
        assert_eq!(batches.heaviest.len(), HEAVIEST);
        assert_eq!(batches.heaviest[0].cut, EACH.to_string());
    }
}
