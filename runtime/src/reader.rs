//! A thread that reads units and brings their rows to the gate.
//!
//! ```text
//! unit --read--> chunk --way before the gate--> keys, hashes --> parcels --> [bounded channel] --> worker
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use operators::chunk::Chunk;
use operators::fault;
use operators::group::ErrorRow;
use operators::key::Key;
use operators::parcel::{Parcel, SourceRows, parcels};
use operators::source::{Ask, Read, Scanned, Unit};
use operators::transform::{Evaluation, Place};
use pipelines::plan::SourcePlan;
use timely::scheduling::SyncActivator;

use crate::crossing::{Crossing, sent};
use crate::error::RunError;
use crate::job::{Job, Reading};
use crate::recorder::{self, Lane, Phase, Task};

/// What a thread tells its worker.
pub(crate) enum Told {
    /// The thread reads a stretch, and no earlier one any more.
    Stretch(usize),
    /// Parcels of a chunk, each with the worker where its keys are at home.
    Parcels(Vec<(u64, Crossing<Parcel>)>),
    /// All is read. A channel that closes without it is a failure.
    End,
}

/// What a thread is to read.
pub(crate) trait Work: Send + 'static {
    /// The number of the next piece.
    fn next(&mut self, job: &Job) -> Option<usize>;

    /// The inputs of which this thread counts the reading, which it may share with other threads.
    fn counts(&self, job: &Job) -> Vec<usize>;

    /// What is wanted of an input, and whether its rows are, or just what is told of them.
    fn ask<'a>(&'a self, job: &'a Job, input: usize) -> (&'a Ask, bool);
}

/// Chunks between a thread and its worker: the thread works on one while the worker takes another,
/// and no more is held.
const CHUNKS_AHEAD: usize = 4;

/// The threads of a process that read, and the inputs of which they have read.
#[derive(Default)]
pub(crate) struct Readers(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    threads: usize,
    inputs: BTreeSet<usize>,
}

impl Readers {
    fn begin(&self) {
        self.under_way().threads += 1;
    }

