//! Whole frames out of commands, replies and refusals, and back.

use super::error::WireError;
use super::field::Field;
use super::frame::put_frame;
use super::schema::{Command, Record, records};
use super::status::Status;
use crate::base::Reader;

/// Longest message of a refusal, in bytes; longer ones are cut.
pub const MESSAGE_BYTES_MAX: usize = 1_024;

/// Bodies above this length are looked through before anything is kept of them: an id takes two bytes of a frame and 24 in
/// memory, so a long list with a fault at its end would cost many times what was sent.
const LOOKED_THROUGH_BYTES: usize = 4 << 10;

records! {
    /// Body of every response whose status is not OK, PARTIAL or DUPLICATE.
    ErrorBody {
        /// When to send the request again, in milliseconds; 0 if the status is not retryable.
        retry_after_ms: u32,
        /// Why, in words, for people.
        message: String [max MESSAGE_BYTES_MAX],
    }
}

/// Appends a request as a whole frame.
///
/// # Errors
/// [`WireError::Limit`] or [`WireError::FrameTooLong`]; `out` is then as before.
pub fn put_request<C: Command>(out: &mut Vec<u8>, request_id: u64, request: &C) -> Result<(), WireError> {
    put_frame(out, C::OPCODE, request_id, C::NAME, |writer| request.encode(writer, 0))
}

/// Appends a reply as a whole frame; `status` is OK, PARTIAL or DUPLICATE.
///
/// # Errors
/// [`WireError::Limit`] or [`WireError::FrameTooLong`]; `out` is then as before.
pub fn put_reply<C: Command>(
    out: &mut Vec<u8>,
    request_id: u64,
    status: Status,
    reply: &C::Reply,
) -> Result<(), WireError> {
    debug_assert!(status.is_success(), "{status} carries an ErrorBody");
    put_frame(out, status.number(), request_id, C::NAME, |writer| reply.encode(writer, 0))
}

/// Appends a refusal as a whole frame, the message cut at [`MESSAGE_BYTES_MAX`]. It always fits.
pub fn put_error(out: &mut Vec<u8>, request_id: u64, status: Status, retry_after_ms: u32, message: &str) {
    debug_assert!(!status.is_success(), "{status} carries a reply");
    let body = ErrorBody { retry_after_ms, message: cut_text(message, MESSAGE_BYTES_MAX).to_owned() };
    let done = put_frame(out, status.number(), request_id, "error", |writer| body.encode(writer, 0));
    debug_assert!(done.is_ok(), "a message that was cut fits: {done:?}");
}

/// The longest start of `text` that has whole characters and at most `bytes_max` bytes.
#[must_use]
pub fn cut_text(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Decodes the body of a request; bytes left over are an error.
///
/// # Errors
/// [`WireError::Body`].
pub fn decode_request<C: Command>(body: &[u8]) -> Result<C, WireError> {
    decode_body(C::NAME, body)
}

/// Decodes the body of a success; bytes left over are an error.
///
/// # Errors
/// [`WireError::Body`].
pub fn decode_reply<C: Command>(body: &[u8]) -> Result<C::Reply, WireError> {
    decode_body(C::NAME, body)
}

/// Decodes the body of a refusal; bytes left over are an error.
///
/// # Errors
/// [`WireError::Body`].
pub fn decode_error(body: &[u8]) -> Result<ErrorBody, WireError> {
    decode_body("error", body)
}

fn decode_body<T: Record>(command: &'static str, body: &[u8]) -> Result<T, WireError> {
    let mut reader = Reader::new(body);
    let mut ahead = reader.clone();
    let good =
        if body.len() > LOOKED_THROUGH_BYTES { T::skip(&mut ahead, 0).and_then(|()| ahead.finish()) } else { Ok(()) };
    good.map_err(|cause| WireError::Body { command, cause })?;
    let value = T::decode(&mut reader, 0).and_then(|value| reader.finish().map(|()| value));
    value.map_err(|cause| WireError::Body { command, cause })
}
