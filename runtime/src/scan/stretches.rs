//! When which keys are complete.
//!
//! ```text
//! units, by their least key     [10 .. 17] [12 .. 18] | [30 .. 34] | [40 .. 41] [? .. ?]
//! stretches                     0                     | 1          | 2
//! complete after it             keys before 30        | before 40  | all
//! ```
//!
//! Where each process has a range of keys, the stretches of all ranges are read side by side.

use operators::key::Key;
use operators::placement::Ranges;

/// How many stretches there are at most: each is a round through the gate.
const STRETCHES: usize = 64;

/// How many there may be however little there is to read: one of many costs little.
const FEW: usize = 16;

/// How many bytes are worth one of more: chunks end with their stretch, and of each of their keys more is
/// done in each chunk.
const WORTH: u64 = 4 << 20;

/// The stretches of a run.
pub(super) struct Stretches {
    ranges: Ranges,
    /// For each range, and in it for each stretch but the last, the text before which keys are
    /// complete after it.
    ends: Vec<Vec<String>>,
    /// How many there are: at least one.
    pub(super) count: usize,
}

impl Stretches {
    /// One, in which all is read.
    pub(super) fn one() -> Stretches {
        Stretches::of(std::iter::empty(), None, 0)
    }

    /// Of units with these least keys, in order, and of so many bytes. A unit whose keys are not known may
    /// hold any key, so it comes first.
    pub(super) fn of<'a>(
        leasts: impl Iterator<Item = Option<&'a str>>,
        ranges: Option<&Ranges>,
        bytes: u64,
    ) -> Stretches {
        let worth = usize::try_from(bytes / WORTH).unwrap_or(STRETCHES);
        let most = worth.clamp(FEW, STRETCHES);
        let ranges = ranges.cloned().unwrap_or_else(Ranges::one);
        let mut ends: Vec<Vec<String>> = vec![Vec::new(); ranges.count()];
        let mut last = None;
        for least in leasts {
            if let Some(text) = least
                && last.is_some_and(|last| last < least)
                && !ranges.begins_with(text)
                && ranges.process_of(text) == ranges.reader_of(text)
            {
                ends[ranges.process_of(text)].push(text.to_owned());
            }
            last = Some(least);
        }
        for ends in &mut ends {
            *ends = not_too_many(std::mem::take(ends), most);
        }
        let count = ends.iter().map(|ends| ends.len() + 1).max();
        let count = count.expect("there is a range");
        let ends = ends.into_iter().map(|ends| in_step(ends, count));
        Stretches {
            ranges,
            ends: ends.collect(),
            count,
        }
    }

    /// The stretch in which a unit is read whose least key this is. What begins with the last key of the
    /// range before is read in the first one, so that key is complete when its own range is.
    pub(super) fn of_unit(&self, least: &str) -> usize {
        begun(&self.ends[self.ranges.reader_of(least)], least)
    }

    /// The stretch after which a key is complete. Errors without a key are so in the end.
    pub(super) fn of_key(&self, key: &Key) -> usize {
        if key.is_reserved() {
            return self.count - 1;
        }
        begun(self.ends_of(key), key.text())
    }

    /// Whether that is one of the first `reached`.
    pub(super) fn is_complete(&self, key: &Key, reached: usize) -> bool {
        let Some(last) = reached.checked_sub(1) else {
            return false;
        };
        if key.is_reserved() {
            return reached == self.count;
        }
        let end = self.ends_of(key).get(last);
        end.is_none_or(|end| key.text() < end.as_str())
    }

    /// The ends in the range of a key.
    fn ends_of(&self, key: &Key) -> &[String] {
        &self.ends[self.ranges.process_of(key.text())]
    }
}

/// How many stretches have ended where a text begins.
fn begun(ends: &[String], text: &str) -> usize {
    ends.partition_point(|end| end.as_str() <= text)
}

/// Of ends that come one after the other so many that there are not more stretches than `most`.
fn not_too_many(ends: Vec<String>, most: usize) -> Vec<String> {
    let each = ends.len().div_ceil(most).max(1);
    let ends = ends.into_iter().enumerate();
    let ends = ends.filter(|(at, _)| (at + 1) % each == 0);
    ends.map(|(_, end)| end).collect()
}

