//! A shard's dealings with its peers: parcels to item owners, publications from them.
//!
//! One parcel a destination and one publication are on their way at a time; what comes meanwhile gathers and goes with
//! the next, so mailboxes never fill with exchange and rows are sent once however often they changed. A parcel leaves
//! only after the records of its events have been written: whoever merges it never knows more than the journal of its
//! source. It is kept until the destination has journaled it.

use actix::{Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::actor::ShardActor;
use super::messages::{Step, StepDone, Turn};
use crate::model::Durability;
use crate::state::{Op, Parcel};

/// Who is out there and what is on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    peers: Vec<Addr<ShardActor>>,
    shards: u16,
    publications: usize,
}

impl Exchange {
    pub(super) fn new(shards: u16) -> Self {
        Self { peers: Vec::new(), shards, publications: 0 }
    }

    pub(super) fn meet(&mut self, peers: Vec<Addr<ShardActor>>) {
        self.peers = peers;
    }

    fn peer(&self, shard: u16) -> Option<&Addr<ShardActor>> {
        self.peers.get(usize::from(shard))
    }
}

impl ShardActor {
    /// Sends every peer what waits for it, if nothing is on its way there.
    pub(super) fn pump_exchange(&mut self, ctx: &mut Context<Self>) {
        if self.core.awaits_rebuild() {
            return; // nothing of a machine that broke is believed
        }
        for target in 0..self.exchange.shards {
            if target == self.core.shard.index() || self.exchange.peer(target).is_none() {
                continue;
            }
            if let Some(parcel) = self.core.next_parcel(target) {
                self.send_parcel(target, &parcel, ctx);
            }
        }
    }

    fn send_parcel(&mut self, target: u16, parcel: &Parcel, ctx: &mut Context<Self>) {
        let Parcel { upto, count, bytes } = parcel;
        let op = Op::Merge { source: self.core.shard.index(), upto: *upto, count: *count, bytes };
        let (sent, upto, me) = (self.send_op(target, &op, Durability::Journaled), *upto, ctx.address());
        actix_rt::spawn(async move {
            let merged = match sent {
                Some(done) => matches!(done.await.as_deref(), Ok([StepDone::Written(_)])),
                None => false,
            };
            let _ = me.send(ParcelDone { target, upto, merged }).await; // fails only when the actor is gone
        });
    }

    /// Publishes changed rows to all peers, if the last publication has been taken by all.
    pub(super) fn publish(&mut self, ctx: &mut Context<Self>) {
        if self.exchange.publications > 0 || self.exchange.peers.is_empty() || self.core.is_away() {
            return;
        }
        let Some(Parcel { upto, count, bytes }) = self.core.shard.publish(self.pace.rows_max) else { return };
        let op = Op::Rows { owner: self.core.shard.index(), generation: upto, count, bytes: &bytes };
        for target in (0..self.exchange.shards).filter(|target| *target != self.core.shard.index()) {
            self.exchange.publications += 1;
            let (sent, me) = (self.send_op(target, &op, Durability::Applied), ctx.address());
            actix_rt::spawn(async move {
                let taken = match sent {
                    Some(done) => matches!(done.await.as_deref(), Ok([StepDone::Written(_)])),
                    None => false,
                };
                let _ = me.send(RowsDone { taken }).await; // fails only when the actor is gone
            });
        }
    }

    /// Sends one operation to a peer as a turn of its own; `None` if its mailbox is full.
    fn send_op(&self, target: u16, op: &Op<'_>, durability: Durability) -> Option<oneshot::Receiver<Vec<StepDone>>> {
        let mut ops = Vec::new();
        op.encode(&mut ops);
        let (reply, done) = oneshot::channel();
        let steps = vec![Step::Write { bytes: ops.len(), count: 1, durability, each: false }];
        let turn = Turn { flow: 0, ops, steps, credits: None, expires: None, reply };
        self.exchange.peer(target)?.try_send(turn).ok().map(|()| done)
    }
}

/// A parcel has been journaled by its destination, or has not.
#[derive(Message)]
#[rtype(result = "()")]
struct ParcelDone {
    target: u16,
    upto: u64,
    merged: bool,
}

impl Handler<ParcelDone> for ShardActor {
    type Result = ();

    fn handle(&mut self, done: ParcelDone, ctx: &mut Self::Context) {
        let ParcelDone { target, upto, merged } = done;
        self.when_here(ctx, move |this, ctx| {
            let outbox = this.core.shard.outbox(target);
            if merged {
                outbox.acknowledge(upto);
                this.pump_exchange(ctx);
            } else {
                outbox.unsend(); // goes again with the next tick
            }
        });
    }
}

/// A publication has been taken by one peer, or has not.
#[derive(Message)]
#[rtype(result = "()")]
struct RowsDone {
    taken: bool,
}

impl Handler<RowsDone> for ShardActor {
    type Result = ();

    fn handle(&mut self, done: RowsDone, ctx: &mut Self::Context) {
        self.exchange.publications -= 1;
        if !done.taken {
            self.when_here(ctx, |this, _| this.core.shard.publish_all()); // which rows it missed is not known: all go again
        }
    }
}
