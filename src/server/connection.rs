//! One connection: read, plan, carry out, reply.
//!
//! All whole frames of a read are carried out together: one turn a shard, one write back. Requests that wait for the
//! device or for the engine (durable writes, refit, snapshot...) go on in tasks of their own, so they hold up nothing
//! that comes after them; their replies come when they are ready. So do those whose shard takes long to answer: what comes
//! behind them is read, and refused while it can still go elsewhere if the queue is full. While answers are quick nothing is
//! read meanwhile, and what gathers goes together.
//!
//! A framing error ends the connection after the replies to what came before it; any other error is an answer. A socket
//! that is closed with bytes unread is reset, and a reset takes replies with it that are still on their way: so the end is
//! told first, and what the peer sends is read on for a moment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::output::{Output, OutputLimits};
use super::patience::Timer;
use super::plan::{Plan, Planned, Refused, Submitted, describe};
use super::quota::Quota;
use super::reply::{Failure, Replies};
use super::{Door, admin, places, refused};
use crate::base::limits::FRAME_BYTES_MAX;
use crate::engine::{Admitted, Caller, Course, KnownSchema};
use crate::pipeline::Watermark;
use crate::shard::Share;
use crate::wire::commands::{COMMANDS, EventBatch, EventPut, Hello, Request, SessionSet, SessionSetReply};
use crate::wire::{Class, Command, Header, Status, VERSION, put_error, put_reply, split};

/// Bytes read at a time: several batches of the usual size. Every connection holds as many.
const READ_BYTES: usize = 64 << 10;

/// How long, and how much, is read on after a framing error: a peer that has read the refusal closes at once.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = FRAME_BYTES_MAX;

/// How long the answers to a read are waited for before the next read: longer than a turn takes while nothing waits before
/// it, and short enough that a refusal comes at once.
const QUICK: Duration = Duration::from_millis(2);

/// Time of carrying out one read after which the thread looks at its sockets before the next.
const LONG: Duration = Duration::from_micros(100);

/// What a question counts among the requests in flight whose answers take long: an answer may have some ten kilobytes, and is
/// held until the peer has read it.
const QUESTION_WEIGHT: usize = 64;

/// What the tasks of one connection share; they all run on one thread.
pub(super) struct Session {
    pub(super) door: Arc<Door>,
    pub(super) stream: TcpStream,
    pub(super) output: Output,
    number: u64,
    /// Whose thread it is on.
    shard: u16,
    /// How far the events of this connection have come, and where that is told.
    mark: Cell<Watermark>,
    course: Arc<Course>,
    schema: RefCell<KnownSchema>,
    greeted: Cell<bool>,
    /// What the client calls itself; empty before HELLO.
    client: RefCell<Rc<str>>,
    /// Whether it stands above the limit of connections, for control alone.
    operator: bool,
    /// How long a request may wait for its shard; zero: as long as it is let in to.
    deadline: Cell<Duration>,
    /// What it has waiting for shards.
    share: Share,
    quota: RefCell<Quota>,
    /// How long the queues took to empty when all that was planned last was refused.
    refused: Cell<Option<Duration>>,
    /// What refusing took since the last pause.
    refusing: Cell<Duration>,
    /// Requests whose answers come from tasks of their own.
    aside: Cell<usize>,
    aside_done: Notify,
}

/// Serves a connection to its end.
pub(super) async fn serve(door: Arc<Door>, shard: u16, admitted: Admitted, stream: TcpStream) {
    let session = Rc::new(Session::new(door, shard, admitted, stream));
    let whole = tokio::select! {
        whole = session.read() => whole,
        () = session.output.drain(&session.stream) => true,
    };
    let registry = session.door.engine.registry();
    if whole {
        session.output.flush(&session.stream).await;
    } else {
        // It had its time: what it is told now goes at once or not at all.
        let _ = tokio::time::timeout(LINGER, session.output.flush(&session.stream)).await;
        linger(&session.stream).await;
    }
    if session.output.is_over() {
        registry.gave_up();
    }
    registry.dismiss(session.number);
}

/// Tells the peer that nothing more comes, and drops what it sends until it is done, or for a moment.
pub(super) async fn linger(stream: &TcpStream) {
    let told = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
    // Not in the future itself: every connection holds as much as its longest wait.
    let (mut buffer, mut dropped) = (vec![0; 4 << 10], 0);
    let dropping = async {
        while told.is_ok() && dropped < LINGER_BYTES && stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => dropped += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, dropping).await;
}

