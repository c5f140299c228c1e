//! What a file holds: read whole where it is small, as each page costs several calls of the system else.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use crate::source::{FileInstant, SourceError, file};

/// Up to how many bytes a file is read whole.
const SMALL: u64 = 256 << 10;

/// What a file holds.
pub(super) enum Content {
    /// In the file.
    Lies(File),
    /// In memory.
    Whole(Bytes),
}

impl Content {
    /// That of an open file, which is as it was at the instant. What is in memory stays so; what lies
    /// in the file may be another one's when it is read.
    pub(super) fn of(mut file: File, instant: &FileInstant) -> Result<Content, SourceError> {
        if !Content::is_whole(instant) {
            file::is_of(&file, instant)?;
            return Ok(Content::Lies(file));
        }
        let mut whole = vec![0; usize::try_from(instant.bytes).unwrap_or_default()];
        let read = file.read_exact(&mut whole);
        // One that grows or shrinks is not of the instant either.
        file::is_of(&file, instant)?;
        read.map_err(|error| file::failure(&instant.path, error))?;
        Ok(Content::Whole(whole.into()))
    }

    /// Whether that of a file is brought into memory.
    pub(super) fn is_whole(instant: &FileInstant) -> bool {
        instant.bytes <= SMALL
    }
}

impl Length for Content {
    fn len(&self) -> u64 {
        match self {
            Content::Lies(file) => Length::len(file),
            Content::Whole(bytes) => Length::len(bytes),
        }
    }
}

impl ChunkReader for Content {
    type T = From;

    fn get_read(&self, start: u64) -> Result<From> {
        Ok(match self {
            Content::Lies(file) => From::File(file.get_read(start)?),
            Content::Whole(bytes) => {
                let mut bytes = Cursor::new(bytes.clone());
                bytes.set_position(start);
                From::Whole(bytes)
            }
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Content::Lies(file) => file.get_bytes(start, length),
            Content::Whole(bytes) => bytes.get_bytes(start, length),
        }
    }
}

/// What a file holds from somewhere on.
pub(super) enum From {
    File(BufReader<File>),
    Whole(Cursor<Bytes>),
}

impl Read for From {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            From::File(file) => file.read(bytes),
            From::Whole(whole) => whole.read(bytes),
        }
    }
}
