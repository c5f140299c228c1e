//! Commits: what they touch, and what is left of one that does not come to its end.

use super::*;
use crate::sink::SinkError;
use crate::sink::policy::Transition;

fn parquet(fields: &str) -> Fixture {
    Fixture::new("parquet", "a", &COLUMNS, fields)
}

/// Two files of two rows each, and an unfilled one.
fn several() -> Fixture {
    let mut fixture = parquet(r#", "row_group_rows": 2"#);
    for ids in [[1, 2], [3, 4]] {
        fixture.commit(&ids.map(|id| (row(id, "x"), "k")), &[]);
    }
    fixture.commit(&[(row(5, "x"), "k")], &[]);
    fixture
}

fn written(fixture: &Fixture) -> Vec<String> {
    let manifest = manifest(fixture);
    let now = manifest["epoch"].clone();
    let files = manifest["files"].as_array().unwrap().iter();
    let of_now = files.filter(|file| file["epoch"] == now);
    of_now
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .collect()
}

fn manifest(fixture: &Fixture) -> serde_json::Value {
    serde_json::from_str(&fixture.text("a/_tidemill.manifest")).unwrap()
}

#[test]
fn only_files_that_hold_a_changed_row_are_written() {
    let mut fixture = several();
    assert_eq!(fixture.files().len(), 4);
    let applied = fixture.commit(&[(row(3, "y"), "k"), (row(1, "x"), "k")], &[]);
    assert_eq!(counts(&applied), [0, 1, 0, 1, 0]);
    assert_eq!(written(&fixture), ["part-00001.parquet"]);
    let applied = fixture.commit(&[], &[(id(1), "k"), (id(9), "k")]);
    assert_eq!(counts(&applied), [0, 0, 1, 1, 0]);
    assert_eq!(written(&fixture), ["part-00000.parquet"]);
    let nothing: [String; 0] = [];
    fixture.commit(&[(row(2, "x"), "k")], &[]);
    assert_eq!(written(&fixture), nothing);
}

#[test]
fn new_rows_fill_the_smallest_file_before_they_make_another() {
    let mut fixture = several();
    fixture.commit(&[(row(6, "x"), "k")], &[]);
    assert_eq!(written(&fixture), ["part-00002.parquet"]);
    // No file has room now, and no file is larger than four row groups.
    let many: Vec<Owned> = (10..30).map(|id| (row(id, "x"), "k")).collect();
    fixture.commit(&many, &[]);
    assert_eq!(
        written(&fixture),
        [
            "part-00003.parquet",
            "part-00004.parquet",
            "part-00005.parquet"
        ]
    );
    assert_eq!(fixture.live().len(), 26);
}

#[test]
fn the_bytes_of_one_file_do_not_depend_on_how_its_rows_came() {
    for (kind, path) in [
        ("parquet", "a.parquet"),
        ("csv", "a.csv"),
        ("json", "a.json"),
    ] {
        let mut at_once = Fixture::new(kind, path, &COLUMNS, "");
        at_once.commit(
            &[(row(1, "x"), "k"), (row(2, "y"), "k"), (row(3, "z"), "k")],
            &[],
        );
        let mut slowly = Fixture::new(kind, path, &COLUMNS, "");
        slowly.commit(&[(row(3, "q"), "k"), (row(4, "y"), "k")], &[]);
        slowly.commit(&[(row(2, "y"), "k"), (row(3, "z"), "k")], &[(id(4), "k")]);
        slowly.commit(&[(row(1, "x"), "k")], &[]);
        let bytes = |fixture: &Fixture| fs::read(fixture.path(path)).unwrap();
        assert!(bytes(&at_once) == bytes(&slowly), "{kind}");
    }
}

#[test]
fn a_rehearsal_tells_all_changes_and_makes_none() {
    let mut fixture = several();
    let before = fixture.files();
    let (applied, changes) = fixture.rehearse(
        &[(row(1, "y"), "k"), (row(2, "x"), "k"), (row(7, "z"), "k")],
        &[(id(5), "k")],
    );
    assert_eq!(counts(&applied), [1, 1, 1, 1, 0]);
    let mut told: Vec<_> = changes
        .into_iter()
        .map(|change| (change.transition, change.old, change.new))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            (Transition::Insert, None, Some(row(7, "z"))),
            (Transition::Update, Some(row(1, "x")), Some(row(1, "y"))),
            (Transition::Retract, Some(row(5, "x")), None),
        ]
    );
    assert_eq!(fixture.files(), before);
    assert_eq!(fixture.live().len(), 5);
    let none = parquet("");
    assert_eq!(
        counts(&none.rehearse(&[(row(1, "x"), "k")], &[]).0),
        [1, 0, 0, 0, 0]
    );
    assert!(none.files().is_empty() && !none.path("a").exists());
    fixture.commit(&[], &[]);
}

