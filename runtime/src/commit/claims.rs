//! Who owns a sink's row: moves between keys, whatever the order of their batches.
//!
//! ```text
//! updates of a commit --> net --> rows to write and to retract now
//!                          |
//!                          +--> held: retractions (the row may come back from another key),
//!                                     claims on a row that another key owns (it may still let go)
//! ```
//!
//! What is held waits for the last commit of the run. There a retraction that nobody answered is
//! made, and a claim against an owner that keeps its row is settled by a rule that knows no history:
//! the least key has the row. So the sink is what a run from nothing would make of it. The keys that
//! lose stay unclean, and come again in every run until only one key yields the row.

use std::collections::{BTreeMap, BTreeSet};

use operators::fault;
use operators::key::Key;
use operators::row_id::RowId;

/// The rows of one sink that wait for the last commit of a run.
pub(crate) struct Claims<R> {
    retractions: BTreeMap<RowId, Key>,
    claims: BTreeMap<RowId, BTreeMap<Key, R>>,
}

/// One row that comes to or goes from a sink.
pub(crate) enum Turn<R> {
    /// The key yields it.
    Comes(R),
    /// The key yields it no longer, or yields it otherwise.
    Goes,
}

/// What a commit does to a sink.
pub(crate) struct Netted<R> {
    /// Rows to write.
    pub(crate) rows: BTreeMap<RowId, Written<R>>,
    /// Rows to retract, with their owner.
    pub(crate) retractions: Vec<(RowId, Key)>,
    /// Keys that yield a row which a lesser key has.
    pub(crate) lost: BTreeSet<Lost>,
    /// Keys that yield a row of a key whose batch failed: they come again with it.
    pub(crate) waiting: BTreeSet<Key>,
}

/// A row to write.
pub(crate) struct Written<R> {
    /// The key that has it from now on.
    pub(crate) owner: Key,
    /// The key that had it before this commit.
    pub(crate) before: Option<Key>,
    /// The row.
    pub(crate) row: R,
}

/// A key that yields a row which a lesser key has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lost {
    /// The key.
    pub(crate) key: Key,
    /// The key that has the row.
    pub(crate) winner: Key,
}

impl<R> Default for Claims<R> {
    fn default() -> Self {
        Claims {
            retractions: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }
}

impl<R> Default for Netted<R> {
    fn default() -> Self {
        Netted {
            rows: BTreeMap::new(),
            retractions: Vec::new(),
            lost: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }
}

impl<R: Clone> Claims<R> {
    /// The keys that something is held of.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        let claimants = self.claims.values().flat_map(BTreeMap::keys);
        self.retractions
            .values()
            .chain(claimants)
            .cloned()
            .collect()
    }

