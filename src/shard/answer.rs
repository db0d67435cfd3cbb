//! Questions, carried out against the machine.

use super::messages::{Answer, Histories, ItemAnswer, OwnedFilter, ProfileAnswer, Query};
use crate::base::Id;
use crate::model::Entry;
use crate::state::{Filter, Shard};

/// Answers one question. Changes nothing that is kept.
pub(super) fn answer(shard: &mut Shard, query: &Query) -> Answer {
    match query {
        Query::Profile { user, factors, recent_max } => profile(shard, user, *factors, *recent_max),
        Query::Portrait { user, parts, facets_max, now_ms } => {
            match shard.portrait(user.as_ref(), *parts, *facets_max, *now_ms) {
                Some(portrait) => Answer::Portrait(Box::new(portrait), shard.schema().half_lives_s),
                None => Answer::NotFound,
            }
        }
        Query::Export { user } => shard.export_user(user.as_ref()).map_or(Answer::NotFound, Answer::Exported),
        Query::History { user, span_ms, kinds, skip, max } => match shard.retained(user.as_ref(), *span_ms, kinds) {
            Some(entries) => {
                let page = entries.iter().skip(*skip).take(*max);
                let page = page.map(|entry| (shard.item_id(entry.item).clone(), *entry)).collect();
                Answer::History(entries.len(), page)
            }
            None => Answer::NotFound,
        },
        Query::Item { item } => item_facts(shard, item),
        Query::Predict { user, items, strategy } => {
            let Some(arm) = shard.arm_named(strategy) else { return Answer::NoStrategy };
            let version = shard.version(user.as_ref());
            let predictions = shard.predict(arm, user.as_ref(), items);
            Answer::Predictions(shard.arm_name(arm), version, predictions)
        }
        Query::Recommend { user, k, filter, strategy } => {
            let Some(arm) = shard.arm_named(strategy) else { return Answer::NoStrategy };
            let ranking = shard.recommend(arm, user.as_ref(), *k, &borrowed(filter));
            Answer::Ranking(shard.arm_name(arm), ranking, 0)
        }
        Query::Explain { user, item, strategy, ranking, events_max } => {
            let Some(arm) = shard.arm_named(strategy) else { return Answer::NoStrategy };
            match shard.explain(arm, user.as_ref(), item.as_ref(), *ranking, *events_max) {
                Some(explanation) => Answer::Explained(shard.arm_name(arm), Box::new(explanation)),
                None => Answer::NotFound,
            }
        }
        Query::Similar { item, k, strategy } => {
            let Some(arm) = shard.arm_named(strategy) else { return Answer::NoStrategy };
            match shard.similar(arm, item.as_ref(), *k) {
                Some(items) => Answer::Similar(shard.arm_name(arm), items),
                None => Answer::NotFound,
            }
        }
        Query::Taste { user, nearest } => match shard.taste(user.as_ref(), *nearest) {
            Some(taste) => Answer::Taste(shard.version(user.as_ref()), Box::new(taste)),
            None => Answer::NotFound,
        },
        Query::Embedding { item, modality } => match shard.embedding(item.as_ref(), modality) {
            Some(vector) => Answer::Embedding(vector.to_vec()),
            None => Answer::NotFound,
        },
        Query::Reports => Answer::Reports(shard.reports()),
        Query::Missing => Answer::Missing(shard.missing_decisions()),
        Query::Events => Answer::Events(shard.event_count()),
        Query::Digest => Answer::Digest(shard.sequence(), shard.digest()),
        Query::Histories { from, most, until } => {
            Answer::Histories(Box::new(Histories::some_of(shard, *from, *most, *until)))
        }
    }
}

fn borrowed(filter: &OwnedFilter) -> Filter<'_> {
    let OwnedFilter { exclude_seen, allow_items, deny_items, allow_tags, deny_tags } = filter;
    Filter { exclude_seen: *exclude_seen, allow_items, deny_items, allow_tags, deny_tags }
}

fn profile(shard: &mut Shard, user: &Id, factors: bool, recent_max: usize) -> Answer {
    let attributes = shard.open_attributes(user.as_ref());
    let Some(view) = shard.profile(user.as_ref(), factors) else { return Answer::NotFound };
    let known = view.user;
    let recent: Vec<Entry> = known.history.newest_first().take(recent_max).copied().collect();
    let mut profile = ProfileAnswer {
        user: known.id.clone(),
        version: known.version,
        events: known.events,
        first_ms: known.first_ms,
        last_ms: known.last_ms,
        value_mean: known.value_mean(),
        attributes,
        arms: view.arms,
        recent: Vec::new(),
        digest: view.digest,
    };
    profile.recent = recent.into_iter().map(|entry| (shard.item_id(entry.item).clone(), entry)).collect();
    Answer::Profile(Box::new(profile))
}

fn item_facts(shard: &Shard, item: &Id) -> Answer {
    let Some(view) = shard.item(item.as_ref()) else { return Answer::NotFound };
    let known = view.item;
    Answer::Item(Box::new(ItemAnswer {
        item: known.id.clone(),
        version: known.version,
        events: known.events,
        popularity: view.popularity,
        last_ms: known.last_ms,
        tags: view.tags.into_iter().map(str::to_owned).collect(),
        attributes: known.attributes.as_deref().cloned().unwrap_or_default(),
    }))
}
