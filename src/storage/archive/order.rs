//! In which order the parts of an archive come, and that none is missing: checked where one is written, and again where it is
//! read, so that an archive has one spelling.

use std::path::Path;

use super::Part;
use super::format::{Footer, Head};
use crate::base::Reader;
use crate::base::limits::SHARDS_MAX;
use crate::storage::data_dir::Meta;
use crate::storage::envelope::{ENVELOPE_BYTES, Running};
use crate::storage::epochs::{EPOCH, EPOCH_BYTES_MAX};
use crate::storage::error::StorageError;
use crate::storage::journal::segments::SEGMENT_FILE_BYTES_MAX;
use crate::storage::snapshot::Manifest;
use crate::storage::snapshot::chunk::{Totals, checksum, key};

/// What came so far, or what an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Chunks of all shards.
    pub chunks: u64,
    /// Item models.
    pub epochs: u64,
    /// Journal segments.
    pub segments: u64,
    /// Bytes of the journal segments.
    pub journal_bytes: u64,
}

/// The file whose pieces come.
#[derive(Debug)]
enum File {
    Epoch { number: u32, next: u64, running: Running },
    Segment { shard: u16, number: u64, next: u64 },
}

/// The order of parts.
#[derive(Debug)]
pub(crate) struct Order {
    head: Head,
    meta: Option<Meta>,
    schema: bool,
    manifest: Option<Manifest>,
    /// The shard whose chunks come, as a place in the manifest, and what came of it.
    image: (usize, Totals),
    file: Option<File>,
    contents: Contents,
}

