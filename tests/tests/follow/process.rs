//! The program that follows, as a process: with a writer beside it, kills, and the end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tests::harness::{FAULT, Scratch};

use crate::rooms::{change_much, example, is_current};
use crate::visits::PROGRAM;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run that follows.
pub(crate) struct Following {
    child: Child,
    passes: Receiver<Json>,
}

impl Following {
    pub(crate) fn start(scratch: &Scratch, workers: usize) -> Following {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(scratch.path(""))
            .args(["run", "pipeline.toml", "--follow", "--every", "20ms"])
            .args(["--format", "json", "--workers", &workers.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(fault) = &scratch.fault {
            command.env(FAULT, fault);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, passes) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(pass) = serde_json::from_str(&line) else {
                    continue;
                };
                if sender.send(pass).is_err() {
                    break;
                }
            }
        });
        Following { child, passes }
    }

    /// The report of the next pass.
    pub(crate) fn pass(&self) -> Json {
        self.passes.recv_timeout(PATIENCE).expect("a pass comes")
    }

    /// Waits for a pass after which something holds.
    pub(crate) fn until(&self, mut holds: impl FnMut(&Json) -> bool) {
        let began = Instant::now();
        while !holds(&self.pass()) {
            assert!(began.elapsed() < PATIENCE, "no pass makes it hold");
        }
    }

    /// Asks the process to end, and gives its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap().code()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A number of a report, found by its JSON pointer.
pub(crate) fn number(pass: &Json, pointer: &str) -> u64 {
    pass.pointer(pointer).and_then(Json::as_u64).unwrap()
}

/// Stays of three rooms in two files, of which nothing was run.
pub(crate) fn stays() -> Scratch {
    let scratch = example();
    scratch.write("pipeline.toml", PARTS);
    scratch.write("in/a.csv", "id,room,a,b\n1,r1,0,10\n2,r1,5,15\n3,r2,0,5\n");
    scratch.write("in/b.csv", "id,room,a,b\n11,r1,9,12\n12,r3,0,5\n");
    scratch
}

#[test]
fn a_pass_reads_what_is_new_and_the_rows_of_open_keys() {
    let scratch = stays();
    let following = Following::start(&scratch, 2);
    let first = following.pass();
    assert_eq!(number(&first, "/sources/stays/rows"), 5);
    assert_eq!(number(&first, "/sinks/out/inserted"), 6);
    // Of the new file a digest, and the rows of the one open key: from both files that have some.
    scratch.write("in/c.csv", "id,room,a,b\n21,r3,4,9\n");
    let second = following.pass();
    assert_eq!(number(&second, "/keys/seen"), 1);
    assert_eq!(number(&second, "/keys/open"), 1);
    assert_eq!(number(&second, "/sinks/out/inserted"), 2);
    // A file that goes takes its rows along, also where others have rows of the same key.
    std::fs::remove_file(scratch.path("in/b.csv")).unwrap();
    let third = following.pass();
    assert_eq!(number(&third, "/keys/open"), 2);
    assert_eq!(number(&third, "/sinks/out/retracted"), 6);
    assert_eq!(following.end(), Some(0));
    let verified = scratch.verify();
    assert_eq!(verified.exit, Some(0), "{verified:?}");
}

