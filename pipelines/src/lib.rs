//! What is declared: a TOML file becomes a checked plan.
//!
//! No sockets, no clock and no timely here: the same text, the same settings and the same files give
//! the same plan. Files are opened by whoever runs the plan, through [`plan::Open`].

mod among;
pub mod assemble;
mod asserted;
pub mod check;
pub mod cluster;
mod connections;
pub mod diagnostic;
pub mod document;
pub mod draw;
pub mod graph;
mod moved;
pub mod place;
pub mod plan;
pub mod settings;
