//! Resharding on restore, with the real program: 2 shards to 8 to 1, same users, same sums, and learning goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mirra::base::{Id, Rng};
use mirra::wire::commands::*;
use mirra::wire::types::{Attribute, AttributeValue, Event};
use serde_json::Value;

use crate::prepared::{bytes_of, files};
use crate::support::{Connection, ServeProcess, told};

/// Nothing that goes on by itself: what is known is compared.
const CONFIG: &str = "[strategy]\nactive = [\"auto\", \"decay\", \"biased_mf\", \"popularity\"]\n[refit]\nautomatic = false\n\
    [user_attributes.plan]\ntype = \"category\"\n\
    [item_attributes.brand]\ntype = \"category\"\nrole = \"facet\"\n\
    [item_attributes.price]\ntype = \"number\"\nrole = \"price\"\n\
    [traits.spent]\nformula = 'sum(\"purchase\")'\n";
const USERS: u64 = 60;
const ITEMS: u64 = 40;
const KINDS: [u8; 4] = [1, 1, 4, 5];

fn arg(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs it with `--json`, expects success, gives the object.
fn ask(arguments: &[&str]) -> Value {
    let (code, out, error) = told(&[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
    serde_json::from_str(&out).expect("one object")
}

/// Expects this exit code and that nothing is printed but an error, which is given.
fn refused(code: i32, arguments: &[&str]) -> String {
    let (found, out, error) = told(arguments);
    assert_eq!((found, out.as_str()), (Some(code), ""), "{arguments:?}: {error}");
    error
}

fn serve(dir: &Path, config: &Path, shards: &str) -> (ServeProcess, Connection) {
    let server = ServeProcess::start(dir, &["--config", arg(config), "--shards", shards]);
    let door = Connection::open(server.addr);
    (server, door)
}

/// Items with tags, brands and prices, users with attributes.
fn state_facts(door: &mut Connection) {
    let attribute = |name: &str, value| Attribute { name: name.into(), value };
    for item in 0..ITEMS {
        let tags = vec![format!("t{}", item % 7), format!("u{}", item % 3)];
        let brand = AttributeValue::Text(format!("b{}", item % 4));
        let attributes = vec![attribute("brand", brand), attribute("price", AttributeValue::Number(1.0 + item as f64))];
        door.ask(&ItemUpsert { item: Id::Int(item), time_ms: 0, tags, attributes, durability: 0 })
            .expect("ITEM_UPSERT");
    }
    for user in 0..USERS {
        let attributes = vec![attribute("plan", AttributeValue::Text(["free", "paid"][(user % 2) as usize].into()))];
        door.ask(&UserUpsert { user: Id::Int(user), time_ms: 0, attributes, durability: 0 }).expect("USER_UPSERT");
    }
    // An event counts for what its user's shard knows of the item then: wait until shards have told each other.
    std::thread::sleep(std::time::Duration::from_millis(300));
}

/// Events `from..to`, which learn alike whenever they come again.
fn events(from: u64, to: u64) -> Vec<Event> {
    let draw = |id: u64| {
        let mut rng = Rng::new(id);
        let kind = KINDS[rng.below(4) as usize];
        let value = if kind == 5 { 1.0 + rng.below(5) as f32 } else { rng.below(90) as f32 };
        let (user, item) = (Id::Int(rng.below(USERS)), Id::Int(rng.below(ITEMS)));
        let time_ms = 1_700_000_000_000 + 60_000 * id as i64 + rng.below(7_000) as i64;
        Event { event_id: Id::Int(1_000_000 + id), user, item, kind, value, time_ms }
    };
    (from..to).map(draw).collect()
}

/// Sends events; gives how many were learned and how many were known.
fn send(door: &mut Connection, events: &[Event]) -> (u32, u32) {
    events.chunks(500).fold((0, 0), |(learned, known), some| {
        let batch = EventBatch { durability: 3, want: 0, events: some.to_vec() };
        let reply = door.ask(&batch).expect("EVENT_BATCH");
        assert_eq!(reply.rejected, 0, "{:?}", reply.errors);
        (learned + reply.accepted, known + reply.duplicates)
    })
}

/// What is asked of a profile, two users that become one, an event taken away.
fn ask_things(door: &mut Connection) {
    let mut control = |user: u64, control: u8, name: &str, item: Option<Id>, share: f32| {
        let (user, name) = (Id::Int(user), name.to_owned());
        let wanted = UserControl { user, control, on: true, name, item, share, time_ms: 0, durability: 0 };
        door.ask(&wanted).expect("USER_CONTROL");
    };
    control(1, 1, "t3", None, 0.0);
    control(2, 2, "", Some(Id::Int(7)), 0.0);
    control(3, 3, "brand=b2", None, 0.25);
    control(4, 4, "", None, 0.0);
    control(5, 5, "facets", None, 0.0);
    door.ask(&UserMerge { user: Id::Int(50), into: Id::Int(9) }).expect("USER_MERGE");
    let mine = events(0, 2_500).into_iter().find(|event| event.user == Id::Int(11)).expect("many are of each");
    door.ask(&EventRetract { user: mine.user, event_id: mine.event_id, durability: 0 }).expect("EVENT_RETRACT");
}

/// What is known of a user and does not fade while the test runs.
fn user(door: &mut Connection, user: u64) -> String {
    let user = Id::Int(user);
    let person = door.ask(&ProfileParts { user: user.clone(), parts: 0, facets_max: 64 }).expect("PROFILE_PARTS");
    let wanted = ProfileHistory { user: user.clone(), from_ms: 0, to_ms: 0, kinds: vec![], skip: 0, max: 4_096 };
    let history = door.ask(&wanted).expect("PROFILE_HISTORY");
    let profile = door.ask(&ProfileGet { user, recent_max: 0, factors: true }).expect("PROFILE_GET");
    let does: Vec<_> = person
        .behaviours
        .iter()
        .map(|of| (&of.name, of.events, of.last_ms, of.sum.to_bits(), of.deviation.to_bits()))
        .collect();
    let mut likes: Vec<_> = person.facets.iter().map(|of| (&of.name, of.events, of.liked.to_bits())).collect();
    likes.sort();
    let traits: Vec<_> = person.traits.iter().filter(|of| of.order_free).map(|of| (&of.name, of.evidence)).collect();
    let spent = person.traits.iter().find(|of| of.name == "spent").map(|of| of.value.to_bits());
    let columns: Vec<_> = profile.arms.iter().map(|of| of.factor.iter().map(|value| value.to_bits())).collect();
    let columns: Vec<Vec<u32>> = columns.into_iter().map(Iterator::collect).collect();
    let facts = (person.version, person.events, person.first_ms, person.last_ms, &person.attributes, &person.controls);
    let times = (&person.hours, &person.days, person.retained, person.sessions, person.newest_events);
    format!("{facts:?} {does:?} {likes:?} {times:?} {traits:?} {spent:?} {columns:?} {:?}", history.events)
}

/// Everything that must stay: users, counts of items, figures of strategies, STATS.
#[derive(Debug, PartialEq)]
struct Known {
    users: BTreeMap<u64, String>,
    items: BTreeMap<u64, String>,
    strategies: Vec<(String, u64, u64)>,
    stats: Vec<u64>,
}

fn known(door: &mut Connection) -> Known {
    let item = |door: &mut Connection, item: u64| {
        let mut found = door.ask(&ItemGet { item: Id::Int(item) }).expect("ITEM_GET");
        found.tags.sort();
        format!("{} {} {} {:?} {:?}", found.version, found.events, found.last_ms, found.tags, found.attributes)
    };
    let metrics = door.ask(&Metrics { strategy: String::new() }).expect("METRICS").strategies;
    Known {
        users: (0..USERS).map(|id| (id, user(door, id))).collect(),
        items: (0..ITEMS).map(|id| (id, item(door, id))).collect(),
        strategies: metrics.into_iter().map(|of| (of.strategy, of.events, of.scored)).collect(),
        stats: ["users", "items"].map(|name| door.stat(name) as u64).to_vec(),
    }
}

struct Scene {
    dir: tempfile::TempDir,
    config: PathBuf,
    data: PathBuf,
}

impl Scene {
    /// A directory of two shards with a snapshot and a journal behind it.
    fn new() -> (Self, Known) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (config, data) = (dir.path().join("mirra.toml"), dir.path().join("two"));
        fs::write(&config, CONFIG).expect("written");
        let (server, mut door) = serve(&data, &config, "2");
        state_facts(&mut door);
        assert_eq!(send(&mut door, &events(0, 2_000)), (2_000, 0));
        door.ask(&Refit { seed: 3 }).expect("REFIT");
        door.ask(&Snapshot {}).expect("SNAPSHOT");
        assert_eq!(send(&mut door, &events(2_000, 2_500)), (500, 0));
        ask_things(&mut door);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let before = known(&mut door);
        drop(door);
        server.stop();
        (Self { dir, config, data }, before)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Restores with further arguments, and has the new directory verified.
    fn restore(&self, source: &[&str], into: &Path, shards: &str) -> Value {
        let how = ["--into", arg(into), "--shards", shards, "--config", arg(&self.config)];
        let done = ask(&[&["snapshot", "restore"], source, &how].concat());
        assert_eq!(ask(&["snapshot", "verify", "--data-dir", arg(into)])["ok"], true);
        let (code, out, error) = told(&["journal", "verify", "--data-dir", arg(into)]);
        assert_eq!(code, Some(0), "{out}{error}");
        assert_eq!(files(&into.join("journal")).len(), shards.parse::<usize>().expect("a number"));
        done
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("a directory")
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn users_and_sums_stay_from_two_shards_to_eight_to_one() {
    let (scene, before) = Scene::new();
    // Opening the snapshot store moves things in it; nothing else of the source may change.
    let kept = |dir: &Path| {
        let mut bytes = bytes_of(dir);
        bytes.retain(|(path, _)| !path.starts_with(dir.join("snapshots")));
        bytes
    };
    let source = kept(&scene.data);
    let (eight, one) = (scene.path("eight"), scene.path("one"));
    let done = scene.restore(&["--data-dir", arg(&scene.data)], &eight, "8");
    let resharded = &done["resharded"];
    assert_eq!((&resharded["from"], &resharded["to"]), (&Value::from(2), &Value::from(8)), "{done}");
    assert_eq!((&resharded["users"], &resharded["items"]), (&Value::from(USERS), &Value::from(ITEMS)), "{done}");
    assert_eq!(resharded["events"], Value::from(2_499), "one was taken away: {done}");
    assert!(resharded["taught_events"].as_u64() > Some(1_000), "{done}");
    assert_eq!(done["sequences"].as_array().map(Vec::len), Some(8));
    assert!(source == kept(&scene.data), "the source is as it was");

    let (server, mut door) = serve(&eight, &scene.config, "8");
    assert_eq!(known(&mut door), before);
    // What was learned is recognised, and what is new is learned, by every shard.
    let paused = |event: &&Event| event.user != Id::Int(4) && event.user != Id::Int(50);
    let again: Vec<Event> = events(1_500, 2_500).iter().filter(paused).cloned().collect();
    let retracted = again.iter().filter(|event| event.user == Id::Int(11)).count();
    let (learned, repeated) = send(&mut door, &again);
    assert!(repeated as usize >= again.len() - 1 && learned as usize <= retracted.min(1), "{learned} {repeated}");
    let more: Vec<Event> = events(5_000, 6_000).iter().filter(paused).cloned().collect();
    assert_eq!(send(&mut door, &more), (more.len() as u32, 0));
    let list = Recommend {
        user: Id::Int(12),
        k: 5,
        exclude_seen: false,
        allow_items: vec![],
        deny_items: vec![],
        allow_tags: vec![],
        deny_tags: vec![],
        strategy: String::new(),
    };
    assert_eq!(door.ask(&list).expect("RECOMMEND").items.len(), 5);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let later = known(&mut door);
    drop(door);
    server.stop();

    // On to one, by way of an archive.
    let archive = scene.path("eight.mra");
    ask(&["snapshot", "export", "--data-dir", arg(&eight), "--to", arg(&archive)]);
    scene.restore(&["--from", arg(&archive)], &one, "1");
    let (server, mut door) = serve(&one, &scene.config, "1");
    assert_eq!(known(&mut door), later);
    assert_eq!(send(&mut door, &more).1 as usize, more.len());
    drop(door);
    server.stop();

    // The archive's generation with the journals that lie beside the directory's own.
    let again = scene.path("again");
    let source = ["--from", arg(&archive), "--journal-from", arg(&eight)];
    scene.restore(&source, &again, "3");
    let (server, mut door) = serve(&again, &scene.config, "3");
    assert_eq!(known(&mut door), later);
    drop(door);
    server.stop();
    // Another cluster's journal is never read behind a snapshot.
    let source = ["snapshot", "restore", "--from", arg(&archive), "--journal-from", arg(&scene.data)];
    let error = refused(1, &[&source[..], &["--into", arg(&scene.path("spliced"))]].concat());
    assert!(error.contains("cluster"), "{error}");
}

#[test]
fn what_cannot_be_resharded_is_refused_and_leaves_nothing() {
    let (scene, _) = Scene::new();
    let (other, new, taken) = (scene.path("other.toml"), scene.path("new"), scene.path("taken"));
    fs::write(&other, CONFIG.replace("\"decay\", ", "")).expect("written");
    fs::create_dir(&taken).expect("made");
    fs::write(taken.join("file"), "mine").expect("written");
    let archive = scene.path("two.mra");
    ask(&["snapshot", "export", "--data-dir", arg(&scene.data), "--to", arg(&archive)]);
    let before = scene.names();
    let config = arg(&scene.config);
    let base = |source: &[&str], into: &Path, more: &[&str]| -> Vec<String> {
        let all = [&["snapshot", "restore"], source, &["--into", arg(into)], more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let (dir, file) = (["--data-dir", arg(&scene.data)], ["--from", arg(&archive)]);
    let cases: [(i32, Vec<String>, &[&str]); 8] = [
        (2, base(&dir, &new, &["--shards", "4"]), &["--shards 4 needs --config", "started with"]),
        (2, base(&dir, &new, &["--shards", "0", "--config", config]), &["0 is not in 1..=256"]),
        (2, base(&dir, &new, &["--shards", "257", "--config", config]), &["257 is not in 1..=256"]),
        (1, base(&dir, &new, &["--shards", "4", "--config", arg(&other)]), &["another configuration", "then:", "two"]),
        (1, base(&file, &new, &["--shards", "4", "--config", arg(&other)]), &["another configuration", "two.mra"]),
        (1, base(&dir, &new, &["--shards", "4", "--config", "none.toml"]), &["none.toml"]),
        (1, base(&dir, &taken, &["--shards", "4", "--config", config]), &["taken is there and not empty"]),
        (1, base(&dir, &new, &["--shards", "4", "--config", config, "--generation", "9"]), &["no generation 9"]),
    ];
    for (code, arguments, says) in &cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let error = refused(*code, &arguments);
        assert!(says.iter().all(|words| error.contains(words)), "{says:?}: {error}");
        assert_eq!(scene.names(), before, "{arguments:?}");
    }
    // Damage that is found while it is read, wherever the copy has got to.
    let segment = files(&scene.data.join("journal")).pop().expect("there are journals");
    for (path, source) in [(&segment, &dir), (&archive, &file)] {
        let mut bytes = fs::read(path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 16;
        fs::write(path, &bytes).expect("written");
        let arguments = base(source, &new, &["--shards", "4", "--config", config]);
        let error = refused(1, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(error.contains("damaged"), "{error}");
        assert_eq!(scene.names(), before);
    }
}

/// What people see.
#[test]
fn it_says_what_was_divided_and_what_was_made_anew() {
    let (scene, _) = Scene::new();
    let into = scene.path("three");
    let (code, out, error) = told(&[
        "snapshot",
        "restore",
        "--data-dir",
        arg(&scene.data),
        "--into",
        arg(&into),
        "--shards",
        "3",
        "--config",
        arg(&scene.config),
    ]);
    assert_eq!(code, Some(0), "{out}{error}");
    for said in ["2 -> 3", "2,499", "taught again from", "retained events", "every checksum verified", "--shards 3`"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    // As many as there were: nobody moves, but it is a cluster of its own.
    let same = scene.path("same");
    let done = scene.restore(&["--data-dir", arg(&into)], &same, "3");
    assert_eq!(done["resharded"]["taught_events"], Value::Null, "{done}");
}
