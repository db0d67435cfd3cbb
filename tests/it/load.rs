//! `mirra load` against `mirra serve`: every row of generated files is read back as it was stated.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command as Program;

use mirra::base::Id;
use mirra::wire::Status;
use mirra::wire::commands::{ItemGet, UserGet};
use mirra::wire::types::{AttributeAt, AttributeValue};
use serde_json::{Value, json};

use crate::support::{Connection, ServeProcess};

/// Runs `mirra load ... --json`; gives exit code, the report and standard error.
fn load(what: &str, file: &Path, addr: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let mut program = Program::new(env!("CARGO_BIN_EXE_mirra"));
    program.args(["load", what]).arg(file).args(["--addr", addr, "--json"]).args(more).env_clear();
    let output = program.output().expect("the program runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn named<'a>(attributes: &'a [AttributeAt], name: &str) -> Option<&'a AttributeValue> {
    attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn users_are_read_back_as_the_rows_say_and_a_bad_row_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start(&dir.path().join("data"), &["--shards", "2"]);
    let addr = server.addr.to_string();
    let file = dir.path().join("users.csv");
    let mut text = "user,age,city,vip,likes,code\r\n".to_owned();
    for user in 0..1_000_u64 {
        let age = if user == 500 { "old".to_owned() } else { (20 + user % 60).to_string() };
        let city = if user % 7 == 0 { String::new() } else { format!("\"Town, {}\"", user % 9) };
        text += &format!("u{user},{age},{city},{},a|b{},{:04}\r\n", user % 2 == 0, user % 5, user);
    }
    fs::write(&file, text).expect("written");

    let (code, report, error) =
        load("users", &file, &addr, &["--types", "age=number", "--in-flight", "32", "--durability", "durable"]);
    assert_eq!(code, Some(1), "{report} {error}");
    assert!(error.contains("error: 1 of 1,000 rows refused"), "{error}");
    assert_eq!((&report["rows"], &report["loaded"], &report["refused"]), (&json!(1_000), &json!(999), &json!(1)));
    assert_eq!((&report["unanswered"], &report["durability"]), (&json!(0), &json!("durable")));
    let refused = &report["first_refused"][0];
    assert_eq!(refused["line"], 502);
    assert_eq!(refused["reason"], "age is \"old\", expected a number (--types says so)");
    let types = json!({ "age": "number", "city": "text", "vip": "boolean", "likes": "list", "code": "text" });
    assert_eq!(report["files"][0]["columns"], types);

    let mut door = Connection::open(server.addr);
    for user in 0..1_000_u64 {
        let reply = door.ask(&UserGet { user: Id::parse(&format!("u{user}")) });
        if user == 500 {
            assert_eq!(reply.expect_err("never loaded").0, Status::NotFound);
            continue;
        }
        let held = reply.expect("USER_GET").attributes;
        assert_eq!(named(&held, "age"), Some(&AttributeValue::Number((20 + user % 60) as f64)), "{user}");
        let city = (user % 7 != 0).then(|| AttributeValue::Text(format!("Town, {}", user % 9)));
        assert_eq!(named(&held, "city"), city.as_ref(), "{user}");
        assert_eq!(named(&held, "vip"), Some(&AttributeValue::Bool(user % 2 == 0)), "{user}");
        let likes = AttributeValue::Texts(vec!["a".to_owned(), format!("b{}", user % 5)]);
        assert_eq!(named(&held, "likes"), Some(&likes), "{user}");
        assert_eq!(named(&held, "code"), Some(&AttributeValue::Text(format!("{user:04}"))), "{user}");
    }
    server.stop();
}

#[test]
fn items_keep_what_a_row_says_nothing_of_and_what_is_newer() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start(&dir.path().join("data"), &["--shards", "2"]);
    let addr = server.addr.to_string();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        let file = fs::File::create(&path).expect("a file");
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(text.as_bytes()).and_then(|()| packer.finish().map(drop)).expect("written");
        path
    };
    let mut text = "item\ttitle\tgenres\tyear\ttimestamp\n".to_owned();
    for item in 0..600 {
        text += &format!("{item}\tFilm \"{item}\"\tdrama|g{}\t{}\t1600000000\n", item % 10, 1950 + item % 70);
    }
    let (code, report, error) = load("items", &write("items.tsv.gz", &text), &addr, &[]);
    assert_eq!((code, &report["loaded"]), (Some(0), &json!(600)), "{report} {error}");
    assert_eq!((&report["files"][0]["tags"], error.as_str()), (&json!("genres"), ""));

    let mut door = Connection::open(server.addr);
    let mut get = |item: u64| {
        let reply = door.ask(&ItemGet { item: item.into() }).expect("ITEM_GET");
        (reply.tags.into_iter().collect::<BTreeSet<_>>(), reply.attributes)
    };
    for item in 0..600 {
        let (tags, held) = get(item);
        assert_eq!(tags, BTreeSet::from(["drama".to_owned(), format!("g{}", item % 10)]), "{item}");
        assert_eq!(named(&held, "title"), Some(&AttributeValue::Text(format!("Film \"{item}\""))), "{item}");
        assert_eq!(named(&held, "year"), Some(&AttributeValue::Number((1950 + item % 70) as f64)), "{item}");
        assert!(held.iter().all(|attribute| attribute.time_ms == 1_600_000_000_000), "{held:?}");
    }

    // Later: a cell without tags and a row twice. Earlier: nothing changes, new attributes apart.
    let later = write("later.tsv.gz", "item\tgenres\tyear\n1\t\t2001\n2\twar\t\n2\twar|peace\t1999\n");
    assert_eq!(load("items", &later, &addr, &["--time", "1700000000"]).0, Some(0));
    let earlier = write("earlier.tsv.gz", "item\tgenres\tyear\tstudio\n1\tnoise\t1\tA\n2\tnoise\t2\tB\n");
    assert_eq!(load("items", &earlier, &addr, &["--time", "1500000000"]).0, Some(0));
    let year = |held: &[AttributeAt]| named(held, "year").cloned();
    let (tags, held) = get(1);
    assert_eq!(tags, BTreeSet::from_iter(texts(&["drama", "g1"])), "an empty cell says nothing of tags");
    assert_eq!(year(&held), Some(AttributeValue::Number(2001.0)));
    let (tags, held) = get(2);
    assert_eq!(tags, BTreeSet::from_iter(texts(&["war", "peace"])), "the later row");
    assert_eq!(year(&held), Some(AttributeValue::Number(1999.0)));
    assert_eq!(named(&held, "studio"), Some(&AttributeValue::Text("B".to_owned())));

    // Values the server refuses are accounted for like others.
    let future = write("future.tsv.gz", "item\ttimestamp\n1\t9999999999\n3\t1600000000\n");
    let (code, report, _) = load("items", &future, &addr, &[]);
    assert_eq!((code, &report["loaded"], &report["refused"]), (Some(1), &json!(1), &json!(1)), "{report}");
    let reason = report["first_refused"][0]["reason"].as_str().expect("a text");
    assert!(reason.contains("ahead of the server's clock") && reason.contains("BAD_REQUEST"), "{reason}");
    let (code, _, error) = load("users", &future, &addr, &[]);
    assert!(code == Some(1) && error.contains("no column \"user\""), "{error}");
    let (code, _, error) = load("items", &write("none.tsv.gz", "item\tgenres\n"), &addr, &[]);
    assert!(code == Some(1) && error.contains("no row below the header"), "{error}");
    server.stop();
}
