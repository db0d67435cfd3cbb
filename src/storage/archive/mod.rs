//! One file that holds a generation, its item models and the journal behind it: what is carried to another machine.
//!
//! * [`mod@format`]: the bytes of header, sections and footer (frozen, version 1);
//! * [`order`]: in which order parts come, and that none is missing: for both who write and who read;
//! * [`writer`], [`reader`]: the file, part by part, so that no more than one of them is in memory;
//! * [`source`]: the parts of a data directory;
//! * [`staging`]: a new data directory made of parts, wherever they come from.
//!
//! *What is trusted.* Nothing: every section has a checksum that holds its cluster, generation and place, the footer one over
//! all of them, chunks are compared with the manifest, small files and segments keep the checksums that they have in a
//! directory. Names are made of numbers here; no name is in an archive.

pub mod format;
pub mod order;
pub mod reader;
pub mod source;
pub mod staging;
pub mod writer;

pub use order::Contents;
pub use reader::ArchiveReader;
pub use source::{DirSource, journal_parts};
pub use staging::{Restored, Staging};
pub use writer::ArchiveWriter;

use super::data_dir::Meta;
use super::snapshot::Manifest;

/// Bytes of a file that a part holds at most.
pub const PIECE_BYTES: usize = 256 << 10;

/// One part, in the order in which they come: meta, schema, manifest, chunks, item models, journal segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part<'a> {
    /// What the data belong to.
    Meta(&'a Meta),
    /// The schema that the journals begin with, if there is one.
    Schema(&'a [u8]),
    /// What belongs to the generation.
    Manifest(&'a Manifest),
    /// A chunk of a shard's image.
    Chunk {
        /// The shard.
        shard: u16,
        /// Its place, from 0.
        index: u32,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A piece of an item model's file.
    Epoch {
        /// The epoch.
        number: u32,
        /// Where in the file the piece lies.
        offset: u64,
        /// Its bytes; never none.
        bytes: &'a [u8],
    },
    /// A piece of a journal segment's file.
    Segment {
        /// The shard.
        shard: u16,
        /// The segment's number.
        number: u64,
        /// Where in the file the piece lies.
        offset: u64,
        /// Its bytes; none only for a file that is empty.
        bytes: &'a [u8],
    },
}

#[cfg(test)]
mod tests;
