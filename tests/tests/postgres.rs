//! Goal: what speaks to PostgreSQL does so as its own programs do, and says what is wrong when it
//! cannot.
//!
//! Method: a real server, started by the tests.

mod server;
