//! One connection: read, plan, carry out, reply.
//!
//! All whole frames of a read are carried out together: one turn a shard, one write back. Requests that wait for the
//! device or for the engine (durable writes, refit, snapshot...) go on in tasks of their own, so they hold up nothing
//! that comes after them; their replies come when they are ready.
//!
//! A framing error ends the connection after the replies to what came before it; any other error is an answer. A socket
//! that is closed with bytes unread is reset, and a reset takes replies with it that are still on their way: so the end is
//! told first, and what the peer sends is read on for a moment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::plan::{Plan, Planned, Refused, Submitted, describe};
use super::reply::Replies;
use super::{Door, admin, refused};
use crate::base::limits::FRAME_BYTES_MAX;
use crate::engine::{Course, KnownSchema};
use crate::pipeline::Watermark;
use crate::server::output::Output;
use crate::wire::commands::{EventBatch, EventPut, Hello, Request};
use crate::wire::{Command, Header, Status, VERSION, put_error, put_reply, split};

/// Bytes read at a time: several batches of the usual size. Every connection holds as many.
const READ_BYTES: usize = 64 << 10;

/// How long, and how much, is read on after a framing error: a peer that has read the refusal closes at once.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = FRAME_BYTES_MAX;

/// What the tasks of one connection share; they all run on one thread.
pub(super) struct Session {
    pub(super) door: Arc<Door>,
    pub(super) stream: TcpStream,
    pub(super) output: Output,
    number: u64,
    /// How far the events of this connection have come, and where that is told.
    mark: Cell<Watermark>,
    course: Arc<Course>,
    schema: RefCell<KnownSchema>,
    greeted: Cell<bool>,
    /// What the client calls itself; empty before HELLO.
    client: RefCell<Rc<str>>,
    aside: Cell<usize>,
    aside_done: Notify,
}

/// Serves a connection to its end.
pub(super) async fn serve(door: Arc<Door>, number: u64, course: Arc<Course>, stream: TcpStream) {
    let output = Output::new(door.options.output_bytes_max);
    let (greeted, aside, aside_done) = (Cell::new(false), Cell::new(0), Notify::new());
    let schema = RefCell::new(door.engine.known_schema());
    let (client, mark) = (RefCell::new(Rc::from("")), Cell::default());
    let session = Session { door, stream, output, number, mark, course, schema, greeted, client, aside, aside_done };
    let session = Rc::new(session);
    let whole = tokio::select! {
        whole = session.read() => whole,
        () = session.output.drain(&session.stream) => true,
    };
    session.output.flush(&session.stream).await;
    if !whole {
        let _ = tokio::time::timeout(LINGER, session.linger()).await;
    }
    session.door.engine.registry().dismiss(number);
}

