//! Where a sink's files lie: data files, the manifest, the lock, and files that are being written.
//!
//! ```text
//! in a folder                          as one file
//! out/_tidemill.manifest               _tidemill.out.csv.manifest
//! out/_tidemill.lock                   _tidemill.out.csv.lock
//! out/state=NY/part-00000.parquet      out.csv
//! out/state=NY/_tidemill.part-00000.parquet.7     while epoch 7 writes it
//! ```
//!
//! Readers pass over names that begin with `_`, and no pattern like `*.parquet` matches ours.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The place of a sink's files.
#[derive(Debug)]
pub(super) struct Place {
    /// Where they lie.
    pub(super) folder: PathBuf,
    /// The name of the file, where all rows are in one.
    pub(super) single: Option<String>,
}

/// What every file of ours that holds no committed rows is called.
const PREFIX: &str = "_tidemill.";

impl Place {
    /// A folder of files.
    pub(super) fn folder(path: &Path) -> Self {
        Place {
            folder: path.to_owned(),
            single: None,
        }
    }

    /// One file; `None` when the path names none.
    pub(super) fn single(path: &Path) -> Option<Self> {
        Some(Place {
            folder: here(path.parent()?).to_owned(),
            single: Some(path.file_name()?.to_str()?.to_owned()),
        })
    }

    /// The path that the author named.
    pub(super) fn path(&self) -> PathBuf {
        match &self.single {
            Some(name) if self.folder == Path::new(HERE) => PathBuf::from(name),
            Some(name) => self.folder.join(name),
            None => self.folder.clone(),
        }
    }

    /// The manifest.
    pub(super) fn manifest(&self) -> PathBuf {
        self.ours("manifest")
    }

    /// The file that a writer locks.
    pub(super) fn lock(&self) -> PathBuf {
        self.ours("lock")
    }

    /// The manifest that an epoch is about to put in place.
    pub(super) fn next_manifest(&self, epoch: u64) -> PathBuf {
        self.ours(&format!("manifest.{epoch}"))
    }

    fn ours(&self, what: &str) -> PathBuf {
        let single = self.single.iter().map(|name| format!("{name}."));
        self.folder
            .join(format!("{PREFIX}{}{what}", single.collect::<String>()))
    }

    /// A data file.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A data file while an epoch writes it.
    pub(super) fn temporary(&self, path: &str, epoch: u64) -> PathBuf {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.folder
            .join(folder)
            .join(format!("{PREFIX}{name}.{epoch}"))
    }

    /// The data files that are there, by path below the folder.
    pub(super) fn found(&self) -> io::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        if let Some(name) = &self.single {
            if self.file(name).try_exists()? {
                found.insert(name.clone());
            }
            return Ok(found);
        }
        self.walk("", &mut |path, name| {
            let is_ours = name.starts_with(['_', '.']);
            if !is_ours && name.ends_with(".parquet") {
                found.insert(path);
            }
        })?;
        Ok(found)
    }

    /// What writers left behind that died.
    pub(super) fn debris(&self) -> io::Result<Vec<PathBuf>> {
        let mut debris = Vec::new();
        let is_epoch = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        self.walk("", &mut |path, name| {
            let Some((name, epoch)) = name
                .strip_prefix(PREFIX)
                .and_then(|name| name.rsplit_once('.'))
            else {
                return;
            };
            let is_of_sink = match &self.single {
                Some(single) => name == single || *name == format!("{single}.manifest"),
                None => name == "manifest" || name.ends_with(".parquet"),
            };
            if is_of_sink && is_epoch(epoch) {
                debris.push(self.folder.join(path));
            }
        })?;
        Ok(debris)
    }

    /// Visits the files below: path and name of each. Beside a single file it is its folder alone.
    fn walk(&self, below: &str, visit: &mut dyn FnMut(String, &str)) -> io::Result<()> {
        let entries = match fs::read_dir(self.folder.join(below)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // A name that is no text is none of ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = match below {
                "" => name.clone(),
                below => format!("{below}/{name}"),
            };
            if !entry.path().is_dir() {
                visit(path, &name);
            } else if self.single.is_none() {
                self.walk(&path, visit)?;
            }
        }
        Ok(())
    }
}

/// Makes the names in a folder outlive a power cut.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    // Windows has no such call for folders, and keeps names in its journal.
    if cfg!(unix) {
        File::open(here(folder))?.sync_all()?;
    }
    Ok(())
}

/// The folder in which a bare name lies.
const HERE: &str = ".";

/// A folder, by a name that the system knows: the parent of a bare name has none.
fn here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(HERE)
    } else {
        folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        let place = Place::single(Path::new("out.json")).unwrap();
        assert_eq!(place.path(), Path::new("out.json"));
        assert!(place.folder.is_dir() && place.debris().is_ok());
        sync(Path::new("")).unwrap();
    }

    #[test]
    fn ours_are_told_from_data_files_and_from_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::folder(folder.path());
        fs::create_dir(folder.path().join("s=1")).unwrap();
        for name in [
            "_tidemill.manifest",
            "_tidemill.manifest.4",
            "_tidemill.lock",
            "s=1/part-00000.parquet",
            "s=1/_tidemill.part-00000.parquet.7",
            "_tidemill.part-00000.parquet.old",
            "b.parquet",
            "notes.txt.7",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found: Vec<String> = place.found().unwrap().into_iter().collect();
        assert_eq!(found, ["b.parquet", "s=1/part-00000.parquet"]);
        let mut debris = place.debris().unwrap();
        debris.sort();
        assert_eq!(
            debris,
            [
                place.next_manifest(4),
                place.temporary("s=1/part-00000.parquet", 7)
            ]
        );
    }

    #[test]
    fn a_single_file_leaves_its_neighbours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::single(&folder.path().join("a.csv")).unwrap();
        for name in ["_tidemill.a.csv.7", "_tidemill.b.csv.7", "b.csv"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(place.found().unwrap().is_empty());
        assert_eq!(place.debris().unwrap(), [place.temporary("a.csv", 7)]);
        fs::write(folder.path().join("a.csv"), "").unwrap();
        assert_eq!(place.found().unwrap().len(), 1);
    }

    #[test]
    fn a_folder_that_is_missing_holds_nothing() {
        let place = Place::folder(Path::new("/there/is/none"));
        assert!(place.found().unwrap().is_empty() && place.debris().unwrap().is_empty());
    }
}
