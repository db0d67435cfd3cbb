//! A server for the tests of the clients: made of wire code only, it does what its script says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::Id;
use crate::wire::commands::{EventPut, EventPutReply, Hello, HelloReply, Request, RoutingGet, RoutingGetReply};
use crate::wire::types::Event;
use crate::wire::{Header, Status, VERSION, put_reply, split};

/// A listening socket, a thread a connection.
pub(super) struct Peer {
    pub(super) addr: String,
    /// Connections so far.
    pub(super) connections: Arc<AtomicUsize>,
    open: Arc<Mutex<Option<TcpListener>>>,
}

/// One connection, after its HELLO was answered.
pub(super) struct PeerConnection {
    stream: TcpStream,
    input: Vec<u8>,
    /// Number of the connection, from 0.
    pub(super) nth: usize,
    /// How often something was read.
    pub(super) reads: usize,
}

impl Peer {
    /// Listens, answers HELLO with `hello`, then runs `script` on each connection, which closes when it returns.
    pub(super) fn start(hello: HelloReply, script: impl Fn(PeerConnection) + Send + Sync + 'static) -> Self {
        Self::start_raw(move |mut peer| {
            let Some((header, Request::Hello(_))) = peer.next() else { return };
            let mut out = Vec::new();
            put_reply::<Hello>(&mut out, header.request_id, Status::Ok, &hello).unwrap();
            peer.send(&out);
            script(peer);
        })
    }

    /// Listens, and runs `script` on each connection from its first byte.
    pub(super) fn start_raw(script: impl Fn(PeerConnection) + Send + Sync + 'static) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// Runs `script` on each connection of `listener`.
    pub(super) fn serve(listener: TcpListener, script: impl Fn(PeerConnection) + Send + Sync + 'static) -> Self {
        let addr = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = listener.try_clone().unwrap();
        let open = Arc::new(Mutex::new(Some(listener)));
        let (counter, script, still_open) = (Arc::clone(&connections), Arc::new(script), Arc::clone(&open));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                if still_open.lock().unwrap().is_none() {
                    return;
                }
                let nth = counter.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                std::thread::spawn(move || script(PeerConnection { stream, input: Vec::new(), nth, reads: 0 }));
            }
        });
        Self { addr, connections, open }
    }

    /// Stops listening: from now on connecting is refused.
    pub(super) fn stop(&self) {
        *self.open.lock().unwrap() = None;
        // Wakes the thread that accepts, which then closes the socket.
        drop(TcpStream::connect(&self.addr));
    }
}

impl PeerConnection {
    /// The next request; `None` at the end of the stream. Routing is without a key.
    pub(super) fn next(&mut self) -> Option<(Header, Request)> {
        loop {
            let (header, request) = self.next_of_all()?;
            if !matches!(request, Request::RoutingGet(_)) {
                return Some((header, request));
            }
            let mut out = Vec::new();
            let plain = RoutingGetReply { rule: 1, key_low: 0, key_high: 0 };
            put_reply::<RoutingGet>(&mut out, header.request_id, Status::Ok, &plain).unwrap();
            self.send(&out);
        }
    }

    fn next_of_all(&mut self) -> Option<(Header, Request)> {
        loop {
            let mut frames = split(&self.input);
            if let Some(frame) = frames.next() {
                let (header, body) = frame.unwrap();
                header.check().unwrap();
                let request = Request::decode(header.code, body).unwrap();
                let consumed = frames.consumed();
                self.input.drain(..consumed);
                return Some((header, request));
            }
            let mut chunk = vec![0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(bytes) if bytes > 0 => self.input.extend_from_slice(&chunk[..bytes]),
                _ => return None,
            }
            self.reads += 1;
        }
    }

    /// Whether nothing more comes for a while.
    pub(super) fn is_quiet_for(&mut self, wait: Duration) -> bool {
        let before = self.stream.read_timeout().unwrap();
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let more = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(before).unwrap();
        self.input.is_empty() && more.is_err()
    }

    /// Sends bytes; whether they arrive is the client's affair.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

/// A HELLO reply without a shard map.
pub(super) fn hello() -> HelloReply {
    HelloReply {
        version: VERSION,
        server: "peer".to_owned(),
        shards: 2,
        shard_map: vec![],
        kinds: vec![],
        strategies: vec!["implicit".to_owned()],
        frame_bytes_max: 4 << 20,
        batch_events_max: 4_096,
        in_flight_max: 1_000,
        durability: 2,
    }
}

/// An event of a user; event id 0: none.
pub(super) fn event(user: u64, event_id: u64) -> Event {
    Event { event_id: Id::Int(event_id), user: Id::Int(user), item: Id::Int(1), kind: 1, value: 1.0, time_ms: 0 }
}

/// The frame that answers a put: its sequence is the number of the user.
pub(super) fn put_reply_of(request_id: u64, put: &EventPut) -> Vec<u8> {
    let Id::Int(sequence) = put.event.user else { panic!("{put:?}") };
    let reply = EventPutReply {
        shard: 0,
        sequence,
        profile_version: 1,
        durability: put.durability,
        score_before: 0.5,
        rank_before: 0,
    };
    let mut out = Vec::new();
    put_reply::<EventPut>(&mut out, request_id, Status::Ok, &reply).unwrap();
    out
}
