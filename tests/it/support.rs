//! What the integration tests share: a server on a free port over a temporary directory, within this process
//! ([`TestServer`]) or as the program that people run ([`ServeProcess`]), and a plain way to ask it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command as Program, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mirra::base::{Clock, IdRef, Routing, SystemClock};
use mirra::engine::{self, Options, StartReport};
use mirra::model::Event;
use mirra::server::{self, Server};
use mirra::state::op;
use mirra::wire::commands::{Digest, Hello, HelloReply, Shutdown, Stats};
use mirra::wire::message::decode_error;
use mirra::wire::{Command, ErrorBody, HEADER_BYTES, Header, Status, decode_reply, put_request};

/// A server in a thread of its own.
pub struct TestServer {
    pub addr: SocketAddr,
    pub report: StartReport,
    thread: Option<JoinHandle<()>>,
}

/// How the tests route ids: as servers do, but under one key for all runs, so that what fails once fails again.
const ROUTING: Routing = Routing::Keyed([0x452_821E_638D_0137, 0x7BE5_466C_F34E_90C6]);

/// Options over `dir`, with one shard and nothing unusual.
pub fn options(dir: &Path) -> Options {
    // What a refit would change comes when a test asks for it.
    let mut options = Options { refit_automatically: false, draw_key: false, ..Options::new(dir) };
    options.state.routing = ROUTING;
    options
}

impl TestServer {
    pub fn start(options: Options) -> Self {
        Self::start_with(options, server::Options::default())
    }

    pub fn start_with(options: Options, door: server::Options) -> Self {
        Self::start_at(options, door, Arc::new(SystemClock))
    }

    /// As [`Self::start_with`], by another clock.
    pub fn start_at(options: Options, door: server::Options, clock: Arc<dyn Clock>) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let opened = engine::Engine::start(options, clock).expect("the engine starts");
                let server = Server::open(opened.engine.clone(), door).expect("the door opens");
                sender.send((server.addr(), opened.report)).expect("the test waits");
                server.stopped().await;
                server.close(Duration::from_secs(5)).await;
                assert!(opened.engine.stop().await, "the journals are synced at the end");
            });
        });
        let (addr, report) = receiver.recv().expect("the server thread lives");
        Self { addr, report, thread: Some(thread) }
    }

    /// Stops as an operator would.
    pub fn stop(mut self) {
        let mut connection = Connection::open(self.addr);
        connection.ask(&Shutdown { snapshot: false }).expect("SHUTDOWN is answered");
        drop(connection);
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("the server ends without a panic");
    }
}

/// Longest wait for a process to start or to end: gigabytes are read at a start.
const PROCESS_WAIT: Duration = Duration::from_secs(300);

/// `mirra serve` as a process of its own, on a free port. Dropping it kills it.
pub struct ServeProcess {
    pub addr: SocketAddr,
    child: Child,
    /// Holds the ready file and the log.
    scratch: tempfile::TempDir,
}

