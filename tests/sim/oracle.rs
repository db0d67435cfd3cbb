//! What must be true, told without journal, snapshot or disk: the operations that a shard was given, in order, and a plain
//! machine that has applied them as far as the last start.

use mirra::base::Reader;
use mirra::model::Durability;
use mirra::state::{Op, Options, Shard};

/// One shard's past.
pub struct Oracle {
    machine: Shard,
    /// Records since the machine's state: first sequence, operations, their bytes.
    records: Vec<(u64, u32, Vec<u8>)>,
    /// Newest sequence that was acknowledged as journaled, and as durable.
    acknowledged: [u64; 2],
}

impl Oracle {
    pub fn new(index: u16, options: &Options) -> Self {
        Self { machine: Shard::new(index, options.clone()), records: Vec::new(), acknowledged: [0; 2] }
    }

    /// The shard has applied these.
    pub fn applied(&mut self, first: u64, count: u32, bytes: &[u8]) {
        self.records.push((first, count, bytes.to_vec()));
    }

    /// Everything up to a sequence was acknowledged at this level.
    pub fn acknowledged(&mut self, upto: u64, level: Durability) {
        let [journaled, durable] = &mut self.acknowledged;
        *journaled = (*journaled).max(upto);
        if level == Durability::Durable {
            *durable = (*durable).max(upto);
        }
    }

    /// The newest sequence that the shard was given.
    pub fn end(&self) -> u64 {
        self.records.last().map_or(self.machine.sequence(), |(first, count, _)| first + u64::from(*count) - 1)
    }

    /// The shard came back as `found`, from a journal and a snapshot that hold everything up to `kept`: it must be what that
    /// beginning of its past gives, to the bit, and no shorter than what was acknowledged and survives. From now on that is
    /// its past. Gives the operations that are gone.
    ///
    /// `merged` is the newest sequence that another shard has merged of it: up to there sequences may be skipped.
    pub fn came_back(&mut self, found: &Shard, kept: u64, power_lost: bool, merged: u64) -> Result<u64, String> {
        let [journaled, durable] = self.acknowledged;
        let (end, at, needed) = (self.end(), found.sequence(), if power_lost { durable } else { journaled });
        if kept < needed {
            return Err(format!(
                "everything up to sequence {kept} is kept, acknowledged were {journaled} and {durable} as durable, given \
                 {end}, the machine stands at {}, power lost: {power_lost}",
                self.machine.sequence()
            ));
        }
        if kept > end || at < kept.max(merged) || at > end.max(merged) {
            return Err(format!("comes back at sequence {at}; kept {kept}, given {end}, merged elsewhere {merged}"));
        }
        let mut lost = 0;
        for (first, count, bytes) in std::mem::take(&mut self.records) {
            if first + u64::from(count) - 1 <= kept {
                self.machine.skip_to(first - 1);
                apply(&mut self.machine, &bytes, count);
            } else {
                lost += u64::from(count);
            }
        }
        self.machine.skip_to(at);
        if self.machine.digest() != found.digest() {
            return Err(format!("comes back at sequence {at} of {end} as another: {}", self.differs(found)));
        }
        self.acknowledged = [kept; 2];
        Ok(lost)
    }

    fn differs(&self, found: &Shard) -> String {
        let facts = |shard: &Shard| (shard.event_count(), shard.user_count(), shard.item_count());
        format!("events, users, items {:?}, expected {:?}", facts(found), facts(&self.machine))
    }
}

fn apply(machine: &mut Shard, bytes: &[u8], count: u32) {
    let mut from = Reader::new(bytes);
    for _ in 0..count {
        machine.apply(&Op::decode(&mut from).expect("made by the simulation"));
    }
}
