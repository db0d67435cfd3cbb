//! What one read of a connection becomes: requests sorted by shard, one turn a shard, replies in the order asked.
//!
//! Consecutive single events for one shard become one write of several operations, and so one journal record.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::Receiver;

use super::convert::{self, Invalid};
use crate::base::limits::{EXPLAINED_EVENTS_MAX, TEXT_BYTES_MAX, TOP_K_MAX};
use crate::base::{Id, IdRef};
use crate::engine::{Caller, Engine, TurnError};
use crate::model::{Durability, Event, Recall, Reject, Schema};
use crate::pipeline::{Arrival, Watermark};
use crate::shard::messages::OwnedFilter;
use crate::shard::{Query, Step, StepDone};
use crate::state::{Op, op};
use crate::wire::commands::{ItemUpsert, Request, UserUpsert};
use crate::wire::event::{EventBatchView, EventPutView};
use crate::wire::message::cut_text;
use crate::wire::types::EventError;
use crate::wire::{EventRef, Status, WireError};

/// Events and questions that go to the shards together, unless one request holds more: some milliseconds of work, so that
/// what finds room in a queue is taken and only what does not is refused.
const PLAN_UNITS: usize = 64;

/// Where the answer to something will be: which shard, which of its steps, which outcome of that step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) shard: u16,
    pub(super) step: usize,
    pub(super) outcome: usize,
    /// Which of the step's operations it is.
    pub(super) at: usize,
}

/// A request that shards carry out.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) request_id: u64,
    pub(super) kind: PlannedKind,
}

/// What its reply is made of.
#[derive(Debug)]
pub(super) enum PlannedKind {
    EventPut(Place),
    EventBatch {
        /// The step of each shard that takes part.
        parts: Vec<Place>,
        /// Where the outcome of each event that went to a shard is, with its index.
        events: Vec<(u32, Place)>,
        /// Whether every outcome is wanted.
        each: bool,
        errors: Vec<EventError>,
        count: usize,
        durability: Durability,
    },
    UserUpsert(Place),
    ItemUpsert(Place),
    UserGet(Place),
    ItemGet(Place),
    ProfileGet(Place),
    Predict(Place),
    Recommend(Place),
    SimilarItems(Place),
    Exposure(Place),
    Outcome(Place),
    Explain(Place),
    UserControl(Place),
    EventRetract(Place),
    ProfileParts(Place),
    ProfilesGet(Vec<(Id, Place)>),
    ProfileHistory(Place),
    /// A write that every shard carries out; the owner's place comes first.
    EmbeddingPut(Vec<Place>),
    /// Whether the fused vector is wanted.
    ProfileEmbedding(Place, bool),
    EmbeddingGet(Place),
}

/// One shard's part.
#[derive(Debug, Default)]
struct Part {
    ops: Vec<u8>,
    steps: Vec<Step>,
    cost: usize,
    /// Steps before this one take no more operations.
    fenced: usize,
}

/// Requests sorted by shard.
#[derive(Debug)]
pub(super) struct Plan {
    parts: Vec<Part>,
    pub(super) requests: Vec<Planned>,
    /// Whether an answer waits for the device: then others should not wait with it.
    pub(super) slow: bool,
    /// Questions to shards.
    pub(super) questions: usize,
    now_ms: i64,
    pub(super) schema: Arc<Schema>,
    /// What the client calls itself.
    pub(super) client: Rc<str>,
    /// How far the events of the connection have come.
    pub(super) mark: Watermark,
    /// How far behind the newest of them one may be, in milliseconds; 0: as far as it likes.
    source_late_ms: u64,
}

/// What the shards answered: by shard, or why a turn was not taken.
pub(super) type Done = Vec<Option<Result<Vec<StepDone>, TurnError>>>;

/// Why a request is refused before any shard sees it.
pub(super) type Refused = (Status, String);

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        (invalid.status(), invalid.to_string())
    }
}

fn unreadable(error: &WireError) -> Refused {
    (error.status(), describe(error))
}

/// An error with its causes on one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