#[test]
fn a_writer_and_kills_beside_a_run_that_follows_leave_what_a_run_from_nothing_yields() {
    let scratch = example();
    let mut following = Following::start(&scratch, 1);
    let mut changes = 0_u64;
    for round in 0_u64..8 {
        // Each as long as it happens to be under way: at the start, in a pass, or idle.
        if round % 3 != 1 {
            following.pass();
        }
        for _ in 0..=round % 3 {
            changes += 1;
            let day = changes % 27 + 1;
            scratch.sheet("bookings", |bookings| {
                let (from, to) = (
                    format!("2026-03-{day:02} 07:00"),
                    format!("2026-03-{day:02} 20:00"),
                );
                let id = (1000 + changes % 5).to_string();
                bookings.push(&[&id, "Ada", "Atrium", &from, &to, "3"]);
            });
        }
        if round == 4 {
            change_much(&scratch);
        }
        if round % 2 == 0 {
            following.kill();
            following = Following::start(&scratch, 1 + usize::try_from(round % 3).unwrap());
        }
    }
    // The last change may be in a pass that is told already; the next start sees it in any case.
    following.kill();
    let following = Following::start(&scratch, 2);
    following.until(|pass| number(pass, "/keys/open") == number(pass, "/keys/recomputed"));
    following.end();
    assert_eq!(is_current(&scratch), Ok(()));
}

#[test]
fn a_pass_that_fails_is_tried_again() {
    let scratch = example();
    scratch.write("pipeline.toml", PARTS);
    scratch.write("in/a.csv", "id,room,a,b\n1,r1,0,10\n2,r1,5,15\n");
    let following = Following::start(&scratch, 1);
    assert_eq!(number(&following.pass(), "/sinks/out/inserted"), 2);
    // A file without a header is none of the source's.
    scratch.write("in/b.csv", "");
    let failed = following.pass();
    assert_eq!(failed["again_in_seconds"].as_f64(), Some(0.02), "{failed}");
    assert!(failed["error"].is_string(), "{failed}");
    scratch.write("in/b.csv", "id,room,a,b\n3,r1,1,3\n");
    following.until(|pass| pass["error"].is_null() && number(pass, "/sinks/out/inserted") == 2);
    assert_eq!(following.end(), Some(0));
    assert_eq!(scratch.verify().exit, Some(0));
}

#[test]
fn a_file_that_gets_another_name_changes_nothing() {
    let scratch = example();
    scratch.write("pipeline.toml", PARTS);
    scratch.write("in/a.csv", "id,room,a,b\n1,r1,0,10\n2,r1,5,15\n");
    let following = Following::start(&scratch, 1);
    following.pass();
    std::fs::rename(scratch.path("in/a.csv"), scratch.path("in/b.csv")).unwrap();
    let pass = following.pass();
    assert_eq!(number(&pass, "/keys/seen"), 1);
    assert_eq!(number(&pass, "/keys/open"), 0);
    assert_eq!(following.end(), Some(0));
}

#[test]
fn now_behind_the_gate_is_refused() {
    let scratch = example();
    let derive = "[transforms.late]\ntype = \"derive\"\ninput = \"pairs\"\nset = { at = \"cast(now() as varchar)\" }\n\n[sinks";
    scratch.write("pipeline.toml", PARTS);
    scratch.edit("pipeline.toml", "[sinks", derive);
    scratch.edit(
        "pipeline.toml",
        "input = \"pairs\"\npath",
        "input = \"late\"\npath",
    );
    scratch.write("in/a.csv", "id,room,a,b\n1,r1,0,10\n");
    let mut command = Command::new(PROGRAM);
    command.current_dir(scratch.path(""));
    let refused = command
        .args(["run", "pipeline.toml", "--follow"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("`late` reads now() behind the gate"),
        "{said}"
    );
}

/// A pipeline whose source is in parts.
const PARTS: &str = r#"
[pipeline]
name = "rooms"
state_dir = "output/.tidemill"

[sources.stays]
type = "csv"
path = "in/*.csv"
id = ["id"]
types = { a = "int", b = "int", id = "int" }

[transforms.by_room]
type = "batch-partition"
input = "stays"
by = "room"

[transforms.pairs]
type = "conflict-join"
input = "by_room"
on = ["room"]
right_prefix = "o_"
overlap = { start = "a", end = "b", bounds = "[)" }

[sinks.out]
type = "sqlite"
input = "pairs"
path = "output/rooms.db"
table = "pairs"
key = ["id", "o_id"]
"#;
