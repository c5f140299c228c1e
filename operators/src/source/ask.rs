//! What is wanted of a source.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;

use super::Passing;
use crate::key::Key;
use crate::value::Value;

/// What is wanted of a source.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The columns, in the order in which they are wanted.
    pub columns: Vec<String>,
    /// The column of which the bounds are wanted, unit by unit.
    pub bounds_of: Option<String>,
    /// The rows that the source has, where another stage drives it.
    pub scope: Option<Only>,
    /// The rows that are wanted; all unless given.
    pub only: Option<Only>,
    /// What stages behind the source keep of its rows: it need not give others.
    pub passing: Passing,
    /// What a source that hashes its rows itself is to tell of them; else they are hashed here.
    pub hashed: Option<Hashed>,
}

/// What a source is to tell of its rows beside what they hold: see [`Read::digests`](super::Read).
#[derive(Clone, Debug)]
pub struct Hashed {
    /// The columns that count.
    pub columns: Vec<String>,
    /// The column of the key, where no more than digests are wanted: all rows of a key come as one, of
    /// which there is nothing but the key. Rows without a key come each by itself.
    pub by_key: Option<String>,
}

/// What an answer costs, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// How many rows, or digests, it has.
    pub rows: u64,
    /// Their bytes on their way.
    pub bytes: u64,
}

impl Ask {
    /// These columns of all rows.
    pub fn all_of(columns: &[String]) -> Self {
        Ask {
            columns: columns.to_vec(),
            ..Ask::default()
        }
    }
}

/// The rows of some keys: those whose column, as the text of a key, is one of them. A row without a
/// key (null, or a value that cannot be decoded) is none of them.
#[derive(Clone, Debug)]
pub struct Only {
    column: String,
    keys: Arc<Keys>,
}

#[derive(Debug)]
struct Keys {
    sorted: Vec<String>,
    /// The same, once rows are compared with them: there are many rows to a key.
    hashed: OnceLock<Hashes>,
}

#[expect(
    clippy::disallowed_types,
    reason = "it is asked for texts, and never walked"
)]
type Hashes = std::collections::HashSet<Box<str>>;

impl Only {
    /// The rows whose `column` is one of the texts in `keys`.
    pub fn of(column: &str, mut keys: Vec<String>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Only::of_sorted(column, keys)
    }

    fn of_sorted(column: &str, sorted: Vec<String>) -> Self {
        let hashed = OnceLock::new();
        Only {
            column: column.to_owned(),
            keys: Arc::new(Keys { sorted, hashed }),
        }
    }

    /// The column that holds the keys.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The texts of the keys, sorted.
    pub fn keys(&self) -> &[String] {
        &self.keys.sorted
    }

    /// The rows of some of the keys, by position.
    pub(super) fn part(&self, part: Range<usize>) -> Only {
        Only::of_sorted(&self.column, self.keys()[part].to_vec())
    }

    /// The rows of those keys that are also among others.
    pub(super) fn among(&self, others: &Only) -> Only {
        let keys = self.keys().iter().filter(|key| others.has(key));
        Only::of_sorted(&self.column, keys.cloned().collect())
    }

    /// Whether a row whose column has this value is wanted.
    pub(super) fn holds(&self, value: &Value) -> bool {
        Key::of_value(value).is_some_and(|key| self.has(key.text()))
    }

    fn has(&self, text: &str) -> bool {
        let Keys { sorted, hashed } = &*self.keys;
        let hashed = hashed.get_or_init(|| sorted.iter().map(|key| key.as_str().into()).collect());
        hashed.contains(text)
    }

    /// For each value of the column whether its row is wanted; never null.
    ///
    /// # Panics
    /// When the column has none of our types.
    pub fn wanted(&self, column: &dyn Array) -> BooleanArray {
        if *column.data_type() == DataType::Utf8 {
            let texts = column.as_string::<i32>().iter();
            return texts
                .map(|text| Some(text.is_some_and(|text| self.has(text))))
                .collect();
        }
        let rows = 0..column.len();
        rows.map(|row| Some(self.holds(&Value::at(column, row))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Type;
    use crate::value::column;

    #[test]
    fn a_row_is_wanted_when_its_value_is_the_text_of_a_key() {
        let keys = ["b", "1970-01-02", "7", "", "7"].map(str::to_owned);
        let only = Only::of("x", keys.to_vec());
        let wanted = |ty, cells: &[Value]| {
            let wanted = only.wanted(&column(ty, cells.iter()));
            assert_eq!(wanted.null_count(), 0);
            wanted.values().iter().collect::<Vec<_>>()
        };
        let text = |text: &str| Value::Text(text.to_owned());
        let texts = [text("b"), Value::Null, text("a"), text("")];
        assert_eq!(wanted(Type::Text, &texts), [true, false, false, true]);
        let ints = [Value::Int(7), Value::Null, Value::Int(70)];
        assert_eq!(wanted(Type::Int, &ints), [true, false, false]);
        assert_eq!(wanted(Type::Date, &[Value::Date(1)]), [true]);
    }
}
