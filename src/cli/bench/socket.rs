//! One connection of the load tester: a blocking socket that says HELLO, and then moves bytes and nothing else.
//!
//! Unlike [`BlockingClient`](crate::client::BlockingClient) it owns no answer and keeps no list of requests: client and
//! server may share the cores here, and what the client costs the server lacks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::wire::commands::{Hello, SessionSet};
use crate::wire::{Command, Header, Status, VERSION, WireError, put_request, split};

/// Bytes that one read asks for.
const READ_BYTES: usize = 64 << 10;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection.
#[derive(Debug)]
pub struct Socket {
    /// Bytes to go out at the next [`Socket::flush`].
    pub out: Vec<u8>,
    /// The half that answers come from.
    pub reader: SocketReader,
}

/// The half that answers come from.
#[derive(Debug)]
pub struct SocketReader {
    stream: TcpStream,
    addr: String,
    input: Vec<u8>,
    filled: usize,
    patience: Duration,
}

/// The half that requests go to.
#[derive(Debug)]
pub struct SocketWriter {
    /// Bytes to go out at the next [`SocketWriter::flush`].
    pub out: Vec<u8>,
    stream: TcpStream,
    addr: String,
}

impl Socket {
    /// Connects, says HELLO, and how long requests may wait if `deadline_ms` is not 0.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`], [`ClientError::Refused`], [`ClientError::ConnectionLost`].
    pub fn connect(addr: &str, deadline_ms: u32) -> Result<Self, ClientError> {
        let failed = |error: std::io::Error| ClientError::NotConnected {
            addr: addr.to_owned(),
            waited_ms: 0,
            cause: error.to_string(),
        };
        let stream = TcpStream::connect(addr).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let (addr, input) = (addr.to_owned(), vec![0; READ_BYTES]);
        let reader = SocketReader { stream, addr, input, filled: 0, patience: PATIENCE };
        let mut socket = Self { out: Vec::new(), reader };
        let (client, token) = ("mirra bench".to_owned(), String::new());
        socket.open(&Hello { client, version_min: VERSION, version_max: VERSION, token })?;
        if deadline_ms > 0 {
            socket.open(&SessionSet { deadline_ms })?;
        }
        Ok(socket)
    }

    /// Asks for something before the load begins.
    fn open<C: Command>(&mut self, request: &C) -> Result<(), ClientError> {
        put_request(&mut self.out, 0, request)?;
        self.flush()?;
        let mut code = Status::Ok.number();
        while self.reader.receive(|header, _, _| code = header.code, Instant::now())? == 0 {}
        match Status::from_number(code) {
            Some(Status::Ok) => Ok(()),
            Some(status) => {
                let (command, message) = (C::NAME, "the load tester is not let in".to_owned());
                Err(ClientError::Refused { command, status, retry_after_ms: 0, message })
            }
            None => Err(WireError::UnknownStatus { status: code }.into()),
        }
    }

    /// Writes what is in `out`.
    ///
    /// # Errors
    /// [`ClientError::ConnectionLost`].
    pub fn flush(&mut self) -> Result<(), ClientError> {
        let written = self.reader.stream.write_all(&self.out);
        self.out.clear();
        written.map_err(|error| self.reader.lost(error.to_string()))
    }

    /// The two halves, for two threads.
    ///
    /// # Errors
    /// [`ClientError::ConnectionLost`] if the system has no descriptor left.
    pub fn split(self) -> Result<(SocketReader, SocketWriter), ClientError> {
        let stream = self.reader.stream.try_clone().map_err(|error| self.reader.lost(error.to_string()))?;
        let addr = self.reader.addr.clone();
        Ok((self.reader, SocketWriter { out: self.out, stream, addr }))
    }
}

impl SocketWriter {
    /// Writes what is in `out`.
    ///
    /// # Errors
    /// [`ClientError::ConnectionLost`].
    pub fn flush(&mut self) -> Result<(), ClientError> {
        let written = self.stream.write_all(&self.out);
        self.out.clear();
        written.map_err(|error| ClientError::ConnectionLost { addr: self.addr.clone(), cause: error.to_string() })
    }
}

impl SocketReader {
    /// How long [`Self::receive`] waits.
    ///
    /// # Errors
    /// [`ClientError::ConnectionLost`] if the socket is gone.
    pub fn set_patience(&mut self, patience: Duration) -> Result<(), ClientError> {
        self.patience = patience;
        self.stream.set_read_timeout(Some(patience)).map_err(|error| self.lost(error.to_string()))
    }

    /// Reads once and hands every whole answer to `take`, with the time of the read in nanoseconds since `began`;
    /// returns how many there were, which may be 0 after a part of one.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], [`ClientError::ConnectionLost`], [`ClientError::Wire`].
    pub fn receive(&mut self, mut take: impl FnMut(Header, &[u8], u64), began: Instant) -> Result<usize, ClientError> {
        if self.input.len() - self.filled < READ_BYTES / 2 {
            self.input.resize(2 * self.input.len(), 0);
        }
        let read = loop {
            match self.stream.read(&mut self.input[self.filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => return Err(self.lost("closed by the server".to_owned())),
            Ok(bytes) => self.filled += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let timeout_ms = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
                return Err(ClientError::Timeout { command: "the requests in flight", timeout_ms });
            }
            Err(error) => return Err(self.lost(error.to_string())),
        }
        let now_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut frames = split(&self.input[..self.filled]);
        let mut answers = 0;
        for frame in frames.by_ref() {
            let (header, body) = frame?;
            take(header, body, now_ns);
            answers += 1;
        }
        let consumed = frames.consumed();
        self.input.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        Ok(answers)
    }

    /// Ends the connection, so that a sender blocked on it ends too.
    pub fn close(&self) {
        // It fails only on a connection that has ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn lost(&self, cause: String) -> ClientError {
        ClientError::ConnectionLost { addr: self.addr.clone(), cause }
    }
}
