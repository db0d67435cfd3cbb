//! Two users become one, over shards; and who became whom, for the doors.
//!
//! Sealed, absorbed, emptied (`state/merge.rs`): whoever is interrupted between two of these begins anew, and a start of
//! the engine takes up what was not finished. What is sent for the source later goes to the target: the doors look that up
//! here, and where nobody was ever merged it costs them a look at one flag.

use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;

use super::{Engine, EngineError};
use crate::base::{Id, IdRef};
use crate::model::Durability;
use crate::shard::{Answer, Query, Recovered, Step, StepDone};
use crate::state::{Op, OutcomeKind};

/// Steps from one user to the one that it became in the end; more are a fault.
const CHAIN_MAX: usize = 32;

/// Who became whom.
#[derive(Default)]
pub(super) struct Aliases {
    any: AtomicBool,
    into: DashMap<Id, Id>,
}

impl Aliases {
    /// What the shards say.
    pub(super) fn of(recovered: &[Recovered]) -> (Self, Vec<(Id, Id)>) {
        let (aliases, mut unfinished) = (Self::default(), Vec::new());
        for (user, into, done) in recovered.iter().flat_map(|recovered| recovered.shard.merges()) {
            if !done {
                unfinished.push((user.clone(), into.clone()));
            }
            aliases.add(user, into);
        }
        (aliases, unfinished)
    }

    fn add(&self, user: Id, into: Id) {
        self.into.insert(user, into);
        self.any.store(true, Ordering::Release);
    }

    fn get(&self, user: IdRef<'_>) -> Option<Id> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut found = self.into.get(&user.to_owned())?.clone();
        for _ in 0..CHAIN_MAX {
            let Some(next) = self.into.get(&found).map(|next| next.clone()) else { break };
            found = next;
        }
        Some(found)
    }
}

impl Engine {
    /// Who a user became, if it was merged into another.
    #[must_use]
    #[inline]
    pub fn alias(&self, user: IdRef<'_>) -> Option<Id> {
        self.inner.aliases.get(user)
    }

    /// Users that were merged into others.
    #[must_use]
    pub fn aliases(&self) -> usize {
        self.inner.aliases.into.len()
    }

    /// Makes `user` and `into` one: `into`. Returns the version of its profile, and whether it is as if all had come under
    /// one id. Again, it changes nothing.
    ///
    /// # Errors
    /// [`EngineError::MergeSelf`] for one user, [`EngineError::MergeTaken`] if `user` became somebody else before,
    /// [`EngineError::Memory`] where memory is nearly full, [`EngineError::ShardFailed`].
    pub async fn merge_users(&self, user: &Id, into: &Id) -> Result<(u32, bool), EngineError> {
        let into = self.alias(into.as_ref()).unwrap_or_else(|| into.clone());
        if *user == into {
            return Err(EngineError::MergeSelf { user: user.clone() });
        }
        // Who became whom is held in memory for good, and either may be somebody new.
        self.needs_memory("merge")?;
        let (source, target) = (user.as_ref(), into.as_ref());
        let sealed = self.operate(source, &Op::Seal { user: source, into: target }).await?;
        if sealed.kind == OutcomeKind::NotFound {
            return Err(EngineError::MergeTaken { user: user.clone() });
        }
        self.inner.aliases.add(user.clone(), into.clone());
        let failed = |shard| EngineError::ShardFailed { shard, what: "merge of users" };
        let shard = self.route(source);
        let exported = self.ask(shard, Query::Export { user: user.clone() }).await.map_err(|_| failed(shard))?;
        let Ok(Answer::Exported(bytes)) = exported else { return Err(failed(shard)) };
        let absorbed = self.operate(target, &Op::Absorb { into: target, user: source, bytes: &bytes }).await?;
        self.operate(source, &Op::Empty { user: source }).await?;
        Ok((absorbed.version, absorbed.exact))
    }

    /// Carries out one operation, durably, in the shard that owns `id`.
    async fn operate(&self, id: IdRef<'_>, op: &Op<'_>) -> Result<crate::state::Outcome, EngineError> {
        let shard = self.route(id);
        let failed = || EngineError::ShardFailed { shard, what: "merge of users" };
        let mut ops = Vec::new();
        op.encode(&mut ops);
        let step = Step::Write { bytes: ops.len(), count: 1, durability: Durability::Durable, each: true };
        let done = self.submit(shard, ops, vec![step], 1).map_err(|_| failed())?;
        match done.await.map_err(|_| failed())?.pop() {
            Some(StepDone::Written(written)) => written.outcomes.first().copied().ok_or_else(failed),
            _ => Err(failed()),
        }
    }

    /// Takes up merges that an earlier run did not finish.
    pub(super) fn finish_merges(&self, unfinished: Vec<(Id, Id)>) {
        if unfinished.is_empty() {
            return;
        }
        let engine = self.clone();
        self.spawn_on(0, async move {
            for (user, into) in unfinished {
                if let Err(error) = engine.merge_users(&user, &into).await {
                    tracing::warn!(%user, %into, %error, "a merge of users could not be finished: send it again");
                }
            }
        });
    }
}
