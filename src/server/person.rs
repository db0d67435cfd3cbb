//! Requests about the whole person: what becomes of them, and their replies.

use super::convert::{self, Invalid, attribute_value_out};
use super::plan::{Place, Plan, PlannedKind, Refused};
use super::reply::{Failure, Replies};
use crate::base::Id;
use crate::base::limits::{LIST_MAX, PROFILES_MAX, TEXT_BYTES_MAX};
use crate::engine::Engine;
use crate::person::{Control, Dimension, Trait};
use crate::shard::{Answer, Query, Refusal};
use crate::state::portrait::{Behaviour, ControlView, FacetView, Portrait, Stated, parts};
use crate::state::{Op, OutcomeKind};
use crate::wire::Status;
use crate::wire::commands::{
    EventRetract, EventRetractReply, ProfileHistory, ProfileHistoryReply, ProfileParts, ProfilesGet, ProfilesGetReply,
    Request, UserControl,
};
use crate::wire::message::cut_text;
use crate::wire::portrait::{
    AttributeFact, BehaviourSums, ControlInForce, FacetAffinity, InterestOf, Person, TraitValue,
};
use crate::wire::types::RecentEvent;

/// The half-lives of the schema in force, for replies.
type HalfLives = [f64; 3];

impl Plan {
    pub(super) fn user_control(&mut self, engine: &Engine, request: &UserControl) -> Result<PlannedKind, Refused> {
        let time_ms = convert::time(request.time_ms, self.now_ms())?;
        let control = control(request)?;
        let user = request.user.as_ref();
        let place = self.write(engine, user, &Op::Control { user, time_ms, control }, request.durability)?;
        Ok(PlannedKind::UserControl(place))
    }

    pub(super) fn event_retract(&mut self, engine: &Engine, request: &EventRetract) -> Result<PlannedKind, Refused> {
        let (user, event_id) = (request.user.as_ref(), convert::event_key(request.event_id.as_ref()));
        if event_id == 0 {
            return Err(Invalid::NoEventId.into());
        }
        let place = self.write(engine, user, &Op::Retract { user, event_id }, request.durability)?;
        Ok(PlannedKind::EventRetract(place))
    }

    pub(super) fn profile_parts(&mut self, engine: &Engine, request: ProfileParts) -> PlannedKind {
        let ProfileParts { user, parts, facets_max } = request;
        PlannedKind::ProfileParts(self.ask_portrait(engine, &user, parts, facets_max))
    }

    pub(super) fn profiles_get(&mut self, engine: &Engine, request: ProfilesGet) -> PlannedKind {
        let ProfilesGet { users, parts, facets_max } = request;
        let place = |user: Id| {
            let user = engine.alias(user.as_ref()).unwrap_or(user);
            let place = self.ask_portrait(engine, &user, parts, facets_max);
            (user, place)
        };
        PlannedKind::ProfilesGet(users.into_iter().take(PROFILES_MAX).map(place).collect())
    }

    fn ask_portrait(&mut self, engine: &Engine, user: &Id, wanted: u16, facets_max: u16) -> Place {
        let wanted = if wanted == 0 { parts::ALL } else { wanted };
        let (facets_max, now_ms) = (usize::from(facets_max), self.now_ms());
        let query = Query::Portrait { user: user.clone(), parts: wanted, facets_max, now_ms };
        self.ask(engine, user.as_ref(), query)
    }

    pub(super) fn profile_history(&mut self, engine: &Engine, request: ProfileHistory) -> PlannedKind {
        let ProfileHistory { user, from_ms, to_ms, kinds, skip, max } = request;
        let span_ms = (from_ms, if to_ms == 0 { i64::MAX } else { to_ms });
        let (skip, max) = (skip as usize, usize::from(max).min(LIST_MAX));
        let query = Query::History { user: user.clone(), span_ms, kinds, skip, max };
        PlannedKind::ProfileHistory(self.ask(engine, user.as_ref(), query))
    }
}

impl Request {
    /// The user whom a request that shards carry out is about.
    pub(super) fn user_mut(&mut self) -> Option<&mut Id> {
        match self {
            Self::UserUpsert(request) => Some(&mut request.user),
            Self::UserGet(request) => Some(&mut request.user),
            Self::ProfileGet(request) => Some(&mut request.user),
            Self::Predict(request) => Some(&mut request.user),
            Self::Recommend(request) => Some(&mut request.user),
            Self::Explain(request) => Some(&mut request.user),
            Self::Exposure(request) => Some(&mut request.user),
            Self::Outcome(request) => Some(&mut request.event.user),
            Self::UserControl(request) => Some(&mut request.user),
            Self::EventRetract(request) => Some(&mut request.user),
            Self::ProfileParts(request) => Some(&mut request.user),
            Self::ProfileHistory(request) => Some(&mut request.user),
            Self::ProfileEmbedding(request) => Some(&mut request.user),
            _ => None,
        }
    }
}

/// What a user asks, checked.
fn control(request: &UserControl) -> Result<Control<'_>, Invalid> {
    let UserControl { control, on, ref name, ref item, share, .. } = *request;
    let needs = |what, there: bool| if there { Ok(()) } else { Err(Invalid::Control { control, what }) };
    match control {
        1 => needs("a facet in `name`", !name.is_empty()).map(|()| Control::MuteFacet(name, on)),
        2 => match item {
            Some(item) => Ok(Control::MuteItem(item.as_ref(), on)),
            None => Err(Invalid::Control { control, what: "an `item`" }),
        },
        3 => {
            needs("a facet in `name`", !name.is_empty())?;
            needs("a `share` of 0 to 1", !on || (0.0..=1.0).contains(&share))?;
            Ok(Control::Less(name, if on { share } else { 1.0 }))
        }
        4 => Ok(Control::Pause(on)),
        5 => match Dimension::ALL.into_iter().find(|dimension| dimension.name() == name) {
            Some(dimension) => Ok(Control::Reset(dimension, on)),
            None => Err(Invalid::Control { control, what: "behaviours, facets, rhythm, prices or history in `name`" }),
        },
        _ => Err(Invalid::Control {
            control,
            what: "a number of 1 mute a facet, 2 mute an item, 3 less, 4 pause, 5 reset",
        }),
    }
}

