//! Processes that would not run the same: none of them writes, and each says which one differs in
//! what.

use std::fs;
use std::process::Command;

use tests::harness::{Cluster, Outcome, Scratch, Tables};

use super::run;
use crate::rooms::{day_1, example};

/// Runs two processes in a folder each, and insists that they are refused.
fn refused(folders: [&Scratch; 2], edit: impl Fn(usize, &mut Command)) -> Vec<String> {
    let before = folders.map(held);
    let cluster = Cluster::start_each(2, |process| {
        let mut command = folders[process].command(&["run"]);
        edit(process, &mut command);
        command
    });
    let outcomes = cluster.end();
    assert!(folders.map(held) == before, "nothing is written");
    outcomes.into_iter().map(why).collect()
}

fn held(scratch: &Scratch) -> Option<Tables> {
    let exists = scratch.path(&scratch.database).exists();
    exists.then(|| scratch.tables())
}

fn why(outcome: Outcome) -> String {
    let outcome = outcome.exits(78);
    // What is wrong with the file comes with its place.
    format!("{} {:#}", outcome.error(), outcome.report)
}

#[test]
fn another_number_of_processes_than_the_state_is_for_is_refused() {
    let of_one = day_1();
    let of_two = example();
    run(&of_two, 2, 0);
    for (scratch, found, wanted) in [(of_one, "1 process", 2), (of_two, "2 processes", 3)] {
        let before = held(&scratch);
        let refused: Vec<String> = Cluster::start(&scratch, wanted)
            .end()
            .into_iter()
            .map(why)
            .collect();
        let numbers = format!("is for {found}, and this run has {wanted}");
        for (process, why) in refused.iter().enumerate() {
            assert!(why.contains(&numbers), "{why}");
            let names = process == 0 || why.contains("process 0 failed");
            assert!(names, "a member says who failed: {why}");
        }
        assert!(refused[0].contains("tidemill state split"));
        assert!(held(&scratch) == before);
    }
    let of_two = example();
    run(&of_two, 2, 0);
    assert!(why(of_two.run()).contains("is for 2 processes, and this run has 1"));
}

#[test]
fn another_file_or_other_options_are_refused() {
    let scratch = example();
    let mut two_workers = scratch.copy();
    two_workers.workers = 2;
    let other_file = scratch.copy();
    let memory = "[pipeline]\nmemory = \"1GiB\"\n";
    other_file.edit("pipeline.toml", "[pipeline]\n", memory);
    let no_skip = |process: usize, command: &mut Command| {
        if process == 1 {
            command.arg("--no-skip");
        }
    };
    let refresh = |process: usize, command: &mut Command| {
        if process == 1 {
            command.arg("--full-refresh");
        }
    };
    let nothing = |_: usize, _: &mut Command| {};
    let cases = [
        (refused([&scratch, &scratch], no_skip), "--no-skip"),
        (refused([&scratch, &scratch], refresh), "--full-refresh"),
        (refused([&scratch, &two_workers], nothing), "--workers"),
        (refused([&scratch, &other_file], nothing), "pipeline"),
    ];
    for (whys, difference) in cases {
        for (why, other) in whys.iter().zip([1, 0]) {
            let other = format!("process {other} at 127.0.0.1:");
            let differs = format!("runs with another {difference}: ");
            assert!(why.contains(&other) && why.contains(&differs), "{why}");
        }
    }
}

#[test]
fn other_files_are_refused_whatever_they_are_read_for() {
    let scratch = example();
    let copy = scratch.copy();
    let other_rooms = scratch.copy();
    let rooms = "inputs/rooms.csv";
    // The times of files count for what is told apart by files.
    let bookings = |scratch: &Scratch| {
        let path = scratch.path("inputs/bookings.csv");
        fs::File::options().append(true).open(path).unwrap()
    };
    let written = bookings(&scratch).metadata().unwrap().modified().unwrap();
    bookings(&other_rooms).set_modified(written).unwrap();
    other_rooms.sheet("rooms", |rooms| {
        rooms.set(("room", "Studio"), "price", "31");
    });
    assert!(scratch.bytes(rooms) != other_rooms.bytes(rooms));
    for (other, what) in [
        (&copy, "the files of `bookings`"),
        (&other_rooms, "the rows of `rooms`"),
    ] {
        let differs = format!("process 1 sees {what} otherwise than process 0");
        for why in refused([&scratch, other], |_, _| {}) {
            assert!(why.contains(&differs), "{why}");
        }
    }
}

#[test]
fn a_file_that_one_process_has_not_is_refused_by_all() {
    let scratch = example();
    let without = scratch.copy();
    fs::remove_file(without.path("inputs/bookings.csv")).unwrap();
    let there = refused([&scratch, &without], |_, _| {});
    let here = refused([&without, &scratch], |_, _| {});
    assert!(there[0].contains("process 1 failed"), "{}", there[0]);
    assert!(here[1].contains("process 0 failed"), "{}", here[1]);
    for why in [&there[1], &here[0]] {
        assert!(why.contains("there is no file `bookings.csv`"), "{why}");
    }
}

#[test]
fn a_share_of_another_state_is_refused() {
    let folders = [example(), example()];
    for scratch in &folders {
        run(scratch, 2, 0);
    }
    let whys = refused([&folders[0], &folders[1]], |_, _| {});
    assert!(whys[0].contains("process 1 failed"), "{}", whys[0]);
    for why in whys {
        assert!(why.contains("state-1-of-2.redb is not a share"), "{why}");
    }
}
