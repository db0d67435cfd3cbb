//! What belongs to the events of a shard's users, made anew where other users are in the shard: out of the retained events,
//! in the order of time.
//!
//! *The bank* counts, pairs and groups what its users met, and its vectors are learned from that. What can be carried is
//! carried: tags, embeddings, and trails longer than what is retained. All go on from the ranker and the attention of the
//! shard that has learned most. *Sweeps* (`eals`) keep the newest users of an item, and sums over all columns.

use super::numbers::Numbers;
use super::{Places, fits_itself};
use crate::base::IdRef;
use crate::base::ids::mix;
use crate::learn::auto::FIRST_FIT;
use crate::learn::bank::pretrained::Pretrained;
use crate::model::Entry;
use crate::state::Shard;

/// Makes anew what belongs to the events of the users that `shards` have now. Gives the number of events that the bank was
/// taught from; `None` without a bank.
pub(super) fn teach(shards: &mut [Shard], old: &[Shard], numbers: &Numbers, places: &Places) -> Option<u64> {
    let learned = most_learned(old).and_then(|most| {
        let learned = most.pretrained()?;
        Some(Pretrained { stamp: most.pretrained_stamp(), ..learned })
    });
    let mut taught = None;
    for shard in shards.iter_mut() {
        let events = in_order(shard);
        sweep(shard, &events);
        if shard.banked.is_none() {
            continue;
        }
        begin_bank(shard, old);
        if let Some(learned) = &learned {
            shard.go_on_from(learned);
        }
        *taught.get_or_insert(0) += teach_bank(shard, &events);
    }
    put_trails(shards, old, numbers, places);
    if old.len() > 1 {
        shards.iter_mut().filter(|shard| bank_events(shard) >= FIRST_FIT).for_each(Shard::fit_in_step);
    }
    taught
}

/// The shard whose bank has learned most; of equal ones the first.
fn most_learned(old: &[Shard]) -> Option<&Shard> {
    old.iter().rev().max_by_key(|shard| bank_events(shard))
}

fn bank_events(shard: &Shard) -> u64 {
    shard.banked.as_ref().map_or(0, |banked| banked.bank.events())
}

/// All retained events with the slots of their users, in the order of time; of one time, by slot, the oldest first.
fn in_order(shard: &Shard) -> Vec<(u32, Entry)> {
    let of = |slot: usize| {
        let number = u32::try_from(slot).expect("slots are numbered in u32");
        shard.users.get(slot).history.oldest_first().map(move |entry| (number, *entry))
    };
    let mut events: Vec<(u32, Entry)> = (0..shard.users.len()).flat_map(of).collect();
    events.sort_by_key(|(_, entry)| entry.time_ms);
    events
}

/// The newest users of the items that a shard owns, and sums over its columns, for arms that sweep.
fn sweep(shard: &mut Shard, events: &[(u32, Entry)]) {
    let Shard { arms, items, index, .. } = shard;
    for arm in arms.iter_mut().filter(|arm| arm.sweeps.is_some()) {
        for (slot, entry) in events.iter().filter(|(_, entry)| entry.weight > 0.0) {
            if items.get(entry.item as usize).owner == *index {
                arm.remember_user(entry.item as usize, *slot);
            }
        }
        // An image has a list for every item.
        arm.audiences.resize(items.len(), Vec::new());
        let nothing = vec![0.0; arm.items.stride()];
        (0..arm.items.len()).for_each(|row| arm.strategy.item_replaced(&nothing, arm.items.col(row), &mut arm.shared));
        (0..arm.users.len()).for_each(|slot| arm.strategy.user_came(arm.users.col(slot), &mut arm.shared));
    }
}

