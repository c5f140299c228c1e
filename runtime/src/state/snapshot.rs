//! The state as it was at one moment, over all its shares.

use std::collections::BTreeMap;
use std::fmt;

use operators::group::ErrorRow;
use operators::key::Key;
use operators::row_id::RowId;
use serde_json::Value;

use super::owners::Owners as OwnersOfShare;
use super::question::{Answer, Question};
use super::record::{self, SinkRecord, Stored};
use super::seen::{Counts, Seen};
use super::share::{Kept, SeenShare, ask_all};
use super::{StateError, share_of};

/// The state as it was when [`super::State::snapshot`] was called, whatever is written meanwhile.
/// Workers share it.
///
/// The store cannot use again what was freed since its oldest snapshot, and its file grows by all
/// that is committed meanwhile: take one for each epoch or pass, not one for a long run. It also
/// keeps the store open, and so locked.
pub struct Snapshot {
    shares: Vec<SeenShare>,
}

impl Snapshot {
    pub(super) fn of(shares: &[Kept]) -> Result<Self, StateError> {
        let shares = shares.iter().map(Kept::see).collect::<Result<_, _>>()?;
        Ok(Snapshot { shares })
    }

    /// Every key of the virtual partitions that `partitions` chooses, with each of its inputs, of the
    /// shares that are here. An unclean key comes once, as one of input 0, whichever inputs it had.
    pub fn digests(
        &self,
        partitions: &dyn Fn(u64) -> bool,
    ) -> Result<impl Iterator<Item = Result<(Key, u16, Stored), StateError>> + use<>, StateError>
    {
        let digests = self.here().map(|seen| seen.digests(partitions));
        let digests: Vec<_> = digests.collect::<Result<_, _>>()?;
        Ok(digests.into_iter().flatten())
    }

    /// What is stored of a key, by input; nothing of one that is not known.
    ///
    /// # Panics
    /// When its share is not here.
    pub fn digest(&self, key: &Key) -> Result<Vec<(u16, Stored)>, StateError> {
        self.of_key(key).digest(key)
    }

    /// The rows that a sink was told of a key, with their content hashes, in the order of their ids.
    pub fn told(&self, sink: &str, key: &Key) -> Result<Vec<(RowId, u128)>, StateError> {
        match &self.shares[share_of(key, self.shares.len())] {
            SeenShare::Here(seen) => seen.told(sink, key),
            SeenShare::Asked(kept) => {
                let (sink, key) = (sink.to_owned(), key.clone());
                match kept.ask(Question::Told { sink, key })? {
                    Answer::Told(told) => Ok(told),
                    other => Err(unasked(&other)),
                }
            }
        }
    }

    /// Whether a sink was told any row, of the keys of shares that are here.
    pub fn has_told(&self, sink: &str) -> Result<bool, StateError> {
        let mut has = false;
        for seen in self.here() {
            has |= seen.has_told(sink)?;
        }
        Ok(has)
    }

