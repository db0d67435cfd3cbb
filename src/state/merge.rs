//! Two users become one: an anonymous visitor turns out to be a known customer.
//!
//! The two may live in different shards, so it takes three operations, each in its shard's journal: the source is *sealed*
//! (it learns nothing more, and says who it is now), what was kept of it is *absorbed* by the target, the source is
//! *emptied*. Each may come again and changes nothing then, so that whoever was interrupted begins anew.
//!
//! Sums are added, attributes patched by their times, histories joined in the order of time; vectors are made anew out of
//! the joined history. The state is as if all had come under one id, but for factors that both sides learn.
//!
//! ```text
//! version u8 | events u64 | first_ms i64 | last_ms i64 | value_sum f64 | value_count u64 | attributes (u8, ...)
//! | names of facets (u32: number u32, text) | person | history (u32: item id, event_id u64, time_ms i64, value f32,
//!   weight f32, kind u8) | controls: facets (u32: text), items (u32: id), less (u32: text, f32), paused u8 i64
//! ```

use super::Shard;
use super::items::row_number;
use super::users::{decode_attributes, encode_attributes};
use super::{Outcome, OutcomeKind};
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::{CONTROLS_MAX, HISTORY_MAX};
use crate::base::{Id, IdRef};
use crate::learn::ItemSide;
use crate::model::{Entry, History};
use crate::person::facets::FACETS_MAX;
use crate::person::{Controls, Person};

/// Version of an export.
const FORMAT: u8 = 1;

/// Most sources that one user remembers to have absorbed; older ones are forgotten.
const ABSORBED_MAX: usize = 256;

/// Who a user is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The user that it became; `None` if it is itself.
    pub into: Option<Id>,
    /// Whether what was kept of it is gone.
    pub emptied: bool,
    /// Hashes of the users that it absorbed.
    pub absorbed: Vec<u64>,
}

impl Merged {
    fn nobody() -> Self {
        Self { into: None, emptied: false, absorbed: Vec::new() }
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(u8::from(self.into.is_some()));
        if let Some(into) = &self.into {
            out.owned_id(into);
        }
        out.u8(u8::from(self.emptied)).count(self.absorbed.len());
        self.absorbed.iter().for_each(|hash| {
            out.u64(*hash);
        });
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are none.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let into = if from.u8()? != 0 { Some(from.id()?.to_owned()) } else { None };
        let emptied = from.u8()? != 0;
        let count = from.count(8, ABSORBED_MAX)?;
        Ok(Self { into, emptied, absorbed: (0..count).map(|_| from.u64()).collect::<Result<_, _>>()? })
    }
}

impl Shard {
    /// Who a user became, if it was merged into another.
    #[must_use]
    pub fn merged_into(&self, user: IdRef<'_>) -> Option<&Id> {
        self.users.get(self.users.find(user)?).merged.as_ref()?.into.as_ref()
    }

    /// Every user that was merged into another: source, target, and whether that is done.
    #[must_use]
    pub fn merges(&self) -> Vec<(Id, Id, bool)> {
        let users = (0..self.users.len()).map(|slot| self.users.get(slot));
        users
            .filter_map(|user| {
                let merged = user.merged.as_ref()?;
                Some((user.id.clone(), merged.into.clone()?, merged.emptied))
            })
            .collect()
    }

    /// The source learns nothing more; it is `into` from now on. Known or not: what comes later goes to the target.
    pub(super) fn seal(&mut self, user: IdRef<'_>, into: IdRef<'_>) -> Outcome {
        let slot = self.known_user(user);
        self.touch_user(slot);
        let user = self.users.get_mut(slot);
        let merged = user.merged.get_or_insert_with(|| Box::new(Merged::nobody()));
        match &merged.into {
            None => {
                merged.into = Some(into.to_owned());
                Outcome::applied(user.version)
            }
            Some(known) if known.as_ref() == into => Outcome::unchanged(OutcomeKind::Duplicate, user.version),
            Some(_) => Outcome::unchanged(OutcomeKind::NotFound, user.version), // somebody else's already
        }
    }

