//! Reports as text for people.

use operators::way::Feed;
use pipelines::plan::{Plan, SinkPlan, SinkRows};

use super::reads::{drove, sources, spared};
use super::run::Report;

/// What a run did.
pub fn run(report: &Report, with_times: bool) -> String {
    let mut text = String::new();
    for (source, rows, _) in report.sources() {
        let bytes = match report.bytes_read(source) {
            bytes if with_times => format!(" ({})", count(bytes, "byte")),
            _ => String::new(),
        };
        let (drove, spared) = (drove(report, source), spared(report, source));
        line(
            &mut text,
            &format!(
                "read {} of {source}{bytes}{drove}{spared}",
                count(rows, "row")
            ),
        );
    }
    if let Some(anew) = &report.anew {
        let (times, rows) = (count(anew.times, "time"), count(anew.rows, "row"));
        let read = format!("{rows} ({}) read in all", count(anew.bytes, "byte"));
        line(&mut text, &format!("began anew {times}: {read}"));
    }
    keys(&mut text, report, "opened");
    skipped(&mut text, report, "not evaluated");
    if report.stopped {
        let batches = count(report.batches.total as u64, "batch");
        line(
            &mut text,
            &format!("stopped on request after {batches}: the next run does the rest"),
        );
    }
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
    warnings(&mut text, report);
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
        speeds(&mut text, report);
        heaviest(&mut text, report);
    }
    line(&mut text, &format!("done in {:.2} s", seconds.total));
    text
}

/// What a pass of a run that follows did, in a line; nothing of one that had nothing to do.
pub fn pass(report: &Report) -> String {
    let mut done = Vec::new();
    for (sink, counts) in report.sinks() {
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        if !counts.is_empty() {
            done.push(format!("{sink}: {}", counts.join(", ")));
        }
    }
    let mut text = String::new();
    if report.keys.open > 0 || !done.is_empty() {
        let opened = count(report.keys.open as u64, "key");
        if done.is_empty() {
            done.push("nothing to write".to_owned());
        }
        let seconds = report.seconds.total;
        line(
            &mut text,
            &format!(
                "{}: opened {opened}; {} ({seconds:.2} s)",
                report.now,
                done.join("; ")
            ),
        );
    }
    warnings(&mut text, report);
    failures(&mut text, report);
    text
}

/// What a run would do.
pub fn plan(report: &Report, plan: &Plan, with_rows: bool) -> String {
    let mut text = String::new();
    sources(&mut text, report, plan);
    stages(&mut text, plan);
    keys(&mut text, report, "would open");
    skipped(&mut text, report, "would not be evaluated");
    warnings(&mut text, report);
    if with_rows {
        for row in report.rows.iter().flatten() {
            line(&mut text, &row.to_string());
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
        let (keys, are, they) = match keys {
            1 => ("1 key".to_owned(), "is", "its rows"),
            keys => (format!("{keys} keys"), "are", "their rows"),
        };
        let why = "changed since the last run, or not all are in a sink";
        line(
            &mut text,
            &format!("{keys} {are} not yet run: {they} {why}"),
        );
    }
    failures(&mut text, report);
    let sample = report.sample.map(|sample| {
        let keys = count(report.keys.recomputed as u64, "key");
        format!("the {keys} that were looked at, a sample of {sample}")
    });
    let of = match (sample, report.not_yet_run.unwrap_or_default()) {
        (None, 1..) if differences.is_empty() => "of all other keys ".to_owned(),
        (None, _) => String::new(),
        (Some(sample), 0) => format!("of {sample}, "),
        (Some(sample), 1..) => format!("of the others of {sample}, "),
    };
    let verdict = match differences.len() {
        0 => format!("{of}every sink holds what a run from nothing yields"),
        1 => format!("{of}1 row differs"),
        count => format!("{of}{count} rows differ"),
    };
    line(&mut text, &verdict);
    text
}

/// The stages, before the gate and behind it.
fn stages(text: &mut String, plan: &Plan) {
    for input in &plan.inputs {
        let names = input.way.steps.iter().map(|step| step.name.as_ref());
        let way: Vec<&str> = [plan.sources[input.source].name.as_ref()]
            .into_iter()
            .chain(names)
            .collect();
        line(text, &format!("before the gate: {}", way.join(" -> ")));
    }
    for dimension in &plan.dimensions {
        let sources = dimension.sources.iter();
        let sources: Vec<&str> = sources
            .map(|&source| plan.sources[source].name.as_ref())
            .collect();
        let names = dimension.way.steps.iter().map(|step| step.name.as_ref());
        let sources = sources.join(" + ");
        let way: Vec<&str> = [sources.as_str()].into_iter().chain(names).collect();
        line(text, &format!("dimension: {}", way.join(" -> ")));
    }
    for step in &plan.key_function.steps {
        let inputs = step.inputs.iter().map(|feed| from(*feed, plan));
        let inputs: Vec<&str> = inputs.collect();
        line(
            text,
            &format!("key function: {} -> {}", inputs.join(" + "), step.name),
        );
    }
    for sink in &plan.sinks {
        let rows = match &sink.rows {
            SinkRows::Stage(feed) => from(*feed, plan).to_owned(),
            SinkRows::Errors(stage) => format!("{stage}.errors"),
        };
        line(
            text,
            &format!("sink: {rows} -> {}, {}", sink.name, writes(sink)),
        );
    }
}

/// The stage that rows behind the gate come from.
fn from(feed: Feed, plan: &Plan) -> &str {
    match feed {
        Feed::Start(side) => &plan.partition.sides[side].name,
        Feed::Step(step) => &plan.key_function.steps[step].name,
    }
}

/// How a sink is written.
fn writes(sink: &SinkPlan) -> String {
    let Some(fenced) = sink.sink.fenced() else {
        return "printed".to_owned();
    };
    match fenced.gathers() {
        0 => {
            let name = |&column: &usize| sink.schema.columns()[column].0.as_str();
            let key: Vec<&str> = fenced.key().iter().map(name).collect();
            format!("merged by {}", key.join(", "))
        }
        usize::MAX => "one file, written as a whole at the end of the run".to_owned(),
        _ => "files of which rows change are written anew".to_owned(),
    }
}

fn keys(text: &mut String, report: &Report, opened: &str) {
    let why: Vec<String> = report
        .keys
        .why
        .iter()
        .map(|(reason, count)| format!("{count}: {reason}"))
        .collect();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join(", "))
    };
    line(
        text,
        &format!(
            "{} seen, {opened} {}{why}",
            count(report.keys.seen, "key"),
            report.keys.open
        ),
    );
    for part in &report.keys.changed {
        line(text, &format!("changed: {part}"));
    }
    if report.keys.not_looked_at > 0 {
        let left = count(report.keys.not_looked_at, "key");
        line(
            text,
            &format!("{left} not looked at: {}", report.keys.left_out),
        );
    }
    if let Some(why) = report.keys.all_looked_at {
        line(
            text,
            &format!("all keys are looked at, whatever `only_when` names: {why}"),
        );
    }
}

