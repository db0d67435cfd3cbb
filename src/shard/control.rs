//! What the engine tells a shard beside turns: who its peers are, a new item model, the end.

use actix::{Addr, Context, Handler, Message};

use super::actor::{RECORD_OPS, ShardActor};
use super::messages::{Install, Refusal};
use crate::state::Op;

impl Handler<Install> for ShardActor {
    type Result = ();

    fn handle(&mut self, install: Install, _: &mut Context<Self>) {
        let Install { model, reply } = install;
        let mut bytes = Vec::new();
        Op::Epoch { epoch: model.epoch }.encode(&mut bytes);
        let sequence = self.shard.sequence() + 1;
        let installed = self.guarded(|actor| actor.shard.install(&model)).and_then(|_| {
            let appended = self.journal.append(RECORD_OPS, sequence, 1, self.clock.now_ms(), &[&bytes]);
            appended.and_then(|()| self.journal.write()).map(|()| sequence).map_err(|error| {
                self.journal_failed(&error);
                Refusal::ReadOnly
            })
        });
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
        while let Some(turn) = self.aside.pop_front() {
            self.carry_out(turn);
        }
        self.flush(ctx);
        self.write_journal() && self.journal.sync().is_ok() && self.journal.mark().is_ok() && self.write_journal()
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
        self.shard.publish_all();
    }
}
