//! Where a part of a string stands in the file.
//!
//! A string that was written with escapes is shorter, once read, than its literal:
//!
//! ```text
//!   literal   " a \n b \u00e9 c "         read   a <newline> b é c
//! ```
//!
//! The four kinds of literals are those of TOML 1.1: <https://toml.io/en/v1.1.0#string>.

use std::ops::Range;

/// The bytes of a literal (its quotes among them) which became a range of the bytes that were read.
/// An empty range is a point before a character. What lies outside is taken to the end.
pub(crate) fn part(literal: &str, within: &Range<usize>) -> Range<usize> {
    let body = body(literal);
    let mut pieces = Pieces {
        literal: &literal[..body.end],
        has_escapes: literal.starts_with('"'),
        next: body.start,
        read: 0,
    };
    let start = pieces
        .find(|piece| within.start < piece.read.end)
        .map(|piece| (piece.written.clone(), piece.read.end));
    let Some((first, mut read)) = start else {
        return body.end..body.end;
    };
    let mut end = if within.is_empty() {
        first.start
    } else {
        first.end
    };
    while read < within.end {
        let Some(piece) = pieces.next() else { break };
        end = piece.written.end;
        read = piece.read.end;
    }
    first.start..end
}

/// What stands between the quotes. A newline right after the quotes of several lines is not read.
fn body(literal: &str) -> Range<usize> {
    let quotes = if literal.starts_with("\"\"\"") || literal.starts_with("'''") {
        3
    } else {
        1
    };
    let inner = &literal[quotes..];
    let newline = match quotes {
        3 if inner.starts_with("\r\n") => 2,
        3 if inner.starts_with('\n') => 1,
        _ => 0,
    };
    let end = literal.len() - quotes;
    (quotes + newline).min(end)..end
}

/// A character that was read: its bytes in the literal and in what was read. What escapes leave out
/// is read as nothing.
struct Piece {
    written: Range<usize>,
    read: Range<usize>,
}

struct Pieces<'a> {
    literal: &'a str,
    has_escapes: bool,
    next: usize,
    read: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let rest = &self.literal[self.next..];
        let first = rest.chars().next()?;
        let (written, read) = if first == '\\' && self.has_escapes {
            escape(rest)
        } else {
            (first.len_utf8(), first.len_utf8())
        };
        let piece = Piece {
            written: self.next..self.next + written,
            read: self.read..self.read + read,
        };
        self.next = piece.written.end;
        self.read = piece.read.end;
        Some(piece)
    }
}

/// How many bytes an escape takes, and how many bytes it becomes.
fn escape(rest: &str) -> (usize, usize) {
    let digits = match rest[1..].chars().next() {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        // The end of a line, and all white space up to the next character.
        Some(' ' | '\t' | '\r' | '\n') => {
            let left_out = rest[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            return (rest.len() - left_out.len(), 0);
        }
        Some(_) => return (2, 1),
        None => return (1, 1),
    };
    let character = rest
        .get(2..2 + digits)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .and_then(char::from_u32);
    (2 + digits, character.map_or(1, char::len_utf8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character of what was read is found in the literal as it was written.
    fn check(literal: &str, read: &str, written: &[&str]) {
        let document = format!("x = {literal}");
        let parsed: toml::Table = document.parse().unwrap();
        assert_eq!(parsed["x"].as_str(), Some(read), "{literal}");
        let found: Vec<&str> = read
            .char_indices()
            .map(|(at, c)| &literal[part(literal, &(at..at + c.len_utf8()))])
            .collect();
        assert_eq!(found, written, "{literal}");
    }

    #[test]
    fn plain_characters_stand_for_themselves() {
        check(r#""aé""#, "aé", &["a", "é"]);
        check(r"'a\n'", "a\\n", &["a", "\\", "n"]);
        check("\"\"", "", &[]);
        check("''", "", &[]);
    }

    #[test]
    fn an_escape_is_found_whole() {
        check(
            r#""a\n\"\\b\u00e9c\U0001F600d\x41\e""#,
            "a\n\"\\b\u{e9}c\u{1f600}dA\u{1b}",
            &[
                "a",
                r"\n",
                r#"\""#,
                r"\\",
                "b",
                r"\u00e9",
                "c",
                r"\U0001F600",
                "d",
                r"\x41",
                r"\e",
            ],
        );
    }

    #[test]
    fn strings_of_several_lines_leave_out_the_first_newline() {
        check("\"\"\"\na\nb\"\"\"", "a\nb", &["a", "\n", "b"]);
        check("\"\"\"\r\na\"\"\"", "a", &["a"]);
        check("'''\na\\'''", "a\\", &["a", "\\"]);
        check("'''a''b'''", "a''b", &["a", "'", "'", "b"]);
        check("\"\"\"\n\"\"\"", "", &[]);
        check("\"\"\"\"\"\"", "", &[]);
        check("\"\"\"a\"\"\"\"", "a\"", &["a", "\""]);
    }

    #[test]
    fn a_backslash_at_the_end_of_a_line_leaves_out_white_space() {
        check(
            "\"\"\"a\\\n\n  \tb\\  \r\n c\"\"\"",
            "abc",
            &["a", "b", "c"],
        );
    }

    #[test]
    fn a_range_goes_from_its_first_to_its_last_character() {
        let literal = r#""x\u00e9 + yy""#;
        assert_eq!(&literal[part(literal, &(1..5))], r"\u00e9 +");
        assert_eq!(part(literal, &(3..3)), 8..8);
        assert_eq!(part(literal, &(0..99)), 1..13);
        assert_eq!(part(literal, &(50..60)), 13..13);
    }
}
