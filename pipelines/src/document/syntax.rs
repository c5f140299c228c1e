//! Reads what can be read of a text, and says everything that cannot.
//!
//! The parser stops or loses its way at some errors: an array that is not closed takes the
//! statements that follow for its elements. So one error is found at a time: its statement is
//! blanked, which leaves all else where it stands, and the rest is read again.

use std::ops::Range;

use super::file::File;
use super::tree::{self, Entry, SyntaxError};
use crate::diagnostic::{BYTE_ORDER_MARK, Diagnostic};

/// What could be read of a text.
pub(crate) struct Reading {
    /// The tables of the file.
    pub(crate) root: Vec<Entry>,
    /// One error for each statement that was left out.
    pub(crate) errors: Vec<Diagnostic>,
    /// The statements that were left out of their tables. Where a header is broken, the whole of its
    /// table is left out, and not listed: no other table lacks anything.
    pub(crate) left_out: Vec<Range<usize>>,
}

/// Reads a file.
pub(crate) fn read(file: &File) -> Reading {
    let text = file.text.as_str();
    let mut readable = text.to_owned();
    let mut reading = Reading {
        root: Vec::new(),
        errors: Vec::new(),
        left_out: Vec::new(),
    };
    for _ in 0..ERRORS {
        let error = match tree::parse(&readable) {
            Ok(root) => {
                reading.root = root;
                break;
            }
            Err(error) => error,
        };
        let statement = statement_around(&readable, error.span.start);
        reading.errors.push(explain(file, &error, &statement));
        if readable[statement.clone()].trim().is_empty() {
            break;
        }
        let blank = readable[statement.clone()]
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect::<String>();
        readable.replace_range(statement.clone(), &blank);
        if !begins_table(text, &statement) {
            reading.left_out.push(statement);
        }
    }
    reading
}

/// The lines of the statement that an error belongs to. A statement begins where all before it can
/// be read, and ends with its line, or where a line looks like the next statement if it goes on.
fn statement_around(text: &str, error: usize) -> Range<usize> {
    let own = line_start(text, error);
    let start = lines_from(text, 0)
        .take_while(|(start, _)| *start < own)
        .filter(|(_, line)| is_header(line) || is_assignment(line))
        .map(|(start, _)| start)
        .chain([own])
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .take(LINES_BACK)
        .find(|start| tree::parse(&text[..*start]).is_ok())
        .unwrap_or(own);
    let is_table = begins_table(text, &(start..text.len()));
    let goes_on = start < own || is_open(text[start..].lines().next().unwrap_or_default());
    let end = lines_from(text, start)
        .skip(1)
        .find(|(_, line)| match (is_table, goes_on) {
            (true, _) => is_header(line),
            (false, true) => is_header(line) || is_assignment(line),
            (false, false) => true,
        })
        .map_or(text.len(), |(start, _)| start);
    start..end
}

/// An error in the author's words.
fn explain(file: &File, error: &SyntaxError, statement: &Range<usize>) -> Diagnostic {
    let text = file.text.as_str();
    let at = |span: Range<usize>| file.place(span);
    let outside =
        line_start(text, error.span.start) != statement.start && statement.end <= error.span.start;
    if outside {
        let line = text[statement.clone()].lines().next().unwrap_or_default();
        let start = statement.start + (line.len() - code_of(line).len());
        let end = statement.start + line.trim_end().len();
        return Diagnostic::error("the value is not closed")
            .at(at(start..end))
            .label("begins here")
            .help("a quote, a bracket or a brace is missing");
    }
    let written = text.get(error.span.clone()).unwrap_or_default();
    let (message, expected) = match error.message.split_once(", expected ") {
        Some((message, expected)) => (message, format!("expected {expected}")),
        None => (error.message.as_str(), String::new()),
    };
    let diagnostic = match message {
        "duplicate key" => Diagnostic::error(format!("`{written}` is written twice"))
            .label("the second")
            .help("keep one of them"),
        "string values must be quoted" if written.is_empty() => {
            Diagnostic::error("there is no value after `=`").label("expected a value")
        }
        "string values must be quoted" => Diagnostic::error("a string is not in quotes")
            .label("not a value")
            .help(quoting(written)),
        other => Diagnostic::error(other).label(expected),
    };
    diagnostic.at(at(error.span.clone()))
}

/// Whether a statement is a header, sound or not.
fn begins_table(text: &str, statement: &Range<usize>) -> bool {
    code_of(&text[statement.clone()]).starts_with('[')
}

/// How to write a text in quotes, shown where it is short and needs no escapes.
fn quoting(written: &str) -> String {
    let is_plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    if written.len() <= 40 && written.chars().all(is_plain) {
        format!("write \"{written}\"")
    } else {
        "write it in quotes".to_owned()
    }
}

