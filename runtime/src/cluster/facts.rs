//! What must be the same for all processes of a run.

use std::fmt;

/// Names and values that must be equal on all processes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<(String, String)>);

/// A fact that is not the same for two processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Its value here; none where the fact is not known here.
    pub here: Option<String>,
    /// Its value there.
    pub there: Option<String>,
}

impl Facts {
    /// How many bytes facts may take: they travel in one frame.
    pub const BOUND: usize = 3 << 10;

    /// Adds a fact.
    ///
    /// # Panics
    /// When the facts take more than [`Facts::BOUND`] bytes: a long value is to be hashed.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        assert!(self.bytes().len() <= Facts::BOUND, "facts are short");
        self
    }

    /// The first fact in which others are not as these.
    pub(super) fn difference(&self, there: &Facts) -> Option<Difference> {
        let places = 0..self.0.len().max(there.0.len());
        places
            .map(|place| (self.0.get(place), there.0.get(place)))
            .find(|(here, there)| here != there)
            .map(|(here, there)| {
                let name = here.or(there).map(|(name, _)| name.clone());
                let name = name.unwrap_or_default();
                let value = |fact: Option<&(String, String)>| {
                    let same = fact.filter(|(of, _)| *of == name);
                    same.map(|(_, value)| value.clone())
                };
                Difference {
                    here: value(here),
                    there: value(there),
                    name,
                }
            })
    }

    /// Each text with its length before it, as two bytes, the high one first.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let texts = self.0.iter().flat_map(|(name, value)| [name, value]);
        texts
            .flat_map(|text| {
                let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
                length.to_be_bytes().into_iter().chain(text.bytes())
            })
            .collect()
    }

    /// Reads what [`Facts::bytes`] wrote.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Facts> {
        let mut facts = Vec::new();
        while !bytes.is_empty() {
            facts.push((text(&mut bytes)?, text(&mut bytes)?));
        }
        Some(Facts(facts))
    }
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = bytes.split_off(..2)?;
    let length = u16::from_be_bytes([length[0], length[1]]);
    let text = bytes.split_off(..usize::from(length))?;
    String::from_utf8(text.to_vec()).ok()
}

/// The name and both values; what would be drawn by a terminal is escaped, for it comes from elsewhere.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |value: &Option<String>| match value {
            Some(value) => value.escape_debug().to_string(),
            None => "not known".to_owned(),
        };
        let name = self.name.escape_debug();
        write!(
            f,
            "{name}: {} there, {} here",
            said(&self.there),
            said(&self.here)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts::default().with("version", "1").with("workers", 2)
    }

    #[test]
    fn facts_are_read_as_they_were_written_and_nothing_else_is() {
        let bytes = facts().bytes();
        assert_eq!(Facts::read(&bytes), Some(facts()));
        assert_eq!(Facts::read(&[]), Some(Facts::default()));
        for cut in 1..bytes.len() {
            let read = Facts::read(&bytes[..cut]);
            assert_ne!(read, Some(facts()), "{cut}");
        }
        assert_eq!(Facts::read(&[255, 255, 0]), None);
        assert_eq!(Facts::read(&[0, 1, 255, 0, 0]), None, "no text");
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let said = |there: &Facts| facts().difference(there).map(|one| one.to_string());
        assert_eq!(said(&facts()), None);
        let there = Facts::default()
            .with("version", "\u{1b}[2J")
            .with("workers", 3);
        let escaped = "version: \\u{1b}[2J there, 1 here";
        assert_eq!(said(&there).as_deref(), Some(escaped));
        let there = Facts::default().with("version", 1);
        let lacks = "workers: not known there, 2 here";
        assert_eq!(said(&there).as_deref(), Some(lacks));
        let there = facts().with("more", "x");
        let more = "more: x there, not known here";
        assert_eq!(said(&there).as_deref(), Some(more));
    }

    #[test]
    #[should_panic(expected = "facts are short")]
    fn facts_that_no_frame_holds_are_refused() {
        let _ = Facts::default().with("plan", "x".repeat(Facts::BOUND));
    }
}
