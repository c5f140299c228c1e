//! The pipeline file and those that it includes, every key and value with its place.
//!
//! ```text
//!   files --> syntax --> tree --> sections ----> decode --> a config struct
//!                |                    |             |
//!                +---- diagnostics ---+-------------+   all of them, each at its place
//! ```
//!
//! Reading never fails: what can be read is kept, what cannot is told. No type is known here, and no
//! stage: a section is decoded into the struct that its caller names.

mod decode;
mod field;
mod file;
mod flaw;
mod include;
mod literal;
mod param;
mod section;
mod shown;
mod syntax;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use operators::problem::{closest, suggest};

pub use self::field::Field;
pub use self::file::File;
pub use self::flaw::Flaw;
pub use self::include::Open;
pub use self::param::{Param, ParamValue};
pub use self::section::{Group, Kind, Section};

use self::syntax::Reading;
use self::tree::{Data, Entry, Node};
use crate::diagnostic::{self, Diagnostic, Place};

/// A pipeline file that was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The pipeline file, and behind it those that are included.
    files: Vec<Arc<File>>,
    /// What may be shown of each, byte for byte in its place.
    shown: Vec<String>,
    pipeline: Option<Section>,
    http: Option<Section>,
    cluster: Option<Section>,
    connections: Vec<Section>,
    sections: Vec<Section>,
    params: Vec<Param>,
}

impl Document {
    /// Reads a pipeline file that stands alone: what it includes is not found.
    pub fn parse(name: &str, text: &str) -> (Document, Vec<Diagnostic>) {
        Document::read(name, text, &|_| Err(io::ErrorKind::NotFound.into()))
    }

    /// Reads a pipeline file, and with `open` those that it includes. All that is wrong with their
    /// form is told in order of place: syntax, tables that no pipeline has, names, types.
    pub fn read(name: &str, text: &str, open: Open) -> (Document, Vec<Diagnostic>) {
        let include::Files { read, diagnostics } = include::read(name, text, open);
        let is_read = |(_, reading): &(_, Reading)| reading.errors.is_empty();
        let is_readable = diagnostics.is_empty() && read.iter().all(is_read);
        let mut files: Vec<Arc<File>> = read.iter().map(|(file, _)| Arc::clone(file)).collect();
        files.sort_by_key(|file| file.number);
        let mut reader = Reader {
            file: Arc::clone(&files[0]),
            left_out: Vec::new(),
            starts: Vec::new(),
            sections: Vec::new(),
            params: Vec::new(),
            hidden: Vec::new(),
            shown: BTreeMap::new(),
            diagnostics,
        };
        for (file, reading) in read {
            reader.file(file, reading);
        }
        reader.tell_twins(&files);
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
        // What is there twice was told.
        sections.retain(|section| !section.group.is_one_section());
        let mut diagnostics = reader.diagnostics;
        if pipeline.is_none() && is_readable {
            diagnostics.push(
                Diagnostic::error("`[pipeline]` is missing")
                    .help("write `[pipeline]` and below it `name = \"...\"`"),
            );
        }
        diagnostic::sort(&mut diagnostics);
        let document = Document {
            files,
            shown: reader.shown.into_values().collect(),
            pipeline,
            cluster,
            http,
            connections,
            sections,
            params: reader.params,
        };
        (document, diagnostics)
    }

