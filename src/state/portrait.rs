//! The whole person, as it is told: every value with its age, evidence and uncertainty. A question: nothing changes.

use super::Shard;
use super::users::User;
use crate::base::{Id, IdRef};
use crate::linalg::kernels::position;
use crate::model::{AttributeRule, Attributes, Entry, Schema, Value};
use crate::person::facets::Facet;
use crate::person::formula::{Formula, Reading, ReadingName, order};
use crate::person::interests::{Interest, Met, interests};
use crate::person::traits::{Facts, built_in};
use crate::person::{Affinity, Dimension, Ladder, Rhythm, Timeline, Trait, behaviours::ladder_of};

/// Which parts of a person are wanted.
pub mod parts {
    /// Attributes, without the sensitive ones.
    pub const ATTRIBUTES: u16 = 1;
    /// Counts and amounts by behaviour kind.
    pub const BEHAVIOURS: u16 = 2;
    /// Affinities to facets of items.
    pub const FACETS: u16 = 4;
    /// Rhythm of day and week, and sessions.
    pub const RHYTHM: u16 = 8;
    /// Interests, each named by an item.
    pub const INTERESTS: u16 = 16;
    /// Traits.
    pub const TRAITS: u16 = 32;
    /// What the user asks of the profile.
    pub const CONTROLS: u16 = 64;
    /// Sensitive attributes as well.
    pub const SENSITIVE: u16 = 128;
    /// Everything that is not sensitive.
    pub const ALL: u16 = SENSITIVE - 1;
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// When it was stated.
    pub time_ms: i64,
    /// When it runs out; 0: never.
    pub expires_ms: i64,
    /// Whether the schema calls it sensitive.
    pub sensitive: bool,
}

/// What a user did of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Code of the kind.
    pub kind: u8,
    /// Its name.
    pub name: String,
    /// What its values measure.
    pub unit: String,
    /// Events.
    pub events: u64,
    /// The latest.
    pub last_ms: i64,
    /// Sum, mean and standard deviation of values.
    pub values: [f64; 3],
    /// Events, faded at the short, middle and long half-life.
    pub counts: [f64; 3],
    /// Sum of values, faded likewise.
    pub amounts: [f64; 3],
}

/// How a user stands to one facet.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetView {
    /// Its name: a tag, or `attribute=value`.
    pub name: String,
    /// Events with items that have it.
    pub events: u32,
    /// Share and lift.
    pub affinity: Affinity,
    /// Mean opinion, -1 to 1, by the weight of the kinds.
    pub liked: f64,
    /// Sum of opinions, faded at the middle and the long half-life.
    pub recent: [f64; 2],
}

/// Sessions among the retained events.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sessions {
    /// Retained events.
    pub retained: usize,
    /// Sessions.
    pub sessions: usize,
    /// Mean events of a session.
    pub events: f64,
    /// Mean milliseconds from a session's first event to its last.
    pub length_ms: f64,
    /// Mean milliseconds from a session's begin to the next one's; NaN with fewer than two.
    pub return_ms: f64,
    /// Begin, length in milliseconds, and events of the newest.
    pub newest: (i64, i64, usize),
}

/// What a user asks.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlView {
    /// `mute_facet`, `mute_item`, `less`, `pause` or `reset`.
    pub control: &'static str,
    /// Facet or dimension.
    pub name: String,
    /// Item.
    pub item: Option<Id>,
    /// Greatest share of a list.
    pub share: f32,
    /// Since when; 0 where that is not kept.
    pub time_ms: i64,
}

/// The whole person.
#[derive(Clone, Debug)]
pub struct Portrait {
    /// Who.
    pub user: Id,
    /// Version of the profile.
    pub version: u32,
    /// Events learned.
    pub events: u64,
    /// First and newest event.
    pub span_ms: (i64, i64),
    /// When this is so.
    pub at_ms: i64,
    /// Attributes.
    pub attributes: Vec<Stated>,
    /// Required attributes that were never stated.
    pub missing: Vec<String>,
    /// Behaviours, by rising code.
    pub behaviours: Vec<Behaviour>,
    /// Facets, the surest first.
    pub facets: Vec<FacetView>,
    /// Facets that gave way to others: then the order of events had a say.
    pub facets_dropped: u32,
    /// When in the day and week.
    pub rhythm: Rhythm,
    /// Sessions.
    pub sessions: Sessions,
    /// Interests, the strongest first.
    pub interests: Vec<(Id, Interest)>,
    /// Traits.
    pub traits: Vec<Trait>,
    /// Controls in force.
    pub controls: Vec<ControlView>,
    /// Bytes that are kept beside history and vectors.
    pub person_bytes: usize,
}

