//! Parquet's pages, unpacked here: with snappy, gzip and zstd, which datasets are written with, and never
//! beyond what a file may hold in memory. The package would allocate whatever a page's header claims, and
//! unpack gzip without any end.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, CompressionCodec};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader, SerializedPageReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

/// Bytes of the pages that are held at once, one of each column, at most.
const MOST_HELD: u64 = 1 << 30;

/// A file whose pages are unpacked here.
pub struct UnpackedFile {
    file: Arc<File>,
    read: SerializedFileReader<File>,
}

impl UnpackedFile {
    /// Reads what describes the file.
    ///
    /// # Errors
    /// It is no Parquet, or is damaged.
    pub fn new(file: File) -> Result<Self> {
        let again = file.try_clone()?;
        Ok(Self {
            file: Arc::new(file),
            read: SerializedFileReader::new(again)?,
        })
    }
}

impl FileReader for UnpackedFile {
    fn metadata(&self) -> &ParquetMetaData {
        self.read.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.read.num_row_groups()
    }

    fn get_row_group(&self, number: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(UnpackedGroup {
            file: Arc::clone(&self.file),
            metadata: self.read.metadata().row_group(number),
            held: Arc::default(),
        }))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct UnpackedGroup<'a> {
    file: Arc<File>,
    metadata: &'a RowGroupMetaData,
    /// Bytes of the pages of all columns.
    held: Arc<AtomicU64>,
}

impl RowGroupReader for UnpackedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, number: usize) -> Result<Box<dyn PageReader>> {
        let column = self.metadata.column(number);
        let packing = Packing::of(column.compression_codec(), column.column_path().string())?;
        // The package hands over the pages as they are.
        let plain = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
        let rows = usize::try_from(self.metadata.num_rows())?;
        Ok(Box::new(UnpackedPages {
            pages: SerializedPageReader::new(Arc::clone(&self.file), &plain.build()?, rows, None)?,
            packing,
            held: Arc::clone(&self.held),
            own: [0; 2],
        }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// How a column's pages are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Snappy,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(codec: CompressionCodec, column: String) -> Result<Self> {
        match codec {
            CompressionCodec::UNCOMPRESSED => Ok(Self::None),
            CompressionCodec::SNAPPY => Ok(Self::Snappy),
            CompressionCodec::GZIP => Ok(Self::Gzip),
            CompressionCodec::ZSTD => Ok(Self::Zstd),
            other => Err(ParquetError::General(format!(
                "its column {column} is packed with {other:?}; write it with zstd, gzip, snappy or not packed"
            ))),
        }
    }

    /// What bytes stand for, as far as it has no more than `most` bytes.
    fn unpacked(self, packed: Bytes, most: u64) -> Result<Bytes> {
        let unpacked = match self {
            Self::None => packed,
            Self::Snappy => {
                let length = snap::raw::decompress_len(&packed)?;
                if length as u64 > most {
                    return Err(too_large());
                }
                snap::raw::Decoder::new().decompress_vec(&packed)?.into()
            }
            Self::Gzip => read_within(flate2::bufread::MultiGzDecoder::new(&packed[..]), Vec::new(), most)?.into(),
            Self::Zstd => frames(&packed, most)?.into(),
        };
        match unpacked.len() as u64 <= most {
            true => Ok(unpacked),
            false => Err(too_large()),
        }
    }
}

/// One frame behind another, as zstd allows.
fn frames(mut packed: &[u8], most: u64) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    while !packed.is_empty() {
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut packed);
        let frame = frame.map_err(|error| ParquetError::General(format!("its zstd is damaged: {error}")))?;
        unpacked = read_within(frame, unpacked, most)?;
    }
    Ok(unpacked)
}

/// Reads on behind what is there, to `most` bytes at most.
fn read_within(from: impl Read, mut before: Vec<u8>, most: u64) -> Result<Vec<u8>> {
    let room = most.saturating_sub(before.len() as u64);
    from.take(room + 1).read_to_end(&mut before)?;
    match before.len() as u64 <= most {
        true => Ok(before),
        false => Err(too_large()),
    }
}

