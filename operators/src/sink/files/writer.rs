//! The commit of a sink in files.
//!
//! ```text
//! begin    lock; the manifest's fence compared
//! apply    files under temporary names, synced
//! commit   manifest under a temporary name, synced --> renamed: this is the commit
//!          --> files renamed --> old files removed --> unlocked
//! open     renames and removals that a dead writer owed are made up; what else it left is removed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};

use super::ids::{Ids, common, hashes};
use super::manifest::{DataFile, Manifest};
use super::merge::{Hits, Merge, Places};
use super::place::sync;
use super::{OWNER, Plan};
use crate::fault::die_at;
use crate::sink::mode::Mode;
use crate::sink::policy::Lookups;
use crate::sink::{Applied, Change, Fence, Receive, SinkError, Updates, Writer};

/// What writes one sink.
pub(super) struct FileWriter {
    plan: Arc<Plan>,
    dry: bool,
    /// As the last commit left it.
    manifest: Option<Manifest>,
    /// The hashes of the ids in each file of a folder, in order, as far as they are known.
    held: BTreeMap<String, Vec<u64>>,
    begun: Option<Begun>,
}

/// What happens between `begin` and `commit`.
struct Begun {
    /// Nobody else writes as long as it is open.
    _lock: Option<File>,
    next: Fence,
    /// The files of the sink when it is committed.
    files: Vec<DataFile>,
    /// Those that this epoch has written.
    written: BTreeSet<String>,
}

impl FileWriter {
    /// Brings the files to where the last commit wanted them, unless `dry`.
    pub(super) fn open(plan: &Arc<Plan>, dry: bool) -> Result<Self, SinkError> {
        let mut writer = FileWriter {
            plan: Arc::clone(plan),
            dry,
            manifest: None,
            held: BTreeMap::new(),
            begun: None,
        };
        let _lock = writer.lock()?;
        writer.manifest = plan.manifest()?;
        if !dry {
            writer.settle()?;
        }
        Ok(writer)
    }

