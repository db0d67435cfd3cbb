//! What a new process does, and what must then be true.

use std::path::Path;
use std::sync::{Arc, Mutex};

use mirra::base::Clock;
use mirra::engine::EngineError;
use mirra::engine::bring_back::{Common, Pieces, go_on, recover_all};
use mirra::shard::{Home, Journaled, Recovered};
use mirra::storage::{DataDir, JournalOptions, SnapshotStore};
use mirra::telemetry::Metrics;

use crate::world::{Running, World};

const CLUSTER: u64 = 0x51;

/// Segments as small as they come, so that runs rotate and trim.
const JOURNAL: JournalOptions = JournalOptions { segment_bytes: 0, buffer_bytes: 4 << 10 };

impl World {
    /// Brings everything back and checks it. `false` if the disk stopped on the way.
    pub fn bring_back(&mut self, power_lost: bool) -> Result<bool, String> {
        match self.try_bring_back(power_lost) {
            Ok(Ok(running)) => {
                self.running = Some(running);
                Ok(true)
            }
            Ok(Err(broken)) => Err(broken),
            Err(_) if self.disk.has_stopped() => Ok(false),
            Err(error) => Err(format!("it does not start: {error}; there are{}", self.disk.listing())),
        }
    }

    /// Brings everything back, whatever lies there, and gives what each shard is: nothing is compared with the past.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn look(&mut self) -> Result<Vec<u64>, String> {
        let started = self.open_home(false).and_then(|home| match home {
            Ok(home) => recover_all(&home, &self.options).map(Ok),
            Err(rejected) => Ok(Err(rejected)),
        });
        let recovered = started.map_err(|error| error.to_string())??;
        Ok(recovered.iter().map(|recovered| recovered.shard.digest()).collect())
    }

    /// `Err` if it does not start, `Ok(Err)` if it starts as something that it was not.
    fn try_bring_back(&mut self, power_lost: bool) -> Result<Result<Running, String>, EngineError> {
        let home = match self.open_home(true)? {
            Ok(home) => home,
            Err(rejected) => return Ok(Err(rejected)),
        };
        let recovered = recover_all(&home, &self.options)?;
        self.note_shortest(&recovered);
        let cores = self.open_journals(&home, recovered)?;
        Ok(self.check(&cores, power_lost).map(|()| self.serving(home, cores)))
    }

    /// The data directory with its newest generation. Where none may be damaged, one that is and counts is what is wrong.
    fn open_home(&self, undamaged: bool) -> Result<Result<Arc<Home>, String>, EngineError> {
        let dir = DataDir::open_on(Arc::new(self.disk.clone()), Path::new("/data"), true)?;
        let store = SnapshotStore::over(&dir, CLUSTER, Box::new(self.chunks.clone()));
        let choice = store.newest_valid()?;
        if let Some(rejected) = choice.rejected.first().filter(|_| undamaged) {
            return Ok(Err(format!("generation {} counts and is not whole: {}", rejected.generation, rejected.error)));
        }
        store.sweep_orphans()?;
        let (dir, store, manifest) = (Arc::new(dir), Arc::new(store), Mutex::new(choice.manifest));
        Ok(Ok(Arc::new(Home { dir, store, cluster_id: CLUSTER, manifest, progress: Arc::default() })))
    }

    /// How far journals and snapshots go. A start that is cut off may already have skipped sequences in the journal that a
    /// peer has merged: they are no part of the beginning that is kept.
    fn note_shortest(&mut self, recovered: &[Recovered]) {
        for (shortest, Recovered { journal_next, torn, .. }) in self.shortest.iter_mut().zip(recovered) {
            *shortest = (*shortest).min(journal_next - 1);
            self.tally.torn += torn.len() as u64;
        }
    }

    fn open_journals(&self, home: &Arc<Home>, recovered: Vec<Recovered>) -> Result<Vec<Journaled>, EngineError> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let schema = self.options.schema.clone();
        let open = |recovered: Recovered| {
            let pieces = Pieces { home, metrics: &Arc::new(Metrics::default()), clock: &clock, journal: JOURNAL };
            go_on(recovered, &pieces, Common { epoch: 0, schema: &schema }, 0.0)
        };
        recovered.into_iter().map(open).collect()
    }

    fn check(&mut self, cores: &[Journaled], power_lost: bool) -> Result<(), String> {
        for (index, core) in cores.iter().enumerate() {
            let merged = cores.iter().map(|peer| peer.shard.merged(index as u16)).max().unwrap_or(0);
            let came_back = self.oracles[index].came_back(&core.shard, self.shortest[index], power_lost, merged);
            self.tally.lost += came_back.map_err(|error| format!("shard {index}: {error}"))?;
            self.shortest[index] = u64::MAX;
        }
        Ok(())
    }

    fn serving(&self, home: Arc<Home>, mut cores: Vec<Journaled>) -> Running {
        // As the actors do when they meet their peers.
        cores.iter_mut().for_each(|core| core.shard.publish_all());
        let waiting = cores.iter().map(|_| Vec::new()).collect();
        Running { home, cores, waiting, syncs: Default::default(), network: Default::default(), image: None }
    }
}
