//! What the engine tells a shard beside turns: who its peers are, a new item model, the end.

use actix::{Addr, Context, Handler, Message};
use tokio::sync::oneshot;

use super::actor::ShardActor;
use super::messages::Install;

impl Handler<Install> for ShardActor {
    type Result = ();

    fn handle(&mut self, install: Install, ctx: &mut Context<Self>) {
        let Install { model, reply } = install;
        self.when_here(ctx, move |this, _| {
            let installed = this.core.install(&model);
            let _ = reply.send(installed);
        });
    }
}

/// Write and sync what is left, answer everybody, and say so: the last message before the arbiter stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// Whether everything is kept.
    pub reply: oneshot::Sender<bool>,
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    fn handle(&mut self, drain: Drain, ctx: &mut Context<Self>) {
        self.when_here(ctx, move |this, ctx| {
            this.core.defer_rebuild = false; // nothing else waits for this thread
            while let Some(run) = this.waiting.pop() {
                let broken = this.carry_out(run, None);
                debug_assert!(broken.is_none(), "a machine that is not away is there when the turn ends");
            }
            this.flush(ctx);
            let _ = drain.reply.send(this.core.drain());
        });
    }
}

/// The addresses of all shards, by shard; comes once, after all have started.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Peers(pub Vec<Addr<ShardActor>>);

impl Handler<Peers> for ShardActor {
    type Result = ();

    fn handle(&mut self, peers: Peers, ctx: &mut Context<Self>) {
        self.exchange.meet(peers.0);
        self.when_here(ctx, |this, _| this.core.shard.publish_all());
    }
}
