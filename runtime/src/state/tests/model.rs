//! Random sequences of steps against a model of plain maps: the store and the model hold the same,
//! and a row is told beneath a key exactly when the owner index names that key. Some ids are long, so
//! that a few rows fill a block. Now and then the state is brought to another number of shares.

use proptest::prelude::*;

use super::super::run::BLOCK_BYTES;
use super::*;

const SINKS: [&str; 2] = ["conflicts", "errors"];
const KEYS: [&str; 4] = ["a", "ab", "b", ""];
const ROWS: i64 = 24;

/// The id of a row. Every second one is long.
fn row(number: i64) -> RowId {
    let text = match number % 2 {
        0 => String::new(),
        _ => "x".repeat(BLOCK_BYTES / 5),
    };
    RowId::of(&[Value::Int(number), Value::Text(text)])
}

#[derive(Clone, Debug)]
enum Step {
    Stage {
        sink: usize,
        /// Row, the key that yields it from now on, and the hash of what is told; without a hash that
        /// key yields it no more.
        changes: Changes,
        replaces_all: bool,
    },
    Publish(usize),
    Discard(usize),
    Settle {
        key: usize,
        clean: Option<Vec<(u16, u64)>>,
    },
    /// The state is closed and opened.
    Reopen,
    /// The state is brought to another number of processes.
    Split(usize),
    /// The pipeline is edited: by its plan, ids hold their key, or not any more.
    Edit(usize, Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..KEYS.len(), prop::option::weighted(0.7, any::<u128>()));
    let inputs = prop::collection::btree_map(0..3_u16, 1..9_u64, 0..3);
    let step = prop_oneof![
        4 => (0..SINKS.len(), prop::collection::btree_map(0..ROWS, change, 0..16), prop::bool::weighted(0.1))
            .prop_map(|(sink, changes, replaces_all)| Step::Stage { sink, changes, replaces_all }),
        3 => (0..SINKS.len()).prop_map(Step::Publish),
        1 => (0..SINKS.len()).prop_map(Step::Discard),
        2 => (0..KEYS.len(), prop::option::of(inputs)).prop_map(|(key, inputs)| Step::Settle {
            key,
            clean: inputs.map(|inputs| inputs.into_iter().collect()),
        }),
        1 => Just(Step::Reopen),
        1 => prop::sample::select(vec![1, 2, 3, 7]).prop_map(Step::Split),
        1 => (0..SINKS.len(), prop::option::of(0..2_usize))
            .prop_map(|(sink, place)| Step::Edit(sink, place)),
    ];
    prop::collection::vec(step, 1..30)
}

type Changes = BTreeMap<i64, (usize, Option<u128>)>;

#[derive(Default)]
struct Model {
    /// Per sink: row -> owner and hash.
    told: BTreeMap<usize, BTreeMap<i64, (usize, u128)>>,
    staged: BTreeMap<usize, (u64, Changes, bool)>,
    published: BTreeMap<usize, u64>,
    /// Key -> its inputs; without any, it is unclean.
    digests: BTreeMap<usize, Vec<(u16, u64)>>,
}

impl Model {
    fn stage(&mut self, sink: usize, epoch: u64, changes: &Changes, replaces_all: bool) {
        if replaces_all {
            self.digests.values_mut().for_each(Vec::clear);
        }
        for (_, owner, _) in self.changes(sink, changes) {
            self.digests.insert(owner, Vec::new());
        }
        self.staged
            .insert(sink, (epoch, changes.clone(), replaces_all));
    }

    /// What the sink is told: a row that comes to a key is retracted beneath the one that it leaves.
    fn changes(&self, sink: usize, changes: &Changes) -> Vec<(i64, usize, Option<u128>)> {
        let mut all = Vec::new();
        for (id, (owner, hash)) in changes {
            let told = self.told.get(&sink).and_then(|told| told.get(id));
            let left = told.filter(|(named, _)| hash.is_some() && named != owner);
            all.push((*id, *owner, *hash));
            all.extend(left.map(|(left, _)| (*id, *left, None)));
        }
        all
    }

    fn publish(&mut self, sink: usize) {
        let Some((epoch, changes, replaces_all)) = self.staged.remove(&sink) else {
            return;
        };
        let told = self.told.entry(sink).or_default();
        if replaces_all {
            told.clear();
        }
        for (id, (owner, hash)) in changes {
            match hash {
                Some(hash) => {
                    told.insert(id, (owner, hash));
                }
                None if told.get(&id).is_some_and(|(named, _)| *named == owner) => {
                    told.remove(&id);
                }
                None => {}
            }
        }
        self.published.insert(sink, epoch);
    }

