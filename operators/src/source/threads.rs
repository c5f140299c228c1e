//! Work on each of many files, shared between threads: most of what a file costs is the system's work.

use std::thread;

/// How many threads there are at most. More would wait for each other in the system.
const THREADS: usize = 8;

/// For how many files a thread is worth its start.
const WORTH: usize = 64;

/// What comes of each, in their order.
///
/// # Panics
/// When `work` does.
pub(super) fn each<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = all.len().div_ceil(threads.min(THREADS)).max(WORTH);
    if all.len() <= share {
        return all.iter().map(work).collect();
    }
    let share_of = |some: &[T]| some.iter().map(&work).collect::<Vec<R>>();
    thread::scope(|scope| {
        let started = all.chunks(share);
        let started = started.map(|some| scope.spawn(move || share_of(some)));
        let started: Vec<_> = started.collect();
        let done = started.into_iter();
        let done = done.map(|thread| thread.join().expect("no work on a file panics"));
        done.flatten().collect()
    })
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
