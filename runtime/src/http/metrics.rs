//! How a pipeline is, in Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4), with names after
//! <https://prometheus.io/docs/practices/naming/>: what only grows ends in `_total`, units are
//! seconds and bytes.

use std::fmt::{Display, Write};

use crate::status::StatusTold;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that can be measured of a pipeline.
pub(super) fn text(status: &StatusTold) -> String {
    let mut text = Text::default();
    of_process(&mut text, status);
    of_stages(&mut text, status);
    of_keys(&mut text, status);
    of_passes(&mut text, status);
    text.0
}

fn of_process(text: &mut Text, status: &StatusTold) {
    text.family(
        "tidemill_build_info",
        GAUGE,
        "What runs, and which pipeline.",
    );
    let version = ("version", env!("CARGO_PKG_VERSION"));
    text.sample(&[("pipeline", &status.pipeline), version], 1);
    let help = "For how long this can be asked for.";
    text.gauge("tidemill_uptime_seconds", help, status.uptime_seconds);
    if let Some(resident) = status.memory.resident {
        let help = "Resident memory size in bytes.";
        text.gauge("process_resident_memory_bytes", help, resident);
    }
}

fn of_stages(text: &mut Text, status: &StatusTold) {
    let help = "Rows that left a stage, updates that a sink was told.";
    text.family("tidemill_stage_rows_total", COUNTER, help);
    for (stage, rows) in &status.stages {
        text.sample(&[("stage", stage)], rows);
    }
    let help = "Rows that were read of a source.";
    text.family("tidemill_source_rows_total", COUNTER, help);
    for (source, decoded) in &status.sources {
        text.sample(&[("source", source)], decoded.rows);
    }
    let help = "Bytes in memory of the rows that were read of a source.";
    text.family("tidemill_source_bytes_total", COUNTER, help);
    for (source, decoded) in &status.sources {
        text.sample(&[("source", source)], decoded.bytes);
    }
    let help = "Updates that a sink was told, by what became of its row.";
    text.family("tidemill_sink_rows_total", COUNTER, help);
    for (sink, written) in &status.sinks {
        for (kind, rows) in written.kinds() {
            text.sample(&[("sink", sink), ("kind", kind)], rows);
        }
    }
    let help = "Commits with rows.";
    text.family("tidemill_sink_commits_total", COUNTER, help);
    for (sink, written) in &status.sinks {
        text.sample(&[("sink", sink)], written.commits);
    }
    let help = "Errors in data that stand, by the stage that found them.";
    text.family("tidemill_errors_standing", GAUGE, help);
    for (stage, count) in &status.errors.stages {
        text.sample(&[("stage", stage)], count);
    }
}

fn of_keys(text: &mut Text, status: &StatusTold) {
    let (keys, epochs) = (&status.keys, &status.epochs);
    let help = "Keys that the pass under way has seen, or the last one.";
    text.gauge("tidemill_keys_seen", help, keys.seen);
    let help = "Keys that the gate opened.";
    text.counter("tidemill_keys_opened_total", help, keys.opened);
    let help = "Keys that the pass under way opened and that are not in all sinks yet.";
    text.gauge("tidemill_keys_open", help, keys.open);
    let help = "Keys that the last pass opened and did not bring to all sinks.";
    text.gauge("tidemill_keys_unclean", help, keys.unclean);
    let help = "Batches that were committed.";
    text.counter("tidemill_epochs_committed_total", help, epochs.committed);
    let help = "Batches between the gate and the commit.";
    text.gauge("tidemill_epochs_in_flight", help, epochs.in_flight);
    let help = "Bytes of rows in the groups of the workers.";
    text.gauge("tidemill_kept_bytes", help, status.memory.kept);
}

fn of_passes(text: &mut Text, status: &StatusTold) {
    let passes = &status.passes;
    let help = "Whether the last pass committed.";
    let ready = u8::from(status.not_ready.is_none());
    text.gauge("tidemill_ready", help, ready);
    let help = "Passes that ended.";
    text.counter("tidemill_passes_total", help, passes.ended);
    let help = "Passes that an error ended.";
    text.counter("tidemill_passes_failed_total", help, passes.failed);
    if let Some(last) = passes.last.first() {
        let help = "How long the last pass took.";
        text.gauge("tidemill_last_pass_seconds", help, last.seconds);
    }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The text, with the name of the family whose samples come.
#[derive(Default)]
struct Text(String, &'static str);

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.1 = name;
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect(ANY);
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(label).collect();
        let name = self.1;
        writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")).expect(ANY);
    }

    fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, COUNTER, help);
        writeln!(self.0, "{name} {value}").expect(ANY);
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, GAUGE, help);
        writeln!(self.0, "{name} {value}").expect(ANY);
    }
}

const ANY: &str = "a text takes any line";

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    value.replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes_or_its_line() {
        let mut text = Text::default();
        text.family("rows_total", COUNTER, "Rows.");
        text.sample(&[("stage", "a\"} 1\nb\\")], 3);
        let expected = "rows_total{stage=\"a\\\"} 1\\nb\\\\\"} 3";
        assert_eq!(text.0.lines().nth(2).unwrap(), expected);
    }
}
