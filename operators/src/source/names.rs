//! Which name each column of a file bears in the pipeline.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{self, Problem, Step, suggest};
use crate::schema::{Schema, Type};

/// The names of the columns in the order of the file, renamed; adds what is wrong with them to
/// `problems`, at `field`. `place` is where the file has its names: `header`.
pub(super) fn names(
    headers: &[String],
    (field, place): (&str, &str),
    renames: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = headers.iter().map(String::as_str);
    let twice: BTreeSet<&str> = names.filter(|name| !seen.insert(*name)).collect();
    problems.extend(twice.into_iter().map(|name| {
        Problem::at(
            [field],
            format!("the {place} has the column `{name}` twice"),
        )
        .help("columns are found by name: give each its own in the file")
    }));
    let renamed = renamed(&seen, place, renames, problems);
    let name = |name: &String| {
        let new = renamed.get(name.as_str());
        new.map_or(name, |new| *new).clone()
    };
    headers.iter().map(name).collect()
}

/// Whether each column can be told from all others.
pub(super) fn are_different<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = BTreeSet::new();
    names.into_iter().all(|name| seen.insert(name))
}

/// Whether the columns of a source are known, though there are `problems`: under which names, and of
/// which types.
pub(super) fn are_known(names: &[String], problems: &[Problem]) -> bool {
    let renames = |problem: &Problem| problem.field.first() == Some(&Step::from("columns"));
    are_different(names.iter().map(String::as_str)) && !problems.iter().any(renames)
}

/// Adds the names in `types` and in the lists of `fields` that are no columns of a file, or whatever
/// bears the name `of`, to `problems`.
pub(super) fn unknown(
    (of, names): (&str, &[String]),
    types: impl Iterator<Item = String>,
    fields: &[(&str, &[String])],
    renames: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    let columns = names.iter().map(|name| (name.clone(), Type::Text));
    let columns = Schema::new(columns.collect());
    let mut look_up = |name: &String, field: Vec<Step>, is_key: bool| {
        // A new name that cannot be given is a problem of `columns`, and one is enough.
        if renames.contains_key(name) {
            return;
        }
        if let Err(problem) = problem::column(&columns, name, field) {
            let problem = problem.label(format!("not a column of `{of}`"));
            problems.push(if is_key { problem.of_key() } else { problem });
        }
    };
    for name in types {
        look_up(&name, vec!["types".into(), (&name).into()], true);
    }
    for (field, names) in fields {
        for (position, name) in names.iter().enumerate() {
            look_up(name, vec![(*field).into(), position.into()], false);
        }
    }
}

/// The declared types; adds those that are none to `problems`.
pub(super) fn types(
    types: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Type> {
    let known = Type::ALL.map(|ty| ty.to_string());
    let mut declared = BTreeMap::new();
    for (name, text) in types {
        if let Ok(ty) = text.parse() {
            declared.insert(name.clone(), ty);
        } else {
            let message = format!("there is no type `{text}`");
            let known = known.iter().map(String::as_str);
            problems
                .push(Problem::at(["types", name], message).help(suggest(text, known, "types")));
        }
    }
    declared
}

/// Adds to `problems` how the columns of a file, each with its type, differ from those of the first
/// file of its source. Their order may differ.
pub(super) fn agree(
    (first, columns): (&str, &BTreeMap<String, String>),
    (other, others): (&str, &BTreeMap<String, String>),
    problems: &mut Vec<Problem>,
) {
    let mut differ = |message: String| {
        let problem =
            Problem::at(["path"], message).label("the files of a source agree in columns");
        problems.push(problem);
    };
    for (name, ty) in columns {
        match others.get(name) {
            None => differ(format!(
                "`{other}` has no column `{name}`, and `{first}` has one"
            )),
            Some(found) if found != ty => {
                differ(format!(
                    "column `{name}` is {found} in `{other}`, and {ty} in `{first}`"
                ));
            }
            Some(_) => {}
        }
    }
    for name in others.keys().filter(|name| !columns.contains_key(*name)) {
        differ(format!(
            "`{other}` has a column `{name}`, and `{first}` has none"
        ));
    }
}

/// The new name of each header that has one.
fn renamed<'a>(
    headers: &BTreeSet<&str>,
    place: &str,
    renames: &'a BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a str, &'a String> {
    let mut renamed: BTreeMap<&str, &String> = BTreeMap::new();
    for (new, old) in renames {
        if !headers.contains(old.as_str()) {
            problems.push(
                at(new, format!("there is no column `{old}` in the file"))
                    .label(format!("not in the {place}"))
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

/// How many problems of files are told: what is wrong with one file is often wrong with all.
pub(super) const TOLD: usize = 10;
