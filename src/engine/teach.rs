//! What the engine does by itself so that answers get better: a teacher for the ranker, and refits of the item model.

use std::time::Duration;

use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle};

use super::{Engine, EngineError, Options, ShardActor};
use crate::base::ids::mix;
use crate::learn::auto::trainer::{Trainer, TrainerOptions};
use crate::learn::auto::{self, Training, ranker::Weights};
use crate::learn::{Auto, Strategy};
use crate::shard::teacher::{Taught, Teacher};

/// How often the engine looks whether a refit is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Starts a teacher on a thread of its own if `auto` is at work and taught apart. It goes on from `weights`.
pub(super) fn start_teacher(
    options: &Options,
    shards: &[Addr<ShardActor>],
    weights: Option<Weights>,
) -> Option<Arbiter> {
    let auto = auto_of(&options.state.strategies)?;
    if options.state.training != Training::Apart || options.teaching.cpu_share <= 0.0 {
        return None;
    }
    let learning = TrainerOptions { replays: auto.replays, ..TrainerOptions::default() };
    let mut trainer = Trainer::new(mix(options.state.seed ^ 2), auto.networks, learning);
    if let Some(weights) = weights {
        trainer.go_on_from(weights);
    }
    let arbiter = Arbiter::new();
    let (share, addresses) = (options.teaching.cpu_share, shards.to_vec());
    let teacher = Teacher::start_in_arbiter(&arbiter.handle(), move |_| Teacher::new(trainer, share, addresses));
    for shard in shards {
        let full = shard.try_send(Taught(teacher.clone())).is_err();
        debug_assert!(!full, "a mailbox that nobody has written to has room");
    }
    Some(arbiter)
}

fn auto_of(strategies: &[Strategy]) -> Option<&Auto> {
    strategies.iter().find_map(|strategy| match strategy {
        Strategy::Auto(auto) => Some(auto),
        _ => None,
    })
}

/// Refits the item model whenever the shards have learned a quarter more events than at the last time, if a strategy
/// takes one. Ends with the engine.
pub(super) fn start_refits(engine: &Engine, on: &ArbiterHandle) {
    let state = &engine.options().state;
    let wanted = state.strategies.iter().any(|strategy| state.takes_model(strategy));
    if !engine.options().refit_automatically || !wanted {
        return;
    }
    let engine = engine.clone();
    on.spawn(async move {
        let mut due = None;
        while !engine.is_stopping() {
            actix_rt::time::sleep(LOOK_EVERY).await;
            let Ok(events) = engine.events().await else { continue };
            // After a start with a model, that model counts as fitted now.
            let at = *due.get_or_insert(if engine.epoch() == 0 { auto::FIRST_FIT } else { auto::next_fit(events) });
            if events < at {
                continue;
            }
            due = Some(auto::next_fit(events));
            if let Err(error) = engine.refit(None).await
                && !matches!(error, EngineError::Stopping(_))
            {
                tracing::warn!(error = %error, "the item model was not refitted; the next try comes with more events");
            }
        }
    });
}
