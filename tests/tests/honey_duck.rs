//! Goal: the example honey-duck yields what its rules say, and keeps it up to date.
//!
//! Method: `fixtures/honey-duck/expected.py` computes the three files from the example's own data
//! without any engine; what it wrote lies beside it. Rows and their order must be the same.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tests::harness::Scratch;

use crate::visits::PROGRAM;

const FILES: [&str; 3] = ["sales_transform", "sales_output", "artworks_output"];

fn example() -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/honey-duck");
    Scratch::of(&folder, PROGRAM)
}

fn json(path: PathBuf) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn yielded(scratch: &Scratch, file: &str) -> Json {
    json(scratch.path(&format!("output/{file}.json")))
}

#[test]
fn the_example_yields_what_plain_python_says() {
    let scratch = example();
    scratch.run().exits(0);
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/honey-duck/expected");
    for file in FILES {
        let expected = json(expected.join(format!("{file}.json")));
        assert_eq!(yielded(&scratch, file), expected, "{file}");
    }
    scratch.verify().exits(0);
    assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
}

#[test]
fn a_sale_more_changes_all_three_files_as_a_run_from_nothing_would() {
    let scratch = example();
    scratch.run().exits(0);
    scratch.sheet("sales", |sales| {
        sales.push(&["12", "7", "2024-04-04", "31000000", "Chile"]);
    });
    let ran = scratch.run().exits(0);
    assert_eq!(ran.number("/sinks/sales_transform/inserted"), 1);
    assert_eq!(ran.number("/sinks/sales_output/inserted"), 1);
    let fresh = scratch.never_ran();
    fresh.run().exits(0);
    for file in FILES {
        assert_eq!(yielded(&scratch, file), yielded(&fresh, file), "{file}");
    }
}

#[test]
fn of_inputs_without_rows_come_files_without_rows() {
    let scratch = example();
    for file in ["sales", "artworks", "artists"] {
        let sheet = scratch.bytes(&format!("inputs/{file}.csv"));
        let end = sheet.iter().position(|&byte| byte == b'\n').unwrap();
        scratch.write(&format!("inputs/{file}.csv"), &sheet[..=end]);
    }
    scratch.run().exits(0);
    for file in FILES {
        assert_eq!(scratch.bytes(&format!("output/{file}.json")), b"[]\n");
    }
}
