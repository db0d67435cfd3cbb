//! A response as it came, and what it means for the command that was asked.

use super::error::ClientError;
use crate::wire::commands::{Hello, HelloReply};
use crate::wire::message::decode_error;
use crate::wire::{Command, Header, Status, VERSION, WireError, decode_reply};

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request that it answers.
    pub request_id: u64,
    /// Number of its status.
    pub code: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(header: Header, body: &[u8]) -> Self {
        Self { request_id: header.request_id, code: header.code, body: body.to_vec() }
    }

    /// Reads it as the answer to a `C`.
    ///
    /// # Errors
    /// [`ClientError::Refused`], or [`ClientError::Wire`] if the body or status is none of this protocol.
    pub fn reply<C: Command>(&self) -> Result<(Status, C::Reply), ClientError> {
        let status = Status::from_number(self.code).ok_or(WireError::UnknownStatus { status: self.code })?;
        if status.is_success() {
            return Ok((status, decode_reply::<C>(&self.body)?));
        }
        let error = decode_error(&self.body)?;
        let (retry_after_ms, message) = (error.retry_after_ms, error.message);
        Err(ClientError::Refused { command: C::NAME, status, retry_after_ms, message })
    }

    /// Reads it as the answer to HELLO, and refuses a version that was not offered.
    pub(super) fn hello(&self) -> Result<HelloReply, ClientError> {
        let (_, hello) = self.reply::<Hello>()?;
        if hello.version != VERSION {
            return Err(ClientError::Version { chosen: hello.version, offered: VERSION });
        }
        Ok(hello)
    }
}
