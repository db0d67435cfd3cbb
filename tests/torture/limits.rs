//! What no request, user or item may hold more of: past each limit a request is refused at the door, and what is kept stays within.
//!
//! Where a request is answered OK and nothing more is kept of it, that is told: it is bounded, and the caller does not know.

use std::io::Write;

use mirra::base::Id;
use mirra::base::cursor::Writer;
use mirra::base::limits::{
    ATTRIBUTES_MAX, BATCH_EVENTS_MAX, CONTROLS_MAX, FRAME_BYTES_MAX, ID_BYTES_MAX, ITEM_TAGS_MAX, LIST_MAX,
    MODALITIES_MAX, PROFILES_MAX, TEXT_BYTES_MAX, TOP_K_MAX,
};
use mirra::model::Schema;
use mirra::model::schema::Modality;
use mirra::wire::commands::{
    EventBatch, Explain, ItemUpsert, Predict, ProfileParts, ProfilesGet, Recommend, SchemaSet, SimilarItems,
    UserControl, UserGet, UserUpsert,
};
use mirra::wire::frame::put_frame;
use mirra::wire::types::{Attribute, AttributeValue};
use mirra::wire::{Command, Header, Status};
use serde_json::{Map, Value, json};

use crate::Found;
use crate::crowds::event;
use crate::support::{Connection, ServeProcess};

/// Body of a request, written past its limits: what writes requests refuses that itself.
type Body = fn(&mut Writer<'_>);

fn ids(out: &mut Writer<'_>, count: usize) {
    out.count(count);
    (0..count as u64).for_each(|id| {
        out.owned_id(&Id::Int(id));
    });
}

fn item_upsert(out: &mut Writer<'_>, tags: &[String], attributes: usize) {
    out.owned_id(&Id::Int(1)).i64(0).count(tags.len());
    tags.iter().for_each(|tag| {
        out.text(tag);
    });
    out.count(attributes);
    (0..attributes).for_each(|n| {
        out.text(&format!("name {n}")).u8(3).u8(1);
    });
    out.u8(0);
}

fn tags(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("tag {n}")).collect()
}

/// One more than there may be, of everything that a request has a list or a text of.
const PAST: [(&str, u16, Body); 11] = [
    ("tags_of_an_item", ItemUpsert::OPCODE, |out| item_upsert(out, &tags(ITEM_TAGS_MAX + 1), 0)),
    ("attributes_of_an_item", ItemUpsert::OPCODE, |out| item_upsert(out, &[], ATTRIBUTES_MAX + 1)),
    ("bytes_of_a_tag", ItemUpsert::OPCODE, |out| item_upsert(out, &["t".repeat(TEXT_BYTES_MAX + 1)], 0)),
    ("attributes_of_a_user", UserUpsert::OPCODE, |out| {
        out.owned_id(&Id::Int(1)).i64(0).count(ATTRIBUTES_MAX + 1);
        (0..=ATTRIBUTES_MAX).for_each(|n| {
            out.text(&format!("name {n}")).u8(3).u8(1);
        });
        out.u8(0);
    }),
    ("bytes_of_an_id", UserGet::OPCODE, |out| {
        out.u8(ID_BYTES_MAX as u8 + 1).bytes(&[b'u'; ID_BYTES_MAX + 1]);
    }),
    ("events_of_a_batch", EventBatch::OPCODE, |out| {
        out.u8(0).u8(0).count(BATCH_EVENTS_MAX + 1);
        (0..=BATCH_EVENTS_MAX as u64).for_each(|n| {
            out.owned_id(&Id::Int(n)).owned_id(&Id::Int(1)).owned_id(&Id::Int(1)).u8(0).f32(1.0).i64(0);
        });
    }),
    ("items_of_predict", Predict::OPCODE, |out| {
        ids(out.owned_id(&Id::Int(1)), LIST_MAX + 1);
        out.text("");
    }),
    ("users_of_profiles_get", ProfilesGet::OPCODE, |out| {
        ids(out, PROFILES_MAX + 1);
        out.u16(0).u16(64);
    }),
    ("items_of_recommend", Recommend::OPCODE, |out| {
        out.owned_id(&Id::Int(1)).u16(TOP_K_MAX as u16 + 1).u8(1).count(0).count(0).count(0).count(0).text("");
    }),
    ("items_of_similar_items", SimilarItems::OPCODE, |out| {
        out.owned_id(&Id::Int(1)).u16(TOP_K_MAX as u16 + 1).text("");
    }),
    ("events_of_explain", Explain::OPCODE, |out| {
        out.owned_id(&Id::Int(1)).owned_id(&Id::Int(1)).text("").u8(0).u16(101);
    }),
];

