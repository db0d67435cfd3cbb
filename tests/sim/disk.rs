//! A disk in memory: what programs see of it (live), and what power loss would leave of it (durable).
//!
//! *Names.* Creating, renaming and removing change what is seen at once; they are durable once their directory is synced.
//! Power loss keeps any subset of the rest, in order: harsher than a journaling file system, which keeps a beginning.
//! *Bytes* are durable once their file is synced; of the rest power loss leaves a cut, zeros, torn and stale blocks, in any
//! order. A sync that fails makes nothing durable, and later ones succeed without what it lost, as on Linux (Rebello et al.,
//! ATC 2020). *Calls* that change something are counted; a fuse makes one of them fail, or the machine stop there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mirra::base::Rng;
use mirra::storage::disk::Lock;
use mirra::storage::{Disk, DiskFile};

#[path = "power.rs"]
mod power;

/// What happens at the call that a fuse waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: this call may do a part, later ones nothing.
    Stop,
    /// The call fails (a write leaves a part), later ones succeed.
    Fails,
}

#[derive(Clone, Debug, Default)]
struct Node {
    bytes: Vec<u8>,
    durable: usize,
    /// Written before a sync that failed: never durable.
    holes: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
enum Naming {
    Set(PathBuf, usize),
    /// From, to, and which file: an entry is what it names.
    Move(PathBuf, PathBuf, usize),
    Unset(PathBuf),
}

impl Naming {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Set(path, _) | Self::Move(path, ..) | Self::Unset(path) => path.parent(),
        }
    }

    fn carry_out(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, node) => drop(names.insert(path, node)),
            Self::Move(from, to, node) => {
                names.remove(&from);
                names.insert(to, node);
            }
            Self::Unset(path) => drop(names.remove(&path)),
        }
    }
}

#[derive(Clone, Debug)]
struct Inner {
    nodes: BTreeMap<usize, Node>,
    next_node: usize,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    waiting: Vec<Naming>,
    dirs: BTreeSet<PathBuf>,
    rng: Rng,
    calls: u64,
    fuse: Option<(u64, Fault)>,
    stopped: bool,
    burnt: u64,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: usize,
}

#[derive(Debug)]
struct SimLock;