    /// The same of many keys, each row with the number of its key.
    pub fn told_of<'a>(
        &self,
        sink: &str,
        keys: impl IntoIterator<Item = (usize, &'a Key)>,
        mut take: impl FnMut(usize, RowId, u128),
    ) -> Result<(), StateError> {
        let mut of_shares = vec![Vec::new(); self.shares.len()];
        for (number, key) in keys {
            of_shares[share_of(key, self.shares.len())].push((number, key.clone()));
        }
        for (share, keys) in self.shares.iter().zip(of_shares) {
            match share {
                SeenShare::Here(seen) => seen.told_of(sink, keys, &mut take)?,
                SeenShare::Asked(_) => {
                    for (number, key) in keys {
                        for (id, hash) in self.told(sink, &key)? {
                            take(number, id, hash);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Who has the rows of a sink, by what it was told. Where no index is kept all of that is read:
    /// ask only where a row can be that of several keys.
    pub fn owners(&self, sink: &str) -> Result<Owners, StateError> {
        let of_share = |share: &SeenShare| {
            Ok(match share {
                SeenShare::Here(seen) => OwnersIn::Here(seen.owners(sink)?),
                SeenShare::Asked(kept) => OwnersIn::Asked(kept.clone(), BTreeMap::new()),
            })
        };
        Ok(Owners {
            sink: sink.to_owned(),
            shares: self
                .shares
                .iter()
                .map(of_share)
                .collect::<Result<_, StateError>>()?,
        })
    }

    /// The errors of a key that stand, by their id.
    ///
    /// # Panics
    /// When its share is not here.
    pub fn errors(&self, key: &Key) -> Result<Vec<(u128, ErrorRow)>, StateError> {
        self.of_key(key).errors(key)
    }

    /// Whether errors stand, in the shares that are here.
    pub fn has_errors(&self) -> Result<bool, StateError> {
        let mut has = false;
        for seen in self.here() {
            has |= seen.has_errors()?;
        }
        Ok(has)
    }

    /// All errors that stand, with their key and id.
    pub fn all_errors(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Key, u128, ErrorRow), StateError>> + use<>, StateError>
    {
        let mut errors: Vec<Box<dyn Iterator<Item = _>>> = Vec::new();
        for share in &self.shares {
            errors.push(match share {
                SeenShare::Here(seen) => Box::new(seen.all_errors()?),
                SeenShare::Asked(kept) => match kept.ask(Question::Errors)? {
                    Answer::Errors(errors) => Box::new(errors.into_iter().map(Ok)),
                    other => return Err(unasked(&other)),
                },
            });
        }
        Ok(errors.into_iter().flatten())
    }

    /// How far a sink is, in the share that is furthest; `None` for one that the state does not know.
    /// Its ids hold their key when they do in all shares.
    pub fn sink(&self, sink: &str) -> Result<Option<SinkRecord>, StateError> {
        Ok(record::furthest(self.sink_records(sink)?))
    }

    /// How far a sink is in each share; `None` in one that does not know it.
    pub fn sink_records(&self, sink: &str) -> Result<Vec<Option<SinkRecord>>, StateError> {
        let record = |share: &SeenShare| match share {
            SeenShare::Here(seen) => seen.sink(sink),
            SeenShare::Asked(kept) => match kept.ask(Question::Sink(sink.to_owned()))? {
                Answer::Sink(record) => Ok(record),
                other => Err(unasked(&other)),
            },
        };
        self.shares.iter().map(record).collect()
    }

    /// All sinks that the state knows; also those that the pipeline has no more.
    pub fn sinks(&self) -> Result<BTreeMap<String, SinkRecord>, StateError> {
        let mut sinks = BTreeMap::new();
        for name in self.first().sinks()?.into_keys() {
            let record = self.sink(&name)?.unwrap_or_default();
            sinks.insert(name, record);
        }
        Ok(sinks)
    }

    /// What was noted under a name.
    pub fn memo(&self, name: &str) -> Result<Option<Value>, StateError> {
        self.first().memo(name)
    }

    /// What a stamp was made of: the hash of each part, by its name.
    pub fn stamp_parts(&self, stamp: u128) -> Result<Option<BTreeMap<String, u128>>, StateError> {
        self.first().stamp_parts(stamp)
    }

    /// How much there is. It looks at every key and every told row.
    pub fn counts(&self) -> Result<Counts, StateError> {
        let mut all = Counts::default();
        for share in &self.shares {
            all.add(match share {
                SeenShare::Here(seen) => seen.counts()?,
                SeenShare::Asked(kept) => counted(kept)?,
            });
        }
        Ok(all)
    }

    fn here(&self) -> impl Iterator<Item = &Seen> {
        self.shares.iter().filter_map(|share| match share {
            SeenShare::Here(seen) => Some(seen),
            SeenShare::Asked(_) => None,
        })
    }

    /// The first share that is here.
    fn first(&self) -> &Seen {
        self.here().next().expect("a process keeps a share")
    }

    fn of_key(&self, key: &Key) -> &Seen {
        match &self.shares[share_of(key, self.shares.len())] {
            SeenShare::Here(seen) => seen,
            SeenShare::Asked(_) => panic!("a worker asks for its own keys only"),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Who has the rows of a sink, as a snapshot knows it.
pub struct Owners {
    sink: String,
    shares: Vec<OwnersIn>,
}

/// Who has rows, by one share.
enum OwnersIn {
    Here(OwnersOfShare),
    /// Those that were asked for ahead.
    Asked(Kept, BTreeMap<RowId, Option<Key>>),
}

impl Owners {
    /// Asks other processes for the owners of many rows at once.
    pub fn ask_ahead<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a RowId>,
    ) -> Result<(), StateError> {
        let is_here = |share: &OwnersIn| matches!(share, OwnersIn::Here(_));
        if self.shares.iter().all(is_here) {
            return Ok(());
        }
        let mut ids: Vec<RowId> = ids.cloned().collect();
        ids.sort_unstable();
        let question = Question::Owners {
            sink: self.sink.clone(),
            ids: ids.clone(),
        };
        let asked = self.shares.iter_mut().filter_map(|share| match share {
            OwnersIn::Here(_) => None,
            OwnersIn::Asked(kept, known) => Some((&*kept, known)),
        });
        let (kept, known): (Vec<_>, Vec<_>) = asked.unzip();
        let kept = kept.into_iter().map(|kept| (kept, question.clone()));
        for (answer, known) in ask_all(kept.collect())?.into_iter().zip(known) {
            let Answer::Owners(owners) = answer else {
                return Err(unasked(&answer));
            };
            known.extend(ids.iter().cloned().zip(owners));
        }
        Ok(())
    }

    /// The key that owns the row. Rows are best asked for in the order of their ids.
    pub fn of(&mut self, id: &RowId) -> Result<Option<Key>, StateError> {
        for share in &mut self.shares {
            let owner = match share {
                OwnersIn::Here(owners) => owners.of(id)?,
                OwnersIn::Asked(kept, known) => match known.get(id) {
                    Some(owner) => owner.clone(),
                    None => asked_for(kept, &self.sink, id)?,
                },
            };
            if owner.is_some() {
                return Ok(owner);
            }
        }
        Ok(None)
    }
}

fn asked_for(kept: &Kept, sink: &str, id: &RowId) -> Result<Option<Key>, StateError> {
    let (sink, ids) = (sink.to_owned(), vec![id.clone()]);
    match kept.ask(Question::Owners { sink, ids })? {
        Answer::Owners(owners) => Ok(owners.into_iter().next().flatten()),
        other => Err(unasked(&other)),
    }
}

fn counted(kept: &Kept) -> Result<Counts, StateError> {
    match kept.ask(Question::Counts)? {
        Answer::Counts(counts) => Ok(counts),
        other => Err(unasked(&other)),
    }
}

/// An answer to something else.
fn unasked(_: &Answer) -> StateError {
    StateError::record("an answer of another process")
}
