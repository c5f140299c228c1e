//! One section of a pipeline file.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use operators::problem::{Part, Problem, Step, suggest};
use serde::de::DeserializeOwned;

use super::decode;
use super::field::Field;
use super::file::File;
use super::flaw::{Fault, Flaw};
use super::literal;
use super::tree::{Data, Node};
use crate::diagnostic::{self, Diagnostic, Place};

/// What a section declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// `[pipeline]`: what holds for all.
    Pipeline,
    /// `[http]`: where a run is shown.
    Http,
    /// `[cluster]`: the processes of a run.
    Cluster,
    /// `[connections.<name>]`
    Connections,
    /// `[sources.<name>]`
    Sources,
    /// `[transforms.<name>]`
    Transforms,
    /// `[sinks.<name>]`
    Sinks,
}

impl Group {
    /// The group that a table of the file stands for.
    pub(crate) fn of(table: &str) -> Option<Group> {
        let all = [
            Group::Pipeline,
            Group::Http,
            Group::Cluster,
            Group::Connections,
            Group::Sources,
            Group::Transforms,
            Group::Sinks,
        ];
        all.into_iter().find(|group| group.table() == table)
    }

    /// Whether the table is itself the section, and holds no sections that have names and types.
    pub(crate) fn is_one_section(self) -> bool {
        matches!(self, Group::Pipeline | Group::Http | Group::Cluster)
    }

    /// Whether its sections have fields that nobody may see.
    pub(crate) fn has_secrets(self) -> bool {
        matches!(self, Group::Cluster | Group::Connections)
    }

    /// Whether its sections are stages, which others name by their names alone.
    pub(crate) fn is_of_stages(self) -> bool {
        matches!(self, Group::Sources | Group::Transforms | Group::Sinks)
    }

    /// The table of the file that holds the group.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Group::Pipeline => "pipeline",
            Group::Http => "http",
            Group::Cluster => "cluster",
            Group::Connections => "connections",
            Group::Sources => "sources",
            Group::Transforms => "transforms",
            Group::Sinks => "sinks",
        }
    }
}

/// One of them, in words: `a source` is `a {group}`.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Pipeline => "pipeline",
            Group::Http => "http",
            Group::Cluster => "cluster",
            Group::Connections => "connection",
            Group::Sources => "source",
            Group::Transforms => "transform",
            Group::Sinks => "sink",
        })
    }
}

/// A type, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What is written: no catalog was asked.
    pub name: String,
    /// Where.
    pub place: Place,
}

/// A section: a name, a type and fields.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it declares.
    pub group: Group,
    /// Its name; that of its table where it is a table's only section.
    pub name: String,
    /// Where the name stands.
    pub name_place: Place,
    /// Its type. `[pipeline]`, `[http]` and `[cluster]` have none; in another section that has none, that is
    /// an error which was told when the file was read.
    pub kind: Option<Kind>,
    /// The fields but for `type`; the span is that of the header.
    pub(crate) fields: Node,
    /// Whether statements were left out because they cannot be read.
    pub(crate) is_damaged: bool,
    pub(crate) file: Arc<File>,
}

impl operators::catalog::Section for Section {
    type Error = Vec<Diagnostic>;

    fn decode<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        Section::decode(self)
    }
}

