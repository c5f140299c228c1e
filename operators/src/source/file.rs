//! A local file: that it is there, that it stays as it is, and what to tell when it is neither.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader};
use std::path::Path;
use std::time::UNIX_EPOCH;

use flate2::bufread::MultiGzDecoder;

use super::{FileInstant, SourceError};
use crate::problem::{Problem, suggest};

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<File, SourceError> {
    is_file(path)?;
    File::open(path).map_err(|error| failure(path, error))
}

/// Opens a file, with its instant.
pub(super) fn opened(path: &Path) -> Result<(File, FileInstant), SourceError> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(|error| failure(path, error))?;
    Ok((file, instant(path, &metadata)?))
}

/// What the file holds. A compressed file may be of several that were put one behind the other.
pub(super) fn content(path: &Path, file: File) -> io::Result<Box<dyn io::Read + Send>> {
    let buffered = |file| BufReader::with_capacity(BUFFER_BYTES, file);
    Ok(
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Box::new(MultiGzDecoder::new(buffered(file))),
            Some("zst") => Box::new(zstd::Decoder::with_buffer(buffered(file))?),
            _ => Box::new(file),
        },
    )
}

/// The instant of a file.
pub(super) fn pin(path: &Path) -> Result<FileInstant, SourceError> {
    instant(path, &is_file(path)?)
}

/// Holds when the open file is as it was at the instant.
pub(super) fn is_of(file: &File, at: &FileInstant) -> Result<(), SourceError> {
    let metadata = file.metadata().map_err(|error| failure(&at.path, error))?;
    if instant(&at.path, &metadata)? == *at {
        return Ok(());
    }
    Err(SourceError::Changed {
        path: at.path.clone(),
    })
}

/// Holds when all files are as they were at their instants.
pub(super) fn unchanged(files: &[FileInstant]) -> Result<(), SourceError> {
    for file in files {
        // What is gone has changed.
        if pin(&file.path).ok().as_ref() != Some(file) {
            return Err(SourceError::Changed {
                path: file.path.clone(),
            });
        }
    }
    Ok(())
}

/// The error of reading as the system tells it.
pub(super) fn failure(path: &Path, error: io::Error) -> SourceError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::Missing { path },
        _ => SourceError::Unreadable {
            path,
            source: error,
        },
    }
}

/// The problem of a source's `path` that an error means, with what is there instead.
pub(super) fn problem(error: &SourceError) -> Problem {
    match error {
        SourceError::Missing { path } => missing(path),
        SourceError::NoMatch { base, pattern } if base.is_dir() => {
            let message = format!("no file matches `{pattern}`");
            let last = pattern.rsplit('/').next().unwrap_or_default();
            let problem = Problem::at(["path"], message);
            let problem = problem.label(format!("none in `{}`", base.display()));
            let is_file = |found: &Metadata| found.is_file() || found.is_dir();
            problem.help(holds(base, last, is_file))
        }
        SourceError::NoMatch { base, pattern } => missing(&base.join(pattern)),
        SourceError::NotAFile { path } if path.is_dir() => {
            let message = format!("`{}` is a folder, not a file", path.display());
            Problem::at(["path"], message)
                .label("names one file")
                .help(holds(path, &name(path), Metadata::is_file))
        }
        SourceError::Unreadable { source, .. } => {
            Problem::at(["path"], error.to_string()).label(source.to_string())
        }
        SourceError::Header { .. } => Problem::at(["path"], error.to_string())
            .help("the first line of the file names its columns"),
        _ => Problem::at(["path"], error.to_string()),
    }
}

/// The problem of a path that leads nowhere: names the first part of it that does not exist.
pub(crate) fn missing(path: &Path) -> Problem {
    let mut absent = path;
    let folder = loop {
        let parent = match absent.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        };
        if parent == Path::new(".") || parent.exists() {
            break parent;
        }
        absent = parent;
    };
    let part = name(absent);
    if !folder.is_dir() {
        let message = format!("`{}` is a file, not a folder", folder.display());
        return Problem::at(["path"], message).label(format!("so there is no `{part}` in it"));
    }
    let (what, is_such): (_, fn(&Metadata) -> bool) = if absent == path {
        ("file", Metadata::is_file)
    } else {
        ("folder", Metadata::is_dir)
    };
    Problem::at(["path"], format!("there is no {what} `{part}`"))
        .label(format!("no such {what} in `{}`", folder.display()))
        .help(holds(folder, &part, is_such))
}

