//! Text files as they are, with gzip or with Zstandard, by what their names end in.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    Plain,
    Gzip,
    Zstd,
}

impl Packed {
    /// As the name says.
    pub(super) fn of(path: &Path) -> Self {
        let ends = |end: &str| {
            path.extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case(end))
        };
        if ends("gz") {
            Packed::Gzip
        } else if ends("zst") {
            Packed::Zstd
        } else {
            Packed::Plain
        }
    }

    /// Writes what `fill` gives, and hands the file back.
    pub(super) fn write(
        self,
        file: File,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<File> {
        let mut out = BufWriter::new(file);
        match self {
            Packed::Plain => fill(&mut out)?,
            Packed::Gzip => {
                let mut packer = GzEncoder::new(&mut out, Compression::default());
                fill(&mut packer)?;
                packer.finish()?;
            }
            Packed::Zstd => {
                let mut packer = zstd::Encoder::new(&mut out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                fill(&mut packer)?;
                packer.finish()?;
            }
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    /// All text of a file.
    pub(super) fn read(self, path: &Path) -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut text = String::new();
        match self {
            Packed::Plain => file.read_to_string(&mut text)?,
            Packed::Gzip => MultiGzDecoder::new(file).read_to_string(&mut text)?,
            Packed::Zstd => zstd::Decoder::new(file)?.read_to_string(&mut text)?,
        };
        Ok(text)
    }
}