    fn assert_equals(&self, state: &State) {
        let snapshot = state.snapshot().unwrap();
        for (number, sink) in SINKS.iter().enumerate() {
            let model = self.told.get(&number).cloned().unwrap_or_default();
            for (position, text) in KEYS.iter().enumerate() {
                let of_key = model.iter().filter(|(_, (owner, _))| *owner == position);
                let expected: Vec<_> = of_key.map(|(id, (_, hash))| (row(*id), *hash)).collect();
                assert_eq!(snapshot.told(sink, &key(text)).unwrap(), expected);
            }
            for id in 0..ROWS {
                let owner = model.get(&id).map(|(owner, _)| key(KEYS[*owner]));
                assert_eq!(super::owner(&snapshot, sink, &row(id)), owner);
            }
            assert_eq!(snapshot.has_told(sink).unwrap(), !model.is_empty());
            let told = snapshot.counts().unwrap().told.get(*sink).copied();
            assert_eq!(told.unwrap_or(0), model.len() as u64);
            let record = snapshot.sink(sink).unwrap().unwrap_or_default();
            assert_eq!(record.published, self.published.get(&number).copied());
            assert_eq!(
                record.staged,
                self.staged.get(&number).map(|(epoch, ..)| *epoch)
            );
        }
        let mut expected = Digests::new();
        for (position, inputs) in &self.digests {
            let owner = KEYS[*position];
            for (input, rows) in inputs {
                expected.insert((key(owner), *input), Some(clean(*rows, 5)));
            }
            if inputs.is_empty() {
                expected.extend([unclean(owner)]);
            }
        }
        assert_eq!(digests(&snapshot), expected);
        assert_eq!(state.keys().unwrap(), self.digests.len() as u64);
    }
}

fn take(step: &Step, state: &State, model: &mut Model) {
    match step {
        Step::Stage {
            sink,
            changes,
            replaces_all,
        } => {
            let epoch = state.take_epoch().unwrap();
            let had = model.told.get(sink).filter(|_| !replaces_all);
            let mut all = ToldChanges::default();
            for (id, owner, hash) in model.changes(*sink, changes) {
                let is_its_own = had
                    .and_then(|had| had.get(&id))
                    .is_some_and(|had| had.0 == owner);
                let (id, owner) = (row(id), key(KEYS[owner]));
                match hash {
                    Some(hash) if is_its_own => all.keep(&owner, &id, hash),
                    Some(hash) => all.tell(&owner, &id, hash),
                    None => all.retract(&owner, &id),
                }
            }
            let outcome = state.stage(Staged {
                sink: SINKS[*sink].to_owned(),
                epoch,
                changes: all,
                replaces_all: *replaces_all,
            });
            assert_eq!(outcome.is_ok(), !model.staged.contains_key(sink));
            if outcome.is_ok() {
                model.stage(*sink, epoch, changes, *replaces_all);
            }
        }
        Step::Publish(sink) => {
            state.publish(SINKS[*sink]).unwrap();
            model.publish(*sink);
        }
        Step::Discard(sink) => {
            state.discard(SINKS[*sink]).unwrap();
            model.staged.remove(sink);
        }
        Step::Settle {
            key: position,
            clean: inputs,
        } => {
            let inputs_clean = inputs.as_ref().map(|inputs| {
                inputs
                    .iter()
                    .map(|(input, rows)| (*input, clean(*rows, 5)))
                    .collect()
            });
            state
                .settle(vec![settled(KEYS[*position], inputs_clean)])
                .unwrap();
            match inputs {
                Some(inputs) if inputs.is_empty() => model.digests.remove(position),
                _ => model
                    .digests
                    .insert(*position, inputs.clone().unwrap_or_default()),
            };
        }
        Step::Edit(sink, place) => state.set_key_in_id(SINKS[*sink], *place).unwrap(),
        Step::Reopen | Step::Split(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_holds_what_the_model_holds(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut state = open(folder.path());
        let mut model = Model::default();
        for step in &steps {
            if matches!(step, Step::Reopen | Step::Split(_)) {
                drop(state);
                if let Step::Split(processes) = step {
                    State::split(folder.path(), PIPELINE, *processes).unwrap();
                }
                state = State::open_all(folder.path(), PIPELINE).unwrap();
            }
            take(step, &state, &mut model);
            model.assert_equals(&state);
        }
    }
}
