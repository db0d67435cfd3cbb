//! Replies of one connection on their way out.
//!
//! Replies are appended by whoever has them and written at once as far as the socket takes them; the rest goes when the
//! socket is ready again. A peer that does not read leaves bytes here; past the limit the connection is closed.

use std::cell::{Cell, RefCell};

use tokio::net::TcpStream;
use tokio::sync::Notify;

/// The bytes that wait.
pub(super) struct Output {
    bytes: RefCell<Vec<u8>>,
    written: Cell<usize>,
    more: Notify,
    max: usize,
    failed: Cell<bool>,
}

impl Output {
    pub(super) fn new(max: usize) -> Self {
        let (bytes, written, failed) = (RefCell::default(), Cell::new(0), Cell::new(false));
        Self { bytes, written, more: Notify::new(), max, failed }
    }

    /// Appends replies and writes what the socket takes.
    pub(super) fn send(&self, stream: &TcpStream, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.bytes.borrow_mut());
        self.write(stream);
        if self.waiting() > 0 {
            self.more.notify_one();
        }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.borrow().len() - self.written.get()
    }

    /// Whether the connection has to be closed: it broke, or the peer has left too much unread.
    pub(super) fn is_over(&self) -> bool {
        self.failed.get() || self.waiting() > self.max
    }

    fn write(&self, stream: &TcpStream) {
        let mut bytes = self.bytes.borrow_mut();
        while self.written.get() < bytes.len() && !self.failed.get() {
            match stream.try_write(&bytes[self.written.get()..]) {
                Ok(count) => self.written.set(self.written.get() + count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.failed.set(true),
            }
        }
        bytes.clear();
        self.written.set(0);
        // A large answer once does not keep its memory for ever.
        if bytes.capacity() > 1 << 20 {
            bytes.shrink_to(1 << 16);
        }
    }

    /// Writes what waits whenever the socket takes more. Never ends by itself.
    pub(super) async fn drain(&self, stream: &TcpStream) {
        loop {
            if self.waiting() == 0 || self.failed.get() {
                self.more.notified().await;
            }
            if stream.writable().await.is_err() {
                self.failed.set(true);
            }
            self.write(stream);
        }
    }

    /// Waits until everything is out or the connection is over.
    pub(super) async fn flush(&self, stream: &TcpStream) {
        while self.waiting() > 0 && !self.failed.get() {
            if stream.writable().await.is_err() {
                return;
            }
            self.write(stream);
        }
    }
}
