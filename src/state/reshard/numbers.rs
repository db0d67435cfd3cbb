//! The numbers that a shard gives by first mention, of names, rows and descriptions, and what each is in all new shards.
//!
//! New rows go by old owner, then by its rows; at last the items that an owner does not know itself (somebody muted one
//! that never had an event), by the first shard that knows them. Names go by old shard and number.

use hashbrown::HashMap;

use crate::base::IdRef;
use crate::model::Entry;
use crate::person::Described;
use crate::state::items::{DESCRIPTIONS_MAX, Item, NOTHING, row_number};
use crate::state::users::User;
use crate::state::{Shard, Tags};

/// New numbers of old shards.
#[derive(Debug)]
pub(super) struct Numbers {
    names: Tags,
    /// By old shard and number.
    tags: Vec<Vec<u32>>,
    /// By old shard and row.
    rows: Vec<Vec<u32>>,
    /// By new row: the old shard whose word counts, and its row.
    origins: Vec<(usize, usize)>,
    /// By new row: what the item was to anybody, the present last.
    described: Vec<Vec<Described>>,
    /// By old shard and row, where they change: the new numbers of descriptions.
    redescribed: HashMap<(usize, u32), Vec<u16>>,
}

impl Numbers {
    /// Of all that `old` shards know.
    pub(super) fn of(old: &[Shard]) -> Self {
        let (mut names, mut origins) = (Tags::default(), Vec::new());
        let tags = old.iter().map(|shard| shard.tags.names.iter().map(|name| names.number(name)).collect()).collect();
        let mut rows: Vec<Vec<u32>> = old.iter().map(|shard| vec![u32::MAX; shard.items.len()]).collect();
        for owned in [true, false] {
            for (from, shard) in old.iter().enumerate() {
                for (row, item) in shard.items.iter().enumerate() {
                    if rows[from][row] == u32::MAX && (!owned || item.owner == shard.index) {
                        let new = row_number(origins.len());
                        origins.push((from, row));
                        everywhere(old, item.id.as_ref()).for_each(|(shard, row)| rows[shard][row] = new);
                    }
                }
            }
        }
        let (described, redescribed) = (Vec::new(), HashMap::new());
        let mut numbers = Self { names, tags, rows, origins, described, redescribed };
        numbers.describe(old);
        numbers
    }

    /// Gathers what every item was: first what others than its origin know alone, last what its origin knows.
    fn describe(&mut self, old: &[Shard]) {
        for (from, row) in self.origins.clone() {
            let known: Vec<(usize, usize)> = everywhere(old, old[from].items.get(row).id.as_ref()).collect();
            let of = |shard: usize, row: usize| self.descriptions(shard, old[shard].items.get(row));
            let (last, mut all) = (of(from, row), Vec::<Described>::new());
            for (shard, row) in known.iter().filter(|(shard, _)| *shard != from) {
                for described in of(*shard, *row) {
                    if place_of(&last, &described).is_none() && place_of(&all, &described).is_none() {
                        all.push(described);
                    }
                }
            }
            all.truncate(DESCRIPTIONS_MAX.saturating_sub(last.len()));
            all.extend(last);
            for (shard, row) in known {
                // What there was no room for counts as the present, as it does in a full list.
                let last = all.len().saturating_sub(1);
                let number = |described: &Described| place_of(&all, described).unwrap_or(last) as u16;
                let changed: Vec<u16> =
                    self.descriptions(shard, old[shard].items.get(row)).iter().map(number).collect();
                if !changed.iter().copied().eq(0..changed.len() as u16) {
                    self.redescribed.insert((shard, row_number(row)), changed);
                }
            }
            self.described.push(all);
        }
    }

    /// What an item of an old shard was, in new names; one that was counted before anything was stated was nothing.
    fn descriptions(&self, from: usize, item: &Item) -> Vec<Described> {
        let renamed = |described: &Described| Described {
            facets: self.renamed(from, &described.facets),
            log_price: described.log_price,
        };
        match item.descriptions() {
            [] if item.counted() => vec![NOTHING.clone()],
            some => some.iter().map(renamed).collect(),
        }
    }

    /// All names, by number.
    pub(super) fn names(&self) -> &[Box<str>] {
        &self.names.names
    }

    /// How many items there are.
    pub(super) fn rows(&self) -> usize {
        self.origins.len()
    }

    /// The old shard whose word counts for an item, and its row there.
    pub(super) fn origin(&self, row: usize) -> (usize, usize) {
        self.origins[row]
    }

    /// The new row of an old shard's.
    pub(super) fn row(&self, from: usize, row: u32) -> u32 {
        self.rows[from][row as usize]
    }

    /// The new number of an old shard's name.
    pub(super) fn tag(&self, from: usize, number: u32) -> u32 {
        self.tags[from][number as usize]
    }

    fn renamed(&self, from: usize, numbers: &[u32]) -> Vec<u32> {
        let mut renamed: Vec<u32> = numbers.iter().map(|number| self.tag(from, *number)).collect();
        renamed.sort_unstable();
        renamed
    }

    /// An item as its origin knows it, in new numbers.
    pub(super) fn item(&self, old: &[Shard], row: usize) -> Item {
        let (from, old_row) = self.origins[row];
        let mut item = old[from].items.get(old_row).clone();
        item.tags = self.renamed(from, &item.tags);
        item.dirty = false;
        // An event may have counted with the present in any shard: the next one comes behind it.
        let mut described = self.described[row].clone();
        let counted = !described.is_empty();
        if described.len() == 1 && place_of(&described, &NOTHING) == Some(0) {
            described.clear();
        }
        item.set_descriptions(described, counted);
        item
    }

    /// A user of an old shard, in new numbers.
    pub(super) fn renumber(&self, from: usize, user: &mut User) {
        let facet = |number: u32| self.tag(from, number);
        let entry = |entry: &mut Entry| {
            if let Some(changed) = self.redescribed.get(&(from, entry.item)) {
                entry.described = changed.get(usize::from(entry.described)).copied().unwrap_or(entry.described);
            }
            entry.item = self.row(from, entry.item);
        };
        user.history.change_each(entry);
        user.person.facets.renumber(facet);
        if let Some(controls) = &mut user.controls {
            controls.renumber(facet, |row| self.row(from, row), entry);
        }
    }
}

/// Every shard that knows an item, with its row there.
fn everywhere<'a>(old: &'a [Shard], id: IdRef<'a>) -> impl Iterator<Item = (usize, usize)> + 'a {
    old.iter().enumerate().filter_map(move |(shard, known)| Some((shard, known.items.find(id)?)))
}

/// Where a description stands. A missing price is equal to itself here.
fn place_of(list: &[Described], wanted: &Described) -> Option<usize> {
    let same = |one: &Described| one.facets == wanted.facets && one.log_price.to_bits() == wanted.log_price.to_bits();
    list.iter().position(same)
}
