//! Files of lines, and the rows that are read of them.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::source::{Ask, Source};
use crate::transform::fixture::{lines, told};

/// Files in a folder of their own, and what their author writes about them.
struct Sample {
    folder: TempDir,
    config: NdjsonConfig,
    pinned: BTreeMap<String, Type>,
}

impl Sample {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let sample = Sample {
            folder: tempfile::tempdir().unwrap(),
            config: NdjsonConfig {
                path: "visits.ndjson".to_owned(),
                id: Vec::new(),
                types: BTreeMap::new(),
                infer: false,
                columns: BTreeMap::new(),
                prefix_of: BTreeMap::new(),
                version: Vec::new(),
                condition: None,
            },
            pinned: BTreeMap::new(),
        };
        sample.write("visits.ndjson", content);
        sample
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn ty(mut self, name: &str, ty: &str) -> Self {
        self.config.types.insert(name.to_owned(), ty.to_owned());
        self
    }

    fn rename(mut self, new: &str, member: &str) -> Self {
        let (new, member) = (new.to_owned(), member.to_owned());
        self.config.columns.insert(new, member);
        self
    }

    fn check(&self) -> Result<FileScan<Ndjson>, Vec<Problem>> {
        let path = self.folder.path().join(&self.config.path);
        Ndjson::check(&self.config, "visits", &path, Tz::UTC, &self.pinned)
            .map_err(|amiss| amiss.problems)
    }

    /// `name type` of each column.
    fn columns(&self) -> Vec<String> {
        let source = Source::new(self.check().unwrap());
        let columns = source.schema().columns().iter();
        columns.map(|(name, ty)| format!("{name} {ty}")).collect()
    }

    /// All rows, then the errors, then the lost lines.
    fn read(&self) -> Result<[Vec<String>; 3], SourceError> {
        let source = Source::new(self.check().unwrap());
        let names: Vec<String> = source.schema().names().map(str::to_owned).collect();
        let mut told: [Vec<String>; 3] = Default::default();
        source.read_all(&Ask::all_of(&names), &mut |read| {
            let before = told[0].len();
            told[0].extend(lines(&read.chunk));
            let error = |error: crate::chunk::RowError| {
                format!("{}: {}", before + error.origin as usize, error.message)
            };
            told[1].extend(read.errors.into_iter().map(error));
            told[2].extend(read.lost.iter().map(ToString::to_string));
            ControlFlow::Continue(())
        })?;
        Ok(told)
    }
}

const VISITS: &str = r#"
{"id": 1, "ssn": "a", "hours": 1.5, "day": "2024-01-01", "tags": ["x", 1]}
{"ssn": "b", "id": 2, "hours": 2, "extra": {"b": 1}, "day": null}

{"id": 3, "hours": 0.1}
"#;

#[test]
fn members_are_columns_in_the_order_of_their_names_with_the_narrowest_type() {
    let sample = Sample::new(VISITS);
    assert_eq!(
        sample.columns(),
        [
            "day date",
            "extra json",
            "hours float",
            "id int",
            "ssn text",
            "tags json"
        ]
    );
    assert_eq!(
        sample.read().unwrap()[0],
        [
            "2024-01-01 | - | 1.5 | 1 | a | [\"x\",1]",
            "- | {\"b\":1} | 2 | 2 | b | -",
            "- | - | 0.1 | 3 | - | -"
        ]
    );
}

#[test]
fn declared_columns_are_all_unless_the_others_are_to_be_inferred() {
    let mut sample = Sample::new(VISITS)
        .ty("hours", "text")
        .ty("key", "int")
        .rename("key", "id");
    assert_eq!(sample.columns(), ["hours text", "key int"]);
    assert_eq!(sample.read().unwrap()[0], ["1.5 | 1", "2 | 2", "0.1 | 3"]);
    sample.config.infer = true;
    let inferred = [
        "day date",
        "extra json",
        "hours text",
        "key int",
        "ssn text",
        "tags json",
    ];
    assert_eq!(sample.columns(), inferred);
}

#[test]
fn what_a_former_run_inferred_is_kept() {
    let mut sample = Sample::new("{\"id\": \"x\", \"new\": 1}");
    sample.pinned = BTreeMap::from([
        ("id".to_owned(), Type::Int),
        ("gone".to_owned(), Type::Bool),
    ]);
    assert_eq!(sample.columns(), ["gone bool", "id int"]);
    let [rows, errors, _] = sample.read().unwrap();
    assert_eq!(rows, ["- | -"]);
    assert_eq!(errors, ["0: column `id`: not an int"]);
}

#[test]
fn related_kinds_mix_and_others_are_text_or_json() {
    for (values, expected) in [
        ("1 2.5", "float"),
        ("1 9223372036854775808", "float"),
        ("\"2024-01-01\" \"2024-01-01T10:00Z\"", "timestamp"),
        ("\"2024-01-01\" \"x\"", "text"),
        ("\"x\" \"2024-01-01\"", "text"),
        ("\"1\"", "text"),
        ("1 \"x\"", "text"),
        ("true 1", "text"),
        ("true null", "bool"),
        ("null", "text"),
        ("1 [1]", "json"),
        ("\"x\" {}", "json"),
    ] {
        let lines = values
            .split(' ')
            .map(|value| format!("{{\"a\":{value}}}\n"));
        let sample = Sample::new(lines.collect::<String>());
        assert_eq!(sample.columns(), [format!("a {expected}")], "{values}");
        assert!(sample.read().unwrap()[1].is_empty(), "{values}");
    }
}

