//! Shares of a state: which there are, and where each is kept.

use std::path::Path;
use std::sync::Arc;

use super::StateError;
use super::file::Place;
use super::question::{Answer, Question};
use super::seen::Seen;
use super::store::Store;
use crate::crew::Remote;

/// Which share of a state a process keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The process.
    pub process: usize,
    /// How many there are.
    pub processes: usize,
    /// The id of the state, where another process says it.
    pub id: Option<String>,
}

impl Share {
    /// The whole state, of one process.
    pub fn alone() -> Self {
        Share::of(0, 1)
    }

    /// The share of one of so many processes.
    pub fn of(process: usize, processes: usize) -> Self {
        Share {
            process,
            processes,
            id: None,
        }
    }

    /// Holds when what is there is for as many processes.
    pub(super) fn fits(&self, places: &[Place]) -> Result<(), StateError> {
        match places
            .iter()
            .find(|place| place.processes != self.processes)
        {
            None => Ok(()),
            Some(other) => Err(StateError::OtherProcesses {
                file: other.path.clone(),
                found: other.processes,
                wanted: self.processes,
            }),
        }
    }
}

/// How many shares there are, when all lie in the folder; `None` when there is none.
pub(super) fn whole(folder: &Path, places: &[Place]) -> Result<Option<usize>, StateError> {
    let Some(first) = places.first() else {
        return Ok(None);
    };
    let processes = first.processes;
    if let Some(other) = places.iter().find(|place| place.processes != processes) {
        return Err(StateError::SplitCutOff {
            folder: folder.to_owned(),
            one: processes,
            other: other.processes,
        });
    }
    let missing =
        (0..processes).find(|process| places.iter().all(|place| place.process != *process));
    match missing {
        None => Ok(Some(processes)),
        Some(process) => Err(StateError::ShareMissing {
            folder: folder.to_owned(),
            process,
            processes,
        }),
    }
}

/// Where a share is kept.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// In this process.
    Here(Arc<Store>),
    /// In another one, which answers.
    There(Arc<Remote>),
    /// In another one, and not asked for by this one.
    Elsewhere,
}

impl Kept {
    /// Asks the share.
    ///
    /// # Panics
    /// When it is kept elsewhere.
    pub(super) fn ask(&self, question: Question) -> Result<Answer, StateError> {
        match self {
            Kept::Here(store) => question.answered_by(store),
            Kept::There(remote) => remote.ask(question).map_err(|failure| StateError::There {
                process: remote.process(),
                message: failure.message,
            }),
            Kept::Elsewhere => panic!("only the lead asks for the shares of others"),
        }
    }

    /// The share as it is now, to be read.
    pub(super) fn see(&self) -> Result<SeenShare, StateError> {
        Ok(match self {
            Kept::Here(store) => SeenShare::Here(store.snapshot()?),
            kept => SeenShare::Asked(kept.clone()),
        })
    }
}

/// A share that is read.
pub(super) enum SeenShare {
    /// As it was at one moment.
    Here(Seen),
    /// As it is when it is asked: nobody but who asks writes it.
    Asked(Kept),
}

/// Asks shares, all at the same time, and gives their answers in the same order.
pub(super) fn ask_all(asked: Vec<(&Kept, Question)>) -> Result<Vec<Answer>, StateError> {
    if asked.len() == 1 {
        let alone = asked.into_iter().map(|(kept, question)| kept.ask(question));
        return alone.collect();
    }
    std::thread::scope(|scope| {
        let asking = asked
            .into_iter()
            .map(|(kept, question)| scope.spawn(|| kept.ask(question)));
        let asking: Vec<_> = asking.collect();
        let answered = asking.into_iter().map(|asking| {
            let answered = asking.join();
            answered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        answered.collect()
    })
}
