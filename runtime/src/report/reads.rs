//! What is read of sources, as text for people; and what servers are asked for.

use indicatif::DecimalBytes;
use operators::postgres::Hold;
use operators::source::{Ask, Estimate, Instant};
use pipelines::plan::{InputPlan, Plan, SourcePlan};

use super::run::Report;
use super::text::{count, line};

/// What is read of each source, and what need not be; and what its server is asked for.
pub(super) fn sources(text: &mut String, report: &Report, plan: &Plan) {
    for (number, source) in plan.sources.iter().enumerate() {
        let columns = source.columns.join(", ");
        let read = report.reading(&source.name).map(|reading| {
            let mut from = match &reading.instant {
                Instant::Files { files, .. } => count(*files as u64, "file"),
                Instant::Snapshot { snapshot } => format!("snapshot {snapshot}"),
                Instant::Apart(told) => (*told).to_owned(),
            };
            if reading.row_groups > 0 {
                from = format!("{from}, {}", count(reading.row_groups, "row group"));
            }
            let (rows, bytes) = (count(reading.rows, "row"), DecimalBytes(reading.bytes));
            let (drove, spared) = (drove(report, &source.name), spared(report, &source.name));
            format!("; {from}, {rows}, {bytes}{drove}{spared}")
        });
        let read = read.unwrap_or_default();
        line(
            text,
            &format!("source: {} reads {columns}{read}", source.name),
        );
        if let Some(driven) = &source.driven {
            let (column, driving) = (driven.by.column(), &plan.dimensions[driven.dimension].name);
            line(
                text,
                &format!("  of the rows whose {column} is one of {driving}"),
            );
        }
        let inputs = plan.inputs.iter().filter(|input| input.source == number);
        let inputs: Vec<&InputPlan> = inputs.collect();
        for input in &inputs {
            of_input(text, source, input);
        }
        if inputs.is_empty() {
            asked(text, source, &source.ask());
        }
    }
}

/// What a server is asked for, for an input of the partition.
fn of_input(text: &mut String, source: &SourcePlan, input: &InputPlan) {
    if !asked(text, source, &input.ask(source)) {
        return;
    }
    if let Some((stage, why)) = source.source.first_left(&input.passing) {
        line(
            text,
            &format!("  the first stage that is not asked for: {stage}, {why}"),
        );
    }
    line(text, &format!("  {}", finds_changes(source, input)));
    if input.content_ask(source).is_some() {
        line(text, &format!("  {ASKS_FIRST}"));
    }
    if input.digest.by_source {
        let asked = source.source.statement(&input.digest_ask(source));
        let (statement, _) = asked.expect("it has a server");
        line(text, &format!("  asks it for digests: {statement}"));
    } else if source.source.is_to_hash() {
        line(text, &format!("  rows are hashed here: {HASHED_HERE}"));
    }
}

/// What the server of a source is asked for; false where it has none.
fn asked(text: &mut String, source: &SourcePlan, ask: &Ask) -> bool {
    let Some((statement, left)) = source.source.statement(ask) else {
        return false;
    };
    line(text, &format!("  asks its server: {statement}"));
    let cost = match source.source.hold() {
        Hold::Together => ONE_SNAPSHOT,
        Hold::Apart => OF_ITS_OWN,
    };
    line(text, &format!("  {cost}"));
    if !left.is_empty() {
        let left = left.join(" and ");
        line(text, &format!("  not asked, but evaluated here: {left}"));
    }
    true
}

/// How a later run sees what changed, why so, and what it costs each way, where the server knows that.
fn finds_changes(source: &SourcePlan, input: &InputPlan) -> String {
    let costs = |ask: &Ask, what: &str| {
        // How many rows a stage drives to no statistics tell.
        let estimate = source
            .source
            .estimate(ask)
            .filter(|_| source.driven.is_none());
        estimate.map_or_else(String::new, |Estimate { rows, bytes }| {
            format!(" (about {} of {})", DecimalBytes(bytes), count(rows, what))
        })
    };
    let ask = input.digest_ask(source);
    if input.digest.by_source {
        let columns = Ask {
            hashed: None,
            ..ask.clone()
        };
        let (digests, columns) = (costs(&ask, "key"), costs(&columns, "row"));
        return format!(
            "a later run reads digests{digests} in place of the columns{columns}, as `digest` says"
        );
    }
    if !input.digest.version.is_empty() {
        let version = costs(&ask, "row");
        return format!("a later run reads the key, `id` and `version`{version}");
    }
    let columns = costs(&ask, "row");
    let read =
        format!("a later run reads all columns that are used{columns}: no `version` is declared");
    match input.hashed_ask(source) {
        Some(ask) => {
            let digests = costs(&ask, "key");
            format!(
                "{read}; over a slow link digests by `digest = \"server\"`{digests} may cost less, \
                 and a run in which no row is another would read none"
            )
        }
        None => read,
    }
}

/// What comes before.
const ASKS_FIRST: &str =
    "before that it asks whether any row is another than it was, and where none is it reads none";

/// What `snapshot` costs.
const ONE_SNAPSHOT: &str = "in one snapshot: until the run ends the server's vacuum removes no row that \
                            dies meanwhile";
const OF_ITS_OWN: &str = "each range of keys in a transaction of its own: not at one instant, and a row \
                          that moves between keys meanwhile is right after the next run";

/// Why a source whose server is to hash rows does not.
const HASHED_HERE: &str = "a server hashes them where nothing else stands before the batch-partition, \
                           the key is an int, a text or a uuid, no stage drives it, and `where` compares \
                           ints, bools and dates only";

/// Of how many keys a source was read, and in how many queries; nothing where it was of all.
pub(super) fn drove(report: &Report, source: &str) -> String {
    let reading = report.reading(source);
    let drove = reading.and_then(|reading| Some((reading.keys?, reading.queries)));
    drove.map_or_else(String::new, |(keys, queries)| {
        let (keys, queries) = (count(keys, "key"), count(queries, "query"));
        format!(", of {keys} in {queries}")
    })
}

/// What a condition spared of a source; nothing when it spared nothing.
pub(super) fn spared(report: &Report, source: &str) -> String {
    let skipped = report.skipped(source);
    let parts = [
        (skipped.paths, "path"),
        (skipped.files, "file"),
        (skipped.row_groups, "row group"),
        (skipped.rows, "row"),
        (skipped.bytes, "byte"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, what)| count(number, what)).collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(", skipped {}", parts.join(", "))
}