    /// Takes the lock. A dry writer needs none: what it reads is committed.
    fn lock(&self) -> Result<Option<File>, SinkError> {
        if self.dry {
            return Ok(None);
        }
        self.plan.make_folder()?;
        let path = self.plan.place.lock();
        let failed = |error| self.plan.failed("locking", &path, error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        Ok(Some(file))
    }

    /// Gives files their final names, removes old ones and what died writers left.
    fn settle(&mut self) -> Result<(), SinkError> {
        let plan = &self.plan;
        let mut folders = BTreeSet::new();
        for file in self.manifest.iter().flat_map(Manifest::pending) {
            let (from, to) = (
                plan.place.temporary(&file.path, file.epoch),
                plan.place.file(&file.path),
            );
            if is_written(&from, file) {
                let renamed = fs::rename(&from, &to);
                renamed.map_err(|error| plan.failed("renaming", &from, error))?;
            }
            folders.extend(to.parent().map(Path::to_owned));
            die_at("file-renamed");
        }
        let removed = self.manifest.iter().flat_map(|manifest| &manifest.removed);
        let removed = removed.map(|path| plan.place.file(path));
        let debris = plan.place.debris();
        let debris = debris.map_err(|error| plan.failed("listing", &plan.place.folder, error))?;
        for path in removed.chain(debris) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| plan.failed("removing", &path, error))?,
            }
            // A folder without rows goes with its last file; one that is not empty stays.
            if plan.place.single.is_none() {
                plan.remove_empty(path.parent());
            }
            die_at("file-removed");
        }
        for folder in folders {
            sync(&folder).map_err(|error| plan.failed("syncing", &folder, error))?;
        }
        Ok(())
    }

    /// Where a file lies now.
    fn at(&self, file: &DataFile) -> PathBuf {
        let plan = &self.plan;
        let temporary = plan.place.temporary(&file.path, file.epoch);
        let mut begun = self.begun.iter();
        let is_ours = begun.any(|begun| begun.written.contains(&file.path));
        let mut pending = self.manifest.iter().flat_map(Manifest::pending);
        let is_pending = pending.any(|pending| pending == file);
        if is_ours || (is_pending && is_written(&temporary, file)) {
            temporary
        } else {
            plan.place.file(&file.path)
        }
    }

    /// The files that are really there, whoever wrote them.
    fn present(&self) -> Result<Vec<DataFile>, SinkError> {
        let plan = &self.plan;
        let found = plan.place.found();
        let mut found = found.map_err(|error| plan.failed("listing", &plan.place.folder, error))?;
        let known = self.manifest.iter().flat_map(|manifest| &manifest.files);
        let known: BTreeMap<&str, &DataFile> =
            known.map(|file| (file.path.as_str(), file)).collect();
        found.extend(known.keys().map(|path| (*path).to_owned()));
        let removed = self.manifest.iter().flat_map(|manifest| &manifest.removed);
        for path in removed {
            found.remove(path);
        }
        let mut files = Vec::new();
        for path in found {
            let known = known.get(path.as_str());
            let at = known.map_or_else(|| plan.place.file(&path), |file| self.at(file));
            let bytes = match fs::metadata(&at) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found
                    .map_err(|error| plan.failed("reading", &at, error))?
                    .len(),
            };
            files.push(match known {
                Some(file) if file.bytes == bytes => (*file).clone(),
                _ => DataFile {
                    rows: plan.count(&path, &at)?,
                    path,
                    bytes,
                    epoch: 0,
                },
            });
        }
        Ok(files)
    }

    /// Which files seem to hold the ids of a merge.
    fn hits(&mut self, ids: &Ids, files: &[DataFile]) -> Result<Hits, SinkError> {
        let plan = Arc::clone(&self.plan);
        if plan.place.single.is_some() {
            // The only file is read in any case.
            let file = (!files.is_empty()).then_some(0);
            let holding = vec![file; ids.len()];
            return Ok(Hits {
                files: file.into_iter().collect(),
                holding,
            });
        }
        let mut hits = Hits {
            files: BTreeSet::new(),
            holding: vec![None; ids.len()],
        };
        if plan.mode == Mode::Append {
            // The ids of a log are new with every epoch.
            return Ok(hits);
        }
        let sought = ids.hashes();
        for (number, file) in files.iter().enumerate() {
            if !self.held.contains_key(&file.path) {
                let rows = plan.read_columns(&file.path, &self.at(file), &plan.key)?;
                let key: Vec<usize> = (0..plan.key.len()).collect();
                self.held.insert(file.path.clone(), hashes(&rows, &key));
            }
            common(&sought, &self.held[&file.path], &mut |id| {
                hits.files.insert(number);
                hits.holding[id].get_or_insert(number);
            });
        }
        Ok(hits)
    }

    /// Writes a file under its temporary name; one without rows is dropped from a folder.
    fn write(&mut self, path: String, rows: &RecordBatch) -> Result<(), SinkError> {
        let plan = Arc::clone(&self.plan);
        let Some(begun) = self.begun.as_mut().filter(|_| !self.dry) else {
            return Ok(());
        };
        begun.files.retain(|file| file.path != path);
        self.held.remove(&path);
        if rows.num_rows() == 0 && plan.place.single.is_none() {
            return Ok(());
        }
        let epoch = begun.next.epoch;
        let at = plan.place.temporary(&path, epoch);
        let written = plan.write(&at, rows);
        let bytes = written.map_err(|error| plan.failed("writing", &at, error))?;
        if plan.place.single.is_none() {
            self.held.insert(path.clone(), hashes(rows, &plan.key));
        }
        begun.written.insert(path.clone());
        let rows = rows.num_rows() as u64;
        begun.files.push(DataFile {
            path,
            rows,
            bytes,
            epoch,
        });
        die_at("file-written");
        Ok(())
    }

    /// The files of a commit: none without rows beside others, and one where there are no rows.
    fn complete(&mut self) -> Result<(), SinkError> {
        let begun = self.begun.as_mut().expect("a commit has begun");
        if begun.files.iter().any(|file| file.rows > 0) {
            begun.files.retain(|file| file.rows > 0);
        }
        if begun.files.is_empty() {
            let plan = Arc::clone(&self.plan);
            let path = plan.empty_path();
            let epoch = begun.next.epoch;
            let at = plan.place.temporary(&path, epoch);
            let rows = RecordBatch::new_empty(plan.full.arrow());
            let bytes = plan
                .write(&at, &rows)
                .map_err(|error| plan.failed("writing", &at, error))?;
            begun.written.insert(path.clone());
            begun.files.push(DataFile {
                path,
                rows: 0,
                bytes,
                epoch,
            });
        }
        Ok(())
    }
}

impl Writer for FileWriter {
    fn fence(&mut self) -> Result<Option<Fence>, SinkError> {
        let plan = &self.plan;
        let ours = self
            .manifest
            .as_ref()
            .filter(|manifest| manifest.pipeline == plan.pipeline && manifest.sink == plan.sink);
        Ok(ours.map(Manifest::fence))
    }

    fn has_rows(&mut self) -> Result<bool, SinkError> {
        Ok(self.present()?.iter().any(|file| file.rows > 0))
    }

    fn intact(&mut self) -> Result<(), SinkError> {
        let Some(manifest) = &self.manifest else {
            return Ok(());
        };
        let plan = &self.plan;
        let present = self.present()?;
        let unfit = |path: &str, what: &str| {
            Err(SinkError::Unfit {
                sink: plan.sink.clone(),
                what: format!("{} {what}", plan.place.file(path).display()),
                help: plan.restore(),
            })
        };
        for file in &manifest.files {
            match present.iter().find(|present| present.path == file.path) {
                None => return unfit(&file.path, "is gone, and the last commit left it there"),
                Some(found) if found.bytes != file.bytes => {
                    let what = format!(
                        "has {} bytes, and the last commit left it with {}",
                        found.bytes, file.bytes
                    );
                    return unfit(&file.path, &what);
                }
                Some(_) => {}
            }
        }
        let is_known = |path: &str| manifest.files.iter().any(|file| file.path == path);
        match present.iter().find(|file| !is_known(&file.path)) {
            Some(file) => unfit(&file.path, "is there, and no commit of this sink wrote it"),
            None => Ok(()),
        }
    }

