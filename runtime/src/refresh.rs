//! `run --full-refresh`: sinks that are taken for what they hold, whatever is known of them.
//!
//! ```text
//! live rows of the sink --> told rows, as `adopt` does --> every key is open --> what differs from a
//!                                                                               run from nothing
//!                                                       one commit of the sink <----+
//! ```

use std::collections::BTreeSet;
use std::fmt;

use pipelines::plan::Plan;

use crate::error::RunError;
use crate::held::sink_called;

/// Which sinks are refreshed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// None.
    #[default]
    Nothing,
    /// All that have a fence.
    All,
    /// These.
    Sinks(BTreeSet<String>),
}

impl Refresh {
    /// What is asked for by names; by none of them, all.
    pub(crate) fn of(named: Option<&[String]>) -> Self {
        match named {
            None => Refresh::Nothing,
            Some([]) => Refresh::All,
            Some(named) => Refresh::Sinks(named.iter().cloned().collect()),
        }
    }

    /// Whether there is something to refresh.
    pub(crate) fn is_asked(&self) -> bool {
        *self != Refresh::Nothing
    }

    /// Whether a sink is refreshed.
    pub(crate) fn holds(&self, sink: &str) -> bool {
        match self {
            Refresh::Nothing => false,
            Refresh::All => true,
            Refresh::Sinks(named) => named.contains(sink),
        }
    }

    /// Insists that the plan has the sinks that are named.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), RunError> {
        if let Refresh::Sinks(named) = self {
            for sink in named {
                sink_called(plan, sink)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refresh::Nothing => f.write_str("false"),
            Refresh::All => f.write_str("true"),
            Refresh::Sinks(named) => {
                let named: Vec<&str> = named.iter().map(String::as_str).collect();
                f.write_str(&named.join(","))
            }
        }
    }
}
