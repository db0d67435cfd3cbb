//! The background refit: collected a few users at a time, fitted on a thread of low priority while the shards serve,
//! stored as an epoch, installed as an operation in every shard's journal.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;

use super::memory::Promise;
use super::refit::{FitFrom, FitSize, fit_epoch_from};
use super::{Engine, EngineError, Inner, Query, TurnError, spawn_thread};
use crate::linalg::IalsOptions;
use crate::shard::messages::Histories;
use crate::shard::priority::give_way;
use crate::shard::{Answer, Install};
use crate::state::EpochModel;
use crate::telemetry::Metric;

/// Users whose histories are collected in one turn of a shard: a millisecond or two, so that nobody waits long.
const USERS_A_TURN: usize = 256;

/// Set while a refit is under way, from collecting to installing, and for as long as its thread runs.
struct Running(Arc<Inner>);

impl Running {
    fn begin(inner: &Arc<Inner>) -> Result<Self, EngineError> {
        match inner.refitting.swap(true, Ordering::Acquire) {
            false => Ok(Self(Arc::clone(inner))),
            true => Err(EngineError::Busy("refit")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shards[0].metrics.set(Metric::RefitPercent, 0);
        self.0.refitting.store(false, Ordering::Release);
    }
}

impl Engine {
    /// Fits the item model anew over the retained histories of all shards, stores it as the next epoch and installs it.
    /// Without a seed it goes on from the present model, if there is one; with one it begins from random factors.
    /// Serving goes on meanwhile; users move into the new space at their next event, reads see it at once.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if a refit is under way; [`EngineError::DiskFull`]; whatever collecting, fitting, storing or
    /// installing fails at; [`EngineError::Stopping`] if the engine stops meanwhile.
    pub async fn refit(&self, seed: Option<u64>) -> Result<(u32, FitSize), EngineError> {
        self.needs_disk("refit")?;
        let running = Running::begin(&self.inner)?;
        let (began, metrics) = (Instant::now(), Arc::clone(&self.inner.shards[0].metrics));
        let refitted = self.refit_while(running, seed).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &refitted {
            Ok((epoch, FitSize { users, items, pairs, sweeps, objective })) => {
                metrics.add(Metric::Refits, 1);
                metrics.set(Metric::RefitMs, took_ms);
                tracing::info!(epoch, users, items, pairs, sweeps, objective, took_ms, "item model refitted");
            }
            Err(EngineError::Stopping(_)) => tracing::info!(took_ms, "the refit was given up: the server stops"),
            Err(_) => metrics.add(Metric::RefitsFailed, 1),
        }
        refitted
    }

    async fn refit_while(&self, running: Running, seed: Option<u64>) -> Result<(u32, FitSize), EngineError> {
        let (untils, dim) = self.known_users().await?;
        let mut promise = self.promise_refit(untils.iter().map(|until| *until as u64).sum(), dim).await?;
        let mut histories = Vec::new();
        for (shard, until) in (0..).zip(untils) {
            histories.push(self.histories(shard, until, &mut promise).await?);
        }
        let epoch = self.epoch() + 1;
        let (sender, receiver) = oneshot::channel();
        spawn_thread("mirra-refit", move || {
            give_way();
            let fitted = fit_and_store(&running.0, promise, &histories, seed, epoch);
            let _ = sender.send((fitted, running)); // where nobody waits any more, dropping it says that it is over
        })?;
        let (fitted, _running) = receiver.await.map_err(|_| EngineError::Lost("refit"))?;
        let (model, size) = fitted?;
        if self.inner.gives_up() {
            return Err(EngineError::Stopping("refit"));
        }
        self.install(Arc::new(model)).await?;
        Ok((epoch, size))
    }

    /// The slots behind the last users of all shards, and the longest factor that is wanted.
    async fn known_users(&self) -> Result<(Vec<usize>, usize), EngineError> {
        let none = || Query::Histories { from: 0, most: 0, until: usize::MAX };
        let (mut untils, mut dim) = (Vec::new(), 0);
        for answer in self.ask_all("refit", none).await? {
            if let Answer::Histories(none) = answer {
                untils.push(none.until);
                dim = none.dims.into_iter().fold(dim, usize::max);
            }
        }
        Ok((untils, dim))
    }

    /// The retained histories of one shard, some users a turn. Users who come meanwhile have no part in it (under load they
    /// come faster than they are collected, and the memory was promised for those that there were), events of users collected
    /// before neither: a fit is of about now, and no queue waits for it.
    async fn histories(&self, shard: u16, until: usize, promise: &mut Promise) -> Result<Histories, EngineError> {
        let failed = || EngineError::ShardFailed { shard, what: "refit" };
        let mut whole = Histories::default();
        loop {
            if self.inner.gives_up() {
                return Err(EngineError::Stopping("refit"));
            }
            let query = Query::Histories { from: whole.upto, most: USERS_A_TURN, until };
            match self.ask(shard, query).await {
                Ok(Ok(Answer::Histories(some))) => {
                    promise.taken(some.upto - whole.upto);
                    whole.users.extend(some.users);
                    (whole.items, whole.dims) = (some.items, some.dims);
                    (whole.upto, whole.until) = (some.upto, some.until);
                    if some.last {
                        return Ok(whole);
                    }
                }
                // Events come first.
                Err(TurnError::Overloaded { retry_after_ms }) => {
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(retry_after_ms))).await;
                }
                Err(TurnError::Stopping) => return Err(EngineError::Stopping("refit")),
                Ok(_) => return Err(failed()),
            }
        }
    }

