//! Good inputs of every target, which the changes of `mutate` begin with: golden fixtures and own encodings.

use std::io::Write as _;
use std::path::Path;

use mirra::base::{Id, IdRef, Reader, Rng, Writer};
use mirra::config;
use mirra::ingest::tensors::write_tensors;
use mirra::learn::bank::pretrained::{Pretrained, PretrainedItem};
use mirra::linalg::attention::{DIM, ROWS};
use mirra::model::{
    AttributeRule, AttributeType, Attributes, Entry, Event, History, Kind, Modality, Recall, Role, Schema, ServedList,
    TraitRule, Value,
};
use mirra::person::{Control, Controls, Dimension};
use mirra::state::exchange::Observation;
use mirra::state::{EpochModel, EpochPart, Op, Shard};
use mirra::wire::{COMMANDS, HEADER_BYTES, split};

use crate::targets::disk::image_options;

/// The inputs that a target's runs begin with; never none.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let parts: Vec<&str> = target.split('/').collect();
    let mut seeds = match parts[..] {
        ["wire", "request", command] => vec![frames_of(command)[0][HEADER_BYTES..].to_vec()],
        ["wire", "reply", command] => vec![frames_of(command)[1][HEADER_BYTES..].to_vec()],
        ["wire", what] => wire(what),
        ["disk", what] => disk(what),
        ["files", what] => files(what),
        _ => panic!("no seeds for {target}"),
    };
    seeds.push(Vec::new());
    seeds
}

fn fixture(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The golden frames of a command: its request and its reply.
pub fn frames_of(command: &str) -> [Vec<u8>; 2] {
    let text = String::from_utf8(fixture(&format!("wire/{command}.hex"))).expect("fixtures are texts");
    let bytes: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_ascii_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).expect("fixtures are hexadecimal"))
        .collect();
    let mut frames = split(&bytes);
    [0, 1].map(|_| {
        let before = frames.consumed();
        frames.next().expect("a request and a reply").expect("whole frames");
        bytes[before..frames.consumed()].to_vec()
    })
}

fn wire(what: &str) -> Vec<Vec<u8>> {
    let body = |command: &str| frames_of(command)[0][HEADER_BYTES..].to_vec();
    match what {
        "frames" => {
            let frames = || COMMANDS.iter().flat_map(|row| frames_of(&row.name.to_lowercase()));
            vec![frames().flatten().collect(), frames().take(3).flatten().collect(), frames_of("ping")[0].clone()]
        }
        "refusal" => vec![[&[25, 0, 0, 0, 4, 0][..], b"busy"].concat()],
        "event_put_view" => vec![body("event_put"), [&[0; 27][..], &[5, 0, 0, 0x80, 0x3F], &[0; 9]].concat()],
        "event_batch_view" => {
            let event = [&[0; 27][..], &[5, 0, 0, 0x80, 0x3F], &[0; 8]].concat();
            let named = [&[3][..], b"e-1", &[2], b"u7", &[2], b"42", &[1], &[0; 12]].concat();
            let batch = |event: &[u8], count: u16| {
                [&[0, 1][..], &u32::from(count).to_le_bytes(), &event.repeat(usize::from(count))].concat()
            };
            vec![body("event_batch"), batch(&event, 3), batch(&named, 5), batch(&event, 4_096), batch(&named, 4_096)]
        }
        "ids" => {
            let mut bytes = Vec::new();
            let texts = ["u-7", "画像", "007", "18446744073709551615", "18446744073709551616", &"x".repeat(128)];
            for text in texts {
                Writer::new(&mut bytes).id(IdRef::text(text));
            }
            Writer::new(&mut bytes).id(IdRef::Int(0)).id(IdRef::Int(u64::MAX));
            vec![bytes, b"18446744073709551615".to_vec(), "größe".into()]
        }
        _ => panic!("no seeds for wire/{what}"),
    }
}

fn event(item: IdRef<'_>) -> Event<'_> {
    Event { event_id: 9, user: IdRef::Int(7), item, kind: 0, value: 1.5, time_ms: 1_700_000_000_000 }
}

fn stated() -> Attributes {
    let mut attributes = Attributes::default();
    let list = Value::List(vec!["a".into(), "b".into()]);
    let values = [Value::Number(1.5), Value::Text("größe".into()), Value::Bool(true), list, Value::Removed];
    for (name, value) in ["n", "t", "b", "l", "r"].into_iter().zip(values) {
        attributes.patch(name, value, 5);
    }
    attributes
}

fn served() -> ServedList<'static> {
    ServedList { user: 7, strategy: "decay", served_ms: 5, until_ms: 9, items: vec![3, 1, 2] }
}

