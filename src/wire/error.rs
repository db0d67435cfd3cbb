//! Why a frame cannot be read or written. Carries the numbers; says which status answers it.

use super::status::Status;
use crate::base::CursorError;

/// A value is over the limit of its field, so it is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {have} is over the limit of {max}")]
pub struct OverLimit {
    /// What is too large, with its unit.
    pub what: &'static str,
    /// How large it is.
    pub have: usize,
    /// How large it may be.
    pub max: usize,
}

/// Why bytes are not a frame, a command or a reply of this protocol, or why a value cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header announces a body over the limit. The stream cannot be followed any further: close it.
    #[error("a frame of {bytes} bytes is over the limit of {max}")]
    FrameTooLong {
        /// Bytes of the whole frame, header included.
        bytes: u64,
        /// Most bytes allowed.
        max: usize,
    },
    /// The header's version is not spoken here.
    #[error("protocol version {found} is not spoken, only {spoken}")]
    Version {
        /// Version in the header.
        found: u8,
        /// Version that is spoken.
        spoken: u8,
    },
    /// The header carries flags that mean nothing in this version.
    #[error("unknown flags {found:#04x}, version 1 has none")]
    Flags {
        /// Flags in the header.
        found: u8,
    },
    /// No command has this opcode.
    #[error("unknown opcode {opcode:#06x}")]
    UnknownOpcode {
        /// Opcode in the header.
        opcode: u16,
    },
    /// No status has this number.
    #[error("unknown status {status}")]
    UnknownStatus {
        /// Number in the header.
        status: u16,
    },
    /// The body is not what the command lays down.
    #[error("{command}: {cause}")]
    Body {
        /// Command whose request or reply it should have been.
        command: &'static str,
        /// Where in the body, what was needed, what was there.
        cause: CursorError,
    },
    /// A value cannot be written.
    #[error("{command}: {cause}")]
    Limit {
        /// Command whose request or reply it is.
        command: &'static str,
        /// What is too large.
        cause: OverLimit,
    },
}

impl WireError {
    /// The status that answers a request which failed like this.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Version { .. } | Self::Flags { .. } | Self::UnknownOpcode { .. } => Status::Unsupported,
            Self::FrameTooLong { .. } | Self::Body { .. } => Status::BadRequest,
            Self::UnknownStatus { .. } | Self::Limit { .. } => Status::Internal,
        }
    }

    /// True if where the next frame starts is not known any more, so the connection has to be closed.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::FrameTooLong { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_frame_boundary_is_fatal() {
        let cases = [
            (WireError::FrameTooLong { bytes: 9, max: 8 }, Status::BadRequest, true),
            (WireError::Version { found: 2, spoken: 1 }, Status::Unsupported, false),
            (WireError::Flags { found: 1 }, Status::Unsupported, false),
            (WireError::UnknownOpcode { opcode: 0x7777 }, Status::Unsupported, false),
            (
                WireError::Body { command: "PING", cause: CursorError::Trailing { offset: 0, extra: 1 } },
                Status::BadRequest,
                false,
            ),
        ];
        for (error, status, fatal) in cases {
            assert_eq!((error.status(), error.is_fatal()), (status, fatal), "{error}");
            assert!(!error.to_string().ends_with('.'), "{error}");
        }
    }
}
