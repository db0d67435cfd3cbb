//! What users ask of their profiles, in force.

use super::items::row_number;
use super::{Outcome, Scratch, Shard};
use crate::base::IdRef;
use crate::model::History;
use crate::person::controls::{Aside, take_dimension};
use crate::person::{Control, Controls, Dimension};

impl Shard {
    /// Carries out one control. One that changes nothing (muted already, nothing set aside) is carried out too.
    pub(super) fn control(&mut self, user: IdRef<'_>, time_ms: i64, control: &Control<'_>) -> Outcome {
        let slot = self.known_user(user);
        self.touch_user(slot);
        let mut kept = true;
        match *control {
            Control::MuteFacet(name, on) => {
                let facet = self.tags.number(name);
                kept = Controls::switch(&mut self.controls_mut(slot).muted_facets, facet, on);
            }
            Control::MuteItem(item, on) => {
                let row = row_number(self.known_item(item));
                kept = Controls::switch(&mut self.controls_mut(slot).muted_items, row, on);
            }
            Control::Less(name, share) => {
                let facet = self.tags.number(name);
                kept = self.controls_mut(slot).limit(facet, share);
            }
            Control::Pause(on) => {
                let controls = self.controls_mut(slot);
                controls.paused_ms = on.then_some(controls.paused_ms.unwrap_or(time_ms));
            }
            Control::Reset(dimension, true) => self.set_aside(slot, dimension, time_ms),
            Control::Reset(dimension, false) => self.put_back_dimension(slot, dimension),
        }
        let user = self.users.get_mut(slot);
        user.controls.take_if(|controls| controls.is_empty());
        Outcome::kept(kept, user.changed())
    }

    fn controls_mut(&mut self, slot: usize) -> &mut Controls {
        self.users.get_mut(slot).controls.get_or_insert_default()
    }

    /// Whether nothing may be learned of a user.
    pub(super) fn is_paused(&self, slot: usize) -> bool {
        self.users.get(slot).controls.as_ref().is_some_and(|controls| controls.paused_ms.is_some())
    }

    fn set_aside(&mut self, slot: usize, dimension: Dimension, time_ms: i64) {
        let user = self.users.get_mut(slot);
        let person = take_dimension(&mut user.person, dimension);
        let forgets = dimension == Dimension::History;
        let history = if forgets { std::mem::take(&mut user.history) } else { History::default() };
        let controls = user.controls.get_or_insert_default();
        match controls.aside.iter_mut().find(|aside| aside.dimension == dimension as u8) {
            // Reset again: what came since then goes to what is aside.
            Some(aside) => {
                aside.person.merge(person);
                history.oldest_first().for_each(|entry| aside.history.push(*entry, self.options.history_max));
            }
            None => controls.aside.push(Aside { dimension: dimension as u8, time_ms, person, history }),
        }
        if forgets {
            self.rebuild_user(slot);
        }
    }

    fn put_back_dimension(&mut self, slot: usize, dimension: Dimension) {
        let user = self.users.get_mut(slot);
        let Some(controls) = &mut user.controls else { return };
        let Some(place) = controls.aside.iter().position(|aside| aside.dimension == dimension as u8) else { return };
        let Aside { person, mut history, .. } = controls.aside.remove(place);
        user.person.merge(person);
        if dimension == Dimension::History {
            user.history.oldest_first().for_each(|entry| history.push(*entry, self.options.history_max));
            user.history = history;
            self.rebuild_user(slot);
        }
    }

    /// Takes what a user has muted out of what is allowed, in `scratch.allowed`.
    pub(super) fn mute(&mut self, slot: Option<usize>) {
        let Self { users, items, scratch: Scratch { allowed, .. }, .. } = self;
        let Some(controls) = slot.and_then(|slot| users.get(slot).controls.as_deref()) else { return };
        let Controls { muted_facets, muted_items, .. } = controls;
        if muted_facets.is_empty() && muted_items.is_empty() {
            return;
        }
        if allowed.is_empty() {
            allowed.resize(items.len(), true);
        }
        muted_items.iter().for_each(|row| allowed[*row as usize] = false);
        if !muted_facets.is_empty() {
            for (allowed, item) in allowed.iter_mut().zip(items.iter()) {
                *allowed &= !item.present().facets.iter().any(|facet| muted_facets.binary_search(facet).is_ok());
            }
        }
    }

    /// Whether a user wants less of something: then more than `k` are ranked, and [`Self::keep_less`] chooses.
    pub(super) fn wants_less(&self, slot: Option<usize>) -> bool {
        !self.less(slot).is_empty()
    }

    /// The facets that a user wants less of, each with its share of places.
    fn less(&self, slot: Option<usize>) -> &[(u32, f32)] {
        let controls = slot.and_then(|slot| self.users.get(slot).controls.as_deref());
        controls.map_or(&[], |controls| &controls.less)
    }

    /// The first `k` of what was picked of which no facet has more than the share of places that the user allows it.
    pub(super) fn keep_less(&self, slot: Option<usize>, k: usize) -> Vec<(f32, u32)> {
        let less = self.less(slot);
        #[expect(clippy::cast_precision_loss, reason = "places of a list")]
        let mut room: Vec<usize> = less.iter().map(|(_, share)| (f64::from(*share) * k as f64) as usize).collect();
        let mut kept = Vec::with_capacity(k);
        for &(score, row) in self.scratch.top.best() {
            let facets = &self.items.get(row as usize).present().facets;
            let limits = || less.iter().enumerate().filter(|(_, (facet, _))| facets.binary_search(facet).is_ok());
            if limits().any(|(at, _)| room[at] == 0) {
                continue;
            }
            limits().for_each(|(at, _)| room[at] -= 1);
            kept.push((score, row));
            if kept.len() == k {
                break;
            }
        }
        kept
    }
}
