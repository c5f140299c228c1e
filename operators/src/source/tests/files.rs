//! Which files a path names, what their paths say, and what becomes of one that is not as the others.

use super::*;

#[test]
fn many_files_are_one_source_and_their_paths_are_columns() {
    let folder = Folder::new();
    folder.write("state=NY/078.csv", "n,ssn\n1,0781\n2,0782\n");
    folder.write("state=CA/123.csv", "ssn,n\n1230,3\n");
    folder.write("state=CA/124.csv", "ssn,n\n");
    let more = CsvConfig {
        types: map(&[("prefix", "int"), ("ssn", "text")]),
        ..plain()
    };
    let source = folder.check("state={state}/{prefix}.csv", more).unwrap();
    let kinds: Vec<String> = source
        .schema()
        .columns()
        .iter()
        .map(|it| format!("{it:?}"))
        .collect();
    let expected = [
        "(\"ssn\", Text)",
        "(\"n\", Int)",
        "(\"state\", Text)",
        "(\"prefix\", Int)",
    ];
    assert_eq!(kinds, expected);
    let row =
        |ssn, n, state, prefix| vec![text(ssn), Value::Int(n), text(state), Value::Int(prefix)];
    let expected = [
        row("1230", 3, "CA", 123),
        row("0781", 1, "NY", 78),
        row("0782", 2, "NY", 78),
    ];
    assert_eq!(rows(&source), expected);
    let ask = Ask::all_of(&names(&["state", "n"]));
    assert_eq!(read(&source, &ask).unwrap()[0], [text("CA"), Value::Int(3)]);
    let only = |column: &str, key: &str| Ask {
        only: Some(Only::of(column, names(&[key]))),
        ..Ask::all_of(&names(&["n"]))
    };
    assert_eq!(read(&source, &only("state", "NY")).unwrap().len(), 2);
    assert_eq!(
        read(&source, &only("ssn", "0782")).unwrap(),
        [[Value::Int(2)]]
    );
    assert_eq!(source.units(&Ask::default()).unwrap().files().len(), 3);
}

#[test]
fn the_files_of_a_source_agree_in_their_columns() {
    let folder = Folder::new();
    folder.write("a.csv", "a,b\n1,2\n");
    folder.write("b.csv", "b,a\n1,2\n");
    assert_eq!(
        rows(&folder.csv("*.csv")),
        [[1, 2], [2, 1]].map(|row| row.map(Value::Int))
    );
    folder.write("c.csv", "b,c\n1,2\n");
    folder.write("d.csv", "");
    let expected = [
        "[Key(\"path\")] `c.csv` has no column `a`, and `a.csv` has one",
        "[Key(\"path\")] `c.csv` has a column `c`, and `a.csv` has none",
    ];
    let told = folder.problems("*.csv", plain());
    assert_eq!(told[..2], expected);
    assert!(
        told[2].ends_with("d.csv` is missing: the file is empty"),
        "{told:?}"
    );
}

#[test]
fn a_path_that_nothing_matches_names_what_is_there() {
    let folder = Folder::new();
    folder.write("data/visits.tsv", "a\n");
    let problem = folder
        .check("data/*.csv", plain())
        .err()
        .unwrap()
        .problems
        .remove(0);
    assert_eq!(problem.message, "no file matches `*.csv`");
    assert!(problem.help.unwrap().contains("`visits.tsv`"));
    let problem = folder
        .check("dato/*.csv", plain())
        .err()
        .unwrap()
        .problems
        .remove(0);
    assert_eq!(problem.message, "there is no folder `dato`");
    assert_eq!(problem.help.unwrap(), "did you mean `data`?");
}

