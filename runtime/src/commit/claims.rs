//! Who owns a sink's row: moves between keys, whatever the order of their batches.
//!
//! ```text
//! updates of a commit --> net --> rows to write and to retract now
//!                          |
//!                          +--> held: retractions (the row may come back from another key),
//!                                     claims on a row that another key owns (it may still let go)
//! ```
//!
//! Where the id of a row holds its key nobody else can have the row, and nothing is held.
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

/// Tells who has a row. It is asked in the order of ids.
pub(crate) type OwnerOf<'a, E> = dyn FnMut(&RowId) -> Result<Option<Key>, E> + 'a;

/// What a commit does to a sink.
pub(crate) struct Netted<R> {
    /// Rows to write, in the order of their ids, each once.
    pub(crate) rows: Vec<(RowId, Written<R>)>,
    /// Rows to retract, with their owner.
    pub(crate) retractions: Vec<(RowId, Key)>,
    /// Keys that yield a row which a lesser key has.
    pub(crate) lost: BTreeSet<Lost>,
    /// Keys that yield a row which another key keeps: they come again with it.
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

impl<R> Written<R> {
    fn of(owner: Key, before: Option<Key>, row: R) -> Self {
        Written { owner, before, row }
    }
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
            rows: Vec::new(),
            retractions: Vec::new(),
            lost: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }
}

impl<R> Claims<R> {
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
    /// was told before this commit; without, a row can be of one key only, and nothing waits for
    /// another. At the last commit of a run, `kept` are keys whose batches failed or which a
    /// check blocks: what they own stays theirs, and claims on it wait for the next run.
    pub(crate) fn net<E>(
        &mut self,
        updates: impl IntoIterator<Item = (RowId, Key, Turn<R>)>,
        mut owner: Option<&mut OwnerOf<'_, E>>,
        kept: Option<&BTreeSet<Key>>,
    ) -> Result<Netted<R>, E> {
        let mut gone = std::mem::take(&mut self.retractions);
        let held = std::mem::take(&mut self.claims).into_iter();
        let held = held.flat_map(|(id, claimants)| {
            let claims = claimants.into_iter();
            claims.map(move |(key, row)| (id.clone(), key, row))
        });
        let mut comes: Vec<(RowId, Key, R)> = held.collect();
        for (id, key, turn) in updates {
            match turn {
                Turn::Goes => drop(gone.insert(id, key)),
                Turn::Comes(row) => comes.push((id, key, row)),
            }
        }
        comes.sort_by_cached_key(|(id, ..)| (id.front(), id.clone()));
        let mut netted = Netted::default();
        netted.rows.reserve(comes.len());
        let mut comes = comes.into_iter().peekable();
        while let Some((id, key, row)) = comes.next() {
            let is_alone = comes.peek().is_none_or(|(next, ..)| *next != id);
            let before = match (gone.remove(&id), &mut owner) {
                (Some(key), _) => Before::Free(key),
                (None, Some(owner)) => owner(&id)?.map_or(Before::Unknown, Before::Owned),
                (None, None) => Before::Unknown,
            };
            // Most rows are new, or stay with their key: then nothing is to be settled.
            let before = match before {
                Before::Unknown if is_alone => {
                    netted.rows.push((id, Written::of(key, None, row)));
                    continue;
                }
                Before::Free(had) if is_alone && had == key => {
                    netted.rows.push((id, Written::of(key, Some(had), row)));
                    continue;
                }
                before => before,
            };
            let mut claimants = BTreeMap::from([(key, row)]);
            while let Some((_, key, row)) = comes.next_if(|(next, ..)| *next == id) {
                claimants.insert(key, row);
            }
            let stray = match &before {
                Before::Free(key) if !claimants.contains_key(key) => Some(key.clone()),
                _ => None,
            };
            if let Some(key) = stray.filter(|_| fault::seeded("retraction-without-owner")) {
                self.retractions.insert(id.clone(), key);
            }
            let (mut written, has) = first(before, &mut claimants);
            if !claimants.is_empty() {
                match (
                    kept,
                    has.filter(|key| kept.is_none_or(|kept| !kept.contains(key))),
                ) {
                    (None, _) => drop(self.claims.insert(id.clone(), claimants)),
                    (Some(_), Some(current)) => {
                        written = netted.settle(&current, written, claimants);
                    }
                    (Some(_), None) => netted.waiting.extend(claimants.into_keys()),
                }
            }
            netted.rows.extend(written.map(|written| (id, written)));
        }
        let at_once = kept.is_some() || owner.is_none() || fault::seeded("retractions-at-once");
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

/// Gives the row to the claimant who may have it at once, and names who has it then.
fn first<R>(before: Before, claimants: &mut BTreeMap<Key, R>) -> (Option<Written<R>>, Option<Key>) {
    let (owner, before) = match before {
        Before::Owned(key) => return (None, Some(key)),
        Before::Unknown => (None, None),
        Before::Free(key) => (
            Some(key.clone()).filter(|key| claimants.contains_key(key)),
            Some(key),
        ),
    };
    let taken = match owner {
        Some(owner) => claimants.remove_entry(&owner),
        None => claimants.pop_first(),
    };
    let written = taken.map(|(owner, row)| Written { owner, before, row });
    let has = written.as_ref().map(|written| written.owner.clone());
    (written, has)
}

impl<R> Netted<R> {
    /// Settles claims against a key that keeps its row, or has just got it: the least key has it.
    fn settle(
        &mut self,
        current: &Key,
        mut written: Option<Written<R>>,
        mut claimants: BTreeMap<Key, R>,
    ) -> Option<Written<R>> {
        let mut winner = current.clone();
        let mut losers = BTreeSet::new();
        if let Some(least) = claimants
            .first_entry()
            .filter(|least| least.key() < current)
        {
            let (owner, row) = least.remove_entry();
            let before = written.map_or(Some(current.clone()), |written| written.before);
            losers.insert(std::mem::replace(&mut winner, owner.clone()));
            written = Some(Written { owner, before, row });
        }
        losers.extend(claimants.into_keys());
        let lost = losers.into_iter().map(|key| Lost {
            key,
            winner: winner.clone(),
        });
        self.lost.extend(lost);
        written
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
        match claims.net(updates, Some(&mut owner), failed.as_ref()) {
            Ok(netted) => netted,
            Err(never) => match never {},
        }
    }

    fn written(netted: &Netted<u8>) -> Vec<(Key, Option<Key>, u8)> {
        let rows = netted.rows.iter();
        rows.map(|(_, row)| (row.owner.clone(), row.before.clone(), row.row))
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

    /// Rows of one id stay one, whatever came in which order, and go where they belong in it.
    #[test]
    fn the_rows_of_a_commit_are_in_the_order_of_their_ids() {
        let mut claims = Claims::default();
        let updates = vec![
            comes(3, "a", 1),
            comes(1, "b", 2),
            goes(3, "a"),
            comes(2, "a", 3),
        ];
        let netted = net(&mut claims, updates, &[(3, "a")], None);
        let ids: Vec<_> = netted.rows.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids, [id(1), id(2), id(3)]);
    }

    #[test]
    fn where_rows_cannot_move_nothing_waits_for_another_key() {
        let mut claims: Claims<u8> = Claims::default();
        let updates = vec![goes(1, "a"), goes(2, "a"), comes(2, "a", 9)];
        let Ok::<_, Infallible>(netted) = claims.net(updates, None, None);
        assert_eq!(netted.retractions, [(id(1), Key::of("a"))]);
        assert_eq!(written(&netted), [(Key::of("a"), Some(Key::of("a")), 9)]);
        assert!(claims.keys().is_empty());
    }
}
