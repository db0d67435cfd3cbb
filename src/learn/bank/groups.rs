//! What people alike turn to: users by their stated attributes, and how often each group met each item.
//!
//! A *group* is a value of an attribute: an occupation, a decade of age. Of a user with few events it says what the events
//! cannot yet (demographic filtering: Pazzani 1999). How much an item belongs to a user's groups is the mean, over the
//! groups, of `ln((n_gi + s p_i) / (n_g + s) / p_i)`: the item's share among the group's events, drawn to its share among
//! all by `s` events, against that share. 0 is what anybody would meet.

use hashbrown::HashMap;

use crate::base::cursor::{CursorError, Reader, Writer};

/// Most groups that one user belongs to.
pub const GROUPS_MAX: usize = 8;

/// Events whose worth the share among all has against a group's own.
const PRIOR_EVENTS: f32 = 50.0;

/// Events of one group.
#[derive(Clone, Debug, Default)]
struct Group {
    events: u32,
    items: HashMap<u32, u32, foldhash::fast::RandomState>,
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.events == other.events && self.items == other.items
    }
}

/// All groups, and who belongs to which.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    groups: Vec<Group>,
    numbers: HashMap<u64, u32, foldhash::fast::RandomState>,
    hashes: Vec<u64>,
    /// By user: numbers of groups, rising.
    users: Vec<Box<[u32]>>,
    /// Events of all users that belong to any group, by item, and in all.
    met: Vec<u32>,
    events: u32,
}

impl Groups {
    /// Adds a user of no group.
    pub fn insert_user(&mut self) {
        self.users.push(Box::default());
    }

    /// Whether a user belongs to any group.
    #[must_use]
    #[inline]
    pub fn knows(&self, user: usize) -> bool {
        self.users.get(user).is_some_and(|groups| !groups.is_empty())
    }

    /// A user belongs to these groups from now on, by the stable hashes of their names; the first [`GROUPS_MAX`].
    pub fn set(&mut self, user: usize, hashes: impl Iterator<Item = u64>) {
        let mut numbers: Vec<u32> = hashes.take(GROUPS_MAX).map(|hash| self.number(hash)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.users[user] = numbers.into();
    }

    fn number(&mut self, hash: u64) -> u32 {
        *self.numbers.entry(hash).or_insert_with(|| {
            self.groups.push(Group::default());
            self.hashes.push(hash);
            self.groups.len() as u32 - 1
        })
    }

    /// Learns that `user` met `item`.
    pub fn learn(&mut self, user: usize, item: u32) {
        if !self.knows(user) {
            return;
        }
        let at = item as usize;
        if self.met.len() <= at {
            self.met.resize(at + 1, 0);
        }
        self.met[at] += 1;
        self.events += 1;
        for number in &self.users[user] {
            let group = &mut self.groups[*number as usize];
            group.events += 1;
            *group.items.entry(item).or_default() += 1;
        }
    }

    /// How much an item belongs to a user's groups; 0 for a user of none, and for an item that nobody of any met.
    #[must_use]
    pub fn affinity(&self, user: usize, item: u32) -> f32 {
        let Some(groups) = self.users.get(user).filter(|groups| !groups.is_empty()) else { return 0.0 };
        let met = self.met.get(item as usize).copied().unwrap_or(0);
        if met == 0 {
            return 0.0;
        }
        let share = met as f32 / self.events as f32;
        let sum: f32 = groups
            .iter()
            .map(|number| {
                let group = &self.groups[*number as usize];
                let own = group.items.get(&item).copied().unwrap_or(0) as f32;
                ((own + PRIOR_EVENTS * share) / ((group.events as f32 + PRIOR_EVENTS) * share)).ln()
            })
            .sum();
        sum / groups.len() as f32
    }

    /// The items that the smallest of a user's groups met, in no order.
    pub fn items(&self, user: usize) -> impl Iterator<Item = u32> + '_ {
        let groups = self.users.get(user).map_or(&[][..], |groups| &groups[..]);
        let smallest = groups.iter().map(|number| &self.groups[*number as usize]).min_by_key(|group| group.items.len());
        smallest.into_iter().flat_map(|group| group.items.keys().copied())
    }

