//! What must hold of Tidemill.

mod reference;
