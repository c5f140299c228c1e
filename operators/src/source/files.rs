//! The files that a path names: one, or all that match it, each with what its path says.
//!
//! ```text
//!   data / state={state} / ** / *.csv        text      itself
//!   ^      ^               ^                 * ?       any characters of a part
//!   |      |               folders, nested   **        any folders, nested, or none
//!   |      a column of text                  {name}    a column: what stands there
//!   where it is looked for
//! ```

use std::collections::BTreeSet;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::pattern::Pattern;
use super::{SourceError, file};
use crate::problem::Problem;

/// The files that a path names.
#[derive(Clone, Debug)]
pub(super) struct Files {
    path: PathBuf,
    /// Where they are looked for.
    base: PathBuf,
    /// The parts of the path behind it; none when it names one file.
    parts: Vec<Part>,
    columns: Vec<String>,
}

#[derive(Clone, Debug)]
enum Part {
    /// `**`.
    Folders,
    /// Anything else; whether it is a folder as Hive names them, `column=value`.
    Name(Pattern, bool),
}

/// A file, with what its path says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    /// The text of each column; `None` is null.
    pub(super) texts: Vec<Option<String>>,
}

impl Files {
    /// The folder in which they all lie.
    pub(super) fn folder(&self) -> &Path {
        let is_one = self.parts.is_empty();
        let folder = if is_one { self.path.parent() } else { None };
        folder.unwrap_or(&self.base)
    }

    /// The files at `path`. What stands for many is a part of what the author has `written`: a
    /// folder above may bear any name.
    pub(super) fn of(path: &Path, written: &str) -> Result<Files, Vec<Problem>> {
        let written: BTreeSet<&str> = written.split('/').collect();
        let (mut base, mut parts, mut columns) = (PathBuf::new(), Vec::new(), Vec::new());
        for component in path.components() {
            let text = component.as_os_str().to_str();
            let text = text.filter(|text| written.contains(text));
            let (pattern, names) = text.map(Pattern::of).unzip();
            let pattern = pattern.filter(|pattern| !(pattern.is_plain() && parts.is_empty()));
            match (pattern, component) {
                (Some(_), _) if text == Some("**") => parts.push(Part::Folders),
                (Some(pattern), _) => {
                    let names: Vec<String> = names.unwrap_or_default();
                    let is_hive = |name: &String| text == Some(&format!("{name}={{{name}}}"));
                    parts.push(Part::Name(pattern, names.first().is_some_and(is_hive)));
                    columns.extend(names);
                }
                (None, component) if !parts.is_empty() => {
                    let name = component.as_os_str().to_string_lossy();
                    let (pattern, _) = Pattern::of(&name);
                    parts.push(Part::Name(pattern, false));
                }
                (None, component) => base.push(component),
            }
        }
        let mut seen = BTreeSet::new();
        let twice = columns.iter().filter(|name| !seen.insert(name.as_str()));
        let problems: Vec<Problem> = twice
            .map(|name| {
                let message = format!("the path has `{{{name}}}` twice");
                Problem::at(["path"], message).help("give each column its own name")
            })
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Files {
            path: path.to_owned(),
            base,
            parts,
            columns,
        })
    }

    /// The path as it is in messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The columns that the path has.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How a file is named beside others; nothing when it is the only one there can be.
    pub(super) fn label(&self, file: &Path) -> Option<String> {
        let name = file.strip_prefix(&self.base).unwrap_or(file);
        (!self.parts.is_empty()).then(|| name.display().to_string())
    }

    /// All files, in the order of their paths. A folder is opened when `enter` says so, of what its
    /// path says so far; so is a file a part of the whole. Beside them, how many folders and files
    /// were left out.
    ///
    /// # Errors
    /// When no file matches, or a folder cannot be listed.
    pub(super) fn locate(
        &self,
        enter: &dyn Fn(&[Option<String>]) -> bool,
    ) -> Result<(Vec<Located>, usize), SourceError> {
        let mut found = Search {
            enter,
            files: Vec::new(),
            refused: 0,
        };
        let start = Located {
            path: self.base.clone(),
            texts: Vec::new(),
        };
        if self.parts.is_empty() {
            return Ok((vec![start], 0));
        }
        let is_there = self.base.as_os_str().is_empty() || self.base.is_dir();
        if is_there {
            found.search(start, &self.parts)?;
        }
        if found.files.is_empty() && found.refused == 0 {
            return Err(SourceError::NoMatch {
                base: self.base.clone(),
                pattern: self.label(&self.path).unwrap_or_default(),
            });
        }
        found.files.sort_by(|a, b| a.path.cmp(&b.path));
        // `**` next to `**` finds a file in several ways.
        found.files.dedup_by(|a, b| a.path == b.path);
        Ok((found.files, found.refused))
    }
}

struct Search<'a> {
    enter: &'a dyn Fn(&[Option<String>]) -> bool,
    files: Vec<Located>,
    /// Folders that were not opened and files that were left out.
    refused: usize,
}

