//! The pages of a column in a row group, counted, and unpacked by a decompressor that each thread keeps.
//!
//! ```text
//! pages as they lie --> counted --zstd--> pages --> the crate's decoders
//! ```
//!
//! The crate makes a decompressor for each column chunk. One of zstd is 150 kB of fresh memory, twenty
//! times what a chunk of a small file holds, and took nine tenths of the time of reading such files. So
//! what zstd packed is taken from the crate as it lies.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

use super::content::Content;

/// How many bytes a page holds at most: the format counts them in 31 bits.
const MOST: usize = i32::MAX.cast_unsigned() as usize;

/// The pages of a column in a row group.
pub(super) struct Pages {
    /// Those that zstd packed are taken for what needs no unpacking.
    lying: SerializedPageReader<Content>,
    /// How many bytes all of them hold at most, if zstd packed them.
    packed: Option<usize>,
    /// How many values are still to come, if each row has one.
    left: Option<u64>,
}

impl Pages {
    /// Those of a chunk, of a group of so many rows.
    pub(super) fn of(
        content: &Arc<Content>,
        chunk: &ColumnChunkMetaData,
        rows: u64,
    ) -> Result<Pages> {
        let pages = |chunk| {
            let rows = usize::try_from(rows).unwrap_or_default();
            SerializedPageReader::new(Arc::clone(content), chunk, rows, None)
        };
        let left = (chunk.column_descr().max_rep_level() == 0).then_some(rows);
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            return Ok(Pages {
                lying: pages(chunk)?,
                packed: None,
                left,
            });
        }
        // Of the chunk is told where it lies, and nothing else.
        let lying = ColumnChunkMetaData::builder(chunk.column_descr_ptr())
            .set_dictionary_page_offset(chunk.dictionary_page_offset())
            .set_data_page_offset(chunk.data_page_offset())
            .set_total_compressed_size(chunk.compressed_size())
            .build()?;
        Ok(Pages {
            lying: pages(&lying)?,
            packed: Some(usize::try_from(chunk.uncompressed_size())?),
            left,
        })
    }

    /// So many values are in the next page.
    fn count(&mut self, values: u64) -> Result<()> {
        if let Some(left) = &mut self.left {
            let rest = left.checked_sub(values);
            *left =
                rest.ok_or_else(|| malformed("a column has more values than there are rows"))?;
        }
        Ok(())
    }

    /// No more pages come.
    fn end(&self) -> Result<()> {
        match self.left {
            Some(1..) => Err(malformed("a column has fewer values than there are rows")),
            _ => Ok(()),
        }
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.lying.get_next_page()? else {
            self.end()?;
            return Ok(None);
        };
        if page.is_data_page() {
            self.count(page.num_values().into())?;
        }
        let Some(most) = self.packed else {
            return Ok(Some(page));
        };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = unpacked(buf, 0, most)?;
            }
            Page::DataPageV2 {
                buf,
                def_levels_byte_len: define,
                rep_levels_byte_len: repeat,
                is_compressed: true,
                ..
            } => {
                let levels = usize::try_from(*define)? + usize::try_from(*repeat)?;
                *buf = unpacked(buf, levels, most)?;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let next = self.lying.peek_next_page()?;
        if next.is_none() {
            self.end()?;
        }
        Ok(next)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let values = self
            .lying
            .peek_next_page()?
            .and_then(|page| page.num_levels);
        self.count(values.unwrap_or_default() as u64)?;
        self.lying.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.lying.at_record_boundary()
    }
}

impl Iterator for Pages {
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
        return Err(malformed("a page ends within its levels"));
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

fn malformed(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}
