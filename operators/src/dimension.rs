//! The right side of a lookup: rows of any plan, evaluated whole, once per run.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::digest::{bytes_hash, row_hashes};

/// The rows of a dimension, in canonical order.
#[derive(Clone, Debug)]
pub struct Dimension {
    /// The stage that yields them.
    pub name: Arc<str>,
    /// The rows.
    pub rows: RecordBatch,
}

impl Dimension {
    /// A digest of the content: where it is equal, so are the rows.
    pub fn content(&self) -> u128 {
        let columns: Vec<usize> = (0..self.rows.num_columns()).collect();
        let names = self
            .rows
            .schema_ref()
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        let mut bytes = names.collect::<Vec<_>>().join("\0").into_bytes();
        for hash in row_hashes(&self.rows, &columns) {
            bytes.extend(hash.to_le_bytes());
        }
        bytes_hash(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::fixture::table;

    #[test]
    fn the_content_is_that_of_names_and_rows() {
        let content = |rows: &str, name: &str| {
            let dimension = Dimension {
                name: Arc::from(name),
                rows: table(rows).1.rows().clone(),
            };
            dimension.content()
        };
        let one = content("a int | b text\n 1 | x\n - | y", "d");
        assert_eq!(one, content("a int | b text\n 1 | x\n - | y", "other"));
        for other in [
            "a int | b text\n 1 | x",
            "a int | b text\n 1 | x\n 0 | y",
            "a int | c text\n 1 | x\n - | y",
            "a float | b text\n 1 | x\n - | y",
            "a int | b text\n - | y\n 1 | x",
        ] {
            assert_ne!(one, content(other, "d"), "{other}");
        }
        assert_ne!(content("a int", "d"), content("b int", "d"));
    }
}
