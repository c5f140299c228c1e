//! Goal: every mistake of a pipeline author is told well: where, what is wrong, what to do, and all
//! of a file at once.
//!
//! Method: `broken/` holds files with mistakes, one file for each kind. What is told of a file is
//! compared as a whole with what was recorded; a change of words shows as a change of a snapshot that
//! a person can read.

#![expect(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use pipelines::diagnostic::{Diagnostic, Severity};
use pipelines::document::Document;
use runtime::error::RunError;
use runtime::load::{Loaded, Request};
use runtime::report::diagnostics::{json, text};
use runtime::run;
use tests::harness::scratch_folder;

/// Whatever a file is told is recorded under the file's name.
fn tells(name: &str) {
    let (document, told) = told(name);
    assert!(
        told.iter().any(Diagnostic::is_error),
        "{name} is not broken"
    );
    record(name, &text(&document, &told, false));
}

fn record(name: &str, report: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../broken/told");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, report));
}

/// What is told of a file: its errors, or its warnings when it has none.
fn told(name: &str) -> (Document, Vec<Diagnostic>) {
    let file = PathBuf::from(format!("broken/{name}.toml"));
    let request = Request::of(file, "2026-01-15T06:00:00Z".parse().unwrap());
    let checked = Loaded::of(&request).and_then(|loaded| Ok((run::check(&loaded)?, loaded)));
    match checked {
        Ok((plan, loaded)) => (loaded.document, plan.warnings.clone()),
        Err(RunError::Refused(refused)) => (refused.document, refused.diagnostics),
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn keys_that_are_none_are_told() {
    tells("unknown_keys");
}

#[test]
fn values_of_another_type_are_told() {
    tells("wrong_types");
}

#[test]
fn fields_that_are_missing_are_told() {
    tells("missing_fields");
}

#[test]
fn an_address_without_a_port_is_told() {
    tells("http");
}

#[test]
fn inputs_that_are_no_stages_are_told() {
    tells("inputs");
}

#[test]
fn stages_that_feed_each_other_are_told() {
    tells("cycles");
}

#[test]
fn names_that_are_taken_empty_or_dotted_are_told() {
    tells("names");
}

#[test]
fn types_that_are_none_are_told() {
    tells("types");
}

#[test]
fn columns_that_are_none_are_told_in_every_field() {
    tells("unknown_columns");
}

#[test]
fn types_that_do_not_fit_are_told_inside_of_the_expression() {
    tells("expression_types");
}

#[test]
fn names_that_stand_for_nothing_are_told_inside_of_the_expression() {
    tells("expression_names");
}

#[test]
fn a_parameter_is_told_where_there_are_none() {
    tells("no_parameters");
}

#[test]
fn aggregates_that_are_none_are_told() {
    tells("aggregates");
}

#[test]
fn nested_values_that_are_none_are_told() {
    tells("unnests");
}

#[test]
fn checks_that_cannot_be_made_are_told() {
    tells("checks");
}

#[test]
fn files_of_json_that_cannot_be_read_are_told() {
    tells("ndjson");
}

#[test]
fn sides_of_a_partition_that_are_none_are_told() {
    tells("sides");
}

#[test]
fn components_of_what_is_no_graph_are_told() {
    tells("components");
}

#[test]
fn files_that_contradict_each_other_are_told() {
    tells("include");
}

#[test]
fn stages_without_the_partition_key_are_told() {
    tells("partition_key");
}

#[test]
fn ways_with_no_or_two_batch_partitions_are_told() {
    tells("partitions");
}

#[test]
fn stages_that_cannot_stand_before_the_gate_are_told() {
    tells("before_the_gate");
}

#[test]
fn stages_that_cannot_stand_in_a_dimension_are_told() {
    tells("in_a_dimension");
}

#[test]
fn lookups_that_match_nothing_are_told() {
    tells("lookups");
}

#[test]
fn conflict_joins_that_pair_nothing_are_told() {
    tells("conflict_joins");
}

#[test]
fn fields_that_contradict_each_other_are_told() {
    tells("transforms");
}

#[test]
fn files_that_are_not_what_is_said_are_told() {
    tells("csv");
}

#[test]
fn what_is_missing_is_told_at_once_of_sources_stages_and_sinks() {
    tells("missing");
}

/// What is told of a pipeline beside these files.
fn told_beside(pipeline: &str, make: impl FnOnce(&Path)) -> String {
    let folder = scratch_folder();
    make(folder.path());
    let file = folder.path().join("pipeline.toml");
    fs::write(&file, pipeline).unwrap();
    let loaded = Loaded::of(&Request::of(file, "2026-01-15T06:00:00Z".parse().unwrap()));
    match run::check(&loaded.unwrap()) {
        Err(RunError::Refused(refused)) => text(&refused.document, &refused.diagnostics, false),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn what_databases_and_parquet_files_lack_is_told_with_what_they_have() {
    let pipeline = r#"
        [pipeline]
        name = "broken"
        [sources.rooms]
        type  = "sqlite"
        path  = "in.db"
        table = "romms"
        [sources.visits]
        type  = "parquet"
        path  = "visits-*.parquet"
        id    = ["visitt"]
        where = "mils > 1"
        [transforms.by_ssn]
        type  = "batch-partition"
        input = "visits"
        by    = "snn"
        [transforms.by_visit]
        type  = "batch-partition"
        input = "visits"
        by    = "visit"
        [sinks.out]
        type  = "sqlite"
        input = "by_visit"
        path  = "in.db"
        table = "people"
        key   = ["visit"]
    "#;
    let told = told_beside(pipeline, |folder| {
        let database = rusqlite::Connection::open(folder.join("in.db")).unwrap();
        let tables = "create table rooms (a); create table people (visit text, ssn int)";
        database.execute_batch(tables).unwrap();
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let rows = [("visit", Arc::clone(&column)), ("ssn", column)];
        let rows = RecordBatch::try_from_iter(rows).unwrap();
        let file = fs::File::create(folder.join("visits-1.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    });
    for expected in [
        "there is no table `romms`",
        "did you mean `rooms`?",
        "not a column of `visits-1.parquet`",
        "did you mean `visit`?",
        "there is no column `snn`",
    ] {
        assert!(told.contains(expected), "{expected}:\n{told}");
    }
}

#[test]
fn a_table_that_does_not_fit_is_told_before_anything_is_read() {
    let pipeline = r#"
        [pipeline]
        name = "broken"
        [sources.visits]
        type = "csv"
        path = "visits.csv"
        [transforms.by_ssn]
        type  = "batch-partition"
        input = "visits"
        by    = "ssn"
        [sinks.out]
        type  = "sqlite"
        input = "by_ssn"
        path  = "out.db"
        table = "visits"
        key   = ["visit"]
    "#;
    let told = told_beside(pipeline, |folder| {
        fs::write(folder.join("visits.csv"), "visit,ssn\n1,x\n").unwrap();
        let database = rusqlite::Connection::open(folder.join("out.db")).unwrap();
        let table = "create table visits (visit int, ssn int)";
        database.execute_batch(table).unwrap();
    });
    for expected in [
        "column `ssn` of `visits` is declared",
        "table `visits` has no unique index on exactly its key",
        "table = \"visits\"",
    ] {
        assert!(told.contains(expected), "{expected}:\n{told}");
    }
}

#[test]
fn files_that_do_not_fit_together_are_told() {
    tells("scans");
}

#[test]
fn sinks_that_cannot_keep_their_rows_are_told() {
    tells("sinks");
}

#[test]
fn sinks_that_no_server_could_keep_are_told() {
    tells("postgres_sinks");
}

#[test]
fn policies_that_do_not_fit_are_told() {
    tells("policies");
}

#[test]
fn a_file_without_a_pipeline_or_a_sink_is_told() {
    tells("no_pipeline");
    tells("no_sink");
}

#[test]
fn settings_that_cannot_be_are_told() {
    tells("pipeline");
}

#[test]
fn clusters_that_cannot_be_are_told() {
    tells("cluster");
    tells("cluster_hosts");
}

#[test]
fn sources_of_postgres_that_cannot_be_are_told() {
    tells("postgres_source");
}

#[test]
fn sources_that_nothing_can_drive_are_told() {
    tells("driven");
}

#[test]
fn connections_that_cannot_be_are_told() {
    tells("connections");
}

#[test]
fn a_secret_in_a_file_is_told_and_not_shown() {
    for name in ["connections_secret", "cluster_secret"] {
        tells(name);
        let (document, told) = told(name);
        let said = format!("{} {told:?}", json(&document, &told));
        assert!(!said.contains("horse"), "{said}");
    }
}

#[test]
fn parameters_of_no_type_are_told() {
    tells("params");
}

#[test]
fn what_is_not_toml_is_told() {
    tells("syntax");
}

#[test]
fn mistakes_in_several_sections_are_told_at_once() {
    tells("several");
    let (document, told) = told("several");
    record("several.json", &json(&document, &told));
}

#[test]
fn queries_that_cannot_be_are_told() {
    tells("queries");
}

#[test]
fn unions_of_what_does_not_go_together_are_told() {
    tells("unions");
}

#[test]
fn what_is_odd_is_a_warning() {
    let (document, told) = told("warnings");
    let is_warning = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Warning;
    assert!(told.iter().all(is_warning));
    record("warnings", &text(&document, &told, false));
}

/// A file that no test reads would tell nothing, and a snapshot without a file is of no use.
#[test]
fn every_broken_file_has_its_snapshot() {
    let stems = |folder: &str, end: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(Path::new(folder)).unwrap();
        entries
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(end).map(str::to_owned)
            })
            .collect()
    };
    let mut recorded = stems("broken/told", ".snap");
    assert!(recorded.remove("several.json"));
    assert_eq!(stems("broken", ".toml"), recorded);
}

/// What is told helps only where it can be read without the source: nothing internal is in it.
#[test]
fn what_is_told_is_in_the_words_of_an_author() {
    for entry in fs::read_dir("broken").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        for diagnostic in told(name).1 {
            let message = &diagnostic.message;
            assert!(!message.ends_with('.'), "{name}: {message}");
            let words = format!(
                "{message} {} {}",
                diagnostic.label,
                diagnostic.help.as_deref().unwrap_or_default()
            );
            for internal in [
                "Utf8",
                "Int64",
                "Float64",
                "Date32",
                "DataFusion",
                "Arrow",
                "serde",
            ] {
                assert!(!words.contains(internal), "{name}: {words}");
            }
        }
    }
}
