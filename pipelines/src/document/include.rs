//! The files of a pipeline: the one that is named, and those that it includes.
//!
//! ```text
//! pipeline.toml   include = ["stages.toml"]     stages.toml   include = ["tables.toml"]     tables.toml
//!       3. <------------------------------------------ 2. <----------------------------------- 1.
//! ```
//!
//! A file that is included stands where its name stands: before the tables of the file that names it.
//! All relative paths of a pipeline start at the folder of the pipeline file, those of `include`, too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::File;
use super::syntax::{self, Reading};
use super::tree::{Data, Node};
use crate::diagnostic::Diagnostic;

/// Reads the text of a file that is included.
pub type Open<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The files of a pipeline.
pub(super) struct Files {
    /// What was read of each, in the order in which their tables stand.
    pub(super) read: Vec<(Arc<File>, Reading)>,
    /// What is wrong with the names of files.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// How many files a pipeline may be made of: each is held whole, and more than these is a mistake.
const FILES: usize = 64;

/// Reads a pipeline file, and those that it includes.
pub(super) fn read(name: &str, text: &str, open: Open) -> Files {
    let mut reader = Reader {
        folder: Path::new(name).parent().unwrap_or(Path::new("")).to_owned(),
        open,
        known: Vec::new(),
        files: Files {
            read: Vec::new(),
            diagnostics: Vec::new(),
        },
    };
    reader.file(name.to_owned(), text.to_owned(), &mut Vec::new());
    reader.files
}

struct Reader<'a> {
    folder: PathBuf,
    open: Open<'a>,
    /// The names of all files so far, each at its number.
    known: Vec<String>,
    files: Files,
}

impl Reader<'_> {
    /// Reads a file behind those that it includes; `above` are the files that lead to it.
    fn file(&mut self, name: String, text: String, above: &mut Vec<String>) {
        let file = Arc::new(File {
            number: u32::try_from(self.known.len()).expect("files are few"),
            name: name.clone(),
            text,
        });
        self.known.push(name.clone());
        above.push(name);
        let mut reading = syntax::read(&file);
        let mut keys = reading.root.iter();
        if let Some(at) = keys.position(|entry| entry.key == INCLUDE) {
            for node in self.names(&file, reading.root.remove(at).node) {
                self.include(&file, &node, above);
            }
        }
        above.pop();
        self.files.read.push((file, reading));
    }

    /// The values that name a file.
    fn names(&mut self, file: &File, node: Node) -> Vec<Node> {
        let (nodes, span) = match node.data {
            Data::Array(nodes) => (nodes, node.span),
            other => {
                let message = format!("`{INCLUDE}` takes an array, not {}", other.words());
                let diagnostic = Diagnostic::error(message).help(format!(
                    "put it in brackets: `{INCLUDE} = [\"stages.toml\"]`"
                ));
                self.files
                    .diagnostics
                    .push(diagnostic.at(file.place(node.span)));
                return Vec::new();
            }
        };
        if nodes.is_empty() {
            let diagnostic = Diagnostic::error("no file is included")
                .help(format!("name one, or leave `{INCLUDE}` out"));
            self.files.diagnostics.push(diagnostic.at(file.place(span)));
        }
        nodes
    }

    fn include(&mut self, file: &File, node: &Node, above: &mut Vec<String>) {
        match self.open(node, above) {
            Ok((name, text)) => self.file(name, text, above),
            Err(diagnostic) => {
                let place = file.place(node.span.clone());
                self.files.diagnostics.push(diagnostic.at(place));
            }
        }
    }

    /// The name and the text of a file that is included.
    fn open(&self, node: &Node, above: &[String]) -> Result<(String, String), Diagnostic> {
        let Data::Text(written) = &node.data else {
            let message = format!("the name of a file is a string, not {}", node.data.words());
            return Err(Diagnostic::error(message));
        };
        let path = self.folder.join(written);
        let name = path.display().to_string();
        if let Some(at) = above.iter().position(|file| *file == name) {
            let names: Vec<String> = above[at..].iter().chain([&name]).map(quoted).collect();
            let message = format!("files include each other: {}", names.join(" -> "));
            return Err(Diagnostic::error(message)
                .label("is a file that leads here")
                .help("let one of them hold what both need"));
        }
        if self.known.contains(&name) {
            return Err(Diagnostic::error(format!("`{name}` is included already"))
                .label("the second time")
                .help("include it once: its sections are there for all files"));
        }
        if self.known.len() == FILES {
            let message = format!("a pipeline is made of no more than {FILES} files");
            return Err(Diagnostic::error(message).help("put some of them together"));
        }
        let text = (self.open)(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Diagnostic::error(format!("there is no file `{name}`"))
                .label("not found")
                .help("relative paths start at the folder of the pipeline file"),
            _ => Diagnostic::error(format!("the file `{name}` cannot be read: {error}")),
        })?;
        Ok((name, text))
    }
}