impl Plan {
    pub(super) fn new(
        shards: u16,
        now_ms: i64,
        schema: Arc<Schema>,
        client: Rc<str>,
        (mark, source_late_ms): (Watermark, u64),
    ) -> Self {
        let parts = (0..shards).map(|_| Part::default()).collect();
        Self { parts, requests: Vec::new(), slow: false, questions: 0, now_ms, schema, client, mark, source_late_ms }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Events and questions in it so far.
    pub(super) fn cost(&self) -> usize {
        self.parts.iter().map(|part| part.cost).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Adds an EVENT_PUT.
    pub(super) fn event_put(&mut self, engine: &Engine, request_id: u64, body: &[u8]) -> Result<(), Refused> {
        let view = EventPutView::decode(body).map_err(|error| unreadable(&error))?;
        let durability = convert::durability(view.durability, engine.options().durability)?;
        let place = self.event(engine, &view.event, durability, true)?;
        self.requests.push(Planned { request_id, kind: PlannedKind::EventPut(place) });
        Ok(())
    }

    /// Adds an EVENT_BATCH: every event stands for itself.
    pub(super) fn event_batch(&mut self, engine: &Engine, request_id: u64, body: &[u8]) -> Result<(), Refused> {
        let view = EventBatchView::decode(body).map_err(|error| unreadable(&error))?;
        let durability = convert::durability(view.durability, engine.options().durability)?;
        let each = match view.want {
            0 => false,
            1 => true,
            code => return Err(Invalid::Want { code }.into()),
        };
        for part in &mut self.parts {
            part.fence();
        }
        let (mut places, mut events, mut errors) = (Vec::new(), Vec::with_capacity(view.len()), Vec::new());
        for (index, event) in (0_u32..).zip(view.events()) {
            match self.event(engine, &event, durability, each) {
                Ok(place) => {
                    events.push((index, place));
                    if !places.iter().any(|known: &Place| known.shard == place.shard) {
                        places.push(place);
                    }
                }
                Err((status, message)) => {
                    let message = cut_text(&message, TEXT_BYTES_MAX).to_owned();
                    errors.push(EventError { index, status: status.number(), retry_after_ms: 0, message });
                }
            }
        }
        for part in &mut self.parts {
            part.fence();
        }
        let kind = PlannedKind::EventBatch { parts: places, events, each, errors, count: view.len(), durability };
        self.requests.push(Planned { request_id, kind });
        Ok(())
    }

    fn event(
        &mut self,
        engine: &Engine,
        wire: &EventRef<'_>,
        durability: Durability,
        each: bool,
    ) -> Result<Place, Refused> {
        let alias = engine.alias(wire.user);
        let wire = &EventRef { user: alias.as_ref().map_or(wire.user, Id::as_ref), ..*wire };
        let shard = engine.route(wire.user);
        let event = self.checked(engine, wire)?;
        self.slow |= durability == Durability::Durable;
        let part = &mut self.parts[usize::from(shard)];
        let before = part.ops.len();
        op::put_event(&mut part.ops, &event);
        Ok(part.wrote(shard, part.ops.len() - before, durability, each))
    }

    /// Checks an event; one that is refused is counted and kept.
    fn checked<'a>(&mut self, engine: &Engine, wire: &EventRef<'a>) -> Result<Event<'a>, Invalid> {
        let event = convert::event(wire, &self.schema.kinds, self.now_ms);
        event.and_then(|event| self.in_time(event)).inspect_err(|invalid| {
            if let Some(reason) = invalid.reason() {
                let (message, event) = (invalid.to_string(), convert::sent(wire));
                engine.reject(Reject::new(reason, self.now_ms, &self.client, &message, event));
            }
        })
    }

