//! The client over a plain blocking socket, for tools and benchmarks: no runtime, requests pipelined by hand.
//!
//! [`BlockingClient::send`] queues, [`BlockingClient::flush`] writes all that is queued at once,
//! [`BlockingClient::receive`] takes the next answer, whichever request it is for. Events can be encoded straight into
//! the queue without being owned ([`BlockingClient::send_event`], [`BlockingClient::send_batch`]). It does not
//! reconnect: after [`ClientError::ConnectionLost`] connect again.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::ClientOptions;
use super::answer::Answer;
use super::error::ClientError;
use super::routing::told;
use crate::base::Routing;
use crate::wire::commands::{EventPut, Hello, HelloReply, RoutingGet};
use crate::wire::frame::put_frame;
use crate::wire::{BatchWriter, Command, EventRef, put_request, split};

/// Bytes that one read asks for.
const READ_BYTES: usize = 64 << 10;

/// A client over one blocking connection.
#[derive(Debug)]
pub struct BlockingClient {
    addr: String,
    stream: TcpStream,
    hello: HelloReply,
    timeout_ms: u64,
    next_id: u64,
    queue: Vec<u8>,
    /// Bytes read; those before `taken` are done with.
    input: Vec<u8>,
    taken: usize,
    /// Answers that came while another one was waited for.
    early: HashMap<u64, Answer>,
}

impl BlockingClient {
    /// Connects and says HELLO.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`], [`ClientError::Refused`], [`ClientError::Version`], [`ClientError::Wire`].
    pub fn connect(addr: &str, options: &ClientOptions) -> Result<Self, ClientError> {
        let waited_ms = options.connect_timeout_ms;
        let failed = |cause: String| ClientError::NotConnected { addr: addr.to_owned(), waited_ms, cause };
        let stream = open(addr, waited_ms).map_err(|error| failed(error.to_string()))?;
        let mut client = Self {
            addr: addr.to_owned(),
            stream,
            hello: no_hello(),
            timeout_ms: waited_ms,
            next_id: 0,
            queue: Vec::new(),
            input: Vec::new(),
            taken: 0,
            early: HashMap::new(),
        };
        client.set_timeout(waited_ms).map_err(|error| failed(error.to_string()))?;
        let greeted = client.send(&options.hello()).and_then(|_| client.receive()?.hello());
        client.hello = greeted.map_err(|error| match error {
            ClientError::ConnectionLost { cause, .. } => failed(cause),
            ClientError::Timeout { .. } => failed("timed out".to_owned()),
            other => other,
        })?;
        client.set_timeout(options.request_timeout_ms).map_err(|error| failed(error.to_string()))?;
        Ok(client)
    }

    /// What the server said to HELLO: limits, kinds, strategies, shard map.
    #[must_use]
    pub fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// How the server routes ids to its shards.
    ///
    /// # Errors
    /// As [`BlockingClient::call`].
    pub fn routing(&mut self) -> Result<Routing, ClientError> {
        told(self.call(&RoutingGet {}))
    }

    /// Sends a request and waits for its reply; answers to earlier requests that come first are kept for
    /// [`BlockingClient::receive`].
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn call<C: Command>(&mut self, request: &C) -> Result<C::Reply, ClientError> {
        let request_id = self.send(request)?;
        self.flush()?;
        self.wait_for(request_id, C::NAME)?.reply::<C>().map(|(_, reply)| reply)
    }

    /// Queues a request; returns its id. Keep fewer in flight than the server's `in_flight_max`, and receive in between:
    /// if both sides only write, both stand still until the timeout.
    ///
    /// # Errors
    /// [`ClientError::Wire`] if it cannot be written.
    pub fn send<C: Command>(&mut self, request: &C) -> Result<u64, ClientError> {
        put_request(&mut self.queue, self.next_id, request)?;
        Ok(self.take_id())
    }

    /// Queues an EVENT_PUT straight from a borrowed event; returns its id. Its answer is that to an [`EventPut`].
    ///
    /// # Errors
    /// [`ClientError::Wire`] if an id is empty or too long.
    pub fn send_event(&mut self, event: &EventRef<'_>, durability: u8) -> Result<u64, ClientError> {
        put_frame(&mut self.queue, EventPut::OPCODE, self.next_id, EventPut::NAME, |writer| {
            event.encode(writer)?;
            writer.u8(durability);
            Ok(())
        })?;
        Ok(self.take_id())
    }

