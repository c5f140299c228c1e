//! At the start: what a sink holds against what the state knows of it.
//!
//! ```text
//! fence of the sink        state                     what it means
//! ------------------------ ------------------------- --------------------------------------------
//! none                     nothing published         new; rows in the target are not ours: adopt
//! = staged epoch           staged                    the commit happened: publish
//! = published epoch        published (and staged)    the commit did not happen: discard
//! anything else            anything                  restored, replaced or lost: adopt
//! ```

use operators::fault;
use operators::sink::{Fence, Fenced, Writer};

use crate::error::RunError;
use crate::state::State;

/// Brings state and sink together, and gives the fence that the sink has then.
pub(crate) fn recover(
    state: &State,
    name: &str,
    sink: &dyn Fenced,
    writer: &mut dyn Writer,
) -> Result<Option<Fence>, RunError> {
    let record = state.sink(name)?.unwrap_or_default();
    let adopt = |why: String| {
        // Nobody is told so by a state that is damaged.
        state.snapshot()?;
        Err(RunError::Adopt {
            sink: name.to_owned(),
            why,
        })
    };
    let fingerprint = sink.fingerprint();
    if record.published.is_none() && record.staged.is_none() {
        state.set_fingerprint(name, &fingerprint)?;
    } else if record.fingerprint != fingerprint {
        return adopt("its target or key was changed in the pipeline file".to_owned());
    }
    writer.intact()?;
    let fence = writer.fence()?;
    if fault::seeded("fence-not-compared") {
        state.publish(name)?;
        return Ok(fence);
    }
    let Some(fence) = fence else {
        if let Some(epoch) = record.published {
            return adopt(format!("it holds no fence, and was told epoch {epoch}"));
        }
        if writer.has_rows()? {
            return adopt("its target holds rows that this state did not tell it".to_owned());
        }
        if record.staged.is_some() {
            state.discard(name)?;
        }
        return Ok(None);
    };
    if fence.state_id != state.id() {
        return adopt(format!(
            "it was told {fence}, and this is state {}",
            state.id()
        ));
    }
    if !state.resolve(name, fence.epoch)? {
        let known = record
            .published
            .map_or("none".to_owned(), |epoch| epoch.to_string());
        return adopt(format!(
            "it holds epoch {}, and was told epoch {known}",
            fence.epoch
        ));
    }
    Ok(Some(fence))
}
