//! What an author asserts of a source: that its keys are as they were, but for those that `only_when`
//! names. It must be about the keys of the partition.

use operators::catalog::Transform;
use operators::problem::Problem;
use operators::schema::Type;
use operators::source::Source;

use crate::check::{Check, Checked};
use crate::diagnostic::Diagnostic;

/// Finds what stands against each `only_when`, and where one spares nothing.
pub(crate) fn check(check: &Check, checked: &Checked, diagnostics: &mut Vec<Diagnostic>) {
    let graph = check.graph;
    let used = graph.used();
    let sides = used
        .iter()
        .filter(|&&node| graph.nodes[node].is_partition());
    let branches: Vec<Vec<usize>> = sides.flat_map(|&side| graph.branches_to(side)).collect();
    let asserts = |branch: &[usize]| check.sources.get(&branch[0])?.only_when();
    let is_silent = |source: &Source| source.only_when().is_none();
    let mut sources = branches.iter().map(|branch| branch[0]);
    let silent = sources.find(|source| check.sources.get(source).is_some_and(is_silent));
    for branch in &branches {
        let Some(ty) = asserts(branch) else { continue };
        let source = &graph.nodes[branch[0]];
        if let Err(problem) = about_keys(checked, branch, ty) {
            diagnostics.push(source.section.place(problem));
            continue;
        }
        let spares_nothing = silent.map(|other| {
            let other = graph.nodes[other].name();
            let message = format!("source `{other}` says nothing of its keys");
            Problem::at([FIELD], message)
                .label("spares nothing: each run looks at all keys")
                .help(format!("write `{FIELD}` there, too, or take it out here"))
        });
        let warning = spares_nothing.map(|it| source.section.place(it).into_warning());
        diagnostics.extend(warning);
    }
    for (&at, source) in check.sources {
        let leads = branches.iter().any(|branch| branch[0] == at);
        if source.only_when().is_some() && used.contains(&at) && !leads {
            let problem = Problem::at([FIELD], "a source that is looked up has no keys")
                .label("is read whole in each run")
                .help("take it out");
            diagnostics.push(graph.nodes[at].section.place(problem));
        }
    }
}

/// The rows of a branch's source have their key in a column of this type.
fn about_keys(checked: &Checked, branch: &[usize], ty: Type) -> Result<(), Problem> {
    let (Some(side), Some(source)) = (
        branch.last().and_then(|side| checked.schemas.get(side)),
        checked.schemas.get(&branch[0]),
    ) else {
        // What is wrong with a stage on the way was told.
        return Ok(());
    };
    let partition = branch.last().and_then(|side| checked.transforms.get(side));
    if let Some(Transform::BatchPartition(partition)) = partition.map(AsRef::as_ref)
        && partition.is_whole()
    {
        return Err(Problem::at([FIELD], "all rows are one key")
            .label("there is none to be named")
            .help("take it out, or let the `batch-partition` have a `by`"));
    }
    let column = side.key().and_then(|key| checked.column_of(branch, key));
    let Some(column) = column else {
        return Err(
            Problem::at([FIELD], "the partition's key is no column of this source")
                .label("which of its rows have a key cannot be asked")
                .help("let the key pass the stages before the `batch-partition` unchanged, or take it out"),
        );
    };
    let (name, key) = &source.columns()[column];
    if *key != ty {
        return Err(Problem::at([FIELD], format!("names keys of type {ty}"))
            .label(format!("`{name}`, the key, is of type {key}"))
            .help("cast the column that the query selects"));
    }
    Ok(())
}

const FIELD: &str = "only_when";