#[test]
fn a_writer_that_dies_before_the_commit_leaves_nothing() {
    for (kind, path) in [("parquet", "a"), ("csv", "a.csv")] {
        let mut fixture = Fixture::new(kind, path, &COLUMNS, "");
        fixture.commit(&[(row(1, "x"), "k")], &[]);
        let before = (fixture.files(), fixture.live());
        let mut writer = fixture.open();
        writer.begin(fixture.stands().as_ref(), &fence(2)).unwrap();
        let updates = fixture.updates(&[(row(1, "y"), "k"), (row(2, "y"), "k")], &[]);
        writer.apply(&updates, &Lookups::default(), None).unwrap();
        assert!(
            fixture.files().len() > before.0.len(),
            "it has written something"
        );
        // It ends without rolling back; the system lets go of its lock.
        let lock = fixture.files();
        assert!(lock.iter().any(|name| name.ends_with(".2")), "{lock:?}");
        let left: Vec<(String, Vec<u8>)> = lock
            .iter()
            .map(|name| (name.clone(), fs::read(fixture.path(name)).unwrap()))
            .collect();
        drop(writer);
        assert_eq!(
            fixture.files(),
            before.0,
            "one that is dropped takes it back"
        );
        for (name, bytes) in left {
            fs::write(fixture.path(&name), bytes).unwrap();
        }
        assert_eq!(fixture.live(), before.1);
        let mut writer = fixture.open();
        assert_eq!(fixture.files(), before.0);
        assert_eq!(writer.fence().unwrap(), fixture.stands());
        writer.intact().unwrap();
    }
}

#[test]
fn what_a_writer_owes_that_dies_in_the_commit_is_made_up() {
    let mut fixture = several();
    let old: Vec<u8> = fs::read(fixture.path("a/part-00000.parquet")).unwrap();
    // Both rows of a file go, one of another changes, one comes: a removal, and two renames.
    let gone = [(id(3), "k"), (id(4), "k")];
    let removed: Vec<u8> = fs::read(fixture.path("a/part-00001.parquet")).unwrap();
    fixture.commit(&[(row(1, "y"), "k"), (row(6, "y"), "k")], &gone);
    let (files, live) = (fixture.files(), fixture.live());
    // As it was between the renames of the manifest and of the files.
    for name in ["part-00000.parquet", "part-00002.parquet"] {
        let now = fixture.path(&format!("a/{name}"));
        fs::rename(&now, fixture.path(&format!("a/_tidemill.{name}.4"))).unwrap();
    }
    fs::write(fixture.path("a/part-00000.parquet"), old).unwrap();
    fs::write(fixture.path("a/part-00001.parquet"), removed).unwrap();
    assert_eq!(
        fixture.live(),
        live,
        "a reader of ours sees the commit already"
    );
    let mut writer = fixture.open();
    writer.intact().unwrap();
    assert_eq!((fixture.files(), fixture.live()), (files, live));
}

#[test]
fn a_commit_that_fails_when_it_has_happened_is_not_taken_back() {
    let mut fixture = Fixture::new("csv", "a.csv", &COLUMNS, "");
    let mut writer = fixture.open();
    writer.begin(None, &fence(1)).unwrap();
    let updates = fixture.updates(&[(row(1, "x"), "k")], &[]);
    writer.apply(&updates, &Lookups::default(), None).unwrap();
    // No file takes the name of a folder.
    fs::create_dir(fixture.path("a.csv")).unwrap();
    writer.commit().unwrap_err();
    writer.rollback().unwrap();
    drop(writer);
    fs::remove_dir(fixture.path("a.csv")).unwrap();
    fixture.epoch = 1;
    assert_eq!(fixture.live().len(), 1);
    let mut writer = fixture.open();
    assert_eq!(writer.fence().unwrap(), fixture.stands());
    assert_eq!(fixture.text("a.csv"), "id,name\n1,x\n");
    writer.intact().unwrap();
}

#[test]
fn the_fence_keeps_other_states_and_lost_epochs_out() {
    let mut fixture = several();
    let mut writer = fixture.open();
    for expected in [None, Some(fence(2)), Some(fence(4))] {
        let error = writer.begin(expected.as_ref(), &fence(9)).unwrap_err();
        assert!(matches!(error, SinkError::FenceMoved { .. }), "{error}");
    }
    writer.begin(fixture.stands().as_ref(), &fence(9)).unwrap();
    let locked = fixture.sink().open(false).err().unwrap();
    assert!(locked.is_transient(), "{locked}");
    drop(writer);
    fixture.commit(&[], &[]);
    // Another sink does not take it for its own.
    let manifest = fixture
        .text("a/_tidemill.manifest")
        .replace("\"sink\": \"s\"", "\"sink\": \"t\"");
    fs::write(fixture.path("a/_tidemill.manifest"), manifest).unwrap();
    let mut writer = fixture.open();
    assert_eq!(writer.fence().unwrap(), None);
    assert!(writer.has_rows().unwrap());
}

