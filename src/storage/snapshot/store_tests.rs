//! Tests of the snapshot store on a real sled: commits, damage, fallback, orphans, and stores that will not open.

use std::fs;

use super::chunk::key;
use super::manifest::manifest_path;
use super::*;
use crate::storage::{DataDir, OsDisk, StorageError};
use tempfile::TempDir;

const CLUSTER: u64 = 42;

fn open(dir: &TempDir) -> (SnapshotStore, OpenReport) {
    let data = DataDir::open(dir.path(), true).unwrap();
    SnapshotStore::open(&data, CLUSTER, SnapshotOptions { cache_bytes: 8 << 20, prove: false }).unwrap()
}

fn get(store: &SnapshotStore, key: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    store.chunks().walk(key, key, &mut |_, value| found.replace(value.to_vec()).is_none()).unwrap();
    found
}

fn count(store: &SnapshotStore) -> usize {
    let mut count = 0;
    let one = &mut |_: &[u8], _: &[u8]| {
        count += 1;
        true
    };
    store.chunks().walk(&[], &[0xFF; 20], one).unwrap();
    count
}

fn chunk(generation: u64, shard: u16, index: u32) -> Vec<u8> {
    let mut rng = crate::base::Rng::new(generation << 32 | u64::from(shard) << 16 | u64::from(index));
    (0..1 + rng.below(20_000)).map(|_| rng.bits() as u8).collect()
}

fn write(store: &SnapshotStore, generation: u64) -> (GenerationWriter, Manifest) {
    let mut writer = store.begin(generation).unwrap();
    // Shards take turns, as they do while serving.
    for index in 0..5 {
        for shard in 0..=1 {
            store.put_chunk(&mut writer, shard, index, &chunk(generation, shard, index)).unwrap();
        }
    }
    let shards = vec![writer.shard_manifest(0, 10, 1), writer.shard_manifest(1, 20, 2), writer.shard_manifest(2, 0, 3)];
    let fingerprint = "f".to_owned();
    let manifest = Manifest { generation, created_ms: 5, cluster_id: CLUSTER, fingerprint, shards, epoch: 1 };
    (writer, manifest)
}

fn commit(store: &SnapshotStore, generation: u64) -> Manifest {
    let (writer, manifest) = write(store, generation);
    store.commit(writer, &manifest).unwrap();
    manifest
}

fn chosen(store: &SnapshotStore) -> (Option<u64>, Vec<u64>) {
    let choice = store.newest_valid().unwrap();
    let rejected = choice.rejected.iter().map(|rejected| rejected.generation).collect();
    (choice.manifest.map(|manifest| manifest.generation), rejected)
}

#[test]
fn a_committed_generation_is_read_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, report) = open(&dir);
    assert!(report.is_clean());
    assert_eq!(chosen(&store), (None, vec![]));
    let manifest = commit(&store, 1);
    drop(store);
    let (store, report) = open(&dir);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(store.verify(1).unwrap(), manifest);
    for shard in 0..=2 {
        let mut next = 0;
        let read = store.read_chunks::<StorageError>(&manifest, shard, |index, bytes| {
            assert_eq!((index, bytes), (next, &chunk(1, shard, index)[..]));
            next += 1;
            Ok(())
        });
        assert_eq!((read.is_ok(), next), (true, if shard == 2 { 0 } else { 5 }));
    }
    assert!(matches!(
        store.read_chunks::<StorageError>(&manifest, 9, |_, _| Ok(())),
        Err(StorageError::Generation { generation: 1, .. })
    ));
    assert!(store.size_on_disk().unwrap() > manifest.bytes());
    assert!(!dir.path().join("snapshots/blobs").read_dir().is_ok_and(|mut blobs| blobs.next().is_some()), "no blobs");
}

