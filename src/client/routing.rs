//! Which connection a request belongs to; splitting a batch by owner and merging the replies.

use super::error::ClientError;
use crate::base::limits::TEXT_BYTES_MAX;
use crate::base::{IdRef, Routing};
use crate::wire::Status;
use crate::wire::commands::{EventBatchReply, RoutingGetReply};
use crate::wire::message::cut_text;
use crate::wire::types::{Event, EventError, EventResult, ShardAddr, ShardSequence};

/// From ids to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Router {
    /// The link of each shard; empty if one link serves all.
    link_of_shard: Vec<usize>,
    /// Which shard owns an id, as the server says.
    pub(super) routing: Routing,
}

/// What one link gets of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) link: usize,
    /// Places of the events in the whole batch.
    pub(super) indices: Vec<u32>,
    pub(super) events: Vec<Event>,
}

impl Router {
    /// The router, and the address of each link, without repeats. Link 0 is `home`; a shard that the map leaves out
    /// belongs to it.
    pub(super) fn new(home: &str, shards: u16, map: &[ShardAddr]) -> (Self, Vec<String>) {
        let mut addrs = vec![home.to_owned()];
        if map.is_empty() {
            return (Self { link_of_shard: Vec::new(), routing: Routing::Plain }, addrs);
        }
        let mut link_of_shard = vec![0; usize::from(shards)];
        for entry in map {
            let Some(link) = link_of_shard.get_mut(usize::from(entry.shard)) else { continue };
            *link = addrs.iter().position(|addr| *addr == entry.addr).unwrap_or_else(|| {
                addrs.push(entry.addr.clone());
                addrs.len() - 1
            });
        }
        (Self { link_of_shard, routing: Routing::Plain }, addrs)
    }

    /// The link of the owner of `id`.
    pub(super) fn link_of(&self, id: IdRef<'_>) -> usize {
        let shards = u16::try_from(self.link_of_shard.len()).unwrap_or(0);
        self.link_of_shard.get(usize::from(self.routing.shard(canonical(id), shards))).copied().unwrap_or(0)
    }

    /// Splits events by link. The order of one user's events is kept, since a user has one link.
    pub(super) fn split(&self, events: Vec<Event>) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (index, event) in (0_u32..).zip(events) {
            let link = self.link_of(event.user.as_ref());
            let at = parts.iter().position(|part| part.link == link).unwrap_or_else(|| {
                parts.push(Part { link, indices: Vec::new(), events: Vec::new() });
                parts.len() - 1
            });
            parts[at].indices.push(index);
            parts[at].events.push(event);
        }
        parts
    }
}

/// The answer to ROUTING_GET as a rule. Under one that is not known here requests only take a hop more.
///
/// # Errors
/// Those of the request.
pub(super) fn told(answer: Result<RoutingGetReply, ClientError>) -> Result<Routing, ClientError> {
    match answer {
        Ok(RoutingGetReply { rule, key_low, key_high }) => {
            Ok(Routing::of(rule, [key_low, key_high]).unwrap_or_default())
        }
        // From before there were keys.
        Err(ClientError::Refused { status: Status::Unsupported, .. }) => Ok(Routing::Plain),
        Err(error) => Err(error),
    }
}

