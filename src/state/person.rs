//! What a shard keeps of its users as persons: each event is counted with what its item is at that time.
//!
//! An item's description (facets, price) may change. The history remembers under which description an event was counted,
//! so that taking the event away takes away what it added.

use super::Shard;
use crate::base::IdRef;
use crate::model::{Event, Role, Value};
use crate::person::{Described, Person, Seen};

/// Longest text that is a group: what is longer is about one user alone.
const GROUP_BYTES_MAX: usize = 32;

impl Shard {
    /// Counts an event; returns the number of the item's description that it was counted with.
    pub(super) fn count_person(&mut self, slot: usize, row: usize, event: &Event<'_>) -> u16 {
        let (number, item) = self.items.get_mut(row).describe();
        if let Some(kind) = self.schema.kinds.get(event.kind) {
            let seen = Seen { kind, value: event.value, time_ms: event.time_ms, item };
            self.users.get_mut(slot).person.count(&self.schema, &seen, 1);
            self.population.count(&item.facets, 1);
            self.values.count(event.kind, event.value, 1);
        }
        number
    }

    /// What an item is, by its tags and attributes, from now on.
    pub(super) fn redescribe(&mut self, row: usize) {
        let item = self.items.get(row);
        let mut described = Described { facets: item.tags.clone(), log_price: f32::NAN };
        let mut names = Vec::new();
        for (name, value, _) in item.attributes.iter().flat_map(|attributes| attributes.iter()) {
            let rule = self.schema.item.iter().find(|rule| rule.name == name);
            match (rule.map_or(Role::None, |rule| rule.role), value) {
                (Role::Price, Value::Number(price)) if *price > 0.0 => described.log_price = price.log2() as f32,
                (Role::Facet, Value::Text(text)) => names.push(format!("{name}={text}")),
                (Role::Facet, Value::List(texts)) => names.extend(texts.iter().map(|text| format!("{name}={text}"))),
                _ => {}
            }
        }
        described.facets.extend(names.iter().map(|name| self.tags.number(name)));
        described.facets.sort_unstable();
        described.facets.dedup();
        self.items.get_mut(row).redescribe(described);
    }

    /// A user belongs to the groups of its attributes, but for sensitive ones: of numbers, all with the same first digit
    /// and size are one group.
    pub(super) fn regroup(&mut self, slot: usize) {
        let Self { users, schema, banked: Some(banked), .. } = self else { return };
        let held = users.get(slot).attributes.iter().flat_map(|attributes| attributes.iter());
        let told = held.filter(|(name, ..)| !schema.is_sensitive(name));
        let names = told.filter_map(|(name, value, _)| match value {
            Value::Number(number) if *number != 0.0 => {
                let step = 10_f64.powf(number.abs().log10().floor());
                Some(format!("{name}={}", (number / step).trunc() * step))
            }
            Value::Number(_) => Some(format!("{name}=0")),
            Value::Bool(yes) => Some(format!("{name}={yes}")),
            Value::Text(text) if text.len() <= GROUP_BYTES_MAX => Some(format!("{name}={text}")),
            _ => None,
        });
        let hashes: Vec<u64> = names.map(|name| IdRef::Text(&name).stable_hash()).collect();
        banked.bank.groups.set(slot, hashes.into_iter());
    }

    /// Every item is what the schema in force says.
    pub(super) fn redescribe_all(&mut self) {
        self.touch_all_items();
        (0..self.items.len()).for_each(|row| self.redescribe(row));
    }

    /// Bytes that are kept of all users as persons.
    #[must_use]
    pub fn person_bytes(&self) -> usize {
        (0..self.users.len()).map(|slot| Person::bytes(&self.users.get(slot).person)).sum()
    }
}