#[test]
fn damage_to_a_chunk_or_manifest_falls_back_one_generation() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir);
    commit(&store, 1);
    let manifest = commit(&store, 2);
    assert_eq!(chosen(&store), (Some(2), vec![]));
    let target = key(2, 1, 3);
    let insert = |key: &[u8], value: &[u8]| store.chunks().insert(key, value).unwrap();
    let remove = |key: &[u8]| store.chunks().remove(&[key.to_vec()]).unwrap();
    let good = get(&store, &target).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    for bad in [flipped(0), flipped(4), flipped(good.len() - 1), good[..good.len() - 1].to_vec(), vec![]] {
        insert(&target, &bad);
        assert_eq!(chosen(&store), (Some(1), vec![2]));
        let read = store.read_chunks::<StorageError>(&manifest, 1, |_, _| Ok(()));
        assert!(matches!(read, Err(StorageError::ChunkDamaged { generation: 2, shard: 1, index: 3, .. })));
    }
    // A chunk that is missing (in the middle, at the end), swapped, valid but of an older put, or one too many.
    remove(&target);
    assert!(matches!(store.verify(2), Err(StorageError::ChunkDamaged { shard: 1, index: 3, .. })));
    insert(&target, &good);
    let last = get(&store, &key(2, 1, 4)).unwrap();
    remove(&key(2, 1, 4));
    assert!(matches!(store.verify(2), Err(StorageError::ChunkDamaged { shard: 1, index: 4, .. })));
    insert(&key(2, 1, 4), &good);
    assert_eq!(chosen(&store), (Some(1), vec![2]));
    insert(&key(2, 1, 4), &super::chunk::encode_value(&key(2, 1, 4), b"old").0);
    assert_eq!(chosen(&store), (Some(1), vec![2]));
    insert(&key(2, 1, 4), &last);
    insert(&key(2, 7, 0), &super::chunk::encode_value(&key(2, 7, 0), b"x").0);
    assert_eq!(chosen(&store), (Some(1), vec![2]));
    remove(&key(2, 7, 0));
    assert_eq!(chosen(&store), (Some(2), vec![]));
    // The manifest.
    let path = manifest_path(&dir.path().join("manifests"), 2);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        fs::write(&path, bad).unwrap();
        assert!(store.manifest(2).is_err(), "byte {at}");
    }
    assert_eq!(chosen(&store), (Some(1), vec![2]));
    assert!(store.generations().unwrap()[1].1.is_err());
}

#[test]
fn only_what_matches_its_chunks_can_be_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir);
    let spoil: [fn(&mut Manifest); 6] = [
        |manifest| manifest.shards[0].chunks += 1,
        |manifest| manifest.shards[1].chunks_crc ^= 1,
        |manifest| manifest.shards.truncate(1),
        |manifest| manifest.shards.push(manifest.shards[0].clone()),
        |manifest| manifest.generation += 1,
        |manifest| manifest.cluster_id += 1,
    ];
    for spoil in spoil {
        let (writer, mut manifest) = write(&store, 1);
        spoil(&mut manifest);
        assert!(store.commit(writer, &manifest).is_err());
        assert_eq!(chosen(&store), (None, vec![]));
    }
    let mut writer = store.begin(1).unwrap();
    assert!(matches!(store.put_chunk(&mut writer, 0, 1, b""), Err(StorageError::ChunkDamaged { .. })));
    let long = vec![0; (1 << 20) + 1];
    assert!(matches!(store.put_chunk(&mut writer, 0, 0, &long), Err(StorageError::TooLarge { .. })));
    store.put_chunk(&mut writer, 0, 0, &long[1..]).unwrap();
    assert_eq!(writer.written(), (1, 1 << 20));
    commit(&store, 1);
    assert!(matches!(store.begin(1), Err(StorageError::Generation { generation: 1, .. })));
}

#[test]
fn orphans_are_swept_and_old_generations_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir);
    for generation in [1, 2, 5] {
        commit(&store, generation);
    }
    // Two attempts that never finished, and a drop that did not get beyond the manifest.
    let _ = (write(&store, 3), write(&store, u64::MAX));
    fs::remove_file(manifest_path(&dir.path().join("manifests"), 1)).unwrap();
    store.chunks().insert(b"stray", b"x").unwrap();
    assert_eq!(store.sweep_orphans().unwrap(), 30);
    assert_eq!((store.sweep_orphans().unwrap(), count(&store)), (0, 20));
    assert_eq!(chosen(&store), (Some(5), vec![]));
    assert_eq!(store.keep_newest(2).unwrap(), [0_u64; 0]);
    commit(&store, 6);
    assert_eq!(store.keep_newest(2).unwrap(), [2]);
    assert_eq!(count(&store), 20);
    // A generation known to be bad does not count as one that is kept.
    store.chunks().remove(&[key(6, 0, 0).to_vec()]).unwrap();
    assert_eq!(chosen(&store), (Some(5), vec![6]));
    assert_eq!(store.keep_newest(1).unwrap(), [0_u64; 0]);
    commit(&store, 7);
    assert_eq!(store.keep_newest(2).unwrap(), [0_u64; 0], "5 is still needed beside 7");
    commit(&store, 8);
    assert_eq!(store.keep_newest(2).unwrap(), [5, 6]);
    store.drop_generation(7).unwrap();
    assert_eq!(store.generations().unwrap().len(), 1);
    assert_eq!(count(&store), 10);
}

