//! Targets of what stands on disk and in journals: operations, schema, images, segments, small files.
//!
//! Checksums keep foreign bytes away from most of these; what a checksum lets through by chance, or what somebody
//! stamped anew, must still be refused or read, so files are tried as they come and stamped anew.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use mirra::base::limits::SHARDS_MAX;
use mirra::base::{Reader, Writer};
use mirra::learn::Strategy;
use mirra::learn::auto::ranker::Weights;
use mirra::learn::bank::pretrained::Pretrained;
use mirra::model::{Attributes, History, Schema, ServedList};
use mirra::person::formula::Formula;
use mirra::person::{Control, Controls};
use mirra::state::exchange::{Observation, Outbox};
use mirra::state::{EpochModel, ImageReader, Op, Options, Shard};
use mirra::storage::envelope::{self, CONTROL_BYTES_MAX, ENVELOPE_BYTES, Kind};
use mirra::storage::journal::format::{HEADER_BYTES, MAGIC, PAYLOAD_BYTES_MAX};
use mirra::storage::rejects::{NEWEST, RejectQuery, RejectStore, read as read_rejects};
use mirra::storage::{ArchiveReader, ArchiveWriter, JournalPlace, JournalReader, Manifest, OsDisk, StorageError};

use super::alloc::measured;
use super::stamp;
use super::{ROOM, Target, decoded, was_read};

pub fn targets() -> Vec<Target> {
    vec![
        Target::new("disk/op", 48, op),
        Target::new("disk/schema", 8, schema),
        Target::new("disk/attributes", 4, attributes),
        Target::new("disk/history", 4, history),
        Target::new("disk/control", 4, control),
        Target::new("disk/controls", 4, controls),
        Target::new("disk/served_list", 4, served_list),
        Target::new("disk/observation", 4, observation),
        Target::new("disk/outbox", 4, outbox),
        Target::new("disk/formula", 4, formula),
        Target::new("disk/ranker_weights", 4, ranker_weights),
        Target::new("disk/pretrained", 4, pretrained),
        Target::new("disk/epoch_model", 4, epoch_model),
        Target::new("disk/manifest", 2, manifest),
        Target::new("disk/archive", 2, archive),
        Target::new("disk/journal", 2, journal),
        Target::new("disk/rejects", 2, rejects),
        Target::new("disk/image", 1, image),
    ]
}

/// Decodes; what was read is written, read again and written again: both writings are the same bytes.
macro_rules! comes_back {
    ($bytes:expr, $decode:expr, |$value:ident, $out:ident| $encode:expr) => {{
        let Some($value) = decoded($bytes, |bytes| $decode(&mut Reader::new(bytes))) else { return };
        let (mut again, mut third) = (Vec::new(), Vec::new());
        let $out = &mut again;
        $encode;
        let $value = $decode(&mut Reader::new(&again)).expect("what is written can be read");
        let $out = &mut third;
        $encode;
        assert!(again == third, "decode(encode(x)) is not x");
    }};
}

/// A payload of a record: one operation behind the other.
fn op(bytes: &[u8]) {
    let mut from = Reader::new(bytes);
    while from.left() > 0 && Op::decode(&mut from).is_ok() {}
    comes_back!(bytes, Op::decode, |op, out| op.encode(out));
}

fn schema(bytes: &[u8]) {
    comes_back!(bytes, Schema::decode, |schema, out| schema.encode(&mut Writer::new(out)));
}

fn attributes(bytes: &[u8]) {
    comes_back!(bytes, Attributes::decode, |attributes, out| attributes.encode(&mut Writer::new(out)));
}

fn history(bytes: &[u8]) {
    comes_back!(bytes, |from: &mut _| History::decode(from, true), |history, out| history
        .encode(&mut Writer::new(out)));
}

fn control(bytes: &[u8]) {
    comes_back!(bytes, Control::decode, |control, out| control.encode(&mut Writer::new(out)));
}

fn controls(bytes: &[u8]) {
    comes_back!(bytes, Controls::decode, |controls, out| controls.encode(&mut Writer::new(out)));
}

fn served_list(bytes: &[u8]) {
    comes_back!(bytes, ServedList::decode, |list, out| list.encode(&mut Writer::new(out)));
}

fn observation(bytes: &[u8]) {
    comes_back!(bytes, Observation::decode, |seen, out| seen.encode(&mut Writer::new(out)));
}

fn outbox(bytes: &[u8]) {
    comes_back!(bytes, Outbox::decode, |outbox, out| outbox.encode(&mut Writer::new(out)));
}

