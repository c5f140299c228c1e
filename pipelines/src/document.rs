//! The pipeline file, every key and value with its place.
//!
//! ```text
//!   text --> syntax --> tree --> sections ----> decode --> a config struct
//!               |                    |             |
//!               +---- diagnostics ---+-------------+   all of them, each at its place
//! ```
//!
//! Reading never fails: what can be read is kept, what cannot is told. No type is known here, and no
//! stage: a section is decoded into the struct that its caller names.

mod decode;
mod field;
mod flaw;
mod literal;
mod param;
mod section;
mod shown;
mod syntax;
mod tree;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use operators::problem::{closest, suggest};

pub use self::field::Field;
pub use self::flaw::Flaw;
pub use self::param::{Param, ParamValue};
pub use self::section::{Group, Kind, Section};

use self::tree::{Data, Entry, Node};
use crate::diagnostic::{self, Diagnostic, Place};

/// A pipeline file that was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The path of the file, as it was given.
    pub name: String,
    /// What the file holds.
    pub text: Arc<str>,
    /// What may be shown of that, byte for byte in its place.
    pub shown: Arc<str>,
    pipeline: Option<Section>,
    http: Option<Section>,
    cluster: Option<Section>,
    connections: Vec<Section>,
    sections: Vec<Section>,
    params: Vec<Param>,
}

impl Document {
    /// Reads a pipeline file. All that is wrong with its form is told in order of place: syntax,
    /// tables that no pipeline has, names, types.
    pub fn parse(name: &str, text: &str) -> (Document, Vec<Diagnostic>) {
        let reading = syntax::read(text);
        let mut starts: Vec<usize> = reading.root.iter().flat_map(starts).collect();
        starts.sort_unstable();
        let mut reader = Reader {
            text: Arc::from(text),
            left_out: reading.left_out,
            starts,
            sections: Vec::new(),
            params: Vec::new(),
            hidden: Vec::new(),
            diagnostics: reading.errors,
        };
        let is_readable = reader.diagnostics.is_empty();
        for entry in reading.root {
            reader.table(entry);
        }
        reader.finish_sections();
        let mut sections = reader.sections;
        let (connections, others) = { sections }
            .into_iter()
            .partition(|section| section.group == Group::Connections);
        sections = others;
        let mut only = |group| {
            let found = sections.iter().position(|section| section.group == group);
            found.map(|index| sections.remove(index))
        };
        let pipeline = only(Group::Pipeline);
        let cluster = only(Group::Cluster);
        let http = only(Group::Http);
        let mut diagnostics = reader.diagnostics;
        if pipeline.is_none() && is_readable {
            diagnostics.push(
                Diagnostic::error("`[pipeline]` is missing")
                    .help("write `[pipeline]` and below it `name = \"...\"`"),
            );
        }
        diagnostic::sort(&mut diagnostics);
        let document = Document {
            name: name.to_owned(),
            shown: shown::without(&reader.text, &reader.hidden).into(),
            text: reader.text,
            pipeline,
            cluster,
            http,
            connections,
            sections,
            params: reader.params,
        };
        (document, diagnostics)
    }

    /// `[pipeline]`; where there is none, that was told.
    pub fn pipeline(&self) -> Option<&Section> {
        self.pipeline.as_ref()
    }

    /// `[cluster]`, where there is one.
    pub fn cluster(&self) -> Option<&Section> {
        self.cluster.as_ref()
    }

    /// `[http]`, where there is one.
    pub fn http(&self) -> Option<&Section> {
        self.http.as_ref()
    }

    /// The connections, in the order of the file.
    pub fn connections(&self) -> &[Section] {
        &self.connections
    }

    /// Sources, transforms and sinks, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The parameters, in the order of the file.
    pub fn params(&self) -> &[Param] {
        &self.params
    }
}

/// The tables of a pipeline file.
const TABLES: [&str; 8] = [
    "pipeline",
    "http",
    "params",
    "connections",
    "sources",
    "transforms",
    "sinks",
    "cluster",
];