/// A range with fewer stretches than `count` has some of them empty, so that all ranges come to their
/// middle and to their end at about the same time: such a stretch ends where the one before it does.
fn in_step(ends: Vec<String>, count: usize) -> Vec<String> {
    let stretches = ends.len() + 1;
    let ends = (1..stretches).zip(ends);
    let at = |stretch: usize| stretch * count / stretches;
    let ends = ends.flat_map(|(stretch, end)| {
        let times = at(stretch) - at(stretch - 1);
        std::iter::repeat_n(end, times)
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(leasts: &[&str], begins: &[&str]) -> Stretches {
        let begins: Vec<String> = begins.iter().map(|begin| (*begin).to_owned()).collect();
        let leasts = leasts.iter().map(|least| (*least != "?").then_some(*least));
        Stretches::of(leasts, Some(&Ranges::beginning(begins)), u64::MAX)
    }

    #[test]
    fn a_key_is_complete_when_no_later_unit_begins_before_it() {
        let stretches = of(&["10", "12", "12", "30"], &[]);
        assert_eq!(stretches.ends, [["12", "30"]]);
        assert_eq!(stretches.count, 3);
        let at = |key: &str| stretches.of_key(&Key::of(key));
        // What ends in a unit of the first stretch may go on in the second.
        assert_eq!(
            ["", "11", "12", "29", "30", "x"].map(at),
            [0, 0, 1, 1, 2, 2]
        );
        assert_eq!(stretches.of_key(&Key::reserved("a")), 2);
    }

    #[test]
    fn a_prefix_bounds_keys_by_its_own_text() {
        // As `prefix_of` gives them: every key begins with the prefix, which is the least of them.
        let prefixes = ["12", "12", "123", "21", "3", "\u{10ffff}"];
        let stretches = of(&prefixes, &[]);
        assert_eq!(stretches.ends, [["123", "21", "3", "\u{10ffff}"]]);
        for prefix in prefixes {
            for more in ["", "\0", "0", "3", "\u{10ffff}"] {
                let complete = stretches.of_key(&Key::of(&format!("{prefix}{more}")));
                let read = stretches.of_unit(prefix);
                assert!(complete >= read, "{prefix}{more} comes after its stretch");
            }
        }
    }

    #[test]
    fn what_may_hold_any_key_is_read_first() {
        let stretches = of(&["?", "?", "10", "30"], &[]);
        assert_eq!(stretches.ends, [["10", "30"]]);
        assert_eq!(["10", "30"].map(|least| stretches.of_unit(least)), [1, 2]);
    }

    #[test]
    fn ranges_are_read_side_by_side_and_come_to_their_end_together() {
        let leasts = ["10", "11", "20", "21", "22", "23", "24", "25", "30"];
        let stretches = of(&leasts, &["20", "30"]);
        assert_eq!(stretches.count, 6);
        let at = leasts.map(|least| stretches.of_unit(least));
        assert_eq!(at, [0, 3, 0, 1, 2, 3, 4, 5, 0]);
        assert_eq!(stretches.of_key(&Key::of("1099")), 0);
        assert_eq!(stretches.of_key(&Key::of("99")), 0);
        // A unit that is not known may hold keys before any other's.
        let stretches = of(&["?", "10", "20", "21"], &["20"]);
        assert_eq!(
            ["0", "10", "20", "21"].map(|key| stretches.of_key(&Key::of(key))),
            [0, 1, 0, 1]
        );
    }

    #[test]
    fn a_key_on_both_sides_of_a_parting_is_complete_when_both_are_read() {
        // Units up to 13, from 13 to 20, from 20 on: the second range begins behind 20.
        let stretches = of(&["10", "13", "20", "20", "24", "31"], &["20\0"]);
        let read = ["10", "13", "20", "24", "31"].map(|least| stretches.of_unit(least));
        assert_eq!(read, [0, 1, 0, 1, 2]);
        let complete = ["12", "13", "20", "200", "24", "31"];
        let complete = complete.map(|key| stretches.of_key(&Key::of(key)));
        assert_eq!(complete, [0, 1, 1, 0, 1, 2]);
    }

    #[test]
    fn a_key_is_found_complete_when_its_stretch_is() {
        let leasts = ["10", "11", "20", "21", "22", "23", "24", "25", "30"];
        for begins in [&[][..], &["20", "30"], &["20\0"]] {
            let stretches = of(&leasts, begins);
            let keys = ["", "10", "109", "20", "20\0", "21", "229", "30", "x"].map(Key::of);
            for key in keys.iter().chain([&Key::reserved("a")]) {
                for reached in 0..=stretches.count {
                    let is_complete = stretches.is_complete(key, reached);
                    assert_eq!(is_complete, stretches.of_key(key) < reached, "{reached}");
                }
            }
        }
    }

    #[test]
    fn little_is_read_in_few_stretches() {
        let leasts: Vec<String> = (0..5000).map(|at| format!("{at:04}")).collect();
        let count = |units: usize, bytes| {
            let leasts = leasts[..units].iter().map(|least| Some(least.as_str()));
            Stretches::of(leasts, None, bytes).count
        };
        assert_eq!(count(17, 0), 17);
        assert_eq!([count(18, 0), count(5000, 0)], [9, 16]);
        assert_eq!(count(5000, 32 * WORTH), 32);
        assert_eq!(count(5000, 1 << 40), 64);
    }

    #[test]
    fn there_are_not_more_stretches_than_is_good() {
        let leasts: Vec<String> = (0..5000).map(|at| format!("{at:04}")).collect();
        let leasts: Vec<&str> = leasts.iter().map(String::as_str).collect();
        for begins in [&[][..], &["2500"], &["0100"]] {
            let stretches = of(&leasts, begins);
            let at: Vec<usize> = leasts
                .iter()
                .map(|least| stretches.of_unit(least))
                .collect();
            let last = at.iter().max().copied();
            assert_eq!(last, Some(stretches.count - 1));
            assert!((STRETCHES / 2..=STRETCHES).contains(&stretches.count));
            assert!(begins.len() == 1 || at.is_sorted());
        }
        assert_eq!(Stretches::one().count, 1);
        assert_eq!(Stretches::one().of_unit("x"), 0);
    }
}
