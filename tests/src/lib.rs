//! What Tidemill is tested with: a second, simple implementation of its stages, and random pipelines
//! with tables that change.

pub mod columnar;
pub mod generator;
pub mod reference;
pub mod tables;