impl ServeProcess {
    /// Starts over `data_dir` with further arguments, and waits until the port answers.
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        Self::start_with(data_dir, arguments, &[])
    }

    /// As [`Self::start`], with settings such as `("MIRRA__SERVER__CONNECTIONS_MAX", "8")`.
    pub fn start_with(data_dir: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let program = Program::new(env!("CARGO_BIN_EXE_mirra"));
        Self::start_by(program, "127.0.0.1:0", data_dir, arguments, settings)
    }

    /// As [`Self::start_with`], at another address, by a program that becomes `mirra` when the rest of its arguments follow.
    pub fn start_by(
        mut program: Program,
        listen: &str,
        data_dir: &Path,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let (ready, log) = (scratch.path().join("ready.json"), scratch.path().join("log"));
        program.args(["serve", "--listen", listen, "--data-dir"]).arg(data_dir);
        program.arg("--ready-file").arg(&ready).args(arguments).env_clear();
        program.envs(settings.iter().copied()).stdin(Stdio::null());
        program.stdout(Stdio::null()).stderr(File::create(&log).expect("a log file"));
        let mut child = program.spawn().expect("the program starts");
        let until = Instant::now() + PROCESS_WAIT;
        let addr = loop {
            if let Ok(bytes) = std::fs::read(&ready) {
                let ready: serde_json::Value = serde_json::from_slice(&bytes).expect("the ready file is JSON");
                assert_eq!(ready["pid"], child.id(), "{ready}");
                break ready["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("the ready file has an addr");
            }
            let ended = child.try_wait().expect("a child can be asked");
            if ended.is_some() || Instant::now() > until {
                let _ = (child.kill(), child.wait());
                panic!("the server did not start ({ended:?}): {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Self { addr, child, scratch }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A line of its status in the system's eyes, such as `VmRSS`, in bytes.
    #[allow(dead_code, reason = "only the long bars ask")]
    pub fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        let kib: u64 = line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a count of kB");
        1_024 * kib
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).expect("the log is there")
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Stops it with SHUTDOWN, as an operator would; checks that it ends well.
    pub fn stop(mut self) {
        let mut connection = Connection::open(self.addr);
        connection.ask(&Shutdown { snapshot: false }).expect("SHUTDOWN is answered");
        drop(connection);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Stops it with SIGTERM, as a service manager does; checks that it ends well, and says how long that took.
    pub fn terminate(mut self) -> Duration {
        let began = Instant::now();
        let sent = Program::new("kill").args(["-TERM", &self.pid().to_string()]).status().expect("`kill` is there");
        assert!(sent.success(), "{sent}");
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
        began.elapsed()
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PROCESS_WAIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(Instant::now() < until, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        // It may have ended already: then both fail, or tell how it ended.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// One event, as a shard takes it.
pub fn event(user: u64, item: u64) -> Vec<u8> {
    let mut ops = Vec::new();
    let (user, item) = (IdRef::Int(user), IdRef::Int(item));
    op::put_event(&mut ops, &Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 1_000 });
    ops
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    Program::new(env!("CARGO_BIN_EXE_mirra")).args(arguments).env_clear().output().expect("the program runs")
}

/// As [`run`]: exit code, standard output and standard error.
pub fn told(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(arguments);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A connection that has said HELLO, one request at a time.
pub struct Connection {
    pub stream: TcpStream,
    pub hello: HelloReply,
    next_id: u64,
}

impl Connection {
    pub fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the port answers");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes nodelay");
        let hello = HelloReply {
            version: 0,
            server: String::new(),
            shards: 0,
            shard_map: Vec::new(),
            kinds: Vec::new(),
            strategies: Vec::new(),
            frame_bytes_max: 0,
            batch_events_max: 0,
            in_flight_max: 0,
            durability: 0,
        };
        let mut connection = Self { stream, hello, next_id: 1 };
        let hello = Hello { client: "it".to_owned(), version_min: 1, version_max: 1, token: String::new() };
        connection.hello = connection.ask(&hello).expect("HELLO is answered");
        connection
    }

    /// Sends one request and waits for its reply; a refusal comes as its status and body.
    pub fn ask<C: Command>(&mut self, request: &C) -> Result<C::Reply, (Status, ErrorBody)> {
        self.ask_status(request).map(|(_, reply)| reply)
    }

    /// As [`Self::ask`], with the status.
    pub fn ask_status<C: Command>(&mut self, request: &C) -> Result<(Status, C::Reply), (Status, ErrorBody)> {
        let id = self.next_id;
        self.next_id += 1;
        let mut bytes = Vec::new();
        put_request(&mut bytes, id, request).expect("a test sends what can be sent");
        self.stream.write_all(&bytes).expect("the server reads");
        let (header, body) = self.read();
        assert_eq!(header.request_id, id);
        let status = Status::from_number(header.code).expect("a known status");
        if status.is_success() {
            Ok((status, decode_reply::<C>(&body).expect("a well-formed reply")))
        } else {
            Err((status, decode_error(&body).expect("a well-formed refusal")))
        }
    }

    /// Digests of all shards: what they know, not where they stand.
    pub fn digests(&mut self) -> Vec<u64> {
        self.ask(&Digest {}).expect("DIGEST").shards.iter().map(|shard| shard.digest).collect()
    }

    /// A figure of STATS.
    pub fn stat(&mut self, name: &str) -> f64 {
        let stats = self.ask(&Stats {}).expect("STATS").stats;
        stats.iter().find(|stat| stat.name == name).unwrap_or_else(|| panic!("no figure {name}")).value
    }

    /// Reads one frame.
    pub fn read(&mut self) -> (Header, Vec<u8>) {
        let mut raw = [0; HEADER_BYTES];
        self.stream.read_exact(&mut raw).expect("a reply comes");
        let header = Header::decode(raw);
        let mut body = vec![0; header.length as usize];
        self.stream.read_exact(&mut body).expect("the reply is whole");
        (header, body)
    }
}
