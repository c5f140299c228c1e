//! Texts that must not be shown: where they are kept, and how they are read from there.
//!
//! ```text
//! secret = { file = ".." }  --check-->  Secret: where it is kept  --read-->  its bytes
//! secret = { env = ".." }
//! ```
//!
//! Invariant: neither what a section holds nor what is read is shown by a `Debug` or an error.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::problem::{Problem, Step};

/// A text of a section, or where one is kept: `".."`, `{ file = ".." }` or `{ env = ".." }`.
#[derive(Clone)]
pub enum SecretConfig {
    /// It stands in the section itself, and so is no secret.
    Text(String),
    /// In a file.
    File(String),
    /// In a variable of the environment.
    Env(String),
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be used.
    #[error("the secret in {place} {why}")]
    Unfit {
        /// The file or the variable.
        place: String,
        /// What is wrong.
        why: &'static str,
        /// What to do.
        help: String,
    },
}

/// How many bytes a secret has at most: a file that has more holds something else.
const MOST: u64 = 4 << 10;

impl SecretConfig {
    /// Where it is kept; `path` finds a file that is named in the section.
    ///
    /// # Errors
    /// When it stands in the section, or names no path; at an empty field.
    pub fn check(
        &self,
        path: &dyn Fn(&str) -> Result<PathBuf, Problem>,
    ) -> Result<Secret, Problem> {
        match self {
            SecretConfig::File(text) => {
                let path = path(text).map_err(|problem| problem.under([Step::from("file")]))?;
                Ok(Secret::File(path))
            }
            SecretConfig::Env(name) => Ok(Secret::Env(name.clone())),
            SecretConfig::Text(_) => {
                let nowhere: [Step; 0] = [];
                let message = "a secret stands in no pipeline file";
                Err(Problem::at(nowhere, message)
                    .label("it is a text")
                    .help("write `{ file = \"...\" }` or `{ env = \"...\" }`"))
            }
        }
    }
}

impl SecretError {
    /// What to do, where something is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            SecretError::File { .. } => None,
            SecretError::Unfit { help, .. } => Some(help),
        }
    }
}

impl Secret {
    /// Reads it, without the white space around it. As of ssh's keys, a file that others may read or
    /// write holds none (`ssh(1)`, `StrictModes` in `sshd_config(5)`).
    ///
    /// # Errors
    /// When it is not there, is too long, or others may read it.
    pub fn read(&self) -> Result<Vec<u8>, SecretError> {
        let unfit = |why, help| SecretError::Unfit {
            place: self.to_string(),
            why,
            help,
        };
        let bytes = match self {
            Secret::File(path) => {
                let (bytes, mode) = content(path).map_err(|source| SecretError::File {
                    path: path.clone(),
                    source,
                })?;
                if mode & OTHERS != 0 {
                    let help = format!("run `chmod 600 {}`", path.display());
                    return Err(unfit("can be read or written by others", help));
                }
                bytes
            }
            Secret::Env(name) => {
                let help = || format!("set {name} where the processes are started");
                let text = std::env::var_os(name);
                let text = text.ok_or_else(|| unfit("is not there", help()))?;
                text.into_encoded_bytes()
            }
        };
        let bytes = bytes.trim_ascii();
        if bytes.len() as u64 >= MOST {
            let help = format!("a secret has less than {MOST} bytes");
            return Err(unfit("is too long", help));
        }
        Ok(bytes.to_vec())
    }
}

/// The place, never what is there.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::File(path) => write!(f, "{}", path.display()),
            Secret::Env(name) => write!(f, "the variable {name}"),
        }
    }
}

impl fmt::Debug for SecretConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretConfig::Text(_) => f.write_str("Text(..)"),
            SecretConfig::File(path) => write!(f, "File({path:?})"),
            SecretConfig::Env(name) => write!(f, "Env({name:?})"),
        }
    }
}

impl<'de> Deserialize<'de> for SecretConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

/// The table form.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    file: Option<String>,
    env: Option<String>,
}

impl<'de> Visitor<'de> for Written {
    type Value = SecretConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecretConfig, E> {
        Ok(SecretConfig::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretConfig, A::Error> {
        let kept = Kept::deserialize(MapAccessDeserializer::new(map))?;
        match (kept.file, kept.env) {
            (Some(path), None) => Ok(SecretConfig::File(path)),
            (None, Some(name)) => Ok(SecretConfig::Env(name)),
            _ => Err(A::Error::custom("it is kept in one place, `file` or `env`")),
        }
    }
}

/// The bits of a mode that let somebody else than the owner do something.
const OTHERS: u32 = 0o077;

/// A file's content, as far as it may be a secret, and mode, of one opening.
fn content(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(folder: &Path, content: &[u8], mode: u32) -> Secret {
        let path = folder.join(format!("{mode:o}-{}", content.len()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Secret::File(path)
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
            let secret = file(folder.path(), b"text", mode);
            let error = secret.read().unwrap_err();
            assert!(error.to_string().contains("by others"), "{error}");
            assert_eq!(error.help(), Some(&*format!("run `chmod 600 {secret}`")));
        }
        for mode in [0o600, 0o400] {
            assert!(
                file(folder.path(), b"text", mode).read().is_ok(),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn white_space_around_a_secret_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let secret = file(folder.path(), b" a b \xff\r\n", 0o600);
        assert_eq!(secret.read().unwrap(), b"a b \xff");
    }

    #[test]
    fn what_is_too_long_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let error = file(folder.path(), &[b'x'; 5000], 0o600).read();
        let error = error.unwrap_err();
        let said = format!("{error} {error:?} {:?}", error.help());
        assert!(said.contains("is too long"), "{said}");
        assert!(!said.contains("xx"), "{said}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Secret::File("/nowhere/secret".into()).read().unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/secret");
        let error = Secret::Env("TIDEMILL_NO_SUCH_SECRET".to_owned()).read();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("TIDEMILL_NO_SUCH_SECRET"), "{error}");
    }
}
