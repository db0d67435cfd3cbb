//! Why a call failed, and above all: whether the request may have been carried out.

use crate::wire::{Status, WireError};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made in time; nothing was sent.
    #[error("no connection to {addr} within {waited_ms} ms: {cause}")]
    NotConnected {
        /// Address.
        addr: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// What went wrong last.
        cause: String,
    },
    /// The connection broke while the request was in flight: **it may or may not have been carried out**. Events with
    /// event ids can be sent again without harm.
    #[error("connection to {addr} lost with the request in flight: {cause}")]
    ConnectionLost {
        /// Address.
        addr: String,
        /// What broke it.
        cause: String,
    },
    /// No reply in time: the request may or may not have been carried out.
    #[error("no reply to {command} within {timeout_ms} ms")]
    Timeout {
        /// Command.
        command: &'static str,
        /// How long was waited, in milliseconds.
        timeout_ms: u64,
    },
    /// The server refused. See [`Status::is_retryable`].
    #[error("{command} refused, {status}: {message}")]
    Refused {
        /// Command.
        command: &'static str,
        /// Status.
        status: Status,
        /// When to send it again, in milliseconds; 0 if the status is not retryable.
        retry_after_ms: u32,
        /// Why, in words.
        message: String,
    },
    /// The server chose a protocol version that was not offered.
    #[error("the server speaks protocol version {chosen}, offered was {offered}")]
    Version {
        /// Version in the HELLO reply.
        chosen: u8,
        /// Version that was offered.
        offered: u8,
    },
    /// A request cannot be written, or a reply cannot be read.
    #[error("{0}")]
    Wire(#[from] WireError),
}

impl ClientError {
    /// Whether the request may have been carried out although no reply came.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::ConnectionLost { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => *status == Status::Internal,
            // A reply that cannot be read is still a reply; a request that cannot be written was not sent.
            Self::Wire(error) => !matches!(error, WireError::Limit { .. } | WireError::FrameTooLong { .. }),
            Self::NotConnected { .. } | Self::Version { .. } => false,
        }
    }
}