    /// The pipeline file, and behind it those that are included.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().map(Arc::as_ref)
    }

    /// The file of a place; of what is about the whole, the pipeline file.
    ///
    /// # Panics
    /// When the place is in a file of another pipeline.
    pub fn file(&self, place: Option<&Place>) -> &File {
        &self.files[place.map_or(0, |place| place.file as usize)]
    }

    /// What may be shown of the file of a place, byte for byte as it stands there.
    ///
    /// # Panics
    /// When the place is in a file of another pipeline.
    pub fn shown(&self, place: &Place) -> &str {
        &self.shown[place.file as usize]
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
    /// The file that is read.
    file: Arc<File>,
    left_out: Vec<Range<usize>>,
    /// Where the sections begin, in order.
    starts: Vec<usize>,
    sections: Vec<Section>,
    params: Vec<Param>,
    /// What could be a secret in the file.
    hidden: Vec<Range<usize>>,
    /// What may be shown of the files so far, by their numbers.
    shown: BTreeMap<u32, String>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    /// Takes the tables of a file.
    fn file(&mut self, file: Arc<File>, reading: Reading) {
        self.starts = reading.root.iter().flat_map(starts).collect();
        self.starts.sort_unstable();
        self.left_out = reading.left_out;
        self.diagnostics.extend(reading.errors);
        self.file = file;
        let before = self.sections.len();
        for entry in reading.root {
            self.table(entry);
        }
        // In the order of the file.
        self.sections[before..].sort_by_key(|section| section.name_place.span.start);
        let hidden = std::mem::take(&mut self.hidden);
        let shown = shown::without(&self.file.text, &hidden);
        self.shown.insert(self.file.number, shown);
    }

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
                .help(suggest(
                    &entry.key,
                    known.clone().chain([include::INCLUDE]),
                    "tables",
                ));
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
        let has_header = self.file.text[node.span.clone()].starts_with('[');
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
                place: self.file.place(node.span.clone()),
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
            name_place: self.file.place(name_span),
            kind,
            is_damaged: self.is_damaged(&span),
            fields: Node {
                data: Data::Table(entries),
                span,
            },
            file: Arc::clone(&self.file),
        });
    }

    fn param(&mut self, entry: &Entry) {
        self.check_name("parameter", entry);
        match param::read(&self.file, entry) {
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

    /// Tells what is there twice: an input names a stage by its name alone, and of some tables and of
    /// each parameter there is one in all files.
    fn tell_twins(&mut self, files: &[Arc<File>]) {
        let mut seen: BTreeMap<(Option<Group>, &str), &Section> = BTreeMap::new();
        let mut twins = Vec::new();
        for section in &self.sections {
            let (group, name) = (section.group, section.name.as_str());
            // What is no stage has names of its own.
            let own = (!group.is_of_stages()).then_some(group);
            let Some(first) = seen.get(&(own, name)) else {
                seen.insert((own, name), section);
                continue;
            };
            let (what, mend) = if group.is_one_section() {
                (format!("`[{group}]`"), "keep one of them")
            } else {
                (format!("a {} `{name}`", first.group), "rename one of them")
            };
            let places = (&first.name_place, &section.name_place);
            twins.push(twin(&what, mend, places, files));
        }
        let mut named: BTreeMap<&str, &Place> = BTreeMap::new();
        for Param { name, place, .. } in &self.params {
            if let Some(first) = named.get(name.as_str()) {
                let what = format!("a parameter `{name}`");
                twins.push(twin(&what, "keep one of them", (first, place), files));
                continue;
            }
            named.insert(name, place);
        }
        self.diagnostics.extend(twins);
        let mut kept = BTreeSet::new();
        self.params.retain(|param| kept.insert(param.name.clone()));
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
        let place = self.file.place(span);
        self.diagnostics.push(diagnostic.at(place));
    }
}

/// What is told of the second of two that have one name.
fn twin(
    what: &str,
    mend: &str,
    (first, second): (&Place, &Place),
    files: &[Arc<File>],
) -> Diagnostic {
    let line = first.line;
    let file = match &files[first.file as usize].name {
        _ if first.file == second.file => String::new(),
        name => format!(" of `{name}`"),
    };
    Diagnostic::error(format!("there is {what} already"))
        .label("the second of this name")
        .help(format!("{mend}; the first is in line {line}{file}"))
        .at(second.clone())
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

    fn lines(diagnostics: &[Diagnostic]) -> Vec<u32> {
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
