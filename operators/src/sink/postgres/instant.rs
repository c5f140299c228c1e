//! Days and times: we count from 1970, the server from 2000. Its infinities are our greatest and
//! least.

/// A day of ours as the server counts; `None` outside what it knows.
pub(super) fn to_days(days: i32) -> Option<i32> {
    if [i32::MIN, i32::MAX].contains(&days) {
        return Some(days);
    }
    let days = days.checked_sub(DAYS)?;
    (LEAST_DAY..=GREATEST_DAY).contains(&days).then_some(days)
}

/// A day of the server as we count.
pub(super) fn of_days(days: i32) -> i32 {
    match days {
        i32::MIN | i32::MAX => days,
        days => days.saturating_add(DAYS),
    }
}

/// A time of ours as the server counts; `None` outside what it knows.
pub(super) fn to_micros(micros: i64) -> Option<i64> {
    if [i64::MIN, i64::MAX].contains(&micros) {
        return Some(micros);
    }
    let micros = micros.checked_sub(MICROS)?;
    (LEAST_MICRO..GREATEST_MICRO)
        .contains(&micros)
        .then_some(micros)
}

/// A time of the server as we count. Its last thirty years are behind ours: they are our last
/// microsecond, and not its infinity.
pub(super) fn of_micros(micros: i64) -> i64 {
    match micros {
        i64::MIN | i64::MAX => micros,
        micros => micros.saturating_add(MICROS).min(i64::MAX - 1),
    }
}

/// Whether a day of ours, and any nearer to 1970, is one of the server's that is no infinity.
pub(super) fn is_plain_day(days: i32) -> bool {
    ![i32::MIN, i32::MAX].contains(&days) && to_days(days).is_some()
}

/// Whether a time of ours, and any nearer to 1970, is one of the server's that is no infinity.
pub(super) fn is_plain_time(micros: i64) -> bool {
    ![i64::MIN, i64::MAX].contains(&micros) && to_micros(micros).is_some()
}

/// From 1970-01-01 to 2000-01-01.
const DAYS: i32 = 10_957;
const MICROS: i64 = DAYS as i64 * 86_400_000_000;

/// 4714-11-24 BC and 5874897-12-31, the first and the last day of a `date`.
const LEAST_DAY: i32 = -2_451_545;
const GREATEST_DAY: i32 = 2_145_031_948;

/// The first microsecond of a `timestamp`, and the one behind its last.
const LEAST_MICRO: i64 = -211_813_488_000_000_000;
const GREATEST_MICRO: i64 = 9_223_371_331_200_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_a_time_come_back_or_are_refused() {
        for days in [0, -1, 10_957, i32::MIN, i32::MAX, LEAST_DAY + DAYS] {
            assert_eq!(to_days(days).map(of_days), Some(days));
        }
        for days in [LEAST_DAY + DAYS - 1, i32::MIN + 1, i32::MAX - 1] {
            assert_eq!(to_days(days), None, "{days}");
        }
        let least = LEAST_MICRO + MICROS;
        for micros in [0, -1, i64::MIN, i64::MAX, i64::MAX - 1, least] {
            assert_eq!(to_micros(micros).map(of_micros), Some(micros));
        }
        for micros in [least - 1, i64::MIN + 1] {
            assert_eq!(to_micros(micros), None, "{micros}");
        }
        assert_eq!(of_micros(GREATEST_MICRO - 1), i64::MAX - 1);
    }
}