impl Session {
    fn new(door: Arc<Door>, shard: u16, admitted: Admitted, stream: TcpStream) -> Self {
        let Admitted { number, course, operator } = admitted;
        let options = &door.options;
        let output = Output::new(OutputLimits {
            max: options.output_bytes_max,
            total_max: options.output_total_bytes_max,
            part: options.output_total_bytes_max / options.connections_max.max(1),
            total: Arc::clone(&door.unread),
            patience: options.patience.write,
        });
        Self {
            stream,
            output,
            number,
            shard,
            mark: Cell::default(),
            course,
            schema: RefCell::new(door.engine.known_schema()),
            greeted: Cell::new(false),
            client: RefCell::new(Rc::from("")),
            operator,
            deadline: Cell::new(options.deadline),
            share: Share::new(number, door.engine.shards()),
            quota: RefCell::new(Quota::new(options.connection_events_per_s, Instant::now())),
            refused: Cell::new(None),
            refusing: Cell::default(),
            aside: Cell::new(0),
            aside_done: Notify::new(),
            door,
        }
    }

    /// Reads and carries out until the end; false if the peer is at fault and has been told so.
    async fn read(self: &Rc<Self>) -> bool {
        let mut well = true;
        let mut buffer: Vec<u8> = Vec::with_capacity(READ_BYTES);
        let mut stop = self.door.stop.subscribe();
        let mut timer = Timer::new(Instant::now());
        while !self.output.is_over() {
            let readable = tokio::select! {
                readable = self.readable(&timer) => readable,
                _ = stop.changed() => break,
            };
            if let Err(reproach) = readable {
                if let Some(reproach) = reproach {
                    self.refuse(0, (Status::BadRequest, reproach));
                }
                self.door.engine.registry().gave_up();
                well = false;
                break;
            }
            buffer.reserve(READ_BYTES);
            let now = Instant::now();
            match self.stream.try_read_buf(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            }
            let came = buffer.len();
            well = self.carry_out(&mut buffer, now).await;
            timer.heard(now, buffer.len() < came, buffer.len());
            if !well {
                break;
            }
            if now.elapsed() >= LONG {
                // Wakes up only after the thread has looked at its sockets and timers. A task that finds more to read whenever it
                // comes back would else keep it from that for 60 turns, whoever asks beside it.
                tokio::task::yield_now().await;
            }
            let refusing = self.refusing.take();
            if let Some(wait) = self.refused.take() {
                tokio::time::sleep(self.door.refusing.pause(self.shard, refusing, Instant::now(), wait)).await;
            }
        }
        while self.aside.get() > 0 {
            self.aside_done.notified().await;
        }
        well
    }

    /// Waits until there is something to read and room for what it brings.
    ///
    /// # Errors
    /// The peer took too long; what it should be told.
    async fn readable(&self, timer: &Timer) -> Result<(), Option<String>> {
        self.output.room().await;
        let patience = &self.door.options.patience;
        let readable = self.stream.readable();
        let Some((until, waiting)) = timer.until(patience, self.greeted.get()) else {
            let _ = readable.await; // a connection that broke says so when it is read
            return Ok(());
        };
        match tokio::time::timeout_at(until.into(), readable).await {
            Ok(_) => Ok(()),
            Err(_) => Err(waiting.reproach(patience)),
        }
    }

    /// Carries out every whole frame of the buffer, which was read at `now`; false if the connection must end.
    async fn carry_out(self: &Rc<Self>, buffer: &mut Vec<u8>, now: Instant) -> bool {
        loop {
            let most = self.door.options.in_flight_max;
            while self.aside.get() >= most {
                self.aside_done.notified().await;
            }
            // Behind it: what came aside stands in the output by now.
            self.output.room().await;
            let began = Instant::now();
            let most = most - self.aside.get();
            let now_ms = self.door.engine.clock().now_ms();
            let schema = self.door.engine.follow_schema(&mut self.schema.borrow_mut());
            let client = Rc::clone(&self.client.borrow());
            let source = (self.mark.get(), self.door.options.source_late_ms);
            let mut plan = Plan::new(self.door.engine.shards(), now_ms, schema, client, source);
            let mut frames = split(buffer);
            let (mut taken, mut well) = (0, true);
            while taken < most
                && plan.has_room()
                && let Some(frame) = frames.next()
            {
                taken += 1;
                match frame {
                    Ok((header, body)) => self.plan(&mut plan, header, body, now),
                    Err(error) => {
                        self.refuse(0, (error.status(), describe(&error)));
                        well = false;
                    }
                }
            }
            let (consumed, more) = (frames.consumed(), taken == most || !plan.has_room());
            buffer.drain(..consumed);
            if plan.mark != self.mark.get() {
                self.mark.set(plan.mark);
                self.course.tell(&plan.mark);
            }
            if !plan.is_empty() {
                let planning = began.elapsed();
                self.finish(plan, more, now, planning).await;
            }
            if !well || !more {
                return well;
            }
        }
    }