/// One operation of every kind.
fn ops() -> Vec<Vec<u8>> {
    let (user, item) = (IdRef::Text("u-7"), IdRef::Text("item"));
    let schema = schema().to_bytes();
    let ops = [
        Op::Event(event(IdRef::Int(3))),
        Op::Event(event(item)),
        Op::UserUpsert { user, time_ms: 5, attributes: stated() },
        Op::ItemUpsert { item, time_ms: 5, tags: vec!["red", "blue"], attributes: stated() },
        Op::Merge { source: 1, upto: 9, count: 1, bytes: &[1, 2, 3] },
        Op::Rows { owner: 1, generation: 2, count: 1, bytes: &[4, 5, 6] },
        Op::Epoch { epoch: 3 },
        Op::Ranker { version: 4, weights: &[7, 8] },
        Op::Exposure { decision: 1, user, places: 3, time_ms: 5, list: Recall::Known(served()) },
        Op::Outcome { decision: 1, event: event(item), list: Recall::Forgotten },
        Op::Schema { schema: &schema },
        Op::Retract { user, event_id: 9 },
        Op::Seal { user, into: IdRef::Int(8) },
        Op::Absorb { into: IdRef::Int(8), user, bytes: &[9, 9] },
        Op::Empty { user },
        Op::Pretrained { part: &[1] },
        Op::Embedding { item, modality: "text", time_ms: 5, vector: &[0, 0, 0x80, 0x3F, 0, 0, 0, 0] },
    ];
    let controls = asked().map(|control| Op::Control { user, time_ms: 5, control });
    let encoded = |op: &Op<'_>| {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        bytes
    };
    let mut all: Vec<Vec<u8>> = ops.iter().chain(&controls).map(encoded).collect();
    all.push(all.concat());
    all
}

fn asked() -> [Control<'static>; 5] {
    [
        Control::MuteFacet("tag:red", true),
        Control::MuteItem(IdRef::Int(3), false),
        Control::Less("tag:red", 0.25),
        Control::Pause(true),
        Control::Reset(Dimension::Prices, true),
    ]
}

/// A schema with something in every list.
pub fn schema() -> Schema {
    let rate = Kind { explicit: true, range: Some((1.0, 5.0)), ..Kind::new(5, "rate", 1.0) };
    let buy = Kind { unit: "money".into(), half_life_s: 60.0, sign: -1, ..Kind::new(4, "purchase", 2.0) };
    let maker = AttributeRule { role: Role::Facet, ..AttributeRule::new("maker", AttributeType::Category) };
    let age = AttributeRule { range: Some((0.0, 130.0)), ..AttributeRule::new("age", AttributeType::Number) };
    Schema {
        user: vec![age],
        item: vec![maker],
        modalities: vec![Modality { name: "text".into(), dim: 4 }],
        traits: vec![TraitRule { name: "big".into(), formula: "sum(\"purchase\")".into() }],
        ..Schema::of([Kind::new(0, "event", 1.0), buy, rate])
    }
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Writer::new(&mut bytes));
    bytes
}

fn disk(what: &str) -> Vec<Vec<u8>> {
    match what {
        "op" => ops(),
        "schema" => vec![schema().to_bytes(), Schema::default().to_bytes()],
        "attributes" => vec![written(|out| stated().encode(out))],
        "history" => {
            let mut history = History::default();
            for event_id in 0..5 {
                let entry = Entry { event_id, value: 1.0, time_ms: 5, ..Entry::default() };
                history.push(entry, 8);
            }
            vec![written(|out| history.encode(out))]
        }
        "control" => asked().iter().map(|control| written(|out| control.encode(out))).collect(),
        "controls" => {
            let mut controls = Controls::default();
            controls.limit(3, 0.5);
            vec![written(|out| controls.encode(out))]
        }
        "served_list" => vec![written(|out| served().encode(out))],
        "observation" => {
            let (item, time_ms) = (IdRef::Text("item"), 5);
            let seen = Observation {
                sequence: 9,
                item,
                weight: 1.0,
                value: 2.0,
                mean: 3.0,
                explicit: true,
                retracts: false,
                time_ms,
            };
            vec![written(|out| seen.encode(out))]
        }
        "outbox" => vec![written(|out| {
            out.count(1).u64(9).u32(1).count(3).bytes(&[1, 2, 3]);
        })],
        "formula" => vec![written(|out| {
            out.text("sum(\"purchase\")");
        })],
        "ranker_weights" => vec![written(|out| {
            out.u64(1).u64(2).count(67).count(1).bytes(&[0; 4 * (2 * 75 + 100 * 80)]);
        })],
        "pretrained" => vec![
            written(|out| {
                out.u64(1).u8(0).count(1).id(IdRef::Int(5)).bytes(&[0; 4 * 35]);
            }),
            written(|out| {
                out.u64(1).u8(1).bytes(&[0; 16_384]);
            }),
        ],
        "epoch_model" => {
            let part = EpochPart { dim: 2, gram: vec![1.0, 0.5, 0.5, 2.0], factors: vec![1.0, 2.0, 3.0, 4.0] };
            vec![EpochModel { epoch: 3, ids: vec![Id::Int(4), Id::parse("x")], parts: vec![part] }.encode()]
        }
        "manifest" => vec![fixture("storage/v1/manifest.mmf")],
        "archive" => vec![fixture("storage/v1/archive-meta-2.mra"), fixture("storage/v1/archive.mra")],
        "journal" => vec![fixture("storage/v1/journal-segment.mjl")],
        "rejects" => vec![fixture("storage/v1/rejects-segment-14.mrj")],
        "image" => vec![fixture("state/v1/image.bin"), small_image()],
        _ => panic!("no seeds for disk/{what}"),
    }
}

