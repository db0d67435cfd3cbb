//! The end of a run: everything that is open is sent again, everything on its way arrives, and the sums must be right.

use mirra::base::IdRef;

use crate::world::{Sent, Weather, World};

/// Rounds after which a run that does not come to rest never will.
const ROUNDS_MAX: usize = 1_000;

impl World {
    pub fn come_to_rest(&mut self) -> Result<(), String> {
        self.weather_clears();
        self.sums_are_right()?;
        let before = self.digests();
        let cores = &mut self.running.as_mut().expect("it runs").cores;
        if !cores.iter_mut().all(mirra::shard::Journaled::drain) {
            return Err("a journal cannot be drained though nothing failed".to_owned());
        }
        // A clean stop keeps everything, whatever level it was promised.
        self.running = None;
        self.disk.lose_power();
        self.chunks.lose_power(&mut self.rng);
        if !self.bring_back(false)? {
            return Err("it does not start after a clean stop".to_owned());
        }
        match self.digests() == before {
            true => Ok(()),
            false => Err("it comes back from a clean stop as another".to_owned()),
        }
    }

    pub fn digests(&self) -> Vec<u64> {
        self.running.as_ref().expect("it runs").cores.iter().map(|core| core.shard.digest()).collect()
    }

    fn weather_clears(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let open: Vec<(u64, Sent)> = self.open.iter().map(|(id, sent)| (*id, *sent)).collect();
            for (id, sent) in &open {
                self.write_events(self.shard_of(sent.user), &[(*id, *sent)]);
            }
            let shards = usize::from(self.options.shards);
            for from in 0..shards {
                self.settle_shard(from);
                self.sync();
                (0..shards).filter(|to| *to != from).for_each(|to| self.send_parcel_to(from, to));
                self.publish();
            }
            self.deliver();
            let running = self.running.as_mut().expect("it runs");
            let quiet = running.network.is_empty()
                && running.syncs.is_empty()
                && running.waiting.iter().all(Vec::is_empty)
                && running.cores.iter_mut().all(|core| core.shard.outbox_bytes() == 0);
            if quiet && self.open.is_empty() {
                return;
            }
        }
    }

    /// Every event once: with the user, and with whoever owns the item. Power loss takes what was promised to survive no
    /// more than a kill, so it is left out.
    fn sums_are_right(&mut self) -> Result<(), String> {
        if !self.open.is_empty() {
            return Err(format!("{} events are never acknowledged", self.open.len()));
        }
        if self.weather != Weather::Kills {
            return Ok(());
        }
        let sums = [self.by_user.clone(), self.by_item.clone()];
        let shards = self.options.shards;
        let cores = &mut self.running.as_mut().expect("it runs").cores;
        for (user, expected) in &sums[0] {
            let id = IdRef::Int(*user);
            let known =
                cores[usize::from(id.shard(shards))].shard.profile(id, false).map_or(0, |profile| profile.user.events);
            if known != *expected {
                return Err(format!("user {user} has {known} events, {expected} were sent"));
            }
        }
        for (item, expected) in &sums[1] {
            let id = IdRef::Int(*item);
            let known = cores[usize::from(id.shard(shards))].shard.item(id).map_or(0, |view| view.item.events);
            if known != *expected {
                return Err(format!("item {item} has {known} events, {expected} were sent"));
            }
        }
        Ok(())
    }
}
