//! From the shards' answers to reply frames.

use std::time::Duration;

use super::convert::attributes_out;
use super::plan::{Done, Place, Planned, PlannedKind};
use super::refused::told;
use crate::base::limits::{ATTRIBUTES_MAX, CONTROLS_MAX, DIM_MAX, LIST_MAX};
use crate::engine::TurnError;
use crate::model::Durability;
use crate::shard::messages::{ItemAnswer, ProfileAnswer};
use crate::shard::room::left_out;
use crate::shard::{Answer, Refusal, StepDone, Written};
use crate::state::{ArmView, Basis, Outcome, OutcomeKind, Scored};
use crate::wire::commands::{
    EventBatch, EventBatchReply, EventPut, EventPutReply, ItemGet, ItemGetReply, ItemUpsert, Predict, PredictReply,
    ProfileGet, ProfileGetReply, Recommend, RecommendReply, SimilarItems, SimilarItemsReply, UserControl, UserGet,
    UserGetReply, UserUpsert,
};
use crate::wire::types::{
    ArmProfile, EventError, EventResult, RecentEvent, Score, ScoredItem, ShardSequence, WriteAck,
};
use crate::wire::{Command, Status, WireError, put_error, put_reply};

/// Makes every reply of a plan, in the order asked, into one buffer.
pub(super) struct Replies<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) done: Done,
}

/// Why there is no answer.
pub(super) struct Failure {
    status: Status,
    retry_after_ms: u32,
    message: &'static str,
}

impl Failure {
    pub(super) fn new(status: Status, message: &'static str) -> Self {
        Self { status, retry_after_ms: 0, message }
    }
}

impl Failure {
    /// There is no room for another connection.
    pub(super) fn no_room() -> Self {
        let message = "the server has all the connections that it takes (server.connections_max): come back later";
        Self { status: Status::Overloaded, retry_after_ms: 1_000, message }
    }

    /// The connection stands above the limit of connections.
    pub(super) fn operators_place() -> Self {
        let message =
            "the server has all the connections that it takes (server.connections_max): this one may look and stop it";
        Self { status: Status::Overloaded, retry_after_ms: 1_000, message }
    }

    /// The connection asks for more than its quota.
    pub(super) fn over_quota(wait: Duration) -> Self {
        let message = "the connection asks for more than server.connection_events_per_s: nothing was done";
        let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
        Self { status: Status::Quota, retry_after_ms, message }
    }

    /// Appends it as the answer to a request.
    pub(super) fn put(&self, out: &mut Vec<u8>, request_id: u64) {
        put_error(out, request_id, self.status, self.retry_after_ms, self.message);
    }

    /// Whether what was asked for is not known.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == Status::NotFound
    }
}

impl From<TurnError> for Failure {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Overloaded { retry_after_ms } => {
                let message = "the shard's queue is full: nothing was done, send it again later";
                Self { status: Status::Overloaded, retry_after_ms, message }
            }
            TurnError::Stopping => Self {
                status: Status::Overloaded,
                retry_after_ms: 1_000,
                message: "the server stops: nothing was done",
            },
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Broken => {
                Self::new(Status::Internal, "the shard broke at this and was made anew: nothing of it was kept")
            }
            Refusal::ReadOnly => {
                Self::new(Status::ReadOnly, "the shard's journal failed: it answers questions and takes no writes")
            }
            Refusal::DiskFull => {
                let message =
                    "the disk has too little room ([disk] free_min_bytes): nothing was done, send it again later";
                Self { status: Status::DiskFull, retry_after_ms: 1_000, message }
            }
            Refusal::Behind => {
                let message = "another shard or the disk does not keep up: nothing was done, send it again later";
                Self { status: Status::Overloaded, retry_after_ms: 10, message }
            }
            Refusal::Expired => {
                let message = "it waited longer than the connection's deadline: nothing was done";
                Self { status: Status::Deadline, retry_after_ms: 1, message }
            }
        }
    }
}