/// A shard that has learned a little, as an image of the present version.
fn small_image() -> Vec<u8> {
    let mut shard = Shard::new(0, image_options());
    let mut rng = Rng::new(5);
    for op in ops() {
        let op = Op::decode(&mut Reader::new(&op)).expect("own bytes");
        if matches!(op, Op::UserUpsert { .. } | Op::ItemUpsert { .. } | Op::Event(_) | Op::Control { .. }) {
            shard.apply(&op);
        }
    }
    for _ in 0..20 {
        shard.apply(&Op::Event(Event { user: IdRef::Int(rng.below(5)), ..event(IdRef::Int(rng.below(9))) }));
    }
    shard.capture_begin();
    std::iter::from_fn(|| shard.capture_some(1)).flatten().flatten().collect()
}

fn files(what: &str) -> Vec<Vec<u8>> {
    let text = |text: &str| text.as_bytes().to_vec();
    match what {
        "formula" => vec![
            text("sum(\"purchase\")"),
            text("clamp(events(\"view\", 30d) / max(1, events(\"cart\")), 0, 1) + 2 * -3"),
            text("if(known(attribute(\"age\")), log(1 + attribute(\"age\")), 0) >= 0.5 and not 0"),
        ],
        "table" | "sheet" => vec![
            text("user\titem\tvalue\ttimestamp\tkind\tevent_id\n7\t3\t1.5\t1700000000\tview\te-1\nu\ti\t-2\t0\t\t0\n"),
            text("user,item,value\n\"a,b\",\"c\"\"d\",1e3\n1,2,nan\n"),
            text("item;user;timestamp\n1;2;1700000000000\n"),
            packed(b"user\titem\n7\t3\n"),
            packed(&vec![0; 4 << 20]),
        ],
        "npy" => vec![npy("<f4", "(2, 3)", 24), npy("<f2", "(2, 3)", 12), npy(">f8", "(1, 2)", 16)],
        "embeddings" => vec![tensors("text", &[2, 2], 16), npy("<f4", "(2, 3)", 24)],
        "tensors" => vec![tensors("attention.query.weight", &[2, 2], 16), learned()],
        "config" => vec![
            text(config::BUILT_IN),
            text("[shards]\ncount = 2\n[kinds.view]\ncode = 1\nweight = 0.5\n[schema]\nversion = 2\n"),
            text("[traits.big]\nformula = 'sum(\"purchase\")'\n[modalities.text]\ndim = 8\n"),
        ],
        _ => panic!("no seeds for files/{what}"),
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).expect("memory takes it");
    out.finish().expect("memory takes it")
}

fn npy(descr: &str, shape: &str, bytes: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}   \n");
    let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &vec![1; bytes]].concat()
}

/// What attention learned, as its file.
fn learned() -> Vec<u8> {
    let item = PretrainedItem { id: Id::Int(7), vector: [0.5; DIM], bias: -1.0, squares: [3.0, 4.0] };
    let learned = Pretrained { stamp: 0, weights: Some(Box::new([[0.25; DIM]; ROWS])), items: vec![item] };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("learned");
    write_tensors(&path, &learned).expect("written");
    std::fs::read(&path).expect("read")
}

fn tensors(name: &str, shape: &[usize], bytes: usize) -> Vec<u8> {
    let tensor = format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[0,{bytes}]}}"#);
    let header = format!(r#"{{"__metadata__":{{"items":"7\na"}},{tensor}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; bytes]].concat()
}
