//! The pages of a row group, unpacked by a decompressor that each thread keeps.
//!
//! ```text
//! small file --read whole--> bytes --+
//!                                    +--> pages as they lie --zstd--> pages --> the crate's decoders
//! larger file -----------------------+
//! ```
//!
//! The crate makes a decompressor for each column chunk. One of zstd is 150 kB of fresh memory, twenty
//! times what a chunk of a small file holds, and took nine tenths of the time of reading such files. So
//! what zstd packed is taken from the crate as it lies.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::iter;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

use crate::source::{FileInstant, SourceError, file};

/// Up to how many bytes a file is read whole: a page of it costs several calls of the system else.
const SMALL: u64 = 256 << 10;

/// How many bytes a page holds at most: the format counts them in 31 bits.
const MOST: usize = i32::MAX.cast_unsigned() as usize;

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
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(match self {
            Content::Lies(file) => Box::new(file.get_read(start)?),
            Content::Whole(_) => {
                let length = self.len().saturating_sub(start);
                let length = usize::try_from(length).expect("it is in memory");
                Box::new(self.get_bytes(start, length)?.reader())
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

/// A row group of a file.
pub(super) struct Group {
    content: Arc<Content>,
    metadata: Arc<ParquetMetaData>,
    number: usize,
}

impl Group {
    /// The row group of this number.
    pub(super) fn of(content: Content, metadata: Arc<ParquetMetaData>, number: usize) -> Self {
        Group {
            content: Arc::new(content),
            metadata,
            number,
        }
    }

    /// Which of the file's row groups it is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    fn pages(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let group = self.metadata.row_group(self.number);
        let (rows, chunk) = (self.num_rows(), group.column(column));
        let content = || Arc::clone(&self.content);
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            let pages = SerializedPageReader::new(content(), chunk, rows, None)?;
            return Ok(Box::new(pages));
        }
        let lying = chunk.clone().into_builder();
        let lying = lying.set_compression(Compression::UNCOMPRESSED).build()?;
        Ok(Box::new(Unpacked {
            packed: SerializedPageReader::new(content(), &lying, rows, None)?,
            most: usize::try_from(chunk.uncompressed_size())?,
        }))
    }
}

impl RowGroups for Group {
    fn num_rows(&self) -> usize {
        let rows = self.metadata.row_group(self.number).num_rows();
        usize::try_from(rows).unwrap_or_default()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(Only(Some(self.pages(column)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(iter::once(self.metadata.row_group(self.number)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The one chunk of a column in a row group.
struct Only(Option<Result<Box<dyn PageReader>>>);

impl Iterator for Only {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take()
    }
}

impl PageIterator for Only {}

/// Pages that zstd packed.
struct Unpacked {
    /// The same pages, taken for what needs no unpacking.
    packed: SerializedPageReader<Content>,
    /// How many bytes all of them hold at most.
    most: usize,
}

impl PageReader for Unpacked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.packed.get_next_page()? else {
            return Ok(None);
        };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = unpacked(buf, 0, self.most)?;
            }
            Page::DataPageV2 {
                buf,
                def_levels_byte_len: define,
                rep_levels_byte_len: repeat,
                is_compressed: true,
                ..
            } => {
                let levels = usize::try_from(*define)? + usize::try_from(*repeat)?;
                *buf = unpacked(buf, levels, self.most)?;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.packed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.packed.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.packed.at_record_boundary()
    }
}

impl Iterator for Unpacked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

thread_local! {
    static ZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What a page holds: its first bytes as they are, and what is packed behind them. Where zstd does not
/// say how much that is, it is not more than `most`.
fn unpacked(page: &Bytes, levels: usize, most: usize) -> Result<Bytes> {
    let Some((levels, packed)) = page.split_at_checked(levels) else {
        let reason = "a page ends within its levels".to_owned();
        return Err(ParquetError::General(reason));
    };
    // A page without values need not hold anything packed.
    if packed.is_empty() {
        return Ok(page.clone());
    }
    let told = get_frame_content_size(packed).ok().flatten();
    let told = told.map_or(Ok(most), usize::try_from)?;
    let unpacked = ZSTD.with_borrow_mut(|kept| {
        let zstd = match kept {
            Some(zstd) => zstd,
            None => kept.insert(Decompressor::new()?),
        };
        zstd.decompress(packed, told.min(MOST))
    });
    let unpacked = unpacked.map_err(|error| ParquetError::External(error.into()))?;
    Ok(if levels.is_empty() {
        unpacked.into()
    } else {
        [levels, &unpacked].concat().into()
    })
}