    /// Queues an EVENT_BATCH straight from borrowed events; returns its id. Its answer is that to an
    /// [`EventBatch`](crate::wire::commands::EventBatch).
    ///
    /// # Errors
    /// [`ClientError::Wire`] if there are too many events, or an id is empty or too long; nothing is queued then.
    pub fn send_batch<'e>(
        &mut self,
        durability: u8,
        want: u8,
        events: impl IntoIterator<Item = EventRef<'e>>,
    ) -> Result<u64, ClientError> {
        let mut batch = BatchWriter::new(&mut self.queue, self.next_id, durability, want);
        for event in events {
            batch.push(&event)?;
        }
        batch.finish()?;
        Ok(self.take_id())
    }

    /// Writes all that is queued, at once.
    ///
    /// # Errors
    /// [`ClientError::ConnectionLost`].
    pub fn flush(&mut self) -> Result<(), ClientError> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let written = self.stream.write_all(&self.queue);
        // A part may have gone out: the rest of a frame must never follow another one.
        self.queue.clear();
        written.map_err(|error| {
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
            self.lost(error.to_string())
        })
    }

    /// The next answer, to whichever request; writes what is queued first.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], after which it can be called again; [`ClientError::ConnectionLost`];
    /// [`ClientError::Wire`] if the bytes are none of this protocol.
    pub fn receive(&mut self) -> Result<Answer, ClientError> {
        self.flush()?;
        if let Some(request_id) = self.early.keys().next().copied()
            && let Some(answer) = self.early.remove(&request_id)
        {
            return Ok(answer);
        }
        self.read_answer("the requests in flight", self.deadline())
    }

    /// The answer to a request in flight; writes what is queued first. Answers to others that come before it are kept for
    /// [`BlockingClient::receive`].
    ///
    /// # Errors
    /// Those of [`BlockingClient::receive`]; also a timeout if there is no such request in flight.
    pub fn receive_for(&mut self, request_id: u64) -> Result<Answer, ClientError> {
        self.flush()?;
        self.wait_for(request_id, "a request in flight")
    }

    fn wait_for(&mut self, request_id: u64, command: &'static str) -> Result<Answer, ClientError> {
        let deadline = self.deadline();
        loop {
            if let Some(answer) = self.early.remove(&request_id) {
                return Ok(answer);
            }
            let answer = self.read_answer(command, deadline)?;
            self.early.insert(answer.request_id, answer);
        }
    }

    fn read_answer(&mut self, command: &'static str, deadline: Instant) -> Result<Answer, ClientError> {
        loop {
            let mut frames = split(&self.input[self.taken..]);
            if let Some(frame) = frames.next() {
                let (header, body) = frame?;
                header.check()?;
                let answer = Answer::new(header, body);
                self.taken += frames.consumed();
                return Ok(answer);
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            if Instant::now() >= deadline {
                return Err(ClientError::Timeout { command, timeout_ms: self.timeout_ms });
            }
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let read = self.stream.read(&mut self.input[filled..]);
            self.input.truncate(filled + read.as_ref().map_or(0, |bytes| *bytes));
            match read {
                Ok(0) if filled == 0 => return Err(self.lost("closed by the server".to_owned())),
                Ok(0) => return Err(self.lost(format!("closed by the server within a frame, after {filled} bytes"))),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Err(ClientError::Timeout { command, timeout_ms: self.timeout_ms });
                    }
                    _ => return Err(self.lost(error.to_string())),
                },
            }
        }
    }

    fn take_id(&mut self) -> u64 {
        let request_id = self.next_id;
        self.next_id += 1;
        request_id
    }

    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.timeout_ms)
    }

    fn set_timeout(&mut self, timeout_ms: u64) -> std::io::Result<()> {
        self.timeout_ms = timeout_ms.max(1);
        let timeout = Some(Duration::from_millis(self.timeout_ms));
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)
    }

    fn lost(&self, cause: String) -> ClientError {
        ClientError::ConnectionLost { addr: self.addr.clone(), cause }
    }
}

