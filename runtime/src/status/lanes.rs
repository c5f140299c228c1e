//! Who was busy with what over the last minutes.
//!
//! Time is cut into bins, and of a lane it is kept how long of each bin it worked in each phase: so
//! what is kept has a bound, however many spans there are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::recorder::{Lane, Phase};

/// The lanes of the last minutes.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Lane, BTreeMap<u64, Busy>>,
}

/// Microseconds of a bin, by phase.
type Busy = [u64; Phase::ALL.len()];

/// As fine as a page can show a minute.
const BIN: Duration = Duration::from_millis(250);

/// Bins that are kept: five minutes.
const BINS: u64 = 1200;

/// Lanes that are kept, so that a page can show them: those that come after are not.
const LANES: usize = 64;

/// The lanes as they are told.
#[derive(Serialize)]
pub(crate) struct LanesTold {
    /// How long a bin is.
    milliseconds: u128,
    /// The number of the bin that it is now.
    now: u64,
    /// How many bins are kept.
    kept: u64,
    /// The lanes in order, from sources to sinks.
    lanes: Vec<LaneTold>,
}

/// One lane.
#[derive(Serialize)]
struct LaneTold {
    name: String,
    /// Bins in which it worked: the bin's number, and percents of it, by phase.
    busy: Vec<(u64, Vec<u64>)>,
}

impl Lanes {
    /// Notes that a lane has worked in a phase, in a span of the time since the start.
    pub(super) fn note(&mut self, lane: Lane, phase: Phase, (from, to): (Duration, Duration)) {
        if self.lanes.len() >= LANES && !self.lanes.contains_key(&lane) {
            return;
        }
        let bins = self.lanes.entry(lane).or_default();
        let (first, last) = (number(from).max(oldest(number(to))), number(to));
        for bin in first..=last {
            let begin = BIN * u32::try_from(bin).unwrap_or(u32::MAX);
            let taken = to.min(begin + BIN).saturating_sub(from.max(begin));
            let taken = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
            bins.entry(bin).or_default()[phase as usize] += taken;
        }
        while bins
            .first_key_value()
            .is_some_and(|(bin, _)| *bin < oldest(last))
        {
            bins.pop_first();
        }
    }

    /// What was done by now, the time since the start.
    pub(super) fn told(&self, now: Duration) -> LanesTold {
        let now = number(now);
        // What took little is seen, too.
        let percent = |busy: u64| (busy * 100).div_ceil(MICROSECONDS).min(100);
        let percents = |busy: &Busy| busy.map(percent);
        let lane = |(lane, bins): (&Lane, &BTreeMap<u64, Busy>)| LaneTold {
            name: lane.to_string(),
            busy: bins
                .range(oldest(now)..)
                .map(|(bin, busy)| (*bin, percents(busy).to_vec()))
                .collect(),
        };
        LanesTold {
            milliseconds: BIN.as_millis(),
            now,
            kept: BINS,
            lanes: self.lanes.iter().map(lane).collect(),
        }
    }
}

/// A bin's length.
const MICROSECONDS: u64 = 250_000;

/// The bin of a time.
fn number(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / MICROSECONDS
}

/// The oldest bin that is kept.
fn oldest(now: u64) -> u64 {
    now.saturating_sub(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(lanes: &Lanes, now: u64) -> Vec<(u64, Vec<u64>)> {
        let mut told = lanes.told(Duration::from_millis(now));
        told.lanes.pop().unwrap().busy
    }

    fn note(lanes: &mut Lanes, from: u64, to: u64) {
        let span = (Duration::from_millis(from), Duration::from_millis(to));
        lanes.note(Lane::Writer, Phase::Write, span);
    }

    #[test]
    fn a_span_is_spread_over_the_bins_in_which_it_lies() {
        let mut lanes = Lanes::default();
        note(&mut lanes, 125, 600);
        note(&mut lanes, 600, 625);
        let write = |percent| vec![0, 0, 0, percent];
        let expected = vec![(0, write(50)), (1, write(100)), (2, write(50))];
        assert_eq!(busy(&lanes, 700), expected);
    }

    #[test]
    fn what_is_older_than_five_minutes_is_let_go_of() {
        let mut lanes = Lanes::default();
        note(&mut lanes, 0, 100);
        note(&mut lanes, 10_000_000, 10_000_100);
        assert_eq!(lanes.lanes[&Lane::Writer].len(), 1);
        assert!(busy(&lanes, 20_000_000).is_empty());
        // A span that is longer than what is kept fills just that.
        note(&mut lanes, 0, 30_000_000);
        assert_eq!(lanes.lanes[&Lane::Writer].len() as u64, BINS);
    }

    #[test]
    fn no_more_lanes_are_kept_than_can_be_shown() {
        let mut lanes = Lanes::default();
        for worker in 0..256 {
            let span = (Duration::ZERO, Duration::from_millis(1));
            lanes.note(Lane::Worker(worker), Phase::Compute, span);
        }
        assert_eq!(lanes.lanes.len(), LANES);
    }
}
