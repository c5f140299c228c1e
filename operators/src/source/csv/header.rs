//! Which name each column of the file bears in the pipeline.

use std::collections::{BTreeMap, BTreeSet};

use csv::StringRecord;

use crate::problem::{Problem, Step, suggest};

/// The names of the columns in the order of the header, renamed; adds what is wrong with them to
/// `problems`.
pub(super) fn names(
    header: &StringRecord,
    renames: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut headers = BTreeSet::new();
    let twice: BTreeSet<&str> = header
        .iter()
        .filter(|name| !headers.insert(*name))
        .collect();
    problems.extend(twice.into_iter().map(|name| {
        Problem::at(
            ["path"],
            format!("the header has the column `{name}` twice"),
        )
        .help("columns are found by name: give each its own in the file")
    }));
    let renamed = renamed(&headers, renames, problems);
    let name = |name: &str| {
        renamed
            .get(name)
            .map_or(name, |new| new.as_str())
            .to_owned()
    };
    header.iter().map(name).collect()
}

/// The new name of each header that has one.
fn renamed<'a>(
    headers: &BTreeSet<&str>,
    renames: &'a BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a str, &'a String> {
    let mut renamed: BTreeMap<&str, &String> = BTreeMap::new();
    for (new, old) in renames {
        if !headers.contains(old.as_str()) {
            problems.push(
                at(new, format!("there is no column `{old}` in the file"))
                    .label("not in the header")
                    .help(suggest(old, headers.iter().copied(), "columns of the file")),
            );
        } else if let Some(other) = renamed.get(old.as_str()) {
            problems.push(at(new, format!("`{old}` is already renamed to `{other}`")));
        } else {
            renamed.insert(old, new);
        }
    }
    // A name is free when no header bears it, or when its header gets another one.
    let taken = |new: &str| headers.contains(new) && !renamed.contains_key(new);
    for (old, new) in renamed.iter().filter(|(_, new)| taken(new)) {
        problems.push(
            at(new, format!("two columns would be named `{new}`"))
                .label(format!("`{old}`, while the file has a column `{new}`"))
                .help("choose another name, or rename the other column too"),
        );
    }
    renamed
}

fn at(name: &String, message: String) -> Problem {
    Problem::at([Step::from("columns"), Step::from(name)], message)
}
