//! Decodes a section into its config struct, and finds all that is wrong with it.
//!
//! serde stops at its first error. So that is mended on a copy of the section, and the copy decoded
//! again: a field that is unknown is left out, a value that is missing or wrong gets a stand-in.
//! Which stand-in fits nobody says, so one after the other is tried. Once anything was mended, what
//! is decoded serves to find more errors only.

use operators::problem::Step;

use super::field::Field;
use super::flaw::{Fault, Flaw};
use super::tree::{Data, Entry, Node};

/// The value that an attempt makes of a section, or all its flaws.
pub(crate) fn decode<T>(
    section: &Node,
    mut attempt: impl FnMut(Field<'_>) -> Result<T, Flaw>,
) -> Result<T, Vec<Flaw>> {
    let mut copy = Copy {
        root: section.clone(),
        mended: Vec::new(),
    };
    let mut flaws = Vec::new();
    for _ in 0..ATTEMPTS {
        let flaw = match attempt(Field::root(&copy.root)) {
            Ok(value) if flaws.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(flaw) => flaw,
        };
        let is_new = !copy.caused(&flaw);
        let is_mended = copy.mend(&flaw);
        if is_new {
            flaws.push(flaw);
        }
        if !is_mended {
            break;
        }
    }
    Err(flaws)
}

/// A section in which what was wrong is mended.
struct Copy {
    root: Node,
    /// Where, and how many stand-ins were tried there.
    mended: Vec<(Vec<Step>, usize)>,
}

impl Copy {
    /// Whether a flaw is (or may be) about what was mended, and so not the author's.
    fn caused(&self, flaw: &Flaw) -> bool {
        let place = flaw.place();
        let is_own = matches!(flaw.fault, Fault::Missing(_) | Fault::UnknownField { .. });
        self.mended
            .iter()
            .any(|(mended, _)| place.starts_with(mended) || (!is_own && mended.starts_with(&place)))
    }

    /// Does away with a flaw, or with a part of it; false where nothing more can be done.
    fn mend(&mut self, flaw: &Flaw) -> bool {
        let place = flaw.place();
        if let Fault::UnknownField { .. } = flaw.fault {
            self.mended.push((place.clone(), STAND_INS));
            return self.remove(&place);
        }
        let tried = self.count(&place);
        match (stand_in(tried), &flaw.fault) {
            // It was left out in the end, and cannot be.
            (_, Fault::Missing(_)) if tried > 0 => false,
            (Some(data), Fault::Missing(field)) => self.insert(&place, field, data),
            (Some(_), Fault::UnknownChoice { known, .. }) if !known.is_empty() => {
                self.replace(&place, Data::Text(known[0].to_owned()))
            }
            (Some(data), _) => self.replace(&place, data),
            (None, _) => self.remove(&place),
        }
    }

    /// How many stand-ins were tried at a place before.
    fn count(&mut self, place: &[Step]) -> usize {
        for (mended, tried) in &mut self.mended {
            if mended == place {
                *tried += 1;
                return *tried;
            }
        }
        self.mended.push((place.to_vec(), 0));
        0
    }

    fn insert(&mut self, place: &[Step], field: &str, data: Data) -> bool {
        let table = &place[..place.len() - 1];
        let Some(node) = self.root.descendant_mut(table) else {
            return false;
        };
        let span = node.span.clone();
        let Data::Table(entries) = &mut node.data else {
            return false;
        };
        entries.push(Entry {
            key: field.to_owned(),
            key_span: span.clone(),
            node: Node { data, span },
        });
        true
    }

    fn replace(&mut self, place: &[Step], data: Data) -> bool {
        match self.root.descendant_mut(place) {
            Some(node) if !place.is_empty() => {
                node.data = data;
                true
            }
            _ => false,
        }
    }

    /// Takes a field out of its table. An element of an array stays: the others keep their place.
    fn remove(&mut self, place: &[Step]) -> bool {
        let Some((Step::Key(key), table)) = place.split_last() else {
            return false;
        };
        match self.root.descendant_mut(table).map(|node| &mut node.data) {
            Some(Data::Table(entries)) => {
                let count = entries.len();
                entries.retain(|entry| entry.key != *key);
                entries.len() < count
            }
            _ => false,
        }
    }
}

/// The values that are tried, one after the other, in the place of one that is missing or wrong.
fn stand_in(tried: usize) -> Option<Data> {
    let all: [Data; STAND_INS] = [
        Data::Text(String::new()),
        Data::Integer(1),
        Data::Bool(true),
        Data::Array(Vec::new()),
        Data::Table(Vec::new()),
    ];
    all.into_iter().nth(tried)
}

const STAND_INS: usize = 5;

/// How often a section is decoded at most, so that a config struct that cannot be made by any value
/// comes to an end.
const ATTEMPTS: usize = 1000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::section::tests::{marked, section};

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        path: String,
        separator: Option<char>,
        rows: Option<u8>,
        #[serde(default)]
        set: BTreeMap<String, String>,
        write: Write,
        cut: Option<Cut>,
        overlap: Option<Overlap>,
        #[serde(default)]
        rules: Vec<Rule>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Write {
        Merge,
        UpdateOnly,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Cut {
        Prefix(u32),
        Hash { buckets: u32 },
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Overlap {
        start: String,
        end: String,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        column: String,
        when: String,
        weight: Option<f64>,
    }

    /// Decodes, and compares `line:column <what is marked> message (label; help)`.
    fn check(fields: &str, expected: &[&str]) {
        let section = section(fields);
        let found: Vec<String> = section
            .decode::<Config>()
            .unwrap_err()
            .iter()
            .map(|one| {
                let help = one.help.as_deref().unwrap_or("no help");
                let (place, message, label) = (marked(&section, one), &one.message, &one.label);
                format!("{place} {message} ({label}; {help})")
            })
            .collect();
        assert_eq!(found, expected, "{fields}");
    }

    const NO_PATH: &str =
        "0:1 <[sources.a]> `path` is missing (`csv` needs it; write `path = ...`)";
    const NO_WRITE: &str =
        "0:1 <[sources.a]> `write` is missing (`csv` needs it; write `write = ...`)";

    #[test]
    fn a_sound_section_is_its_config_struct() {
        let fields = "path = 'x'\nrows = 0x10\nwrite = 'update-only'\ncut = { prefix = 3 }\n\
            [[sources.a.rules]]\ncolumn = 'c'\nwhen = 'w'\nweight = 1";
        let config: Config = section(fields).decode().unwrap();
        assert_eq!(config.rows, Some(16));
        assert_eq!(config.write, Write::UpdateOnly);
        assert_eq!(config.cut, Some(Cut::Prefix(3)));
        assert_eq!(config.rules[0].weight, Some(1.0));
        let fields = "path = 'x'\nwrite = 'merge'\ncut.hash.buckets = 4";
        let config: Config = section(fields).decode().unwrap();
        assert_eq!(config.cut, Some(Cut::Hash { buckets: 4 }));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        check(
            "pth = 'x'\nrows = 'many'\nset = { a = 1, b = 'x', c = true }\n\
             overlap = { start = 7, stop = 'e' }\nrules = [\n  { column = 'c' },\n  \
             { when = 1, colum = 'c' },\n  'x',\n]",
            &[
                NO_PATH,
                NO_WRITE,
                "1:1 <pth> `pth` is not a field of `csv` (there is no such field; \
                 did you mean `path`?)",
                "2:8 <'many'> expected an integer from 0 to 255, found a string \
                 (`rows` takes an integer from 0 to 255; no help)",
                "3:13 <1> expected a string, found an integer (`a` takes a string; no help)",
                "3:29 <true> expected a string, found a boolean (`c` takes a string; no help)",
                "4:11 <{ start = 7, stop = 'e' }> `end` is missing \
                 (`overlap` needs it; write `end = ...`)",
                "4:21 <7> expected a string, found an integer (`start` takes a string; no help)",
                "4:24 <stop> `stop` is not a field of `overlap` (there is no such field; \
                 the fields are `start`, `end`)",
                "6:3 <{ column = 'c' }> `when` is missing (`rules` needs it; write `when = ...`)",
                "7:3 <{ when = 1, colum = 'c' }> `column` is missing \
                 (`rules` needs it; write `column = ...`)",
                "7:12 <1> expected a string, found an integer (`when` takes a string; no help)",
                "7:15 <colum> `colum` is not a field of `rules` (there is no such field; \
                 did you mean `column`?)",
                "8:3 <'x'> expected a table, found a string (`rules` takes a table; no help)",
            ],
        );
    }

    #[test]
    fn a_range_is_told_with_its_ends() {
        check(
            "path = 'x'\nwrite = 'merge'\nrows = 256\ncut = { prefix = -1 }",
            &[
                "3:8 <256> expected an integer from 0 to 255, found 256 \
                 (`rows` takes an integer from 0 to 255; no help)",
                "4:18 <-1> expected an integer from 0 to 4294967295, found -1 \
                 (`prefix` takes an integer from 0 to 4294967295; no help)",
            ],
        );
    }

    #[test]
    fn a_choice_that_is_not_there_is_told_with_those_that_are() {
        check(
            "path = 'x'\nwrite = 'mrge'\ncut = { prefx = 3 }",
            &[
                "2:9 <'mrge'> `mrge` is not a choice of `write` (there is no such choice; \
                 did you mean `merge`?)",
                "3:9 <prefx> `prefx` is not a choice of `cut` (there is no such choice; \
                 did you mean `prefix`?)",
            ],
        );
        check(
            "path = 'x'\nwrite = 'z'\ncut = 'prefix'",
            &[
                "2:9 <'z'> `z` is not a choice of `write` (there is no such choice; \
                 the choices are `merge`, `update-only`)",
                "3:7 <'prefix'> expected a table, found a string (`cut` takes a table; no help)",
            ],
        );
        check(
            "write = 3\ncut = { prefix = 1, hash = 2 }",
            &[
                NO_PATH,
                "1:9 <3> expected `merge` or `update-only`, found an integer \
                 (`write` takes `merge` or `update-only`; no help)",
                "2:7 <{ prefix = 1, hash = 2 }> expected a table of one field, found 2 \
                 (`cut` takes a table of one field; no help)",
            ],
        );
    }

    #[test]
    fn a_date_is_no_string_and_two_characters_are_not_one() {
        check(
            "path = 2024-02-29\nseparator = 'ab'\nwrite = 'merge'",
            &[
                "1:8 <2024-02-29> expected a string, found a date (`path` takes a string; no help)",
                "2:13 <'ab'> expected a character, found a string of another form \
                 (`separator` takes a character; no help)",
            ],
        );
    }

    #[test]
    fn what_could_not_be_read_is_not_said_to_be_missing() {
        let broken = section("path = foo\nrows = 'x'\n");
        let found = broken.decode::<Config>().unwrap_err();
        assert_eq!(found.len(), 1);
        assert_eq!(marked(&broken, &found[0]), "2:8 <'x'>");
        let broken = section("path 'x'\nwrite = 'merge'");
        assert_eq!(broken.decode::<Config>(), Err(vec![]));
    }

    #[test]
    fn hundreds_of_unknown_fields_are_all_told() {
        let fields: Vec<String> = (0..300).map(|n| format!("zzzzz{n} = {n}\n")).collect();
        assert_eq!(
            section(&fields.concat())
                .decode::<Config>()
                .unwrap_err()
                .len(),
            302
        );
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(try_from = "BTreeMap<String, i64>")]
    struct Never {}

    impl TryFrom<BTreeMap<String, i64>> for Never {
        type Error = String;

        fn try_from(_: BTreeMap<String, i64>) -> Result<Self, String> {
            Err("one of `a` and `b` is needed".to_owned())
        }
    }

    #[test]
    fn a_struct_that_refuses_everything_says_why_once() {
        let one = section("x = 1");
        let found = one.decode::<Never>().unwrap_err();
        assert_eq!(found[0].message, "one of `a` and `b` is needed");
        assert_eq!(marked(&one, &found[0]), "0:1 <[sources.a]>");
        // What the values are is the first thing to mend.
        let found = section("x = 'y'").decode::<Never>().unwrap_err();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "expected an integer, found a string");
    }
}
