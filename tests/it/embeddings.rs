//! Embeddings of items through a real server of two shards: loaded from files, learned from, told, and back after a kill.

use std::path::Path;
use std::process::Command as Program;

use mirra::base::{Id, Rng};
use mirra::ingest::embeddings::{Embedded, read_embeddings, write_embeddings};
use mirra::ingest::npy::Matrix;
use mirra::wire::Status;
use mirra::wire::commands::*;
use mirra::wire::types::Event;
use serde_json::Value;

use crate::support::{Connection, ServeProcess, told as mirra};

const DIM: usize = 12;
const KINDS: u64 = 4;
/// Items of each kind, and of these those that nobody meets.
const ITEMS: u64 = 20;
const UNMET: u64 = 5;

const CONFIG: &str = "[shards]\ncount = 2\n[strategy]\nactive = [\"content\", \"auto\"]\n[refit]\nautomatic = false\n\
    [modalities.look]\ndim = 12\n[modalities.noise]\ndim = 12\n";

fn item(kind: u64, at: u64) -> Id {
    Id::parse(&format!("{kind}-{at}"))
}

/// Vectors of all items in two modalities: in `look` those of a kind lie together, in `noise` wherever it may be. The first
/// item of each kind has no look.
fn write_files(dir: &Path) {
    let mut rng = Rng::new(61);
    let centres: Vec<Vec<f64>> = (0..KINDS).map(|_| (0..DIM).map(|_| rng.normal()).collect()).collect();
    let (mut looks, mut noises) = (Vec::new(), Vec::new());
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    for (kind, centre) in (0..KINDS).zip(&centres) {
        for at in 0..ITEMS {
            ids.push(item(kind, at));
            noises.extend((0..DIM).map(|_| rng.normal() as f32));
            if at > 0 {
                looks.push(item(kind, at));
                values.extend(centre.iter().map(|value| (3.0 + value + 0.5 * rng.normal()) as f32));
            }
        }
    }
    let embedded = |ids: &[Id], values: Vec<f32>| {
        let matrix = Matrix { shape: [ids.len(), DIM], values };
        Embedded { ids: ids.to_vec(), matrix }
    };
    write_embeddings(&dir.join("look.safetensors"), "vectors", &embedded(&looks, values)).expect("written");
    write_embeddings(&dir.join("noise.safetensors"), "vectors", &embedded(&ids, noises)).expect("written");
}

fn load(dir: &Path, addr: &str, modality: &str, file: &str) -> (Option<i32>, String, String) {
    let path = dir.join(file);
    mirra(&["load", "embeddings", modality, path.to_str().expect("UTF-8"), "--addr", addr, "--json"])
}

/// Forty users meet ten items of one kind each, but none of the last.
fn learn(door: &mut Connection) {
    let mut rng = Rng::new(62);
    let mut events = Vec::new();
    for step in 0..12_u64 {
        for user in 0..40_u64 {
            let at = rng.below(ITEMS - UNMET);
            let (event_id, user_id) = (Id::Int(1 + step * 40 + user), format!("user-{user}").as_str().into());
            events.push(Event {
                event_id,
                user: user_id,
                item: item(user % KINDS, at),
                kind: 0,
                value: 1.0,
                time_ms: 1_700_000_000_000 + step as i64 * 60_000,
            });
        }
    }
    let count = events.len() as u32;
    let batch = EventBatch { durability: 0, want: 0, events };
    assert_eq!(door.ask(&batch).expect("EVENT_BATCH").accepted, count);
}

fn unmet(kind: u64) -> Vec<Id> {
    (ITEMS - UNMET..ITEMS).map(|at| item(kind, at)).collect()
}

/// The best of the items that nobody met, by a strategy.
fn best_unmet(door: &mut Connection, user: u64, strategy: &str) -> Vec<Id> {
    let allow_items = (0..KINDS).flat_map(unmet).collect();
    let wanted = Recommend {
        user: format!("user-{user}").as_str().into(),
        k: UNMET as u16,
        exclude_seen: true,
        allow_items,
        deny_items: vec![],
        allow_tags: vec![],
        deny_tags: vec![],
        strategy: strategy.to_owned(),
    };
    door.ask(&wanted).expect("RECOMMEND").items.into_iter().map(|scored| scored.item).collect()
}

fn taste(door: &mut Connection, user: &str, vector: bool) -> ProfileEmbeddingReply {
    door.ask(&ProfileEmbedding { user: user.into(), vector, nearest: 5 }).expect("PROFILE_EMBEDDING")
}

fn stored(door: &mut Connection, item: Id, modality: &str) -> Result<Vec<f32>, Status> {
    let asked = door.ask(&EmbeddingGet { item, modality: modality.to_owned() });
    asked.map(|reply| reply.vector).map_err(|(status, _)| status)
}

