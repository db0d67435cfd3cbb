//! One address: a connection that comes back by itself, and the requests in flight on it.
//!
//! A call encodes its frame straight into the queue of the link, wakes the writer, and waits for its reply. The writer
//! takes the whole queue and writes it at once; the reader hands replies to whoever waits for their ids.
//! When either ends, everything in flight fails with `ConnectionLost`, queued or sent alike, and the link is down until a
//! new session is open; calls that come meanwhile wait for it, within their own time, since nothing of them was sent.
//!
//! Invariant: `State::pending` is empty and `State::queue` is empty whenever the link is down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::answer::Answer;
use super::error::ClientError;
use super::{Backoff, ClientOptions};
use crate::base::{IdRef, Rng};
use crate::wire::commands::HelloReply;
use crate::wire::{Command, WireError, put_request, split};

/// Most bytes that one read asks for: what a header announces never decides how much is allocated.
const READ_BYTES: usize = 64 << 10;

/// A buffer that grew beyond this is given back once it is empty.
const KEEP_BYTES: usize = 1 << 20;

/// An open connection whose HELLO was answered.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) hello: HelloReply,
    stream: TcpStream,
    /// Bytes that came behind the HELLO.
    input: Vec<u8>,
}

impl Session {
    /// Connects and says HELLO.
    pub(super) async fn open(addr: &str, options: &ClientOptions) -> Result<Self, ClientError> {
        let waited_ms = options.connect_timeout_ms;
        let failed = |cause: String| ClientError::NotConnected { addr: addr.to_owned(), waited_ms, cause };
        let opening = async {
            let mut stream = TcpStream::connect(addr).await.map_err(|error| failed(error.to_string()))?;
            stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
            let (mut input, mut hello) = (Vec::new(), Vec::new());
            put_request(&mut hello, 0, &options.hello())?;
            stream.write_all(&hello).await.map_err(|error| failed(error.to_string()))?;
            loop {
                let mut frames = split(&input);
                if let Some(frame) = frames.next() {
                    let (header, body) = frame?;
                    header.check()?;
                    let hello = Answer::new(header, body).hello()?;
                    let consumed = frames.consumed();
                    input.drain(..consumed);
                    return Ok(Self { hello, stream, input });
                }
                input.reserve(READ_BYTES);
                match stream.read_buf(&mut input).await {
                    Ok(0) => return Err(failed("closed by the server before HELLO was answered".to_owned())),
                    Ok(_) => {}
                    Err(error) => return Err(failed(error.to_string())),
                }
            }
        };
        timeout(Duration::from_millis(waited_ms), opening).await.unwrap_or_else(|_| Err(failed("timed out".to_owned())))
    }
}

type Waiter = oneshot::Sender<Result<Answer, ClientError>>;

#[derive(Clone, Debug)]
enum Phase {
    Open,
    Down { cause: String },
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    /// Why the reader ended, until the writer has seen it.
    broken: Option<String>,
    /// Number of the session that is served: a reader that ends late must not break the next one.
    session: u64,
    next_id: u64,
    queue: Vec<u8>,
    pending: HashMap<u64, Waiter>,
}

impl State {
    /// Begins the next session.
    fn begin(&mut self) -> u64 {
        self.session += 1;
        self.broken = None;
        self.session
    }
}

/// One address and what is in flight on it.
#[derive(Debug)]
pub(super) struct Link {
    addr: String,
    state: Mutex<State>,
    wake: Notify,
    phase: watch::Sender<Phase>,
    permits: Semaphore,
}

impl Link {
    /// A link that is down.
    pub(super) fn new(addr: String, in_flight_max: usize) -> Self {
        let (phase, _) = watch::channel(Phase::Down { cause: "not connected yet".to_owned() });
        let permits = Semaphore::new(in_flight_max.min(Semaphore::MAX_PERMITS));
        Self { addr, state: Mutex::default(), wake: Notify::new(), phase, permits }
    }

    pub(super) fn addr(&self) -> &str {
        &self.addr
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().open
    }

