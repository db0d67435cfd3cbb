//! What a server does between two crashes, a step at a time.

use mirra::base::{Clock, IdRef, Reader, Rng};
use mirra::engine::{GenerationPlan, write_generation};
use mirra::model::{Attributes, Durability, Event, Value};
use mirra::person::Control;
use mirra::shard::SnapshotPart;
use mirra::shard::journaled::Fate;
use mirra::state::Op;

use crate::disk::Fault;
use crate::world::{Down, Image, Message, Running, Sent, Then, Waiting, Weather, World};

const USERS: u64 = 24;
const ITEMS: u64 = 40;
/// Rows of one publication.
const ROWS_MAX: usize = 16;

/// A step: what was found to be broken; or whether it goes on.
type Step = Result<Result<(), Down>, String>;

impl World {
    pub fn step(&mut self) -> Step {
        let now_ms = self.clock.now_ms();
        // Now and then the clock goes back.
        let back = self.rng.below(200) == 0;
        self.clock.set_ms(if back { now_ms - 3_600_000 } else { now_ms + self.rng.below(20_000) as i64 });
        match self.rng.below(100) {
            0..40 => self.send_events(),
            40..46 => self.send_something_else(),
            46..62 => self.settle(),
            62..70 => self.sync(),
            70..78 => self.send_parcel(),
            78..88 => self.deliver(),
            88..91 => self.publish(),
            91..97 => self.go_on_with_image()?,
            97 => self.rest_journal(),
            98 => self.panic()?,
            _ => self.light(),
        }
        let poisoned = self.cores().iter().any(|core| core.journal.is_poisoned());
        // Somebody looks after a server that takes no more writes, sooner or later.
        let stop = self.disk.has_stopped() || (poisoned && self.rng.below(8) == 0);
        Ok(if stop { Err(Down) } else { Ok(()) })
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it runs")
    }

    fn cores(&mut self) -> &mut [mirra::shard::Journaled] {
        &mut self.running().cores
    }

    fn draw_shard(&mut self) -> usize {
        self.rng.below(u64::from(self.options.shards)) as usize
    }

    /// A call will fail.
    fn light(&mut self) {
        if self.weather == Weather::Everything && self.rng.below(4) == 0 {
            self.disk.light(self.rng.below(30), Fault::Fails);
        }
    }

    /// Events of one shard's users: new ones, and some that nobody has acknowledged.
    fn send_events(&mut self) {
        let shard = self.draw_shard();
        let mut events = Vec::new();
        for _ in 0..=self.rng.below(6) {
            let again = self.open.iter().nth(self.rng.below(self.open.len() as u64 + 1) as usize);
            let (id, sent) = match again.map(|(id, sent)| (*id, *sent)) {
                Some(again) if self.rng.below(3) == 0 => again,
                _ => self.new_event(),
            };
            if self.shard_of(sent.user) == shard {
                events.push((id, sent));
            }
        }
        self.write_events(shard, &events);
    }

    fn new_event(&mut self) -> (u64, Sent) {
        let (user, item) = (self.rng.below(USERS), self.rng.below(ITEMS));
        let time_ms = self.clock.now_ms() - self.rng.below(100_000) as i64;
        let (value, kind) = (1.0 + self.rng.below(5) as f32, self.rng.below(2) as u8);
        let sent = Sent { user, item, time_ms, value, kind };
        let id = self.next_event;
        self.next_event += 1;
        self.open.insert(id, sent);
        *self.by_user.entry(user).or_default() += 1;
        *self.by_item.entry(item).or_default() += 1;
        (id, sent)
    }

    pub fn write_events(&mut self, shard: usize, events: &[(u64, Sent)]) {
        if events.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        for (id, Sent { user, item, time_ms, value, kind }) in events {
            let (user, item) = (IdRef::Int(*user), IdRef::Int(*item));
            let event_id = IdRef::Int(*id).stable_hash();
            Op::Event(Event { event_id, user, item, kind: *kind, value: *value, time_ms: *time_ms }).encode(&mut bytes);
        }
        let level = [Durability::Applied, Durability::Journaled, Durability::Durable][self.rng.below(3) as usize];
        let then = Then::Client(events.iter().map(|(id, _)| *id).collect());
        if self.write(shard, &bytes, events.len() as u32, level, then) {
            self.tally.events += events.len() as u64;
        }
    }

    /// Hands a shard operations; says whether it took them.
    fn write(&mut self, shard: usize, bytes: &[u8], count: u32, level: Durability, then: Then) -> bool {
        let Ok(written) = self.cores()[shard].write(bytes, count, true) else { return false };
        self.oracles[shard].applied(written.first_sequence, count, bytes);
        let upto = written.first_sequence + u64::from(count) - 1;
        if level > Durability::Applied {
            self.running().waiting[shard].push(Waiting { upto, level, then });
        }
        true
    }

