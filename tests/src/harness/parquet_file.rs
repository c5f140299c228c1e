//! Parquet files, written and read with the library that everybody uses.

use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

/// Writes a file whose row groups have at most `group_rows` rows; its folder is made if it must be.
pub fn write_parquet(path: &Path, rows: &RecordBatch, group_rows: usize) {
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).expect("the folder is ours");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows));
    let file = File::create(path).expect("the folder is ours");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties.build()))
        .expect("Parquet has all types");
    writer.write(rows).expect("the file is ours");
    writer.close().expect("the file is ours");
}

/// The rows of a file, or of all files in a folder and below it; none where nothing is.
pub fn read_parquet(path: &Path) -> Vec<RecordBatch> {
    if path.is_dir() {
        let files = fs::read_dir(path).expect("the folder is ours");
        let mut files: Vec<_> = files
            .map(|file| file.expect("the folder can be read").path())
            .filter(|file| file.is_dir() || file.extension().is_some_and(|it| it == "parquet"))
            .collect();
        files.sort();
        return files.iter().flat_map(|file| read_parquet(file)).collect();
    }
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.expect("it is a Parquet file");
    reader.map(|rows| rows.expect("it can be read")).collect()
}