impl Order {
    pub(crate) fn new(head: Head) -> Self {
        let (meta, manifest, file) = (None, None, None);
        Self { head, meta, schema: false, manifest, image: (0, Totals::default()), file, contents: Contents::default() }
    }

    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.meta.as_ref()
    }

    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    pub(crate) fn contents(&self) -> Contents {
        self.contents
    }

    /// Takes the next part; says what is wrong with it in this place.
    pub(crate) fn take(&mut self, part: &Part<'_>) -> Result<(), String> {
        match *part {
            Part::Meta(meta) => self.take_meta(meta),
            Part::Schema(_) => {
                if self.meta.is_none() || self.schema || self.manifest.is_some() {
                    return Err("a schema stands between meta and manifest, once".to_owned());
                }
                self.schema = true;
                Ok(())
            }
            Part::Manifest(manifest) => self.take_manifest(manifest),
            Part::Chunk { shard, index, bytes } => self.take_chunk(shard, index, bytes),
            Part::Epoch { number, offset, bytes } => self.take_epoch(number, offset, bytes),
            Part::Segment { shard, number, offset, bytes } => self.take_segment(shard, number, offset, bytes.len()),
        }
    }

    /// Checks that all is there, and gives what the footer must say but for the number of sections and the checksum.
    pub(crate) fn finish(&mut self) -> Result<Footer, String> {
        self.end_images()?;
        self.end_file()?;
        let Contents { chunks, epochs, segments, .. } = self.contents;
        Ok(Footer { chunks, epochs, segments, ..Footer::default() })
    }

    fn take_meta(&mut self, meta: &Meta) -> Result<(), String> {
        if self.meta.is_some() {
            return Err("a second meta".to_owned());
        }
        if meta.cluster_id != self.head.cluster_id {
            let Head { cluster_id, .. } = self.head;
            return Err(format!("meta of cluster {:016x} in an archive of {cluster_id:016x}", meta.cluster_id));
        }
        if !(1..=SHARDS_MAX).contains(&meta.shards) {
            return Err(format!("meta with {} shards, allowed are 1 to {SHARDS_MAX}", meta.shards));
        }
        self.meta = Some(meta.clone());
        Ok(())
    }

    fn take_manifest(&mut self, manifest: &Manifest) -> Result<(), String> {
        let (Some(meta), None) = (&self.meta, &self.manifest) else {
            return Err("a manifest stands behind the meta, once".to_owned());
        };
        let Head { cluster_id, generation, .. } = self.head;
        if (manifest.cluster_id, manifest.generation) != (cluster_id, generation) {
            return Err(format!(
                "manifest of generation {} of cluster {:016x} in an archive of generation {generation} of {cluster_id:016x}",
                manifest.generation, manifest.cluster_id
            ));
        }
        // A shard that is not in the manifest would come back empty without a word.
        if !manifest.shards.iter().map(|entry| entry.shard).eq(0..meta.shards) {
            let shards: Vec<u16> = manifest.shards.iter().map(|entry| entry.shard).take(8).collect();
            return Err(format!("manifest of shards {shards:?}, the meta says 0 to {}", meta.shards - 1));
        }
        self.manifest = Some(manifest.clone());
        Ok(())
    }

    fn take_chunk(&mut self, shard: u16, index: u32, bytes: &[u8]) -> Result<(), String> {
        if self.manifest.is_none() || self.file.is_some() {
            return Err("a chunk stands behind the manifest and before files".to_owned());
        }
        self.images_to(usize::from(shard))?;
        if usize::from(shard) != self.image.0 || index != self.image.1.chunks {
            let (at, totals) = self.image;
            return Err(format!("chunk {index} of shard {shard}, chunk {} of shard {at} is next", totals.chunks));
        }
        self.image.1.count(bytes.len(), checksum(&key(self.head.generation, shard, index), bytes));
        self.contents.chunks += 1;
        Ok(())
    }

    /// Ends the images of shards below `shard`: each is what the manifest says.
    fn images_to(&mut self, shard: usize) -> Result<(), String> {
        let shards = self.manifest.as_ref().map_or(&[][..], |manifest| &manifest.shards);
        while self.image.0 < shard.min(shards.len()) {
            let (entry, found) = (&shards[self.image.0], self.image.1);
            let said = Totals::of(entry);
            if found != said {
                return Err(format!(
                    "shard {}: the manifest says {} chunks, {} bytes, checksum {:08x}; there are {}, {}, {:08x}",
                    entry.shard, said.chunks, said.bytes, said.chunks_crc, found.chunks, found.bytes, found.chunks_crc
                ));
            }
            self.image = (self.image.0 + 1, Totals::default());
        }
        match self.image.0 < shard && shard != usize::MAX {
            true => Err(format!("chunk of shard {shard}, the manifest has {}", shards.len())),
            false => Ok(()),
        }
    }

    fn end_images(&mut self) -> Result<(), String> {
        match self.manifest {
            Some(_) => self.images_to(usize::MAX),
            None => Err("there is no manifest".to_owned()),
        }
    }

    fn end_file(&mut self) -> Result<(), String> {
        match self.file.take() {
            Some(File::Epoch { number, running, .. }) => match running.finish(Path::new("")) {
                Ok(_) => Ok(()),
                Err(StorageError::Damaged { reason, .. }) => Err(format!("item model {number}: {reason}")),
                Err(error) => Err(format!("item model {number}: {error}")),
            },
            _ => Ok(()),
        }
    }

    fn take_epoch(&mut self, number: u32, offset: u64, bytes: &[u8]) -> Result<(), String> {
        self.end_images()?;
        let same = matches!(&self.file, Some(File::Epoch { number: now, .. }) if *now == number);
        if !same {
            let before = match &self.file {
                Some(File::Epoch { number, .. }) => Some(*number),
                Some(File::Segment { .. }) => return Err(format!("item model {number} behind the journals")),
                None => None,
            };
            if before.is_some_and(|before| before >= number) {
                return Err(format!("item model {number} behind item model {}", before.unwrap_or_default()));
            }
            self.end_file()?;
            self.contents.epochs += 1;
            self.file = Some(File::Epoch { number, next: 0, running: Running::new(EPOCH) });
        }
        let Some(File::Epoch { next, running, .. }) = &mut self.file else { return Ok(()) };
        advance(next, offset, bytes.len(), EPOCH_BYTES_MAX + ENVELOPE_BYTES as u64)?;
        if bytes.is_empty() {
            return Err("a piece of an item model without bytes".to_owned());
        }
        // The body begins with its number: another model's file under this one would be installed as it.
        if offset == 0 {
            let body = bytes.get(ENVELOPE_BYTES..).unwrap_or_default();
            match Reader::new(body).u32() {
                Ok(said) if said == number => {}
                Ok(said) => return Err(format!("item model {number}: its file is of item model {said}")),
                Err(_) => return Err(format!("item model {number}: its first piece has {} bytes", bytes.len())),
            }
        }
        running.feed(bytes);
        Ok(())
    }

    fn take_segment(&mut self, shard: u16, number: u64, offset: u64, bytes: usize) -> Result<(), String> {
        self.end_images()?;
        let shards = self.meta.as_ref().map_or(0, |meta| meta.shards);
        if shard >= shards {
            return Err(format!("journal of shard {shard}, the archive has {shards} shards"));
        }
        let before = match &self.file {
            Some(File::Segment { shard, number, .. }) => Some((*shard, *number)),
            _ => None,
        };
        if before != Some((shard, number)) {
            if before.is_some_and(|before| before > (shard, number)) {
                return Err(format!("segment {number} of shard {shard} stands behind a younger one"));
            }
            self.end_file()?;
            self.contents.segments += 1;
            self.file = Some(File::Segment { shard, number, next: 0 });
        } else if bytes == 0 {
            return Err("a further piece of a segment without bytes".to_owned());
        }
        let Some(File::Segment { next, .. }) = &mut self.file else { return Ok(()) };
        self.contents.journal_bytes += bytes as u64;
        advance(next, offset, bytes, SEGMENT_FILE_BYTES_MAX)
    }
}

/// The next piece of a file goes on where the one before ended, within the limit.
fn advance(next: &mut u64, offset: u64, bytes: usize, max: u64) -> Result<(), String> {
    if offset != *next {
        return Err(format!("piece from byte {offset} of a file, {next} is next"));
    }
    *next += bytes as u64;
    match *next <= max {
        true => Ok(()),
        false => Err(format!("a file of more than {max} bytes")),
    }
}