fn formula(bytes: &[u8]) {
    comes_back!(bytes, Formula::decode, |formula, out| formula.encode(&mut Writer::new(out)));
}

fn ranker_weights(bytes: &[u8]) {
    comes_back!(bytes, Weights::decode, |weights, out| weights.encode(&mut Writer::new(out)));
}

fn pretrained(bytes: &[u8]) {
    comes_back!(bytes, Pretrained::decode, |learned, out| learned.encode(&mut Writer::new(out)));
}

fn epoch_model(bytes: &[u8]) {
    let Some(model) = decoded(bytes, EpochModel::decode) else { return };
    let again = model.encode();
    let model = EpochModel::decode(&again).expect("what is written can be read");
    assert!(model.encode() == again, "decode(encode(x)) is not x");
}

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// The file of this name in a folder of the thread's own, holding `bytes`.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = FOLDER
        .with(|folder| folder.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path().to_owned());
    std::fs::create_dir_all(folder.join(name).parent().expect("in the folder")).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("written");
    folder.join(name)
}

fn manifest(bytes: &[u8]) {
    let kind = Kind { magic: *b"MIRRAMF1", version: 1, body_bytes_max: 1 << 20 };
    let mut stamped = bytes.to_vec();
    if let Some(body) = stamped.len().checked_sub(ENVELOPE_BYTES) {
        stamped[10..14].copy_from_slice(&(body as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&stamped[..14]), &stamped[ENVELOPE_BYTES..]);
        stamped[14..18].copy_from_slice(&crc.to_le_bytes());
    }
    for bytes in [bytes, &stamped] {
        let path = file("generation-0000000001.mmf", bytes);
        let (manifest, taken) = measured(|| envelope::read_control::<Manifest>(&OsDisk, &path, kind).ok());
        // bincode reserves by the count that it reads, up to the limit that it is given.
        assert!(taken.most <= 2 * bytes.len() + ROOM + CONTROL_BYTES_MAX, "{taken:?} for {} bytes", bytes.len());
        let Some(manifest) = manifest else { continue };
        was_read();
        envelope::write_control(&OsDisk, &path, kind, &manifest).expect("written");
        assert_eq!(
            envelope::read_control::<Manifest>(&OsDisk, &path, kind).expect("what is written can be read"),
            manifest
        );
    }
}

/// An archive that is read is written as the same bytes, if it is of the newest version.
fn archive(bytes: &[u8]) {
    let mut stamped = bytes.to_vec();
    stamp::archive(&mut stamped);
    for bytes in [bytes, &stamped] {
        let path = file("archive.mra", bytes);
        let read = || {
            let mut archive = ArchiveReader::open(&OsDisk, &path)?;
            archive.each_part(|_| Ok::<(), StorageError>(()))
        };
        let (read, taken) = measured(|| read().is_ok());
        // A manifest is held as its bytes, as what was read and as what is kept; bincode reserves up to its limit.
        let bound = 4 * bytes.len() + ROOM + CONTROL_BYTES_MAX;
        assert!(taken.most <= bound, "{taken:?} for {} bytes, allowed are {bound}", bytes.len());
        if !read {
            continue;
        }
        was_read();
        let written = rewritten(&path);
        // A meta of version 1 is written as one of version 2, with a key of 16 bytes.
        let is_newer = written.len() == bytes.len() + 16 && rewritten(&file("archive.mra", &written)) == written;
        assert!(written == bytes || is_newer, "what is read is written as other bytes");
    }
}

/// What is written of an archive that can be read.
fn rewritten(path: &Path) -> Vec<u8> {
    let again = path.with_extension("again");
    let mut archive = ArchiveReader::open(&OsDisk, path).expect("it was read before");
    let disk = std::sync::Arc::new(OsDisk);
    let mut writer =
        ArchiveWriter::create(disk, &again, archive.cluster_id(), archive.generation()).expect("a free name");
    archive.each_part(|part| writer.put(&part)).expect("what was read can be written");
    writer.finish().expect("it is whole");
    let written = std::fs::read(&again).expect("written");
    std::fs::remove_file(&again).expect("removed");
    written
}

