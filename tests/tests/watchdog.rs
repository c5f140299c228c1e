//! A run in which nothing moves is ended by its watchdog, which says what was waited for.

use tests::harness::{Cluster, Scratch};

use crate::cluster::run;
use crate::rooms::{example, is_current};

/// The pipeline with a watchdog that is impatient.
fn watched(patience: &str) -> Scratch {
    let scratch = example();
    let watchdog = format!("[pipeline]\nwatchdog = \"{patience}\"\n");
    scratch.edit("pipeline.toml", "[pipeline]\n", &watchdog);
    scratch
}

#[test]
fn a_source_or_a_sink_that_hangs_is_named() {
    for (fault, waits) in [
        ("slow-fetch:600000", "fetch of `bookings` on fetch 0 for "),
        (
            "slow-sink:600000",
            "apply of `booking_table` on writer for ",
        ),
    ] {
        let mut scratch = watched("1s");
        scratch.fault = Some(fault.to_owned());
        let ended = scratch.run().exits(75);
        let why = format!("nothing moved for 1s: {waits}");
        assert!(ended.error().contains(&why), "{}", ended.error());
        scratch.fault = None;
        scratch.run().exits(0);
        is_current(&scratch).unwrap();
    }
}

#[test]
fn the_process_that_is_waited_for_is_named_on_all() {
    for (fault, waits) in [
        ("slow-fetch:600000", " does fetch of `bookings` on fetch "),
        (
            "part-lost",
            "the commit waits for the parts of epoch 1 of process 1",
        ),
    ] {
        let mut scratch = watched("3s");
        scratch.fault = Some(fault.to_owned());
        let cluster = Cluster::start(&scratch, 2);
        for (process, outcome) in cluster.end().into_iter().enumerate() {
            let error = outcome.exits(75).error();
            let is_named = error.contains("nothing moved for 3s: ") && error.contains(waits);
            assert!(is_named, "process {process}: {error}");
        }
        scratch.fault = None;
        run(&scratch, 2, 0);
        is_current(&scratch).unwrap();
    }
}

#[test]
fn a_run_that_is_slow_and_moves_is_let_go_on() {
    let mut scratch = watched("4s");
    scratch.fault = Some("slow-sink:900".to_owned());
    let ran = scratch.run().exits(0);
    let seconds = ran.report["seconds"]["total"].as_f64().unwrap();
    assert!(
        seconds > 4.0,
        "it took longer than the patience: {seconds} s"
    );
}