impl Section {
    /// The fields as a config struct, or all that is wrong with them.
    ///
    /// The struct is plain: `deny_unknown_fields`, and no `flatten`, `untagged` or `tag`, which lose
    /// the places. Where only statements that could not be read are amiss, there is nothing to add
    /// to what was told when the file was read, and the diagnostics are empty.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        self.decode_with(|field| T::deserialize(field))
    }

    /// Like [`Section::decode`], where the config struct is found by the type of the section. The
    /// attempt is made again and again on mended fields: it must depend on them alone.
    pub fn decode_with<T>(
        &self,
        attempt: impl FnMut(Field<'_>) -> Result<T, Flaw>,
    ) -> Result<T, Vec<Diagnostic>> {
        decode::decode(&self.fields, attempt).map_err(|flaws| {
            let mut diagnostics: Vec<Diagnostic> = flaws
                .into_iter()
                .filter(|flaw| !(self.is_damaged && matches!(flaw.fault, Fault::Missing(_))))
                .map(|flaw| self.explain(flaw))
                .collect();
            diagnostic::sort(&mut diagnostics);
            diagnostics
        })
    }

    /// A stage's problem at its place: the value that its path leads to, or the key of that value,
    /// else the nearest that there is on the way, else the header.
    pub fn place(&self, problem: Problem) -> Diagnostic {
        let (node, is_there) = self.nearest(&problem.field);
        let span = node.span.clone();
        let span = match (&problem.part, &node.data, &self.kind) {
            (_, _, Some(kind)) if problem.field.first() == Some(&Step::from("type")) => {
                kind.place.span.clone()
            }
            (Part::Key, ..) => self.key(&problem.field).unwrap_or(span),
            (Part::Bytes(bytes), Data::Text(_), _) if is_there => {
                let part = literal::part(&self.file.text[span.clone()], bytes);
                span.start + part.start..span.start + part.end
            }
            _ => span,
        };
        self.diagnostic(problem, span)
    }

    /// That its type is none of those that there are.
    pub(crate) fn no_such_type(&self, kind: &str, known: &[&str]) -> Diagnostic {
        let group = self.group;
        let message = format!("there is no {group} of type `{kind}`");
        self.place(
            Problem::at(["type"], message)
                .label(format!("not a type of {group}"))
                .help(suggest(kind, known.iter().copied(), "types")),
        )
    }

    /// Where the section begins: its header, or its name where it has none.
    pub fn header(&self) -> Place {
        self.file.place(self.fields.span.clone())
    }

    /// The section as one line of text, for a fingerprint: it does not depend on comments, white
    /// space, the order of the fields or the way a value is written. The order within arrays and
    /// within tables below the fields counts, for a stage may read them in order.
    pub fn canonical(&self) -> String {
        let mut entries: Vec<_> = self.fields.entries().unwrap_or_default().iter().collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let fields: Vec<String> = entries.iter().map(|entry| entry.canonical()).collect();
        let kind = self.kind.as_ref().map_or("", |kind| kind.name.as_str());
        let name = Data::Text(self.name.clone()).canonical();
        let kind = Data::Text(kind.to_owned()).canonical();
        format!("{} {name} {kind} {{{}}}", self.group, fields.join(", "))
    }

    fn explain(&self, flaw: Flaw) -> Diagnostic {
        let owner = match &self.kind {
            Some(kind) => &kind.name,
            None => &self.name,
        };
        self.place(flaw.into_problem(owner))
    }

    /// Where the key stands that a path ends in.
    fn key(&self, path: &[Step]) -> Option<Range<usize>> {
        let (Step::Key(key), table) = path.split_last()? else {
            return None;
        };
        let entries = self.nearest(table).0.entries().unwrap_or_default();
        let entry = entries.iter().find(|entry| entry.key == *key)?;
        Some(entry.key_span.clone())
    }

    fn diagnostic(&self, problem: Problem, span: Range<usize>) -> Diagnostic {
        Diagnostic {
            label: problem.label,
            help: problem.help,
            ..Diagnostic::error(problem.message).at(self.file.place(span))
        }
    }

    /// The value that a path leads to, or the last one on the way; and whether it is the former.
    fn nearest(&self, path: &[Step]) -> (&Node, bool) {
        let mut node = &self.fields;
        for step in path {
            match node.child(step) {
                Some(child) => node = child,
                None => return (node, false),
            }
        }
        (node, true)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::Document;
    use super::*;

    /// A section with these fields, which begin in line 1: the header stands in line 0.
    pub(crate) fn section(fields: &str) -> Section {
        let text = format!("\n[sources.a]\ntype = \"csv\"\n{fields}");
        let (document, _) = Document::parse("p.toml", &text);
        document.sections()[0].clone()
    }

    /// `line:column <what is marked>`
    pub(crate) fn marked(section: &Section, diagnostic: &Diagnostic) -> String {
        let place = diagnostic.place.as_ref().unwrap();
        let line = place.line.saturating_sub(3);
        let marked = &section.file.text[place.span.clone()];
        format!("{line}:{} <{marked}>", place.column)
    }

    #[test]
    fn a_problem_is_placed_at_its_value_or_the_nearest_above() {
        let section = section("inputs = [\"a\", \"b\"]\n[sources.a.set]\n'x.y' = { z = 1 }\n");
        let at = |path: &[Step]| {
            let problem = Problem::at(path.iter().cloned(), "m");
            marked(&section, &section.place(problem))
        };
        assert_eq!(at(&["inputs".into(), 1.into()]), "1:16 <\"b\">");
        assert_eq!(at(&["inputs".into(), 9.into()]), "1:10 <[\"a\", \"b\"]>");
        assert_eq!(at(&["set".into(), "x.y".into(), "z".into()]), "3:15 <1>");
        assert_eq!(
            at(&["set".into(), "x.y".into(), "q".into()]),
            "3:9 <{ z = 1 }>"
        );
        assert_eq!(at(&["set".into(), "q".into()]), "2:1 <[sources.a.set]>");
        assert_eq!(at(&["nothing".into()]), "0:1 <[sources.a]>");
        assert_eq!(at(&["type".into()]), "0:8 <\"csv\">");
        let key = Problem::at(["set", "x.y", "z"], "m").of_key();
        assert_eq!(marked(&section, &section.place(key)), "3:11 <z>");
        let gone = Problem::at(["set", "x.y", "q"], "m").of_key();
        assert_eq!(marked(&section, &section.place(gone)), "3:9 <{ z = 1 }>");
        assert_eq!(at(&[]), "0:1 <[sources.a]>");
    }

    #[test]
    fn a_part_of_a_string_is_placed_through_its_escapes() {
        let at = |fields: &str, within: Range<usize>| {
            let section = section(fields);
            let problem = Problem {
                part: Part::Bytes(within),
                ..Problem::at(["sql"], "m")
            };
            marked(&section, &section.place(problem))
        };
        assert_eq!(at(r#"sql = "a\n\u00e9 + bad""#, 7..10), "1:20 <bad>");
        assert_eq!(at("sql = 'é + bad'", 5..8), "1:12 <bad>");
        assert_eq!(at("sql = \"\"\"\na\nb + bad\"\"\"", 6..9), "3:5 <bad>");
        assert_eq!(at("sql = 'abc'", 3..3), "1:11 <>");
        assert_eq!(at("sql = 7", 3..5), "1:7 <7>");
    }

    #[test]
    fn canonical_text_is_blind_to_form_and_not_to_meaning() {
        let canonical = |fields: &str| section(fields).canonical();
        let one = canonical("b = 16\nset = { z = 'é\\', a = 1.0 }\nc = [1, 2]");
        assert_eq!(
            one,
            r#"source "a" "csv" {"b" = 16, "c" = [1, 2], "set" = {"z" = "é\\", "a" = 1.0}}"#
        );
        let other = "c = [ 1,\n 2, ] # x\nb = 0x10\nset.z = \"\\u00e9\\\\\"\nset.a = 1.00";
        assert_eq!(canonical(other), one);
        let differs = |a: &str, b: &str| assert_ne!(canonical(a), canonical(b));
        differs("set = { a = 1, b = 2 }", "set = { b = 2, a = 1 }");
        differs("c = [1, 2]", "c = [2, 1]");
        differs("c = 1", "c = 1.0");
        differs("c = '1'", "c = 1");
        differs("c = 'a\", \"d\" = \"b'", "c = 'a'\nd = 'b'");
    }
}
