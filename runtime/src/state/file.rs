//! The store's file: found or made, locked, and whole.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Bound;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend};

use super::StateError;
use super::view::View;

/// The store's name in its folder.
const NAME: &str = "state.redb";

thread_local! {
    /// Whether this thread looks for damage: a panic is then an answer, and not to be told.
    static LOOKS_FOR_DAMAGE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is the answer to a look for damage.
pub(super) fn looks_for_damage() -> bool {
    LOOKS_FOR_DAMAGE.get()
}

/// Whether there is a store in the folder.
pub(super) fn exists(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// How much of the store redb keeps in memory. A run reads most of what it reads once.
const CACHE_BYTES: usize = 64 << 20;

/// Makes a store in `folder`, filled by `fill`. The folder and the file are their owner's only.
///
/// It is made under another name and linked to its own: wherever that is cut off, there is a whole
/// store or none; and of two runs that make one at once, the first is kept.
pub(super) fn make(
    folder: &Path,
    fill: impl FnOnce(&Database) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let path = folder.join(NAME);
    let unopened = |source| unopened(&path, source);
    private_folder().create(folder).map_err(unopened)?;
    let new = folder.join(format!("{NAME}.{}", random_id()));
    let file = private_file().open(&new).map_err(unopened)?;
    let filled = store(backend(file, &path)?, &path).and_then(|store| fill(&store));
    let linked = filled.and_then(|()| link(&new, &path).map_err(unopened));
    fs::remove_file(&new).map_err(unopened)?;
    linked
}

/// The store in `folder`, for writing. It was viewed before: redb mends a damaged store that is
/// opened for writing by taking it back a commit, and the next start would find nothing wrong.
pub(super) fn open(folder: &Path) -> Result<(PathBuf, Database), StateError> {
    let path = folder.join(NAME);
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|source| unopened(&path, source))?;
    let store = store(backend(file, &path)?, &path)?;
    Ok((path, store))
}

/// Removes the store in `folder`, under the lock that a run has. The folder goes, too, when nothing
/// else is in it.
pub(super) fn remove(folder: &Path) -> Result<(), StateError> {
    let path = folder.join(NAME);
    let unopened = |source| unopened(&path, source);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(unopened)?,
    };
    let lock = backend(file, &path)?;
    let locked = lock.try_lock_range(Bound::Unbounded, Bound::Unbounded);
    if !locked.map_err(|error| unopened(io::Error::other(error)))? {
        return Err(StateError::InUse { file: path });
    }
    fs::remove_file(&path).map_err(unopened)?;
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(unopened(error)),
        _ => Ok(()),
    }
}

/// A view of the store in `folder`; `None` when there is none.
pub(super) fn view(folder: &Path) -> Result<Option<(PathBuf, Database)>, StateError> {
    let path = folder.join(NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unopened(&path, source)),
    };
    let view = View::of(backend(file, &path)?).map_err(|source| unopened(&path, source))?;
    // Some damage makes redb 4.4 panic: it reads its page allocator before any checksum. A view
    // is in memory, so nothing is left half done.
    LOOKS_FOR_DAMAGE.set(true);
    let looked = catch_unwind(|| whole(view, &path));
    LOOKS_FOR_DAMAGE.set(false);
    let store = looked.unwrap_or_else(|_| {
        let reason = "its page allocator does not hold".to_owned();
        Err(StateError::Damaged {
            file: path.clone(),
            reason,
        })
    })?;
    Ok(Some((path, store)))
}

/// The store on a view once all its checksums are verified: redb does not look at them when it
/// reads a page, and would answer from a damaged one.
fn whole(view: View, path: &Path) -> Result<Database, StateError> {
    let mut store = store(view, path)?;
    let whole = store.check_integrity();
    if whole.map_err(|error| StateError::opening(path.to_owned(), error))? {
        return Ok(store);
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
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
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