#[test]
fn files_that_somebody_changed_are_named() {
    let what = |fixture: &Fixture| match fixture.open().intact() {
        Err(SinkError::Unfit { what, help, .. }) => {
            assert!(help.contains("tidemill adopt PIPELINE s"), "{help}");
            what
        }
        other => panic!("{other:?}"),
    };
    let fixture = several();
    fs::remove_file(fixture.path("a/part-00001.parquet")).unwrap();
    assert!(
        what(&fixture).ends_with("part-00001.parquet is gone, and the last commit left it there")
    );
    assert_eq!(fixture.live().len(), 3);

    let fixture = several();
    fs::copy(
        fixture.path("a/part-00000.parquet"),
        fixture.path("a/copy.parquet"),
    )
    .unwrap();
    assert!(what(&fixture).ends_with("copy.parquet is there, and no commit of this sink wrote it"));

    let mut fixture = Fixture::new("csv", "a.csv", &COLUMNS, "");
    fixture.commit(&[(row(1, "x"), "k")], &[]);
    fs::write(fixture.path("a.csv"), "id,name\n1,x\n2,\"y\"\n").unwrap();
    assert!(what(&fixture).contains("a.csv has 18 bytes, and the last commit left it with 12"));
    // As they are they can be adopted: nothing of them is told.
    assert_eq!(fixture.live().len(), 2);
    let mut writer = fixture.open();
    writer.begin(fixture.stands().as_ref(), &fence(2)).unwrap();
    writer.commit().unwrap();
    writer.intact().unwrap();
}

#[test]
fn files_that_are_no_rows_of_the_sink_are_named() {
    let cases = [
        ("csv", "a.csv", "id\n1\n"),
        ("csv", "a.csv", "id,name\n1\n"),
        ("csv", "a.csv", "id,name\nx,y\n"),
        ("csv", "a.csv", "id,name\n1,\"y\n"),
        ("csv", "a.csv", "id,name\n1,\"y\"z\n"),
        ("json", "a.json", ""),
        ("json", "a.json", "[{\"id\":\"x\"}]"),
        ("json", "a.json", "[{\"id\":1,\"name\":2}]"),
        ("ndjson", "a.ndjson", "{\"id\":1"),
        ("parquet", "a.parquet", "PAR1"),
        ("csv", "a.csv.gz", "id,name\n"),
    ];
    for (kind, path, bytes) in cases {
        let fixture = Fixture::new(kind, path, &COLUMNS, "");
        fs::write(fixture.path(path), bytes).unwrap();
        let error = fixture.open().has_rows().unwrap_err();
        let SinkError::Unfit { what, .. } = &error else {
            panic!("{kind} {bytes}: {error:?}");
        };
        assert!(what.contains(path), "{what}");
    }
}

#[test]
fn a_folder_that_is_there_already_can_be_taken_over() {
    let fixture = several();
    fs::remove_file(fixture.path("a/_tidemill.manifest")).unwrap();
    let mut writer = fixture.open();
    assert_eq!(writer.fence().unwrap(), None);
    assert!(writer.has_rows().unwrap());
    writer.intact().unwrap();
    writer.begin(None, &fence(1)).unwrap();
    writer.commit().unwrap();
    assert_eq!(fixture.live().len(), 5);
    assert_eq!(manifest(&fixture)["files"].as_array().unwrap().len(), 3);
}

#[test]
fn files_of_another_layout_are_refused() {
    let mut fixture = several();
    fixture.fields = r#", "partition_by": ["name"]"#.to_owned();
    let mut writer = fixture.open();
    let error = writer
        .begin(fixture.stands().as_ref(), &fence(9))
        .unwrap_err();
    assert!(
        error.help().unwrap().contains("tidemill adopt PIPELINE s"),
        "{error}"
    );
}

#[test]
fn a_folder_is_made_in_one_that_is_there() {
    let mut fixture = Fixture::new("csv", "new/a.csv", &COLUMNS, "");
    fixture.commit(&[(row(1, "x"), "k")], &[]);
    let fixture = Fixture::new("csv", "no/such/a.csv", &COLUMNS, "");
    let error = fixture.sink().open(false).err().unwrap();
    assert!(matches!(error, SinkError::Unfit { .. }), "{error}");
    assert!(error.help().unwrap().contains("is there"), "{error}");
    assert!(
        fixture.sink().open(true).is_ok(),
        "a dry writer makes nothing"
    );
}
