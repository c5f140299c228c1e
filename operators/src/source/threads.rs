//! Work on each of many files, shared between threads: most of what a file costs is the system's work.
//! Whoever has done some takes more, so that none waits for one whose core is wanted elsewhere, too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many threads there are at most. More would wait for each other in the system.
const THREADS: usize = 8;

/// For how many files a thread is worth its start; it takes so many at a time.
const WORTH: usize = 64;

/// What comes of each, in their order.
///
/// # Panics
/// When `work` does.
pub(super) fn each<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS).min(all.len().div_ceil(WORTH));
    if threads <= 1 {
        return all.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let first = next.fetch_add(WORTH, Ordering::Relaxed);
            let Some(rest) = all.get(first..).filter(|rest| !rest.is_empty()) else {
                return done;
            };
            let some = &rest[..rest.len().min(WORTH)];
            done.push((first, some.iter().map(&work).collect::<Vec<R>>()));
        }
    };
    let mut done: Vec<(usize, Vec<R>)> = thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
        let done = started.into_iter();
        let done = done.map(|thread| thread.join().expect("no work on a file panics"));
        done.flatten().collect()
    });
    done.sort_unstable_by_key(|(first, _)| *first);
    done.into_iter().flat_map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_each_is_in_order_however_many_there_are() {
        for count in [0, 1, WORTH, WORTH + 1, 3 * WORTH, 20 * WORTH + 7] {
            let all: Vec<usize> = (0..count).collect();
            let twice: Vec<usize> = all.iter().map(|number| 2 * number).collect();
            assert_eq!(each(&all, |number| 2 * number), twice);
        }
    }
}