fn line_start(text: &str, byte: usize) -> usize {
    text[..byte].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The lines from a byte on, each with the byte where it starts.
fn lines_from(text: &str, start: usize) -> impl Iterator<Item = (usize, &str)> {
    text[start..]
        .split_inclusive('\n')
        .scan(start, |next, line| {
            let start = *next;
            *next += line.len();
            Some((start, line))
        })
}

/// Whether a line looks like `[table]` or `[[table]]`, be it that a bracket is missing, rather than
/// like an element of an array.
fn is_header(line: &str) -> bool {
    let code = code_of(line).split('#').next().unwrap_or_default().trim();
    let name = code.trim_start_matches('[').trim_end_matches(']').trim();
    let is_word = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && !["true", "false", "inf", "nan"].contains(&name);
    code.starts_with('[') && !code.contains([',', '=']) && (is_word || code.ends_with(']'))
}

/// Whether a line looks like `key = ...`.
fn is_assignment(line: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_-.\"'".contains(c);
    code_of(line).split_once('=').is_some_and(|(key, _)| {
        let key = key.trim_end();
        !key.is_empty() && key.chars().all(is_part)
    })
}

/// Whether a line seems to leave a bracket, a brace or the quotes of several lines open.
fn is_open(line: &str) -> bool {
    let opened = line.matches(['[', '{']).count();
    let closed = line.matches([']', '}']).count();
    let is_odd = |quotes| line.matches(quotes).count() % 2 == 1;
    opened > closed || is_odd("\"\"\"") || is_odd("'''")
}

/// A line without what stands before its first character.
fn code_of(line: &str) -> &str {
    line.trim_start_matches(BYTE_ORDER_MARK).trim_start()
}

/// How many errors are told at most: each costs a reading of the file.
const ERRORS: usize = 100;

/// How many lines are tried as the begin of a broken statement: each costs a reading, too.
const LINES_BACK: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Reading {
        super::read(&File {
            number: 0,
            name: "p.toml".to_owned(),
            text: text.to_owned(),
        })
    }

    /// What is told, as `line:column message`, and the keys that are left.
    fn check(text: &str, told: &[&str], left: &[&str]) {
        let reading = read(text);
        let errors: Vec<String> = reading
            .errors
            .iter()
            .map(|error| {
                let place = error.place.as_ref().unwrap();
                format!("{}:{} {}", place.line, place.column, error.message)
            })
            .collect();
        assert_eq!(errors, told, "{text}");
        let keys: Vec<String> = reading.root.iter().flat_map(keys).collect();
        assert_eq!(keys, left, "{text}");
    }

    fn keys(entry: &Entry) -> Vec<String> {
        match entry.node.entries() {
            None => vec![entry.key.clone()],
            Some(entries) => {
                let inner = entries.iter().flat_map(keys);
                inner.map(|key| format!("{}.{key}", entry.key)).collect()
            }
        }
    }

    #[test]
    fn a_sound_text_is_read_whole() {
        check("", &[], &[]);
        check("a = 1\n[b]\nc = 2", &[], &["a", "b.c"]);
    }

    #[test]
    fn a_broken_statement_takes_none_other_with_it() {
        check(
            "a 1\nb = 2\nc = \nd = x\ne = 1 2\nf = 'x' 'y'\ng = 3",
            &[
                "1:3 key with no value",
                "3:5 there is no value after `=`",
                "4:5 a string is not in quotes",
                "5:5 a string is not in quotes",
                "6:9 unexpected key or value",
            ],
            &["b", "g"],
        );
    }

    #[test]
    fn what_is_not_closed_is_told_where_it_begins() {
        let told = ["2:1 the value is not closed"];
        for open in [
            "[1, 2",
            "[\n  1,\n  2,\n",
            "{ x = 1",
            "\"\"\"\nselect",
            "'''",
        ] {
            let text = format!("a = 1\nb = {open}\nc = 3\n[d]\ne = 4");
            check(&text, &told, &["a", "c", "d.e"]);
        }
    }

    #[test]
    fn an_error_within_an_array_is_told_in_its_line_and_leaves_the_array_out() {
        check(
            "a = [\n  1,\n  foo bar,\n  [3],\n]\nb = 1",
            &["3:3 a string is not in quotes"],
            &["b"],
        );
    }

    #[test]
    fn a_broken_header_takes_its_table_with_it() {
        check(
            "[a]\nx = 1\n[b\nx = 2\ny = 3\n[c]\nx = 4",
            &["3:3 unclosed table"],
            &["a.x", "c.x"],
        );
        check(
            "[a]\nx = 1\nq = { y = 1\n[b\nx = 2\n[c]\nx = 4",
            &["3:1 the value is not closed", "4:3 unclosed table"],
            &["a.x", "c.x"],
        );
    }

    #[test]
    fn what_is_written_twice_is_kept_as_it_was_first() {
        check(
            "[a]\nx = 1\nx = 2\n[a]\ny = 1\n[b]\nz = 1",
            &["3:1 `x` is written twice", "4:2 `a` is written twice"],
            &["a.x", "b.z"],
        );
    }

    #[test]
    fn numbers_that_do_not_fit_are_told() {
        check(
            "a = 9223372036854775808\nb = 0xFFFFFFFFFFFFFFFFF\nc = 1e999\nd = -inf\ne = 0x10",
            &[
                "1:5 the number does not fit into 64 bits",
                "2:5 the number does not fit into 64 bits",
                "3:5 the number does not fit into 64 bits",
            ],
            &["d", "e"],
        );
    }

    #[test]
    fn a_text_of_errors_only_comes_to_an_end() {
        assert_eq!(read(&"x\n".repeat(500)).errors.len(), ERRORS);
        assert!(
            !read("\u{1}\u{feff}\r]]}}\"\"\"'''[[{{=\n\n")
                .errors
                .is_empty()
        );
        assert!(!read(&"[".repeat(10_000)).errors.is_empty());
        assert!(!read(&"a = [\n".repeat(300)).errors.is_empty());
    }
}