    /// Nets the updates of a commit with what is held. `owner` tells who has a row by what the sink
    /// was told before this commit. At the last commit of a run, `failed` are the keys of batches
    /// that failed: what they own stays theirs, and claims on it wait for the next run.
    pub(crate) fn net<E>(
        &mut self,
        updates: impl IntoIterator<Item = (RowId, Key, Turn<R>)>,
        owner: &mut dyn FnMut(&RowId) -> Result<Option<Key>, E>,
        failed: Option<&BTreeSet<Key>>,
    ) -> Result<Netted<R>, E> {
        let mut gone = std::mem::take(&mut self.retractions);
        let mut claims = std::mem::take(&mut self.claims);
        for (id, key, turn) in updates {
            match turn {
                Turn::Goes => drop(gone.insert(id, key)),
                Turn::Comes(row) => drop(claims.entry(id).or_default().insert(key, row)),
            }
        }
        let mut netted = Netted::default();
        for (id, mut claimants) in claims {
            let before = match gone.remove(&id) {
                Some(key) => Before::Free(key),
                None => owner(&id)?.map_or(Before::Unknown, Before::Owned),
            };
            let stray = match &before {
                Before::Free(key) if !claimants.contains_key(key) => Some(key.clone()),
                _ => None,
            };
            if let Some(key) = stray.filter(|_| fault::seeded("retraction-without-owner")) {
                self.retractions.insert(id.clone(), key);
            }
            let has = netted.take(&id, before, &mut claimants);
            if claimants.is_empty() {
                continue;
            }
            let Some(failed) = failed else {
                self.claims.insert(id, claimants);
                continue;
            };
            match has.filter(|key| !failed.contains(key)) {
                Some(current) => netted.settle(&id, &current, &claimants),
                None => netted.waiting.extend(claimants.into_keys()),
            }
        }
        let at_once = failed.is_some() || fault::seeded("retractions-at-once");
        if at_once {
            netted.retractions.extend(gone);
        } else {
            self.retractions.extend(gone);
        }
        Ok(netted)
    }
}

/// Who had a row before a claim.
enum Before {
    /// Nobody.
    Unknown,
    /// A key that now yields it no longer, or otherwise.
    Free(Key),
    /// A key that has not let go.
    Owned(Key),
}

impl<R: Clone> Netted<R> {
    /// Gives the row to the claimant who may have it at once, and names who has it then.
    fn take(
        &mut self,
        id: &RowId,
        before: Before,
        claimants: &mut BTreeMap<Key, R>,
    ) -> Option<Key> {
        let (owner, before) = match before {
            Before::Owned(key) => return Some(key),
            Before::Unknown => (claimants.keys().next()?.clone(), None),
            Before::Free(key) if claimants.contains_key(&key) => (key.clone(), Some(key)),
            Before::Free(key) => (claimants.keys().next()?.clone(), Some(key)),
        };
        let row = claimants.remove(&owner)?;
        self.rows.insert(
            id.clone(),
            Written {
                owner: owner.clone(),
                before,
                row,
            },
        );
        Some(owner)
    }

