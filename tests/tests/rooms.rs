//! The small pipeline `fixtures/rooms` after its first run, and what must hold of it.

use std::path::Path;
use std::sync::OnceLock;

use tests::harness::Scratch;

use crate::visits::PROGRAM;

/// What policies fill.
const POLICIES: [&str; 2] = ["life", "changed_at"];

/// The pipeline, which never ran.
pub(crate) fn example() -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rooms");
    let mut scratch = Scratch::of(&folder, PROGRAM);
    "output/rooms.db".clone_into(&mut scratch.database);
    scratch
}

/// The pipeline after its first run.
pub(crate) fn day_1() -> Scratch {
    static DAY_1: OnceLock<Scratch> = OnceLock::new();
    day_after(DAY_1.get_or_init(|| first_run(example())))
}

/// The same with its tables on a server.
pub(crate) fn day_1_on_postgres() -> Scratch {
    static DAY_1: OnceLock<Scratch> = OnceLock::new();
    day_after(DAY_1.get_or_init(|| first_run(example().on_postgres())))
}

fn first_run(scratch: Scratch) -> Scratch {
    scratch.run().exits(0);
    scratch
}

fn day_after(day: &Scratch) -> Scratch {
    let mut scratch = day.copy();
    "2026-01-16T06:00:00Z".clone_into(&mut scratch.now);
    scratch
}

/// What cannot be as it should: `verify` finds something, a key has yet to run, or a run from
/// nothing yields other rows.
pub(crate) fn is_current(scratch: &Scratch) -> Result<(), String> {
    let verified = scratch.verify();
    if verified.exit != Some(0) || verified.number("/not_yet_run") > 0 {
        return Err(format!("verify: {verified:#?}"));
    }
    let fresh = scratch.never_ran();
    fresh.run();
    let (held, expected) = (scratch.tables(), fresh.tables());
    for table in ["bookings", "clashes", "errors"] {
        let live =
            |tables: &tests::harness::Tables| tables.get(table).map(|table| table.live(&POLICIES));
        let (held, expected) = (
            live(&held).unwrap_or_default(),
            live(&expected).unwrap_or_default(),
        );
        if held != expected {
            return Err(format!(
                "{table}: {held:#?}, and from nothing {expected:#?}"
            ));
        }
    }
    Ok(())
}

/// Changes rows of all batches, in all ways: bookings come, go, change and move to persons of
/// earlier and later batches, also whole pairs.
pub(crate) fn change_much(scratch: &Scratch) {
    scratch.sheet("bookings", |bookings| {
        bookings.push(&[
            "100",
            "Ada",
            "Atrium",
            "2026-03-02 07:00",
            "2026-03-02 20:00",
            "3",
        ]);
        bookings.push(&[
            "101",
            "Finn",
            "Studio",
            "2026-03-02 07:00",
            "2026-03-02 20:00",
            "3",
        ]);
        bookings.push(&[
            "102",
            "Finn",
            "Atrium",
            "2026-03-02 07:00",
            "2026-03-02 20:00",
            "3",
        ]);
        bookings.delete(("booking", "9"));
        bookings.set(("booking", "20"), "ends_at", "2026-03-02 22:00");
        bookings.set(("booking", "15"), "person", "Ada");
        bookings.set(("booking", "3"), "person", "Emil");
        bookings.set(("person", "Dora"), "person", "Aldo");
    });
    scratch.sheet("rooms", |rooms| {
        rooms.set(("room", "Studio"), "price", "31");
    });
}
