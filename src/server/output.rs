//! Replies of one connection on their way out.
//!
//! Replies are appended by whoever has them and written at once as far as the socket takes them; the rest goes when the
//! socket is ready again. A peer that does not read leaves bytes here. Three limits say how many: half of the connection's
//! own (or 256 KiB, if that is less) stops the reading of more requests, the whole of it ends the connection, and when all
//! connections together hold too much, those that hold more than an equal part end. A peer that takes nothing for `patience`
//! has gone.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Unread bytes from which on no more is asked for: who reads on has them in a moment.
const ROOM_BYTES: usize = 256 << 10;

/// How much may wait.
#[derive(Clone, Debug)]
pub(super) struct OutputLimits {
    /// Bytes of one connection.
    pub(super) max: usize,
    /// Bytes of all connections, past which one that holds more than `part` is closed.
    pub(super) total_max: usize,
    /// An equal part of them.
    pub(super) part: usize,
    /// What all connections hold.
    pub(super) total: Arc<AtomicUsize>,
    /// How long a peer may take nothing of what waits for it; zero: for ever.
    pub(super) patience: Duration,
}

/// The bytes that wait.
pub(super) struct Output {
    bytes: RefCell<Vec<u8>>,
    written: Cell<usize>,
    /// What of `limits.total` is ours.
    counted: Cell<usize>,
    more: Notify,
    less: Notify,
    limits: OutputLimits,
    failed: Cell<bool>,
}

impl Output {
    pub(super) fn new(limits: OutputLimits) -> Self {
        let (bytes, written, counted, failed) = (RefCell::default(), Cell::new(0), Cell::new(0), Cell::new(false));
        Self { bytes, written, counted, more: Notify::new(), less: Notify::new(), limits, failed }
    }

