//! What `[connections.<name>]` says. No socket is opened and no secret is read here.

use operators::catalog::{CONNECTIONS, Connection, ConnectionConfig, Connections};

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Section};
use crate::settings::Settings;

/// Reads all connections; paths are those of the pipeline's settings. One that is amiss is known by its
/// name, so that stages that name it are not told so.
pub(crate) fn read(
    document: &Document,
    settings: &Settings,
    diagnostics: &mut Vec<Diagnostic>,
) -> Connections {
    let mut connections = Connections::default();
    for section in document.connections() {
        let connection = check(section, settings).map_err(|more| diagnostics.extend(more));
        connections.add(&section.name, connection.ok());
    }
    connections
}

fn check(section: &Section, settings: &Settings) -> Result<Connection, Vec<Diagnostic>> {
    // A section without a type was reported when the document was read.
    let kind = section.kind.as_ref().ok_or_else(Vec::new)?;
    let config = ConnectionConfig::decode(&kind.name, section)
        .unwrap_or_else(|| Err(vec![section.no_such_type(&kind.name, &CONNECTIONS)]))?;
    let place = |problem| section.place(problem);
    config
        .check(&section.name, &|text| settings.path(text))
        .map_err(|problems| problems.into_iter().map(place).collect())
}