/// The key that names files.
pub(super) const INCLUDE: &str = "include";

fn quoted(name: &String) -> String {
    format!("`{name}`")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Document;
    use super::*;

    /// What is told of these files, as `file:line:column message`, and the names of the sections.
    fn read(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let others: BTreeMap<&Path, &str> = files
            .iter()
            .map(|(name, text)| (Path::new(*name), *text))
            .collect();
        let open = |path: &Path| {
            let text = others.get(path).map(|text| (*text).to_owned());
            text.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let (document, told) = Document::read(files[0].0, files[0].1, &open);
        let told = told.iter().map(|diagnostic| {
            let place = diagnostic.place.as_ref().unwrap();
            let name = &document.file(Some(place)).name;
            format!(
                "{name}:{}:{} {}",
                place.line, place.column, diagnostic.message
            )
        });
        let sections = document
            .sections()
            .iter()
            .map(|section| section.name.clone());
        (told.collect(), sections.collect())
    }

    const MAIN: &str = "include = ['s.toml']\n[pipeline]\nname = 'p'\n[sources.b]\ntype = 'x'\n";

    #[test]
    fn the_sections_of_an_included_file_stand_before_those_of_the_file_that_names_it() {
        let stages = "include = [\"more/t.toml\"]\n[sources.a]\ntype = 'x'\n[params]\nn = 1\n";
        let more = "[sources.c]\ntype = 'x'\n[sources.d]\nq = 1\n";
        let files = [
            ("dir/p.toml", MAIN),
            ("dir/s.toml", stages),
            ("dir/more/t.toml", more),
        ];
        let (told, sections) = read(&files);
        assert_eq!(told, ["dir/more/t.toml:3:1 the source `d` has no type"]);
        assert_eq!(sections, ["c", "d", "a", "b"]);
    }

    #[test]
    fn what_is_in_two_files_is_told_with_both_places() {
        let stages = "[pipeline]\nname = 'q'\n\n[sinks.b]\ntype = 'x'\n[params]\nn = 1\n";
        let main = format!("{MAIN}[params]\nn = 2\n");
        let (document, told) = Document::read("p.toml", &main, &|_| Ok(stages.to_owned()));
        let told: Vec<String> = told
            .iter()
            .map(|it| format!("{}; {}", it.message, it.help.as_deref().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "there is `[pipeline]` already; keep one of them; the first is in line 1 of `s.toml`",
                "there is a sink `b` already; rename one of them; the first is in line 4 of `s.toml`",
                "there is a parameter `n` already; keep one of them; the first is in line 7 of `s.toml`",
            ]
        );
        assert_eq!(document.params().len(), 1);
    }

    #[test]
    fn files_that_are_missing_come_twice_or_include_each_other_are_told() {
        let main = "include = ['a.toml', 'b.toml', 'c.toml', 7]\n[pipeline]\nname = 'p'\n";
        let files = [
            ("p.toml", main),
            ("a.toml", "include = ['b.toml', 'p.toml']\n"),
            ("b.toml", "include = ['a.toml']\n"),
        ];
        assert_eq!(
            read(&files).0,
            [
                "p.toml:1:22 `b.toml` is included already",
                "p.toml:1:32 there is no file `c.toml`",
                "p.toml:1:42 the name of a file is a string, not an integer",
                "a.toml:1:22 files include each other: `p.toml` -> `a.toml` -> `p.toml`",
                "b.toml:1:12 files include each other: `a.toml` -> `b.toml` -> `a.toml`",
            ]
        );
        let told = |include: &str| {
            let text = format!("include = {include}\n[pipeline]\nname = 'p'\n");
            read(&[("p.toml", &text)]).0
        };
        assert_eq!(
            told("'a.toml'"),
            ["p.toml:1:11 `include` takes an array, not a string"]
        );
        assert_eq!(told("[]"), ["p.toml:1:11 no file is included"]);
    }
}