    /// A thread has read of these inputs. The last one gets those of all: what they are now is looked
    /// at once, when no thread reads of them any more.
    fn end(&self, inputs: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut under_way = self.under_way();
        under_way.inputs.extend(inputs);
        under_way.threads -= 1;
        match under_way.threads {
            0 => std::mem::take(&mut under_way.inputs),
            _ => BTreeSet::new(),
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads in a thread of its own, which wakes the worker with each word.
pub(crate) fn spawn(
    job: Arc<Job>,
    lane: Lane,
    work: impl Work,
    wake: SyncActivator,
) -> Receiver<Told> {
    let (sender, receiver) = bounded(CHUNKS_AHEAD);
    job.readers.begin();
    std::thread::spawn(move || {
        let voice = Voice {
            sender: Some(sender),
            wake,
        };
        let all_is_read = read(&job, lane, work, &voice);
        // Whoever hears the end may end the run, and open the state for another one.
        drop(job);
        if all_is_read.is_continue() {
            let _: ControlFlow<()> = voice.tell(Told::End);
        }
    });
    receiver
}

/// What the worker hears next; `None`: nothing yet. A thread that has ended without a word has
/// panicked.
pub(crate) fn hear(receiver: &Receiver<Told>, job: &Job) -> Option<Told> {
    match receiver.try_recv() {
        _ if job.abort.is_raised() => Some(Told::End),
        Ok(told) => Some(told),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Disconnected) => {
            let message = "the thread of a source ended".to_owned();
            job.abort.raise(RunError::Panicked { message });
            Some(Told::End)
        }
    }
}

/// The thread's end of the channel. However the thread ends, the worker is woken and sees it.
struct Voice {
    sender: Option<Sender<Told>>,
    wake: SyncActivator,
}

impl Voice {
    /// Waits while the channel is full; breaks when the worker has let go of it.
    fn tell(&self, told: Told) -> ControlFlow<()> {
        let sender = self.sender.as_ref();
        let sender = sender.expect("the channel is open until the thread ends");
        if sender.send(told).is_err() {
            return ControlFlow::Break(());
        }
        self.wake.activate().ok();
        ControlFlow::Continue(())
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.sender = None;
        // A worker that has ended needs no waking.
        self.wake.activate().ok();
    }
}

/// Reads all that there is; breaks when the worker is to hear of no end.
fn read(job: &Job, lane: Lane, mut work: impl Work, voice: &Voice) -> ControlFlow<()> {
    let counted: BTreeSet<usize> = work.counts(job).into_iter().collect();
    let mut tallies: BTreeMap<usize, (Scanned, u64)> = BTreeMap::new();
    tallies.extend(counted.iter().map(|input| (*input, Default::default())));
    let mut bearer = Bearer {
        job,
        lane,
        voice,
        stretch: 0,
        piece: None,
        small: Small::default(),
        crossed: BTreeMap::new(),
    };
    let mut behind = None;
    while let Some(number) = behind.take().or_else(|| work.next(job)) {
        let run;
        (run, behind) = units(job, number, &mut work);
        let piece = &job.scan.pieces[number];
        bearer.turn_to(number)?;
        let (scanned, lost) = tallies.entry(piece.input).or_default();
        let SourcePlan { name, source, .. } =
            &job.plan.sources[job.plan.inputs[piece.input].source];
        let (ask, keeps_rows) = work.ask(job, piece.input);
        let mut progress = Progress::of(job, &run);
        let mut receive = |read: Read| {
            *lost += read.lost.len() as u64;
            if job.reads_no_more() {
                return ControlFlow::Break(());
            }
            progress.advance(read.chunk.len());
            bearer.take(read, keeps_rows)
        };
        let mut receive = job.recorder.chunks(lane, name, &mut receive);
        for _ in &run {
            fault::wait("slow-fetch");
        }
        let outcome = source.read(&run, ask, &mut receive);
        drop(receive);
        progress.end();
        let more = match outcome {
            // What was asked of the server is broken off: what is read is finished, and no more is.
            Err(error) if error.is_stop() && job.reads_no_more() => break,
            outcome => job.check(outcome),
        };
        let Some(more) = more else {
            return ControlFlow::Break(());
        };
        *scanned += more;
        if job.abort.is_raised() {
            return ControlFlow::Break(());
        }
        if job.reads_no_more() {
            break;
        }
    }
    bearer.bear_small()?;
    if !end(job, tallies, &bearer.crossed, &counted) {
        return ControlFlow::Break(());
    }
    ControlFlow::Continue(())
}

/// The units that are read as one with a piece, of those that come next; and the piece behind them, where
/// it was taken to see whether it is one of them.
fn units<'a>(job: &'a Job, number: usize, work: &mut impl Work) -> (Vec<&'a Unit>, Option<usize>) {
    let first = &job.scan.pieces[number];
    let source = &job.plan.sources[job.plan.inputs[first.input].source].source;
    let rows_of = |unit: &Unit| unit.rows.unwrap_or(u64::MAX);
    let (mut run, mut rows) = (vec![&first.unit], rows_of(&first.unit));
    let (_, keeps_rows) = work.ask(job, first.input);
    // What is known of each unit is to be known by itself. What joins none, none is taken for: another
    // thread may read that.
    if job.follows || !keeps_rows || !source.joins(&first.unit, &first.unit) {
        return (run, None);
    }
    while run.len() < UNITS && rows < TOGETHER as u64 {
        let Some(number) = work.next(job) else {
            break;
        };
        let next = &job.scan.pieces[number];
        rows = rows.saturating_add(rows_of(&next.unit));
        let is_behind = (next.input, next.stretch) == (first.input, first.stretch);
        let last = run[run.len() - 1];
        if !is_behind || rows > TOGETHER as u64 || !source.joins(last, &next.unit) {
            return (run, Some(number));
        }
        run.push(&next.unit);
    }
    (run, None)
}

/// Notes what was read, and finds the sources unchanged; false when that ends the run.
fn end(
    job: &Job,
    tallies: BTreeMap<usize, (Scanned, u64)>,
    crossed: &BTreeMap<usize, u64>,
    counted: &BTreeSet<usize>,
) -> bool {
    let source = |input: usize| &job.plan.sources[job.plan.inputs[input].source];
    for input in job.readers.end(tallies.keys().copied()) {
        let pinned = &job.scan.inputs[input].pinned;
        if job.check(source(input).source.unchanged(pinned)).is_none() {
            return false;
        }
    }
    for (input, (scanned, lost)) in tallies {
        let pinned = &job.scan.inputs[input].pinned;
        let scope = job.scan.inputs[input].ask.scope.as_ref();
        let reading = Reading {
            reads: u64::from(counted.contains(&input)),
            crossed: crossed.get(&input).copied().unwrap_or_default(),
            keys: scope.map(|scope| scope.keys().len() as u64),
            ..Reading::of(pinned, scanned, lost)
        };
        job.has_read(&source(input).name, reading);
    }
    true
}

/// Bears what is read to the worker. Small chunks, those of small files, go together: what one costs
/// is not for its rows alone.
struct Bearer<'a> {
    job: &'a Job,
    lane: Lane,
    voice: &'a Voice,
    stretch: usize,
    /// The piece that is read.
    piece: Option<usize>,
    small: Small,
    /// How many rows of each input went to other processes.
    crossed: BTreeMap<usize, u64>,
}