    /// Settles claims against a key that keeps its row: the least key has it.
    fn settle(&mut self, id: &RowId, current: &Key, claimants: &BTreeMap<Key, R>) {
        let least = claimants.keys().next().expect("there are claims to settle");
        let winner = current.min(least);
        let mut losers: BTreeSet<Key> = claimants.keys().cloned().collect();
        if winner != current {
            let row = claimants[winner].clone();
            let replaced = self.rows.remove(id);
            let before = replaced.map_or(Some(current.clone()), |replaced| replaced.before);
            self.rows.insert(
                id.clone(),
                Written {
                    owner: winner.clone(),
                    before,
                    row,
                },
            );
            losers.remove(winner);
            losers.insert(current.clone());
        }
        let lost = losers.into_iter().map(|key| Lost {
            key,
            winner: winner.clone(),
        });
        self.lost.extend(lost);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use operators::value::Value;

    use super::*;

    fn id(number: i64) -> RowId {
        RowId::of(&[Value::Int(number)])
    }

    fn comes(number: i64, key: &str, row: u8) -> (RowId, Key, Turn<u8>) {
        (id(number), Key::of(key), Turn::Comes(row))
    }

    fn goes(number: i64, key: &str) -> (RowId, Key, Turn<u8>) {
        (id(number), Key::of(key), Turn::Goes)
    }

    fn net(
        claims: &mut Claims<u8>,
        updates: Vec<(RowId, Key, Turn<u8>)>,
        told: &[(i64, &str)],
        failed: Option<&[&str]>,
    ) -> Netted<u8> {
        let mut owner = |wanted: &RowId| {
            let told = told.iter().find(|(number, _)| id(*number) == *wanted);
            Ok::<_, Infallible>(told.map(|(_, key)| Key::of(key)))
        };
        let failed: Option<BTreeSet<Key>> =
            failed.map(|keys| keys.iter().map(|key| Key::of(key)).collect());
        match claims.net(updates, &mut owner, failed.as_ref()) {
            Ok(netted) => netted,
            Err(never) => match never {},
        }
    }

    fn written(netted: &Netted<u8>) -> Vec<(Key, Option<Key>, u8)> {
        let rows = netted.rows.values();
        rows.map(|row| (row.owner.clone(), row.before.clone(), row.row))
            .collect()
    }

    #[test]
    fn an_update_keeps_its_owner() {
        let mut claims = Claims::default();
        let netted = net(
            &mut claims,
            vec![goes(1, "a"), comes(1, "a", 9)],
            &[(1, "a")],
            None,
        );
        assert_eq!(written(&netted), [(Key::of("a"), Some(Key::of("a")), 9)]);
        assert!(netted.retractions.is_empty() && claims.keys().is_empty());
    }

    #[test]
    fn a_row_that_moves_to_a_later_batch_is_never_retracted() {
        let mut claims = Claims::default();
        let first = net(&mut claims, vec![goes(1, "a")], &[(1, "a")], None);
        assert!(first.retractions.is_empty() && claims.keys().contains(&Key::of("a")));
        let second = net(&mut claims, vec![comes(1, "b", 9)], &[(1, "a")], Some(&[]));
        assert_eq!(written(&second), [(Key::of("b"), Some(Key::of("a")), 9)]);
        assert!(second.retractions.is_empty() && second.lost.is_empty());
    }

    #[test]
    fn a_row_that_moves_to_an_earlier_batch_waits_for_its_owner_to_let_go() {
        let mut claims = Claims::default();
        let first = net(&mut claims, vec![comes(1, "b", 9)], &[(1, "c")], None);
        assert!(first.rows.is_empty() && claims.keys().contains(&Key::of("b")));
        let second = net(&mut claims, vec![goes(1, "c")], &[(1, "c")], Some(&[]));
        assert_eq!(written(&second), [(Key::of("b"), Some(Key::of("c")), 9)]);
        assert!(second.retractions.is_empty());
    }

    #[test]
    fn a_claim_on_the_row_of_a_failed_batch_waits_for_the_next_run() {
        let mut claims = Claims::default();
        let netted = net(
            &mut claims,
            vec![comes(1, "a", 9)],
            &[(1, "c")],
            Some(&["c"]),
        );
        assert!(netted.rows.is_empty() && netted.lost.is_empty());
        assert_eq!(netted.waiting, BTreeSet::from([Key::of("a")]));
    }

    #[test]
    fn of_two_keys_that_yield_a_row_the_least_has_it_in_any_order() {
        for updates in [["b", "a"], ["a", "b"]] {
            let mut claims = Claims::default();
            let first = net(&mut claims, vec![comes(1, updates[0], 1)], &[], None);
            assert_eq!(written(&first).len(), 1);
            let told = [(1, updates[0])];
            let last = net(&mut claims, vec![comes(1, updates[1], 2)], &told, Some(&[]));
            let lost: Vec<_> = last.lost.iter().map(|lost| lost.key.clone()).collect();
            assert_eq!(lost, [Key::of("b")]);
            let moved = written(&last);
            if updates[0] == "b" {
                assert_eq!(moved, [(Key::of("a"), Some(Key::of("b")), 2)]);
            } else {
                assert!(moved.is_empty());
            }
        }
    }

    #[test]
    fn two_keys_in_one_commit_leave_the_row_to_the_least() {
        let mut claims = Claims::default();
        let updates = vec![goes(1, "b"), comes(1, "b", 1), comes(1, "a", 2)];
        let netted = net(&mut claims, updates, &[(1, "b")], Some(&[]));
        assert_eq!(written(&netted), [(Key::of("a"), Some(Key::of("b")), 2)]);
        assert_eq!(netted.lost.len(), 1);
    }

    #[test]
    fn a_retraction_that_nobody_answers_is_made_at_the_last_commit() {
        let mut claims = Claims::default();
        assert!(
            net(&mut claims, vec![goes(1, "a")], &[(1, "a")], None)
                .retractions
                .is_empty()
        );
        let last = net(&mut claims, vec![], &[(1, "a")], Some(&[]));
        assert_eq!(last.retractions, [(id(1), Key::of("a"))]);
    }
}
