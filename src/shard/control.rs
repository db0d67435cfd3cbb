//! What the engine tells a shard beside turns: who its peers are, a new item model, the end.

use actix::{Addr, Context, Handler, Message};

use super::actor::ShardActor;
use super::messages::Install;

impl Handler<Install> for ShardActor {
    type Result = ();

    fn handle(&mut self, install: Install, _: &mut Context<Self>) {
        let Install { model, reply } = install;
        let installed = self.core.install(&model);
        let _ = reply.send(installed);
    }
}

/// Write and sync what is left, answer everybody, and say so: the last message before the arbiter stops.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Drain;

impl Handler<Drain> for ShardActor {
    type Result = bool;

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) -> bool {
        while let Some(turn) = self.waiting.pop() {
            self.carry_out(turn);
        }
        self.flush(ctx);
        self.core.drain()
    }
}

/// The addresses of all shards, by shard; comes once, after all have started.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Peers(pub Vec<Addr<ShardActor>>);

impl Handler<Peers> for ShardActor {
    type Result = ();

    fn handle(&mut self, peers: Peers, _: &mut Context<Self>) {
        self.exchange.meet(peers.0);
        self.core.shard.publish_all();
    }
}
