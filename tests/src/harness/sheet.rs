//! A CSV file as people edit it: rows found by a cell, cells set by the name of their column.

use std::path::{Path, PathBuf};

/// A CSV file in memory.
#[derive(Clone, Debug)]
pub struct Sheet {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Reads a file.
    pub fn read(path: &Path) -> Sheet {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_path(path)
            .expect("there is a file");
        let texts = |record: csv::Result<csv::StringRecord>| -> Vec<String> {
            record
                .expect("the file is a CSV file")
                .iter()
                .map(str::to_owned)
                .collect()
        };
        let mut records = reader.records().map(texts);
        let header = records.next().expect("a file has a header");
        Sheet {
            path: path.to_owned(),
            header,
            rows: records.collect(),
        }
    }

    /// Writes it to where it was read.
    pub fn write(&self) {
        let mut writer = csv::Writer::from_path(&self.path).expect("the file can be written");
        for row in std::iter::once(&self.header).chain(&self.rows) {
            writer.write_record(row).expect("the file can be written");
        }
        writer.flush().expect("the file can be written");
    }

    /// The names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The rows, each with its cells in the order of the header.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> usize {
        let position = self.header.iter().position(|column| column == name);
        position.unwrap_or_else(|| panic!("no column {name} in {}", self.path.display()))
    }

    /// The cell of the only row whose `key` holds `of`.
    pub fn cell(&self, (key, of): (&str, &str), column: &str) -> &str {
        &self.rows[self.find(key, of)][self.column(column)]
    }

    /// Sets a cell in every row whose `key` holds `of`; there is one.
    pub fn set(&mut self, (key, of): (&str, &str), column: &str, cell: &str) {
        let (key, column) = (self.column(key), self.column(column));
        let mut count = 0;
        for row in self.rows.iter_mut().filter(|row| row[key] == of) {
            cell.clone_into(&mut row[column]);
            count += 1;
        }
        assert!(count > 0, "no such row in {}", self.path.display());
    }

    /// Adds a copy of the only row whose `key` holds `of`, with some cells set.
    pub fn copy(&mut self, (key, of): (&str, &str), cells: &[(&str, &str)]) {
        let mut row = self.rows[self.find(key, of)].clone();
        for (column, cell) in cells {
            (*cell).clone_into(&mut row[self.column(column)]);
        }
        self.rows.push(row);
    }

    /// Adds a row.
    pub fn push(&mut self, row: &[&str]) {
        assert_eq!(row.len(), self.header.len(), "a cell for each column");
        self.rows
            .push(row.iter().map(|cell| (*cell).to_owned()).collect());
    }

    /// Takes the only row whose `key` holds `of` out.
    pub fn delete(&mut self, (key, of): (&str, &str)) -> Vec<String> {
        self.rows.remove(self.find(key, of))
    }

    /// Brings the rows into another order, which the seed chooses.
    pub fn shuffle(&mut self, mut seed: u64) {
        // Fisher and Yates, with the generator of Steele, Lea and Flood (SplitMix64).
        for last in (1..self.rows.len()).rev() {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut draw = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let among = u64::try_from(last).expect("a file is small") + 1;
            let at = usize::try_from((draw ^ (draw >> 31)) % among).expect("it is a row's number");
            self.rows.swap(last, at);
        }
    }

    fn find(&self, key: &str, of: &str) -> usize {
        let column = self.column(key);
        let found: Vec<usize> = (0..self.rows.len())
            .filter(|row| self.rows[*row][column] == of)
            .collect();
        assert_eq!(
            found.len(),
            1,
            "one row of {} has {key} = {of}",
            self.path.display()
        );
        found[0]
    }
}
