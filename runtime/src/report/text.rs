//! Reports as text for people.

use std::fmt::Write;

use operators::key::Key;
use operators::sink::Change;
use operators::sink::policy::Transition;
use operators::value::Value;
use pipelines::plan::{Plan, SinkPlan, SinkRows};

use super::run::{Report, hidden, row_name};
use crate::commit::database;

/// What a run did.
pub fn run(report: &Report, with_times: bool) -> String {
    let mut text = String::new();
    for (source, rows, _) in report.sources() {
        line(
            &mut text,
            &format!("read {} of {source}", count(rows, "row")),
        );
    }
    keys(&mut text, report, "opened");
    for (sink, counts) in report.sinks() {
        let done: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let done = if done.is_empty() {
            "nothing to write".to_owned()
        } else {
            done.join(", ")
        };
        line(&mut text, &format!("{sink}: {done}"));
    }
    failures(&mut text, report);
    let seconds = &report.seconds;
    if with_times {
        let phases = [
            ("plan", seconds.plan),
            ("dimensions", seconds.dimensions),
            ("dataflow", seconds.dataflow),
        ];
        for (phase, seconds) in phases {
            line(&mut text, &format!("{phase}: {seconds:.3} s"));
        }
    }
    line(&mut text, &format!("done in {:.2} s", seconds.total));
    text
}

/// What a run would do.
pub fn plan(report: &Report, plan: &Plan, with_rows: bool) -> String {
    let mut text = String::new();
    for input in &plan.inputs {
        let names = input.way.steps.iter().map(|step| step.name.as_ref());
        let way: Vec<&str> = [plan.sources[input.source].name.as_ref()]
            .into_iter()
            .chain(names)
            .collect();
        line(&mut text, &format!("before the gate: {}", way.join(" -> ")));
    }
    for dimension in &plan.dimensions {
        let names = dimension.way.steps.iter().map(|step| step.name.as_ref());
        let way: Vec<&str> = [plan.sources[dimension.source].name.as_ref()]
            .into_iter()
            .chain(names)
            .collect();
        line(&mut text, &format!("dimension: {}", way.join(" -> ")));
    }
    for step in &plan.key_function.steps {
        let input = step.input.map_or(plan.partition_name.as_ref(), |input| {
            plan.key_function.steps[input].name.as_ref()
        });
        line(
            &mut text,
            &format!("key function: {input} -> {}", step.name),
        );
    }
    for sink in &plan.sinks {
        let rows = match &sink.rows {
            SinkRows::Stage(None) => plan.partition_name.to_string(),
            SinkRows::Stage(Some(step)) => plan.key_function.steps[*step].name.to_string(),
            SinkRows::Errors(stage) => format!("{stage}.errors"),
        };
        line(&mut text, &format!("sink: {rows} -> {}", sink.name));
    }
    keys(&mut text, report, "would open");
    if with_rows {
        for sink in &plan.sinks {
            let changes = report.changes.get(&sink.name);
            for change in changes.into_iter().flatten() {
                line(&mut text, &changed(sink, change));
            }
        }
        for (sink, counts) in report.sinks() {
            let counts = counts.map(|(what, count)| format!("{count} {what}"));
            line(&mut text, &format!("{sink}: {}", counts.join(", ")));
        }
    }
    text
}

/// What `verify` found.
pub fn verify(report: &Report) -> String {
    let mut text = String::new();
    let differences = report.differences.as_deref().unwrap_or_default();
    for difference in differences {
        line(
            &mut text,
            &format!(
                "{}: {} (key {}): {}",
                difference.sink, difference.row, difference.key, difference.what
            ),
        );
    }
    if let Some(keys @ 1..) = report.not_yet_run {
        let keys = count(keys as u64, "key");
        line(
            &mut text,
            &format!("{keys} changed since the last run: not yet run"),
        );
    }
    failures(&mut text, report);
    let verdict = match differences.len() {
        0 => "every sink holds what a run from nothing yields".to_owned(),
        1 => "1 row differs".to_owned(),
        count => format!("{count} rows differ"),
    };
    line(&mut text, &verdict);
    text
}

fn keys(text: &mut String, report: &Report, opened: &str) {
    let why: Vec<String> = report
        .keys
        .why
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join(", "))
    };
    line(
        text,
        &format!(
            "{opened} {} of {}{why}",
            report.keys.open,
            count(report.keys.seen, "key")
        ),
    );
    for part in &report.keys.changed {
        line(text, &format!("changed: {part}"));
    }
}

fn failures(text: &mut String, report: &Report) {
    for (cut, reason) in &report.batches.failed {
        line(
            text,
            &format!("batch {cut} failed twice ({reason}): its keys come again in the next run"),
        );
    }
    for (stage, errors) in &report.errors {
        let errors = count(*errors as u64, "standing error");
        line(text, &format!("{stage}: {errors}"));
    }
}

/// `1 row`, `2 rows`.
fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// One row that would be written. Keys are people's numbers: a cell that holds the row's key, or
/// the one that it had before, is shown as that key's hash.
fn changed(sink: &SinkPlan, change: &Change) -> String {
    let what = match change.transition {
        Transition::Insert => "insert",
        Transition::Reopen => "reopen",
        Transition::Update => "update",
        Transition::Retract => "retract",
    };
    let mut text = format!(
        "{what} {} {}",
        sink.name,
        row_name(sink, &change.id, &change.owner)
    );
    let (Some(database), Some(new)) = (database(sink), &change.new) else {
        return text;
    };
    let columns = database.columns().columns();
    let old_key = (change.old.as_ref().zip(sink.schema.key())).map(|(old, key)| &old[key]);
    let old_key = old_key.map(|key| Key::of(&key.to_string()));
    let keys: Vec<&Key> = [&change.owner].into_iter().chain(&old_key).collect();
    let shown = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        value => hidden(value, &keys),
    };
    for (at, (name, _)) in columns.iter().enumerate() {
        let before = change.old.as_ref().map(|old| &old[at]);
        if sink.schema.key() == Some(at) || before == Some(&new[at]) || database.key().contains(&at)
        {
            continue;
        }
        // The id of a source's row may hold its key, among other columns.
        if matches!(sink.rows, SinkRows::Errors(_)) && name == "row" {
            continue;
        }
        let written = match before {
            None if new[at] == Value::Null => continue,
            None => write!(text, " {name}={}", shown(&new[at])),
            Some(before) => write!(text, " {name}={}->{}", shown(before), shown(&new[at])),
        };
        written.expect("a text takes any text");
    }
    text
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}