#[test]
fn a_cell_of_another_type_is_null_and_a_line_that_is_no_object_is_lost() {
    let mut content =
        b"\xef\xbb\xbf{\"id\":1,\"n\":\"x\"}\r\n[1]\n{\"id\":2,\"n\":3\n\n{\"id\":4,\"n\":5}\n"
            .to_vec();
    content.extend(
        b"{\"id\":\"\xff\"}\nnull\n{\"n\":\"y\",\"id\":6,\"n\":7,\"id\":true} \n{\"id\":8}{}",
    );
    let sample = Sample::new(content).ty("id", "int").ty("n", "int");
    let [rows, errors, lost] = sample.read().unwrap();
    assert_eq!(rows, ["1 | -", "4 | 5", "- | 7"]);
    assert_eq!(
        errors,
        ["0: column `n`: not an int", "2: column `id`: not an int"]
    );
    assert_eq!(
        lost,
        [
            "line 2: not a JSON object",
            "line 3: not a JSON object",
            "line 6: not UTF-8",
            "line 7: not a JSON object",
            "line 9: not a JSON object",
        ]
    );
}

/// Many blocks, so that threads take part: what comes out is in the order of the file.
#[test]
fn a_packed_file_is_read_as_a_plain_one_in_the_order_of_its_lines() {
    let pad = "x".repeat(1000);
    let line = |id: usize| match id % 1000 {
        7 => format!("broken {id}\n"),
        _ => format!("{{\"pad\":\"{pad}\",\"id\":{id}}}\n"),
    };
    let text: String = (0..30_000).map(line).collect();
    let plain = Sample::new(&text).ty("id", "int");
    let [rows, errors, lost] = plain.read().unwrap();
    let expected = (0..30_000)
        .filter(|id| id % 1000 != 7)
        .map(|id| id.to_string());
    assert!(rows.iter().cloned().eq(expected) && errors.is_empty());
    assert_eq!(lost.len(), 30);
    assert_eq!(lost[29], "line 29008: not a JSON object");
    // A file of two packed ones, one behind the other.
    let (first, second) = text.split_at(text.len() / 2);
    let pack = |text: &str| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let packed = [
        ("visits.ndjson.gz", [pack(first), pack(second)].concat()),
        (
            "visits.ndjson.zst",
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        ),
    ];
    for (name, content) in packed {
        let mut sample = Sample::new("").ty("id", "int");
        name.clone_into(&mut sample.config.path);
        sample.write(name, &content);
        assert!(
            sample.read().unwrap() == [rows.clone(), errors.clone(), lost.clone()],
            "{name}"
        );
        sample.write(name, &content[..content.len() / 2]);
        assert!(sample.read().is_err(), "half of {name}");
    }
}

#[test]
fn reading_stops_when_no_more_is_wanted() {
    let text = format!("{{\"pad\":\"{}\"}}\n", "x".repeat(1000)).repeat(40_000);
    let sample = Sample::new(text).ty("pad", "text");
    let source = Source::new(sample.check().unwrap());
    let mut reads = 0;
    let ask = Ask::all_of(&["pad".to_owned()]);
    let stopped = source.read_all(&ask, &mut |_| {
        reads += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.is_ok());
    assert_eq!(reads, 1);
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let sample = Sample::new([b"{\"a\":1}\n{\"a\":\"".to_vec(), vec![b'x'; 70 << 20]].concat());
    let sample = sample.ty("a", "text");
    let error = sample.read().unwrap_err().to_string();
    assert!(error.ends_with("line 2 is longer than 64 MiB"), "{error}");
}

#[test]
fn many_files_are_one_source_and_their_paths_are_columns() {
    let mut sample = Sample::new("").ty("id", "int").ty("state", "text");
    sample.write("ny.json", "{\"id\":1}");
    sample.write("nj.json", "{\"id\":2}\nx");
    "{state}.json".clone_into(&mut sample.config.path);
    let [rows, _, lost] = sample.read().unwrap();
    assert_eq!(rows, ["2 | nj", "1 | ny"]);
    assert_eq!(lost, ["`nj.json`, line 2: not a JSON object"]);
}

#[test]
fn an_empty_file_with_declared_columns_has_no_rows() {
    let sample = Sample::new("").ty("id", "int");
    assert_eq!(
        sample.read().unwrap(),
        [Vec::<String>::new(), vec![], vec![]]
    );
    assert_eq!(
        told(Sample::new("\n").check()),
        ["path: the files have no member, and no type is declared"]
    );
}

#[test]
fn all_that_is_wrong_is_told() {
    let mut sample = Sample::new(VISITS).ty("id", "int").ty("ssn", "txt");
    assert_eq!(told(sample.check()), ["types.ssn: there is no type `txt`"]);
    sample = Sample::new(VISITS)
        .ty("id", "int")
        .rename("key", "ID")
        .rename("other", "id");
    sample.config.id = vec!["idd".to_owned()];
    assert_eq!(
        told(sample.check()),
        [
            "columns.key: there is no column `key`",
            "columns.other: there is no column `other`",
            "id.0: there is no column `idd`"
        ]
    );
    let missing = NdjsonConfig {
        path: "visit.ndjson".to_owned(),
        ..sample.config
    };
    let missing = Sample {
        config: missing,
        ..Sample::new("")
    };
    assert_eq!(
        told(missing.check()),
        ["path: there is no file `visit.ndjson`"]
    );
}
