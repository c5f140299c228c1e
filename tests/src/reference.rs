//! The reference rendering: any plan as plain differential dataflow over row tuples.
//!
//! ```text
//! source rows --way--> key, place in the group --key function--> sinks
//!                 ^                                  ^
//!                 +------ dimensions, joined --------+
//! ```
//!
//! One worker, no columns, no gate and no state: it says what a run from nothing yields, but for the
//! rows that sinks keep of keys which a check blocks: these it is given. Of the product it shares the
//! checked plan and the evaluation of expressions, on batches of one row; all else is written again
//! from the descriptions of the stages, as simply as differential dataflow allows: a lookup and a
//! conflict-join are joins, whatever chooses among rows is a reduce. What queries and checks mean it
//! is told, as a plan holds no parts of them.
//!
//! Order is data here: every row carries its place, a list of numbers that compares as the rows of
//! its group or dimension are ordered. A stage that makes several rows of one adds a number.

mod aggregate;
mod connected;
mod meant;
mod nested;
mod paired;
mod row;
mod sink;
mod stage;
mod way;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use differential_dataflow::Data;
use differential_dataflow::VecCollection;
use differential_dataflow::input::Input;
use operators::key::Key;
use operators::value::Value;
use pipelines::plan::{Plan, SinkRows};
use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::dataflow::Scope;
use timely::worker::Worker;

pub use self::row::Fault;
use self::row::Row;
use self::way::Rendering;
use crate::meaning::Meanings;

/// The rows of each source: all its columns, in the order of its schema.
pub type Tables = BTreeMap<String, Vec<Vec<Value>>>;

/// A multiset of rows: how often each is there.
pub type Rows = BTreeMap<Vec<Value>, i64>;

/// The rows of each sink that has a key, with the keys that own them.
pub type Owned = BTreeMap<String, BTreeSet<(Key, Vec<Value>)>>;

/// What the reference is given besides a plan.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The rows of the sources.
    pub tables: Tables,
    /// What the queries and the checks of the plan mean.
    pub meanings: Meanings,
    /// What the sinks hold.
    pub held: Owned,
}

/// Rows that differential dataflow keeps.
type Collection<'scope, D> = VecCollection<'scope, u64, D>;

/// What a run from nothing yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The rows of each sink; of a sink of errors, the columns behind `error_id`: stage, message,
    /// row, key.
    pub sinks: BTreeMap<String, Rows>,
    /// Of the sinks that have a key: the same with the owners.
    pub owned: Owned,
    /// All standing errors of keys.
    pub errors: BTreeSet<Fault>,
    /// The errors of dimensions, which belong to no key.
    pub dimension_errors: BTreeSet<Fault>,
}

/// What a run from nothing yields.
///
/// # Panics
/// When a table or a meaning is missing, a table has not the columns of its source, or a stage is
/// told to stop at an error and has one.
pub fn run(plan: &Plan, given: &Given) -> Outcome {
    let allocator = Allocator::Thread(Thread::default());
    let mut worker = Worker::new(WorkerConfig::default(), allocator, None);
    let collected = worker.dataflow(|scope| render(scope, plan, given));
    while worker.has_dataflows() {
        worker.step_or_park(None);
    }
    let mut outcome = Outcome {
        errors: collected.errors.set(),
        dimension_errors: collected.dimension_errors.set(),
        ..Outcome::default()
    };
    for (name, rows) in collected.errors_of {
        outcome.sinks.insert(name, rows.consolidated());
    }
    for (name, owned) in collected.sinks {
        let owned = owned.consolidated();
        let mut rows = Rows::new();
        for ((_, row), count) in &owned {
            *rows.entry(row.clone()).or_default() += count;
        }
        outcome.sinks.insert(name.clone(), rows);
        if plan
            .sinks
            .iter()
            .any(|sink| sink.name == name && sink.sink.fenced().is_some())
        {
            outcome.owned.insert(name, owned.into_keys().collect());
        }
    }
    outcome
}

/// What a dataflow has yielded so far.
struct Collected<D>(Rc<RefCell<Vec<(D, isize)>>>);

/// An [`Outcome`] in the making.
struct Outputs {
    sinks: BTreeMap<String, Collected<(Key, Vec<Value>)>>,
    errors_of: BTreeMap<String, Collected<Vec<Value>>>,
    errors: Collected<Fault>,
    dimension_errors: Collected<Fault>,
}

fn render(scope: Scope<'_, u64>, plan: &Plan, given: &Given) -> Outputs {
    let sources = plan.sources.iter().map(|source| {
        let rows = &given.tables[source.name.as_ref()];
        scope.new_collection_from(row::of_source(source, rows)).1
    });
    let mut rendering = Rendering::new(plan, &given.meanings, sources.collect());
    let dimension_errors = rendering.dimensions();
    let (steps, mut errors) = rendering.key_function();
    let (mut sinks, mut errors_of) = (BTreeMap::new(), BTreeMap::new());
    for sink in &plan.sinks {
        if let SinkRows::Stage(feed) = sink.rows {
            let held = given.held.get(&sink.name).cloned().unwrap_or_default();
            let held = scope.new_collection_from(held).1;
            let (rows, blocked) = steps.at(feed);
            let (rows, more) = sink::rows(sink, rows, blocked, held);
            sinks.insert(sink.name.clone(), collect(rows));
            errors = errors.concat(more);
        }
    }
    for sink in &plan.sinks {
        if let SinkRows::Errors(stage) = &sink.rows {
            let rows = sink::errors(stage, errors.clone());
            errors_of.insert(sink.name.clone(), collect(rows));
        }
    }
    Outputs {
        sinks,
        errors_of,
        errors: collect(errors),
        dimension_errors: collect(dimension_errors),
    }
}

fn collect<D: Data>(collection: Collection<'_, D>) -> Collected<D> {
    let rows = Rc::new(RefCell::new(Vec::new()));
    let into = Rc::clone(&rows);
    collection.inspect(move |(row, _, diff)| into.borrow_mut().push((row.clone(), *diff)));
    Collected(rows)
}

impl<D: Ord> Collected<D> {
    fn consolidated(self) -> BTreeMap<D, i64> {
        let mut rows = BTreeMap::new();
        for (row, diff) in self.0.take() {
            *rows.entry(row).or_default() += i64::try_from(diff).expect("a diff fits 64 bits");
        }
        rows.retain(|_, diff| *diff != 0);
        rows
    }

    fn set(self) -> BTreeSet<D> {
        self.consolidated().into_keys().collect()
    }
}

/// Rows of one stage.
type Made<'scope> = Collection<'scope, Row>;

/// Errors of keys.
type Faults<'scope> = Collection<'scope, Fault>;

/// Keys.
type Keys<'scope> = Collection<'scope, Key>;