/// What is said of items and users whatever they met: tags, embeddings, groups; and who ranks.
fn begin_bank(shard: &mut Shard, old: &[Shard]) {
    let ranker = old.iter().rev().filter_map(|shard| shard.banked.as_ref()?.ranker.as_ref());
    let ranker = ranker.max_by_key(|ranker| ranker.examples()).cloned();
    for row in 0..shard.items.len() {
        sign(shard, row);
        put_embeddings(shard, old, row);
    }
    state_tags(shard, false);
    (0..shard.users.len()).for_each(|slot| shard.regroup(slot));
    if let Some(banked) = &mut shard.banked {
        banked.ranker = ranker.or(banked.ranker.take());
    }
}

/// The signature of an item's tags, for arms that are about to fit factors of their own and have none.
fn sign(shard: &mut Shard, row: usize) {
    let Shard { arms, items, tags, options, .. } = shard;
    let hash = |tag: &u32| mix(IdRef::Text(tags.name(*tag)).stable_hash() ^ options.seed);
    let hashes: Vec<u64> = items.get(row).tags.iter().map(hash).collect();
    arms.iter_mut().filter(|arm| fits_itself(arm, options)).for_each(|arm| arm.sign_item(row, &hashes));
}

/// The vectors of an item as they were said last: all shards have heard of all, some later than others.
fn put_embeddings(shard: &mut Shard, old: &[Shard], row: usize) {
    let Some(banked) = &mut shard.banked else { return };
    let id = shard.items.get(row).id.as_ref();
    for before in old {
        let (Some(known), Some(row_before)) = (&before.banked, before.items.find(id)) else { continue };
        for (at, space) in known.bank.embeddings.spaces().iter().enumerate() {
            if let Some((time_ms, vector)) = space.said(row_before) {
                banked.bank.put_embedding(at, row, time_ms, vector);
            }
        }
    }
}

/// States the tags of all items, or of those that nobody met, in the order in which they were: of the latter a bounded number
/// is kept, the newest.
fn state_tags(shard: &mut Shard, unmet_alone: bool) {
    let Shard { items, banked: Some(banked), .. } = shard else { return };
    let mut rows: Vec<usize> = (0..items.len()).filter(|row| !items.get(*row).tags.is_empty()).collect();
    rows.sort_by_key(|row| items.get(*row).tags_ms);
    for row in rows {
        if !unmet_alone || banked.bank.counts.get(row).events == 0 {
            banked.bank.set_tags(row, &items.get(row).tags);
        }
    }
}

/// The bank reads the retained events again, as it would learn them if they came now, and so do ratings.
fn teach_bank(shard: &mut Shard, events: &[(u32, Entry)]) -> u64 {
    let Shard { banked: Some(banked), schema, .. } = shard else { return 0 };
    for (slot, entry) in events {
        let (slot, row) = (*slot as usize, entry.item as usize);
        let kind = schema.kinds.get(entry.kind).filter(|kind| kind.explicit && !entry.value.is_nan());
        if let (Some(kind), Some(ratings)) = (kind, &mut banked.ratings) {
            ratings.learn(slot, row, entry.value, kind.weight, entry.time_ms);
        }
        if entry.weight > 0.0 {
            banked.bank.learn_attention();
            banked.bank.learn(slot, row, entry.time_ms);
        }
    }
    state_tags(shard, true);
    bank_events(shard)
}

/// Trails are taught with the bank, whose parts know places in them. Where a trail was longer than what is retained, it is
/// put back as it was.
fn put_trails(shards: &mut [Shard], old: &[Shard], numbers: &Numbers, places: &Places) {
    for (from, (before, places)) in old.iter().zip(places).enumerate() {
        let Some(known) = &before.banked else { continue };
        for (slot_before, (to, slot)) in places.iter().enumerate() {
            let Some(banked) = &mut shards[*to].banked else { continue };
            let trail = known.bank.trail(slot_before);
            if banked.bank.trail(*slot as usize).len() < trail.len() {
                let mut trail = trail.clone();
                trail.renumber(|row| numbers.row(from, row));
                banked.bank.put_trail(*slot as usize, trail);
            }
        }
    }
}
