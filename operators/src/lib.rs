//! Sources in, chunks through, updates out: the stages of a pipeline.
//!
//! No TOML and no positions in a file here: a stage is made from its config struct by a pure
//! `check`, which returns the checked stage or names the [`problem::Problem`] and its field.

pub mod catalog;
pub mod differ;
pub mod dimension;
pub mod gate;
pub mod group;
pub mod parcel;
pub mod placement;
pub mod sink;
pub mod source;
pub mod transform;
pub mod way;

pub mod chunk;
pub mod consolidate;
pub mod digest;
pub mod duration;
pub mod expression;
pub mod fault;
mod json;
pub mod key;
pub mod order;
pub mod ordered;
pub mod postgres;
pub mod problem;
pub mod row_id;
pub mod schema;
pub mod secret;
mod spill;
pub mod value;
