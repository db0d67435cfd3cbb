//! The program as people run it: `mirra serve` as a process, and every subcommand against it.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output};

use mirra::base::Id;
use mirra::ingest::{DriftOptions, DriftStream};
use mirra::wire::commands::{Digest, EventPut, ProfileGet, Refit, UserGet};
use mirra::wire::types::Event;
use serde_json::Value;

use crate::support::{Connection, ServeProcess, run as mirra};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs it, expects success, gives its standard output.
fn good(arguments: &[&str]) -> String {
    let output = mirra(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// Runs it, expects exit code 1 and one error; gives standard output and the error.
fn failed(arguments: &[&str]) -> (String, String) {
    let output = mirra(arguments);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}{error}", stdout(&output));
    assert_eq!(error.matches("error: ").count(), 1, "{error}");
    (stdout(&output), error)
}

/// The objects, one a line.
fn json(text: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    text.lines().map(object).collect()
}

/// As [`good`] with `--json`: the only object.
fn ask(arguments: &[&str]) -> Value {
    let mut objects = json(&good(&[arguments, &["--json"]].concat()));
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

/// Path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What a generated file has, row by row.
struct Generated {
    path: PathBuf,
    rows: u64,
    good: u64,
    /// Lines whose time lies in the future: the server refuses them.
    future: Vec<u64>,
    bad: Vec<u64>,
}

/// Writes a generated stream as TSV; every 400th row is broken, every 350th is of the year 2286. Users must stay
/// below the 256 events that a server keeps of each: event ids are recognised no further back.
fn generate(path: PathBuf, events: u64, with_kind: bool) -> Generated {
    let options =
        DriftOptions { users: 200, items: 300, events, start_ms: 1_700_000_000_000, ..DriftOptions::default() };
    let mut file = std::io::BufWriter::new(File::create(&path).expect("a file"));
    let header = if with_kind { "user\titem\tvalue\ttimestamp\tkind" } else { "user\titem\tvalue\ttimestamp" };
    writeln!(file, "{header}").expect("written");
    let mut generated = Generated { path, rows: 0, good: 0, future: Vec::new(), bad: Vec::new() };
    for (line, row) in (2_u64..).zip(DriftStream::new(options)) {
        let (mut value, mut time_ms) = (row.value.to_string(), row.time_ms);
        generated.rows += 1;
        if line % 400 == 0 {
            value = "a lot".to_owned();
            generated.bad.push(line);
        } else if line % 350 == 0 {
            time_ms = 9_999_999_999_999;
            generated.future.push(line);
        } else {
            generated.good += 1;
        }
        let kind = row.kind.filter(|_| with_kind).map_or_else(String::new, |kind| format!("\t{kind}"));
        writeln!(file, "{}\t{}\t{value}\t{time_ms}{kind}", row.user, row.item).expect("written");
    }
    file.flush().expect("written");
    generated
}

/// Digests of the profiles. (Those of shards go on changing while shards exchange item rows.)
fn digests(addr: SocketAddr) -> Vec<u64> {
    let mut door = Connection::open(addr);
    let mut profiles = Vec::new();
    for user in 0..200 {
        let request = ProfileGet { user: Id::Int(user), recent_max: 0, factors: false };
        profiles.extend(door.ask(&request).ok().map(|profile| profile.digest));
    }
    assert!(profiles.len() > 100, "{}", profiles.len());
    profiles
}

/// What was journaled before the kill is there after it; a stop ends well.
#[test]
fn a_killed_server_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let server = ServeProcess::start(&data, &["--shards", "1"]);
    let mut door = Connection::open(server.addr);
    for n in 0..50_u64 {
        let (event_id, user, item) = ((n + 1).into(), (n % 7).into(), (n % 5).into());
        let event = Event { event_id, user, item, kind: 5, value: 3.0, time_ms: 1_700_000_000_000 };
        assert_eq!(door.ask(&EventPut { event, durability: 2 }).expect("EVENT_PUT").durability, 2);
    }
    let before = door.ask(&Digest {}).expect("DIGEST").shards;
    assert!(server.log().contains("serving") && server.pid() > 0);
    server.kill();
    let server = ServeProcess::start(&data, &["--shards", "1"]);
    let after = Connection::open(server.addr).ask(&Digest {}).expect("DIGEST").shards;
    assert_eq!(before, after);
    server.stop();
}

#[test]
fn a_replay_accounts_for_every_row_and_a_repeat_is_all_duplicates() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = generate(dir.path().join("events.tsv"), 4_000, false);
    let server = ServeProcess::start(&dir.path().join("data"), &["--shards", "2"]);
    let addr = server.addr.to_string();
    let replay = |more: &[&str]| -> Vec<String> {
        let base = ["replay", arg(&file.path), "--addr", &addr];
        base.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    };
    let run = |more: &[&str]| ask(&replay(more).iter().map(String::as_str).collect::<Vec<_>>());

    let first = run(&["--limit", "500"]);
    let counts = ["accepted", "duplicates", "rejected"].map(|name| first[name].as_u64().expect("a count"));
    assert_eq!((counts[1], counts.iter().sum::<u64>(), first["sent"].as_u64()), (0, 500, Some(500)));
    let early = counts[0];

    let all = run(&["--connections", "3", "--batch", "100", "--durability", "durable"]);
    let (bad, future) = (file.bad.len() as u64, file.future.len() as u64);
    assert_eq!(all["read"], file.rows);
    assert_eq!(all["bad_rows"], bad);
    assert_eq!(all["rejected"], future);
    assert_eq!((all["duplicates"].as_u64(), all["accepted"].as_u64()), (Some(early), Some(file.good - early)));
    assert_eq!((&all["adds_up"], &all["durability"]), (&Value::Bool(true), &Value::from("durable")));
    assert!(bad > 5 && future > 5, "{bad} {future}");
    let lines = |list: &Value| -> Vec<u64> {
        list.as_array().expect("a list").iter().map(|row| row["line"].as_u64().expect("a line")).collect()
    };
    assert_eq!(lines(&all["files"][0]["first_bad_rows"]), file.bad[..5]);
    assert_eq!(lines(&all["first_rejected"]), file.future[..5]);
    assert!(
        all["first_rejected"][0]["reason"].as_str().expect("a text").contains("ahead of the server's clock"),
        "{all}"
    );
    assert_eq!(all["files"][0]["kinds"], serde_json::json!({ "rate": file.rows - bad }));
    let stats = ask(&["stats", "--addr", &addr]);
    assert_eq!(stats["strategies"][0]["events"], file.good);

    // All of it is known: told, and no success.
    let again = replay(&["--json"]);
    let (out, error) = failed(&again.iter().map(String::as_str).collect::<Vec<_>>());
    let again = json(&out).remove(0);
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(file.good)));
    assert!(error.contains("nothing was accepted") && again["adds_up"] == true, "{error}");

    // For people; without ids everything is learned again.
    let text = replay(&["--no-event-ids", "--kind", "view"]);
    let text = good(&text.iter().map(String::as_str).collect::<Vec<_>>());
    for part in
        ["adds up: ", "as view", "(view: by --kind)", "bad row: line 400: value is \"a lot\"", " events/s over 1 "]
    {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    server.stop();
}

