//! Which keys are whose, so that each process reads the rows of its own keys.
//!
//! ```text
//! units, by their least key    [10 .. 17] [12 .. 18]   [30 .. 34]   [34 .. 41]   [50 .. 59]
//! may be parted at                                   30     behind 34           50
//! ranges of two processes       .. 34                             | behind 34 ..
//! ```
//!
//! Units are parted where no key but one can be on both sides, each process has about as much to
//! read, and nobody has to be told: all processes see the same units.

use operators::placement::Ranges;

use super::span::{Span, next};

/// A process may have half more to read than it would if all had the same. Where one would have more,
/// it costs less to send rows to each other, as what has no ranges does.
const UNEVEN: (u64, u64) = (3, 2);

/// Gives each process a range of keys; `None` where the units do not fall apart so. The units are in
/// the order of their least keys, each with what it costs to read.
pub(super) fn ranges(units: &[(Option<Span>, u64)], processes: usize) -> Option<Ranges> {
    let known = units
        .iter()
        .filter_map(|(span, bytes)| Some((span.as_ref()?, *bytes)));
    let (partings, of_known) = partings(known);
    let count = processes as u64;
    let mut begins: Vec<String> = Vec::new();
    let (mut before, mut largest) = (0, 0);
    for process in 1..count {
        let due = of_known * process / count;
        let nearest = partings.iter().min_by_key(|(_, bytes)| bytes.abs_diff(due));
        let (begin, bytes) = nearest.filter(|(_, bytes)| *bytes > before)?;
        largest = largest.max(bytes - before);
        before = *bytes;
        begins.push(begin.clone());
    }
    largest = largest.max(of_known - before);
    let all: u64 = units.iter().map(|(_, bytes)| bytes).sum();
    // Whatever may hold any key could all be of one process's keys.
    let most = largest + (all - of_known);
    (processes > 1 && most * UNEVEN.1 * count <= all * UNEVEN.0).then(|| Ranges::beginning(begins))
}

/// The texts at which units can be parted, each with the bytes before it; and the bytes of all. Where a
/// key ends one unit and begins the next they are parted behind it: its rows alone are on both sides.
fn partings<'a>(units: impl Iterator<Item = (&'a Span, u64)>) -> (Vec<(String, u64)>, u64) {
    let (mut partings, mut before) = (Vec::new(), 0);
    let mut reached: Option<(&str, &str)> = None;
    for (span, bytes) in units {
        let (least, behind) = (span.least.as_str(), span.behind.as_str());
        let (begun, ended) = reached.unwrap_or((least, behind));
        let is_parted = least > begun && next(least).as_str() >= ended;
        if is_parted {
            partings.push((least.max(ended).to_owned(), before));
        }
        reached = Some((if is_parted { least } else { begun }, behind.max(ended)));
        before += bytes;
    }
    (partings, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span((least, greatest): &(&str, &str)) -> Span {
        let (least, behind) = ((*least).to_owned(), next(greatest));
        Span { least, behind }
    }

    /// Units of ten bytes each.
    fn of_ten(spans: &[(&str, &str)]) -> Vec<(Option<Span>, u64)> {
        spans.iter().map(|it| (Some(span(it)), 10)).collect()
    }

    fn beginning(begins: &[&str]) -> Ranges {
        let begins = begins.iter().map(|begin| (*begin).to_owned());
        Ranges::beginning(begins.collect())
    }

    #[test]
    fn each_process_has_about_as_much_to_read() {
        let prefixes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        // As `prefix_of` gives them: what is behind them is the beginning of the next.
        let behind = ["1", "2", "3", "4", "5", "6", "7", "8", "9", ":"];
        let spans = prefixes
            .into_iter()
            .zip(behind)
            .map(|(least, behind)| Span {
                least: least.to_owned(),
                behind: behind.to_owned(),
            });
        let units: Vec<(Option<Span>, u64)> = spans.map(|span| (Some(span), 10)).collect();
        assert_eq!(ranges(&units, 2), Some(beginning(&["5"])));
        assert_eq!(ranges(&units, 3), Some(beginning(&["3", "7"])));
        assert_eq!(ranges(&units, 10), Some(beginning(&prefixes[1..])));
        assert_eq!(ranges(&units, 11), None, "one would have nothing");
        assert_eq!(ranges(&units, 1), None, "there is nobody to send rows to");
    }

    #[test]
    fn units_whose_keys_may_be_the_same_are_not_parted() {
        let units = of_ten(&[("10", "17"), ("12", "18"), ("30", "34"), ("31", "33")]);
        assert_eq!(ranges(&units, 2), Some(beginning(&["30"])));
        assert_eq!(
            ranges(&of_ten(&[("10", "39"), ("12", "18"), ("30", "34")]), 2),
            None
        );
        assert_eq!(ranges(&of_ten(&[("1", "1"), ("1", "1")]), 2), None);
    }

    #[test]
    fn sorted_rows_are_parted_behind_the_key_that_two_units_have() {
        let units = of_ten(&[("10", "20"), ("20", "20"), ("20", "30"), ("30", "40")]);
        assert_eq!(ranges(&units, 2), Some(beginning(&["20\0"])));
        assert_eq!(ranges(&units, 4), None);
    }

    #[test]
    fn what_would_leave_most_to_one_process_is_not_taken() {
        let mut units = of_ten(&[("1", "2"), ("3", "4"), ("5", "6")]);
        assert_eq!(
            ranges(&units, 2),
            Some(beginning(&["3"])),
            "one reads twice the other's part"
        );
        units[2].1 = 100;
        assert_eq!(ranges(&units, 2), None);
    }

    #[test]
    fn what_may_hold_any_key_counts_as_if_one_process_had_its_keys() {
        let mut units = of_ten(&[("1", "2"), ("3", "4"), ("5", "6"), ("7", "8")]);
        units.insert(0, (None, 10));
        assert_eq!(ranges(&units, 2), Some(beginning(&["5"])));
        units[0].1 = 50;
        assert_eq!(ranges(&units, 2), None);
        assert_eq!(ranges(&[(None, 10), (None, 10)], 2), None);
        assert_eq!(ranges(&[], 2), None);
    }
}