/// Newest different items that interests are made of.
const INTEREST_ITEMS: usize = 64;

/// The formulas of a schema, in an order in which they can be told.
#[must_use]
pub fn formulas(schema: &Schema) -> Vec<(String, Formula)> {
    let parsed = schema.traits.iter().filter_map(|rule| Some((rule.name.clone(), Formula::parse(&rule.formula).ok()?)));
    let parsed: Vec<(String, Formula)> = parsed.collect();
    let named: Vec<(&str, &Formula)> = parsed.iter().map(|(name, formula)| (name.as_str(), formula)).collect();
    let order = order(&named).unwrap_or_default();
    order.into_iter().map(|at| parsed[at].clone()).collect()
}

impl Shard {
    /// The whole person, or the wanted [`parts`] of it, at a time that is not before its newest event.
    #[must_use]
    pub fn portrait(&self, id: IdRef<'_>, wanted: u16, facets_max: usize, now_ms: i64) -> Option<Portrait> {
        let slot = self.users.find(id)?;
        let user = self.users.get(slot);
        let at_ms = now_ms.max(if user.events > 0 { user.last_ms } else { now_ms });
        let wants = |part: u16| wanted & part != 0;
        let looks = wants(parts::RHYTHM | parts::INTERESTS | parts::TRAITS);
        let timeline =
            if looks { Timeline::of(&user.history, self.schema.session_gap_ms) } else { Timeline::default() };
        let (attributes, missing) = if wants(parts::ATTRIBUTES) {
            self.stated(user, wants(parts::SENSITIVE), at_ms)
        } else {
            Default::default()
        };
        Some(Portrait {
            user: user.id.clone(),
            version: user.version,
            events: user.events,
            span_ms: (user.first_ms, user.last_ms),
            at_ms,
            attributes,
            missing,
            behaviours: if wants(parts::BEHAVIOURS) { self.behaviours(user, at_ms) } else { Vec::new() },
            facets: if wants(parts::FACETS) { self.facets(user, facets_max, at_ms) } else { Vec::new() },
            facets_dropped: user.person.facets.dropped,
            rhythm: if wants(parts::RHYTHM) { user.person.rhythm } else { Rhythm::default() },
            sessions: if wants(parts::RHYTHM) { sessions(&timeline) } else { Sessions::default() },
            interests: if wants(parts::INTERESTS) { self.interests(&timeline) } else { Vec::new() },
            traits: if wants(parts::TRAITS) { self.traits(slot, &timeline, at_ms) } else { Vec::new() },
            controls: if wants(parts::CONTROLS) { self.controls_of(user) } else { Vec::new() },
            person_bytes: user.person.bytes(),
        })
    }

