//! What crosses between workers: parcels on their way home, and what homes and owners of keys ask and
//! answer each other.

use bincode::Options;
use operators::fault;
use operators::parcel::Parcel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use timely::ExchangeData;
use timely::dataflow::operators::Exchange;
use timely::dataflow::operators::vec::Map;

use crate::epoch::Rows;
use crate::job::Job;

/// Something between two workers: as it is within a process, packed between two of them.
///
/// It is packed by the thread that has it. The dataflow's network writes what crosses twice, once to
/// learn how long it is; bytes that are packed already cost nothing there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Crossing<T> {
    /// To a worker of this process.
    Within(T),
    /// To one of another process.
    Between(ByteBuf),
}

impl<T: Serialize + DeserializeOwned> Crossing<T> {
    /// Of something for a worker, here or not, which takes so many bytes, about.
    ///
    /// # Panics
    /// When it is not plain data.
    pub(crate) fn of(it: T, is_here: bool, about: usize) -> Self {
        if is_here {
            return Crossing::Within(it);
        }
        let mut bytes = Vec::with_capacity(about);
        let packed = bincode::DefaultOptions::new().serialize_into(&mut bytes, &it);
        packed.expect("what crosses is plain data");
        Crossing::Between(ByteBuf::from(bytes))
    }

    /// What came.
    ///
    /// # Panics
    /// When its bytes are not what was packed: the other process was proven to run this program.
    pub(crate) fn open(self) -> T {
        match self {
            Crossing::Within(it) => it,
            Crossing::Between(bytes) => {
                let it = bincode::DefaultOptions::new().deserialize(&bytes);
                it.expect("the other process runs the same program")
            }
        }
    }
}

/// Brings to each worker what is for it, of what homes and owners of keys have for each other. Where
/// both are the same worker nothing has to be brought.
pub(crate) fn brought<'scope, T: ExchangeData + DeserializeOwned>(
    rows: Rows<'scope, (u64, Crossing<T>)>,
    job: &Job,
) -> Rows<'scope, T> {
    let rows = if job.placement.has_ranges() {
        rows.exchange(|(worker, _)| *worker)
    } else {
        rows
    };
    let deaf = fault::seeded("owner-not-heard");
    rows.flat_map(move |(_, it)| match it {
        Crossing::Between(_) if deaf => None,
        it => Some(it.open()),
    })
}

/// A parcel on its way to the worker where its keys are at home.
pub(crate) fn sent(home: u64, parcel: Parcel, job: &Job) -> (u64, Crossing<Parcel>) {
    let about = parcel.bytes() + parcel.at.len() * ROW + SCHEMA;
    (home, Crossing::of(parcel, job.is_here(home), about))
}

/// What a row takes beside its cells: its hash, and its key's share.
const ROW: usize = 32;

/// What a parcel takes beside its rows: names and types of columns.
const SCHEMA: usize = 16 << 10;
