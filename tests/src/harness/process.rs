//! The program as a process, and what came of it.

use std::process::{Command, Output};

use serde_json::Value as Json;

/// What came of a process.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code; none when a signal ended it.
    pub exit: Option<i32>,
    /// What it printed, as JSON; null when that is none.
    pub report: Json,
    /// What it said of errors.
    pub said: String,
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Outcome {
        Outcome::ended(&command.output().expect("the program starts"))
    }

    /// What came of a process that has ended.
    pub fn ended(output: &Output) -> Outcome {
        Outcome {
            exit: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or(Json::Null),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Insists on an exit code.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "often the code is all that counts"
    )]
    pub fn exits(self, code: i32) -> Outcome {
        assert_eq!(
            self.exit,
            Some(code),
            "it said: {}{:#}",
            self.said,
            self.report
        );
        self
    }

    /// A number of the report, found by its JSON pointer.
    pub fn number(&self, pointer: &str) -> u64 {
        let number = self.report.pointer(pointer).and_then(Json::as_u64);
        number.unwrap_or_else(|| panic!("no number at {pointer} in {:#}", self.report))
    }

    /// What the program says is wrong, because of what, and what to do.
    pub fn error(&self) -> String {
        let told = &self.report;
        format!("{} {} {}", told["error"], told["causes"], told["help"])
    }
}