impl Bearer<'_> {
    /// What comes next is of this piece.
    fn turn_to(&mut self, number: usize) -> ControlFlow<()> {
        let pieces = &self.job.scan.pieces;
        let next = &pieces[number];
        let is_other = |piece: usize| pieces[piece].input != next.input;
        // What is known of each unit is to be known by itself.
        if next.stretch > self.stretch || self.piece.is_some_and(is_other) || self.job.follows {
            self.bear_small()?;
        }
        self.piece = Some(number);
        if next.stretch > self.stretch {
            self.stretch = next.stretch;
            self.voice.tell(Told::Stretch(self.stretch))?;
        }
        ControlFlow::Continue(())
    }

    /// Takes a chunk; where only digests are kept it is told which piece it is from, and goes alone.
    fn take(&mut self, read: Read, keeps_rows: bool) -> ControlFlow<()> {
        if !keeps_rows {
            return self.bear(read, false);
        }
        if self.small.add(read).is_continue() {
            return ControlFlow::Continue(());
        }
        self.bear_small()
    }

    fn bear_small(&mut self) -> ControlFlow<()> {
        match Read::together(std::mem::take(&mut self.small).reads) {
            Some(read) => self.bear(read, true),
            None => ControlFlow::Continue(()),
        }
    }

    fn bear(&mut self, read: Read, keeps_rows: bool) -> ControlFlow<()> {
        let job = self.job;
        let number = self.piece.expect("what is read is of a piece");
        let input = job.scan.pieces[number].input;
        let name = &job.plan.sources[job.plan.inputs[input].source].name;
        let span = job.recorder.span(self.lane, Task::Way, name);
        let Some(parcels) = bring(job, number, read, keeps_rows) else {
            return ControlFlow::Break(());
        };
        let away = parcels.iter().filter(|(home, _)| !job.is_here(*home));
        let away: usize = away.map(|(_, parcel)| parcel.at.len()).sum();
        *self.crossed.entry(input).or_default() += away as u64;
        let parcels = parcels.into_iter();
        let parcels = parcels.map(|(home, parcel)| sent(home, parcel, job));
        let told = Told::Parcels(parcels.collect());
        drop(span);
        self.voice.tell(told)
    }
}

