//! Seeded faults: wrong turns that the tests take on purpose, to show that they would be noticed.
//!
//! They exist with the cargo feature `faults` only, which no release has, and are chosen at run time
//! by `TIDEMILL_FAULT`, a list like `gate-ignores-stamp,fail-batch:800`.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests: a release must not have it");

/// Whether this fault was chosen.
pub fn seeded(name: &str) -> bool {
    argument(name).is_some()
}

/// What was chosen for this fault: the text after its colon.
#[cfg(feature = "faults")]
pub fn argument(name: &str) -> Option<String> {
    let chosen = std::env::var("TIDEMILL_FAULT").ok()?;
    chosen.split(',').find_map(|fault| {
        let (fault, argument) = fault.split_once(':').unwrap_or((fault, ""));
        (fault == name).then(|| argument.to_owned())
    })
}

/// What was chosen for this fault: nothing, as there are no faults here.
#[cfg(not(feature = "faults"))]
pub fn argument(_name: &str) -> Option<String> {
    None
}
