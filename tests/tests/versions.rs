//! Goal: with a version, a run reads the version of rows instead of all they hold, and sees the same
//! as long as the author's word holds.
//!
//! Method: the ledger, read by the version `changed`; rows are changed with and without it.

use tests::harness::Scratch;

use crate::ledger::{entries, held, is_current, ledger, write};

/// The ledger after its first run, with a version.
fn versioned() -> Scratch {
    let scratch = ledger(&entries());
    let id = "id   = [\"entry\"]\n";
    scratch.edit(
        "pipeline.toml",
        id,
        &format!("{id}version = [\"changed\"]\n"),
    );
    scratch.run().exits(0);
    scratch
}

#[test]
fn a_row_whose_version_moved_opens_its_key() {
    for workers in [1, 3] {
        let mut scratch = versioned();
        scratch.workers = workers;
        let mut entries = entries();
        entries[17].amount = 12.5;
        entries[17].changed = 2;
        // Another version of what is otherwise the same row opens its key, and writes nothing.
        entries[40].changed = 2;
        write(&scratch, &entries, 40, 15);
        let ran = scratch.run().exits(0);
        assert_eq!(ran.number("/keys/open"), 2);
        assert_eq!(ran.number("/sinks/sum_table/updated"), 1);
        is_current(&scratch).unwrap();
        // Rows come, go and move to another account.
        entries.remove(100);
        let mut added = entries[5].clone();
        added.number = 1000;
        entries.push(added);
        entries[60].account = "e1".to_owned();
        write(&scratch, &entries, 100, 7);
        scratch.run().exits(0);
        is_current(&scratch).unwrap();
    }
}

#[test]
fn a_row_that_changed_without_its_version_is_named_by_verify_alone() {
    let scratch = versioned();
    let before = held(&scratch);
    let mut entries = entries();
    entries[17].amount = 12.5;
    write(&scratch, &entries, 40, 15);
    let ran = scratch.run().exits(0);
    assert_eq!(ran.number("/keys/open"), 0);
    assert!(held(&scratch) == before);
    let verified = scratch.verify().exits(1);
    assert!(
        verified.report["differences"]
            .as_array()
            .is_some_and(|it| it.len() == 2)
    );
    // Whoever moves the version later has it made good.
    entries[17].changed = 2;
    write(&scratch, &entries, 40, 15);
    assert_eq!(scratch.run().exits(0).number("/keys/open"), 1);
    is_current(&scratch).unwrap();
}

#[test]
fn where_rows_lie_opens_nothing() {
    for (scratch, reads) in [(versioned(), "version"), (first_run(), "all columns")] {
        let mut entries = entries();
        for (turn, file_rows, group_rows) in [(7, 40, 15), (100, 240, 240), (31, 11, 3)] {
            entries.rotate_left(turn);
            entries.reverse();
            write(&scratch, &entries, file_rows, group_rows);
            let ran = scratch.run().exits(0);
            assert_eq!(ran.number("/keys/open"), 0, "{reads}");
            is_current(&scratch).unwrap();
        }
    }
}

/// The ledger after its first run, without a version.
fn first_run() -> Scratch {
    let scratch = ledger(&entries());
    scratch.run().exits(0);
    scratch
}

#[test]
fn what_is_looked_up_before_the_gate_counts_beside_the_version() {
    for scratch in [versioned(), first_run()] {
        scratch.sheet("currencies", |currencies| {
            currencies.set(("currency", "GBP"), "rate", "1.3");
        });
        let ran = scratch.run().exits(0);
        let accounts = entries().into_iter();
        let touched = accounts.filter(|entry| entry.currency == "GBP");
        let mut touched: Vec<String> = touched.map(|entry| entry.account).collect();
        touched.sort();
        touched.dedup();
        assert_eq!(ran.number("/keys/open"), touched.len() as u64);
        assert!(ran.number("/keys/open") < ran.number("/keys/seen"));
        is_current(&scratch).unwrap();
        assert_eq!(scratch.run().exits(0).number("/keys/open"), 0);
    }
}
