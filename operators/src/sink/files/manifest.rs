//! What a sink in files consists of: the one file that is put in place as a whole, and so decides
//! what was committed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::sink::Fence;

/// The version of the format of manifests.
const VERSION: u32 = 1;

/// The data files of a sink after a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The version of this format.
    tidemill: u32,
    /// The pipeline and the sink that wrote it.
    pub(super) pipeline: String,
    pub(super) sink: String,
    /// What kind of files they are, and by what their rows are found: for people.
    pub(super) fingerprint: String,
    state_id: String,
    epoch: u64,
    /// In the order of their paths.
    pub(super) files: Vec<DataFile>,
    /// Files of the commit before that are no longer part of the sink, to be removed.
    pub(super) removed: BTreeSet<String>,
}

/// A file with rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataFile {
    /// Its path below the sink's folder, with `/` between the parts.
    pub(super) path: String,
    /// How many rows it holds.
    pub(super) rows: u64,
    /// Its size.
    pub(super) bytes: u64,
    /// The epoch that wrote it; 0 where nobody knows. A file of the manifest's own epoch may still
    /// have its temporary name.
    pub(super) epoch: u64,
}

impl Manifest {
    /// The manifest that a commit puts in place; `removed` are files of the one before.
    pub(super) fn new(
        (pipeline, sink, fingerprint): (&str, &str, &str),
        fence: &Fence,
        mut files: Vec<DataFile>,
        removed: BTreeSet<String>,
    ) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Manifest {
            tidemill: VERSION,
            pipeline: pipeline.to_owned(),
            sink: sink.to_owned(),
            fingerprint: fingerprint.to_owned(),
            state_id: fence.state_id.clone(),
            epoch: fence.epoch,
            files,
            removed,
        }
    }

    /// Reads one, or says why these bytes are none.
    pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| format!("is no manifest: {error}"))?;
        let version = manifest.tidemill;
        if version != VERSION {
            return Err(format!(
                "has version {version} of its format, where this program knows {VERSION}"
            ));
        }
        Ok(manifest)
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Which state told the sink, and up to which epoch.
    pub(super) fn fence(&self) -> Fence {
        Fence {
            state_id: self.state_id.clone(),
            epoch: self.epoch,
        }
    }

    /// The files that may still have their temporary names.
    pub(super) fn pending(&self) -> impl Iterator<Item = &DataFile> {
        self.files.iter().filter(|file| file.epoch == self.epoch)
    }
}

impl DataFile {
    /// The folder that it lies in, below the sink's; empty for that one.
    pub(super) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_as_it_was_written_and_another_version_is_refused() {
        let fence = Fence {
            state_id: "s".to_owned(),
            epoch: 7,
        };
        let file = |path: &str, epoch| DataFile {
            path: path.to_owned(),
            rows: 1,
            bytes: 2,
            epoch,
        };
        let files = vec![file("b/c.parquet", 7), file("a.parquet", 3)];
        let removed = BTreeSet::from(["d".to_owned()]);
        let manifest = Manifest::new(("p", "s", "f"), &fence, files, removed);
        assert_eq!(Manifest::parse(&manifest.bytes()).unwrap(), manifest);
        assert_eq!(manifest.fence(), fence);
        assert_eq!(manifest.files[0].folder(), "");
        let pending: Vec<&str> = manifest.pending().map(DataFile::folder).collect();
        assert_eq!(pending, ["b"]);

        let text = String::from_utf8(manifest.bytes()).unwrap();
        let newer = text.replace("\"tidemill\": 1", "\"tidemill\": 2");
        assert!(
            Manifest::parse(newer.as_bytes())
                .unwrap_err()
                .contains("version 2")
        );
        assert!(Manifest::parse(b"[]").is_err());
        assert!(Manifest::parse(b"").is_err());
    }
}