#[test]
fn a_replay_takes_kinds_from_the_file_and_refuses_what_cannot_be() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let with_kind = generate(dir.path().join("kinds.tsv"), 600, true);
    let flat = dir.path().join("flat.csv");
    fs::write(&flat, "user,item,kind\n1,2,view\n1,3,\n1,4,wave\n").expect("written");
    let server = ServeProcess::start(&dir.path().join("data"), &[]);
    let addr = server.addr.to_string();
    let done = ask(&["replay", arg(&with_kind.path), arg(&flat), "--addr", &addr, "--no-event-ids"]);
    assert_eq!(done["accepted"], with_kind.good + 3);
    assert!(done["files"][0]["kinds"]["view"].as_u64() > Some(10), "{done}");
    assert_eq!(done["files"][1]["kinds"], serde_json::json!({ "view": 1, "event": 2 }));
    assert_eq!(done["files"][1]["unknown_kinds"], serde_json::json!({ "wave": 1 }));

    let (_, error) = failed(&["replay", arg(&flat), "--addr", &addr, "--kind", "wave"]);
    assert!(error.contains("no kind `wave`") && error.contains("purchase"), "{error}");
    let (_, error) = failed(&["replay", "absent.tsv", "--addr", &addr]);
    assert!(error.contains("cannot open absent.tsv"), "{error}");
    let empty = dir.path().join("empty.tsv");
    fs::write(&empty, "user\titem\n").expect("written");
    let (_, error) = failed(&["replay", arg(&empty), "--addr", &addr]);
    assert!(error.contains("no row that can be sent"), "{error}");
    assert_eq!(mirra(&["replay", arg(&flat), arg(&flat), "--addr", &addr]).status.code(), Some(2));
    server.stop();
}

