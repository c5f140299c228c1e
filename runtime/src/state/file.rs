//! The store's file: found or made, locked, and whole.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use operators::fault;
use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend};

use super::view::{Lock, View};
use super::{Share, StateError};

/// Where a share of a state lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// How many processes the state is for.
    pub(super) processes: usize,
    /// The process that keeps the share.
    pub(super) process: usize,
    /// The file.
    pub(super) path: PathBuf,
}

impl Place {
    /// Of a share in a pipeline's folder.
    pub(super) fn of(folder: &Path, share: &Share) -> Self {
        let Share {
            process, processes, ..
        } = *share;
        let name = match processes {
            1 => "state.redb".to_owned(),
            _ => format!("state-{process}-of-{processes}.redb"),
        };
        Place {
            processes,
            process,
            path: folder.join(name),
        }
    }

    /// Of all shares that lie in a folder, by their number of processes.
    pub(super) fn all(folder: &Path) -> Vec<Place> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let share = |name: &str| {
            let name = name.strip_prefix("state")?.strip_suffix(".redb")?;
            if name.is_empty() {
                return Some(Share::alone());
            }
            let (process, processes) = name.strip_prefix('-')?.split_once("-of-")?;
            Some(Share {
                process: process.parse().ok()?,
                processes: processes.parse().ok()?,
                id: None,
            })
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let places = names.filter_map(|name| {
            let place = Place::of(folder, &share(name.to_str()?)?);
            // A share has one name only, and is one of its number.
            let is_named = place.path.file_name() == Some(&name);
            (is_named && place.process < place.processes).then_some(place)
        });
        let mut places: Vec<Place> = places.collect();
        places.sort();
        places
    }
}

thread_local! {
    /// Whether this thread looks for damage: a panic is then an answer, and not to be told.
    static LOOKS_FOR_DAMAGE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is the answer to a look for damage.
pub(super) fn looks_for_damage() -> bool {
    LOOKS_FOR_DAMAGE.get()
}

/// How much of the store redb keeps in memory. A run reads most of what it reads once.
const CACHE_BYTES: usize = 64 << 20;

/// Makes a store, filled by `fill`.
pub(super) fn make(
    place: &Place,
    fill: impl FnOnce(&Database) -> Result<(), StateError>,
) -> Result<(), StateError> {
    named(place, |file| fill(&store(file, &place.path)?))
}

/// Makes a store of which `fill` makes little: it comes to be in memory, and then to the file at once.
/// redb would wait for the disk with each of its steps.
pub(super) fn make_small(
    place: &Place,
    fill: impl FnOnce(&Database) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let path = &place.path;
    named(place, |file| {
        let view = View::of(file, Lock::Alone).map_err(|source| unopened(path, source))?;
        fill(&store(view.clone(), path)?)?;
        view.let_through().map_err(|source| unopened(path, source))
    })
}

/// Makes the file of a store, as `write` writes it. The folder and the file are their owner's only.
///
/// It is made under another name and linked to its own: wherever that is cut off, there is a whole
/// store or none; and of two runs that make one at once, the first is kept.
fn named(
    place: &Place,
    write: impl FnOnce(FileBackend) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let path = &place.path;
    let unopened = |source| unopened(path, source);
    if let Some(folder) = path.parent() {
        private_folder().create(folder).map_err(unopened)?;
    }
    let mut new = path.clone().into_os_string();
    new.push(format!(".{}", random_id()));
    let new = PathBuf::from(new);
    let file = private_file().open(&new).map_err(unopened)?;
    let written = write(backend(file, path)?);
    let linked = written.and_then(|()| link(&new, path).map_err(unopened));
    fs::remove_file(&new).map_err(unopened)?;
    linked
}

/// The store at a place for a run, which nobody else has meanwhile; `None` when there is none. It is not
/// proved, so what is written lands in the view: redb mends a damaged store that is opened for writing
/// by taking it back a commit, and the next start would find nothing wrong.
pub(super) fn unproved(place: &Place) -> Result<Option<(Database, View)>, StateError> {
    let Some(view) = viewed(place, Lock::Alone)? else {
        return Ok(None);
    };
    let path = &place.path;
    let store = looking(path, || store(view.clone(), path))?;
    Ok(Some((store, view)))
}

/// Removes the store at a place, under the lock that a run has. The folder goes, too, when nothing
/// else is in it.
pub(super) fn remove(place: &Place) -> Result<(), StateError> {
    let path = &place.path;
    let unopened = |source| unopened(path, source);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(unopened)?,
    };
    let lock = backend(file, path)?;
    let locked = lock.try_lock_range(Bound::Unbounded, Bound::Unbounded);
    if !locked.map_err(|error| unopened(io::Error::other(error)))? {
        let file = path.clone();
        return Err(StateError::InUse { file });
    }
    fs::remove_file(path).map_err(unopened)?;
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(unopened(error)),
        _ => Ok(()),
    }
}

