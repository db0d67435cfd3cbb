//! The segment files of a shard's journal: names, headers, and from which one to read.

use std::path::{Path, PathBuf};

use super::JournalPlace;
use super::format::{FORMAT_VERSION, HEADER_BYTES, SegmentHeader, decode_header};
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::files::{exists, list, list_numbered};

/// How a segment's name ends, after ten digits.
pub(crate) const SUFFIX: &str = ".mjl";

/// How the name of a segment that was set aside by a salvage ends.
pub(crate) const ASIDE_SUFFIX: &str = ".mjl.damaged";

/// How the name of a segment goes on that was set aside because nothing of it belongs to the journal; then a number.
pub(crate) const DROPPED_INFIX: &str = ".dropped-";

/// Longest segment file, in bytes: the reader holds one in memory. The writer's limits keep below.
pub(crate) const SEGMENT_FILE_BYTES_MAX: u64 = 512 << 20;

/// One segment file.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    /// `None` if the file is shorter than a header or the header's checksum is wrong.
    pub(crate) header: Option<SegmentHeader>,
}

/// The file of segment `id`.
pub(crate) fn segment_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:010}{SUFFIX}"))
}

/// The number for a new segment: one above every one that is there or was set aside.
pub(crate) fn next_segment_id(place: &JournalPlace) -> Result<u64, StorageError> {
    let numbers = list(place.disk(), &place.dir)?.into_iter().filter_map(|path| {
        let (digits, _) = path.file_name()?.to_str()?.split_once(SUFFIX)?;
        digits.parse::<u64>().ok()
    });
    Ok(numbers.max().unwrap_or(0).saturating_add(1))
}

/// Renames a segment of which nothing belongs to the journal, so that the reader does not meet it again; replaces
/// nothing. Gives the new name. The caller syncs the directory.
pub(crate) fn set_dropped_aside(disk: &dyn Disk, path: &Path) -> Result<PathBuf, StorageError> {
    let mut number = 1_u64;
    loop {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!("{DROPPED_INFIX}{number}"));
        let aside = PathBuf::from(aside);
        if !exists(disk, &aside)? {
            disk.rename(path, &aside).map_err(StorageError::io("set aside", path))?;
            return Ok(aside);
        }
        number += 1;
    }
}

/// Every segment with its header, oldest first. A header that is whole but belongs elsewhere is an error.
pub(crate) fn list_segments(place: &JournalPlace) -> Result<Vec<Segment>, StorageError> {
    let mut segments = Vec::new();
    for (id, path) in list_numbered(place.disk(), &place.dir, "", SUFFIX)? {
        let header = match read_header(place.disk(), &path)? {
            Some(header) => Some(check_header(place, &path, &header, id)?),
            None => None,
        };
        segments.push(Segment { id, path, header });
    }
    Ok(segments)
}

/// The index of the segment in which reading from `sequence` starts: the last that starts at or before it.
pub(crate) fn start_index(segments: &[Segment], sequence: u64) -> Option<usize> {
    segments.iter().rposition(|segment| segment.header.is_some_and(|header| header.first_sequence <= sequence))
}

fn read_header(disk: &dyn Disk, path: &Path) -> Result<Option<SegmentHeader>, StorageError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    disk.read(path, HEADER_BYTES as u64, &mut bytes).map_err(StorageError::io("read", path))?;
    Ok(decode_header(&bytes).map(|(header, _)| header))
}

fn check_header(
    place: &JournalPlace,
    path: &Path,
    header: &SegmentHeader,
    id: u64,
) -> Result<SegmentHeader, StorageError> {
    let JournalPlace { shard, cluster_id, .. } = *place;
    let path = path.to_path_buf();
    if header.version == 0 || header.version > FORMAT_VERSION {
        return Err(StorageError::UnsupportedVersion { path, found: header.version, newest: FORMAT_VERSION });
    }
    if header.cluster_id != cluster_id {
        return Err(StorageError::WrongCluster { path, found: header.cluster_id, expected: cluster_id });
    }
    if (header.shard, header.segment) != (shard, id) {
        let reason = format!(
            "the file is segment {} of shard {}, it stands in the place of segment {id} of shard {shard}",
            header.segment, header.shard
        );
        return Err(StorageError::JournalDamaged { path, offset: 0, sequence: header.first_sequence, reason });
    }
    Ok(*header)
}
