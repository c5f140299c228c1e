//! What the commit of a sink does on disk, and what the system says to it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::Plan;
use super::hive;
use super::manifest::{DataFile, Manifest};
use super::place::sync;
use crate::fault::die_at;
use crate::sink::SinkError;

impl Plan {
    /// The manifest of the last commit.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>, SinkError> {
        let path = self.place.manifest();
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("reading", &path, error)),
            Ok(bytes) => Manifest::parse(&bytes)
                .map(Some)
                .map_err(|what| SinkError::Unfit {
                    sink: self.sink.clone(),
                    what: format!("{} {what}", path.display()),
                    help: self.restore(),
                }),
        }
    }

    /// Puts a manifest in place, when all that it names is on disk.
    pub(super) fn put(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let next = self.place.next_manifest(manifest.fence().epoch);
        let put = || -> io::Result<()> {
            let mut folders = BTreeSet::from([self.place.folder.clone()]);
            for file in manifest.pending() {
                let mut folder = self.place.file(file.folder());
                while folder != self.place.folder && folders.insert(folder.clone()) {
                    folder.pop();
                }
            }
            folders.iter().try_for_each(|folder| sync(folder))?;
            let mut file = File::create(&next)?;
            io::Write::write_all(&mut file, &manifest.bytes())?;
            file.sync_all()?;
            die_at("manifest-written");
            fs::rename(&next, self.place.manifest())?;
            sync(&self.place.folder)
        };
        put().map_err(|error| self.failed("committing", &self.place.manifest(), error))
    }

    /// Writes the columns of files, and gives the size.
    pub(super) fn write(&self, at: &Path, rows: &RecordBatch) -> io::Result<u64> {
        if let Some(folder) = at.parent() {
            fs::create_dir_all(folder)?;
        }
        let rows = rows
            .project(&self.filed)
            .expect("the columns of files are among all");
        let file = self.format.write(File::create(at)?, &rows)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }

    /// Makes the folder of the files, in one that is there.
    pub(super) fn make_folder(&self) -> Result<(), SinkError> {
        let folder = &self.place.folder;
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        // Other sinks may lie beside a folder of files, in one that is missing as well.
        let beside = folder.parent().filter(|_| self.place.single.is_none());
        if let Some(beside) = beside.filter(|beside| !beside.as_os_str().is_empty()) {
            // Where that is refused, so is what follows.
            let _ = fs::create_dir(beside);
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let there = folder.ancestors().find(|above| above.is_dir());
                let help = there.map_or_else(
                    || "make it, or name another path".to_owned(),
                    |there| format!("{} is there: make the folders below it", there.display()),
                );
                let what = format!("there is no folder to make {} in", folder.display());
                Err(SinkError::Unfit {
                    sink: self.sink.clone(),
                    what,
                    help,
                })
            }
            Err(error) if !folder.is_dir() => Err(self.failed("making", folder, error)),
            _ => Ok(()),
        }
    }

    /// The path of the `number`th new file of a commit that found these.
    pub(super) fn new_path(&self, folder: &str, files: &[DataFile], number: usize) -> String {
        if let Some(name) = &self.place.single {
            return name.clone();
        }
        let numbers = files.iter().filter_map(|file| {
            let (_, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            let number = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
            number.parse::<usize>().ok()
        });
        let number = numbers.max().map_or(0, |last| last + 1) + number;
        let name = format!("part-{number:05}.parquet");
        if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        }
    }

    /// The path of the file that holds no rows.
    pub(super) fn empty_path(&self) -> String {
        let null = |column: &usize| hive::segment(&self.schema.columns()[*column].0, None);
        let folder: Option<Vec<String>> = self.partition_by.iter().map(null).collect();
        self.new_path(&folder.unwrap_or_default().join("/"), &[], 0)
    }

    /// Removes folders that no file is left in, up to the sink's own.
    pub(super) fn remove_empty(&self, folder: Option<&Path>) {
        let mut folder = folder;
        while let Some(empty) = folder.filter(|folder| *folder != self.place.folder) {
            if fs::remove_dir(empty).is_err() {
                return;
            }
            folder = empty.parent();
        }
    }

    /// The error of a merge that no memory holds.
    pub(super) fn too_large(&self, error: ArrowError) -> SinkError {
        SinkError::Definite {
            sink: self.sink.clone(),
            doing: "merging rows",
            source: Box::new(error),
        }
    }

    /// The error of a call of the system on a file.
    pub(super) fn failed(&self, doing: &'static str, path: &Path, error: io::Error) -> SinkError {
        use io::ErrorKind as Kind;
        let stays = [
            Kind::NotFound,
            Kind::PermissionDenied,
            Kind::ReadOnlyFilesystem,
            Kind::NotADirectory,
            Kind::IsADirectory,
            Kind::InvalidFilename,
        ];
        let is_definite = stays.contains(&error.kind());
        let source = AtPath {
            path: path.to_owned(),
            source: error,
        };
        SinkError::failed(is_definite, &self.sink, doing, source)
    }
}

/// Which file a call failed on.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}
