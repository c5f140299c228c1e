//! The example visit-conflicts, by several processes and by one.

use std::fs;

use tests::harness::{Cluster, Scratch};

use super::run;
use crate::visits::{SINKS, example, is_verified, live};

/// What of a report does not depend on how many do the work.
const SAME: [&str; 5] = ["now", "keys", "errors", "checks", "exit"];

#[test]
fn several_processes_find_what_one_finds() {
    let alone = example();
    let expected = alone.run().exits(0);
    for (processes, workers) in [(2, 1), (2, 2), (3, 1), (3, 2)] {
        let mut scratch = example();
        scratch.workers = workers;
        let ran = run(&scratch, processes, 0);
        let how = format!("{processes} processes of {workers} workers");
        assert!(scratch.tables() == alone.tables(), "{how}: the same rows");
        for part in SAME {
            assert_eq!(ran.report[part], expected.report[part], "{part} of {how}");
        }
        for (sink, _) in SINKS {
            for count in ["inserted", "updated", "reopened", "retracted", "refused"] {
                let count = format!("/sinks/{sink}/{count}");
                assert_eq!(
                    ran.number(&count),
                    expected.number(&count),
                    "{count}: {how}"
                );
            }
        }
        let sources = expected.report["sources"].as_object().unwrap();
        for source in sources.keys() {
            for part in ["rows", "lost", "reads"] {
                let place = format!("/sources/{source}/{part}");
                assert_eq!(
                    ran.number(&place),
                    expected.number(&place),
                    "{place}: {how}"
                );
            }
        }
        is_looked_at_by_one_process(&scratch, processes);
        does_nothing(&scratch, processes);
    }
}

#[test]
fn several_processes_put_right_what_others_wrote() {
    let alone = example();
    alone.run().exits(0);
    let scratch = example();
    run(&scratch, 2, 0);
    scratch.sql("DELETE FROM conflictvisitmaps");
    let refresh = |_: usize| {
        let mut command = scratch.command(&["run"]);
        command.arg("--full-refresh");
        command
    };
    for ran in Cluster::start_each(2, refresh).end() {
        ran.exits(0);
    }
    assert!(live(&scratch.tables()) == live(&alone.tables()));
    does_nothing(&scratch, 2);
}

/// One process sees the state of all.
fn is_looked_at_by_one_process(scratch: &Scratch, processes: usize) {
    let shares = fs::read_dir(scratch.path("output/.tidemill/visit-conflicts")).unwrap();
    let stores = shares.filter(|file| {
        let path = file.as_ref().unwrap().path();
        path.extension()
            .is_some_and(|extension| extension == "redb")
    });
    assert_eq!(stores.count(), processes, "each process has its share");
    is_verified(scratch).unwrap();
    let planned = scratch.plan().exits(0);
    assert_eq!(planned.number("/keys/open"), 0);
    assert_eq!(
        scratch.inspect().exits(0).number("/keys"),
        planned.number("/keys/seen")
    );
}

/// Another run opens no key, and no byte of a sink changes.
fn does_nothing(scratch: &Scratch, processes: usize) {
    let before = scratch.bytes(&scratch.database);
    let again = run(scratch, processes, 0);
    assert_eq!(again.number("/keys/open"), 0);
    assert!(scratch.bytes(&scratch.database) == before);
}

#[test]
fn changes_of_all_kinds_reach_the_sinks_by_several_processes() {
    let alone = crate::rooms::day_1();
    crate::rooms::change_much(&alone);
    let expected = alone.run().exits(0);
    for (processes, workers) in [(2, 2), (3, 1)] {
        let mut scratch = crate::rooms::example();
        scratch.workers = workers;
        run(&scratch, processes, 0);
        "2026-01-16T06:00:00Z".clone_into(&mut scratch.now);
        crate::rooms::change_much(&scratch);
        let ran = run(&scratch, processes, 0);
        assert!(scratch.tables() == alone.tables());
        assert_eq!(ran.report["keys"], expected.report["keys"]);
        crate::rooms::is_current(&scratch).unwrap();
        let again = run(&scratch, processes, 0);
        assert_eq!(again.number("/keys/recomputed"), 0);
    }
}