/// Length, checksums and chain as a writer would have made them; sequences and payloads stay as they are.
fn stamp_segment(bytes: &mut [u8]) {
    let masked = |crc: u32| crc.rotate_right(15).wrapping_add(0xA282_EAD8);
    let Some(head) = bytes.get_mut(..HEADER_BYTES) else { return };
    head[..8].copy_from_slice(&MAGIC);
    let mut chain = masked(crc32c::crc32c(&head[..44]));
    head[44..].copy_from_slice(&chain.to_le_bytes());
    let seed = crc32c::crc32c_append(crc32c::crc32c(&head[12..20]), &head[10..12]);
    let mut rest = &mut bytes[HEADER_BYTES..];
    while let Some(length) = rest.first_chunk().map(|raw| u32::from_le_bytes(*raw)) {
        let end = 8 + length as usize;
        if length < 33 || rest.len() < end {
            break;
        }
        let (record, after) = rest.split_at_mut(end);
        record[8..12].copy_from_slice(&chain.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &length.to_le_bytes()), &record[8..]);
        chain = masked(crc);
        record[4..8].copy_from_slice(&chain.to_le_bytes());
        rest = after;
    }
}

/// A journal of one segment, in the place that its header names if it has one.
fn journal(bytes: &[u8]) {
    let mut stamped = bytes.to_vec();
    stamp_segment(&mut stamped);
    for bytes in [bytes, &stamped] {
        let number = |at: usize| bytes.get(at..at + 8).map_or(0, |raw| Reader::new(raw).u64().unwrap_or(0));
        let shard = bytes.get(10..12).map_or(0, |raw| u16::from_le_bytes([raw[0], raw[1]]));
        let segment = number(12) % 10_000_000_000;
        let path = file(&format!("journal/{segment:010}.mjl"), bytes);
        let folder = path.parent().expect("in a folder");
        let ((), taken) = measured(|| read_journal(folder, shard, number(20), number(28)));
        std::fs::remove_file(&path).expect("removed");
        let bound = 2 * bytes.len() + ROOM;
        assert!(taken.most <= bound, "{taken:?} for {} bytes, allowed are {bound}", bytes.len());
    }
}

fn read_journal(folder: &std::path::Path, shard: u16, cluster_id: u64, from: u64) {
    let place = JournalPlace { disk: std::sync::Arc::new(OsDisk), dir: folder.to_path_buf(), shard, cluster_id };
    let Ok(mut reader) = JournalReader::open(&place, from) else { return };
    let mut before = 0;
    while let Ok(Some(record)) = reader.next_record() {
        let end = record.end_sequence().expect("a record that is read ends somewhere");
        assert!(record.first_sequence >= before && end > record.first_sequence, "sequences rise");
        assert!(record.payload.len() <= PAYLOAD_BYTES_MAX);
        before = end;
        was_read();
    }
}

fn rejects(bytes: &[u8]) {
    let path = file("rejects/0000000001.mrj", bytes);
    let folder = path.parent().expect("in a folder");
    let Some(store) = decoded(bytes, |_| RejectStore::open(folder, 7, 1 << 20)) else { return };
    for from in [0, NEWEST] {
        let query = RejectQuery { from, max: 64, reason: None };
        let read = decoded(bytes, |_| read_rejects(&store.segments(), 7, query));
        assert!(read.expect("damage is no error").rows.len() <= 64);
    }
}

/// What the images of this target are written under: strategies of each kind but `auto`, whose bank has 20 MB before it
/// has learned anything.
pub fn image_options() -> Options {
    let strategies = ["decay", "mean", "biased_mf", "fold_in", "popularity"];
    let named = |name| Strategy::default_named(name).expect("listed");
    Options {
        strategies: strategies.map(named).to_vec(),
        shards: 2,
        history_max: 20,
        rank_every: 7,
        ..Options::default()
    }
}

/// An image in one piece. A shard without users and items is what an image is put into: what it takes, and what every
/// user or item takes that is really there, is not the reader's.
fn image(bytes: &[u8]) {
    let ((), empty) = measured(|| drop(Shard::new(0, image_options())));
    let (shard, taken) = measured(|| {
        let mut reader = ImageReader::new(image_options());
        reader.feed(bytes).ok()?;
        reader.finish().ok()
    });
    let bound = empty.most + 32 * bytes.len() + ROOM;
    assert!(taken.most <= bound, "{taken:?} for {} bytes, allowed are {bound}", bytes.len());
    let Some(mut shard) = shard else { return };
    was_read();
    assert!(shard.index() < SHARDS_MAX);
    let mut write = || -> Vec<u8> {
        shard.capture_begin();
        std::iter::from_fn(|| shard.capture_some(1)).flatten().flatten().collect()
    };
    let again = write();
    let mut reader = ImageReader::new(image_options());
    reader.feed(&again).expect("what is written can be read");
    reader.finish().expect("what is written can be read");
}
