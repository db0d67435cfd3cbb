//! The whole person as JSON: every figure, null where there is none.

use serde_json::{Map, Value, json};

use super::{Part, Profile, Shown, kind_name, length};
use crate::cli::ask;
use crate::wire::portrait::{
    AttributeFact, BehaviourSums, ControlInForce, FacetAffinity, InterestOf, ModalityTaste, Person, TraitValue,
};
use crate::wire::types::{ArmProfile, RecentEvent, ScoredItem};

/// Everything of the parts that are wanted, in one object.
pub(super) fn whole(profile: &Profile, shown: Shown<'_>) -> Value {
    let Profile { person, rest, kinds, .. } = profile;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("user", ask::id_json(&person.user));
    put("shard", json!(rest.shard));
    put("version", json!(person.version));
    put("events", json!(person.events));
    put("first_ms", json!(person.first_ms));
    put("last_ms", json!(person.last_ms));
    put("at_ms", json!(person.at_ms));
    put("half_lives_s", json!(person.half_lives_s));
    put("value_mean", json!(rest.value_mean));
    put("person_bytes", json!(person.person_bytes));
    put("digest", json!(format!("{:016x}", rest.digest)));
    if shown.has(Part::Attributes) {
        put("attributes", person.attributes.iter().map(attribute).collect());
        put("missing", json!(person.missing));
    }
    if shown.has(Part::Behaviours) {
        put("behaviours", person.behaviours.iter().map(behaviour).collect());
    }
    if shown.has(Part::Facets) {
        put("facets", person.facets.iter().map(facet).collect());
        put("facets_dropped", json!(person.facets_dropped));
    }
    if shown.has(Part::Rhythm) {
        put("rhythm", json!({ "hours": person.hours, "days": person.days }));
        put("sessions", sessions(person));
    }
    if shown.has(Part::Interests) {
        put("interests", person.interests.iter().map(interest).collect());
    }
    if shown.has(Part::Modalities) {
        put("modalities", profile.taste.modalities.iter().map(modality).collect());
        let near =
            |near: &ScoredItem| json!({ "item": ask::id_json(&near.item), "score": ask::number_json(near.score) });
        put("nearest", profile.taste.nearest.iter().map(near).collect());
        if shown.vector {
            put("fused_vector", json!(profile.taste.vector));
        }
    }
    if shown.has(Part::Traits) {
        put("traits", person.traits.iter().map(of_trait).collect());
    }
    if shown.has(Part::Controls) {
        put("controls", person.controls.iter().map(control).collect());
    }
    if shown.has(Part::Vectors) {
        put("strategies", rest.arms.iter().map(|arm| strategy(arm, shown.vector)).collect());
    }
    if shown.has(Part::Recent) {
        let event = |event: &RecentEvent| {
            let (item, kind, value) =
                (ask::id_json(&event.item), kind_name(kinds, event.kind), ask::number_json(event.value));
            json!({ "item": item, "kind": kind, "value": value, "time_ms": event.time_ms })
        };
        put("recent", rest.recent.iter().map(event).collect());
    }
    Value::Object(object)
}

fn attribute(fact: &AttributeFact) -> Value {
    let value = ask::attribute_value_json(&fact.value);
    let expires_ms = (fact.expires_ms != 0).then_some(fact.expires_ms);
    let AttributeFact { name, time_ms, sensitive, .. } = fact;
    json!({ "name": name, "value": value, "time_ms": time_ms, "expires_ms": expires_ms, "sensitive": sensitive })
}

fn behaviour(of: &BehaviourSums) -> Value {
    json!({
        "kind": of.name,
        "code": of.kind,
        "unit": of.unit,
        "events": of.events,
        "last_ms": of.last_ms,
        "sum": of.sum,
        "mean": of.mean,
        "deviation": of.deviation,
        "counts": of.counts,
        "amounts": of.amounts,
    })
}

fn facet(of: &FacetAffinity) -> Value {
    json!({
        "name": of.name,
        "events": of.events,
        "share": of.share,
        "lift": of.lift,
        "lift_low": of.lift_low,
        "lift_high": of.lift_high,
        "liked": of.liked,
        "liked_middle": of.liked_middle,
        "liked_long": of.liked_long,
    })
}

fn sessions(person: &Person) -> Value {
    json!({
        "retained_events": person.retained,
        "sessions": person.sessions,
        "events_mean": person.session_events,
        "length_ms_mean": person.session_length_ms,
        "return_ms_mean": person.session_return_ms,
        "newest": {
            "begin_ms": person.newest_begin_ms,
            "length_ms": person.newest_length_ms,
            "events": person.newest_events,
        },
    })
}

fn interest(of: &InterestOf) -> Value {
    json!({
        "item": ask::id_json(&of.item),
        "items": of.items,
        "now": of.now,
        "long": of.long,
        "unity": of.unity,
    })
}

fn of_trait(of: &TraitValue) -> Value {
    let TraitValue { name, value, deviation, evidence, order_free } = of;
    json!({ "name": name, "value": value, "deviation": deviation, "evidence": evidence, "order_free": order_free })
}

fn control(of: &ControlInForce) -> Value {
    json!({
        "control": of.control,
        "name": of.name,
        "item": of.item.as_ref().map(ask::id_json),
        "share": ask::number_json(of.share),
        "time_ms": (of.time_ms != 0).then_some(of.time_ms),
    })
}

fn strategy(arm: &ArmProfile, vector: bool) -> Value {
    let (dim, length) = (arm.factor.len(), length(arm));
    let mut object = json!({ "strategy": arm.strategy, "epoch": arm.epoch, "dim": dim, "length": length });
    if vector {
        object["vector"] = arm.factor.iter().map(|number| ask::number_json(*number)).collect();
    }
    object
}

fn modality(of: &ModalityTaste) -> Value {
    let ModalityTaste { name, dim, items, weight, evidence, agreement } = of;
    json!({
        "name": name,
        "dim": dim,
        "items": items,
        "weight": ask::number_json(*weight),
        "evidence": evidence,
        "agreement": ask::number_json(*agreement),
    })
}
