//! What Tidemill is tested with: a harness that runs it as people do; a second, simple
//! implementation of its stages; and random pipelines with tables that change.

pub mod columnar;
pub mod generator;
pub mod harness;
pub mod layout;
pub mod meaning;
pub mod reference;
pub mod tables;