    /// Appends replies and writes what the socket takes.
    pub(super) fn send(&self, stream: &TcpStream, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.bytes.borrow_mut());
        self.write(stream);
        let waiting = self.waiting();
        if waiting > 0 {
            let total = self.limits.total.load(Ordering::Relaxed);
            if waiting > self.limits.max || total > self.limits.total_max && waiting > self.limits.part {
                self.failed.set(true);
            }
            self.more.notify_one();
        }
    }

    /// Bytes that wait.
    fn waiting(&self) -> usize {
        self.bytes.borrow().len() - self.written.get()
    }

    /// Whether the connection has to be closed: it broke, or the peer has left too much unread for too long.
    pub(super) fn is_over(&self) -> bool {
        self.failed.get()
    }

    /// Waits until little enough is unread that more may be asked.
    pub(super) async fn room(&self) {
        while self.waiting() > ROOM_BYTES.min(self.limits.max / 2) && !self.is_over() {
            self.less.notified().await;
        }
    }

    fn write(&self, stream: &TcpStream) {
        let mut bytes = self.bytes.borrow_mut();
        while self.written.get() < bytes.len() && !self.failed.get() {
            match stream.try_write(&bytes[self.written.get()..]) {
                Ok(count) => self.written.set(self.written.get() + count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.forget_written(&mut bytes);
                    return self.count(bytes.len() - self.written.get());
                }
                Err(_) => self.failed.set(true),
            }
        }
        bytes.clear();
        self.written.set(0);
        // A large answer once does not keep its memory for ever.
        if bytes.capacity() > 1 << 20 {
            bytes.shrink_to(1 << 16);
        }
        self.count(0);
    }

    /// A peer that reads, but never everything, would have all it was ever sent kept here. Moved once it is half of what is
    /// kept, so that no byte is moved more often than written.
    fn forget_written(&self, bytes: &mut Vec<u8>) {
        if self.written.get() > bytes.len() / 2 {
            bytes.drain(..self.written.replace(0));
        }
    }

    /// Tells the common total how much waits here.
    fn count(&self, waiting: usize) {
        let before = self.counted.replace(waiting);
        if waiting > before {
            self.limits.total.fetch_add(waiting - before, Ordering::Relaxed);
        } else if waiting < before {
            self.limits.total.fetch_sub(before - waiting, Ordering::Relaxed);
            self.less.notify_one();
        }
    }

    /// Writes what waits whenever the socket takes more; ends when the connection is over.
    pub(super) async fn drain(&self, stream: &TcpStream) {
        while !self.failed.get() {
            if self.waiting() == 0 {
                self.more.notified().await;
            } else {
                self.write_some(stream).await;
            }
        }
        self.less.notify_one(); // nobody waits for room any more
    }

    /// Waits until everything is out or the connection is over.
    pub(super) async fn flush(&self, stream: &TcpStream) {
        while self.waiting() > 0 && !self.failed.get() {
            self.write_some(stream).await;
        }
    }

    /// Writes once the socket takes more; a peer for which that takes too long has gone.
    async fn write_some(&self, stream: &TcpStream) {
        let patience = self.limits.patience;
        let writable = if patience.is_zero() {
            stream.writable().await.is_ok()
        } else {
            matches!(timeout(patience, stream.writable()).await, Ok(Ok(())))
        };
        if writable { self.write(stream) } else { self.failed.set(true) }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.limits.total.fetch_sub(self.counted.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    fn limits(max: usize, total_max: usize, patience: Duration) -> OutputLimits {
        OutputLimits { max, total_max, part: total_max / 4, total: Arc::default(), patience }
    }

    /// More than the buffers of two sockets take.
    const FLOOD: usize = 32 << 20;

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_given_up_after_the_patience() {
        let (stream, _silent) = pair().await;
        let output = Output::new(limits(2 * FLOOD, usize::MAX, Duration::from_millis(50)));
        output.send(&stream, |out| out.resize(FLOOD, 0));
        assert!(output.waiting() > 0 && !output.is_over());
        assert_eq!(output.limits.total.load(Ordering::Relaxed), output.waiting());
        timeout(Duration::from_secs(20), output.drain(&stream)).await.expect("it ends by itself");
        assert!(output.is_over());
        let total = Arc::clone(&output.limits.total);
        drop(output);
        assert_eq!(total.load(Ordering::Relaxed), 0, "what it held is given back");
    }

    #[tokio::test]
    async fn over_its_own_limit_or_far_over_its_part_of_a_full_total_it_ends() {
        let (stream, _silent) = pair().await;
        let own = Output::new(limits(1 << 20, usize::MAX, Duration::ZERO));
        own.send(&stream, |out| out.resize(FLOOD, 0));
        assert!(own.is_over(), "its own limit");
        let (stream, _silent) = pair().await;
        let limits = limits(2 * FLOOD, 8 << 20, Duration::ZERO);
        limits.total.store(9 << 20, Ordering::Relaxed);
        let parts = Output::new(limits);
        parts.send(&stream, |out| out.resize(64, 0));
        assert!(!parts.is_over(), "what the socket takes at once never counts");
        parts.send(&stream, |out| out.resize(FLOOD, 0));
        assert!(parts.is_over(), "more than its part while all together hold too much");
    }

    #[tokio::test]
    async fn a_peer_that_is_always_behind_holds_what_waits_and_not_what_was_sent() {
        let (stream, theirs) = pair().await;
        let output = Output::new(limits(2 * FLOOD, usize::MAX, Duration::ZERO));
        output.send(&stream, |out| out.resize(FLOOD, 0));
        let reading = async {
            let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
            while got < 6 * FLOOD {
                theirs.readable().await.unwrap();
                let read = theirs.try_read(&mut buffer).unwrap_or(0);
                got += read;
                output.send(&stream, |out| out.resize(out.len() + read, 0));
                assert!(output.waiting() > 0, "never all of it goes");
            }
        };
        let both = async {
            tokio::select! { () = output.drain(&stream) => panic!("it is not over"), () = reading => {} }
        };
        timeout(Duration::from_secs(20), both).await.expect("the peer reads");
        let kept = output.bytes.borrow().len();
        assert!(kept <= 2 * FLOOD + (2 << 20), "twice what waits at most: {kept}");
    }

    #[tokio::test]
    async fn whoever_reads_again_gets_everything_and_room_comes_back() {
        let (stream, theirs) = pair().await;
        let output = Output::new(limits(2 * FLOOD, usize::MAX, Duration::from_secs(20)));
        output.send(&stream, |out| out.resize(FLOOD, 7));
        let read = async {
            let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
            while got < FLOOD {
                theirs.readable().await.unwrap();
                got += theirs.try_read(&mut buffer).unwrap_or(0);
            }
            got
        };
        let room = async {
            tokio::select! { () = output.drain(&stream) => panic!("it is not over"), () = output.room() => {} }
            output.flush(&stream).await;
        };
        assert_eq!(tokio::join!(read, room).0, FLOOD);
        assert!(!output.is_over() && output.waiting() == 0);
    }
}
