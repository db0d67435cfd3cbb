//! Floor 3: the binary protocol as a pure codec. No sockets, no clock, no domain logic.
//!
//! ```text
//! frame.rs    16-byte header, splitting a buffer into whole frames
//! status.rs   the table of statuses                       field.rs    how one value is laid out
//! schema.rs   what a record and a command are (macros)    types.rs    records inside commands
//! commands.rs THE table: every command, declared once     message.rs  whole frames out of commands and replies
//! event.rs    events without allocation, for the hot path docs.rs     renders docs/protocol.md
//! ```
//!
//! Invariants: numbers are for ever (an opcode, status, tag or field order never changes meaning); no byte sequence
//! makes a decoder panic or allocate more than the bytes that are really there can fill; what the encoder accepts the
//! decoder accepts, since both check the same limits; bytes left over are an error.

mod schema;

pub mod commands;
pub mod docs;
pub mod error;
pub mod event;
pub mod field;
pub mod frame;
pub mod message;
pub mod portrait;
pub mod replies;
pub mod status;
pub mod types;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
pub(crate) mod sample;

pub use commands::{COMMANDS, Request, each_command};
pub use error::{OverLimit, WireError};
pub use event::{BatchWriter, EventBatchView, EventPutView, EventRef};
pub use field::Field;
pub use frame::{Frames, HEADER_BYTES, Header, VERSION, split};
pub use message::{ErrorBody, decode_reply, put_error, put_reply, put_request};
pub use schema::{Class, Command, CommandInfo, EachCommand, FieldInfo, Record, TypeInfo};
pub use status::{STATUSES, Status, StatusInfo};
