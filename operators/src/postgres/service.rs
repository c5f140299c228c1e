//! Service files: what is known of a server under one name
//! ([libpq](https://www.postgresql.org/docs/15/libpq-pgservice.html)).
//!
//! ```text
//! # comment
//! [name]
//! host=db.example
//! port=5433
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{PostgresError, Unfit};
use super::parameters::Parameters;

/// The entry of a service in the first of these files that has one; each says whether it must be there.
///
/// # Errors
/// When none has one, or a file on the way to it is amiss.
pub(super) fn find(name: &str, files: &[(PathBuf, bool)]) -> Result<Parameters, PostgresError> {
    for (path, is_needed) in files {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !is_needed => continue,
            Err(error) => return Err(amiss(path, Unfit::of(error.to_string()))),
        };
        if let Some(found) = entry(name, &text, path)? {
            return Ok(found);
        }
    }
    let looked: Vec<String> = files
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    Err(PostgresError::Settings {
        place: looked.join(", "),
        unfit: Unfit::of(format!("there is no service `{name}`")),
    })
}

fn entry(name: &str, text: &str, path: &Path) -> Result<Option<Parameters>, PostgresError> {
    let lines = text.lines().map(str::trim).zip(1..);
    let mut lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let header = format!("[{name}]");
    if !lines.any(|(line, _)| line == header) {
        return Ok(None);
    }
    let mut parameters = Parameters::default();
    for (line, number) in lines.take_while(|(line, _)| !line.starts_with('[')) {
        let wrong = |unfit: Unfit| {
            let what = format!("line {number}: {}", unfit.what);
            amiss(path, Unfit { what, ..unfit })
        };
        match line.split_once('=') {
            None => return Err(wrong(Unfit::of("it is not `name=value`"))),
            Some(("service", _)) => {
                return Err(wrong(Unfit::of("a service cannot be another one")));
            }
            Some((name, value)) => {
                if parameters.get(name).is_none() {
                    parameters
                        .set_named(name, value.to_owned())
                        .map_err(wrong)?;
                }
            }
        }
    }
    Ok(Some(parameters))
}

fn amiss(path: &Path, unfit: Unfit) -> PostgresError {
    PostgresError::Settings {
        place: path.display().to_string(),
        unfit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Parameters, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, text).unwrap();
        find(name, &[(path, true)]).map_err(|error| error.to_string())
    }

    #[test]
    fn an_entry_ends_at_the_next_and_the_first_of_two_values_counts() {
        let text = "#c\n[a]\nhost=1\n  [b]  \n\n# d\n  host=x = y  \nhost=3\nport=4\n[b]\nuser=5\n";
        let found = read("b", text).unwrap();
        assert_eq!(found.get("host"), Some("x = y"));
        assert_eq!(found.get("port"), Some("4"));
        assert_eq!(found.get("user"), None);
    }

    #[test]
    fn what_is_amiss_is_told_with_its_line() {
        for (text, said) in [
            ("[a]\nhost", "line 2: it is not `name=value`"),
            (
                "[a]\n\nservice=b",
                "line 3: a service cannot be another one",
            ),
            ("[a]\nhots=b", "line 2: there is no parameter `hots`"),
            ("[b]", "there is no service `a`"),
        ] {
            let error = read("a", text).unwrap_err();
            assert!(error.ends_with(said), "{error}");
        }
        let nowhere = find("a", &[("/nowhere/file".into(), true)]);
        assert!(
            nowhere
                .unwrap_err()
                .to_string()
                .starts_with("/nowhere/file: ")
        );
    }
}