    /// Takes note of how far the connection's events have come; refuses one that is too far behind.
    fn in_time<'a>(&mut self, event: Event<'a>) -> Result<Event<'a>, Invalid> {
        let allowed_ms = self.source_late_ms;
        // A clock that runs ahead does not make late what comes after it.
        match self.mark.observe(event.time_ms.min(self.now_ms), allowed_ms) {
            Arrival::Late { by_ms } if allowed_ms > 0 => {
                Err(Invalid::Late { behind_ms: by_ms.saturating_add(allowed_ms), allowed_ms })
            }
            _ => Ok(event),
        }
    }

    /// Adds any other request that shards carry out; gives back one that they do not.
    pub(super) fn other(
        &mut self,
        engine: &Engine,
        request_id: u64,
        mut request: Request,
    ) -> Result<Option<Request>, Refused> {
        if let Some(user) = request.user_mut()
            && let Some(into) = engine.alias(user.as_ref())
        {
            *user = into;
        }
        let kind = match request {
            Request::UserUpsert(request) => self.user_upsert(engine, request)?,
            Request::ItemUpsert(request) => self.item_upsert(engine, request)?,
            Request::UserGet(request) => {
                let query = Query::Profile { user: request.user.clone(), factors: false, recent_max: 0 };
                PlannedKind::UserGet(self.ask(engine, request.user.as_ref(), query))
            }
            Request::ItemGet(request) => {
                let query = Query::Item { item: request.item.clone() };
                PlannedKind::ItemGet(self.ask(engine, request.item.as_ref(), query))
            }
            Request::ProfileGet(request) => {
                let (user, factors, recent_max) = (request.user, request.factors, usize::from(request.recent_max));
                let query = Query::Profile { user: user.clone(), factors, recent_max };
                PlannedKind::ProfileGet(self.ask(engine, user.as_ref(), query))
            }
            Request::Predict(request) => {
                let (user, items, strategy) = (request.user, request.items, request.strategy);
                let query = Query::Predict { user: user.clone(), items, strategy };
                PlannedKind::Predict(self.ask(engine, user.as_ref(), query))
            }
            Request::Recommend(request) => {
                let k = top_k(request.k)?;
                let filter = OwnedFilter {
                    exclude_seen: request.exclude_seen,
                    allow_items: request.allow_items,
                    deny_items: request.deny_items,
                    allow_tags: request.allow_tags,
                    deny_tags: request.deny_tags,
                };
                let (user, strategy) = (request.user, request.strategy);
                let query = Query::Recommend { user: user.clone(), k, filter, strategy };
                PlannedKind::Recommend(self.ask(engine, user.as_ref(), query))
            }
            Request::SimilarItems(request) => {
                let (item, k, strategy) = (request.item, top_k(request.k)?, request.strategy);
                let query = Query::Similar { item: item.clone(), k, strategy };
                PlannedKind::SimilarItems(self.ask(engine, item.as_ref(), query))
            }
            Request::Explain(request) => {
                let events_max = usize::from(request.events_max);
                if events_max > EXPLAINED_EVENTS_MAX {
                    return Err(Invalid::Events { events_max, max: EXPLAINED_EVENTS_MAX }.into());
                }
                let (user, item, strategy, ranking) = (request.user, request.item, request.strategy, request.ranking);
                let query = Query::Explain { user: user.clone(), item, strategy, ranking, events_max };
                PlannedKind::Explain(self.ask(engine, user.as_ref(), query))
            }
            Request::Exposure(request) => {
                let (decision, user) = (request.decision_id, request.user.as_ref());
                let time_ms = convert::time(request.time_ms, self.now_ms)?;
                let op = Op::Exposure { decision, user, places: request.places, time_ms, list: Recall::Unknown };
                PlannedKind::Exposure(self.join(engine, user, &op, request.durability)?)
            }
            Request::Outcome(request) => {
                let wire = EventRef::from(&request.event);
                let event = self.checked(engine, &wire)?;
                let op = Op::Outcome { decision: request.decision_id, event, list: Recall::Unknown };
                PlannedKind::Outcome(self.join(engine, wire.user, &op, request.durability)?)
            }
            Request::UserControl(request) => self.user_control(engine, &request)?,
            Request::EventRetract(request) => self.event_retract(engine, &request)?,
            Request::ProfileParts(request) => self.profile_parts(engine, request),
            Request::ProfilesGet(request) => self.profiles_get(engine, request),
            Request::ProfileHistory(request) => self.profile_history(engine, request),
            Request::EmbeddingPut(request) => self.embedding_put(engine, &request)?,
            Request::ProfileEmbedding(request) => self.profile_embedding(engine, request)?,
            Request::EmbeddingGet(request) => self.embedding_get(engine, request)?,
            request => return Ok(Some(request)),
        };
        self.requests.push(Planned { request_id, kind });
        Ok(None)
    }

    fn user_upsert(&mut self, engine: &Engine, request: UserUpsert) -> Result<PlannedKind, Refused> {
        let time_ms = convert::time(request.time_ms, self.now_ms)?;
        let check = |name: &str, value| self.schema.check_user(name, value);
        let attributes = convert::attributes(request.attributes, time_ms, check)?;
        let user = request.user.as_ref();
        let place = self.write(engine, user, &Op::UserUpsert { user, time_ms, attributes }, request.durability)?;
        Ok(PlannedKind::UserUpsert(place))
    }

    fn item_upsert(&mut self, engine: &Engine, request: ItemUpsert) -> Result<PlannedKind, Refused> {
        let time_ms = convert::time(request.time_ms, self.now_ms)?;
        let check = |name: &str, value| self.schema.check_item(name, value);
        let attributes = convert::attributes(request.attributes, time_ms, check)?;
        let item = request.item.as_ref();
        let tags = request.tags.iter().map(String::as_str).collect();
        let place =
            self.write(engine, item, &Op::ItemUpsert { item, time_ms, tags, attributes }, request.durability)?;
        Ok(PlannedKind::ItemUpsert(place))
    }

    pub(super) fn write(
        &mut self,
        engine: &Engine,
        id: IdRef<'_>,
        op: &Op<'_>,
        durability: u8,
    ) -> Result<Place, Refused> {
        self.write_in(engine.route(id), engine, op, durability)
    }

    /// As [`Self::write`], in this shard.
    pub(super) fn write_in(
        &mut self,
        shard: u16,
        engine: &Engine,
        op: &Op<'_>,
        durability: u8,
    ) -> Result<Place, Refused> {
        let durability = convert::durability(durability, engine.options().durability)?;
        self.slow |= durability == Durability::Durable;
        let part = &mut self.parts[usize::from(shard)];
        let before = part.ops.len();
        op.encode(&mut part.ops);
        Ok(part.wrote(shard, part.ops.len() - before, durability, true))
    }

    /// Adds an operation that the shard completes with the list that it served.
    fn join(&mut self, engine: &Engine, user: IdRef<'_>, op: &Op<'_>, durability: u8) -> Result<Place, Refused> {
        let durability = convert::durability(durability, engine.options().durability)?;
        self.slow |= durability == Durability::Durable;
        let shard = engine.route(user);
        let part = &mut self.parts[usize::from(shard)];
        let before = part.ops.len();
        op.encode(&mut part.ops);
        part.steps.push(Step::Join { bytes: part.ops.len() - before, durability });
        part.cost += 1;
        Ok(Place { shard, step: part.steps.len() - 1, outcome: 0, at: 0 })
    }

    /// Whether more requests may go with these.
    pub(super) fn has_room(&self) -> bool {
        self.cost() < PLAN_UNITS
    }

    pub(super) fn ask(&mut self, engine: &Engine, id: IdRef<'_>, query: Query) -> Place {
        let shard = engine.route(id);
        let part = &mut self.parts[usize::from(shard)];
        part.steps.push(Step::Ask(query));
        part.cost += 1;
        self.questions += 1;
        Place { shard, step: part.steps.len() - 1, outcome: 0, at: 0 }
    }

    /// Splits into what goes to the shards and what the replies are made of.
    pub(super) fn split(self) -> (Parts, Vec<Planned>) {
        (Parts(self.parts), self.requests)
    }
}