fn open(addr: &str, timeout_ms: u64) -> std::io::Result<TcpStream> {
    let timeout = Duration::from_millis(timeout_ms.max(1));
    let mut last = std::io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for each in addr.to_socket_addrs()? {
        match TcpStream::connect_timeout(&each, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Stands in until the server has answered: `connect` hands out no client before that.
fn no_hello() -> HelloReply {
    let Hello { version_max, .. } = ClientOptions::default().hello();
    HelloReply {
        version: version_max,
        server: String::new(),
        shards: 0,
        shard_map: Vec::new(),
        kinds: Vec::new(),
        strategies: Vec::new(),
        frame_bytes_max: 0,
        batch_events_max: 0,
        in_flight_max: 0,
        durability: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::{Peer, event, hello, put_reply_of};
    use super::*;
    use crate::wire::commands::{EventBatch, EventBatchReply, Ping, PingReply, Request};
    use crate::wire::{Status, put_reply};

    fn options() -> ClientOptions {
        ClientOptions { request_timeout_ms: 300, connect_timeout_ms: 2_000, ..ClientOptions::default() }
    }

    #[test]
    fn pipelined_answers_come_in_any_order() {
        let peer = Peer::start(hello(), |mut peer| {
            let asked: Vec<_> = (0..20).map_while(|_| peer.next()).collect();
            for (header, request) in asked.into_iter().rev() {
                let Request::EventPut(put) = request else { panic!("{request:?}") };
                peer.send(&put_reply_of(header.request_id, &put));
            }
            while peer.next().is_some() {}
        });
        let mut client = BlockingClient::connect(&peer.addr, &options()).unwrap();
        let mut asked = HashMap::new();
        for user in 0..10_u64 {
            let event = event(user, 0);
            asked.insert(client.send_event(&(&event).into(), 1).unwrap(), user);
            let put = EventPut { event: super::super::peer::event(user + 100, 0), durability: 1 };
            asked.insert(client.send(&put).unwrap(), user + 100);
        }
        for _ in 0..20 {
            let answer = client.receive().unwrap();
            let (status, reply) = answer.reply::<EventPut>().unwrap();
            assert_eq!((status, Some(reply.sequence)), (Status::Ok, asked.remove(&answer.request_id)));
        }
        assert!(asked.is_empty());
        let late = client.receive();
        assert!(matches!(late, Err(ClientError::Timeout { timeout_ms: 300, .. })), "{late:?}");
    }

    #[test]
    fn batches_out_of_borrowed_events_and_calls_between_them() {
        let peer = Peer::start(hello(), |mut peer| {
            while let Some((header, request)) = peer.next() {
                let mut out = Vec::new();
                match request {
                    Request::EventBatch(batch) => {
                        let accepted = u32::try_from(batch.events.len()).unwrap();
                        let reply = EventBatchReply {
                            accepted,
                            duplicates: 0,
                            rejected: 0,
                            durability: batch.durability,
                            shards: vec![],
                            errors: vec![],
                            results: vec![],
                        };
                        put_reply::<EventBatch>(&mut out, header.request_id, Status::Ok, &reply).unwrap();
                    }
                    Request::Ping(_) => {
                        let reply = PingReply { server_ms: 5, uptime_ms: 6 };
                        put_reply::<Ping>(&mut out, header.request_id, Status::Ok, &reply).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
                peer.send(&out);
            }
        });
        let mut client = BlockingClient::connect(&peer.addr, &options()).unwrap();
        let events: Vec<_> = (0..4_096).map(|user| event(user, user + 1)).collect();
        let batch = client.send_batch(2, 0, events.iter().map(EventRef::from)).unwrap();
        let refused = client.send_batch(2, 0, events.iter().chain(&events).map(EventRef::from));
        assert!(matches!(refused, Err(ClientError::Wire(_))), "{refused:?}");
        assert_eq!(client.call(&Ping {}).unwrap(), PingReply { server_ms: 5, uptime_ms: 6 });
        let answer = client.receive().unwrap();
        let (_, reply) = answer.reply::<EventBatch>().unwrap();
        assert_eq!((answer.request_id, reply.accepted, reply.durability), (batch, 4_096, 2));
    }

    #[test]
    fn a_frame_cut_by_the_server_is_a_lost_connection() {
        let peer = Peer::start(hello(), |mut peer| {
            let (header, _) = peer.next().unwrap();
            let mut out = Vec::new();
            let reply = PingReply { server_ms: 5, uptime_ms: 6 };
            put_reply::<Ping>(&mut out, header.request_id, Status::Ok, &reply).unwrap();
            peer.send(&out[..20]);
        });
        let mut client = BlockingClient::connect(&peer.addr, &options()).unwrap();
        let found = client.call(&Ping {}).unwrap_err();
        assert!(matches!(&found, ClientError::ConnectionLost { cause, .. } if cause.contains("20 bytes")), "{found}");
        assert!(found.is_outcome_unknown());
        assert!(client.call(&Ping {}).is_err(), "a broken connection stays broken");
    }
}