    async fn install(&self, model: Arc<EpochModel>) -> Result<(), EngineError> {
        self.inner.epoch.store(model.epoch, Ordering::Relaxed);
        for (shard, handle) in (0..).zip(&self.inner.shards) {
            let (reply, done) = oneshot::channel();
            let failed = || EngineError::ShardFailed { shard, what: "refit" };
            handle.address.send(Install { model: Arc::clone(&model), reply }).await.map_err(|_| failed())?;
            done.await.map_err(|_| failed())?.map_err(|_| failed())?;
        }
        Ok(())
    }

    /// Begins no refit any more and has the one under way end at its next block, a millisecond on: to be called first
    /// when the server is about to stop, so that nobody waits for a model that nobody will use.
    pub fn give_up_refits(&self) {
        self.inner.no_refits.store(true, Ordering::Relaxed);
    }

    /// Waits until no refit is under way.
    pub(super) async fn refits_ended(&self) {
        while self.inner.refitting.load(Ordering::Acquire) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

impl Inner {
    fn gives_up(&self) -> bool {
        self.no_refits.load(Ordering::Relaxed)
    }
}

fn fit_and_store(
    inner: &Inner,
    promise: Promise,
    histories: &[Histories],
    seed: Option<u64>,
    epoch: u32,
) -> Result<(EpochModel, FitSize), EngineError> {
    let options = &inner.options;
    let active: Vec<_> = options.state.strategies.iter().map(crate::learn::Strategy::name).collect();
    let ials = IalsOptions { seed: seed.unwrap_or(options.refit.seed), ..options.refit.clone() };
    let present = (epoch > 1 && seed.is_none()).then(|| inner.home.model(epoch - 1));
    let present = present.and_then(|model| {
        // A model that cannot be read is no reason to have none: the fit begins anew.
        model.inspect_err(|error| tracing::warn!(%error, "the present item model is no start for the next")).ok()
    });
    let from = present.as_ref().map(|model| FitFrom { model, sweeps: options.refit_sweeps });
    let (mut told, mut promise) = (0, Some(promise));
    let mut report = |share: f64| {
        promise.take(); // a fit that reports has taken what it takes
        let percent = (100.0 * share) as u64;
        inner.shards[0].metrics.set(Metric::RefitPercent, percent.max(1));
        if percent >= told + 25 {
            told = percent;
            tracing::debug!(epoch, percent, "refitting the item model");
        }
        std::thread::yield_now();
        if inner.gives_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (model, size) = fit_epoch_from(from, histories, &active, &ials, epoch, &mut report)?;
    inner.home.dir.put_epoch(epoch, &model.encode())?;
    Ok((model, size))
}
