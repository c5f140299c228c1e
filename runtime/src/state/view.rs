//! A store that is read and stays as it is, until somebody is to write it.
//!
//! redb writes when it opens a store: it repairs one that a crash left behind, and checks it. Here
//! what it writes lands in memory, over the pages of the file, so that `plan` and `verify` see what
//! the next run would see and the file keeps every byte. The file is locked as by a reader: several
//! views share it, and it cannot be viewed during a run. A run views it alone, and once the store is
//! proved lets what is written through to the file; who brings the state to another number of processes
//! views it alone, too.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// A file, and over it what was written meanwhile.
#[derive(Clone, Debug)]
pub(super) struct View(Arc<Viewed>);

#[derive(Debug)]
struct Viewed {
    file: FileBackend,
    lock: Lock,
    written: Mutex<Written>,
    /// Whether what is written goes to the file.
    is_let_through: AtomicBool,
}

/// Who else may view a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Everybody.
    Shared,
    /// Nobody.
    Alone,
}

#[derive(Default)]
struct Written {
    /// Pages that differ from the file's, by their number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// The length of the store.
    len: u64,
    /// How many bytes of the file still show: the store was never shorter than this.
    shown: u64,
}

impl View {
    pub(super) fn of(file: FileBackend, lock: Lock) -> io::Result<Self> {
        let written = Mutex::new(Written::nothing(file.len()?));
        Ok(View(Arc::new(Viewed {
            file,
            lock,
            written,
            is_let_through: AtomicBool::new(false),
        })))
    }

    /// Writes to the file what was written over it, and from now on all that is written. The first page
    /// comes last: it says what of the others counts.
    pub(super) fn let_through(&self) -> io::Result<()> {
        let (mut written, file) = (self.written(), &self.0.file);
        // What does not show any more is zero where the store is longer again.
        for len in [written.shown, written.len] {
            if file.len()? != len {
                file.set_len(len)?;
            }
        }
        let Written { pages, len, .. } = std::mem::replace(&mut *written, Written::nothing(0));
        for (page, bytes) in pages.iter().rev() {
            if *page == 0 {
                file.sync_data()?;
            }
            let start = page * PAGE_BYTES;
            let count = usize::try_from((len - start).min(PAGE_BYTES));
            file.write(start, &bytes[..count.expect("it is at most a page")])?;
        }
        file.sync_data()?;
        self.0.is_let_through.store(true, Ordering::Release);
        Ok(())
    }

