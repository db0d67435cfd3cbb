//! What the subcommands share that ask a running server: a connection, refusals in one line, ids and numbers as JSON.

use serde_json::{Value, json};

use super::{CliError, DurabilityArg, ServerAddress};
use crate::base::{Clock, Id, SystemClock};
use crate::client::{BlockingClient, ClientError, ClientOptions};
use crate::model::Durability;
use crate::wire::types::AttributeValue;
use crate::wire::{Command, Status};

/// Longest wait for what a server does as a whole: a snapshot of a large one takes minutes.
pub const LONG_TIMEOUT_MS: u64 = 3_600_000;

/// Longest wait for an ordinary answer.
pub const TIMEOUT_MS: u64 = 10_000;

/// Connects and says HELLO.
///
/// # Errors
/// [`CliError::Client`].
pub fn connect(server: &ServerAddress, timeout_ms: u64) -> Result<BlockingClient, CliError> {
    let name = concat!("mirra ", env!("CARGO_PKG_VERSION")).to_owned();
    let options = ClientOptions { name, request_timeout_ms: timeout_ms, ..ClientOptions::default() };
    Ok(BlockingClient::connect(&server.addr, &options)?)
}

/// Asks one thing of a server; `subject` is what the request is about, such as `user 7`.
///
/// # Errors
/// [`CliError::Failed`] in one line if the server refuses, [`CliError::Client`] if it is not reached.
pub fn ask<C: Command>(client: &mut BlockingClient, subject: &str, request: &C) -> Result<C::Reply, CliError> {
    client.call(request).map_err(|error| refusal(error, subject))
}

/// A refusal in one line.
fn refusal(error: ClientError, subject: &str) -> CliError {
    let ClientError::Refused { command, status, retry_after_ms, message } = error else { return error.into() };
    CliError::Failed(match status {
        Status::NotFound if message.starts_with("not known") => format!("{subject} is {message} ({status})"),
        Status::NotFound => format!("{subject}: {message} ({status})"),
        status if status.is_retryable() => {
            format!("{command} for {subject} refused: {message} ({status}, try again in {retry_after_ms} ms)")
        }
        status => format!("{command} for {subject} refused: {message} ({status})"),
    })
}

/// Refuses a strategy that does not run there, with those that do; gives what stands in requests (empty: the first).
///
/// # Errors
/// [`CliError::Failed`].
pub fn strategy(client: &BlockingClient, wanted: Option<&String>) -> Result<String, CliError> {
    let active = &client.hello().strategies;
    match wanted {
        Some(name) if !active.contains(name) => {
            Err(CliError::Failed(format!("no strategy `{name}` runs on this server; there are: {}", active.join(", "))))
        }
        wanted => Ok(wanted.cloned().unwrap_or_default()),
    }
}

/// A durability level as requests carry it; 0, the server's own, where none is named.
#[must_use]
pub fn durability_code(level: Option<DurabilityArg>) -> u8 {
    level.map_or(0, |level| level as u8 + 1)
}

/// The name of the durability level of a reply.
#[must_use]
pub fn durability_name(code: u8) -> &'static str {
    Durability::from_code(code).map_or("durability not known", Durability::name)
}

/// Now, in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn now_ms() -> i64 {
    SystemClock.now_ms()
}

/// An id given on the command line.
///
/// # Errors
/// [`CliError::Usage`] if it is empty or too long.
pub fn id(text: &str, what: &str) -> Result<Id, CliError> {
    let max = crate::base::limits::ID_BYTES_MAX;
    match text.len() {
        bytes if bytes == 0 || bytes > max => {
            Err(CliError::Usage(format!("the id of the {what} has {bytes} bytes, allowed are 1 to {max}")))
        }
        _ => Ok(Id::parse(text)),
    }
}

/// An id as JSON: a number or text, as it is.
#[must_use]
pub fn id_json(id: &Id) -> Value {
    match id {
        Id::Int(number) => json!(number),
        Id::Text(text) => json!(text),
    }
}

/// A single-precision number as JSON, with the digits that it has; null where there is none.
#[must_use]
pub fn number_json(number: f32) -> Value {
    // Through its shortest text: 4.2 stays 4.2 and does not become 4.199999809265137.
    number
        .to_string()
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .map_or(Value::Null, |number| json!(number))
}

/// The value of an attribute as JSON.
#[must_use]
pub fn attribute_value_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Removed => Value::Null,
        AttributeValue::Number(number) => json!(number),
        AttributeValue::Text(text) => json!(text),
        AttributeValue::Bool(flag) => json!(flag),
        AttributeValue::Texts(texts) => json!(texts),
    }
}

/// The value of an attribute for people.
#[must_use]
pub fn attribute_text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Removed => "(removed)".to_owned(),
        AttributeValue::Number(number) => number.to_string(),
        AttributeValue::Text(text) => text.clone(),
        AttributeValue::Bool(flag) => flag.to_string(),
        AttributeValue::Texts(texts) => texts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_one_line_without_a_hint() {
        let refused = |status, message: &str| ClientError::Refused {
            command: "PROFILE_GET",
            status,
            retry_after_ms: if status == Status::Overloaded { 7 } else { 0 },
            message: message.to_owned(),
        };
        let cases = [
            (Status::NotFound, "not known to this server", "error: user 7 is not known to this server (NOT_FOUND)\n"),
            (Status::NotFound, "no such event", "error: user 7: no such event (NOT_FOUND)\n"),
            (Status::BadRequest, "no", "error: PROFILE_GET for user 7 refused: no (BAD_REQUEST)\n"),
            (
                Status::Overloaded,
                "full",
                "error: PROFILE_GET for user 7 refused: full (OVERLOADED, try again in 7 ms)\n",
            ),
        ];
        for (status, message, expected) in cases {
            let error = refusal(refused(status, message), "user 7");
            assert_eq!((error.report().as_str(), error.exit_code()), (expected, 1));
        }
        let addr = "127.0.0.1:1".to_owned();
        let error = refusal(ClientError::NotConnected { addr, waited_ms: 5, cause: "refused".to_owned() }, "user 7");
        assert!(error.report().contains("hint: is a server running there?"));
    }

    #[test]
    fn numbers_keep_their_digits_and_ids_their_form() {
        assert_eq!(number_json(4.2).to_string(), "4.2");
        assert_eq!(number_json(-0.1).to_string(), "-0.1");
        for none in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(number_json(none), Value::Null);
        }
        assert_eq!(id_json(&Id::parse("42")).to_string(), "42");
        assert_eq!(id_json(&Id::parse("042")).to_string(), "\"042\"");
        assert!(matches!(id("", "user"), Err(CliError::Usage(_))));
        assert!(matches!(id(&"x".repeat(129), "user"), Err(CliError::Usage(_))));
    }
}
