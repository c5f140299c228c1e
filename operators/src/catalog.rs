//! Every stage and every connection that a pipeline can name.
//!
//! ```text
//! type = "csv" --decode--> SourceConfig::Csv --check--> Source
//! ```
//!
//! A stage is added in the file of its role, a line where its section is decoded and one where the
//! config is checked; what it does then is its own.

mod connection;
mod sink;
mod source;
mod transform;

use serde::de::DeserializeOwned;

pub use connection::{CONNECTIONS, Connection, ConnectionConfig, Connections};
pub use sink::{SINKS, Sink, SinkConfig, SinkGiven};
pub use source::{SOURCES, SourceConfig, SourceGiven};
pub use transform::{Role, TRANSFORMS, Transform, TransformConfig, Upstream};

/// Something that decodes a section of the pipeline file into a config struct.
pub trait Section {
    /// What is wrong with the section.
    type Error;

    /// Decodes it.
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Self::Error>;
}