/// What has been read so far.
struct Reader {
    text: Arc<str>,
    left_out: Vec<Range<usize>>,
    /// Where the sections begin, in order.
    starts: Vec<usize>,
    sections: Vec<Section>,
    params: Vec<Param>,
    /// What could be a secret.
    hidden: Vec<Range<usize>>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    fn table(&mut self, entry: Entry) {
        let Some(table) = self.meant(&entry) else {
            return;
        };
        let span = entry.node.span.clone();
        let Data::Table(entries) = entry.node.data else {
            let message = format!("`{table}` must be a table, not {}", entry.node.data.words());
            self.tell(Diagnostic::error(message), span);
            return;
        };
        match Group::of(table) {
            Some(group) if group.is_one_section() => {
                self.keep(
                    group,
                    group.to_string(),
                    entry.key_span,
                    None,
                    span,
                    entries,
                );
            }
            Some(group) => {
                for entry in entries {
                    self.section(group, entry);
                }
            }
            None => {
                for entry in entries {
                    self.param(&entry);
                }
            }
        }
    }

    /// The table that a key of the file means. A misspelt one is told, and read as the one that is
    /// meant: else its sections would be missed elsewhere, too.
    fn meant(&mut self, entry: &Entry) -> Option<&'static str> {
        let mut known = TABLES.iter().copied();
        if let Some(table) = known.find(|table| *table == entry.key) {
            return Some(table);
        }
        let known = TABLES.iter().copied();
        let diagnostic =
            Diagnostic::error(format!("`{}` is not a part of a pipeline file", entry.key))
                .label("there is no such table")
                .help(suggest(&entry.key, known.clone(), "tables"));
        self.tell(diagnostic, entry.key_span.clone());
        closest(&entry.key, known)
    }

    fn section(&mut self, group: Group, entry: Entry) {
        self.check_name(&group.to_string(), &entry);
        let Entry {
            key,
            key_span,
            node,
        } = entry;
        let mut entries = match node.data {
            Data::Table(entries) => entries,
            other => {
                let message = format!("a {group} must be a table, not {}", other.words());
                let help = format!("write `[{}.{key}]` and below it its fields", group.table());
                self.tell(Diagnostic::error(message).help(help), node.span);
                return;
            }
        };
        let has_header = self.text[node.span.clone()].starts_with('[');
        let span = if has_header {
            node.span
        } else {
            key_span.clone()
        };
        let written = entries.iter().position(|entry| entry.key == "type");
        let kind = written.and_then(|index| self.kind(&entries.remove(index).node));
        if written.is_none() && !self.is_damaged(&span) {
            self.tell_no_kind(group, &key, &span, &entries);
        }
        self.keep(group, key, key_span, kind, span, entries);
    }

    fn kind(&mut self, node: &Node) -> Option<Kind> {
        match &node.data {
            Data::Text(name) if !name.is_empty() => Some(Kind {
                name: name.clone(),
                place: Place::of(&self.text, node.span.clone()),
            }),
            Data::Text(_) => {
                self.tell(Diagnostic::error("a type has a name"), node.span.clone());
                None
            }
            other => {
                let message = format!("a type is a string, not {}", other.words());
                let diagnostic = Diagnostic::error(message).help("write `type = \"...\"`");
                self.tell(diagnostic, node.span.clone());
                None
            }
        }
    }

    fn tell_no_kind(&mut self, group: Group, name: &str, span: &Range<usize>, fields: &[Entry]) {
        let help = match closest("type", fields.iter().map(|entry| entry.key.as_str())) {
            Some(close) => format!("is `{close}` meant to be `type`?"),
            None => "write `type = \"...\"`".to_owned(),
        };
        let diagnostic = Diagnostic::error(format!("the {group} `{name}` has no type"))
            .label("`type` is missing")
            .help(help);
        self.tell(diagnostic, span.clone());
    }

    fn keep(
        &mut self,
        group: Group,
        name: String,
        name_span: Range<usize>,
        kind: Option<Kind>,
        span: Range<usize>,
        entries: Vec<Entry>,
    ) {
        if group.has_secrets() {
            self.hide(&span, &entries);
        }
        self.sections.push(Section {
            group,
            name,
            name_place: Place::of(&self.text, name_span),
            kind,
            is_damaged: self.is_damaged(&span),
            fields: Node {
                data: Data::Table(entries),
                span,
            },
            text: Arc::clone(&self.text),
        });
    }

    fn param(&mut self, entry: &Entry) {
        self.check_name("parameter", entry);
        match param::read(&self.text, entry) {
            Ok(param) => self.params.push(param),
            Err(diagnostic) => self.diagnostics.push(diagnostic),
        }
    }

    /// A name with a dot could not be told from an output of a stage, such as `<stage>.errors`.
    fn check_name(&mut self, what: &str, entry: &Entry) {
        let diagnostic = if entry.key.trim().is_empty() {
            Diagnostic::error(format!("a {what} needs a name")).label("this name is empty")
        } else if entry.key.contains('.') {
            Diagnostic::error(format!("the name of a {what} cannot hold a dot"))
                .label("holds a dot")
                .help(format!("write `{}`", entry.key.replace('.', "_")))
        } else {
            return;
        };
        self.tell(diagnostic, entry.key_span.clone());
    }

    /// Puts the sections in the order of the file, and tells the names that are there twice: an
    /// input names a stage by its name alone.
    fn finish_sections(&mut self) {
        self.sections
            .sort_by_key(|section| section.name_place.span.start);
        let mut seen: BTreeMap<&str, &Section> = BTreeMap::new();
        for section in &self.sections {
            if !section.group.is_of_stages() {
                continue;
            }
            let Some(first) = seen.get(section.name.as_str()) else {
                seen.insert(&section.name, section);
                continue;
            };
            let message = format!("there is a {} `{}` already", first.group, section.name);
            let line = first.name_place.line;
            let diagnostic = Diagnostic::error(message)
                .label("the second of this name")
                .help(format!("rename one of them; the first is in line {line}"))
                .at(section.name_place.clone());
            self.diagnostics.push(diagnostic);
        }
    }

    /// Hides what could be a secret: values, and statements that could not be read.
    fn hide(&mut self, header: &Range<usize>, fields: &[Entry]) {
        shown::hidden(fields, &mut self.hidden);
        let unread: Vec<Range<usize>> = self.unread(header).cloned().collect();
        self.hidden.extend(unread);
    }

    /// Whether statements of a section were left out.
    fn is_damaged(&self, header: &Range<usize>) -> bool {
        self.unread(header).next().is_some()
    }

    /// The statements of a section that were left out: from its header to the next section.
    fn unread(&self, header: &Range<usize>) -> impl Iterator<Item = &Range<usize>> {
        let next = self.starts.iter().find(|start| header.start < **start);
        let section = header.start..next.copied().unwrap_or(usize::MAX);
        let left_out = self.left_out.iter();
        left_out.filter(move |statement| section.contains(&statement.start))
    }

    fn tell(&mut self, diagnostic: Diagnostic, span: Range<usize>) {
        let place = Place::of(&self.text, span);
        self.diagnostics.push(diagnostic.at(place));
    }
}