    /// What is kept of a user, for the shard that absorbs it.
    #[must_use]
    pub fn export_user(&self, user: IdRef<'_>) -> Option<Vec<u8>> {
        let user = self.users.get(self.users.find(user)?);
        let (mut bytes, name) = (Vec::new(), |number: u32| self.tags.name(number));
        let mut out = Writer::new(&mut bytes);
        out.u8(FORMAT).u64(user.events).i64(user.first_ms).i64(user.last_ms).f64(user.value_sum).u64(user.value_count);
        encode_attributes(user.attributes.as_deref(), &mut out);
        out.count(user.person.facets.held().len());
        for facet in user.person.facets.held() {
            out.u32(facet.number).text(name(facet.number));
        }
        user.person.encode(&mut out);
        out.count(user.history.len());
        for entry in user.history.oldest_first() {
            let Entry { event_id, time_ms, value, weight, kind, .. } = *entry;
            out.owned_id(self.item_id(entry.item)).u64(event_id).i64(time_ms).f32(value).f32(weight).u8(kind);
        }
        let nothing = Controls::default();
        let controls = user.controls.as_deref().unwrap_or(&nothing);
        out.count(controls.muted_facets.len());
        for facet in &controls.muted_facets {
            out.text(name(*facet));
        }
        out.count(controls.muted_items.len());
        for row in &controls.muted_items {
            out.owned_id(self.item_id(*row));
        }
        out.count(controls.less.len());
        for (facet, share) in &controls.less {
            out.text(name(*facet)).f32(*share);
        }
        out.u8(u8::from(controls.paused_ms.is_some())).i64(controls.paused_ms.unwrap_or(0));
        Some(bytes)
    }

    /// Adds what was kept of another user. Bytes that are no export change nothing.
    pub(super) fn absorb(&mut self, into: IdRef<'_>, from: IdRef<'_>, bytes: &[u8]) -> Outcome {
        let slot = self.known_user(into);
        self.touch_user(slot);
        let source = from.stable_hash();
        let user = self.users.get_mut(slot);
        let merged = user.merged.get_or_insert_with(|| Box::new(Merged::nobody()));
        if merged.absorbed.contains(&source) {
            return Outcome::unchanged(OutcomeKind::Duplicate, user.version);
        }
        if merged.absorbed.len() == ABSORBED_MAX {
            merged.absorbed.remove(0);
        }
        merged.absorbed.push(source);
        let taken = self.take_export(slot, &mut Reader::new(bytes));
        debug_assert!(taken.is_ok(), "exports are made by export_user: {taken:?}");
        self.rebuild_user(slot);
        self.regroup(slot);
        let version = self.users.get_mut(slot).changed();
        let exact = !self.arms.iter().any(|arm| arm.strategy.over_bank() || arm.shape.items == ItemSide::Learned);
        Outcome { exact, ..Outcome::applied(version) }
    }