impl Lock for SimLock {}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self(Arc::new(Mutex::new(Inner {
            nodes: BTreeMap::new(),
            next_node: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            waiting: Vec::new(),
            dirs: BTreeSet::new(),
            rng,
            calls: 0,
            fuse: None,
            stopped: false,
            burnt: 0,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the fault happen at the `calls`-th changing call from now on.
    pub fn light(&self, calls: u64, fault: Fault) {
        let mut inner = self.inner();
        inner.fuse = Some((inner.calls + calls, fault));
    }

    /// Takes the fuse away.
    pub fn put_out(&self) {
        self.inner().fuse = None;
    }

    pub fn has_stopped(&self) -> bool {
        self.inner().stopped
    }

    /// Faults that happened.
    pub fn burnt(&self) -> u64 {
        self.inner().burnt
    }

    /// One changing call; chunks count theirs here, too.
    pub fn step(&self) -> io::Result<()> {
        self.inner().step()
    }

    /// Every file with its length, for whoever looks at a failure.
    pub fn listing(&self) -> String {
        let inner = self.inner();
        let line = |(path, node): (&PathBuf, &usize)| {
            let Node { bytes, durable, holes } = &inner.nodes[node];
            format!("\n  {} {} bytes, {durable} durable, holes {holes:?}", path.display(), bytes.len())
        };
        inner.names.iter().map(line).collect()
    }

    /// Another disk of the same bytes.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.inner().clone())))
    }

    /// Hands the bytes of a file to `damage`, chosen by `draw` among all that have a name; says which it was.
    pub fn damage(&self, draw: impl FnOnce(&[PathBuf]) -> usize, damage: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let mut inner = self.inner();
        let paths: Vec<PathBuf> = inner.names.keys().cloned().collect();
        let path = paths[draw(&paths)].clone();
        let node = inner.names[&path];
        damage(&mut inner.nodes.entry(node).or_default().bytes);
        path
    }

    /// The process was killed: a new one sees everything that was written.
    pub fn restart(&self) {
        self.inner().start();
    }

    /// The power was lost: what comes back is one of the many things that could.
    pub fn lose_power(&self) {
        let mut inner = self.inner();
        inner.lose_power();
        inner.start();
    }
}

impl Inner {
    fn step(&mut self) -> io::Result<()> {
        if self.stopped {
            return Err(stopped());
        }
        let at = self.calls;
        self.calls += 1;
        match self.fuse {
            Some((when, fault)) if when == at => {
                self.burnt += 1;
                self.stopped = fault == Fault::Stop;
                Err(if self.stopped { stopped() } else { io::Error::other("injected failure") })
            }
            _ => Ok(()),
        }
    }

    /// Files that have no name and are open nowhere are gone.
    fn start(&mut self) {
        (self.stopped, self.fuse) = (false, None);
        let waiting = self.waiting.iter().filter_map(|naming| match naming {
            Naming::Set(_, node) | Naming::Move(.., node) => Some(node),
            Naming::Unset(_) => None,
        });
        let held: BTreeSet<usize> =
            self.names.values().chain(self.durable_names.values()).chain(waiting).copied().collect();
        self.nodes.retain(|node, _| held.contains(node));
    }

    fn name(&mut self, naming: Naming) {
        naming.clone().carry_out(&mut self.names);
        self.waiting.push(naming);
    }

    fn lose_power(&mut self) {
        for naming in std::mem::take(&mut self.waiting) {
            if self.rng.below(2) == 0 {
                naming.carry_out(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        let stale: Vec<u8> = self
            .nodes
            .values()
            .rev()
            .map(|node| &node.bytes)
            .find(|bytes| !bytes.is_empty())
            .cloned()
            .unwrap_or_default();
        for node in self.names.values().copied().collect::<BTreeSet<_>>() {
            let Node { mut bytes, durable, holes } = self.nodes.remove(&node).unwrap_or_default();
            for (from, to) in holes {
                power::spoil(&mut bytes, from, to, &stale, &mut self.rng);
            }
            let image = power::image(bytes, durable, &stale, &mut self.rng);
            self.nodes.insert(node, Node { durable: image.len(), bytes: image, holes: Vec::new() });
        }
    }
}

impl DiskFile for SimFile {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let was_stopped = inner.stopped;
        let stepped = inner.step();
        let part = match &stepped {
            Ok(()) => bytes.len(),
            Err(_) if was_stopped => 0,
            Err(_) => inner.rng.below(bytes.len() as u64 + 1) as usize,
        };
        inner.nodes.entry(self.node).or_default().bytes.extend_from_slice(&bytes[..part]);
        stepped
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.inner().sync_node(self.node)
    }
}

impl Inner {
    fn sync_node(&mut self, node: usize) -> io::Result<()> {
        let was_stopped = self.stopped;
        let stepped = self.step();
        let node = self.nodes.entry(node).or_default();
        let (from, to) = (node.durable, node.bytes.len());
        match &stepped {
            Ok(()) => node.durable = to,
            // What failed once is called clean: no later sync writes it.
            Err(_) if !was_stopped && !self.stopped && from < to => {
                node.holes.push((from, to));
                node.durable = to;
            }
            Err(_) => {}
        }
        stepped
    }

    fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.step()?;
        if !path.parent().is_some_and(|dir| self.dirs.contains(dir)) {
            return Err(missing(path));
        }
        let node = self.next_node;
        self.next_node += 1;
        self.nodes.insert(node, Node::default());
        self.name(Naming::Set(path.to_path_buf(), node));
        Ok(node)
    }

    fn node(&self, path: &Path) -> io::Result<usize> {
        if self.stopped {
            return Err(stopped());
        }
        self.names.get(path).copied().ok_or_else(|| missing(path))
    }
}

impl Disk for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.inner();
        if inner.names.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there"));
        }
        let node = inner.create(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let node = self.inner().create(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node }))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let inner = self.inner();
        inner.node(path).map(|node| inner.nodes[&node].bytes.len() as u64)
    }

    fn read(&self, path: &Path, most: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let inner = self.inner();
        let bytes = &inner.nodes[&inner.node(path)?].bytes;
        out.extend_from_slice(&bytes[..bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX))]);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        let inner = self.inner();
        Ok(Box::new(io::Cursor::new(inner.nodes[&inner.node(path)?].bytes.clone())))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.inner();
        Ok(inner.dirs.contains(path) || inner.names.contains_key(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.inner();
        if inner.stopped {
            return Err(stopped());
        }
        if !inner.dirs.contains(dir) {
            return Err(missing(dir));
        }
        let all = inner.names.keys().chain(&inner.dirs);
        Ok(all.filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        let node = inner.node(from)?;
        inner.name(Naming::Move(from.to_path_buf(), to.to_path_buf(), node));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        inner.node(path)?;
        inner.name(Naming::Unset(path.to_path_buf()));
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let node = inner.node(path)?;
        inner.sync_node(node)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        let (synced, waiting) =
            std::mem::take(&mut inner.waiting).into_iter().partition(|naming| naming.dir() == Some(dir));
        inner.waiting = waiting;
        let synced: Vec<Naming> = synced;
        synced.into_iter().for_each(|naming| naming.carry_out(&mut inner.durable_names));
        Ok(())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        inner.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn lock(&self, _path: &Path, _text: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        if self.has_stopped() { Err(stopped()) } else { Ok(Ok(Box::new(SimLock))) }
    }
}
