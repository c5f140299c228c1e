//! What is said to the person or the program that runs us.

pub mod change;
pub mod diagnostics;
pub mod row;
pub mod run;
pub mod text;