#[test]
fn unfinished_page_tables_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    commit(&open(&dir).0, 1);
    let planted = dir.path().join("snapshots/snap.00000000FFFFFFFF.generating");
    fs::write(&planted, b"half").unwrap();
    let (store, report) = open(&dir);
    assert_eq!((report.removed, report.failures.len()), (vec![planted], 0));
    assert_eq!(chosen(&store), (Some(1), vec![]));
}

#[test]
fn a_damaged_page_table_is_set_aside_and_nothing_is_lost() {
    for garbage in [&b"garbage that is no page table"[..], &[], &[0xFF; 300]] {
        let dir = tempfile::tempdir().unwrap();
        commit(&open(&dir).0, 1);
        drop(open(&dir));
        fs::write(dir.path().join("snapshots/snap.7FFFFFFFFFFFFFFF"), garbage).unwrap();
        let (store, report) = open(&dir);
        assert!(report.quarantined.is_none(), "{report:?}");
        assert!(!report.set_aside.is_empty() && report.failures.len() == 1, "{report:?}");
        assert_eq!(chosen(&store), (Some(1), vec![]));
    }
}

#[test]
fn a_wrong_configuration_is_mended_and_a_lost_store_is_said() {
    let dir = tempfile::tempdir().unwrap();
    commit(&open(&dir).0, 1);
    let store_dir = dir.path().join("snapshots");
    fs::remove_file(store_dir.join("conf")).unwrap();
    fs::write(store_dir.join("conf"), b"segment_size: many\nno crc here").unwrap();
    let (store, report) = open(&dir);
    // A wrong configuration alone is mended.
    assert!(report.quarantined.is_none() && !report.set_aside.is_empty(), "{report:?}");
    assert_eq!(chosen(&store), (Some(1), vec![]));
    drop(store);
    fs::remove_dir_all(&store_dir).unwrap();
    let (store, _) = open(&dir);
    let choice = store.newest_valid().unwrap();
    assert!(choice.manifest.is_none());
    assert!(matches!(choice.rejected[0].error, StorageError::ChunkDamaged { generation: 1, .. }));
}

/// Whatever is wrong with sled's log: the store opens, and what it then gives is verified or refused.
#[test]
fn any_damage_to_the_log_opens_and_is_never_taken_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir);
    for generation in [1, 2] {
        commit(&store, generation);
    }
    drop(store);
    let log = dir.path().join("snapshots/db");
    let good = fs::read(&log).unwrap();
    let mut rng = crate::base::Rng::new(20);
    let (mut intact, mut refused) = (0, 0);
    for round in 0..24_usize {
        let dir_now = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir_now.path().join("snapshots")).unwrap();
        fs::create_dir_all(dir_now.path().join("manifests")).unwrap();
        for from in ["snapshots", "manifests"] {
            for path in crate::storage::files::list(&OsDisk, &dir.path().join(from)).unwrap() {
                if path.is_file() {
                    fs::copy(&path, dir_now.path().join(from).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        let mut bad = good.clone();
        let used = bad.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        match round % 4 {
            0 => bad[rng.below(used) as usize] ^= 1 << rng.below(8),
            1 => bad.truncate(rng.below(used) as usize),
            2 => bad[..4_096].fill(0xA5),
            _ => (0..used as usize).for_each(|at| bad[at] = rng.bits() as u8),
        }
        fs::write(dir_now.path().join("snapshots/db"), &bad).unwrap();
        let (store, report) = open(&dir_now);
        let choice = store.newest_valid().unwrap();
        match choice.manifest {
            Some(manifest) => {
                for shard in 0..=1 {
                    let read = store.read_chunks::<StorageError>(&manifest, shard, |index, bytes| {
                        assert_eq!(bytes, chunk(manifest.generation, shard, index), "round {round}, seed 20");
                        Ok(())
                    });
                    assert!(read.is_ok(), "round {round}, seed 20");
                }
                intact += 1;
            }
            None => refused += 1,
        }
        // The store works on: a new generation can be kept.
        commit(&store, 3);
        assert_eq!(chosen(&store).0, Some(3), "round {round}, seed 20: {report:?}");
    }
    assert!(refused > 0 && intact > 0, "intact {intact}, refused {refused}: one-sided damage tests nothing");
}