#[test]
fn what_items_look_like_reaches_those_that_nobody_met() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("mirra.toml");
    std::fs::write(&config, CONFIG).expect("written");
    write_files(dir.path());
    let arguments = ["--config", config.to_str().expect("UTF-8")];
    let server = ServeProcess::start(&dir.path().join("data"), &arguments);
    let addr = server.addr.to_string();
    let mut door = Connection::open(server.addr);
    for (modality, rows) in [("look", KINDS * (ITEMS - 1)), ("noise", KINDS * ITEMS)] {
        let (code, out, error) = load(dir.path(), &addr, modality, &format!("{modality}.safetensors"));
        assert_eq!(code, Some(0), "{out}{error}");
        let report: Value = serde_json::from_str(&out).expect("one object");
        assert_eq!((&report["loaded"], &report["refused"]), (&rows.into(), &0.into()), "{report}");
    }
    learn(&mut door);

    for user in 0..KINDS {
        let nearest = best_unmet(&mut door, user, "content");
        let right = nearest.iter().filter(|item| unmet(user).contains(item)).count();
        // Of 20, 5 are of the kind: chance puts one of them on the list. Some hundred events leave `noise` a little weight.
        assert!(nearest.len() == 5 && right >= 4, "user {user}: {nearest:?}");
    }
    let told = taste(&mut door, "user-1", true);
    let [look, noise] = &told.modalities[..] else { panic!("{told:?}") };
    assert_eq!((look.items, noise.items, told.vector.len()), (76, 80, 2 * DIM));
    assert!(look.weight > 1.5 * noise.weight && look.agreement > noise.agreement, "{told:?}");
    assert!(look.evidence > 0 && noise.evidence == 12, "{told:?}");
    assert!(told.nearest.iter().filter(|near| near.item.to_string().starts_with("1-")).count() >= 4, "{told:?}");
    let wanted = SimilarItems { item: item(2, ITEMS - 1), k: 5, strategy: "content".into() };
    let alike = door.ask(&wanted).expect("SIMILAR_ITEMS").items;
    assert!(
        alike.len() == 5 && alike.iter().filter(|near| near.item.to_string().starts_with("2-")).count() >= 4,
        "{alike:?}"
    );
    let (_, profile, _) = mirra(&["profile", "user-1", "--part", "modalities", "--addr", &addr]);
    assert!(profile.contains("look") && profile.contains("nearest  1-"), "{profile}");
    refusals(&mut door, dir.path(), &addr);

    // All of it after a kill, and what is taken away stays away.
    let put = |modality: &str, vector: Vec<f32>| EmbeddingPut {
        item: item(0, 1),
        modality: modality.to_owned(),
        vector,
        time_ms: 0,
        durability: 0,
    };
    door.ask(&put("look", vec![])).expect("EMBEDDING_PUT");
    let before = (door.digests(), taste(&mut door, "user-2", true));
    server.kill();
    let server = ServeProcess::start(&dir.path().join("data"), &arguments);
    let mut door = Connection::open(server.addr);
    assert_eq!((door.digests(), taste(&mut door, "user-2", true)), before);
    assert_eq!(stored(&mut door, item(0, 1), "look"), Err(Status::NotFound));
    let length: f32 =
        stored(&mut door, item(0, 2), "look").expect("it has one").iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    server.stop();
}

fn refusals(door: &mut Connection, dir: &Path, addr: &str) {
    let put = |modality: &str, vector: &[f32]| EmbeddingPut {
        item: 7_u64.into(),
        modality: modality.to_owned(),
        vector: vector.to_vec(),
        time_ms: 0,
        durability: 0,
    };
    for (request, expected) in [
        (put("sound", &[1.0; DIM]), "modality `sound` is not in the schema; there are look, noise"),
        (put("look", &[1.0; 3]), "the vector has 3 numbers, those of modality `look` have 12"),
        (put("look", &[f32::NAN; DIM]), "number 0 of the vector is NaN"),
        (put("look", &[0.0; DIM]), "the vector has no direction"),
    ] {
        let (status, body) = door.ask(&request).expect_err(expected);
        assert_eq!(status, Status::BadRequest, "{}", body.message);
        assert!(body.message.starts_with(expected), "{}", body.message);
    }
    assert_eq!(stored(door, 7_u64.into(), "look"), Err(Status::NotFound), "nothing of it was kept");
    let (code, _, error) = load(dir, addr, "sound", "look.safetensors");
    assert!(code == Some(1) && error.contains("no modality `sound`, there are look, noise"), "{error}");
}

/// The script for those who have no encoder: items of the same words lie together, and `mirra load embeddings` takes them.
#[test]
fn vectors_made_of_words_are_read() {
    if Program::new("python3").arg("--version").output().is_err() {
        println!("SKIPPED: python3 is not installed, so examples/text_vectors.py was not run");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (items, vectors) = (dir.path().join("items.tsv"), dir.path().join("text.safetensors"));
    let rows =
        ["item\ttitle\tyear", "a\tThe Red Planet\t1995", "b\tRed Planet II\t1996", "c\tQuiet Sea\t1951", "d\t\t"];
    let more = (0..20).map(|at| format!("{at}\tQuiet Lake {at}\t1952"));
    std::fs::write(&items, rows.map(str::to_owned).into_iter().chain(more).collect::<Vec<_>>().join("\n"))
        .expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/text_vectors.py");
    let run = |columns: &[&str]| {
        let mut program = Program::new("python3");
        program.arg(&script).args([&items, &vectors]).args(columns).args(["--dim", "32"]).output().expect("it runs")
    };
    let output = run(&["title", "year"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let Embedded { ids, matrix } = read_embeddings(&vectors, None, "text", None).expect("it is read");
    assert_eq!((ids.len(), matrix.shape), (23, [23, 32]), "of `d` nothing is known");
    let row = |id: &str| {
        let at = ids.iter().position(|held| *held == Id::parse(id)).expect("it has a vector");
        &matrix.values[at * 32..(at + 1) * 32]
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = |a: &[f32], b: &[f32]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    assert!(cosine(row("a"), row("b")) > cosine(row("a"), row("c")) + 0.2);
    let output = run(&["colour"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no column colour"));
}