    /// Calls whose answers have not come.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.state().pending.len()
    }

    /// Sends a request and waits for its answer, both until `deadline`, which is `timeout_ms` after the call began.
    pub(super) async fn request<C: Command>(
        &self,
        request: &C,
        deadline: Instant,
        timeout_ms: u64,
    ) -> Result<Answer, ClientError> {
        let late = ClientError::Timeout { command: C::NAME, timeout_ms };
        let Ok(permit) = timeout_at(deadline, self.permits.acquire()).await else { return Err(late) };
        let (request_id, answer) = loop {
            self.wait_until_open(deadline, timeout_ms).await?;
            if let Some(queued) = self.enqueue(request)? {
                break queued;
            }
        };
        // Forgets the id when the reply has come, the time is over, or the caller has dropped the call.
        let _forget = Forget { link: self, request_id };
        let answered = timeout_at(deadline, answer).await;
        drop(permit);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.lost("the client's runtime is shutting down")),
            Err(_) => Err(late),
        }
    }

    /// Marks the link as open, with a session behind it.
    pub(super) fn opened(&self) {
        self.state().open = true;
        self.phase.send_replace(Phase::Open);
    }

    /// Marks the link as down and fails what is in flight.
    fn closed(&self, cause: &str) {
        let mut state = self.state();
        state.open = false;
        state.queue = Vec::new();
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        self.phase.send_replace(Phase::Down { cause: cause.to_owned() });
        for waiter in pending.into_values() {
            // A waiter that is gone does not want to know.
            let _ = waiter.send(Err(self.lost(cause)));
        }
    }

    fn lost(&self, cause: &str) -> ClientError {
        ClientError::ConnectionLost { addr: self.addr.clone(), cause: cause.to_owned() }
    }

    async fn wait_until_open(&self, deadline: Instant, waited_ms: u64) -> Result<(), ClientError> {
        let mut phase = self.phase.subscribe();
        let opened = timeout_at(deadline, phase.wait_for(|phase| matches!(phase, Phase::Open))).await.is_ok();
        if opened {
            return Ok(());
        }
        let cause = match &*self.phase.borrow() {
            Phase::Open => "opened too late".to_owned(),
            Phase::Down { cause } => cause.clone(),
        };
        Err(ClientError::NotConnected { addr: self.addr.clone(), waited_ms, cause })
    }

    /// Queues the frame; `None` if the link went down meanwhile.
    #[expect(clippy::type_complexity, reason = "an id and where its answer will come")]
    fn enqueue<C: Command>(
        &self,
        request: &C,
    ) -> Result<Option<(u64, oneshot::Receiver<Result<Answer, ClientError>>)>, WireError> {
        let mut state = self.state();
        if !state.open {
            return Ok(None);
        }
        // 0 was HELLO.
        let request_id = state.next_id + 1;
        put_request(&mut state.queue, request_id, request)?;
        state.next_id = request_id;
        let (waiter, answer) = oneshot::channel();
        state.pending.insert(request_id, waiter);
        drop(state);
        self.wake.notify_one();
        Ok(Some((request_id, answer)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Forget<'a> {
    link: &'a Link,
    request_id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.state().pending.remove(&self.request_id);
    }
}

/// Keeps a link alive until the task is aborted.
pub(super) async fn run(link: Arc<Link>, first: Option<Session>, options: ClientOptions) {
    let mut rng = Rng::new(options.seed ^ IdRef::text(&link.addr).stable_hash());
    let mut next = first;
    loop {
        let session = match next.take() {
            Some(session) => session,
            None => reopen(&link, &options, &mut rng).await,
        };
        link.opened();
        let cause = serve(&link, session).await;
        link.closed(&cause);
    }
}

/// Tries until a session is open.
async fn reopen(link: &Link, options: &ClientOptions, rng: &mut Rng) -> Session {
    let backoff: Backoff = options.reconnect;
    let mut attempt = 0;
    loop {
        sleep(Duration::from_millis(backoff.delay_ms(attempt, rng))).await;
        match Session::open(&link.addr, options).await {
            Ok(session) => return session,
            Err(error) => {
                link.phase.send_replace(Phase::Down { cause: error.to_string() });
                attempt = attempt.saturating_add(1);
            }
        }
    }
}

/// Serves one session until it breaks, and says why it did.
async fn serve(link: &Arc<Link>, session: Session) -> String {
    let (read_half, write_half) = session.stream.into_split();
    let number = link.state().begin();
    let _reader = AbortOnDrop(tokio::spawn(read(Arc::clone(link), number, read_half, session.input)));
    write(link, write_half).await
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes whatever is queued, all of it at once.
async fn write(link: &Link, mut half: OwnedWriteHalf) -> String {
    let mut batch = Vec::new();
    loop {
        link.wake.notified().await;
        {
            let mut state = link.state();
            if let Some(cause) = state.broken.take() {
                return cause;
            }
            std::mem::swap(&mut state.queue, &mut batch);
        }
        if batch.is_empty() {
            continue;
        }
        if let Err(error) = half.write_all(&batch).await {
            return error.to_string();
        }
        batch.clear();
        batch.shrink_to(KEEP_BYTES);
    }
}

/// Hands answers to those who wait for them.
async fn read(link: Arc<Link>, session: u64, mut half: OwnedReadHalf, mut input: Vec<u8>) {
    let cause = loop {
        match deliver(&link, &mut input) {
            Ok(wanted) => input.reserve(wanted.saturating_sub(input.len()).clamp(READ_BYTES / 4, READ_BYTES)),
            Err(error) => break error.to_string(),
        }
        match half.read_buf(&mut input).await {
            Ok(0) if input.is_empty() => break "closed by the server".to_owned(),
            Ok(0) => break format!("closed by the server within a frame, after {} bytes of it", input.len()),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    let mut state = link.state();
    if state.session == session {
        state.broken = Some(cause);
        link.wake.notify_one();
    }
}

/// Takes all whole frames off the front of `input`; says how long it must become for the next one.
fn deliver(link: &Link, input: &mut Vec<u8>) -> Result<usize, WireError> {
    let mut frames = split(input);
    let mut state = link.state();
    for frame in frames.by_ref() {
        let (header, body) = frame?;
        header.check()?;
        // An id that nobody waits for is that of a call that has timed out or was dropped.
        if let Some(waiter) = state.pending.remove(&header.request_id) {
            let _ = waiter.send(Ok(Answer::new(header, body)));
        }
    }
    drop(state);
    let (consumed, wanted) = (frames.consumed(), frames.wanted());
    input.drain(..consumed);
    if input.is_empty() {
        input.shrink_to(KEEP_BYTES);
    }
    Ok(wanted)
}
