//! One simulated server: shards with journals and snapshots on a disk that fails, clients that send again, a network between
//! the shards that loses and doubles; everything drawn from one seed.
//!
//! What runs is the server's own code: `Journaled` applies and appends, `recover_all` and `go_on` bring back,
//! `write_generation` publishes. Mailboxes, threads and sockets are left out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mirra::base::{IdRef, ManualClock, Rng};
use mirra::model::Durability;
use mirra::shard::{Home, Journaled, SnapshotPart};
use mirra::state::{Options, Parcel};
use mirra::storage::SyncHandle;

use crate::chunks::SimChunks;
use crate::disk::{Fault, SimDisk};
use crate::oracle::Oracle;

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub events: u64,
    pub kills: u64,
    pub power_losses: u64,
    pub faults: u64,
    pub panics: u64,
    pub generations: u64,
    /// Operations that a crash took, none of them acknowledged as surviving it.
    pub lost: u64,
    pub starts_cut_short: u64,
    pub torn: u64,
}

impl Tally {
    pub fn and(mut self, other: &Self) -> Self {
        self.events += other.events;
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.faults += other.faults;
        self.panics += other.panics;
        self.generations += other.generations;
        self.lost += other.lost;
        self.starts_cut_short += other.starts_cut_short;
        self.torn += other.torn;
        self
    }
}

/// How harsh a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Processes are killed.
    Kills,
    /// Power is lost as well, and calls fail.
    Everything,
}

/// An answer that waits for its record.
pub struct Waiting {
    pub upto: u64,
    pub level: Durability,
    pub then: Then,
}

/// What an answer sets off.
pub enum Then {
    /// A client knows that these events are kept.
    Client(Vec<u64>),
    /// A shard knows that its parcel is.
    Parcel {
        from: usize,
        upto: u64,
    },
    Nothing,
}

/// What is on its way between shards.
pub enum Message {
    Parcel { from: usize, to: usize, parcel: Parcel, again: bool },
    Rows { from: usize, to: usize, parcel: Parcel },
}

/// A running server.
pub struct Running {
    pub home: Arc<Home>,
    pub cores: Vec<Journaled>,
    pub waiting: Vec<Vec<Waiting>>,
    pub syncs: VecDeque<(usize, SyncHandle, Vec<Waiting>)>,
    pub network: VecDeque<Message>,
    pub image: Option<Image>,
}

/// A generation in the making.
pub struct Image {
    pub parts: Vec<SnapshotPart>,
    pub whole: Vec<bool>,
    pub rebuilds: Vec<u64>,
}

/// An event that a client sent.
#[derive(Clone, Copy)]
pub struct Sent {
    pub user: u64,
    pub item: u64,
    pub time_ms: i64,
    pub value: f32,
    pub kind: u8,
}

/// The machine has stopped, or somebody stops it: time for a new process.
pub struct Down;

pub struct World {
    pub rng: Rng,
    pub weather: Weather,
    pub options: Options,
    pub disk: SimDisk,
    pub chunks: SimChunks,
    pub clock: Arc<ManualClock>,
    pub oracles: Vec<Oracle>,
    pub running: Option<Running>,
    /// Of each shard: the shortest beginning that a start found since the last one that succeeded.
    pub shortest: Vec<u64>,
    /// What clients sent and do not know to be kept.
    pub open: BTreeMap<u64, Sent>,
    /// All that was sent, by user and by item.
    pub by_user: BTreeMap<u64, u64>,
    pub by_item: BTreeMap<u64, u64>,
    pub next_event: u64,
    pub tally: Tally,
}

impl World {
    pub fn new(seed: u64, weather: Weather, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.bits());
        let clock = Arc::new(ManualClock::default());
        clock.set_ms(1_700_000_000_000);
        Self {
            chunks: SimChunks::new(&disk),
            oracles: (0..options.shards).map(|index| Oracle::new(index, &options)).collect(),
            shortest: vec![u64::MAX; usize::from(options.shards)],
            rng,
            weather,
            options,
            disk,
            clock,
            running: None,
            open: BTreeMap::new(),
            by_user: BTreeMap::new(),
            by_item: BTreeMap::new(),
            next_event: 1,
            tally: Tally::default(),
        }
    }

    /// Starts, serves some steps and is cut off, `crashes` times over; then starts once more, comes to rest, and stops.
    pub fn run(&mut self, crashes: u64, steps: u64) -> Result<(), String> {
        let mut power_lost = false;
        for crash in 0..crashes {
            let at = |error| format!("before crash {crash}: {error}");
            self.start(power_lost, true).map_err(at)?;
            self.serve(steps).map_err(at)?;
            power_lost = self.cut_off();
        }
        self.start(power_lost, false).and_then(|()| self.come_to_rest()).map_err(|error| format!("at the end: {error}"))
    }

    /// A new process: it must come back unaided, whatever was left. One in five is cut off on the way, as often as it takes.
    fn start(&mut self, power_lost: bool, may_be_cut: bool) -> Result<(), String> {
        let mut power_lost = power_lost;
        while may_be_cut && self.rng.below(5) == 0 {
            self.disk.light(self.rng.below(40), Fault::Stop);
            if self.bring_back(power_lost)? {
                self.disk.put_out();
                return Ok(());
            }
            self.tally.starts_cut_short += 1;
            power_lost |= self.cut_off();
        }
        match self.bring_back(power_lost)? {
            true => Ok(()),
            false => Err("a start stopped though nothing stopped it".to_owned()),
        }
    }

    /// Serves until the steps are done or the machine stops.
    fn serve(&mut self, steps: u64) -> Result<(), String> {
        if self.rng.below(2) == 0 {
            self.disk.light(self.rng.below(120), Fault::Stop);
        }
        for _ in 0..self.rng.below(2 * steps) {
            match self.step() {
                Ok(Ok(())) => {}
                Ok(Err(Down)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The process is gone; or the power. Says which.
    fn cut_off(&mut self) -> bool {
        self.running = None;
        self.tally.faults = self.disk.burnt();
        let power = self.weather == Weather::Everything && self.rng.below(2) == 0;
        if power {
            self.tally.power_losses += 1;
            self.disk.lose_power();
            self.chunks.lose_power(&mut self.rng);
        } else {
            self.tally.kills += 1;
            self.disk.restart();
        }
        power
    }

    pub fn shard_of(&self, user: u64) -> usize {
        usize::from(IdRef::Int(user).shard(self.options.shards))
    }
}
