//! Passwords that a user keeps in a file
//! ([libpq](https://www.postgresql.org/docs/15/libpq-pgpass.html)).
//!
//! ```text
//! host:port:database:user:password
//! ```
//!
//! `*` stands for any; `\` takes the character behind it as it is. The first line that fits counts.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file of passwords holds for somebody.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or there is no such file.
    Nothing,
    /// Others may read it, so it is not read.
    ReadableByOthers,
    /// The password.
    Password(Password),
}

/// A password, which is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(pub(super) String);

/// How many bytes of the file are read: it is made by hand.
const MOST: u64 = 1 << 20;

/// The bits of a mode that let somebody else than the owner do something.
const OTHERS: u32 = 0o077;

/// Looks up a host, port, database and user.
pub(super) fn find(path: &Path, wanted: [&str; 4]) -> Found {
    let Ok(metadata) = fs::metadata(path) else {
        return Found::Nothing;
    };
    if !metadata.is_file() {
        return Found::Nothing;
    }
    if metadata.mode() & OTHERS != 0 {
        return Found::ReadableByOthers;
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text));
    if read.is_err() {
        return Found::Nothing;
    }
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let found = { lines }.find_map(|line| password(line, wanted));
    found.map_or(Found::Nothing, |password| {
        Found::Password(Password(password))
    })
}

/// The password of a line that fits.
fn password(line: &str, wanted: [&str; 4]) -> Option<String> {
    let mut rest = line;
    for wanted in wanted {
        let (field, behind) = field(rest)?;
        if field != "*" && unescaped(field) != wanted {
            return None;
        }
        rest = behind;
    }
    Some(unescaped(rest)).filter(|password| !password.is_empty())
}

/// A field as it is written, and what stands behind its colon.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            ':' if !is_escaped => return Some((&text[..at], &text[at + 1..])),
            _ => is_escaped = character == '\\' && !is_escaped,
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(characters.next().unwrap_or('\\')),
            other => plain.push(other),
        }
    }
    plain
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WANTED: [&str; 4] = ["h", "1", "d", "u"];

    #[test]
    fn the_first_line_that_fits_counts() {
        for (line, expected) in [
            ("h:1:d:u:p", Some("p")),
            ("*:*:*:*:p", Some("p")),
            ("h:1:d:x:p", None),
            ("h:1:d:u", None),
            ("h:1:d:u:", None),
            ("# h:1:d:u:p", None),
            ("h*:1:d:u:p", None),
            (r"\h:1:d:u:a\:b\\c\", Some(r"a:b\c\")),
            ("h:1:d:u:a:b", Some("a:b")),
            ("h:1:d:u:p\r", Some("p\r")),
        ] {
            assert_eq!(password(line, WANTED).as_deref(), expected, "{line}");
        }
        let wanted = ["a:b", "1", r"c\d", "u"];
        assert_eq!(password(r"a\:b:1:c\\d:u:p", wanted).as_deref(), Some("p"));
    }

    #[test]
    fn a_file_that_others_may_read_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        assert_eq!(find(&path, WANTED), Found::Nothing);
        fs::write(&path, "x:1:d:u:no\n\nh:1:d:u:first\nh:1:d:u:second\n").unwrap();
        for mode in [0o644, 0o640, 0o604] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(find(&path, WANTED), Found::ReadableByOthers);
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let found = find(&path, WANTED);
        assert_eq!(found, Found::Password(Password("first".to_owned())));
        assert!(!format!("{found:?}").contains("first"));
        assert_eq!(find(folder.path(), WANTED), Found::Nothing);
    }
}
