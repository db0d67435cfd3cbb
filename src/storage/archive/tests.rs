//! Archives: the same bytes as ever, the same directory again, and every damage found out with its place.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::format::{Footer, HEADER_BYTES, SECTION_HEAD_BYTES, decode_header, encode_section, kind};
use super::*;
use crate::base::{Rng, Routing};
use crate::storage::snapshot::chunk::CHUNK_BYTES_MAX;
use crate::storage::{
    DataDir, JournalOptions, JournalReader, JournalWriter, OsDisk, SnapshotOptions, SnapshotStore, StorageError,
};

const CLUSTER: u64 = 0x0123_4567_89AB_CDEF;
const GENERATION: u64 = 7;

fn meta() -> Meta {
    let (fingerprint, created_ms) = ("dim=64".to_owned(), 1_700_000_000_000);
    Meta { cluster_id: CLUSTER, shards: 2, routing: Routing::Keyed([3, 4]), fingerprint, created_ms }
}

/// A directory with two shards, three and no chunks, an item model and two journals of two segments.
fn directory() -> (TempDir, DataDir, SnapshotStore, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path(), true).unwrap();
    data.write_meta(&meta()).unwrap();
    data.write_schema(b"a schema").unwrap();
    data.put_epoch(3, b"item factors").unwrap();
    let (store, _) =
        SnapshotStore::open(&data, CLUSTER, SnapshotOptions { cache_bytes: 8 << 20, prove: false }).unwrap();
    let mut writer = store.begin(GENERATION).unwrap();
    for (index, bytes) in (0..).zip([&b"one"[..], b"", b"three"]) {
        store.put_chunk(&mut writer, 0, index, bytes).unwrap();
    }
    let shards = vec![writer.shard_manifest(0, 11, 5), writer.shard_manifest(1, 1, 6)];
    let (fingerprint, created_ms) = ("dim=64".to_owned(), 1_700_000_000_001);
    let manifest = Manifest { generation: GENERATION, created_ms, cluster_id: CLUSTER, fingerprint, shards, epoch: 3 };
    store.commit(writer, &manifest).unwrap();
    for shard in 0..2 {
        for first in [1, 11] {
            let place = data.journal(shard, CLUSTER);
            let mut writer = JournalWriter::open(&place, first, JournalOptions::default()).unwrap();
            writer.append(1, first, 10, 1_700_000_000_002, &[b"ten events"]).unwrap();
            writer.write().unwrap();
            writer.sync().unwrap();
        }
    }
    (dir, data, store, manifest)
}

fn archive(path: &Path) -> Manifest {
    let (_dir, data, store, manifest) = directory();
    let source = DirSource { dir: &data, meta: &meta(), store: &store, manifest: &manifest, with_journal: true };
    assert_eq!(source.verify_journals().unwrap(), [21, 21]);
    let mut writer = ArchiveWriter::create(Arc::new(OsDisk), path, CLUSTER, GENERATION).unwrap();
    source.each_part(|part| writer.put(&part)).unwrap();
    let (contents, bytes) = writer.finish().unwrap();
    assert_eq!(bytes, std::fs::metadata(path).unwrap().len());
    // The first segment of shard 0 is covered by the generation.
    assert_eq!((contents.chunks, contents.epochs, contents.segments), (3, 1, 3));
    manifest
}

fn read(path: &Path) -> Result<Contents, StorageError> {
    let mut reader = ArchiveReader::open(&OsDisk, path)?;
    reader.each_part(|_| Ok::<(), StorageError>(()))?;
    Ok(reader.contents())
}

/// Kind and payload.
type Section = (u8, Vec<u8>);

/// The sections of an archive.
fn sections(bytes: &[u8]) -> Vec<Section> {
    let (mut at, mut found) = (HEADER_BYTES, Vec::new());
    while at < bytes.len() {
        let length = u32::from_le_bytes(*bytes[at + 1..].first_chunk().unwrap()) as usize;
        let from = at + SECTION_HEAD_BYTES;
        found.push((bytes[at], bytes[from..from + length].to_vec()));
        at = from + length;
    }
    found
}