/// The status of a request made by hand.
fn status(door: &mut Connection, opcode: u16, body: Body) -> Status {
    let mut bytes = Vec::new();
    let written = put_frame(&mut bytes, opcode, 1, "a request past its limits", |out| {
        body(out);
        Ok(())
    });
    written.expect("it fits a frame");
    door.stream.write_all(&bytes).expect("the server reads");
    Status::from_number(door.read().0.code).expect("a known status")
}

/// The status of a frame that says it is longer than any.
fn too_long(door: &mut Connection) -> Status {
    let header = Header { length: FRAME_BYTES_MAX as u32, ..Header::new(EventBatch::OPCODE, 1, 0) };
    door.stream.write_all(&header.encode()).expect("the server reads");
    Status::from_number(door.read().0.code).expect("a known status")
}

/// The status of a schema with more modalities than there may be.
fn too_many_modalities(door: &mut Connection) -> Status {
    let modalities = (0..=MODALITIES_MAX).map(|n| Modality { name: format!("modality {n}"), dim: 8 }).collect();
    let schema = Schema { modalities, ..Schema::default() };
    let set = SchemaSet { schema: schema.to_bytes(), dry_run: true };
    door.ask(&set).map_or_else(|(status, _)| status, |_| Status::Ok)
}

/// Requests of one user that were answered OK, and how much is kept of them.
fn kept(door: &mut Connection) -> Value {
    let user = Id::Int(1);
    let upsert = |n: usize, value: AttributeValue| {
        let attribute = Attribute { name: format!("name {n:03}"), value };
        UserUpsert { user: Id::Int(1), time_ms: 0, attributes: vec![attribute], durability: 0 }
    };
    let set = |door: &mut Connection, value: &AttributeValue, from: usize, to: usize| {
        (from..to).filter(|n| door.ask(&upsert(*n, value.clone())).is_ok()).count()
    };
    let attributes = |door: &mut Connection| door.ask(&UserGet { user: Id::Int(1) }).expect("known").attributes.len();
    let yes = AttributeValue::Bool(true);
    let told_ok = set(door, &yes, 0, ATTRIBUTES_MAX + 10);
    let kept = attributes(door);
    set(door, &AttributeValue::Removed, 0, ATTRIBUTES_MAX);
    let told_ok_later = set(door, &yes, 100, 110);
    let kept_later = attributes(door);
    let mute = |n: usize| UserControl {
        user: user.clone(),
        control: 1,
        on: true,
        name: format!("facet {n}"),
        item: None,
        share: 0.0,
        time_ms: 0,
        durability: 0,
    };
    let muted_ok = (0..CONTROLS_MAX + 10).filter(|n| door.ask(&mute(*n)).is_ok()).count();
    let parts = door.ask(&ProfileParts { user, parts: 64, facets_max: 0 }).expect("known");
    json!({
        "attributes_told_ok": told_ok, "attributes_kept": kept,
        "attributes_told_ok_where_all_before_were_removed": told_ok_later, "of_them_kept": kept_later,
        "mutes_told_ok": muted_ok, "mutes_in_force": parts.controls.len(),
    })
}

/// One more than there may be, of everything; each is refused as a bad request, and the connection is served on.
pub fn of_requests() -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start(dir.path(), &["--shards", "2"]);
    let mut door = Connection::open(server.addr);
    let events = vec![event(1, 1)];
    door.ask(&EventBatch { durability: 0, want: 0, events }).expect("an event");
    let mut statuses: Vec<_> =
        PAST.iter().map(|(name, opcode, body)| (*name, status(&mut door, *opcode, *body))).collect();
    statuses.push(("modalities_of_a_schema", too_many_modalities(&mut door)));
    let kept = kept(&mut door);
    statuses.push(("bytes_of_a_frame", too_long(&mut door)));
    drop(door);
    server.stop();
    let well = statuses.iter().all(|(_, status)| *status == Status::BadRequest);
    let told: Map<_, _> =
        statuses.into_iter().map(|(name, status)| (name.to_owned(), json!(status.info().name))).collect();
    (well, json!({ "one_more_is": told, "answered_ok_and_not_kept": kept }))
}
