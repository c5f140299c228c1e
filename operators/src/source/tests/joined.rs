//! Small files of Parquet are read as one, and it does not show but in the chunks.

use ::parquet::basic::ZstdLevel;
use ::parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int64Type;
use std::sync::Arc;

use super::*;

/// A file with these numbers, and a text of each.
fn write(folder: &Folder, name: &str, numbers: impl IntoIterator<Item = i64>) {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let texts = numbers.iter().map(|number| format!("{}x", number % 100));
    let texts: ArrayRef = Arc::new(texts.map(Some).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    let rows = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
    let codec = Codec::ZSTD(ZstdLevel::default());
    write_parquet(&folder.path(name), &rows, 1_000_000, codec);
}

/// The chunks that are given of all units, each as its numbers.
fn chunks(source: &Source, ask: &Ask) -> Result<Vec<Vec<i64>>, SourceError> {
    let mut chunks = Vec::new();
    source.read_all(ask, &mut |read| {
        let numbers = read.chunk.rows().column_by_name("n").unwrap();
        chunks.push(numbers.as_primitive::<Int64Type>().values().to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(chunks)
}

fn all() -> Ask {
    Ask::all_of(&names(&["n", "t"]))
}

/// The name of the file that an error is of.
fn file_of(error: &SourceError) -> &str {
    let (SourceError::Broken { path, .. } | SourceError::Prefix { path, .. }) = error else {
        panic!("{error}");
    };
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn small_files_come_in_one_chunk() {
    let folder = Folder::new();
    write(&folder, "a.parquet", 0..3);
    write(&folder, "b.parquet", 10..12);
    write(&folder, "c.parquet", 20..21);
    let source = folder.parquet("*.parquet");
    assert_eq!(
        chunks(&source, &all()).unwrap(),
        [[0, 1, 2, 10, 11, 20].to_vec()]
    );
    let pinned = source.units(&all()).unwrap();
    let units: Vec<&Unit> = pinned.units.iter().collect();
    let mut scanned = Scanned::default();
    for unit in &units {
        let read = source.read(&[unit], &all(), &mut |_| ControlFlow::Continue(()));
        scanned += read.unwrap();
    }
    let together = source.read(&units, &all(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(together.unwrap(), scanned);
}

#[test]
fn chunks_of_several_files_are_bounded_and_reading_stops_behind_one() {
    let folder = Folder::new();
    for file in 0..5 {
        write(
            &folder,
            &format!("{file}.parquet"),
            file * 7000..(file + 1) * 7000,
        );
    }
    let source = folder.parquet("*.parquet");
    let found = chunks(&source, &all()).unwrap();
    let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!(lengths, [14_000, 14_000, 7000]);
    assert_eq!(found.concat(), (0..35_000).collect::<Vec<_>>());
    let mut given = 0;
    let read = source.read_all(&all(), &mut |_| {
        given += 1;
        ControlFlow::Break(())
    });
    assert_eq!((given, read.unwrap().1.rows), (1, 14_000));
}

#[test]
fn files_that_differ_are_read_each_as_it_is() {
    let folder = Folder::new();
    write(&folder, "a.parquet", 0..3);
    write(&folder, "b.parquet", 10..12);
    write(&folder, "d.parquet", 30..31);
    let number: ArrayRef = Arc::new(Int64Array::from(vec![20]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let other = RecordBatch::try_from_iter([("t", texts), ("n", number)]).unwrap();
    write_parquet(&folder.path("c.parquet"), &other, 1, Codec::SNAPPY);
    let expected = [vec![0, 1, 2, 10, 11], vec![20], vec![30]];
    assert_eq!(
        chunks(&folder.parquet("*.parquet"), &all()).unwrap(),
        expected
    );
    // What paths say differs as well.
    write(&folder, "k=1/a.parquet", 1..2);
    write(&folder, "k=2/a.parquet", 2..3);
    write(&folder, "k=2/b.parquet", 3..4);
    let source = folder.parquet("k={k}/*.parquet");
    assert_eq!(chunks(&source, &all()).unwrap(), [vec![1], vec![2, 3]]);
    let ask = Ask::all_of(&names(&["n", "k"]));
    let expected = [(1, "1"), (2, "2"), (3, "2")];
    let expected = expected.map(|(n, k)| vec![Value::Int(n), text(k)]);
    assert_eq!(read(&source, &ask).unwrap(), expected);
    let mut given = 0;
    let outcome = source.read_all(&ask, &mut |_| {
        given += 1;
        ControlFlow::Break(())
    });
    assert_eq!((given, outcome.unwrap().1.rows), (1, 1));
}

#[test]
fn where_rows_have_several_values_of_a_column_files_are_read_alone() {
    let folder = Folder::new();
    for file in 0..2 {
        let lists = [Some(vec![Some(1), Some(2)]), None, Some(vec![])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![file; 3]));
        let rows = RecordBatch::try_from_iter([("l", lists), ("n", numbers)]).unwrap();
        write_parquet(
            &folder.path(&format!("{file}.parquet")),
            &rows,
            10,
            Codec::SNAPPY,
        );
    }
    let source = folder.parquet("*.parquet");
    let ask = Ask::all_of(&names(&["n", "l"]));
    assert_eq!(chunks(&source, &ask).unwrap(), [[0; 3], [1; 3]]);
    assert_eq!(read(&source, &ask).unwrap()[3][1], text("[1,2]"));
}

#[test]
fn of_small_files_only_the_rows_that_are_wanted_are_given() {
    let folder = Folder::new();
    for file in 0..4 {
        write(
            &folder,
            &format!("{file}.parquet"),
            (0..100).map(|row| file * 1000 + row * 7),
        );
    }
    let source = folder.parquet("*.parquet");
    let only = Ask {
        only: Some(Only::of("t", names(&["3x", "49x"]))),
        ..all()
    };
    let condition = "n % 2 = 1 and t <> '21x' and n not between 2000 and 2999";
    for source in [folder.parquet("*.parquet"), where_(source, condition)] {
        for ask in [&only, &all()] {
            let together = read(&source, ask).unwrap();
            let mut alone = Vec::new();
            for unit in &source.units(ask).unwrap().units {
                let read = source.read(&[unit], ask, &mut |read| {
                    let rows = read.chunk.rows();
                    alone.extend((0..rows.num_rows()).map(|row| cells(rows.columns(), row)));
                    ControlFlow::Continue(())
                });
                read.unwrap();
            }
            assert!(!alone.is_empty());
            assert_eq!(together, alone);
        }
    }
}

#[test]
fn of_several_files_the_broken_one_is_named() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        write(&folder, &format!("{name}.parquet"), 0..100);
    }
    let path = folder.path("b.parquet");
    let mut bytes = fs::read(&path).unwrap();
    // Within the first page, behind its header.
    bytes[60..80].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let error = chunks(&folder.parquet("*.parquet"), &all()).unwrap_err();
    assert_eq!(file_of(&error), "b.parquet");
}

#[test]
fn of_several_files_the_one_that_breaks_the_authors_word_is_named() {
    let folder = Folder::new();
    write(&folder, "1-a.parquet", [1, 10, 11]);
    write(&folder, "1-b.parquet", [1, 20, 11]);
    write(&folder, "1-c.parquet", [1, 30, 11]);
    let path = "{prefix}-*.parquet";
    let config = ParquetConfig {
        path: path.to_owned(),
        id: Vec::new(),
        columns: BTreeMap::new(),
        types: BTreeMap::new(),
        prefix_of: map(&[("prefix", "t")]),
        version: Vec::new(),
        condition: None,
    };
    let source = Parquet::check(&config, "visits", &folder.path(path), Tz::UTC);
    let error = chunks(&Source::new(source.unwrap()), &all()).unwrap_err();
    assert_eq!(file_of(&error), "1-b.parquet");
}

/// A column with a value too few would have its rows filled by the next file.
#[test]
fn a_file_without_the_rows_that_it_says_is_told() {
    for said in [2, 4] {
        let folder = Folder::new();
        for name in ["a", "b", "c"] {
            write(&folder, &format!("{name}.parquet"), 0..3);
        }
        let path = folder.path("b.parquet");
        let bytes = fs::read(&path).unwrap();
        let metadata =
            ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes.clone()));
        let mut metadata = metadata.unwrap().into_builder();
        let groups = metadata.take_row_groups().into_iter();
        let groups = groups.map(|group| group.into_builder().set_num_rows(said).build().unwrap());
        let metadata = metadata.set_row_groups(groups.collect()).build();
        let mut footer = Vec::new();
        let writer = ParquetMetaDataWriter::new(&mut footer, &metadata);
        writer.finish().unwrap();
        let end = bytes.len() - 8;
        let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
        let pages = &bytes[..end - length as usize];
        fs::write(&path, [pages, &footer].concat()).unwrap();
        let error = chunks(&folder.parquet("*.parquet"), &all()).unwrap_err();
        assert_eq!(file_of(&error), "b.parquet");
        assert!(error.to_string().contains("values than"), "{error}");
    }
}