/// Small chunks that go on as one.
#[derive(Default)]
struct Small {
    reads: Vec<Read>,
    rows: usize,
    bytes: usize,
}

impl Small {
    /// Adds a chunk; breaks when they are to go on now.
    fn add(&mut self, read: Read) -> ControlFlow<()> {
        let rows = read.chunk.len();
        self.rows += rows;
        self.bytes += recorder::bytes(&read.chunk);
        self.reads.push(read);
        if rows >= ENOUGH || self.rows >= TOGETHER || self.bytes >= BYTES {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// The rows with which a chunk goes on, and with it smaller ones that came before.
const ENOUGH: usize = 4096;

/// The rows with which small chunks go on: of a key in several chunks more is done for each of them.
const TOGETHER: usize = 16_384;

/// How many units are read as one at most: with more a thread would be left without at the end.
const UNITS: usize = 128;

/// The bytes with which they do, however few rows have them: so much is copied at most at once.
const BYTES: usize = 16 << 20;

/// How far the reading of units is, for whoever waits for it: by rows where their number is known.
struct Progress<'a> {
    job: &'a Job,
    rows: Option<u64>,
    bytes: u64,
    told: u64,
}

impl<'a> Progress<'a> {
    fn of(job: &'a Job, units: &[&Unit]) -> Self {
        Progress {
            job,
            rows: units.iter().map(|unit| unit.rows).sum(),
            bytes: units.iter().map(|unit| unit.bytes).sum(),
            told: 0,
        }
    }

    fn advance(&mut self, rows: usize) {
        if let Some(all @ 1..) = self.rows {
            let left = self.bytes - self.told;
            self.tell((self.bytes / all * rows as u64).min(left));
        }
    }

    fn end(mut self) {
        self.tell(self.bytes - self.told);
    }

    fn tell(&mut self, bytes: u64) {
        self.told += bytes;
        self.job.recorder.advance(Phase::Fetch, bytes);
    }
}

/// Brings what was read of a piece to the gate; `None` when that ends the run.
fn bring(job: &Job, number: usize, read: Read, keeps_rows: bool) -> Option<Vec<(u64, Parcel)>> {
    let piece = &job.scan.pieces[number];
    let plan = &job.plan.inputs[piece.input];
    let source = &job.plan.sources[plan.source];
    let name = &source.name;
    let read = if read.chunk.schema().fields().len() < source.columns.len() {
        let chunk = Chunk::some_of(source.schema.arrow(), read.chunk.rows());
        Read { chunk, ..read }
    } else {
        read
    };
    let mut at = Evaluation::new(Place::BeforeGate, &job.prepared);
    at.carry_in(read.errors);
    let steps = plan
        .way
        .evaluate(std::slice::from_ref(&read.chunk), &mut at);
    let mut steps = job.check(steps)?;
    (job.recorder).tell(|status| status.made(&plan.way, &steps));
    let rows = steps
        .pop()
        .expect("a way to the gate ends at the partition");
    let from = SourceRows {
        input: u16::try_from(piece.input).expect("a partition has fewer than 2^16 inputs"),
        name,
        unit: u32::try_from(number).expect("a run reads fewer than 2^32 units"),
        source: read.chunk.rows(),
        id: &plan.source_id,
        hashed: &plan.digest.columns,
        version: &plan.digest.version,
        digests: read.digests.as_deref(),
        keeps_rows,
    };
    let side = job.plan.partition.side(plan.side);
    let mut parcels = parcels(side, &rows, &at, &from, &job.placement);
    if !read.lost.is_empty() {
        let key = Key::reserved(name);
        let error = |line: &operators::source::LostLine| ErrorRow {
            stage: Arc::clone(name),
            message: line.to_string(),
            row: None,
        };
        let errors = read.lost.iter().map(|line| (key.clone(), error(line)));
        let parcel = Parcel::errors(from.input, errors.collect());
        parcels.push((job.placement.home(&key), parcel));
    }
    Some(parcels)
}
