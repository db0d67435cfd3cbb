//! What people alike turn to: users by their stated attributes, and how often each group met each item.
//!
//! A *group* is a value of an attribute: an occupation, a decade of age. Of a user with few events it says what the events
//! cannot yet (demographic filtering: Pazzani 1999). How much more people alike meet an item than all do is its *lift*: a
//! group of `n` events that met the item `n_i` times, where the item's share `p` among all lets `n p` expect, has the lift
//! `(n_i + k l) / (n p + k)`. `l` is the lift that the next larger of the user's groups has, 1 before the largest: each
//! group refines what the larger ones say as far as it has seen enough (gamma prior on a Poisson rate: DuMouchel 1999), and
//! one of a single user, such as a postcode, changes nothing. The affinity is the lift's logarithm: 0 is what anybody
//! would meet.

use hashbrown::HashMap;

use crate::base::cursor::{CursorError, Reader, Writer};

/// Most groups that one user belongs to.
pub const GROUPS_MAX: usize = 8;

/// How often a group is to be expected to meet an item before what it did counts for more than what is known of larger ones.
const PRIOR_MET: f32 = 15.0;

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

/// People alike: the groups of one user, the largest first.
#[derive(Clone, Debug)]
pub struct Alike<'a> {
    all: &'a Groups,
    groups: Vec<&'a Group>,
}

impl Alike<'_> {
    /// How much more people alike met an item than all did, as a logarithm; 0 for an item that nobody of any group met.
    #[must_use]
    pub fn affinity(&self, item: u32) -> f32 {
        let met = self.all.met.get(item as usize).copied().unwrap_or(0);
        if met == 0 {
            return 0.0;
        }
        let share = met as f32 / self.all.events as f32;
        let own = |group: &Group| group.items.get(&item).copied().unwrap_or(0) as f32;
        let refine =
            |lift: f32, group: &&Group| (own(group) + PRIOR_MET * lift) / (group.events as f32 * share + PRIOR_MET);
        let lift = self.groups.iter().fold(1.0, refine);
        lift.ln()
    }

    /// The items of the smallest of the groups that met at least `enough` different ones, else of the largest; in no order.
    pub fn items(&self, enough: usize) -> impl Iterator<Item = u32> + '_ {
        let smallest = self.groups.iter().rfind(|group| group.items.len() >= enough).or(self.groups.first());
        smallest.into_iter().flat_map(|group| group.items.keys().copied())
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

    /// What the groups of a user make of items; `None` for a user of no group.
    #[must_use]
    pub fn alike(&self, user: usize) -> Option<Alike<'_>> {
        let numbers = self.users.get(user).filter(|numbers| !numbers.is_empty())?;
        let mut groups: Vec<&Group> = numbers.iter().map(|number| &self.groups[*number as usize]).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.events)); // stable: of equal ones the older number first
        Some(Alike { all: self, groups })
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
        out.u32(self.events).count(self.met.len()).u32s(&self.met);
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
        out.count(groups.len()).u32s(groups);
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
        assert!(groups.alike(40).is_none(), "of no group");
        groups.set(40, [100].into_iter());
        let alike = groups.alike(40).unwrap();
        assert!(alike.affinity(3) > 0.5 && alike.affinity(8) < -1.0, "{}", alike.affinity(8));
        assert!(alike.affinity(10).abs() < 0.05, "what everybody meets says nothing");
        assert_eq!(alike.affinity(99).to_bits(), 0.0_f32.to_bits());
        let mut items: Vec<u32> = alike.items(6).collect();
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 10]);
    }

    #[test]
    fn small_groups_refine_large_ones_as_far_as_they_have_seen_enough() {
        let mut groups = groups();
        let lift = |groups: &Groups, user: usize| groups.alike(user).unwrap().affinity(3);
        groups.insert_user();
        groups.set(40, [100].into_iter());
        let of_the_large = lift(&groups, 40);
        // A group of this user alone, which met nothing yet, then one event of something else.
        groups.set(40, [100, 900].into_iter());
        assert!((lift(&groups, 40) - of_the_large).abs() < 1e-6, "{} {of_the_large}", lift(&groups, 40));
        groups.learn(40, 10);
        assert!((lift(&groups, 40) - of_the_large).abs() < 0.02, "{} {of_the_large}", lift(&groups, 40));
        // What a group of another mind has seen 600 times counts more than what all of them do.
        groups.insert_user();
        groups.set(41, [7, 101].into_iter());
        assert!(lift(&groups, 41) < -1.0, "{}", lift(&groups, 41));
        // By hand: the largest group first. Everybody (7): as all; odd users (101): none of 620 where 60 were to be expected.
        let share = 120.0 / 1_241.0;
        let everybody = (120.0 + 15.0) / (1_240.0 * share + 15.0);
        let odd = (0.0 + 15.0 * everybody) / (620.0 * share + 15.0);
        assert!((f64::from(lift(&groups, 41)) - f64::ln(odd)).abs() < 1e-5);
    }

    #[test]
    fn who_is_like_a_stranger_proposes_by_the_smallest_group_that_knows_enough() {
        let mut groups = groups();
        groups.insert_user();
        groups.set(40, [7, 100, 900].into_iter());
        let count = |enough: usize| groups.alike(40).unwrap().items(enough).count();
        assert_eq!([count(1), count(6), count(7), count(99)], [6, 6, 11, 11], "the empty group proposes nothing");
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