#[test]
fn what_paths_say_fits_the_columns() {
    let folder = Folder::new();
    folder.write("1/x.csv", "a,b\n1,2\n");
    let more = |types: &[_], prefix_of: &[_]| CsvConfig {
        types: map(types),
        prefix_of: map(prefix_of),
        ..plain()
    };
    let told = folder.problems("1/{a}.csv", plain());
    assert_eq!(
        told,
        ["[Key(\"path\")] the path and the files both have a column `a`"]
    );
    let told = folder.problems("{p}/x.csv", more(&[("p", "int"), ("q", "int")], &[]));
    assert_eq!(
        told,
        ["[Key(\"types\"), Key(\"q\")] there is no column `q`"]
    );
    let told = folder.problems("1/{p}.csv", more(&[("p", "int")], &[]));
    assert!(
        told[0].ends_with("x.csv` does not fit: `p` in it is not an int"),
        "{told:?}"
    );
    let told = folder.problems("1/{p}.csv", more(&[], &[("q", "a")]));
    let expected = [
        "[Key(\"prefix_of\"), Key(\"q\")] the path has no column of text `q`",
        "[Key(\"prefix_of\"), Key(\"q\")] the files have no column of text `a`",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_prefix_bounds_its_column_and_is_checked() {
    let folder = Folder::new();
    folder.write("123.csv", "ssn,n\n1230,1\n,2\n123,3\n");
    let more = || CsvConfig {
        types: map(&[("ssn", "text")]),
        prefix_of: map(&[("prefix", "ssn")]),
        ..plain()
    };
    let source = folder.check("{prefix}.csv", more()).unwrap();
    let ask = |column: &str| Ask {
        bounds_of: Some(column.to_owned()),
        ..Ask::all_of(&names(&["n"]))
    };
    let bounds = |column: &str| source.units(&ask(column)).unwrap().units.remove(0).bounds;
    let expected = Bounds {
        least: text("123"),
        greatest: text("124"),
        prefix: Some("123".to_owned()),
        nulls: true,
    };
    assert_eq!(bounds("ssn"), Some(expected));
    assert_eq!(bounds("prefix").unwrap().greatest, text("123"));
    assert_eq!(bounds("n"), None);
    assert_eq!(read(&source, &ask("ssn")).unwrap().len(), 3);
    folder.write("123.csv", "ssn,n\n1230,1\n124,2\n");
    let source = folder.check("{prefix}.csv", more()).unwrap();
    let error = read(&source, &ask("n")).unwrap_err();
    assert!(matches!(error, SourceError::Prefix { .. }), "{error}");
    assert!(!error.to_string().contains("124"), "{error}");
}

#[test]
fn a_file_that_comes_or_goes_changes_the_source() {
    let folder = Folder::new();
    folder.write("b.csv", "a\n1\n");
    folder.write("c.csv", "a\n1\n");
    let source = folder.csv("*.csv");
    let pinned = source.units(&Ask::default()).unwrap();
    source.unchanged(&pinned).unwrap();
    for name in ["a.csv", "d.csv"] {
        folder.write(name, "a\n1\n");
        let error = source.unchanged(&pinned).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        fs::remove_file(folder.path(name)).unwrap();
    }
    source.unchanged(&pinned).unwrap();
    fs::remove_file(folder.path("c.csv")).unwrap();
    let error = source.unchanged(&pinned).unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
}

#[test]
fn lost_lines_name_their_file_where_there_may_be_several() {
    let folder = Folder::new();
    folder.write("x/a.csv", "a\n1,2\n");
    let lost = |path: &str| {
        let mut lost = Vec::new();
        let source = folder.csv(path);
        let outcome = source.read_all(&Ask::default(), &mut |read| {
            lost.extend(read.lost.iter().map(LostLine::to_string));
            ControlFlow::Continue(())
        });
        outcome.unwrap();
        lost
    };
    assert_eq!(lost("x/a.csv"), ["line 2: 2 fields where the header has 1"]);
    assert_eq!(
        lost("*/*.csv"),
        ["`x/a.csv`, line 2: 2 fields where the header has 1"]
    );
}

#[test]
fn a_compressed_file_is_read_to_its_end_or_told() {
    let folder = Folder::new();
    let parts = ["a\n1\n", "2\n"];
    let whole = parts.concat();
    folder.write("a.csv.gz", parts.map(|part| gzip(part.as_bytes())).concat());
    folder.write(
        "b.csv.zst",
        parts.map(|part| zstd(part.as_bytes())).concat(),
    );
    for name in ["a.csv.gz", "b.csv.zst"] {
        assert_eq!(rows(&folder.csv(name)), [[Value::Int(1)], [Value::Int(2)]]);
    }
    let mut cut = gzip(whole.as_bytes());
    cut.truncate(cut.len() - 9);
    folder.write("c.csv.gz", cut);
    let told = folder.problems("c.csv.gz", plain());
    assert!(told[0].contains("cannot read"), "{told:?}");
    folder.write("d.csv.gz", &whole);
    assert_eq!(folder.problems("d.csv.gz", plain()).len(), 1);
    folder.write("e.csv.zst", &zstd(whole.as_bytes())[..12]);
    assert_eq!(folder.problems("e.csv.zst", plain()).len(), 1);
}

#[test]
fn thousands_of_small_files_are_one_source() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..500).map(|number| format!("{number}\n")).collect();
    for (number, line) in lines.iter().enumerate() {
        folder.write(&format!("many/{number:04}.csv"), format!("n\n{line}"));
    }
    folder.write("one.csv", format!("n\n{}", lines.concat()));
    assert_eq!(
        rows(&folder.csv("many/*.csv")),
        rows(&folder.csv("one.csv"))
    );
}

#[test]
fn a_version_is_of_columns() {
    let folder = Folder::new();
    folder.write("a.csv", "n,updated_at\n1,2026-01-01\n");
    let more = |columns: &[&str]| CsvConfig {
        version: names(columns),
        ..plain()
    };
    let source = folder.check("a.csv", more(&["updated_at"])).unwrap();
    assert_eq!(source.version(), ["updated_at"]);
    let told = folder.problems("a.csv", more(&["n", "updated"]));
    assert_eq!(
        told,
        ["[Key(\"version\"), Index(1)] there is no column `updated`"]
    );
}
