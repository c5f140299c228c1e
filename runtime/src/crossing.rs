//! A parcel on its way to the worker that owns its keys.

use bincode::Options;
use operators::parcel::Parcel;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A parcel between two workers: as it is within a process, packed between two of them.
///
/// It is packed by the thread that read it. The dataflow's network writes what crosses twice, once to
/// learn how long it is; bytes that are packed already cost nothing there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Crossing {
    /// To a worker of this process.
    Within(Parcel),
    /// To one of another process.
    Between(ByteBuf),
}

impl Crossing {
    /// Of a parcel for a worker, here or not.
    pub(crate) fn of(parcel: Parcel, is_here: bool) -> Self {
        if is_here {
            return Crossing::Within(parcel);
        }
        let mut bytes = Vec::with_capacity(parcel.bytes() + parcel.at.len() * ROW + SCHEMA);
        let packed = bincode::DefaultOptions::new().serialize_into(&mut bytes, &parcel);
        packed.expect("a parcel is plain data");
        Crossing::Between(ByteBuf::from(bytes))
    }

    /// The parcel that came.
    ///
    /// # Panics
    /// When its bytes are not those of a parcel: the other process was proven to run this program.
    pub(crate) fn parcel(self) -> Parcel {
        match self {
            Crossing::Within(parcel) => parcel,
            Crossing::Between(bytes) => {
                let parcel = bincode::DefaultOptions::new().deserialize(&bytes);
                parcel.expect("the other process runs the same program")
            }
        }
    }
}

/// What a row takes beside its cells: its hash, and its key's share.
const ROW: usize = 32;

/// What a parcel takes beside its rows: names and types of columns.
const SCHEMA: usize = 16 << 10;