    /// Adds one frame to the plan, or answers it at once.
    fn plan(self: &Rc<Self>, plan: &mut Plan, header: Header, body: &[u8], now: Instant) {
        let (id, cost) = (header.request_id, plan.cost());
        if let Err(error) = header.check() {
            return self.refuse(id, (error.status(), describe(&error)));
        }
        if !self.greeted.get() && header.code != Hello::OPCODE {
            return self.refuse(id, (Status::Unauthorised, "the first request of a connection is HELLO".to_owned()));
        }
        if let Err(refused) = self.may(header.code, now) {
            return self.output.send(&self.stream, |out| refused.put(out, id));
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
                Ok(Request::SessionSet(set)) => {
                    self.set(id, &set);
                    Ok(())
                }
                Ok(request) => plan.other(engine, id, request).map(|left| {
                    if let Some(request) = left {
                        self.go_aside(1, admin::carry_out(Rc::clone(self), id, request));
                    }
                }),
                Err(error) => Err((error.status(), describe(&error))),
            },
        };
        self.quota.borrow_mut().pay(plan.cost() - cost);
        if let Err(refused) = planned {
            self.refuse(id, refused);
        }
    }

    /// Whether this connection may ask for this now.
    fn may(&self, opcode: u16, now: Instant) -> Result<(), Failure> {
        if self.operator {
            let class = COMMANDS.iter().find(|command| command.opcode == opcode).map(|command| command.class);
            if matches!(class, Some(Class::Write | Class::Read)) {
                return Err(Failure::operators_place());
            }
        }
        self.quota.borrow_mut().admit(now).map_err(Failure::over_quota)
    }

    fn set(&self, request_id: u64, set: &SessionSet) {
        let asked = Duration::from_millis(set.deadline_ms.into());
        self.deadline.set(if asked.is_zero() { self.door.options.deadline } else { asked });
        let deadline_ms = u32::try_from(self.deadline.get().as_millis()).unwrap_or(u32::MAX);
        self.reply::<SessionSet>(request_id, &SessionSetReply { deadline_ms });
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

    /// Hands the plan to the shards and replies, here or aside. What it holds was read at `now`, and there may be `more` of that;
    /// planning it took some time.
    async fn finish(self: &Rc<Self>, plan: Plan, more: bool, now: Instant, planning: Duration) {
        let (slow, questions) = (plan.slow, plan.questions);
        let place = self.door.places.take(self.shard, questions, more).await;
        let began = Instant::now();
        let (parts, requests) = plan.split();
        let (count, deadline) = (requests.len() + questions * QUESTION_WEIGHT, self.deadline.get());
        let expires = (!deadline.is_zero()).then(|| now + deadline);
        // Submitted here in any case: the writes of one connection are carried out in the order of its frames.
        let wait = parts.wait(&self.door.engine);
        let submitted = parts.submit(&self.door.engine, Caller { share: Some(&self.share), expires });
        let refused = submitted.is_refused();
        self.refused.set(refused.then_some(wait));
        let session = Rc::clone(self);
        let mut answer = Box::pin(places::hold(place, async move { session.answer(submitted, requests).await }));
        if refused {
            answer.await; // which is there already
            return self.refusing.set(self.refusing.get() + planning + began.elapsed());
        }
        // One patience for all plans of a read: what comes behind the last of them has waited for the first.
        let until = now + QUICK;
        if slow || wait > QUICK || tokio::time::timeout_at(until.into(), &mut answer).await.is_err() {
            self.go_aside(count, answer);
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

    /// Runs something that answers `count` requests beside the reading of further ones.
    fn go_aside(self: &Rc<Self>, count: usize, work: impl Future<Output = ()> + 'static) {
        self.aside.set(self.aside.get() + count);
        let session = Rc::clone(self);
        tokio::task::spawn_local(async move {
            work.await;
            session.aside.set(session.aside.get() - count);
            session.aside_done.notify_one();
        });
    }
}