impl Search<'_> {
    /// Adds what of `parts` is found in a folder.
    fn search(&mut self, folder: Located, parts: &[Part]) -> Result<(), SourceError> {
        let Some((part, rest)) = parts.split_first() else {
            self.files.push(folder);
            return Ok(());
        };
        let (pattern, is_hive) = match part {
            Part::Name(pattern, is_hive) => (pattern, *is_hive),
            Part::Folders => {
                for entry in entries(&folder.path)? {
                    // A link to a folder above would lead round and round.
                    if !entry.name.starts_with('.') && entry.kind.is_dir() {
                        let (path, texts) = (entry.path, folder.texts.clone());
                        self.search(Located { path, texts }, parts)?;
                    }
                }
                return self.search(folder, rest);
            }
        };
        for entry in entries(&folder.path)? {
            let Some(found) = pattern.matches(&entry.name) else {
                continue;
            };
            if rest.is_empty() == entry.leads_to_folder() {
                continue;
            }
            let path = entry.path;
            let mut texts = folder.texts.clone();
            let is_new = !found.is_empty();
            texts.extend(found.into_iter().map(|text| of_hive(text, is_hive)));
            if is_new && !(self.enter)(&texts) {
                self.refused += 1;
                continue;
            }
            self.search(Located { path, texts }, rest)?;
        }
        Ok(())
    }
}

/// What is in a folder.
struct Entry {
    name: String,
    path: PathBuf,
    /// As the folder tells it, so no file is asked: of a link that it is one.
    kind: FileType,
}

impl Entry {
    fn leads_to_folder(&self) -> bool {
        self.kind.is_dir() || self.kind.is_symlink() && self.path.is_dir()
    }
}

/// What is in a folder, by name; names that are not UTF-8 match nothing.
fn entries(folder: &Path) -> Result<Vec<Entry>, SourceError> {
    let failure = |error| file::failure(folder, error);
    // The folder of a path that begins with a pattern is the current one.
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(here).map_err(failure)? {
        let entry = entry.map_err(failure)?;
        let name = entry.file_name();
        if let Some(name) = name.to_str() {
            let kind = match entry.file_type() {
                // It is gone since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(|error| file::failure(&entry.path(), error))?,
            };
            entries.push(Entry {
                name: name.to_owned(),
                path: folder.join(name),
                kind,
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The value that a folder's name stands for: Hive writes what a name may not hold as `%2F`, and
/// null by a name of its own.
fn of_hive(text: String, is_hive: bool) -> Option<String> {
    if !is_hive {
        return Some(text);
    }
    if text == "__HIVE_DEFAULT_PARTITION__" {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|_| *first == b'%');
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    Some(String::from_utf8(bytes).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `pattern` finds in a folder of these files: names behind the folder, and texts.
    fn found(pattern: &str, files: &[&str]) -> Result<Vec<(String, String)>, SourceError> {
        // The folder's own name is no pattern.
        let folder = tempfile::Builder::new()
            .prefix("a*{b}[c]")
            .tempdir()
            .unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let files = Files::of(&folder.path().join(pattern), pattern).unwrap();
        let (located, _) = files.locate(&|_| true)?;
        let told = |found: Located| {
            let name = found.path.strip_prefix(folder.path()).unwrap();
            let texts = found.texts.into_iter();
            let texts: Vec<String> = texts
                .map(|text| text.unwrap_or("null".to_owned()))
                .collect();
            (name.display().to_string(), texts.join(" "))
        };
        Ok(located.into_iter().map(told).collect())
    }

    fn names(pattern: &str, files: &[&str]) -> Vec<String> {
        let found = found(pattern, files).unwrap();
        found.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let files = [
            "b.csv",
            "a.csv",
            "c.tsv",
            "x/a.csv",
            "x/y/b.csv",
            ".hidden.csv",
            "x/.h/a.csv",
        ];
        assert_eq!(names("*.csv", &files), ["a.csv", "b.csv"]);
        assert_eq!(
            names("**/*.csv", &files),
            ["a.csv", "b.csv", "x/a.csv", "x/y/b.csv"]
        );
        assert_eq!(names("**/**/a.csv", &files), ["a.csv", "x/a.csv"]);
        assert_eq!(names("x/*/*", &files), ["x/y/b.csv"]);
        assert_eq!(names("*/a.csv", &files), ["x/a.csv"]);
        // One name needs no listing, and may be missing.
        assert_eq!(names("d.csv", &files), ["d.csv"]);
    }

    #[test]
    fn a_path_has_columns() {
        let files = [
            "state=NY/day=1/a.csv",
            "state=N%2FJ/day=2/a.csv",
            "state=__HIVE_DEFAULT_PARTITION__/day=3/a.csv",
            "stat=NY/day=1/a.csv",
        ];
        let found = found("state={state}/day={day}/*.csv", &files).unwrap();
        let texts: Vec<&str> = found.iter().map(|(_, texts)| texts.as_str()).collect();
        assert_eq!(texts, ["N/J 2", "NY 1", "null 3"]);
        let found = super::tests::found("{prefix}.csv", &["1%2F.csv"]).unwrap();
        assert_eq!(found[0].1, "1%2F");
    }

    #[test]
    fn what_does_not_match_is_told_and_what_is_not_wanted_is_not_opened() {
        assert!(matches!(
            found("*.csv", &["a.tsv"]),
            Err(SourceError::NoMatch { .. })
        ));
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state=NY")).unwrap();
        let files = Files::of(&folder.path().join("state={state}/*"), "state={state}/*").unwrap();
        assert_eq!(files.columns(), ["state"]);
        let left = files.locate(&|texts| texts[0].as_deref() != Some("NY"));
        assert_eq!(left.unwrap(), (Vec::new(), 1));
        let twice = Files::of(Path::new("{a}/{a}"), "{a}/{a}").unwrap_err();
        assert_eq!(twice[0].message, "the path has `{a}` twice");
    }
}
