//! What is wrong with a pipeline file, as plain data.
//!
//! Nothing here knows how a diagnostic is shown: the program renders it as text or as JSON.

use std::ops::Range;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline can run; it may not do what is meant.
    Warning,
}

/// A place in one of the files of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The number of the file.
    pub file: u32,
    /// The bytes of the file; an empty range is a point.
    pub span: Range<usize>,
    /// The line of the first byte, from 1.
    pub line: u32,
    /// The column of the first byte, from 1, in characters; a byte order mark does not count.
    pub column: usize,
}

/// One thing that an author must or should mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What stands at the place, said beside it; may be empty.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// Where; `None` for the file as a whole.
    pub place: Option<Place>,
}

impl Diagnostic {
    /// An error of the file as a whole.
    pub fn error(message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            label: String::new(),
            help: None,
            place: None,
        }
    }

    /// A warning about the file as a whole.
    pub fn warning(message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(message)
        }
    }

    /// The same, said as a warning.
    #[must_use]
    pub fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether the pipeline cannot run for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what stands at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Sorts by place, what is about the whole pipeline first. The order of equals is kept, and what is
/// said twice is said once.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|diagnostic| {
        let place = diagnostic.place.as_ref();
        place.map(|place| (place.file, place.span.start, place.span.end))
    });
    diagnostics.dedup();
}

/// The line and the column, both from 1, of a byte of a text; columns count characters.
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let written = before[line_start..].trim_start_matches(BYTE_ORDER_MARK);
    (line, written.chars().count() + 1)
}

/// What some editors put before the first character of a file.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_no_byte_order_mark() {
        assert_eq!(line_and_column("\u{feff}é = 'x'", 3), (1, 1));
        assert_eq!(line_and_column("\u{feff}é = 'x'", 5), (1, 2));
        assert_eq!(line_and_column("a\r\n\té\u{1f600}b", 10), (2, 4));
    }

    #[test]
    fn a_byte_past_the_end_or_inside_a_character_has_a_place_too() {
        assert_eq!(line_and_column("a\n", 2), (2, 1));
        assert_eq!(line_and_column("a\n", 99), (2, 1));
        assert_eq!(line_and_column("é", 1), (1, 1));
        assert_eq!(line_and_column("", 0), (1, 1));
    }

    #[test]
    fn sorting_is_by_place_and_says_nothing_twice() {
        let at = |file, byte| {
            let place = Place {
                file,
                span: byte..byte + 1,
                line: 1,
                column: byte + 1,
            };
            Diagnostic::error("x").at(place)
        };
        let whole = Diagnostic::error("whole");
        let mut all = vec![at(1, 0), at(0, 2), at(0, 1), whole.clone(), at(0, 2)];
        sort(&mut all);
        assert_eq!(all, [whole, at(0, 1), at(0, 2), at(1, 0)]);
    }
}
