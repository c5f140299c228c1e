//! The fence: who may write, what a lost session leaves, and what is known of a commit whose end was
//! not heard of.

use std::thread;

use operators::sink::SinkError;

use tests::harness::{Harm, Proxy, Way};

use super::*;

const ROW: [(&str, Type); 2] = [("id", Type::Text), ("v", Type::Int)];

fn fixture() -> Fixture {
    Fixture::new(&ROW, &["id"])
}

fn row(id: &str, value: i64) -> Vec<Value> {
    vec![text(id), int(value)]
}

/// Ends every session of the database but the one that asks.
fn cut(fixture: &Fixture) {
    fixture.database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
}

/// Waits until a session waits for somebody's lock.
fn until_one_waits(fixture: &Fixture) {
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                   WHERE NOT granted AND datname = current_database()";
    while fixture.query(waiting) == ["0"] {
        thread::yield_now();
    }
}

#[test]
fn a_fence_that_has_moved_is_told_and_nothing_is_begun() {
    let mut fixture = fixture();
    fixture.tell(&[row("a", 1)], &[]);
    let mut writer = fixture.open();
    for expected in [None, Some(fence(7))] {
        let refused = writer.begin(expected.as_ref(), &fence(8));
        let Err(SinkError::FenceMoved { found, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(found, Some(fence(1)));
    }
    assert_eq!(writer.fence().unwrap(), Some(fence(1)));
    writer.begin(Some(&fence(1)), &fence(2)).unwrap();
    writer.commit().unwrap();
    assert_eq!(writer.fence().unwrap(), Some(fence(2)));
}

#[test]
fn the_fence_of_an_open_commit_is_waited_for() {
    let fixture = fixture();
    let lookups = fixture.sink().lookups(&BTreeMap::new());
    for commits in [true, false] {
        let mut first = fixture.open();
        let before = first.fence().unwrap();
        let next = fence(before.as_ref().map_or(1, |fence| fence.epoch + 1));
        first.begin(before.as_ref(), &next).unwrap();
        let updates = fixture.updates(&[row("a", 1)], &[]);
        first.apply(&updates, &lookups, None).unwrap();
        let mut second = fixture.open();
        let found = thread::scope(|scope| {
            let waits = scope.spawn(|| second.fence().unwrap());
            until_one_waits(&fixture);
            assert!(!waits.is_finished());
            if commits {
                first.commit().unwrap();
            } else {
                drop(first);
            }
            waits.join().unwrap()
        });
        assert_eq!(found, if commits { Some(next) } else { before });
    }
}

#[test]
fn a_session_that_is_lost_leaves_nothing_and_the_next_commit_has_another() {
    let fixture = fixture();
    let lookups = fixture.sink().lookups(&BTreeMap::new());
    let mut writer = fixture.open();
    let updates = fixture.updates(&[row("a", 1)], &[]);
    for applies in [true, false] {
        writer.begin(None, &fence(1)).unwrap();
        cut(&fixture);
        let lost = if applies {
            writer.apply(&updates, &lookups, None).map(drop)
        } else {
            writer.commit()
        };
        let lost = lost.unwrap_err();
        assert!(lost.is_transient(), "{lost:?}");
        writer.rollback().unwrap();
        assert_eq!(writer.fence().unwrap(), None);
    }
    writer.begin(None, &fence(1)).unwrap();
    writer.apply(&updates, &lookups, None).unwrap();
    writer.commit().unwrap();
    assert_eq!(fixture.query("SELECT * FROM t"), ["a|1"]);
}

/// A commit is cut off before it reaches the server, in the middle, and when the answer is under way:
/// whether it happened is known, and what is tried again is there once.
#[test]
fn a_commit_whose_answer_is_lost_is_known_by_its_fence() {
    for (way, bytes, happens) in [
        (Way::In, 1, Some(false)),
        (Way::In, 12, None),
        (Way::Out, 1, Some(true)),
    ] {
        let mut fixture = fixture().column("v", &[("update", "old.v + new.v")]);
        fixture.tell(&[row("a", 1)], &[]);
        let proxy = Proxy::before(fixture.database.server().port());
        fixture.port = Some(proxy.port());
        let sink = fixture.sink();
        let mut writer = sink.open(false).unwrap();
        let updates = fixture.updates(&[row("a", 10), row("b", 10)], &[]);
        let lookups = sink.lookups(&BTreeMap::new());
        let write = |writer: &mut dyn Writer| {
            writer.begin(Some(&fence(1)), &fence(2)).unwrap();
            writer.apply(&updates, &lookups, None).unwrap();
        };
        write(writer.as_mut());
        proxy.harm_after(way, bytes, Harm::Cut);
        let lost = writer.commit().unwrap_err();
        assert!(lost.is_transient(), "{lost:?}");
        proxy.harm(Harm::None);
        let happened = writer.happened(&fence(2)).unwrap();
        assert_eq!(happens.unwrap_or(happened), happened);
        if !happened {
            write(writer.as_mut());
            writer.commit().unwrap();
        }
        assert_eq!(writer.fence().unwrap(), Some(fence(2)));
        assert_eq!(
            fixture.query("SELECT id, v FROM t ORDER BY id"),
            ["a|11", "b|10"]
        );
    }
}

/// The link breaks at many places of what is sent and of what is answered.
#[test]
fn a_link_that_breaks_anywhere_in_a_commit_leaves_all_of_it_or_nothing() {
    let mut fixture = fixture();
    fixture.tell(&[row("a", 1)], &[]);
    let proxy = Proxy::before(fixture.database.server().port());
    fixture.port = Some(proxy.port());
    let sink = fixture.sink();
    let lookups = sink.lookups(&BTreeMap::new());
    let mut epoch = 1;
    for way in [Way::In, Way::Out] {
        // Until a commit lives: it needs fewer bytes than that.
        for step in 0.. {
            let mut writer = sink.open(false).unwrap();
            let (before, next) = (fence(epoch), fence(epoch + 1));
            let value = i64::try_from(epoch).unwrap() + 100;
            let updates = fixture.updates(&[row("a", value), row("b", value)], &[]);
            writer.begin(Some(&before), &next).unwrap();
            proxy.harm_after(way, step * 37 + 1, Harm::Cut);
            let written = writer.apply(&updates, &lookups, None).map(drop);
            let written = written.and_then(|()| writer.commit());
            proxy.harm(Harm::None);
            let lived = written.is_ok();
            drop(writer);
            let there = fixture.query(&format!("SELECT count(*) FROM t WHERE v = {value}"));
            let happened = fixture.open().fence().unwrap() == Some(next);
            assert!(happened || !lived);
            assert_eq!(there, [if happened { "2" } else { "0" }]);
            epoch += u64::from(happened);
            if lived {
                assert!(step > 3, "a commit takes more bytes than that");
                break;
            }
        }
    }
}

#[test]
fn a_fence_table_that_was_dropped_holds_no_fence() {
    let mut fixture = fixture();
    fixture.tell(&[row("a", 1)], &[]);
    fixture.database.sql("DROP TABLE _tidemill_fence");
    let mut writer = fixture.open();
    assert_eq!(writer.fence().unwrap(), None);
    assert!(writer.has_rows().unwrap());
    assert!(matches!(
        writer.begin(Some(&fence(1)), &fence(2)),
        Err(SinkError::FenceMoved { found: None, .. })
    ));
}

#[test]
fn a_dry_writer_shows_what_it_would_do_and_leaves_nothing() {
    let fixture = fixture();
    let mut writer = fixture.sink().open(true).unwrap();
    writer.begin(None, &fence(1)).unwrap();
    let updates = fixture.updates(&[row("a", 1)], &[]);
    let (lookups, mut changes) = (fixture.sink().lookups(&BTreeMap::new()), Vec::new());
    let applied = writer
        .apply(&updates, &lookups, Some(&mut changes))
        .unwrap();
    writer.commit().unwrap();
    assert_eq!((counts(&applied)[0], changes.len()), (1, 1));
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('t', '_tidemill_fence')";
    assert_eq!(fixture.query(tables), ["0"]);
}

#[test]
fn the_fence_lies_beside_the_table() {
    let mut fixture = fixture();
    fixture.tell(&[row("a", 1)], &[]);
    fixture.database.sql("CREATE SCHEMA aside");
    fixture.config.table = "aside.t".into();
    fixture.epoch = 0;
    assert_eq!(fixture.open().fence().unwrap(), None);
    fixture.tell(&[row("b", 1)], &[]);
    assert_eq!(fixture.query("SELECT * FROM aside.t"), ["b|1"]);
    assert_eq!(fixture.query("SELECT * FROM t"), ["a|1"]);
}
