//! What may be shown of a file: all but what could be a secret.
//!
//! A secret is to be no text of a file, and one that is all the same is not to reach a log with the
//! message that says so, nor with one about something else in its line.

use std::ops::Range;

use super::tree::{Data, Entry, Node};

/// Fields that say where a secret is kept.
const PLACES: [&str; 2] = ["env", "file"];

/// The values among the fields of a section that could be secrets, whatever their keys: one may be
/// misspelt. A list is none.
pub(super) fn hidden(fields: &[Entry], hidden: &mut Vec<Range<usize>>) {
    for Entry { key, node, .. } in fields {
        match node {
            Node {
                data: Data::Table(entries),
                ..
            } => self::hidden(entries, hidden),
            Node {
                data: Data::Array(_),
                ..
            } => {}
            Node { span, .. } if !PLACES.contains(&key.as_str()) => hidden.push(span.clone()),
            Node { .. } => {}
        }
    }
}

/// The text with stars in these places; every other byte stays where it is.
pub(super) fn without(text: &str, hidden: &[Range<usize>]) -> String {
    let is_hidden = |at: usize| hidden.iter().any(|range| range.contains(&at));
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if is_hidden(at) && !matches!(character, '\n' | '\r') {
            // A star for each byte: what stands behind it keeps its place.
            shown.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            shown.push(character);
        }
    }
    shown
}