fn warnings(text: &mut String, report: &Report) {
    for found in &report.checks {
        let (severity, becomes) = if found.blocks {
            ("blocked", ", which sinks behind it do not get")
        } else {
            ("warning", "")
        };
        let rows = count(found.rows, "row");
        let keys = count(found.keys, "key");
        let (stage, what) = (&found.stage, &found.what);
        line(
            text,
            &format!("{severity}: {stage}: {what}: {rows} of {keys}{becomes}"),
        );
    }
    for (stage, warning) in &report.warnings {
        line(text, &format!("warning: {stage}: {warning}"));
    }
}

/// How many batches were left out, and why; a run that has one batch alone says so by its keys.
fn skipped(text: &mut String, report: &Report, what: &str) {
    let batches = &report.batches;
    if batches.skipped > 0 && batches.seen > 1 {
        let of = count(batches.seen as u64, "batch");
        let skipped = batches.skipped;
        line(text, &format!("{skipped} of {of} {what}: nothing changed"));
    }
}

fn speeds(text: &mut String, report: &Report) {
    for (phase, speed) in report.phases.each() {
        let (rows, seconds) = (count(speed.rows, "row"), speed.seconds);
        let of_second = speed.rows_per_second;
        let content = format!("{phase}: {rows} in {seconds:.3} s of work, {of_second:.0} a second");
        line(text, &content);
    }
}

fn heaviest(text: &mut String, report: &Report) {
    for batch in &report.batches.heaviest {
        let (keys, rows) = (count(batch.keys as u64, "key"), count(batch.rows_in, "row"));
        let (cut, out, took) = (&batch.cut, batch.rows_out, batch.milliseconds);
        let content = format!("batch {cut}: {keys}, {rows} in, {out} out, {took:.1} ms");
        line(text, &content);
    }
    for key in &report.keys.heaviest {
        let rows = count(key.rows, "row");
        line(text, &format!("key {}: {rows}", key.key));
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
        let errors = match errors {
            1 => "1 error stands".to_owned(),
            errors => format!("{errors} errors stand"),
        };
        line(
            text,
            &format!("{errors} in {stage} (see `tidemill state inspect`)"),
        );
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number if what.ends_with("ch") => format!("{number} {what}es"),
        number if what.ends_with("ry") => format!("{number} {}ies", what.trim_end_matches('y')),
        number => format!("{number} {what}s"),
    }
}

pub(super) fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}