/// An id that somebody built by hand without [`IdRef::text`] is routed as the server will read it.
fn canonical(id: IdRef<'_>) -> IdRef<'_> {
    match id {
        IdRef::Text(text) => IdRef::text(text),
        number @ IdRef::Int(_) => number,
    }
}

/// One reply out of those of the parts; places become those of the whole batch of `events` events. The events of a part
/// that failed stand among the errors.
///
/// # Errors
/// That of a part, if every part failed.
pub(super) fn merge(
    events: usize,
    want: u8,
    parts: Vec<(Vec<u32>, Result<EventBatchReply, ClientError>)>,
) -> Result<EventBatchReply, ClientError> {
    let mut whole = EventBatchReply {
        accepted: 0,
        duplicates: 0,
        rejected: 0,
        durability: u8::MAX,
        shards: Vec::new(),
        errors: Vec::new(),
        results: Vec::new(),
    };
    if want == 1 {
        whole.results = vec![no_result(Status::Internal); events];
    }
    let mut failure = None;
    let mut any = false;
    for (indices, done) in parts {
        match done {
            Ok(reply) => {
                any = true;
                add(&mut whole, &indices, reply);
            }
            Err(error) => {
                add_failed(&mut whole, &indices, &error);
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if !any => Err(error),
        _ => {
            whole.errors.sort_by_key(|error| error.index);
            whole.shards.sort_by_key(|entry| entry.shard);
            Ok(whole)
        }
    }
}

fn add(whole: &mut EventBatchReply, indices: &[u32], part: EventBatchReply) {
    whole.accepted += part.accepted;
    whole.duplicates += part.duplicates;
    whole.rejected += part.rejected;
    whole.durability = whole.durability.min(part.durability);
    for entry in part.shards {
        add_sequence(&mut whole.shards, entry);
    }
    for error in part.errors {
        // A place that the server made up stays as it is: better a strange error than none.
        let index = indices.get(error.index as usize).copied().unwrap_or(error.index);
        whole.errors.push(EventError { index, ..error });
    }
    for (index, result) in indices.iter().zip(part.results) {
        if let Some(slot) = whole.results.get_mut(*index as usize) {
            *slot = result;
        }
    }
}

/// Of two sequences of one shard the newer one covers both.
fn add_sequence(shards: &mut Vec<ShardSequence>, entry: ShardSequence) {
    match shards.iter_mut().find(|known| known.shard == entry.shard) {
        Some(known) => known.sequence = known.sequence.max(entry.sequence),
        None => shards.push(entry),
    }
}

fn add_failed(whole: &mut EventBatchReply, indices: &[u32], error: &ClientError) {
    let (status, retry_after_ms) = match error {
        ClientError::Refused { status, retry_after_ms, .. } => (*status, *retry_after_ms),
        _ => (Status::Internal, 0),
    };
    let message = cut_text(&error.to_string(), TEXT_BYTES_MAX).to_owned();
    whole.rejected += u32::try_from(indices.len()).unwrap_or(u32::MAX);
    for index in indices {
        let (index, status_number, message) = (*index, status.number(), message.clone());
        whole.errors.push(EventError { index, status: status_number, retry_after_ms, message });
        if let Some(slot) = whole.results.get_mut(index as usize) {
            *slot = no_result(status);
        }
    }
}

fn no_result(status: Status) -> EventResult {
    EventResult {
        status: status.number(),
        shard: 0,
        sequence: 0,
        profile_version: 0,
        score_before: 0.0,
        rank_before: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    fn event(user: u64) -> Event {
        Event { event_id: Id::Int(0), user: Id::Int(user), item: Id::Int(1), kind: 0, value: 1.0, time_ms: 0 }
    }

    fn map(addrs: &[&str]) -> Vec<ShardAddr> {
        (0..).zip(addrs).map(|(shard, addr)| ShardAddr { shard, addr: (*addr).to_owned() }).collect()
    }

    #[test]
    fn links_are_the_addresses_of_the_map_without_repeats() {
        let (router, addrs) = Router::new("a:1", 4, &map(&["b:1", "a:1", "b:1", "c:1"]));
        assert_eq!(addrs, ["a:1", "b:1", "c:1"]);
        for user in 0..200 {
            let id = IdRef::Int(user);
            assert_eq!(router.link_of(id), [1, 0, 1, 2][usize::from(id.shard(4))], "user {user}");
        }
        assert_eq!(router.link_of(IdRef::Text("42")), router.link_of(IdRef::Int(42)));
    }

    #[test]
    fn an_empty_or_senseless_map_leads_home() {
        let beyond = [ShardAddr { shard: 9, addr: "b:1".to_owned() }];
        for (shards, map) in [(4, &[][..]), (0, &beyond[..]), (4, &beyond[..])] {
            let (router, addrs) = Router::new("a:1", shards, map);
            assert_eq!((addrs.len(), router.link_of(IdRef::Int(7))), (1, 0), "{shards} shards, {map:?}");
        }
    }

    #[test]
    fn a_split_batch_keeps_every_event_and_the_order_of_each_user() {
        let (router, _) = Router::new("a:1", 3, &map(&["a:1", "b:1", "c:1"]));
        let events: Vec<Event> = (0..300).map(|n| event(n % 17)).collect();
        let parts = router.split(events.clone());
        let mut seen: Vec<u32> = parts.iter().flat_map(|part| part.indices.clone()).collect();
        for part in &parts {
            assert!(part.indices.is_sorted());
            for (index, event) in part.indices.iter().zip(&part.events) {
                assert_eq!(*event, events[*index as usize]);
                assert_eq!(router.link_of(event.user.as_ref()), part.link);
            }
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..300));
    }

    #[test]
    fn merged_places_are_those_of_the_whole_batch() {
        let result = |sequence| EventResult { sequence, ..no_result(Status::Ok) };
        let good = EventBatchReply {
            accepted: 1,
            duplicates: 0,
            rejected: 1,
            durability: 2,
            shards: vec![ShardSequence { shard: 1, sequence: 5 }],
            errors: vec![EventError { index: 1, status: 32, retry_after_ms: 0, message: "bad".into() }],
            results: vec![result(5), no_result(Status::BadRequest)],
        };
        let busy = ClientError::Refused {
            command: "EVENT_BATCH",
            status: Status::Overloaded,
            retry_after_ms: 9,
            message: "full".into(),
        };
        let whole = merge(4, 1, vec![(vec![1, 3], Ok(good)), (vec![0, 2], Err(busy.clone()))]).unwrap();
        assert_eq!((whole.accepted, whole.duplicates, whole.rejected, whole.durability), (1, 0, 3, 2));
        let errors: Vec<_> = whole.errors.iter().map(|e| (e.index, e.status, e.retry_after_ms)).collect();
        assert_eq!(errors, [(0, 48, 9), (2, 48, 9), (3, 32, 0)]);
        let results: Vec<_> = whole.results.iter().map(|r| (r.status, r.sequence)).collect();
        assert_eq!(results, [(48, 0), (0, 5), (48, 0), (32, 0)]);
        assert_eq!(merge(2, 0, vec![(vec![0, 1], Err(busy.clone()))]), Err(busy));
    }
}