#[test]
fn questions_are_answered_for_people_and_machines() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = generate(dir.path().join("events.tsv"), 3_000, false);
    let config = dir.path().join("decay.toml");
    fs::write(&config, "[strategy]\nactive = [\"decay\"]\n[refit]\nautomatic = false\n").expect("written");
    let server = ServeProcess::start(&dir.path().join("data"), &["--shards", "2", "--config", arg(&config)]);
    let addr = server.addr.to_string();
    ask(&["replay", arg(&file.path), "--addr", &addr]);
    // Before the first item model a factor strategy ranks by popularity and has nothing to compare items by.
    assert_eq!(ask(&["recommend", "0", "--addr", &addr])["basis"], "popularity");
    assert!(good(&["recommend", "0", "--addr", &addr]).contains("from popularity"));
    assert!(good(&["similar", "1", "--addr", &addr]).contains("has no item factors yet"));
    Connection::open(server.addr).ask(&Refit { seed: 0 }).expect("REFIT");
    let profile = ask(&["profile", "0", "--addr", &addr, "--vector", "--recent", "3"]);
    assert_eq!((&profile["user"], profile["recent"].as_array().map(Vec::len)), (&Value::from(0), Some(3)));
    let arm = &profile["strategies"][0];
    assert_eq!(arm["vector"].as_array().map(|vector| vector.len() as u64), arm["dim"].as_u64());
    let (seen, kind) = (&profile["recent"][0]["item"], &profile["recent"][0]["kind"]);
    assert_eq!(kind, "rate");
    let list = ask(&["recommend", "0", "-c", "7", "--addr", &addr]);
    let items: Vec<&Value> = list["items"].as_array().expect("a list").iter().map(|item| &item["item"]).collect();
    assert!(items.len() == 7 && !items.contains(&seen) && list["basis"] == "learned", "{list}");
    let best = items[0].to_string().trim_matches('"').to_owned();
    let list = ask(&["recommend", "0", "-c", "7", "--deny", &best, "--addr", &addr]);
    assert_eq!(&list["items"][0]["item"], items[1]);
    let scores = ask(&["predict", "0", &best, "nothing", "--addr", &addr])["scores"].clone();
    assert_eq!((&scores[0]["basis"], &scores[1]["basis"]), (&Value::from("learned"), &Value::from("new item")));
    let why = ask(&["explain", "0", &best, "--events", "3", "--addr", &addr]);
    let values = |list: &Value| list.as_array().expect("a list").iter().filter_map(|part| part["value"].as_f64()).sum();
    let (parts, events): (f64, f64) = (values(&why["parts"]), values(&why["events"]));
    let score = why["score"].as_f64().expect("a score");
    assert!((parts + events - score).abs() < 1e-5 && why["events"].as_array().map(Vec::len) == Some(3), "{why}");
    assert!(good(&["explain", "0", &best, "--addr", &addr]).contains("older events"));
    assert!(good(&["metrics", "--outcomes", "--addr", &addr]).contains("no list was reported as shown"));
    let similar = ask(&["similar", &best, "-c", "4", "--addr", &addr]);
    assert_eq!(similar["items"].as_array().map(Vec::len), Some(4));
    let stats = ask(&["stats", "--addr", &addr]);
    assert_eq!(
        (&stats["stats"]["shards"], &stats["strategies"][0]["events"]),
        (&Value::from(2), &Value::from(file.good))
    );

    let text = good(&["profile", "0", "--addr", &addr]);
    for part in ["user 0: ", "since 2023-11-1", " UTC, ", " y ago", "rate", "rhythm", "strategy", "recent", "█"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(good(&["recommend", "0", "--addr", &addr]).contains("rank  item"));
    assert!(good(&["recommend", "stranger", "--addr", &addr]).contains("the user was not seen yet"));
    assert!(good(&["predict", "0", &best, "--addr", &addr]).contains("learned"));
    assert!(good(&["similar", &best, "--addr", &addr]).starts_with(&format!("most like item {best}, by ")));
    let text = good(&["stats", "--addr", &addr]);
    assert!(text.contains("holds") && text.contains("hr@10"), "{text}");

    let one_line = |arguments: &[&str], expected: &str| {
        let (out, error) = failed(&[arguments, &["--addr", &addr]].concat());
        assert!(out.is_empty() && error.lines().count() == 1 && error.contains(expected), "{error}");
    };
    one_line(&["profile", "nobody"], "error: user nobody is not known to this server (NOT_FOUND)");
    one_line(&["similar", "nothing"], "error: item nothing is not known to this server (NOT_FOUND)");
    one_line(&["recommend", "0", "--strategy", "magic"], "no strategy `magic` runs on this server; there are: decay");
    server.stop();
    let (_, error) = failed(&["profile", "0", "--addr", &addr]);
    assert!(error.contains("no connection to ") && error.contains("hint: is a server running there?"), "{error}");
}

