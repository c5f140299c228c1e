//! The state is brought to another number of processes, and nothing else is seen of it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tests::harness::{Outcome, Scratch};

use crate::rooms::{change_much, day_1, example, is_current};
use crate::stop::{spawn, until};
use crate::visits::PROGRAM;

const FOLDER: &str = "output/.tidemill/rooms";
const SINKS: [&str; 3] = ["booking_table", "clash_table", "error_table"];

fn split(scratch: &Scratch, processes: &str) -> Outcome {
    let words = ["--processes", processes];
    Outcome::of(scratch.command(&["state", "split"]).args(words))
}

fn stores(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.path(FOLDER)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// For how many processes the shares are that are whole.
fn numbers(scratch: &Scratch) -> BTreeSet<String> {
    let names = stores(scratch).into_iter();
    let names = names.filter_map(|name| name.strip_suffix(".redb").map(str::to_owned));
    let number = |name: String| name.split_once("-of-").map_or("1", |(_, of)| of).to_owned();
    names.map(number).collect()
}

#[test]
fn a_state_is_split_and_brought_back_and_no_key_is_opened_for_it() {
    let scratch = day_1();
    let tables = scratch.tables();
    let before = scratch.inspect().exits(0).report;
    let done = split(&scratch, "3").exits(0);
    let shares = done.report["shares"].as_array().unwrap();
    assert_eq!((done.number("/from"), done.number("/removed")), (1, 1));
    let sum = |name: &str| -> u64 {
        let numbers = shares.iter().map(|share| share.pointer(name).unwrap());
        numbers.map(|number| number.as_u64().unwrap()).sum()
    };
    assert_eq!(Some(sum("/keys")), before["keys"].as_u64());
    for sink in SINKS {
        let told = before["told"][sink].as_u64();
        assert_eq!(Some(sum(&format!("/told/{sink}"))), told);
    }
    let names = [0, 1, 2].map(|process| format!("state-{process}-of-3.redb"));
    assert_eq!(stores(&scratch), names);
    // One process sees all of it, and changes no byte.
    let bytes = || {
        names
            .each_ref()
            .map(|name| scratch.bytes(&format!("{FOLDER}/{name}")))
    };
    let written = bytes();
    assert_eq!(scratch.inspect().exits(0).report, before);
    let listed = Outcome::of(&mut scratch.command(&["state", "list"])).exits(0);
    assert_eq!(listed.report, serde_json::json!(["rooms"]));
    assert_eq!(scratch.plan().exits(0).number("/keys/recomputed"), 0);
    assert_eq!(scratch.verify().exits(0).number("/not_yet_run"), 0);
    assert!(bytes() == written);
    // But it does not run with it.
    let refused = scratch.run().exits(78);
    assert!(
        refused.error().contains("is for 3 processes"),
        "{}",
        refused.error()
    );
    assert!(
        refused.error().contains("state split"),
        "{}",
        refused.error()
    );
    assert!(bytes() == written);
    assert_eq!(split(&scratch, "1").exits(0).number("/from"), 3);
    assert_eq!(stores(&scratch), ["state.redb"]);
    assert_eq!(scratch.inspect().exits(0).report, before);
    assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
    assert!(scratch.tables() == tables);
    change_much(&scratch);
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}

#[test]
fn a_split_to_the_number_that_there_is_says_so() {
    let scratch = day_1();
    let bytes = scratch.bytes(&format!("{FOLDER}/state.redb"));
    let said = Command::new(PROGRAM)
        .args(["state", "split", "pipeline.toml", "--processes", "1"])
        .current_dir(scratch.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.starts_with("the state of `rooms` is for 1 process already\n"),
        "{said}"
    );
    assert!(said.contains("rows told to booking_table"), "{said}");
    assert!(scratch.bytes(&format!("{FOLDER}/state.redb")) == bytes);
    for wrong in ["0", "257", "-1", "two"] {
        split(&scratch, wrong).exits(64);
    }
    let never = split(&example(), "2").exits(78);
    assert!(never.error().contains("never ran"), "{}", never.error());
}

#[test]
fn a_split_that_dies_anywhere_is_ended_by_another() {
    let start = day_1();
    let before = start.inspect().exits(0).report;
    let three = start.copy();
    split(&three, "3").exits(0);
    for (start, to) in [(&start, "3"), (&three, "1"), (&three, "2")] {
        let mut deaths = 0;
        for point in ["share-written", "share-made", "share-removed"] {
            // Until a split lives.
            for time in 1.. {
                let mut scratch = start.copy();
                scratch.fault = Some(format!("die:{point}@{time}"));
                if split(&scratch, to).exit.is_some() {
                    break;
                }
                deaths += 1;
                scratch.fault = None;
                if numbers(&scratch).len() > 1 {
                    let refused = scratch.run().exits(78);
                    assert!(
                        refused.error().contains("state split"),
                        "{}",
                        refused.error()
                    );
                    let unseen = scratch.verify().exits(78);
                    assert!(
                        unseen.error().contains("run it again"),
                        "{}",
                        unseen.error()
                    );
                }
                split(&scratch, to).exits(0);
                assert_eq!(stores(&scratch).len().to_string(), to, "{point}@{time}");
                assert_eq!(scratch.inspect().exits(0).report, before, "{point}@{time}");
                split(&scratch, "1").exits(0);
                let ran = scratch.run().exits(0);
                assert_eq!(ran.number("/keys/recomputed"), 0, "{point}@{time}");
            }
        }
        assert!(deaths >= 5, "{deaths}");
    }
}

#[test]
fn a_run_that_died_is_settled_by_the_split_as_by_the_next_run() {
    let start = day_1();
    change_much(&start);
    let lived = start.copy();
    lived.run().exits(0);
    for point in ["staged", "committed", "published", "settled"] {
        for time in [1, 3] {
            let mut scratch = start.copy();
            scratch.fault = Some(format!("die:{point}@{time}"));
            assert_eq!(scratch.run().exit, None);
            scratch.fault = None;
            for processes in ["2", "3", "1"] {
                split(&scratch, processes).exits(0);
            }
            scratch.run().exits(0);
            assert!(scratch.tables() == lived.tables(), "{point}@{time}");
            is_current(&scratch).unwrap();
        }
    }
}

#[test]
fn a_state_that_a_run_has_is_not_split() {
    let mut scratch = example();
    scratch.fault = Some("slow-sink:600000".to_owned());
    let mut running = spawn(&scratch);
    until(|| scratch.path("trace.json").exists());
    let refused = split(&scratch, "2").exits(75);
    assert!(refused.error().contains("in use"), "{}", refused.error());
    running.kill().unwrap();
    running.wait().unwrap();
    scratch.fault = None;
    split(&scratch, "2").exits(0);
    split(&scratch, "1").exits(0);
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}

#[test]
fn sinks_are_adopted_into_all_shares_and_a_state_is_dropped_with_all_of_them() {
    let scratch = day_1();
    split(&scratch, "3").exits(0);
    scratch.sql("DELETE FROM bookings WHERE booking % 2 = 0");
    for sink in SINKS {
        scratch.adopt(sink).exits(0);
    }
    assert_eq!(stores(&scratch).len(), 3);
    split(&scratch, "1").exits(0);
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
    split(&scratch, "2").exits(0);
    let drop = |words: &[&str]| Outcome::of(scratch.command(&["state", "drop"]).args(words));
    drop(&[]).exits(64);
    assert_eq!(stores(&scratch).len(), 2);
    // A share that got lost keeps nobody from it.
    fs::remove_file(scratch.path(FOLDER).join("state-0-of-2.redb")).unwrap();
    let missing = split(&scratch, "1").exits(78);
    assert!(
        missing.error().contains("process 0 of 2 is missing"),
        "{}",
        missing.error()
    );
    drop(&["--yes"]).exits(0);
    assert!(!scratch.path(FOLDER).exists());
}