    /// Appends what is kept over all users.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        out.count(self.groups.len());
        for (group, hash) in self.groups.iter().zip(&self.hashes) {
            let mut items: Vec<_> = group.items.iter().map(|(item, events)| (*item, *events)).collect();
            items.sort_unstable();
            out.u64(*hash).u32(group.events).count(items.len());
            for (item, events) in items {
                out.u32(item).u32(events);
            }
        }
        out.u32(self.events).count(self.met.len());
        self.met.iter().for_each(|met| {
            out.u32(*met);
        });
    }

    /// Reads what [`Self::encode_head`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no groups.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        for _ in 0..from.count(16, usize::MAX)? {
            let number = self.number(from.u64()?) as usize;
            self.groups[number].events = from.u32()?;
            for _ in 0..from.count(8, usize::MAX)? {
                let (item, events) = (from.u32()?, from.u32()?);
                self.groups[number].items.insert(item, events);
            }
        }
        self.events = from.u32()?;
        let count = from.count(4, usize::MAX)?;
        self.met = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Appends what is kept of one user.
    pub fn encode_user(&self, user: usize, out: &mut Writer<'_>) {
        let groups = self.users.get(user).map_or(&[][..], |groups| &groups[..]);
        out.count(groups.len());
        groups.iter().for_each(|number| {
            out.u32(*number);
        });
    }

    /// Adds a user as [`Self::encode_user`] wrote it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are none, or a group that nobody knows.
    pub fn decode_user(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        let count = from.count(4, GROUPS_MAX)?;
        let numbers = (0..count).map(|_| from.u32()).collect::<Result<Box<[u32]>, _>>()?;
        if let Some(found) = numbers.iter().find(|number| **number as usize >= self.groups.len()) {
            let (what, found, allowed) = ("group of a user", u64::from(*found), "one of the head's");
            return Err(CursorError::Bad { what, offset, found, allowed });
        }
        self.users.push(numbers);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        let mut groups = Groups::default();
        for user in 0..40 {
            groups.insert_user();
            groups.set(user, [7, 100 + user as u64 % 2].into_iter());
            // Even users meet items 0 to 4, odd ones 5 to 9; everybody meets 10.
            (0..30).for_each(|at| groups.learn(user, (at % 5 + 5 * (user % 2)) as u32));
            groups.learn(user, 10);
        }
        groups
    }

    #[test]
    fn what_ones_like_meet_belongs_to_a_newcomer() {
        let mut groups = groups();
        groups.insert_user();
        assert_eq!(groups.affinity(40, 3).to_bits(), 0.0_f32.to_bits(), "of no group");
        groups.set(40, [100].into_iter());
        assert!(groups.affinity(40, 3) > 0.5 && groups.affinity(40, 8) < -1.0, "{}", groups.affinity(40, 8));
        assert!(groups.affinity(40, 10).abs() < 0.05, "what everybody meets says nothing");
        assert_eq!(groups.affinity(40, 99).to_bits(), 0.0_f32.to_bits());
        let mut items: Vec<u32> = groups.items(40).collect();
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 10]);
    }

    #[test]
    fn comes_back_from_its_bytes() {
        let groups = groups();
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        groups.encode_head(&mut out);
        (0..40).for_each(|user| groups.encode_user(user, &mut out));
        let (mut again, mut from) = (Groups::default(), Reader::new(&bytes));
        again.decode_head(&mut from).unwrap();
        (0..40).for_each(|_| again.decode_user(&mut from).unwrap());
        assert_eq!((again, from.finish()), (groups, Ok(())));
    }
}
