//! The data directory: who owns it, what it belongs to, and where everything lies in it.
//!
//! ```text
//! LOCK                                    advisory lock, held while a DataDir lives; holds the owner's pid
//! mirra.meta                              what the data belongs to (Meta)
//! mirra.schema                            the schema that the journals begin with (model/schema.rs)
//! journal/shard-000/0000000001.mjl        journal segments, see storage/journal
//! snapshots/                              sled store of the chunks, see storage/snapshot
//! manifests/generation-0000000001.mmf     what makes a generation count
//! epochs/epoch-0000000001.mep             item model, see storage/epochs
//! rejects/0000000001.mrj                  refused events, see storage/rejects
//! ```
//! Directories have mode 0700, our files 0600 (sled's own are protected by their directory).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Lock, OsDisk};
use super::envelope::{self, Kind};
use super::error::StorageError;
use super::files::{exists, make_private_dir, sweep_temps};
use super::journal::JournalPlace;
use crate::base::Routing;

/// Version 1 has no key of routing.
pub(crate) const META: Kind = Kind { magic: *b"MIRRAMT1", version: 2, body_bytes_max: 64 << 10 };

/// Longest schema: [`FRAME_BYTES_MAX`](crate::base::limits::FRAME_BYTES_MAX), as it comes in a request.
pub(crate) const SCHEMA: Kind = Kind { magic: *b"MIRRASC1", version: 1, body_bytes_max: 4 << 20 };

/// What the data in a directory belongs to; written once, checked at every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Random number of the cluster: stands in every journal segment and manifest, so that files do not mix.
    pub cluster_id: u64,
    /// Shards that the users are divided into.
    pub shards: u16,
    /// The rule that maps an id to a shard.
    pub routing: Routing,
    /// Everything that the layout of the state depends on, as text; another fingerprint cannot read the snapshots.
    pub fingerprint: String,
    /// When it was created, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
}

/// The body of version 1, with which that of version 2 begins: cluster, shards, version of routing, fingerprint, creation.
type Body = (u64, u16, u16, String, i64);

impl Meta {
    /// The body of its file; `path` is for the message.
    pub(crate) fn encode(&self, path: &Path) -> Result<Vec<u8>, StorageError> {
        let Self { cluster_id, shards, routing, fingerprint, created_ms } = self;
        let body: Body = (*cluster_id, *shards, routing.version(), fingerprint.clone(), *created_ms);
        envelope::control_body(path, &(body, routing.key()))
    }

    /// What [`encode`](Self::encode) put, in any version.
    pub(crate) fn decode(path: &Path, version: u16, body: &[u8]) -> Result<Self, StorageError> {
        let (body, key) = match version {
            1 => (envelope::control_from::<Body>(path, body)?, [0; 2]),
            _ => envelope::control_from::<(Body, [u64; 2])>(path, body)?,
        };
        let (cluster_id, shards, routing_version, fingerprint, created_ms) = body;
        let routing = Routing::of(routing_version, key).ok_or_else(|| {
            let reason = format!("ids are routed by rule {routing_version}, this program knows 1 and 2");
            StorageError::damaged(path, 0, reason)
        })?;
        Ok(Self { cluster_id, shards, routing, fingerprint, created_ms })
    }
}

/// An owned data directory. The lock goes when this is dropped, or when the process dies.
#[derive(Debug)]
pub struct DataDir {
    pub(super) disk: Arc<dyn Disk>,
    path: PathBuf,
    // Held, not read.
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Takes the directory; makes it and its folders if `create`. Removes what crashed writers left unfinished.
    ///
    /// # Errors
    /// [`StorageError::NoDataDir`], [`StorageError::Locked`] with the owner's pid (also within one process),
    /// [`StorageError::Io`].
    pub fn open(path: &Path, create: bool) -> Result<Self, StorageError> {
        Self::open_on(Arc::new(OsDisk), path, create)
    }