    /// A statement, a control or a retraction.
    fn send_something_else(&mut self) {
        let (user, item) = (self.rng.below(USERS), self.rng.below(ITEMS));
        let (user_id, item_id) = (IdRef::Int(user), IdRef::Int(item));
        let time_ms = self.clock.now_ms();
        let mut attributes = Attributes::default();
        attributes.patch("colour", Value::Number(self.rng.below(100) as f64), time_ms);
        let tag = format!("tag-{}", self.rng.below(8));
        let retract = self.weather == Weather::Everything;
        let (shard, op) = match self.rng.below(4) {
            0 => (self.shard_of(user), Op::UserUpsert { user: user_id, time_ms, attributes }),
            1 => (self.shard_of(item), Op::ItemUpsert { item: item_id, time_ms, tags: vec![&tag], attributes }),
            2 if retract => {
                let event_id = IdRef::Int(self.rng.below(self.next_event)).stable_hash();
                (self.shard_of(user), Op::Retract { user: user_id, event_id })
            }
            _ => {
                let control = Control::MuteItem(item_id, self.rng.below(2) == 0);
                (self.shard_of(user), Op::Control { user: user_id, time_ms, control })
            }
        };
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        self.write(shard, &bytes, 1, Durability::Durable, Then::Nothing);
    }

    fn settle(&mut self) {
        let shard = self.draw_shard();
        self.settle_shard(shard);
    }

    pub fn settle_shard(&mut self, shard: usize) {
        let running = self.running();
        let waiting = std::mem::take(&mut running.waiting[shard]);
        let well = running.cores[shard].write_journal();
        let handle = running.cores[shard].journal.sync_handle();
        let mut durable = Vec::new();
        for waiting in waiting {
            match (Fate::of(waiting.level, well), &waiting.then) {
                (Fate::Durable, _) => durable.push(waiting),
                (Fate::Journaled, _) => self.answer(shard, waiting, Durability::Journaled),
                (Fate::Refused, Then::Parcel { from, .. }) => self.cores()[*from].shard.outbox(shard as u16).unsend(),
                (Fate::Refused, _) => {}
            }
        }
        if !durable.is_empty() {
            self.running().syncs.push_back((shard, handle, durable));
        }
    }

    /// What waits for a sync is synced: the oldest alone, or all of its shard with the newest handle, as the thread does.
    pub fn sync(&mut self) {
        let Some((shard, mut handle, mut waiting)) = self.running().syncs.pop_front() else { return };
        if self.rng.below(2) == 0 {
            let (same, others): (std::collections::VecDeque<_>, _) =
                std::mem::take(&mut self.running().syncs).into_iter().partition(|(of, ..)| *of == shard);
            self.running().syncs = others;
            for (_, newer, more) in same {
                handle = newer;
                waiting.extend(more);
            }
        }
        if handle.sync().is_ok() {
            waiting.into_iter().for_each(|waiting| self.answer(shard, waiting, Durability::Durable));
        }
    }

    fn answer(&mut self, shard: usize, waiting: Waiting, level: Durability) {
        self.oracles[shard].acknowledged(waiting.upto, level);
        match waiting.then {
            Then::Client(ids) => self.open.retain(|id, _| !ids.contains(id)),
            Then::Parcel { from, upto } => {
                let lost = self.rng.below(10) == 0;
                let outbox = self.cores()[from].shard.outbox(shard as u16);
                if lost { outbox.unsend() } else { outbox.acknowledge(upto) }
            }
            Then::Nothing => {}
        }
    }

    fn send_parcel(&mut self) {
        let (from, to) = (self.draw_shard(), self.draw_shard());
        if from != to {
            self.send_parcel_to(from, to);
        }
    }

    pub fn send_parcel_to(&mut self, from: usize, to: usize) {
        if let Some(parcel) = self.cores()[from].next_parcel(to as u16) {
            self.running().network.push_back(Message::Parcel { from, to, parcel, again: false });
        }
    }

    pub fn publish(&mut self) {
        let from = self.draw_shard();
        let Some(parcel) = self.cores()[from].shard.publish(ROWS_MAX) else { return };
        let peers = (0..usize::from(self.options.shards)).filter(|to| *to != from);
        let messages = peers.map(|to| Message::Rows { from, to, parcel: parcel.clone() });
        self.running().network.extend(messages);
    }