/// What goes to the shards.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

/// The answers to come, by shard; `None` where a shard has no part.
pub(super) struct Submitted(Vec<Option<Result<Receiver<Vec<StepDone>>, TurnError>>>);

impl Parts {
    /// How long the parts will wait for their shards, by the pace of late.
    pub(super) fn wait(&self, engine: &Engine) -> Duration {
        let wait = |(shard, part): (u16, &Part)| (!part.steps.is_empty()).then(|| engine.queue_wait(shard));
        (0..).zip(&self.0).filter_map(wait).max().unwrap_or_default()
    }

    /// Hands every shard its part, at once: what is submitted later is carried out later.
    pub(super) fn submit(self, engine: &Engine, caller: Caller<'_>) -> Submitted {
        let submit = |(shard, part): (u16, Part)| {
            (!part.steps.is_empty()).then(|| engine.submit_for(caller, shard, part.ops, part.steps, part.cost))
        };
        Submitted((0..).zip(self.0).map(submit).collect())
    }
}

impl Submitted {
    /// Whether there were parts and no shard took its own.
    pub(super) fn is_refused(&self) -> bool {
        let mut parts = self.0.iter().flatten().peekable();
        parts.peek().is_some() && parts.all(Result::is_err)
    }

    /// Waits for all answers.
    pub(super) async fn done(self) -> Done {
        let mut done = Vec::with_capacity(self.0.len());
        for submitted in self.0 {
            done.push(match submitted {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(answer)) => Some(answer.await.map_err(|_| TurnError::Stopping)),
            });
        }
        done
    }
}

pub(super) fn top_k(k: u16) -> Result<usize, Refused> {
    match usize::from(k) {
        k @ 1..=TOP_K_MAX => Ok(k),
        _ => Err(Invalid::TopK { max: TOP_K_MAX }.into()),
    }
}

impl Part {
    /// Counts an operation just appended: into the last step if that is a write like it.
    fn wrote(&mut self, shard: u16, length: usize, wanted: Durability, wants_each: bool) -> Place {
        self.cost += 1;
        let open = self.steps.len() > self.fenced;
        match self.steps.last_mut().filter(|_| open) {
            Some(Step::Write { bytes, count, durability, each }) if *durability == wanted && *each == wants_each => {
                *bytes += length;
                *count += 1;
                let at = *count as usize - 1;
                Place { shard, step: self.steps.len() - 1, outcome: if wants_each { at } else { 0 }, at }
            }
            _ => {
                self.steps.push(Step::Write { bytes: length, count: 1, durability: wanted, each: wants_each });
                Place { shard, step: self.steps.len() - 1, outcome: 0, at: 0 }
            }
        }
    }

    /// What comes next is a step of its own, so that a batch's counts are its own.
    fn fence(&mut self) {
        self.fenced = self.steps.len();
    }
}