    /// As [`open`](Self::open), on another disk than the machine's: for tests of what a disk may do.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path, create: bool) -> Result<Self, StorageError> {
        if !create && !exists(disk.as_ref(), path)? {
            return Err(StorageError::NoDataDir { path: path.to_path_buf() });
        }
        make_private_dir(disk.as_ref(), path)?;
        let lock = lock(disk.as_ref(), &path.join("LOCK"))?;
        let this = Self { disk, path: path.to_path_buf(), _lock: lock };
        for dir in [this.path.join("journal"), this.snapshots_dir(), this.manifests_dir(), this.epochs_dir()] {
            make_private_dir(this.disk(), &dir)?;
        }
        for dir in [this.path.clone(), this.manifests_dir(), this.epochs_dir()] {
            sweep_temps(this.disk(), &dir)?;
        }
        Ok(this)
    }

    /// The disk that it lies on.
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    /// Where the journal of a shard lies. The writer makes the directory.
    #[must_use]
    pub fn journal(&self, shard: u16, cluster_id: u64) -> JournalPlace {
        JournalPlace { disk: Arc::clone(&self.disk), dir: self.journal_dir(shard), shard, cluster_id }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the data belongs to; `None` in a fresh directory.
    ///
    /// # Errors
    /// [`StorageError::Damaged`], [`StorageError::UnsupportedVersion`], [`StorageError::Io`].
    pub fn read_meta(&self) -> Result<Option<Meta>, StorageError> {
        let path = self.meta_path();
        match exists(self.disk(), &path)? {
            false => Ok(None),
            true => {
                let (version, body) = envelope::read_file(self.disk(), &path, META)?;
                Meta::decode(&path, version, &body).map(Some)
            }
        }
    }

    /// Writes the meta file, atomically and durably.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] for a fingerprint of about 64 KiB, [`StorageError::Io`].
    pub fn write_meta(&self, meta: &Meta) -> Result<(), StorageError> {
        let path = self.meta_path();
        envelope::write_file(self.disk(), &path, META, &[&meta.encode(&path)?])
    }

    /// The meta file.
    #[must_use]
    pub fn meta_path(&self) -> PathBuf {
        self.path.join("mirra.meta")
    }

    /// The bytes of the schema that the journals begin with; `None` before it was ever written.
    ///
    /// # Errors
    /// [`StorageError::Damaged`], [`StorageError::UnsupportedVersion`], [`StorageError::Io`].
    pub fn read_schema(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path.join("mirra.schema");
        match exists(self.disk(), &path)? {
            false => Ok(None),
            true => envelope::read_file(self.disk(), &path, SCHEMA).map(|(_, bytes)| Some(bytes)),
        }
    }

    /// Writes the schema that the journals begin with, atomically and durably: once in the life of a directory.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`], [`StorageError::Io`].
    pub fn write_schema(&self, bytes: &[u8]) -> Result<(), StorageError> {
        envelope::write_file(self.disk(), &self.path.join("mirra.schema"), SCHEMA, &[bytes])
    }

    /// The directory of a shard's journal. The writer makes it.
    #[must_use]
    pub fn journal_dir(&self, shard: u16) -> PathBuf {
        self.path.join("journal").join(format!("shard-{shard:03}"))
    }

    /// The directory of the snapshot store.
    #[must_use]
    pub fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// The directory of the manifests.
    #[must_use]
    pub fn manifests_dir(&self) -> PathBuf {
        self.path.join("manifests")
    }

    /// The directory of the item model's epochs.
    #[must_use]
    pub fn epochs_dir(&self) -> PathBuf {
        self.path.join("epochs")
    }

    /// The directory of the refused events. The store makes it.
    #[must_use]
    pub fn rejects_dir(&self) -> PathBuf {
        self.path.join("rejects")
    }
}

/// Locks the file and writes our pid into it.
fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Lock>, StorageError> {
    let pid = format!("{}\n", std::process::id());
    let locked = disk.lock(path, &pid).map_err(StorageError::io("lock", path))?;
    locked.map_err(|text| {
        let pid = text.trim();
        let known = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
        let owner = if known { pid.to_owned() } else { "unknown".to_owned() };
        StorageError::Locked { path: path.to_path_buf(), owner }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_meta() -> Meta {
        let fingerprint = "dim=64;strategies=sgd,rls".to_owned();
        let cluster_id = 0x0123_4567_89AB_CDEF;
        Meta { cluster_id, shards: 4, routing: Routing::Plain, fingerprint, created_ms: 1_700_000_000_123 }
    }

    #[test]
    fn a_second_owner_is_refused_with_the_pid_until_the_first_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        assert!(matches!(DataDir::open(&path, false), Err(StorageError::NoDataDir { .. })));
        let first = DataDir::open(&path, true).unwrap();
        match DataDir::open(&path, true) {
            Err(StorageError::Locked { owner, .. }) => assert_eq!(owner, std::process::id().to_string()),
            other => panic!("not refused: {other:?}"),
        }
        drop(first);
        // A longer pid of an earlier owner leaves no digits behind.
        std::fs::write(path.join("LOCK"), "99999999999999\n").unwrap();
        let _second = DataDir::open(&path, false).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("LOCK")).unwrap().trim(), std::process::id().to_string());
    }

    #[test]
    fn meta_round_trips_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), true).unwrap();
        assert_eq!(data.read_meta().unwrap(), None);
        data.write_meta(&sample_meta()).unwrap();
        assert_eq!(data.read_meta().unwrap(), Some(sample_meta()));
        let mut bytes = std::fs::read(data.meta_path()).unwrap();
        bytes[30] ^= 1;
        std::fs::write(data.meta_path(), &bytes).unwrap();
        assert!(matches!(data.read_meta(), Err(StorageError::Damaged { .. })));
    }

    #[test]
    fn golden_meta() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), true).unwrap();
        let keyed = Meta { routing: Routing::Keyed([5, 6]), ..sample_meta() };
        data.write_meta(&keyed).unwrap();
        let golden = crate::storage::fixture::golden("meta-2.meta", &std::fs::read(data.meta_path()).unwrap());
        std::fs::write(data.meta_path(), golden).unwrap();
        assert_eq!(data.read_meta().unwrap(), Some(keyed));
        // From before there were keys.
        std::fs::write(data.meta_path(), include_bytes!("../../tests/fixtures/storage/v1/mirra.meta")).unwrap();
        assert_eq!(data.read_meta().unwrap(), Some(sample_meta()));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_look() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(&dir.path().join("deep/data"), true).unwrap();
        data.write_meta(&sample_meta()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for path in [data.path(), &data.snapshots_dir(), &data.manifests_dir(), &data.epochs_dir()] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        assert_eq!([mode(&data.meta_path()), mode(&data.path().join("LOCK"))], [0o600; 2]);
    }

    #[test]
    fn unfinished_files_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), true).unwrap());
        let leftovers =
            ["mirra.meta.tmp", "manifests/generation-0000000009.mmf.tmp", "epochs/epoch-0000000002.mep.tmp"];
        for name in leftovers {
            std::fs::write(dir.path().join(name), b"half").unwrap();
        }
        let _data = DataDir::open(dir.path(), true).unwrap();
        assert!(leftovers.iter().all(|name| !dir.path().join(name).exists()));
    }
}
