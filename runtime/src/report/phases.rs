//! How fast the phases of a run were, which overlap.

use serde::Serialize;

use crate::recorder::{Measured, Phase, Recorder};

/// The phases of a run.
#[derive(Default, Serialize)]
pub struct Phases {
    /// Sources are decoded, dimensions included.
    pub fetch: Speed,
    /// Rows go to the gate and are grouped there.
    pub survey: Speed,
    /// Batches are evaluated.
    pub compute: Speed,
    /// Sinks and state are written.
    pub write: Speed,
}

/// How fast a phase was.
#[derive(Default, Serialize)]
pub struct Speed {
    /// Rows that were decoded, grouped, evaluated or written.
    pub rows: u64,
    /// Their bytes in memory; 0 for what is written.
    pub bytes: u64,
    /// How long it was worked on, over all threads.
    pub seconds: f64,
    /// Rows for each of these seconds.
    pub rows_per_second: f64,
}

impl Phases {
    pub(super) fn of(recorder: &Recorder) -> Phases {
        let speed = |phase| Speed::of(&recorder.measured(phase));
        Phases {
            fetch: speed(Phase::Fetch),
            survey: speed(Phase::Survey),
            compute: speed(Phase::Compute),
            write: speed(Phase::Write),
        }
    }

    /// The phases by name.
    pub fn each(&self) -> [(&'static str, &Speed); 4] {
        [
            ("fetch", &self.fetch),
            ("survey", &self.survey),
            ("compute", &self.compute),
            ("write", &self.write),
        ]
    }
}

impl Speed {
    fn of(measured: &Measured) -> Speed {
        let seconds = measured.busy.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a speed, not a count")]
        let rows = measured.rows as f64;
        Speed {
            rows: measured.rows,
            bytes: measured.bytes,
            seconds,
            rows_per_second: if seconds > 0.0 { rows / seconds } else { 0.0 },
        }
    }
}