/// Where the sections of a table of the file begin, or the table itself where it has none.
fn starts(table: &Entry) -> Vec<usize> {
    match (Group::of(&table.key), table.node.entries()) {
        (Some(group), Some(sections)) if !group.is_one_section() => sections
            .iter()
            .map(|section| section.node.span.start)
            .collect(),
        _ => vec![table.node.span.start],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS_PER_HOUR: i64 = 3_600_000_000;

    fn lines(diagnostics: &[Diagnostic]) -> Vec<usize> {
        let places = diagnostics.iter().flat_map(|one| &one.place);
        places.map(|place| place.line).collect()
    }

    #[test]
    fn sections_come_in_the_order_of_the_file() {
        let text = "[pipeline]\nname = 'p'\n[sources.a]\ntype = 'x'\n[sinks.b]\ntype = 'y'\n\
            [sources.c]\ntype = 'z'\n[params]\nq = 1\n";
        let (document, told) = Document::parse("p.toml", text);
        assert_eq!(told, []);
        let names: Vec<&str> = document.sections().iter().map(|s| &s.name[..]).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(document.sections()[1].group, Group::Sinks);
        assert_eq!(document.sections()[1].header().line, 5);
        assert_eq!(document.params()[0].name, "q");
        let pipeline = document.pipeline().unwrap().canonical();
        assert_eq!(pipeline, r#"pipeline "pipeline" "" {"name" = "p"}"#);
    }

    #[test]
    fn parameters_have_the_type_that_they_are_written_in() {
        let text = "[pipeline]\n[params]\na = 'x'\nb = -7\nc = 1.5\nd = true\ne = 1970-01-03\n\
            f = 1970-01-01 02:00:00.000001\ng = 1970-01-01T02:00:00+03:00\n\
            h = 1969-12-31T23:00:00Z";
        let (document, told) = Document::parse("p.toml", text);
        assert_eq!(told, []);
        let values: Vec<&ParamValue> = document.params().iter().map(|p| &p.value).collect();
        assert_eq!(
            values,
            [
                &ParamValue::Text("x".to_owned()),
                &ParamValue::Int(-7),
                &ParamValue::Float(1.5),
                &ParamValue::Bool(true),
                &ParamValue::Date(2),
                &ParamValue::Timestamp(2 * MICROS_PER_HOUR + 1),
                &ParamValue::Instant(-MICROS_PER_HOUR),
                &ParamValue::Instant(-MICROS_PER_HOUR),
            ]
        );
    }

    #[test]
    fn a_parameter_that_no_type_holds_is_told() {
        let text = "[pipeline]\n[params]\na = 07:30:00\nb = [1]\nc = {}\n\
            d = 2024-01-01T00:00:00.0000001\ne = 2016-12-31T23:59:60Z\nf = 1";
        let (document, told) = Document::parse("p.toml", text);
        assert_eq!(lines(&told), [3, 4, 5, 6, 7]);
        assert_eq!(
            told[0].message,
            "a parameter cannot be a time without a date"
        );
        assert_eq!(document.params().len(), 1);
    }

    #[test]
    fn a_misspelt_table_is_told_and_read() {
        let (document, told) = Document::parse("p", "[pipeline]\n[source.a]\ntype = 'x'");
        assert_eq!(lines(&told), [2]);
        assert_eq!(told[0].help.as_deref(), Some("did you mean `sources`?"));
        assert_eq!(document.sections()[0].name, "a");
    }

    #[test]
    fn a_name_is_unique_over_all_groups() {
        let text = "[pipeline]\n[sinks.a]\ntype = 'x'\n[sources.a]\ntype = 'x'\n\
            [transforms.a]\ntype = 'x'";
        let (_, told) = Document::parse("p", text);
        assert_eq!(lines(&told), [4, 6]);
        assert_eq!(told[0].message, "there is a sink `a` already");
        let help = "rename one of them; the first is in line 2";
        assert_eq!(told[1].help.as_deref(), Some(help));
    }

    #[test]
    fn a_broken_statement_harms_its_own_section_only() {
        let text = "[pipeline]\n[sources.a]\nx\n[sources.b]\ny = 1\n[sources.c\ntype = 'x'\n";
        let (document, told) = Document::parse("p", text);
        assert_eq!(
            lines(&told),
            [3, 4, 6],
            "b is said to lack a type, a is not"
        );
        assert_eq!(document.sections().len(), 2);
    }

    #[test]
    fn whatever_the_text_is_there_is_an_answer() {
        for text in [
            "",
            "\u{feff}",
            "[[sources.a]]\nx = 1",
            "sources = 3",
            "sources.a.b = 1",
            "[sources.a.b]\ntype = 'x'",
            "pipeline = []",
            "[params]\n'' = 1\n'a.b' = 2",
            "\r\r\n[",
            "é",
        ] {
            let (_, told) = Document::parse("p", text);
            assert!(!told.is_empty(), "{text}");
        }
    }
}
