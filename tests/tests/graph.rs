//! The flowchart of a pipeline, compared as a whole with what was recorded.

use std::path::Path;
use std::process::Command;

use tests::harness::Scratch;

use crate::rooms::example;
use crate::visits::PROGRAM;

fn graph(pipeline: &Path) -> String {
    let output = Command::new(PROGRAM)
        .arg("graph")
        .arg(pipeline)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn record(name: &str, chart: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("graphs");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, chart));
}

#[test]
fn a_graph_shows_ways_dimensions_partition_key_function_and_sinks() {
    record("rooms", &graph(&example().path("pipeline.toml")));
    let flagship = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/visit-conflicts");
    record("visit-conflicts", &graph(&flagship.join("pipeline.toml")));
}

#[test]
fn names_that_are_syntax_are_escaped() {
    let scratch: Scratch = example();
    let file = String::from_utf8(scratch.bytes("pipeline.toml")).unwrap();
    let renamed = file.replace("[transforms.seated]", "[transforms.\"a\\\"]-->b\"]");
    let renamed = renamed
        .replace("\"seated\"", "\"a\\\"]-->b\"")
        .replace("seated.errors", "a\\\"]-->b.errors");
    scratch.write("pipeline.toml", renamed);
    let chart = graph(&scratch.path("pipeline.toml"));
    assert!(chart.contains("[\"a#34;]--#62;b\"]"), "{chart}");
}
