//! Targets of the protocol: frames, and every request and reply of the command table.

use mirra::base::limits::FRAME_BYTES_MAX;
use mirra::base::{Id, IdRef, Reader, Writer};
use mirra::wire::commands::{EventBatch, EventPut, Request};
use mirra::wire::event::{BatchWriter, EventBatchView, EventPutView};
use mirra::wire::message::{decode_error, decode_request};
use mirra::wire::{
    Command, EachCommand, EventRef, HEADER_BYTES, Header, Status, decode_reply, each_command, put_error, put_reply,
    put_request, split,
};

use super::{Target, decoded, same_or_decimal_ids, was_read};

/// Frames, refusals, events as views, ids, and two targets a command.
pub fn targets() -> Vec<Target> {
    let mut commands = Commands(Vec::new());
    each_command(&mut commands);
    let mut targets = vec![
        Target::new("wire/frames", 16, frames),
        Target::new("wire/refusal", 4, refusal),
        Target::new("wire/event_put_view", 8, event_put_view),
        Target::new("wire/event_batch_view", 16, event_batch_view),
        Target::new("wire/ids", 8, ids),
    ];
    targets.append(&mut commands.0);
    targets
}

struct Commands(Vec<Target>);

impl EachCommand for Commands {
    fn command<C: Command>(&mut self) {
        let name = C::NAME.to_lowercase();
        self.0.push(Target::new(&format!("wire/request/{name}"), 4, request::<C>));
        self.0.push(Target::new(&format!("wire/reply/{name}"), 4, reply::<C>));
    }
}

fn request<C: Command>(body: &[u8]) {
    let any = Request::decode(C::OPCODE, body).is_ok();
    let Some(value) = decoded(body, decode_request::<C>) else { return assert!(!any) };
    assert!(any, "the enumeration of requests refuses what the request itself reads");
    let mut again = Vec::new();
    put_request(&mut again, 7, &value).expect("what can be read can be written");
    same_or_decimal_ids(body, &again[HEADER_BYTES..]);
    let value = decode_request::<C>(&again[HEADER_BYTES..]).expect("what is written can be read");
    let mut third = Vec::new();
    put_request(&mut third, 7, &value).expect("what can be read can be written");
    assert_eq!(again, third, "decode(encode(x)) is not x");
}

fn reply<C: Command>(body: &[u8]) {
    let Some(value) = decoded(body, decode_reply::<C>) else { return };
    let mut again = Vec::new();
    put_reply::<C>(&mut again, 7, Status::Ok, &value).expect("what can be read can be written");
    same_or_decimal_ids(body, &again[HEADER_BYTES..]);
    let value = decode_reply::<C>(&again[HEADER_BYTES..]).expect("what is written can be read");
    let mut third = Vec::new();
    put_reply::<C>(&mut third, 7, Status::Ok, &value).expect("what can be read can be written");
    assert_eq!(again, third, "decode(encode(x)) is not x");
}

fn refusal(body: &[u8]) {
    let Some(error) = decoded(body, decode_error) else { return };
    let mut again = Vec::new();
    put_error(&mut again, 7, Status::Overloaded, error.retry_after_ms, &error.message);
    assert_eq!(&again[HEADER_BYTES..], body);
}

/// A slow splitter, written another way, says the same; and bytes that come in two reads are the same frames.
fn frames(bytes: &[u8]) {
    let (mut expected, mut at, mut broken) = (Vec::new(), 0, false);
    while let Some(head) = bytes.get(at..at + HEADER_BYTES) {
        let length = (0..4).fold(0_usize, |length, byte| length | usize::from(head[byte]) << (8 * byte));
        if length + HEADER_BYTES > FRAME_BYTES_MAX {
            broken = true;
            break;
        }
        let Some(body) = bytes.get(at + HEADER_BYTES..at + HEADER_BYTES + length) else { break };
        expected.push(body);
        at += HEADER_BYTES + length;
    }
    let mut frames = split(bytes);
    let found: Vec<_> = frames.by_ref().collect();
    let whole = found.len() - usize::from(broken);
    assert!(found[..whole].iter().all(Result::is_ok) && found[whole..].iter().all(Result::is_err));
    let bodies: Vec<&[u8]> = found.iter().flatten().map(|(_, body)| *body).collect();
    assert_eq!((bodies, frames.consumed()), (expected, at));
    assert!(frames.next().is_none() && (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frames.wanted()));
    for (header, body) in found.into_iter().flatten() {
        was_read();
        assert_eq!(Header::decode(header.encode()), header);
        assert_eq!(header.length as usize, body.len());
        assert_eq!(header.check().is_ok(), header.flags == 0 && header.version == 1);
    }
    let cut = bytes.len() / 2;
    let mut early = split(&bytes[..cut]);
    let before = early.by_ref().take_while(Result::is_ok).count();
    let mut late = split(&bytes[early.consumed()..]);
    let after = late.by_ref().take_while(Result::is_ok).count();
    assert_eq!((before + after, early.consumed() + late.consumed()), (whole, at));
}

fn event_put_view(body: &[u8]) {
    let view = EventPutView::decode(body);
    let owned = decode_request::<EventPut>(body);
    let Ok(view) = view else { return assert!(owned.is_err(), "the view refuses what the request reads") };
    let owned = owned.expect("the request refuses what the view reads");
    assert_eq!(view.durability, owned.durability);
    same_event(&view.event, &EventRef::from(&owned.event));
    was_read();
}

fn event_batch_view(body: &[u8]) {
    let view = decoded(body, |body| EventBatchView::decode(body).map(|view| (view.len(), view.durability, view.want)));
    let owned = decoded(body, decode_request::<EventBatch>);
    let Some((count, durability, want)) = view else { return assert!(owned.is_none(), "the view alone refuses") };
    let owned = owned.expect("the request refuses what the view reads");
    assert_eq!((count, durability, want), (owned.events.len(), owned.durability, owned.want));
    let view = EventBatchView::decode(body).expect("it was read before");
    let mut again = Vec::new();
    let mut writer = BatchWriter::new(&mut again, 7, durability, want);
    for (seen, owned) in view.events().zip(&owned.events) {
        same_event(&seen, &EventRef::from(owned));
        writer.push(&seen).expect("what can be read can be written");
    }
    writer.finish().expect("a batch that was read fits a frame");
    assert_eq!(view.events().count(), count, "an event is lost on the walk");
    same_or_decimal_ids(body, &again[HEADER_BYTES..]);
}

/// Equal to the bit: a value may be no number.
fn same_event(one: &EventRef<'_>, other: &EventRef<'_>) {
    let bytes = |event: &EventRef<'_>| {
        let mut bytes = Vec::new();
        event.encode(&mut Writer::new(&mut bytes)).expect("what can be read can be written");
        bytes
    };
    assert_eq!(bytes(one), bytes(other));
}

/// Ids as they stand in bytes, and the same bytes as a text that names one.
fn ids(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(id) = reader.id() {
        was_read();
        let mut again = Vec::new();
        Writer::new(&mut again).id(id);
        assert_eq!(Reader::new(&again).id(), Ok(id));
        same_text(&id.to_owned());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        same_text(&Id::parse(text));
    }
}

fn same_text(id: &Id) {
    let text = id.to_string();
    assert_eq!(&Id::parse(&text), id, "the text of an id names another");
    assert_eq!(id.as_ref().stable_hash(), IdRef::text(&text).stable_hash());
    assert!((1..=256).all(|shards| id.as_ref().shard(shards) < shards));
}