    fn take_export(&mut self, slot: usize, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        match from.u8()? {
            FORMAT => {}
            found => {
                let (what, found, allowed) = ("version of an exported user", u64::from(found), "1");
                return Err(CursorError::Bad { what, offset, found, allowed });
            }
        }
        let (events, first_ms, last_ms) = (from.u64()?, from.i64()?, from.i64()?);
        let (value_sum, value_count, attributes) = (from.f64()?, from.u64()?, decode_attributes(from)?);
        let count = from.count(6, FACETS_MAX)?;
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            numbers.push((from.u32()?, self.tags.number(from.text()?)));
        }
        let mut person = Person::decode(from)?;
        let renamed =
            |number: u32| numbers.iter().find(|(there, _)| *there == number).map_or(number, |(_, here)| *here);
        person.facets.renumber(renamed);
        let entries = self.take_entries(from)?;
        let controls = self.take_controls(from)?;
        self.population.take(&person.facets, 1);
        let most = self.options.history_max;
        let user = self.users.get_mut(slot);
        let first = user.events == 0;
        if events > 0 {
            user.first_ms = if first { first_ms } else { user.first_ms.min(first_ms) };
            user.last_ms = if first { last_ms } else { user.last_ms.max(last_ms) };
        }
        user.events += events;
        user.value_sum += value_sum;
        user.value_count += value_count;
        user.person.merge(person);
        if let Some(attributes) = attributes {
            user.attributes.get_or_insert_default().merge(&attributes);
        }
        user.history = joined(&user.history, entries, most);
        add_controls(user.controls.get_or_insert_default(), &controls);
        user.controls.take_if(|controls| controls.is_empty());
        Ok(())
    }

    fn take_entries(&mut self, from: &mut Reader<'_>) -> Result<Vec<Entry>, CursorError> {
        let count = from.count(27, HISTORY_MAX)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let id = from.id()?;
            let row = self.known_item(id);
            self.touch_item(row);
            let (described, _) = self.items.get_mut(row).describe();
            entries.push(Entry {
                item: row_number(row),
                event_id: from.u64()?,
                time_ms: from.i64()?,
                value: from.f32()?,
                weight: from.f32()?,
                kind: from.u8()?,
                described,
            });
        }
        Ok(entries)
    }

    fn take_controls(&mut self, from: &mut Reader<'_>) -> Result<Controls, CursorError> {
        let mut controls = Controls::default();
        for _ in 0..from.count(2, CONTROLS_MAX)? {
            let facet = self.tags.number(from.text()?);
            Controls::switch(&mut controls.muted_facets, facet, true);
        }
        for _ in 0..from.count(2, CONTROLS_MAX)? {
            let id = from.id()?;
            let row = self.known_item(id);
            Controls::switch(&mut controls.muted_items, row_number(row), true);
        }
        for _ in 0..from.count(6, CONTROLS_MAX)? {
            let facet = self.tags.number(from.text()?);
            controls.limit(facet, from.f32()?);
        }
        let (paused, since_ms) = (from.u8()? != 0, from.i64()?);
        controls.paused_ms = paused.then_some(since_ms);
        Ok(controls)
    }

    /// Nothing is kept of the source any more but who it is now.
    pub(super) fn empty(&mut self, user: IdRef<'_>) -> Outcome {
        let nothing = Outcome::unchanged(OutcomeKind::NotFound, 0);
        let Some(slot) = self.users.find(user) else { return nothing };
        self.touch_user(slot);
        let user = self.users.get_mut(slot);
        let Some(merged) = user.merged.as_mut().filter(|merged| merged.into.is_some()) else { return nothing };
        merged.emptied = true;
        let person = std::mem::take(&mut user.person);
        (user.history, user.attributes, user.controls) = (History::default(), None, None);
        (user.events, user.value_sum, user.value_count) = (0, 0.0, 0);
        (user.first_ms, user.last_ms) = (0, 0);
        let version = user.changed();
        self.population.take(&person.facets, -1);
        self.rebuild_user(slot);
        Outcome::applied(version)
    }
}

/// Two histories in the order of time; the newest `most` of both.
fn joined(one: &History, mut entries: Vec<Entry>, most: usize) -> History {
    entries.extend(one.oldest_first());
    entries.sort_by_key(|entry| entry.time_ms);
    let mut history = History::default();
    entries[entries.len().saturating_sub(most)..].iter().for_each(|entry| history.push(*entry, most));
    history
}

fn add_controls(controls: &mut Controls, more: &Controls) {
    for facet in &more.muted_facets {
        Controls::switch(&mut controls.muted_facets, *facet, true);
    }
    for row in &more.muted_items {
        Controls::switch(&mut controls.muted_items, *row, true);
    }
    for (facet, share) in &more.less {
        let _ = controls.limit(*facet, *share); // past the most of both, the newer ones are left out
    }
    controls.paused_ms = controls.paused_ms.or(more.paused_ms);
}
