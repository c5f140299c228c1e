//! Which worker of which process has what of a key.
//!
//! ```text
//! owner   by the key's virtual partition             has its state
//! home    by the key's range, where there are such;  has its rows, from parcel to updates
//!         else the owner
//! ```
//!
//! A virtual partition belongs to a process whatever the number of workers is, so that a process can
//! keep the state of its own partitions only; within the process it belongs to one worker. A range
//! belongs to the process that reads the rows of its keys, so that these need not go to another one.
//! Both are functions of the key alone, and the same on all processes.

use crate::key::Key;

/// The processes of a run, and the workers of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    processes: u64,
    workers: u64,
    ranges: Option<Ranges>,
}

/// The keys of each process: from one text on, up to where those of the next process begin. Every
/// text is in one of the ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Where each begins but the first, in order.
    begins: Vec<String>,
}

impl Ranges {
    /// Those that begin with these texts, and the one before them.
    ///
    /// # Panics
    /// When the texts are not in order.
    pub fn beginning(begins: Vec<String>) -> Self {
        assert!(begins.is_sorted(), "ranges follow each other");
        Ranges { begins }
    }

    /// One, which has every text.
    pub fn one() -> Self {
        Ranges { begins: Vec::new() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.begins.len() + 1
    }

    /// Which process reads what has `least` as its least key: the one that has the texts behind it. That
    /// key itself may be the last one of the range before.
    pub fn reader_of(&self, least: &str) -> usize {
        self.process_of(&format!("{least}\0"))
    }

    /// Whether a range begins with this text.
    pub fn begins_with(&self, text: &str) -> bool {
        let found = self
            .begins
            .binary_search_by(|begin| begin.as_str().cmp(text));
        found.is_ok()
    }

    /// Which process has a text.
    pub fn process_of(&self, text: &str) -> usize {
        self.begins.partition_point(|begin| begin.as_str() <= text)
    }
}

impl Placement {
    /// So many processes with so many workers each; and the ranges of keys, if each process has one.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(processes: usize, workers: usize, ranges: Option<Ranges>) -> Self {
        assert!(processes > 0 && workers > 0, "a run has a worker");
        Placement {
            processes: processes as u64,
            workers: workers as u64,
            ranges,
        }
    }

    /// How many workers there are in all processes.
    pub fn all_workers(&self) -> u64 {
        self.processes * self.workers
    }

    /// Whether the rows of a key may be elsewhere than its state.
    pub fn has_ranges(&self) -> bool {
        self.ranges.is_some()
    }

    /// The worker that owns a virtual partition, counted through the processes in order.
    pub fn worker_of(&self, partition: u64) -> u64 {
        let within = partition / self.processes % self.workers;
        process_of(partition, self.processes) * self.workers + within
    }

    /// The worker that owns a key.
    pub fn owner(&self, key: &Key) -> u64 {
        self.worker_of(key.virtual_partition())
    }

    /// The worker that has the rows of a key. A reserved key has no text, and stays with its owner.
    pub fn home(&self, key: &Key) -> u64 {
        match &self.ranges {
            Some(ranges) if !key.is_reserved() => {
                let within = key.virtual_partition() % self.workers;
                ranges.process_of(key.text()) as u64 * self.workers + within
            }
            _ => self.owner(key),
        }
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
                let placement = Placement::new(processes, workers, None);
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

    #[test]
    fn a_key_is_at_home_in_the_process_of_its_range_on_all_of_its_workers() {
        let ranges = Ranges::beginning(vec!["2".to_owned(), "30".to_owned()]);
        let placement = Placement::new(3, 2, Some(ranges));
        let process = |text: &str| placement.home(&Key::of(text)) / 2;
        let texts = ["", "1", "19999", "2", "29", "3", "30", "z"];
        assert_eq!(texts.map(process), [0, 0, 0, 1, 1, 1, 2, 2]);
        let of_first = (0..100).map(|number| placement.home(&Key::of(&format!("1{number}"))));
        let at_first = of_first.filter(|worker| *worker == 0).count();
        assert!((30..70).contains(&at_first), "{at_first}");
        for key in [Key::reserved("z"), Key::reserved("a")] {
            assert_eq!(placement.home(&key), placement.owner(&key));
        }
    }

    #[test]
    fn what_begins_with_the_last_key_of_a_range_is_read_by_the_next_process() {
        let ranges = Ranges::beginning(vec!["2\0".to_owned(), "3".to_owned()]);
        assert_eq!(
            ["1", "2", "20", "3"].map(|key| ranges.process_of(key)),
            [0, 0, 1, 2]
        );
        assert_eq!(
            ["1", "2", "20", "3"].map(|key| ranges.reader_of(key)),
            [0, 1, 1, 2]
        );
    }

    #[test]
    fn where_there_are_no_ranges_rows_are_with_the_state() {
        let placement = Placement::new(3, 2, None);
        for number in 0..100 {
            let key = Key::of(&number.to_string());
            assert_eq!(placement.home(&key), placement.owner(&key));
        }
    }
}
