//! Small tables whose outcome was worked out by hand. Every one is put to the reference and to the
//! product's stages.

mod before;
mod behind;
mod whole;

use std::fs;
use std::path::Path;

use chrono::DateTime;
use operators::source::{Ask, Read, Source};
use operators::value::{Value, cells};
use pipelines::plan::Plan;
use tests::reference::{Given, Outcome, Tables};
use tests::{columnar, reference, tables};

/// A source `s` (id, k, a, b: ints but for k), a dimension `d` (k, v: text and int).
const HEAD: &str = r#"
[pipeline]
name = "hand"
[sources.s]
type = "csv"
path = "s.csv"
id = ["id"]
types = { id = "int", k = "text", a = "int", b = "int" }
[sources.d]
type = "csv"
path = "d.csv"
types = { k = "text", v = "int", w = "int" }
"#;

fn outcome(stages: &str, s: &str, d: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let csv = |header: &str, rows: &str| {
        let rows = rows.split_whitespace().collect::<Vec<_>>().join("\n");
        format!("{header}\n{rows}")
    };
    fs::write(folder.path().join("s.csv"), csv("id,k,a,b", s)).unwrap();
    fs::write(folder.path().join("d.csv"), csv("k,v,w", d)).unwrap();
    let plan = plan(folder.path(), &format!("{HEAD}{stages}"));
    let given = Given {
        tables: read(&plan),
        ..Given::default()
    };
    let reference = reference::run(&plan, &given);
    assert_eq!(
        columnar::run(&plan),
        reference,
        "the product's stages (left) differ"
    );
    reference
}

fn plan(folder: &Path, toml: &str) -> Plan {
    let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    tables::plan(folder, toml, now).unwrap_or_else(|wrong| panic!("{wrong:#?}\n{toml}"))
}

/// The rows of the files, read as the product reads them: reading is not what is tested here.
fn read(plan: &Plan) -> Tables {
    let all = |source: &Source| {
        let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
        let mut rows = Vec::new();
        let mut receive = |read: Read| {
            let batch = read.chunk.rows().clone();
            rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
            std::ops::ControlFlow::Continue(())
        };
        source
            .read_all(&Ask::all_of(&columns), &mut receive)
            .unwrap();
        rows
    };
    plan.sources
        .iter()
        .map(|plan| (plan.name.to_string(), all(&plan.source)))
        .collect()
}

/// Rows as `a,b c,d`, nulls as nothing, each as often as it is there; the order is that of values.
fn shown(outcome: &Outcome, sink: &str) -> String {
    let rows = outcome.sinks[sink].iter();
    let row = |row: &[Value]| {
        row.iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let rows = rows.flat_map(|(cells, count)| (0..*count).map(|_| row(cells)));
    rows.collect::<Vec<_>>().join(" ")
}

fn errors(outcome: &Outcome) -> Vec<String> {
    let shown = |fault: &reference::Fault| {
        let row = fault.row.as_deref().unwrap_or("-");
        format!(
            "{} {row} {}: {}",
            fault.key.text(),
            fault.stage,
            fault.message
        )
    };
    outcome.errors.iter().map(shown).collect()
}