/// A server without any configuration answers from its first events on, by `auto`.
#[test]
fn the_default_answers_without_a_model_or_a_setting() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = generate(dir.path().join("events.tsv"), 900, false);
    let server = ServeProcess::start(&dir.path().join("data"), &["--shards", "1"]);
    let addr = server.addr.to_string();
    ask(&["replay", arg(&file.path), "--addr", &addr]);
    let list = ask(&["recommend", "0", "-c", "5", "--addr", &addr]);
    assert_eq!((&list["strategy"], &list["basis"]), (&Value::from("auto"), &Value::from("learned")), "{list}");
    let best = list["items"][0]["item"].to_string().trim_matches('"').to_owned();
    let score = ask(&["predict", "0", &best, "--addr", &addr])["scores"][0]["score"].as_f64();
    assert!(score.is_some_and(|score| (0.0..6.0).contains(&score)), "a rating is foretold: {score:?}");
    assert!(good(&["profile", "0", "--addr", &addr, "--vector"]).contains("auto"));
    let similar = ask(&["similar", &best, "--addr", &addr]);
    assert!(similar["items"].as_array().is_some_and(|items| !items.is_empty()), "{similar}");
    server.stop();
}

#[test]
fn snapshots_are_made_listed_verified_and_restored() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name);
    let (file, later) = (generate(path("events.tsv"), 4_000, false), generate(path("later.tsv"), 300, false));
    let data = path("data");
    // Nothing that goes on by itself: digests are compared.
    let config = path("decay.toml");
    fs::write(&config, "[strategy]\nactive = [\"decay\"]\n[refit]\nautomatic = false\n").expect("written");
    let server = ServeProcess::start(&data, &["--shards", "2", "--config", arg(&config)]);
    let addr = server.addr.to_string();
    ask(&["replay", arg(&file.path), "--addr", &addr]);
    assert_eq!(Connection::open(server.addr).ask(&Refit { seed: 0 }).expect("REFIT").epoch, 1);
    let at_snapshot = digests(server.addr);
    let created = ask(&["snapshot", "create", "--addr", &addr]);
    assert_eq!((&created["generation"], created["shards"].as_array().map(Vec::len)), (&Value::from(1), Some(2)));
    ask(&["replay", arg(&later.path), "--addr", &addr]);
    let at_end = digests(server.addr);
    assert_ne!(at_snapshot, at_end);

    // While a server has it, the directory is its own.
    for arguments in [["snapshot", "list"], ["snapshot", "verify"], ["journal", "verify"]] {
        let (_, error) = failed(&[&arguments[..], &["--data-dir", arg(&data)]].concat());
        assert!(error.contains(&format!("in use by process {}", server.pid())), "{error}");
        assert!(error.contains("`mirra snapshot create` and `mirra stats`"), "{error}");
    }
    server.stop();

    let listed = ask(&["snapshot", "list", "--data-dir", arg(&data)]);
    assert_eq!((&listed["generation"], &listed["bytes"]), (&created["generation"], &created["bytes"]));
    assert_eq!(ask(&["snapshot", "verify", "1", "--data-dir", arg(&data)])["ok"], true);
    assert!(good(&["snapshot", "list", "--data-dir", arg(&data)]).contains("generation  created"));
    assert!(failed(&["snapshot", "verify", "9", "--data-dir", arg(&data)]).1.contains("no generation 9"));

    let restore = |into: &Path, more: &[&str]| {
        let base = ["snapshot", "restore", "--data-dir", arg(&data), "--into", arg(into)];
        let done = ask(&[&base[..], more].concat());
        assert_eq!(done["generation"], 1);
        let server = ServeProcess::start(into, &["--shards", "2", "--config", arg(&config)]);
        let found = digests(server.addr);
        server.stop();
        found
    };
    assert_eq!(restore(&path("whole"), &[]), at_end);
    assert_eq!(restore(&path("bare"), &["--generation", "1", "--without-journal"]), at_snapshot);
    assert_eq!(ask(&["snapshot", "verify", "--data-dir", arg(&path("whole"))])["ok"], true);

    // The same by way of a file.
    let export = |to: &Path, more: &[&str]| {
        ask(&[&["snapshot", "export", "--data-dir", arg(&data), "--to", arg(to)], more].concat())
    };
    let (carried, stored) = (path("all.mra"), path("snapshot.mra"));
    let exported = export(&carried, &[]);
    assert_eq!((&exported["generation"], &exported["epochs"]), (&Value::from(1), &Value::from(1)));
    assert!(exported["journal_bytes"].as_u64() > Some(0));
    assert_eq!(export(&stored, &["--generation", "1", "--without-journal"])["journal_bytes"], 0);
    let verified = ask(&["snapshot", "verify", "--file", arg(&carried)]);
    assert_eq!((&verified["ok"], &verified["bytes"]), (&Value::from(true), &exported["bytes"]));
    let (served, moved) = (path("carried"), |file: &Path, into: &Path, more: &[&str]| {
        let base = ["snapshot", "restore", "--from", arg(file), "--into", arg(into)];
        let done = ask(&[&base[..], more].concat());
        assert_eq!((&done["generation"], &done["epochs"]), (&Value::from(1), &Value::from(vec![1])));
        let server = ServeProcess::start(into, &["--shards", "2", "--config", arg(&config)]);
        let found = digests(server.addr);
        server.stop();
        found
    });
    assert_eq!(moved(&carried, &served, &[]), at_end);
    assert_eq!(moved(&stored, &path("stored"), &[]), at_snapshot);
    assert_eq!(moved(&carried, &path("cut"), &["--without-journal"]), at_snapshot);

    // Failures leave nothing: a directory that is not empty, a generation that is not there, a damaged journal.
    let before = names(dir.path());
    let base = ["snapshot", "restore", "--data-dir", arg(&data), "--into"];
    assert!(failed(&[&base[..], &[arg(&path("bare"))]].concat()).1.contains("not empty"));
    assert!(failed(&[&base[..], &[arg(&path("new")), "--generation", "7"]].concat()).1.contains("no generation 7"));
    flip(&segments(&data.join("journal/shard-000"))[0]);
    let (_, error) = failed(&[&base[..], &[arg(&path("new"))]].concat());
    assert!(error.contains("damaged at offset") && error.contains("--without-journal"), "{error}");
    let (_, error) = failed(&["snapshot", "export", "--data-dir", arg(&data), "--to", arg(&path("new.mra"))]);
    assert!(error.contains("damaged at offset") && error.contains("--without-journal"), "{error}");
    let (_, error) =
        failed(&["snapshot", "export", "--data-dir", arg(&data), "--to", arg(&carried), "--without-journal"]);
    assert!(error.contains("all.mra is there already"), "{error}");
    flip(&carried);
    for arguments in
        [&["restore", "--from", arg(&carried), "--into", arg(&path("new"))][..], &["verify", "--file", arg(&carried)]]
    {
        let (_, error) = failed(&[&["snapshot"], arguments].concat());
        assert!(error.contains("all.mra is damaged at offset") && error.contains("section"), "{error}");
    }
    let (code, _, error) = crate::support::told(&["snapshot", "restore", "--into", arg(&path("new"))]);
    assert!(code == Some(2) && error.contains("--data-dir"), "{error}");
    assert_eq!(names(dir.path()), before);
    assert!(failed(&["snapshot", "list", "--data-dir", arg(dir.path())]).1.contains("no data directory"));
    assert_eq!(names(dir.path()), before);
}

