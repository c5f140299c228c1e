//! Which worker of which process owns a key.
//!
//! A virtual partition belongs to a process whatever the number of workers is, so that a process can
//! keep the state of its own partitions only; within the process it belongs to one worker.

use crate::key::Key;

/// The processes of a run, and the workers of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    processes: u64,
    workers: u64,
}

impl Placement {
    /// So many processes with so many workers each.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(processes: usize, workers: usize) -> Self {
        assert!(processes > 0 && workers > 0, "a run has a worker");
        Placement {
            processes: processes as u64,
            workers: workers as u64,
        }
    }

    /// How many workers there are in all processes.
    pub fn all_workers(self) -> u64 {
        self.processes * self.workers
    }

    /// The worker that owns a virtual partition, counted through the processes in order.
    pub fn worker_of(self, partition: u64) -> u64 {
        let within = partition / self.processes % self.workers;
        process_of(partition, self.processes) * self.workers + within
    }

    /// The worker that owns a key.
    pub fn owner(self, key: &Key) -> u64 {
        self.worker_of(key.virtual_partition())
    }
}

/// The process that a virtual partition belongs to, of so many.
pub fn process_of(partition: u64, processes: u64) -> u64 {
    partition % processes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::VIRTUAL_PARTITIONS;

    #[test]
    fn a_partition_stays_with_its_process_whatever_the_number_of_workers_is() {
        for processes in 1..=5 {
            for workers in 1..=4 {
                let placement = Placement::new(processes, workers);
                let mut owned = vec![0; processes * workers];
                for partition in 0..VIRTUAL_PARTITIONS {
                    let worker = placement.worker_of(partition);
                    assert_eq!(
                        worker / workers as u64,
                        process_of(partition, processes as u64)
                    );
                    owned[usize::try_from(worker).unwrap()] += 1;
                }
                let (least, most) = (owned.iter().min(), owned.iter().max());
                assert!(most.unwrap() - least.unwrap() <= workers, "{owned:?}");
            }
        }
    }
}