impl Replies<'_> {
    /// Makes the reply to one request.
    pub(super) fn reply(&mut self, planned: Planned) {
        let Planned { request_id, kind } = planned;
        let made = match kind {
            PlannedKind::EventPut(place) => self.event_put(request_id, place),
            PlannedKind::EventBatch { parts, events, each, errors, count, durability } => {
                let results = if each { self.results(&events, &errors, count) } else { Vec::new() };
                self.event_batch(request_id, &parts, &events, errors, results, durability);
                Ok(())
            }
            PlannedKind::UserUpsert(place) => self.ack::<UserUpsert>(request_id, place),
            PlannedKind::ItemUpsert(place) => self.ack::<ItemUpsert>(request_id, place),
            PlannedKind::UserGet(place) => self.user_get(request_id, place),
            PlannedKind::ItemGet(place) => self.item_get(request_id, place),
            PlannedKind::ProfileGet(place) => self.profile_get(request_id, place),
            PlannedKind::Predict(place) => self.predict(request_id, place),
            PlannedKind::Recommend(place) => self.recommend(request_id, place),
            PlannedKind::SimilarItems(place) => self.similar(request_id, place),
            PlannedKind::Exposure(place) => self.exposure(request_id, place),
            PlannedKind::Outcome(place) => self.outcome(request_id, place),
            PlannedKind::Explain(place) => self.explain(request_id, place),
            PlannedKind::UserControl(place) => self.ack::<UserControl>(request_id, place),
            PlannedKind::EventRetract(place) => self.event_retract(request_id, place),
            PlannedKind::ProfileParts(place) => self.profile_parts(request_id, place),
            PlannedKind::ProfilesGet(places) => self.profiles_get(request_id, places),
            PlannedKind::ProfileHistory(place) => self.profile_history(request_id, place),
            PlannedKind::EmbeddingPut(places) => self.embedding_put(request_id, &places),
            PlannedKind::ProfileEmbedding(place, vector) => self.profile_embedding(request_id, place, vector),
            PlannedKind::EmbeddingGet(place) => self.embedding_get(request_id, place),
        };
        if let Err(failure) = made {
            failure.put(self.out, request_id);
        }
    }

    pub(super) fn put<C: Command>(&mut self, request_id: u64, status: Status, reply: &C::Reply) {
        match put_reply::<C>(self.out, request_id, status, reply) {
            Ok(()) => {}
            // What is kept of one may fill a quarter of a frame, and several can be asked for.
            Err(WireError::FrameTooLong { bytes, max }) => {
                let message = format!("the reply has {bytes} bytes, a frame at most {max}: ask for less at a time");
                put_error(self.out, request_id, Status::BadRequest, 0, &message);
            }
            // Limits of state and wire agree, so this is a fault of ours; the caller gets to know.
            Err(error) => put_error(self.out, request_id, Status::Internal, 0, &error.to_string()),
        }
    }

    pub(super) fn written(&self, place: Place) -> Result<(&Written, Outcome), Failure> {
        match self.step(place)? {
            StepDone::Written(written) => match written.outcomes.get(place.outcome) {
                Some(outcome) => match left_out(*outcome) {
                    Some(reason) => {
                        let (status, message) = told(reason);
                        Err(Failure { status, retry_after_ms: if status.is_retryable() { 1_000 } else { 0 }, message })
                    }
                    None => Ok((written, *outcome)),
                },
                None => Err(Refusal::Broken.into()),
            },
            StepDone::Refused(refusal) => Err((*refusal).into()),
            StepDone::Answered(_) => Err(Refusal::Broken.into()),
        }
    }

    /// As [`Self::written`], for one event: what the shard did not learn is a failure, unless it is a repeat.
    pub(super) fn learned(&self, place: Place) -> Result<(&Written, Outcome), Failure> {
        let (written, outcome) = self.written(place)?;
        match outcome.kind {
            OutcomeKind::Refused(reason) if status_of(outcome) != Status::Duplicate => {
                let (status, message) = told(reason);
                Err(Failure::new(status, message))
            }
            _ => Ok((written, outcome)),
        }
    }

    fn step(&self, place: Place) -> Result<&StepDone, Failure> {
        match &self.done[usize::from(place.shard)] {
            Some(Ok(steps)) => steps.get(place.step).ok_or(Refusal::Broken.into()),
            Some(Err(error)) => Err((*error).into()),
            None => Err(Refusal::Broken.into()),
        }
    }

    /// Takes the answer out of its place: each is used once.
    pub(super) fn answer(&mut self, place: Place) -> Result<Answer, Failure> {
        let step = match &mut self.done[usize::from(place.shard)] {
            Some(Ok(steps)) => steps.get_mut(place.step),
            Some(Err(error)) => return Err((*error).into()),
            None => None,
        };
        match step.map(|step| std::mem::replace(step, StepDone::Refused(Refusal::Broken))) {
            Some(StepDone::Answered(Answer::NotFound)) => {
                Err(Failure::new(Status::NotFound, "not known to this server"))
            }
            Some(StepDone::Answered(Answer::NoStrategy)) => {
                Err(Failure::new(Status::BadRequest, "no strategy of this name is active; HELLO lists those that are"))
            }
            Some(StepDone::Answered(answer)) => Ok(answer),
            Some(StepDone::Refused(refusal)) => Err(refusal.into()),
            Some(StepDone::Written(_)) | None => Err(Refusal::Broken.into()),
        }
    }

    fn event_put(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let (written, outcome) = self.learned(place)?;
        let reply = EventPutReply {
            shard: place.shard,
            sequence: written.sequence(place.outcome),
            profile_version: outcome.version,
            durability: written.durability as u8,
            score_before: outcome.score_before,
            rank_before: outcome.rank_before,
        };
        self.put::<EventPut>(request_id, status_of(outcome), &reply);
        Ok(())
    }

    fn event_batch(
        &mut self,
        request_id: u64,
        parts: &[Place],
        events: &[(u32, Place)],
        mut errors: Vec<EventError>,
        results: Vec<EventResult>,
        durability: Durability,
    ) {
        let mut reply = EventBatchReply {
            accepted: 0,
            duplicates: 0,
            rejected: 0,
            durability: durability as u8,
            shards: Vec::new(),
            errors: Vec::new(),
            results,
        };
        for place in parts {
            let failure: Failure = match self.step(*place) {
                Ok(StepDone::Written(written)) => {
                    reply.accepted += written.applied;
                    reply.duplicates += written.duplicates;
                    reply.durability = reply.durability.max(written.durability as u8);
                    let journaled = written.refused.iter().filter(|refused| !written.left_out.contains(&refused.at));
                    let operations = u64::from(written.applied + written.duplicates) + journaled.count() as u64;
                    for refused in &written.refused {
                        let (status, message) = told(refused.reason);
                        let same = |other: &Place| {
                            (other.shard, other.step, other.at) == (place.shard, place.step, refused.at)
                        };
                        if status == Status::Duplicate {
                            reply.duplicates += 1;
                        } else if let Some((index, _)) = events.iter().find(|(_, other)| same(other)) {
                            let (index, status, message) = (*index, status.number(), message.to_owned());
                            errors.push(EventError { index, status, retry_after_ms: 0, message });
                        }
                    }
                    let sequence = written.first_sequence + operations.saturating_sub(1);
                    reply.shards.push(ShardSequence { shard: place.shard, sequence });
                    continue;
                }
                Ok(StepDone::Refused(refusal)) => (*refusal).into(),
                Ok(StepDone::Answered(_)) => Refusal::Broken.into(),
                Err(refused) => refused,
            };
            let Failure { status, retry_after_ms, message } = failure;
            if events.iter().all(|(_, other)| other.shard == place.shard) && errors.is_empty() {
                return put_error(self.out, request_id, status, retry_after_ms, message);
            }
            for (index, _) in events.iter().filter(|(_, other)| other.shard == place.shard) {
                let (index, status, message) = (*index, status.number(), message.to_owned());
                errors.push(EventError { index, status, retry_after_ms, message });
            }
        }
        reply.rejected = u32::try_from(errors.len()).unwrap_or(u32::MAX);
        reply.errors = errors;
        let status = if reply.rejected == 0 { Status::Ok } else { Status::Partial };
        self.put::<EventBatch>(request_id, status, &reply);
    }

    fn results(&self, events: &[(u32, Place)], errors: &[EventError], count: usize) -> Vec<EventResult> {
        let nothing = |status| EventResult {
            status,
            shard: 0,
            sequence: 0,
            profile_version: 0,
            score_before: f32::NAN,
            rank_before: 0,
        };
        let mut results = vec![nothing(Status::Internal.number()); count];
        for error in errors.iter().filter(|error| (error.index as usize) < count) {
            results[error.index as usize].status = error.status;
        }
        for (index, place) in events {
            results[*index as usize] = match self.written(*place) {
                Ok((written, outcome)) => EventResult {
                    status: status_of(outcome).number(),
                    shard: place.shard,
                    sequence: written.sequence(place.outcome),
                    profile_version: outcome.version,
                    score_before: outcome.score_before,
                    rank_before: outcome.rank_before,
                },
                Err(failure) => nothing(failure.status.number()),
            };
        }
        results
    }

    pub(super) fn ack<C: Command<Reply = WriteAck>>(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let (written, outcome) = self.written(place)?;
        if outcome.kind == OutcomeKind::Full {
            const { assert!(ATTRIBUTES_MAX == 64 && CONTROLS_MAX == 256, "the message says so") };
            let message = "there are as many attributes (64, removed ones among them) or controls of this kind (256) as are \
                           kept: what is one more was not, take one back first";
            return Err(Failure::new(Status::BadRequest, message));
        }
        let sequence = written.sequence(place.outcome);
        let (version, durability) = (outcome.version, written.durability as u8);
        self.put::<C>(request_id, Status::Ok, &WriteAck { shard: place.shard, sequence, version, durability });
        Ok(())
    }

    fn profile(&mut self, place: Place) -> Result<ProfileAnswer, Failure> {
        match self.answer(place)? {
            Answer::Profile(profile) => Ok(*profile),
            _ => Err(Refusal::Broken.into()),
        }
    }

    fn user_get(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let ProfileAnswer { user, version, events, first_ms, last_ms, attributes, .. } = self.profile(place)?;
        let attributes = attributes_out(&attributes);
        self.put::<UserGet>(
            request_id,
            Status::Ok,
            &UserGetReply { user, version, events, first_ms, last_ms, attributes },
        );
        Ok(())
    }

    fn item_get(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::Item(item) = self.answer(place)? else { return Err(Refusal::Broken.into()) };
        let ItemAnswer { item, version, events, popularity, last_ms, tags, attributes } = *item;
        let attributes = attributes_out(&attributes);
        let reply = ItemGetReply { item, version, events, popularity, last_ms, tags, attributes };
        self.put::<ItemGet>(request_id, Status::Ok, &reply);
        Ok(())
    }

    fn profile_get(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let profile = self.profile(place)?;
        let arm = |ArmView { strategy, epoch, mut factor }: ArmView| {
            factor.truncate(DIM_MAX);
            ArmProfile { strategy: strategy.to_owned(), epoch, factor }
        };
        let recent = profile.recent.into_iter().take(LIST_MAX).map(|(item, entry)| RecentEvent {
            item,
            kind: entry.kind,
            value: entry.value,
            time_ms: entry.time_ms,
        });
        let reply = ProfileGetReply {
            user: profile.user,
            shard: place.shard,
            version: profile.version,
            events: profile.events,
            first_ms: profile.first_ms,
            last_ms: profile.last_ms,
            value_mean: profile.value_mean,
            attributes: attributes_out(&profile.attributes),
            arms: profile.arms.into_iter().map(arm).collect(),
            recent: recent.collect(),
            digest: profile.digest,
        };
        self.put::<ProfileGet>(request_id, Status::Ok, &reply);
        Ok(())
    }

    fn predict(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::Predictions(strategy, profile_version, predictions) = self.answer(place)? else {
            return Err(Refusal::Broken.into());
        };
        let score = |prediction: &crate::state::Prediction| Score {
            score: prediction.score,
            basis: basis_code(prediction.basis),
        };
        let scores = predictions.iter().map(score).collect();
        let reply = PredictReply { strategy: strategy.to_owned(), profile_version, scores };
        self.put::<Predict>(request_id, Status::Ok, &reply);
        Ok(())
    }

    fn recommend(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::Ranking(strategy, ranking, decision_id) = self.answer(place)? else {
            return Err(Refusal::Broken.into());
        };
        let reply = RecommendReply {
            decision_id,
            strategy: strategy.to_owned(),
            basis: u8::from(ranking.basis != Basis::Learned),
            profile_version: ranking.version,
            items: scored(ranking.items),
        };
        self.put::<Recommend>(request_id, Status::Ok, &reply);
        Ok(())
    }

    fn similar(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::Similar(strategy, items) = self.answer(place)? else { return Err(Refusal::Broken.into()) };
        let reply = SimilarItemsReply { strategy: strategy.to_owned(), items: scored(items) };
        self.put::<SimilarItems>(request_id, Status::Ok, &reply);
        Ok(())
    }
}

pub(super) fn basis_code(basis: Basis) -> u8 {
    match basis {
        Basis::Learned => 0,
        Basis::NewUser => 1,
        Basis::NewItem => 2,
        Basis::NeitherSeen => 3,
    }
}

pub(super) fn status_of(outcome: Outcome) -> Status {
    match outcome.kind {
        OutcomeKind::Applied => Status::Ok,
        OutcomeKind::Duplicate => Status::Duplicate,
        OutcomeKind::NotFound => Status::NotFound,
        OutcomeKind::Full => Status::BadRequest,
        OutcomeKind::Refused(reason) => told(reason).0,
    }
}

pub(super) fn scored(items: Vec<Scored>) -> Vec<ScoredItem> {
    items.into_iter().map(|scored| ScoredItem { item: scored.item, score: scored.score }).collect()
}