    /// The oldest message arrives, or is lost.
    pub fn deliver(&mut self) {
        let Some(message) = self.running().network.pop_front() else { return };
        let lost = self.rng.below(10) == 0;
        let mut bytes = Vec::new();
        match message {
            Message::Parcel { from, to, again: false, .. } if lost => {
                self.cores()[from].shard.outbox(to as u16).unsend();
            }
            Message::Rows { from, .. } if lost => self.cores()[from].shard.publish_all(),
            Message::Parcel { from, to, parcel, again } => {
                let (upto, count) = (parcel.upto, parcel.count);
                Op::Merge { source: from as u16, upto, count, bytes: &parcel.bytes }.encode(&mut bytes);
                let then = if again { Then::Nothing } else { Then::Parcel { from, upto } };
                if !self.write(to, &bytes, 1, Durability::Journaled, then) && !again {
                    self.cores()[from].shard.outbox(to as u16).unsend();
                } else if self.rng.below(10) == 0 {
                    self.running().network.push_back(Message::Parcel { from, to, parcel, again: true });
                }
            }
            Message::Rows { from, to, parcel } => {
                let (generation, count) = (parcel.upto, parcel.count);
                Op::Rows { owner: from as u16, generation, count, bytes: &parcel.bytes }.encode(&mut bytes);
                self.write(to, &bytes, 1, Durability::Applied, Then::Nothing);
            }
        }
    }

    fn rest_journal(&mut self) {
        let shard = self.draw_shard();
        let core = &mut self.cores()[shard];
        if core.journal.durable_sequence() == core.journal.next_sequence() {
            core.rest();
        }
    }

    /// A turn panics: the shard comes back as it was.
    fn panic(&mut self) -> Result<(), String> {
        let shard = self.draw_shard();
        let core = &mut self.cores()[shard];
        if core.journal.is_poisoned() || core.broken {
            return Ok(());
        }
        let before = (core.shard.sequence(), core.shard.digest());
        let mut bytes = Vec::new();
        Op::Rows { owner: shard as u16, generation: 0, count: 0, bytes: &[] }.encode(&mut bytes);
        // Half of a turn is done, and in no journal.
        let refused = core.guarded(|core| {
            core.shard.apply(&Op::decode(&mut Reader::new(&bytes)).expect("encoded"));
            std::panic::panic_any("a turn panics")
        });
        let well = refused == Err(mirra::shard::Refusal::Broken);
        let (after, broken) = ((core.shard.sequence(), core.shard.digest()), core.broken);
        // Only a disk that failed meanwhile is an excuse.
        let excused = core.journal.is_poisoned() || self.disk.has_stopped();
        self.tally.panics += 1;
        if !well || (!excused && (broken || before != after)) {
            return Err(format!("shard {shard} panicked at {before:?} and came back at {after:?}, broken: {broken}"));
        }
        Ok(())
    }

    fn go_on_with_image(&mut self) -> Result<(), String> {
        let Some(mut image) = self.running().image.take() else {
            self.begin_image();
            return Ok(());
        };
        for (index, core) in self.running().cores.iter_mut().enumerate() {
            if image.whole[index] {
                continue;
            }
            if core.rebuilds != image.rebuilds[index] {
                return Ok(()); // the machine that it was of is gone
            }
            match core.shard.capture_some(2) {
                Some(sections) => image.parts.push(SnapshotPart::Sections(index as u16, sections)),
                None => {
                    image.whole[index] = true;
                    image.parts.push(SnapshotPart::End(index as u16));
                }
            }
        }
        if image.whole.iter().all(|whole| *whole) {
            return self.publish_image(image);
        }
        self.running().image = Some(image);
        Ok(())
    }

    fn begin_image(&mut self) {
        let cores = self.cores();
        let begun: Vec<Option<SnapshotPart>> = cores.iter_mut().map(mirra::shard::Journaled::begin_image).collect();
        let rebuilds = cores.iter().map(|core| core.rebuilds).collect();
        let whole = vec![false; cores.len()];
        let parts: Option<Vec<SnapshotPart>> = begun.into_iter().collect();
        self.running().image = parts.map(|parts| Image { parts, whole, rebuilds });
    }

    fn publish_image(&mut self, image: Image) -> Result<(), String> {
        let plan = GenerationPlan {
            shards: self.options.shards,
            fingerprint: self.options.fingerprint(),
            keep: 2,
            created_ms: self.clock.now_ms(),
        };
        let burnt = self.disk.burnt();
        match write_generation(&self.running().home, &plan, image.parts) {
            Ok(_) => self.tally.generations += 1,
            Err(_) if self.disk.burnt() > burnt || self.disk.has_stopped() => {}
            Err(_) if self.cores().iter().any(|core| core.journal.is_poisoned()) => {}
            Err(error) => return Err(format!("a generation failed: {error}")),
        }
        Ok(())
    }
}

/// Draws what a run is about.
pub fn options(rng: &mut Rng) -> mirra::state::Options {
    use mirra::learn::Strategy;
    use mirra::learn::auto::Training;
    let all: &[&[&str]] =
        &[&["decay"], &["biased_mf", "popularity"], &["isgd", "decay"], &["item_knn"], &["eals"], &["auto"]];
    // `auto` costs a hundred times as much as the others.
    let names = all[if rng.below(40) == 0 { 5 } else { rng.below(5) as usize }];
    let strategies = names.iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
    let (shards, history_max) = (1 + rng.below(3) as u16, 128);
    mirra::state::Options { shards, strategies, history_max, training: Training::Apart, ..Default::default() }
}