/// Names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The journal segments of a shard that have records, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = names(dir).into_iter().filter(|name| name.ends_with(".mjl")).map(|name| dir.join(name));
    paths.filter(|path| fs::metadata(path).expect("a file").len() > 1_000).collect()
}

/// Flips one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_journal_is_verified_and_a_damaged_one_salvaged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = generate(dir.path().join("events.tsv"), 3_000, false);
    let data = dir.path().join("data");
    let server = ServeProcess::start(&data, &["--shards", "2"]);
    ask(&["replay", arg(&file.path), "--addr", &server.addr.to_string(), "--durability", "durable"]);
    server.stop(); // the last record then says that all before it is synced
    let verify = ["journal", "verify", "--data-dir", arg(&data)];
    let shards = json(&good(&[&verify[..], &["--json"]].concat()));
    let sum = |name: &str| shards.iter().map(|shard| shard[name].as_u64().expect("a count")).sum::<u64>();
    // Beside the events stand the item rows that shards took over from each other.
    assert!(shards.len() == 2 && sum("sequences") >= file.good, "{shards:?}");
    assert!(sum("records") > 1 && sum("segments") == 2 && shards.iter().all(|shard| shard["ok"] == true));
    assert!(good(&verify).contains("good"));

    let damaged = segments(&data.join("journal/shard-001")).remove(0);
    let whole = fs::read(&damaged).expect("a file");
    // A cut is what a crash leaves: told, and no damage.
    fs::write(&damaged, &whole[..whole.len() - 5]).expect("written");
    assert!(good(&verify).contains("torn tail of "));
    fs::write(&damaged, &whole).expect("written");
    flip(&damaged);
    let (out, error) = failed(&[&verify[..], &["--json"]].concat());
    let shards = json(&out);
    assert_eq!((&shards[0]["ok"], &shards[1]["ok"]), (&Value::Bool(true), &Value::Bool(false)));
    assert!(shards[1]["error"].as_str().expect("a text").contains("damaged at offset"), "{out}");
    assert!(error.contains("1 of 2 journals") && error.contains("mirra journal salvage"), "{error}");
    assert!(failed(&verify).0.contains("DAMAGED"));
    assert!(good(&[&verify[..], &["--shard", "0"]].concat()).contains("good"));

    let salvaged = json(&good(&["journal", "salvage", "--data-dir", arg(&data), "--json"]));
    assert_eq!((&salvaged[0]["damage"], salvaged[1]["set_aside"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
    assert!(good(&verify).contains("good"));
    let server = ServeProcess::start(&data, &["--shards", "2"]);
    let mut door = Connection::open(server.addr);
    let mut events = |user: u64| door.ask(&UserGet { user: user.into() }).map_or(0, |user| user.events);
    let left: u64 = (0..200).map(&mut events).sum();
    // What lay at the damaged place may have been rows of the other shard: then no event is lost.
    assert!(left > 0 && left <= file.good, "{left} of {}", file.good);
    server.stop();
}

/// What a replay cannot account for it says, and a second one makes it good.
#[test]
fn a_replay_whose_server_dies_does_not_add_up_until_it_is_repeated() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = generate(dir.path().join("events.tsv"), 3_000, false);
    let data = dir.path().join("data");
    let server = ServeProcess::start(&data, &["--shards", "1"]);
    let addr = server.addr.to_string();
    let path = arg(&file.path).to_owned();
    let arguments = ["replay", &path, "--addr", &addr, "--rate", "3000", "--batch", "50", "--json"].map(str::to_owned);
    let replay = std::thread::spawn(move || failed(&arguments.each_ref().map(String::as_str)));
    let mut door = Connection::open(server.addr);
    while door.ask(&Digest {}).expect("DIGEST").shards[0].sequence < 200 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    server.kill();
    let (out, error) = replay.join().expect("it ends");
    let first = json(&out).remove(0);
    assert!(error.contains("lost with the request in flight"), "{error}");
    assert!(first["adds_up"] == false && first["unanswered"].as_u64() > Some(0), "{out}");

    let server = ServeProcess::start(&data, &["--shards", "1"]);
    let second = ask(&["replay", arg(&file.path), "--addr", &server.addr.to_string()]);
    let count = |report: &Value, name: &str| report[name].as_u64().expect("a count");
    assert_eq!(count(&second, "accepted") + count(&second, "duplicates"), file.good);
    // An acknowledged event is there after the kill; one without an answer may be.
    assert!(count(&second, "duplicates") >= count(&first, "accepted") && second["adds_up"] == true, "{first} {second}");
    server.stop();
}

/// The protocol as somebody else has written it, from the documents alone.
#[test]
fn the_python_example_talks_to_a_real_server() {
    if Program::new("python3").arg("--version").output().is_err() {
        println!("SKIPPED: python3 is not installed, so examples/wire_client.py was not run");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start(dir.path(), &["--shards", "2"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/wire_client.py");
    let (host, port) = (server.addr.ip().to_string(), server.addr.port().to_string());
    let output = Program::new("python3").arg(script).args([host, port]).output().expect("python3 runs");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("profile: version 3, 3 events"), "{}", stdout(&output));
    server.stop();
}
