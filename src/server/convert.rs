//! Wire to domain and back: the only validation of foreign input. Past this file nobody checks for NaN, lengths or
//! unknown kinds again; the types say it.

use crate::base::limits::VALUE_ABS_MAX;
use crate::base::{CursorError, IdRef, Reader};
use crate::model::{Attributes, Durability, Event, Kinds, RejectReason, RuleFault, Schema, SentEvent, Unsound, Value};
use crate::wire::types::{Attribute, AttributeAt, AttributeValue, Event as WireEvent};
use crate::wire::{EventRef, Status};

/// How far ahead of the server's clock an event may be, in milliseconds: a day covers clocks and time zones that are
/// wrong; beyond it one event would age everything else.
pub(super) const FUTURE_MAX_MS: i64 = 86_400_000;

/// Why foreign input is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("value {value} is not finite, or beyond {VALUE_ABS_MAX:e} either way")]
    Value { value: f32 },
    #[error("value {value} is outside {low} to {high}, the range of kind `{kind}`")]
    Range { value: f32, low: f32, high: f32, kind: String },
    #[error("kind {code} is not configured; configured are {known}")]
    Kind { code: u8, known: String },
    #[error("time_ms {time_ms} is before 1970; send milliseconds since 1970-01-01 UTC, or 0 for now")]
    Past { time_ms: i64 },
    #[error("time_ms {time_ms} is {ahead_s} s ahead of the server's clock, allowed are {allowed_s}; is it in milliseconds?", allowed_s = FUTURE_MAX_MS / 1_000)]
    Future { time_ms: i64, ahead_s: i64 },
    #[error(
        "the event is {behind_ms} ms behind the newest of its connection, [server] source_late_s allows {allowed_ms} ms: send what is old over a connection of its own, in the order of time"
    )]
    Late { behind_ms: u64, allowed_ms: u64 },
    #[error("durability {code} is not one of 0 (server's default), 1 applied, 2 journaled, 3 durable")]
    Durability { code: u8 },
    #[error("want {code} is not one of 0 (summary), 1 (a result for each event)")]
    Want { code: u8 },
    #[error("attribute `{name}` is {value}: numbers must be finite")]
    Number { name: String, value: f64 },
    #[error("an event without an id cannot be taken back: name the id that it came with")]
    NoEventId,
    #[error("control {control} needs {what}")]
    Control { control: u8, what: &'static str },
    #[error(transparent)]
    Rule(#[from] RuleFault),
    #[error("modality `{name}` is not in the schema; there are {known}")]
    Modality { name: String, known: String },
    #[error("the vector has {found} numbers, those of modality `{name}` have {dim}; send none to take it away")]
    Dim { name: String, found: usize, dim: usize },
    #[error("number {at} of the vector is {found}: numbers must be finite")]
    VectorNumber { at: usize, found: f32 },
    #[error("the vector has no direction: its length is 0, or too large or small to tell; send none to take it away")]
    NoDirection,
    #[error("the bytes are no schema: {0}")]
    SchemaBytes(#[from] CursorError),
    #[error("the schema cannot be reckoned with: {0}")]
    Schema(#[from] Unsound),
    #[error("k is 0 or more than {max}")]
    TopK { max: usize },
    #[error("events_max {events_max} is more than {max}")]
    Events { events_max: usize, max: usize },
}

impl Invalid {
    /// The reason that an event is counted under, or an upsert; `None` for what is wrong with a request as a whole.
    pub(super) fn reason(&self) -> Option<RejectReason> {
        Some(match self {
            Self::Value { value } if value.is_finite() => RejectReason::ValueOutOfRange,
            Self::Value { .. } => RejectReason::ValueNotFinite,
            Self::Range { .. } => RejectReason::ValueOutOfRange,
            Self::Kind { .. } => RejectReason::UnknownKind,
            Self::Past { .. } => RejectReason::Before1970,
            Self::Future { .. } => RejectReason::InTheFuture,
            Self::Late { .. } => RejectReason::TooLate,
            Self::Number { .. } | Self::Rule(_) => RejectReason::Attribute,
            Self::NoEventId | Self::Control { .. } | Self::SchemaBytes(_) | Self::Schema(_) => return None,
            Self::Modality { .. } | Self::Dim { .. } | Self::VectorNumber { .. } | Self::NoDirection => return None,
            Self::Durability { .. } | Self::Want { .. } | Self::TopK { .. } | Self::Events { .. } => return None,
        })
    }

    /// The status that says it.
    pub(super) fn status(&self) -> Status {
        if matches!(self, Self::Late { .. }) { Status::TooLate } else { Status::BadRequest }
    }
}

/// An event exactly as it was sent.
pub(super) fn sent(wire: &EventRef<'_>) -> SentEvent {
    let &EventRef { event_id, user, item, kind, value, time_ms } = wire;
    let [event_id, user, item] = [event_id, user, item].map(IdRef::to_owned);
    SentEvent { event_id, user, item, kind, value_bits: value.to_bits(), time_ms }
}

/// An event that was refused, as the wire says it.
pub(super) fn sent_out(event: SentEvent) -> WireEvent {
    let value = event.value();
    let SentEvent { event_id, user, item, kind, time_ms, .. } = event;
    WireEvent { event_id, user, item, kind, value, time_ms }
}

/// An event as the shards take it.
pub(super) fn event<'a>(wire: &EventRef<'a>, kinds: &Kinds, now_ms: i64) -> Result<Event<'a>, Invalid> {
    let &EventRef { event_id, user, item, kind: code, value, time_ms } = wire;
    let Some(kind) = kinds.get(code) else {
        let known: Vec<_> = kinds.iter().map(|kind| format!("{} {}", kind.code, kind.name)).collect();
        return Err(Invalid::Kind { code, known: known.join(", ") });
    };
    if value.is_nan() || value.abs() > VALUE_ABS_MAX {
        return Err(Invalid::Value { value });
    }
    if let Some((low, high)) = kind.range
        && !(low..=high).contains(&value)
    {
        return Err(Invalid::Range { value, low, high, kind: kind.name.clone() });
    }
    let time_ms = time(time_ms, now_ms)?;
    // A subnormal would slow every later multiplication and means nothing.
    let value = if value.is_subnormal() { 0.0 } else { value };
    Ok(Event { event_id: event_key(event_id), user, item, kind: code, value, time_ms })
}

/// When something was: what the caller says, or now for 0.
pub(super) fn time(time_ms: i64, now_ms: i64) -> Result<i64, Invalid> {
    match time_ms {
        0 => Ok(now_ms),
        ..0 => Err(Invalid::Past { time_ms }),
        _ if time_ms > now_ms.saturating_add(FUTURE_MAX_MS) => {
            Err(Invalid::Future { time_ms, ahead_s: (time_ms - now_ms) / 1_000 })
        }
        _ => Ok(time_ms),
    }
}

/// An event id as it is remembered: 64 bits of its stable hash, 0 for none.
pub(super) fn event_key(event_id: IdRef<'_>) -> u64 {
    match event_id {
        IdRef::Int(0) => 0,
        id => id.stable_hash().max(1),
    }
}

/// The level that a request asks for.
pub(super) fn durability(code: u8, default: Durability) -> Result<Durability, Invalid> {
    match code {
        0 => Ok(default),
        _ => Durability::from_code(code).ok_or(Invalid::Durability { code }),
    }
}

/// Checks the bytes of a schema: whole, and nothing in it that the configuration would refuse.
pub(super) fn schema(bytes: &[u8]) -> Result<(), Invalid> {
    let mut from = Reader::new(bytes);
    let schema = Schema::decode(&mut from)?;
    from.finish()?;
    Ok(schema.check_sound()?)
}

/// Attributes as stated at `time_ms`, each as the schema has it.
pub(super) fn attributes(
    wire: Vec<Attribute>,
    time_ms: i64,
    check: impl Fn(&str, Value) -> Result<Value, RuleFault>,
) -> Result<Attributes, Invalid> {
    let mut attributes = Attributes::default();
    for Attribute { name, value } in wire {
        if let AttributeValue::Number(value) = value
            && !value.is_finite()
        {
            return Err(Invalid::Number { name, value });
        }
        let value = check(&name, value.into())?;
        attributes.patch(&name, value, time_ms);
    }
    Ok(attributes)
}

/// What is known of attributes, as the wire says it.
pub(super) fn attributes_out(attributes: &Attributes) -> Vec<AttributeAt> {
    let out = |(name, value, time_ms): (&str, &Value, i64)| AttributeAt {
        name: name.to_owned(),
        value: attribute_value_out(value),
        time_ms,
    };
    attributes.iter().map(out).collect()
}

/// A value, as the wire says it.
pub(super) fn attribute_value_out(value: &Value) -> AttributeValue {
    match value {
        Value::Removed => AttributeValue::Removed,
        Value::Number(number) => AttributeValue::Number(*number),
        Value::Text(text) => AttributeValue::Text(text.clone()),
        Value::Bool(yes) => AttributeValue::Bool(*yes),
        Value::List(texts) => AttributeValue::Texts(texts.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn check(value: f32, kind: u8, time_ms: i64) -> Result<(f32, i64), Invalid> {
        let rate = Kind { explicit: true, range: Some((1.0, 5.0)), ..Kind::new(5, "rate", 1.0) };
        let view = Kind::new(1, "view", 1.0);
        let (user, item) = (IdRef::Int(1), IdRef::Int(2));
        let wire = EventRef { event_id: IdRef::Int(0), user, item, kind, value, time_ms };
        event(&wire, &Kinds::new([rate, view]), NOW_MS).map(|event| (event.value, event.time_ms))
    }

    #[test]
    fn good_events_pass_and_zero_is_now() {
        assert_eq!(check(4.5, 5, NOW_MS - 7), Ok((4.5, NOW_MS - 7)));
        assert_eq!(check(-3.0, 1, 0), Ok((-3.0, NOW_MS)));
        assert_eq!(check(f32::MIN_POSITIVE / 4.0, 1, 1), Ok((0.0, 1)));
        assert_eq!(check(1.0, 1, NOW_MS + FUTURE_MAX_MS), Ok((1.0, NOW_MS + FUTURE_MAX_MS)));
    }

    #[test]
    fn bad_events_are_refused_with_value_and_limit() {
        let cases = [
            (f32::NAN, 1, 0, "value_not_finite", "value NaN is not finite"),
            (f32::INFINITY, 1, 0, "value_not_finite", "value inf is not finite"),
            (f32::MAX, 1, 0, "value_out_of_range", "beyond 1e9"),
            (5.5, 5, 0, "value_out_of_range", "value 5.5 is outside 1 to 5, the range of kind `rate`"),
            (1.0, 9, 0, "unknown_kind", "kind 9 is not configured; configured are 1 view, 5 rate"),
            (1.0, 1, -5, "before_1970", "time_ms -5 is before 1970"),
            (1.0, 1, i64::MAX, "in_the_future", "ahead of the server's clock"),
        ];
        for (value, kind, time_ms, reason, expected) in cases {
            let refused = check(value, kind, time_ms).expect_err(expected);
            assert!(refused.to_string().contains(expected), "{refused:?} should say {expected:?}");
            assert_eq!(refused.reason().map(RejectReason::name), Some(reason), "{refused:?}");
        }
    }
}