/// An archive of these sections with checksums that are right, a footer of its own behind them.
fn stamped(header: &[u8], sections: &[Section]) -> Vec<u8> {
    let (head, checksum) = decode_header(Path::new("x"), header).unwrap();
    let mut out = header.to_vec();
    let mut footer = Footer { crc: crc32c::crc32c(&checksum.to_le_bytes()), ..Footer::default() };
    let mut epochs = std::collections::BTreeSet::new();
    let mut segments = std::collections::BTreeSet::new();
    for (kind, payload) in sections {
        let checksum = encode_section(&mut out, head, footer.sections, *kind, payload);
        footer.sections += 1;
        footer.bytes += payload.len() as u64;
        footer.crc = crc32c::crc32c_append(footer.crc, &checksum.to_le_bytes());
        footer.chunks += u64::from(*kind == kind::CHUNK);
        epochs.extend((*kind == kind::EPOCH).then(|| payload[..4].to_vec()));
        segments.extend((*kind == kind::SEGMENT).then(|| payload[..10].to_vec()));
    }
    footer.epochs = epochs.len() as u64;
    footer.segments = segments.len() as u64;
    encode_section(&mut out, head, footer.sections, kind::FOOTER, &footer.encode());
    out
}

#[test]
fn golden_archive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    archive(&path);
    let golden = crate::storage::fixture::golden("archive-meta-2.mra", &std::fs::read(&path).unwrap());
    // The other is from before ids were routed under a key.
    for known in [include_bytes!("../../../tests/fixtures/storage/v1/archive.mra"), &golden[..]] {
        std::fs::write(&path, known).unwrap();
        let contents = read(&path).unwrap();
        assert_eq!((contents.chunks, contents.epochs, contents.segments), (3, 1, 3));
    }
}

#[test]
fn a_directory_comes_back_from_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    let manifest = archive(&path);
    let mut reader = ArchiveReader::open(&OsDisk, &path).unwrap();
    let into = dir.path().join("new");
    let mut staging = Staging::open(&into, reader.cluster_id(), reader.generation()).unwrap();
    reader.each_part(|part| staging.put(&part)).unwrap();
    let restored = staging.finish().unwrap();
    assert_eq!((&restored.manifest, &restored.epochs[..]), (&manifest, &[3][..]));
    assert_eq!(restored.next_sequences, [21, 21]);
    let data = DataDir::open(&into, false).unwrap();
    assert_eq!(data.read_meta().unwrap(), Some(meta()));
    assert_eq!(data.read_schema().unwrap().as_deref(), Some(&b"a schema"[..]));
    assert_eq!(data.get_epoch(3).unwrap(), b"item factors");
    let (store, report) = SnapshotStore::open(&data, CLUSTER, SnapshotOptions::default()).unwrap();
    assert!(report.is_clean());
    assert_eq!(store.newest_valid().unwrap().manifest, Some(manifest.clone()));
    let mut records = JournalReader::open(&data.journal(0, CLUSTER), 11).unwrap();
    assert_eq!(records.next_record().unwrap().map(|record| record.first_sequence), Some(11));
    // The archive of what came back is the same file.
    let again = dir.path().join("again.mra");
    let source = DirSource { dir: &data, meta: &meta(), store: &store, manifest: &manifest, with_journal: true };
    let mut writer = ArchiveWriter::create(Arc::new(OsDisk), &again, CLUSTER, GENERATION).unwrap();
    source.each_part(|part| writer.put(&part)).unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn every_flip_cut_and_extension_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    archive(&path);
    let good = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        match read(&path) {
            Err(StorageError::Damaged { offset, .. }) => {
                assert!(offset <= bytes.len() as u64, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    };
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        refused(&bad, &format!("bit {bit}"));
    }
    for cut in 0..good.len() {
        refused(&good[..cut], &format!("cut at {cut}"));
    }
    refused(&[&good[..], b"x"].concat(), "a byte behind");
    refused(&[&good[..], &good[HEADER_BYTES..]].concat(), "twice");
}