/// What a folder holds that could have been meant by `wanted`, near names first.
fn holds(folder: &Path, wanted: &str, is_such: fn(&Metadata) -> bool) -> String {
    let Ok(entries) = fs::read_dir(folder) else {
        return "the folder cannot be listed: see its permissions".to_owned();
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|found| is_such(&found)))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if names.is_empty() {
        return format!("there is none in `{}`", folder.display());
    }
    names.sort_by_cached_key(|name| (strsim::damerau_levenshtein(wanted, name), name.clone()));
    suggest(wanted, names.iter().map(String::as_str), "names there")
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A pipe would block the opening, so what is no file is not opened.
fn is_file(path: &Path) -> Result<Metadata, SourceError> {
    let metadata = fs::metadata(path).map_err(|error| failure(path, error))?;
    if !metadata.is_file() {
        return Err(SourceError::NotAFile {
            path: path.to_owned(),
        });
    }
    Ok(metadata)
}

fn instant(path: &Path, metadata: &Metadata) -> Result<FileInstant, SourceError> {
    let modified = metadata.modified();
    let modified = modified.and_then(|at| match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).map_err(io::Error::other),
        Err(before) => i64::try_from(before.duration().as_micros())
            .map(|micros| -micros)
            .map_err(io::Error::other),
    });
    Ok(FileInstant {
        path: path.to_owned(),
        bytes: metadata.len(),
        modified: modified.map_err(|error| failure(path, error))?,
    })
}

/// How much of a packed file is asked of the system at once.
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(path: &Path) -> Problem {
        let problem = problem(&open(path).unwrap_err());
        assert_eq!(problem.field, vec!["path".into()]);
        problem
    }

    #[test]
    fn a_missing_file_names_the_near_one_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("visits.csv"), "").unwrap();
        fs::create_dir(folder.path().join("vists.csw")).unwrap();
        let problem = tell(&folder.path().join("vists.csv"));
        assert_eq!(problem.message, "there is no file `vists.csv`");
        assert!(problem.label.contains(&folder.path().display().to_string()));
        assert_eq!(problem.help.unwrap(), "did you mean `visits.csv`?");
    }

    #[test]
    fn without_a_near_name_the_nearest_ten_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..12 {
            fs::write(
                folder.path().join(format!("long_name_of_a_file_{number}")),
                "",
            )
            .unwrap();
        }
        fs::write(folder.path().join("people.tsv"), "").unwrap();
        let help = tell(&folder.path().join("visits.csv")).help.unwrap();
        assert!(
            help.starts_with("the names there are `people.tsv`, "),
            "{help}"
        );
        assert_eq!(help.matches('`').count(), 20);
        assert!(help.ends_with(" and 3 more"), "{help}");
    }

    #[test]
    fn an_empty_folder_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let help = tell(&folder.path().join("visits.csv")).help.unwrap();
        assert!(help.starts_with("there is none in `"), "{help}");
    }

    #[test]
    fn the_first_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inputs")).unwrap();
        fs::write(folder.path().join("inputz"), "").unwrap();
        let problem = tell(&folder.path().join("input/2024/visits.csv"));
        assert_eq!(problem.message, "there is no folder `input`");
        assert_eq!(problem.help.unwrap(), "did you mean `inputs`?");
    }

    #[test]
    fn a_file_on_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("visits.csv"), "").unwrap();
        let problem = tell(&folder.path().join("visits.csv/a.csv"));
        assert!(
            problem
                .message
                .ends_with("visits.csv` is a file, not a folder")
        );
    }

    #[test]
    fn a_folder_is_no_file_and_its_files_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.csv"), "").unwrap();
        let problem = tell(folder.path());
        assert!(problem.message.ends_with("is a folder, not a file"));
        assert_eq!(problem.help.unwrap(), "the names there are `a.csv`");
    }

    #[test]
    fn a_relative_path_is_looked_for_in_the_current_folder() {
        let problem = tell(Path::new("no_such_file_here.csv"));
        assert_eq!(problem.label, "no such file in `.`");
        assert_eq!(tell(Path::new("")).message, "there is no file ``");
    }

    #[test]
    fn a_device_is_no_file() {
        assert_eq!(
            tell(Path::new("/dev/null")).message,
            "`/dev/null` is not a file"
        );
    }
}