impl Session {
    /// Reads and carries out until the end; false if that is a framing error.
    async fn read(self: &Rc<Self>) -> bool {
        let mut whole = true;
        let mut buffer: Vec<u8> = Vec::with_capacity(READ_BYTES);
        let mut stop = self.door.stop.subscribe();
        loop {
            let idle = self.door.options.idle_timeout;
            let ready = async {
                if idle.is_zero() {
                    self.stream.readable().await.is_ok()
                } else {
                    matches!(tokio::time::timeout(idle, self.stream.readable()).await, Ok(Ok(())))
                }
            };
            let readable = tokio::select! { ready = ready => ready, _ = stop.changed() => false };
            if !readable {
                break;
            }
            buffer.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            }
            whole = self.carry_out(&mut buffer).await;
            if !whole || self.output.is_over() {
                break;
            }
        }
        while self.aside.get() > 0 {
            self.aside_done.notified().await;
        }
        whole
    }

    /// Tells the peer that nothing more comes, and drops what it sends until it is done.
    async fn linger(&self) {
        let told = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        // Not in the future itself: every connection holds as much as its longest wait.
        let (mut buffer, mut dropped) = (vec![0; 4 << 10], 0);
        while told.is_ok() && dropped < LINGER_BYTES && self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => dropped += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }

    /// Carries out every whole frame of the buffer; false if the connection must end.
    async fn carry_out(self: &Rc<Self>, buffer: &mut Vec<u8>) -> bool {
        loop {
            while self.aside.get() >= self.door.options.in_flight_max {
                self.aside_done.notified().await;
            }
            let now_ms = self.door.engine.clock().now_ms();
            let schema = self.door.engine.follow_schema(&mut self.schema.borrow_mut());
            let client = Rc::clone(&self.client.borrow());
            let source = (self.mark.get(), self.door.options.source_late_ms);
            let mut plan = Plan::new(self.door.engine.shards(), now_ms, schema, client, source);
            let mut frames = split(buffer);
            let (mut taken, mut well) = (0, true);
            for frame in frames.by_ref().take(self.door.options.in_flight_max) {
                taken += 1;
                match frame {
                    Ok((header, body)) => self.plan(&mut plan, header, body),
                    Err(error) => {
                        self.refuse(0, (error.status(), describe(&error)));
                        well = false;
                    }
                }
            }
            let consumed = frames.consumed();
            buffer.drain(..consumed);
            if plan.mark != self.mark.get() {
                self.mark.set(plan.mark);
                self.course.tell(&plan.mark);
            }
            if !plan.is_empty() {
                self.finish(plan).await;
            }
            if !well || taken < self.door.options.in_flight_max {
                return well;
            }
        }
    }

    /// Adds one frame to the plan, or answers it at once.
    fn plan(self: &Rc<Self>, plan: &mut Plan, header: Header, body: &[u8]) {
        let id = header.request_id;
        if let Err(error) = header.check() {
            return self.refuse(id, (error.status(), describe(&error)));
        }
        if !self.greeted.get() && header.code != Hello::OPCODE {
            return self.refuse(id, (Status::Unauthorised, "the first request of a connection is HELLO".to_owned()));
        }
        let engine = &self.door.engine;
        let planned = match header.code {
            EventPut::OPCODE => plan.event_put(engine, id, body),
            EventBatch::OPCODE => plan.event_batch(engine, id, body),
            opcode => match Request::decode(opcode, body) {
                Ok(Request::Hello(hello)) => {
                    self.hello(id, &hello);
                    plan.client = Rc::clone(&self.client.borrow());
                    Ok(())
                }
                Ok(request) => plan.other(engine, id, request).map(|left| {
                    if let Some(request) = left {
                        self.go_aside(admin::carry_out(Rc::clone(self), id, request));
                    }
                }),
                Err(error) => Err((error.status(), describe(&error))),
            },
        };
        if let Err(refused) = planned {
            self.refuse(id, refused);
        }
    }

    fn hello(&self, request_id: u64, hello: &Hello) {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            let (low, high) = (hello.version_min, hello.version_max);
            let message = format!("this server speaks protocol version {VERSION}, the client {low} to {high}");
            return self.refuse(request_id, (Status::Unsupported, message));
        }
        self.greeted.set(true);
        self.client.replace(hello.client.as_str().into());
        self.door.engine.registry().name(self.number, &hello.client);
        self.reply::<Hello>(request_id, &self.door.hello());
    }

    /// Sends a reply with status OK.
    pub(super) fn reply<C: Command>(&self, request_id: u64, reply: &C::Reply) {
        self.output.send(&self.stream, |out| {
            if let Err(error) = put_reply::<C>(out, request_id, Status::Ok, reply) {
                put_error(out, request_id, Status::Internal, 0, &error.to_string());
            }
        });
    }

    /// Sends a refusal.
    pub(super) fn refuse(&self, request_id: u64, (status, message): Refused) {
        self.output.send(&self.stream, |out| put_error(out, request_id, status, 0, &message));
    }

    /// Hands the plan to the shards and replies, here or aside.
    async fn finish(self: &Rc<Self>, plan: Plan) {
        let slow = plan.slow;
        let (parts, requests) = plan.split();
        // Submitted here in any case: the writes of one connection are carried out in the order of its frames.
        let submitted = parts.submit(&self.door.engine);
        if slow {
            let session = Rc::clone(self);
            self.go_aside(async move { session.answer(submitted, requests).await });
        } else {
            self.answer(submitted, requests).await;
        }
    }

    async fn answer(&self, submitted: Submitted, requests: Vec<Planned>) {
        let done = submitted.done().await;
        refused::keep(&self.door.engine, &self.client.borrow(), &done);
        self.output.send(&self.stream, |out| {
            let mut replies = Replies { out, done };
            requests.into_iter().for_each(|planned| replies.reply(planned));
        });
    }

    /// Runs something beside the reading of further requests.
    fn go_aside(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        self.aside.set(self.aside.get() + 1);
        let session = Rc::clone(self);
        tokio::task::spawn_local(async move {
            work.await;
            session.aside.set(session.aside.get() - 1);
            session.aside_done.notify_one();
        });
    }
}