/// Sections whose checksums are right, in an order or of a content that is not.
#[test]
fn sections_that_do_not_belong_are_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    archive(&path);
    let good = std::fs::read(&path).unwrap();
    let header = &good[..HEADER_BYTES];
    let mut all = sections(&good);
    all.pop();
    assert_eq!(stamped(header, &all), good);
    let place = |wanted: u8| all.iter().position(|(kind, _)| *kind == wanted).unwrap();
    let (chunk, epoch, segment) = (place(kind::CHUNK), place(kind::EPOCH), place(kind::SEGMENT));
    let refused = |change: &dyn Fn(&mut Vec<Section>), words: &str| {
        let mut sections = all.clone();
        change(&mut sections);
        std::fs::write(&path, stamped(header, &sections)).unwrap();
        match read(&path) {
            Err(StorageError::Damaged { reason, .. }) => assert!(reason.contains(words), "{reason} / {words}"),
            other => panic!("{words}: {other:?}"),
        }
    };
    refused(&|all| all.swap(chunk, chunk + 1), "chunk 1 of shard 0, chunk 0 of shard 0 is next");
    refused(&|all| drop(all.remove(chunk + 2)), "the manifest says 3 chunks");
    refused(&|all| all[chunk].1[6] ^= 1, "the manifest says 3 chunks");
    refused(&|all| all[chunk].1[0] = 9, "the manifest says 3 chunks");
    refused(&|all| drop(all.remove(place(kind::META))), "between meta and manifest");
    refused(&|all| drop(all.remove(place(kind::MANIFEST))), "behind the manifest");
    refused(&|all| all.insert(0, all[0].clone()), "a second meta");
    refused(&|all| all.insert(1, all[1].clone()), "between meta and manifest, once");
    refused(&|all| all.insert(2, all[2].clone()), "behind the meta, once");
    refused(&|all| all.swap(epoch, segment), "behind the journals");
    refused(&|all| all[epoch].1[0] = 4, "its file is of item model 3");
    refused(&|all| all[epoch].1.truncate(20), "its first piece has 8 bytes");
    refused(&|all| all[epoch].1.truncate(40), "body of 16 bytes said, 10 there");
    refused(&|all| all[epoch].1[4] = 1, "piece from byte 1 of a file, 0 is next");
    refused(&|all| all[segment].1[0] = 2, "journal of shard 2, the archive has 2 shards");
    refused(&|all| all.swap(segment, segment + 1), "stands behind a younger one");
    refused(&|all| all[segment].1[10] = 1, "piece from byte 1");
    refused(&|all| all.truncate(chunk), "the manifest says 3 chunks");
    refused(&|all| all.push((9, Vec::new())), "no kind 9");
    refused(&|all| all.push((kind::CHUNK, vec![0; CHUNK_BYTES_MAX + 7])), "limit");
    refused(&|all| all.clear(), "there is no manifest");
}

#[test]
fn newer_versions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    archive(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    let head = super::format::Head { version: 2, cluster_id: CLUSTER, generation: GENERATION };
    bytes[..HEADER_BYTES].copy_from_slice(&super::format::encode_header(head).0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(read(&path), Err(StorageError::UnsupportedVersion { found: 2, newest: 1, .. })));
}

/// Zeros, copies and holes.
#[test]
fn random_changes_are_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    archive(&path);
    let good = std::fs::read(&path).unwrap();
    let mut rng = Rng::new(3);
    for round in 0..300 {
        let mut bad = good.clone();
        let (from, to) = (rng.below(bad.len() as u64) as usize, rng.below(bad.len() as u64) as usize);
        let length = (1 + rng.below(64) as usize).min(bad.len() - from.max(to));
        match round % 3 {
            0 => bad[from..from + length].fill(0),
            1 => bad.copy_within(from..from + length, to),
            _ => drop(bad.drain(from..from + length)),
        }
        std::fs::write(&path, &bad).unwrap();
        assert!(bad == good || read(&path).is_err(), "round {round}");
    }
}

#[test]
fn a_writer_that_is_dropped_or_disturbed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mra");
    let create = || ArchiveWriter::create(Arc::new(OsDisk), &path, CLUSTER, GENERATION);
    let mut writer = create().unwrap();
    writer.put(&Part::Meta(&meta())).unwrap();
    assert!(matches!(writer.put(&Part::Meta(&meta())), Err(StorageError::Damaged { .. })));
    assert!(matches!(writer.finish(), Err(StorageError::Damaged { .. })));
    drop(create().unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(&path, b"mine").unwrap();
    assert!(matches!(create(), Err(StorageError::Io { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}
