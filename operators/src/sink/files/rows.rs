//! The rows of one data file, with the columns that its folder names.

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};

use super::format::Damage;
use super::{Plan, hive, text};
use crate::chunk::batch;
use crate::schema::Schema;
use crate::sink::SinkError;

impl Plan {
    /// Reads all columns of the file that lies at `at` and is called `path` in the manifest.
    pub(super) fn read(&self, path: &str, at: &Path) -> Result<RecordBatch, SinkError> {
        self.read_columns(
            path,
            at,
            &(0..self.full.columns().len()).collect::<Vec<_>>(),
        )
    }

    /// Reads these columns of it, in this order.
    pub(super) fn read_columns(
        &self,
        path: &str,
        at: &Path,
        wanted: &[usize],
    ) -> Result<RecordBatch, SinkError> {
        let column = |at: &usize| self.full.columns()[*at].clone();
        let filed = wanted.iter().filter(|at| self.filed.contains(at));
        let filed = Schema::new(filed.map(column).collect());
        let rows = self.format.read(at, &filed);
        let rows = rows.map_err(|damage| self.damaged(path, damage))?;
        if self.partition_by.is_empty() {
            return Ok(rows);
        }
        let values = self.values(path)?;
        let mut in_file = rows.columns().iter();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for at in wanted {
            let Some(value) = self.partition_by.iter().position(|column| column == at) else {
                columns.extend(in_file.next().cloned());
                continue;
            };
            let ty = self.full.kind(*at);
            let constant = text::constant(ty, values[value].as_deref(), rows.num_rows());
            columns.push(constant.ok_or_else(|| {
                let (name, _) = &self.full.columns()[*at];
                let what = format!("lies in a folder whose `{name}` is no {ty}");
                self.damaged(path, Damage::Content(what))
            })?);
        }
        let wanted = Schema::new(wanted.iter().map(column).collect());
        Ok(batch(wanted.arrow(), columns, rows.num_rows()).expect("a file's columns are as long"))
    }

    /// How many rows a file holds.
    pub(super) fn count(&self, path: &str, at: &Path) -> Result<u64, SinkError> {
        let filed = self.filed.iter().map(|at| self.full.columns()[*at].clone());
        let counted = self.format.count(at, &Schema::new(filed.collect()));
        counted.map_err(|damage| self.damaged(path, damage))
    }

    /// The values that the folders of a path name, in the order of the columns.
    pub(super) fn values(&self, path: &str) -> Result<Vec<Option<String>>, SinkError> {
        let mut segments: Vec<&str> = path.split('/').collect();
        segments.pop();
        let named = segments.iter().map(|segment| hive::parse(segment));
        let named: Option<Vec<_>> = named.collect();
        let wanted = self.partition_by.iter();
        let wanted: Vec<&str> = wanted
            .map(|at| self.full.columns()[*at].0.as_str())
            .collect();
        let fits = named.filter(|named| {
            named
                .iter()
                .map(|(name, _)| name)
                .eq(wanted.iter().copied())
        });
        let Some(named) = fits else {
            let expected = match wanted.as_slice() {
                [] => "in the folder itself".to_owned(),
                names => format!("in folders named by {}", names.join(", ")),
            };
            return Err(SinkError::Unfit {
                sink: self.sink.clone(),
                what: format!("`{path}` does not lie {expected}"),
                help: format!(
                    "move {} away and run `tidemill adopt PIPELINE {}`: all rows are written anew",
                    self.place.path().display(),
                    self.sink
                ),
            });
        };
        Ok(named.into_iter().map(|(_, value)| value).collect())
    }

    /// Says that a file cannot be read.
    pub(super) fn damaged(&self, path: &str, damage: Damage) -> SinkError {
        match damage {
            Damage::Io(error) => self.failed("reading", &self.place.file(path), error),
            Damage::Content(what) => SinkError::Unfit {
                sink: self.sink.clone(),
                what: format!("{} {what}", self.place.file(path).display()),
                help: self.restore(),
            },
        }
    }

    /// What to do where files are not as they were written.
    pub(super) fn restore(&self) -> String {
        format!(
            "put it back as it was; or move {} away and run `tidemill adopt PIPELINE {}`: what is missing \
             then is written anew by the next run",
            self.place.path().display(),
            self.sink
        )
    }
}