    /// Retained events of a user from one time to another, of some kinds (none: all), the newest first.
    #[must_use]
    pub fn retained(&self, id: IdRef<'_>, (from_ms, to_ms): (i64, i64), kinds: &[u8]) -> Option<Vec<Entry>> {
        let user = self.users.get(self.users.find(id)?);
        let wanted = |entry: &&Entry| {
            (from_ms..=to_ms).contains(&entry.time_ms) && (kinds.is_empty() || kinds.contains(&entry.kind))
        };
        let mut entries: Vec<Entry> = user.history.newest_first().filter(wanted).copied().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.time_ms));
        Some(entries)
    }

    /// What is stated of a user and not sensitive; nothing of one that is not known. Sensitive attributes are told by
    /// [`Self::portrait`], to those who ask for them.
    #[must_use]
    pub fn open_attributes(&self, id: IdRef<'_>) -> Attributes {
        let user = self.users.find(id).map(|slot| self.users.get(slot));
        let held = user.and_then(|user| user.attributes.as_deref());
        held.map(|attributes| attributes.only(|name| !self.schema.is_sensitive(name))).unwrap_or_default()
    }

    fn stated(&self, user: &User, sensitive: bool, at_ms: i64) -> (Vec<Stated>, Vec<String>) {
        let rule = |name: &str| self.schema.user_rule(name);
        let held = user.attributes.iter().flat_map(|attributes| attributes.iter());
        let told = held.filter_map(|(name, value, time_ms)| {
            let rule = rule(name);
            let hidden = rule.is_some_and(|rule| rule.expired(time_ms, at_ms) || (rule.sensitive && !sensitive));
            (!hidden).then(|| Stated {
                name: name.to_owned(),
                value: value.clone(),
                time_ms,
                expires_ms: rule.filter(|rule| rule.expiry_ms > 0).map_or(0, |rule| time_ms + rule.expiry_ms),
                sensitive: rule.is_some_and(|rule| rule.sensitive),
            })
        });
        let lacks = |rule: &&AttributeRule| {
            let mut held = user.attributes.iter().flat_map(|attributes| attributes.iter());
            rule.required && !held.any(|(name, ..)| name == rule.name)
        };
        (told.collect(), self.schema.user.iter().filter(lacks).map(|rule| rule.name.clone()).collect())
    }

    fn behaviours(&self, user: &User, at_ms: i64) -> Vec<Behaviour> {
        let told = user.person.behaviours.kinds().iter().filter_map(|sums| {
            let kind = self.schema.kinds.get(sums.code)?;
            let ladder = ladder_of(&self.schema, kind);
            Some(Behaviour {
                kind: sums.code,
                name: kind.name.clone(),
                unit: kind.unit.clone(),
                events: sums.events,
                last_ms: sums.last_ms,
                values: [
                    sums.values.sum(),
                    sums.values.mean().unwrap_or(f64::NAN),
                    sums.values.variance().map_or(f64::NAN, f64::sqrt),
                ],
                counts: sums.recent_counts(&ladder, at_ms),
                amounts: sums.recent_amounts(&ladder, at_ms),
            })
        });
        told.collect()
    }

    fn facets(&self, user: &User, most: usize, at_ms: i64) -> Vec<FacetView> {
        let facets = &user.person.facets;
        let left = facets.fade(&Ladder::new(self.schema.half_lives_s), at_ms);
        let mut ranked: Vec<_> = facets
            .held()
            .iter()
            .map(|facet| (facet, Affinity::of(facet.events, facets.events, self.population.share(facet.number))))
            .collect();
        // The surest first: by the least that the lift may be.
        ranked.sort_unstable_by(|(a, one), (b, other)| {
            other.lift_range.0.total_cmp(&one.lift_range.0).then(a.number.cmp(&b.number))
        });
        let told = ranked.into_iter().take(most).map(|(facet, affinity)| FacetView {
            name: self.tags.name(facet.number).to_owned(),
            events: facet.events,
            affinity,
            liked: facet.liked() / f64::from(facet.events.max(1)),
            recent: facet.recent(&left),
        });
        told.collect()
    }

    fn interests(&self, timeline: &Timeline) -> Vec<(Id, Interest)> {
        let Some(arm) = self.arms.iter().find(|arm| arm.shape.item_rows > 0) else { return Vec::new() };
        let [_, middle, long] = self.schema.half_lives_s.map(|half_life_s| 1_000.0 * half_life_s);
        // Shares are the same whenever they are told; from the newest event on nothing fades to zero.
        let Some(at_ms) = timeline.entries().last().map(|entry| entry.time_ms) else { return Vec::new() };
        let (mut met, mut items): (Vec<Met<'_>>, Vec<u32>) = Default::default();
        for Entry { item, weight, time_ms, .. } in timeline.entries().iter().rev().filter(|entry| entry.weight > 0.0) {
            #[expect(clippy::cast_precision_loss, reason = "an age, as a double")]
            let faded = |half_life: f64| f64::from(*weight) * (-((at_ms - time_ms) as f64) / half_life).exp2();
            match position(&items, *item) {
                Some(at) => {
                    met[at].now += faded(middle);
                    met[at].long += faded(long);
                }
                None if met.len() < INTEREST_ITEMS => {
                    let vector = arm.items.col(*item as usize);
                    items.push(*item);
                    met.push(Met { item: *item, now: faded(middle), long: faded(long), vector });
                }
                None => {}
            }
        }
        interests(&met).into_iter().map(|found| (self.item_id(found.item).clone(), found)).collect()
    }

    fn traits(&self, slot: usize, timeline: &Timeline, at_ms: i64) -> Vec<Trait> {
        let user = self.users.get(slot);
        let is_brand = |number: u32| self.tags.name(number).starts_with("brand=");
        // Prices that were set aside are not told of, also not from the history.
        let aside = user.controls.iter().flat_map(|controls| &controls.aside);
        let told = aside.filter(|aside| aside.dimension == Dimension::Prices as u8).count() == 0;
        let log_price = |entry: &Entry| {
            let described = self.items.get(entry.item as usize).described(entry.described);
            if told { described.log_price } else { f32::NAN }
        };
        let (person, schema) = (&user.person, &self.schema);
        let whole = timeline.entries().len() as u64 == user.events;
        let facts = Facts { person, timeline, schema, is_brand: &is_brand, whole, log_price: &log_price };
        let mut traits = built_in(&facts);
        if let Some(risk) = self.risk(slot, at_ms) {
            traits.push(Trait {
                name: "churn_risk".to_owned(),
                value: risk.probability,
                deviation: risk.deviation,
                evidence: risk.evidence,
                order_free: false, // a model of all users, learned in the order of events
            });
        }
        for (name, formula) in &self.formulas {
            let read = |reading: Reading<'_>| self.read(user, timeline, &traits, at_ms, reading);
            if let Some(value) = formula.eval(&read) {
                let order_free =
                    formula.traits().all(|of| traits.iter().any(|known| known.name == of && known.order_free));
                let (name, deviation, evidence) = (name.clone(), f64::NAN, user.events);
                traits.push(Trait { name, value, deviation, evidence, order_free });
            }
        }
        traits
    }

    /// One figure of a profile, as formulas read it.
    #[expect(clippy::cast_precision_loss, reason = "times and counts, as doubles")]
    fn read(
        &self,
        user: &User,
        timeline: &Timeline,
        traits: &[Trait],
        at_ms: i64,
        reading: Reading<'_>,
    ) -> Option<f64> {
        let Reading { name, text, half_life } = reading;
        let (person, seconds) = (&user.person, |ms: i64| ms as f64 / 1_000.0);
        let sums = || Some(text?).and_then(|text| person.behaviours.of(self.schema.kinds.named(text)?.code));
        let faded = |of: [f64; 3]| half_life.map(|rung| of[usize::from(rung)]);
        let ladder = || Some(ladder_of(&self.schema, self.schema.kinds.named(text?)?));
        let gaps = || timeline.entries().windows(2).map(|pair| seconds(pair[1].time_ms - pair[0].time_ms));
        let count = timeline.entries().len().saturating_sub(1) as f64;
        match name {
            ReadingName::Events => Some(user.events as f64),
            ReadingName::Sessions => Some(timeline.sessions().len() as f64),
            ReadingName::TenureS => (user.events > 0).then(|| seconds(at_ms - user.first_ms)),
            ReadingName::RecencyS if text.is_none() => (user.events > 0).then(|| seconds(at_ms - user.last_ms)),
            ReadingName::RecencyS => sums().map(|sums| seconds(at_ms - sums.last_ms)),
            ReadingName::GapS => (count > 0.0).then(|| gaps().sum::<f64>() / count),
            ReadingName::GapDeviationS => (count > 1.0).then(|| {
                let mean = gaps().sum::<f64>() / count;
                (gaps().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
            }),
            ReadingName::Breadth => person.facets.entropy(),
            // Of a kind that the schema knows and the user never showed there are none.
            ReadingName::Count => {
                let (ladder, sums) = (ladder()?, sums());
                let all = sums.map_or(0.0, |sums| sums.events as f64);
                Some(faded(sums.map_or([0.0; 3], |sums| sums.recent_counts(&ladder, at_ms))).unwrap_or(all))
            }
            ReadingName::Sum => {
                let (ladder, sums) = (ladder()?, sums());
                let all = sums.map_or(0.0, |sums| sums.values.sum());
                Some(faded(sums.map_or([0.0; 3], |sums| sums.recent_amounts(&ladder, at_ms))).unwrap_or(all))
            }
            ReadingName::Mean => {
                let (ladder, sums) = (ladder()?, sums()?);
                let (amounts, counts) = (sums.recent_amounts(&ladder, at_ms), sums.recent_counts(&ladder, at_ms));
                faded(std::array::from_fn(|rung| amounts[rung] / counts[rung])).or_else(|| sums.values.mean())
            }
            ReadingName::Share => {
                let facet = self.tags.find(text?.strip_prefix("tag:").unwrap_or(text?));
                let held = facet.and_then(|number| person.facets.of(number));
                let Some(rung) = half_life else {
                    let share = |events: u32| f64::from(events) / person.facets.events as f64;
                    return (person.facets.events > 0).then(|| held.map_or(0.0, |facet| share(facet.events)));
                };
                // Liking is kept at the middle and the long half-life.
                let at = usize::from(rung).checked_sub(1)?;
                let left = person.facets.fade(&Ladder::new(self.schema.half_lives_s), at_ms);
                let of = |facet: &Facet| facet.recent(&left)[at].max(0.0);
                let all: f64 = person.facets.held().iter().map(of).sum();
                (all > 0.0).then(|| held.map_or(0.0, of) / all)
            }
            ReadingName::Attribute => {
                let (_, value, _) = user.attributes.as_ref()?.iter().find(|(name, ..)| Some(*name) == text)?;
                let counts = !self.schema.is_sensitive(text?);
                match value {
                    Value::Number(number) if counts => Some(*number),
                    Value::Bool(yes) if counts => Some(f64::from(u8::from(*yes))),
                    _ => None,
                }
            }
            ReadingName::Trait => {
                traits.iter().find(|known| Some(known.name.as_str()) == text).map(|known| known.value)
            }
        }
    }

    fn controls_of(&self, user: &User) -> Vec<ControlView> {
        let Some(controls) = user.controls.as_deref() else { return Vec::new() };
        let view = |control, name: &str, item: Option<Id>, share, time_ms| ControlView {
            control,
            name: name.to_owned(),
            item,
            share,
            time_ms,
        };
        let facets = controls.muted_facets.iter().map(|facet| view("mute_facet", self.tags.name(*facet), None, 0.0, 0));
        let items =
            controls.muted_items.iter().map(|row| view("mute_item", "", Some(self.item_id(*row).clone()), 0.0, 0));
        let less = controls.less.iter().map(|(facet, share)| view("less", self.tags.name(*facet), None, *share, 0));
        let paused = controls.paused_ms.map(|since_ms| view("pause", "", None, 0.0, since_ms));
        let aside = controls.aside.iter().map(|aside| {
            let name = Dimension::from_code(aside.dimension).map_or("", Dimension::name);
            view("reset", name, None, 0.0, aside.time_ms)
        });
        facets.chain(items).chain(less).chain(paused).chain(aside).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "times and counts, as doubles")]
fn sessions(timeline: &Timeline) -> Sessions {
    let (sessions, returns) = (timeline.sessions(), timeline.returns_ms().count() as f64);
    let Some(newest) = sessions.last() else { return Sessions::default() };
    let count = sessions.len() as f64;
    Sessions {
        retained: timeline.entries().len(),
        sessions: sessions.len(),
        events: timeline.entries().len() as f64 / count,
        length_ms: sessions.iter().map(|session| session.length_ms() as f64).sum::<f64>() / count,
        return_ms: timeline.returns_ms().map(|gap| gap as f64).sum::<f64>() / returns,
        newest: (newest.begin_ms, newest.length_ms(), newest.events()),
    }
}