/// Removes stores of a folder that this process has claimed. No power failure brings them back.
pub(super) fn forget(folder: &Path, places: &[Place]) -> Result<(), StateError> {
    for Place { path, .. } in places {
        fs::remove_file(path).map_err(|source| unopened(path, source))?;
        fault::die_at("share-removed");
    }
    sync(folder).map_err(|source| unopened(folder, source))
}

/// Removes what is left in a folder of stores whose making was cut off. To be called by who has
/// claimed all stores there: nobody makes one meanwhile.
pub(super) fn sweep(folder: &Path) -> Result<(), StateError> {
    let entries = fs::read_dir(folder).map_err(|source| unopened(folder, source))?;
    let is_left = |name: &str| {
        let id = name.split_once(".redb.").map(|(_, id)| id);
        let is_id = |id: &str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        name.starts_with("state") && id.is_some_and(is_id)
    };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_left) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| unopened(&path, source))?;
        }
    }
    Ok(())
}

/// A view of the store at a place, which others may view, too; `None` when there is none.
pub(super) fn view(place: &Place) -> Result<Option<Database>, StateError> {
    look(place, Lock::Shared)
}

/// A view that nobody shares: no run and no other view has the store meanwhile.
pub(super) fn claim(place: &Place) -> Result<Option<Database>, StateError> {
    look(place, Lock::Alone)
}

fn look(place: &Place, lock: Lock) -> Result<Option<Database>, StateError> {
    let Some(view) = viewed(place, lock)? else {
        return Ok(None);
    };
    let path = &place.path;
    let mut store = looking(path, || store(view, path))?;
    prove(&mut store, path)?;
    Ok(Some(store))
}

fn viewed(place: &Place, lock: Lock) -> Result<Option<View>, StateError> {
    let path = &place.path;
    // The system locks a file for one alone only where it could be written.
    let opened = OpenOptions::new()
        .read(true)
        .write(lock == Lock::Alone)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unopened(path, source)),
    };
    let view = View::of(backend(file, path)?, lock).map_err(|source| unopened(path, source))?;
    Ok(Some(view))
}

/// Looks into a store that may be damaged. Some damage makes redb 4.4 panic: it reads its page allocator
/// before any checksum. A view is in memory, so nothing is left half done.
pub(super) fn looking<T>(
    path: &Path,
    look: impl FnOnce() -> Result<T, StateError>,
) -> Result<T, StateError> {
    LOOKS_FOR_DAMAGE.set(true);
    let looked = catch_unwind(AssertUnwindSafe(look));
    LOOKS_FOR_DAMAGE.set(false);
    looked.unwrap_or_else(|_| {
        Err(StateError::Damaged {
            file: path.to_owned(),
            reason: "its page allocator does not hold".to_owned(),
        })
    })
}

/// Verifies all checksums of a store on a view: redb does not look at them when it reads a page, and
/// would answer from a damaged one.
pub(super) fn prove(store: &mut Database, path: &Path) -> Result<(), StateError> {
    let whole = looking(path, || {
        let whole = store.check_integrity();
        whole.map_err(|error| StateError::opening(path.to_owned(), error))
    });
    if whole? {
        return Ok(());
    }
    Err(StateError::Damaged {
        file: path.to_owned(),
        reason: "a checksum does not match".to_owned(),
    })
}

/// The store on a backend; an empty one becomes an empty store.
pub(super) fn store(backend: impl StorageBackend, path: &Path) -> Result<Database, StateError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(|error| StateError::opening(path.to_owned(), error))
}

/// 128 bits as hex. The keys of a [`RandomState`] come from the system's source of randomness.
pub(super) fn random_id() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}

/// Gives a new store its name, unless there is one by now.
fn link(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Else a power failure could take the name, and with it all that was synced into the file.
    path.parent().map_or(Ok(()), sync)
}

/// Brings the names in a folder to disk.
#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Brings the names in a folder to disk, which the system does by itself.
#[cfg(not(unix))]
fn sync(_folder: &Path) -> io::Result<()> {
    Ok(())
}

fn backend(file: File, path: &Path) -> Result<FileBackend, StateError> {
    FileBackend::new(file).map_err(|error| StateError::opening(path.to_owned(), error))
}

fn unopened(path: &Path, source: io::Error) -> StateError {
    let file = path.to_owned();
    StateError::File { file, source }
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