impl Replies<'_> {
    pub(super) fn event_retract(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let (written, outcome) = self.written(place)?;
        if outcome.kind == OutcomeKind::NotFound {
            return Err(Failure::new(Status::NotFound, "no retained event of this user has this id"));
        }
        let reply = EventRetractReply {
            shard: place.shard,
            sequence: written.sequence(place.outcome),
            version: outcome.version,
            durability: written.durability as u8,
            exact: outcome.exact,
        };
        self.put::<EventRetract>(request_id, Status::Ok, &reply);
        Ok(())
    }

    fn portrait(&mut self, place: Place) -> Result<Person, Failure> {
        match self.answer(place)? {
            Answer::Portrait(portrait, half_lives_s) => Ok(person(*portrait, half_lives_s)),
            _ => Err(Refusal::Broken.into()),
        }
    }

    pub(super) fn profile_parts(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let person = self.portrait(place)?;
        self.put::<ProfileParts>(request_id, Status::Ok, &person);
        Ok(())
    }

    pub(super) fn profiles_get(&mut self, request_id: u64, places: Vec<(Id, Place)>) -> Result<(), Failure> {
        let mut reply = ProfilesGetReply { profiles: Vec::new(), missing: Vec::new() };
        for (user, place) in places {
            match self.portrait(place) {
                Ok(person) => reply.profiles.push(person),
                Err(failure) if failure.is_not_found() => reply.missing.push(user),
                Err(failure) => return Err(failure),
            }
        }
        self.put::<ProfilesGet>(request_id, Status::Ok, &reply);
        Ok(())
    }

    pub(super) fn profile_history(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::History(matching, entries) = self.answer(place)? else { return Err(Refusal::Broken.into()) };
        let recent = |(item, entry): (Id, crate::model::Entry)| RecentEvent {
            item,
            kind: entry.kind,
            value: entry.value,
            time_ms: entry.time_ms,
        };
        let matching = u32::try_from(matching).unwrap_or(u32::MAX);
        let reply = ProfileHistoryReply { matching, events: entries.into_iter().map(recent).collect() };
        self.put::<ProfileHistory>(request_id, Status::Ok, &reply);
        Ok(())
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn person(portrait: Portrait, half_lives_s: HalfLives) -> Person {
    let Portrait { sessions, rhythm, .. } = portrait;
    let interest = |(item, found): (Id, crate::person::interests::Interest)| InterestOf {
        item,
        items: narrow(found.items),
        now: found.now,
        long: found.long,
        unity: found.unity,
    };
    Person {
        user: portrait.user,
        version: portrait.version,
        events: portrait.events,
        first_ms: portrait.span_ms.0,
        last_ms: portrait.span_ms.1,
        at_ms: portrait.at_ms,
        half_lives_s: half_lives_s.to_vec(),
        attributes: portrait.attributes.into_iter().map(attribute).collect(),
        missing: portrait.missing,
        behaviours: portrait.behaviours.into_iter().map(behaviour).collect(),
        facets: portrait.facets.into_iter().map(facet).collect(),
        facets_dropped: portrait.facets_dropped,
        hours: rhythm.hours().to_vec(),
        days: rhythm.days().to_vec(),
        retained: narrow(sessions.retained),
        sessions: narrow(sessions.sessions),
        session_events: sessions.events,
        session_length_ms: sessions.length_ms,
        session_return_ms: sessions.return_ms,
        newest_begin_ms: sessions.newest.0,
        newest_length_ms: sessions.newest.1,
        newest_events: narrow(sessions.newest.2),
        interests: portrait.interests.into_iter().map(interest).collect(),
        traits: portrait.traits.into_iter().map(of_trait).collect(),
        controls: portrait.controls.into_iter().map(in_force).collect(),
        person_bytes: narrow(portrait.person_bytes),
    }
}

fn attribute(Stated { name, value, time_ms, expires_ms, sensitive }: Stated) -> AttributeFact {
    AttributeFact { name, value: attribute_value_out(&value), time_ms, expires_ms, sensitive }
}

fn behaviour(of: Behaviour) -> BehaviourSums {
    let [sum, mean, deviation] = of.values;
    let (counts, amounts) = (of.counts.to_vec(), of.amounts.to_vec());
    let Behaviour { kind, name, unit, events, last_ms, .. } = of;
    BehaviourSums { kind, name, unit, events, last_ms, sum, mean, deviation, counts, amounts }
}

fn facet(FacetView { name, events, affinity, liked, recent }: FacetView) -> FacetAffinity {
    let (lift_low, lift_high) = affinity.lift_range;
    let [liked_middle, liked_long] = recent;
    // `attribute=value` is as long as both may be, and one.
    let name = cut_text(&name, TEXT_BYTES_MAX).to_owned();
    let (share, lift) = (affinity.share, affinity.lift);
    FacetAffinity { name, events, share, lift, lift_low, lift_high, liked, liked_middle, liked_long }
}

fn of_trait(Trait { name, value, deviation, evidence, order_free }: Trait) -> TraitValue {
    TraitValue { name, value, deviation, evidence, order_free }
}

fn in_force(ControlView { control, name, item, share, time_ms }: ControlView) -> ControlInForce {
    ControlInForce { control: control.to_owned(), name, item, share, time_ms }
}