    fn begin(&mut self, expected: Option<&Fence>, next: &Fence) -> Result<(), SinkError> {
        let lock = self.lock()?;
        self.manifest = self.plan.manifest()?;
        let found = self.fence()?;
        if found.as_ref() != expected {
            return Err(SinkError::FenceMoved {
                sink: self.plan.sink.clone(),
                expected: expected.cloned(),
                found,
            });
        }
        let files = self.present()?;
        for file in &files {
            self.plan.values(&file.path)?;
        }
        self.begun = Some(Begun {
            _lock: lock,
            next: next.clone(),
            files,
            written: BTreeSet::new(),
        });
        Ok(())
    }

    fn apply(
        &mut self,
        updates: &Updates,
        _lookups: &Lookups,
        mut changes: Option<&mut Vec<Change>>,
    ) -> Result<Applied, SinkError> {
        let plan = Arc::clone(&self.plan);
        let files = self
            .begun
            .as_ref()
            .expect("a commit has begun")
            .files
            .clone();
        let mut merge = Merge::of(&plan, updates);
        let hits = self.hits(merge.ids(), &files)?;
        let Places { merged, made } = merge.places(&files, &hits);
        for (number, placed) in merged {
            let file = &files[number];
            let old = plan.read(&file.path, &self.at(file))?;
            let rows = merge.file(&old, &placed, changes.as_deref_mut());
            if let Some(rows) = rows.map_err(|error| plan.too_large(error))? {
                self.write(file.path.clone(), &rows)?;
            }
        }
        let none = RecordBatch::new_empty(plan.full.arrow());
        for (number, (folder, placed)) in made.into_iter().enumerate() {
            let rows = merge.file(&none, &placed, changes.as_deref_mut());
            if let Some(rows) = rows.map_err(|error| plan.too_large(error))? {
                self.write(plan.new_path(&folder, &files, number), &rows)?;
            }
        }
        Ok(merge.applied(changes))
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        if self.dry {
            return self.rollback();
        }
        if self.begun.is_none() {
            // Only what a commit owes on disk is left to do.
            return self.settle();
        }
        self.complete()?;
        let plan = Arc::clone(&self.plan);
        let begun = self.begun.as_ref().expect("a commit has begun");
        let stays = |path: &String| begun.files.iter().any(|file| file.path == *path);
        let before = self.manifest.iter().flat_map(|manifest| &manifest.files);
        let removed = before
            .map(|file| file.path.clone())
            .filter(|path| !stays(path));
        let names = (
            plan.pipeline.as_str(),
            plan.sink.as_str(),
            plan.fingerprint.as_str(),
        );
        let manifest = Manifest::new(names, &begun.next, begun.files.clone(), removed.collect());
        plan.put(&manifest)?;
        die_at("manifest-renamed");
        self.manifest = Some(manifest);
        // From here on it has happened, and nothing of it is taken back; the lock is held on.
        let _begun = self.begun.take();
        self.settle()
    }

    fn rollback(&mut self) -> Result<(), SinkError> {
        let Some(begun) = self.begun.take().filter(|_| !self.dry) else {
            return Ok(());
        };
        self.held.clear();
        if self.plan.manifest()?.map(|manifest| manifest.fence()) == Some(begun.next.clone()) {
            // A commit that failed has happened nevertheless: what it owes is made up later.
            return Ok(());
        }
        for path in &begun.written {
            let at = self.plan.place.temporary(path, begun.next.epoch);
            match fs::remove_file(&at) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| self.plan.failed("removing", &at, error))?,
            }
            self.plan.remove_empty(at.parent());
        }
        Ok(())
    }

    fn live_rows(&mut self, receive: &mut Receive<'_>) -> Result<(), SinkError> {
        for file in self.present()? {
            self.plan.values(&file.path)?;
            let rows = self.plan.read(&file.path, &self.at(&file))?;
            let owners = match rows.column_by_name(OWNER) {
                Some(owners) => {
                    let owners = owners.as_string::<i32>().iter();
                    owners.map(|owner| owner.map(str::to_owned)).collect()
                }
                None => vec![None; rows.num_rows()],
            };
            let columns: Vec<usize> = (0..self.plan.schema.columns().len()).collect();
            let rows = rows
                .project(&columns)
                .expect("the sink's columns come first");
            if let ControlFlow::Break(()) = receive(rows, owners) {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the sink is opened again.
        self.rollback().ok();
    }
}

/// Whether a file of this size lies there: what a writer left that died before its commit may have
/// the same name.
fn is_written(temporary: &Path, file: &DataFile) -> bool {
    fs::metadata(temporary).is_ok_and(|found| found.len() == file.bytes)
}
