//! How long a peer may take: to greet, to finish a frame, to say anything.
//!
//! A slow sender costs a descriptor and two buffers for as long as it likes; so a frame that was begun must come to its end,
//! and a connection to its HELLO. Peers whose machine has gone never answer: the system's probes find them.

use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Patience;

/// Questions without an answer after which a peer's machine has gone.
const PROBES: u32 = 2;

/// What is waited for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The first request.
    Hello,
    /// The rest of a frame.
    Frame,
    /// Anything.
    Anything,
}

impl Waiting {
    /// What a peer is told whose time is over; nothing if it was merely silent.
    pub(super) fn reproach(self, patience: &Patience) -> Option<String> {
        match self {
            Self::Hello => {
                Some(format!("no HELLO came within {} s (server.hello_timeout_s)", patience.hello.as_secs()))
            }
            Self::Frame => Some(format!(
                "a frame was begun and did not end within {} s (server.frame_timeout_s)",
                patience.frame.as_secs()
            )),
            Self::Anything => None,
        }
    }
}

/// The clock of one connection's input.
#[derive(Debug)]
pub(super) struct Timer {
    opened: Instant,
    /// When the frame began whose rest has not come.
    begun: Option<Instant>,
    heard: Instant,
}

impl Timer {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, begun: None, heard: now }
    }

    /// Bytes came at `now`; `ended` frames of them were whole, and `left` bytes of one are not.
    pub(super) fn heard(&mut self, now: Instant, ended: bool, left: usize) {
        self.heard = now;
        self.begun = match left {
            0 => None,
            _ if ended => Some(now),
            _ => Some(self.begun.unwrap_or(now)),
        };
    }

    /// What ends the waiting first, and when; none where it is waited for ever.
    pub(super) fn until(&self, patience: &Patience, greeted: bool) -> Option<(Instant, Waiting)> {
        let at = |from: Instant, patience: Duration, what| (!patience.is_zero()).then(|| (from + patience, what));
        let hello = if greeted { None } else { at(self.opened, patience.hello, Waiting::Hello) };
        let frame = self.begun.and_then(|begun| at(begun, patience.frame, Waiting::Frame));
        let anything = at(self.heard, patience.idle, Waiting::Anything);
        [hello, frame, anything].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// Asks the system to look after a silent peer.
pub(super) fn keep_alive(stream: &TcpStream, patience: &Patience) {
    if patience.keepalive.is_zero() {
        return;
    }
    let probes = TcpKeepalive::new().with_time(patience.keepalive).with_interval(patience.keepalive);
    // Hints: without them such a peer is found by its silence, later. The second is for one that owes an acknowledgement: the
    // system does not probe it.
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&probes.with_retries(PROBES));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(patience.keepalive * (PROBES + 1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_first_deadline_counts_and_a_drip_does_not_move_it() {
        let patience = Patience { hello: s(2), frame: s(10), write: s(0), idle: s(300), keepalive: s(15) };
        let began = Instant::now();
        let mut timer = Timer::new(began);
        assert_eq!(timer.until(&patience, false), Some((began + s(2), Waiting::Hello)));
        timer.heard(began + s(1), false, 3);
        assert_eq!(timer.until(&patience, false), Some((began + s(2), Waiting::Hello)), "bytes are no HELLO");
        timer.heard(began + s(1), true, 0);
        assert_eq!(timer.until(&patience, true), Some((began + s(301), Waiting::Anything)));
        timer.heard(began + s(50), true, 5);
        for drip in 51..59 {
            timer.heard(began + s(drip), false, 6);
            assert_eq!(timer.until(&patience, true), Some((began + s(60), Waiting::Frame)), "since it was begun");
        }
        timer.heard(began + s(59), true, 1);
        assert_eq!(timer.until(&patience, true), Some((began + s(69), Waiting::Frame)), "it ended, another began");
        let never = Patience { hello: s(0), frame: s(0), idle: s(0), ..patience };
        assert_eq!(timer.until(&never, false), None);
    }

    #[test]
    fn a_reproach_says_which_setting_it_is() {
        let patience = Patience::default();
        let said = |waiting: Waiting| waiting.reproach(&patience).unwrap();
        assert!(said(Waiting::Hello).contains("2 s (server.hello_timeout_s)"));
        assert!(said(Waiting::Frame).contains("10 s (server.frame_timeout_s)"));
        assert_eq!(Waiting::Anything.reproach(&patience), None);
    }
}
