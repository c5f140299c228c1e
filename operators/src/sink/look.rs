//! What stands against a target, seen before a run: nothing is made, and nothing is changed.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::problem::Problem;
use crate::source::file::missing;

/// A file that a sink makes where it is missing, and with it the folder that it lies in.
pub(crate) fn at_file(path: &Path) -> Option<Problem> {
    if path.is_dir() {
        let message = format!("`{}` is a folder, not a file", path.display());
        return Some(Problem::at(["path"], message).label("the sink writes one file"));
    }
    made(path, 2)
}

/// A folder that a sink makes where it is missing, and with it the one that it lies in.
pub(crate) fn at_folder(path: &Path) -> Option<Problem> {
    if path.is_file() {
        let message = format!("`{}` is a file, not a folder", path.display());
        return Some(Problem::at(["path"], message).label("the sink writes a folder of files"));
    }
    made(path, 2)
}

/// A database of `SQLite`: an empty file is one, too.
pub(crate) fn at_database(path: &Path) -> Option<Problem> {
    let stands = at_file(path);
    if stands.is_some() || !path.is_file() {
        return stands;
    }
    let mut header = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(16).read_to_end(&mut header));
    if let Err(error) = opened {
        let message = format!("cannot read `{}`", path.display());
        return Some(Problem::at(["path"], message).label(error.to_string()));
    }
    let is_database = header.is_empty() || header == HEADER;
    (!is_database).then(|| {
        let message = format!("`{}` is no SQLite database", path.display());
        Problem::at(["path"], message)
            .label("the file holds something else")
            .help("name another file: one that is missing is made")
    })
}

/// Holds when at most the last `makes` parts of a path are missing, and can be made.
fn made(path: &Path, makes: usize) -> Option<Problem> {
    let is_missing = |part: &&Path| !part.as_os_str().is_empty() && !part.exists();
    let absent = path.ancestors().take_while(is_missing).count();
    let there = path.ancestors().nth(absent)?;
    let there = if there.as_os_str().is_empty() {
        Path::new(".")
    } else {
        there
    };
    if absent > makes || (absent > 0 && !there.is_dir()) {
        return Some(missing(path));
    }
    let folder = if there.is_file() {
        path.parent()?
    } else {
        there
    };
    let closed = [there, folder].into_iter().find(|part| {
        let found = fs::metadata(part);
        found.is_ok_and(|found| found.permissions().readonly())
    })?;
    let message = format!("`{}` cannot be written", closed.display());
    let problem = Problem::at(["path"], message).label("nobody may write there");
    Some(problem.help("see its permissions, or name another path"))
}

/// <https://www.sqlite.org/fileformat.html#magic_header_string>
const HEADER: &[u8] = b"SQLite format 3\0";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(problem: Option<Problem>) -> String {
        problem.map_or_else(String::new, |problem| problem.message)
    }

    #[test]
    fn the_last_folder_may_be_missing_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["a.csv", "out/a.csv"] {
            assert_eq!(told(at_file(&at(path))), "");
            assert_eq!(told(at_database(&at(path))), "");
        }
        assert_eq!(told(at_folder(&at("out"))), "");
        assert_eq!(
            told(at_file(&at("no/out/a.csv"))),
            "there is no folder `no`"
        );
        assert_eq!(
            told(at_folder(&at("no/such/out"))),
            "there is no folder `no`"
        );
        assert_eq!(told(at_folder(&at("out/rows"))), "");
        assert_eq!(told(at_file(Path::new("a.csv"))), "");
    }

    #[test]
    fn what_is_there_is_what_a_sink_writes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::write(at("a"), "SQLite format 4\0").unwrap();
        fs::write(at("empty"), "").unwrap();
        rusqlite::Connection::open(at("database"))
            .and_then(|database| database.execute_batch("create table a (b)"))
            .unwrap();
        assert!(told(at_file(folder.path())).ends_with("is a folder, not a file"));
        assert!(told(at_folder(&at("a"))).ends_with("is a file, not a folder"));
        assert!(told(at_folder(&at("a/b"))).ends_with("is a file, not a folder"));
        assert!(told(at_database(&at("a"))).ends_with("is no SQLite database"));
        assert_eq!(told(at_database(&at("empty"))), "");
        assert_eq!(told(at_database(&at("database"))), "");
        assert_eq!(told(at_file(&at("a"))), "");
    }

    #[test]
    fn what_nobody_may_write_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        assert!(told(at_file(&path)).ends_with("a.csv` cannot be written"));
    }
}