fn too_large() -> ParquetError {
    ParquetError::General(format!(
        "its pages take more than {MOST_HELD} bytes when they are unpacked; write it with smaller pages"
    ))
}

struct UnpackedPages {
    pages: SerializedPageReader<File>,
    packing: Packing,
    held: Arc<AtomicU64>,
    /// Bytes of this column's dictionary, and of its page.
    own: [u64; 2],
}

impl UnpackedPages {
    fn unpacked(&mut self, page: Page) -> Result<Page> {
        let place = usize::from(page.is_data_page());
        // The page before is not held any more.
        let before = self.held.load(Ordering::Relaxed) - self.own[place];
        let most = MOST_HELD.saturating_sub(before);
        let page = unpack(page, self.packing, most)?;
        self.own[place] = page.buffer().len() as u64;
        self.held.store(before + self.own[place], Ordering::Relaxed);
        Ok(page)
    }
}

fn unpack(page: Page, packing: Packing, most: u64) -> Result<Page> {
    Ok(match page {
        Page::DataPage {
            buf,
            num_values,
            encoding,
            def_level_encoding,
            rep_level_encoding,
            statistics,
        } => Page::DataPage {
            buf: packing.unpacked(buf, most)?,
            num_values,
            encoding,
            def_level_encoding,
            rep_level_encoding,
            statistics,
        },
        Page::DataPageV2 {
            buf,
            num_values,
            encoding,
            num_nulls,
            num_rows,
            def_levels_byte_len,
            rep_levels_byte_len,
            is_compressed,
            statistics,
        } => {
            // The levels in front are never packed.
            let levels = def_levels_byte_len as usize + rep_levels_byte_len as usize;
            let buf = match is_compressed && packing != Packing::None {
                true if levels > buf.len() => {
                    return Err(ParquetError::General("a page is shorter than it says".into()));
                }
                true if levels == buf.len() => buf,
                true => {
                    let values = packing.unpacked(buf.slice(levels..), most)?;
                    [&buf[..levels], &values].concat().into()
                }
                false => Packing::None.unpacked(buf, most)?,
            };
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            }
        }
        Page::DictionaryPage {
            buf,
            num_values,
            encoding,
            is_sorted,
        } => Page::DictionaryPage {
            buf: packing.unpacked(buf, most)?,
            num_values,
            encoding,
            is_sorted,
        },
    })
}

impl Iterator for UnpackedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for UnpackedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        match self.pages.get_next_page()? {
            Some(page) => self.unpacked(page).map(Some),
            None => Ok(None),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        match packing {
            Packing::None => bytes.to_vec(),
            Packing::Snappy => snap::raw::Encoder::new().compress_vec(bytes).expect("it is short"),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect("there is room");
                encoder.finish().expect("there is room")
            }
            Packing::Zstd => ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest),
        }
    }

    #[test]
    fn what_is_packed_comes_out_and_no_more_than_there_is_room_for() {
        let bytes = vec![7; 1 << 20];
        for packing in [Packing::None, Packing::Snappy, Packing::Gzip, Packing::Zstd] {
            let packed = Bytes::from(packed(packing, &bytes));
            assert_eq!(
                packing.unpacked(packed.clone(), 1 << 20).ok().as_deref(),
                Some(&bytes[..])
            );
            let error = packing
                .unpacked(packed.clone(), (1 << 20) - 1)
                .expect_err("there is no room");
            assert!(error.to_string().contains("more than"), "{packing:?}: {error}");
            if packing != Packing::None {
                assert!(packing.unpacked(packed.slice(..packed.len() - 2), 1 << 20).is_err());
            }
        }
        let two = [packed(Packing::Zstd, b"one "), packed(Packing::Zstd, b"two")].concat();
        assert_eq!(
            Packing::Zstd.unpacked(two.into(), 100).ok().as_deref(),
            Some(&b"one two"[..])
        );
    }

    #[test]
    fn a_snappy_page_that_claims_more_than_there_is_allocates_nothing() {
        // Two gigabytes, by its first bytes.
        let claims = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x07, 0]);
        assert!(Packing::Snappy.unpacked(claims, MOST_HELD).is_err());
    }
}