    /// The file, where what is written goes there.
    fn through(&self) -> Option<&FileBackend> {
        let is_let_through = self.0.is_let_through.load(Ordering::Acquire);
        is_let_through.then_some(&self.0.file)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0
            .written
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// The bytes of a page as the file has them, zeros where it does not show.
    fn page_of_file(&self, page: u64, shown: u64) -> io::Result<Box<[u8; PAGE]>> {
        let mut bytes = Box::new([0; PAGE]);
        let start = page * PAGE_BYTES;
        let there = shown.saturating_sub(start).min(PAGE_BYTES);
        let there = usize::try_from(there).expect("it is at most a page");
        self.0.file.read(start, &mut bytes[..there])?;
        Ok(bytes)
    }
}

impl Written {
    fn nothing(len: u64) -> Self {
        Written {
            pages: BTreeMap::new(),
            len,
            shown: len,
        }
    }
}

/// How much was written, not what: it holds keys.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written")
            .field("pages", &self.pages.len())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        if let Some(file) = self.through() {
            return file.len();
        }
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(file) = self.through() {
            return file.read(offset, out);
        }
        let written = self.written();
        if offset + out.len() as u64 > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for part in parts(offset, out.len()) {
            let out = &mut out[part.outside];
            if let Some(bytes) = written.pages.get(&part.page) {
                out.copy_from_slice(&bytes[part.inside]);
            } else {
                let bytes = self.page_of_file(part.page, written.shown)?;
                out.copy_from_slice(&bytes[part.inside]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if let Some(file) = self.through() {
            return file.set_len(len);
        }
        let mut written = self.written();
        written.len = len;
        written.shown = written.shown.min(len);
        let cut = written.pages.split_off(&(len / PAGE_BYTES));
        // The page that the end lies in stays, and what lay behind the end is zero from now on.
        if let Some((page, mut bytes)) = cut.into_iter().next()
            && page * PAGE_BYTES < len
        {
            let kept = usize::try_from(len % PAGE_BYTES).expect("it is less than a page");
            bytes[kept..].fill(0);
            written.pages.insert(page, bytes);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.through().map_or(Ok(()), StorageBackend::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(file) = self.through() {
            return file.write(offset, data);
        }
        let mut written = self.written();
        for part in parts(offset, data.len()) {
            let mut bytes = match written.pages.remove(&part.page) {
                Some(bytes) => bytes,
                None => self.page_of_file(part.page, written.shown)?,
            };
            bytes[part.inside].copy_from_slice(&data[part.outside]);
            written.pages.insert(part.page, bytes);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    /// A reader's lock stands for the writer's that redb asks for, unless nobody else is to view the
    /// file. Only behind it does the file keep its length.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        let file = &self.0.file;
        let locked = match self.0.lock {
            Lock::Shared => file.try_lock_shared_range(start, end)?,
            Lock::Alone => file.try_lock_range(start, end)?,
        };
        if self.through().is_none() {
            *self.written() = Written::nothing(file.len()?);
        }
        Ok(locked)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }
}

const PAGE: usize = 4096;
const PAGE_BYTES: u64 = PAGE as u64;

/// What of a stretch of the store lies on one page.
struct Part {
    page: u64,
    /// Within the page.
    inside: Range<usize>,
    /// Within the stretch.
    outside: Range<usize>,
}

fn parts(offset: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let from = usize::try_from(at % PAGE_BYTES).expect("it is less than a page");
        let count = (PAGE - from).min(len - done);
        let part = Part {
            page: at / PAGE_BYTES,
            inside: from..from + count,
            outside: done..done + count,
        };
        done += count;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        SetLen(usize),
    }

    /// Steps within four pages, about as long as pages are.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = prop::collection::vec(1..=u8::MAX, 1..PAGE + 100);
        let step = prop_oneof![
            3 => (0..3 * PAGE, bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            1 => (0..4 * PAGE).prop_map(Step::SetLen),
        ];
        prop::collection::vec(step, 0..12)
    }

    /// Does the same to a store and to bytes in memory; a store is as long as what is written to it.
    fn take(steps: &[Step], view: &View, bytes: &mut Vec<u8>) {
        for step in steps {
            let len = match step {
                Step::Write(at, data) => bytes.len().max(at + data.len()),
                Step::SetLen(len) => *len,
            };
            bytes.resize(len, 0);
            view.set_len(len as u64).unwrap();
            if let Step::Write(at, data) = step {
                bytes[*at..at + data.len()].copy_from_slice(data);
                view.write(*at as u64, data).unwrap();
            }
        }
    }

    fn read(view: &View) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(view.len().unwrap()).unwrap()];
        view.read(0, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_shows_and_reaches_the_file_once_it_is_let_through(
            before in prop::collection::vec(any::<u8>(), 0..3 * PAGE),
            steps in steps(),
            later in steps(),
        ) {
            let file = NamedTempFile::new().unwrap();
            fs::write(file.path(), &before).unwrap();
            let backend = FileBackend::new(file.reopen().unwrap()).unwrap();
            let view = View::of(backend, Lock::Alone).unwrap();
            let mut bytes = before.clone();
            take(&steps, &view, &mut bytes);
            prop_assert!(read(&view) == bytes);
            prop_assert!(fs::read(file.path()).unwrap() == before);
            view.let_through().unwrap();
            prop_assert!(read(&view) == bytes);
            prop_assert!(fs::read(file.path()).unwrap() == bytes);
            take(&later, &view, &mut bytes);
            prop_assert!(fs::read(file.path()).unwrap() == bytes);
        }
    }
}
