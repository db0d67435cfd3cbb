//! `mirra demo` as people run it: the binary, few events, the figures it prints for machines.

use std::process::Command;

use serde_json::Value;

fn demo(arguments: &[&str]) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_mirra")).arg("demo").args(arguments).output().expect("it runs");
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{arguments:?} ended with {}: {told}", out.status);
    assert!(told.is_empty(), "nothing but the object, off a terminal: {told}");
    serde_json::from_slice(&out.stdout).expect("one object")
}

/// A figure by its path, such as `crash.lost`.
fn figure(figures: &Value, path: &str) -> f64 {
    let found = path.split('.').fold(figures, |value, key| &value[key]);
    found.as_f64().unwrap_or_else(|| panic!("{path} is {found}"))
}

fn check(figures: &Value, shards: usize) {
    let f = |path: &str| figure(figures, path);
    let count = |path: &str| f(path) as u64;
    assert_eq!(count("events"), 3_000);
    assert_eq!(count("accepted") + count("duplicates") + count("rejected"), 3_000);
    assert_eq!((count("accepted"), count("shards")), (3_000, shards as u64));

    assert_eq!(count("profile.version_after") - count("profile.version_before"), count("profile.events"));
    assert!(f("profile.share_after") > f("profile.share_before") && f("profile.ack_us") > 0.0);
    assert!(f("accuracy.learned_last10_hr_10") > f("accuracy.frozen_last10_hr_10"), "{figures}");
    assert!((0.0..=1.0).contains(&f("accuracy.learned_hr_10")) && f("accuracy.ranked") > 500.0);

    let sent = 3_000 + count("profile.events");
    let later = count("crash.events_during_snapshot") + count("crash.events_in_journal_tail");
    assert_eq!((count("crash.events_before"), count("crash.events_after")), (sent + later, sent + later));
    assert_eq!((count("crash.lost"), count("crash.profiles_equal")), (0, count("crash.profiles_compared")));
    assert!(count("crash.events_in_journal_tail") > 0 && count("crash.profiles_compared") >= 20);
    assert_eq!(count("crash.sent_again"), count("crash.recognised"));
    let curve = figures["curve"].as_array().expect("a curve");
    assert!(curve.len() >= 10 && curve.last().expect("not empty")["events"] == 3_000);
    assert!(curve[0]["frozen_hr_10"].is_null() && curve[curve.len() - 1]["frozen_hr_10"].is_number());
}

#[test]
fn the_demonstration_shows_what_it_says() {
    let figures = demo(&["--events", "3000", "--json"]);
    check(&figures, 1);
    assert_eq!(figures["crash"]["shard_digests_equal"], true);
    assert_eq!(figures["crash"]["sequences_before"], figures["crash"]["sequences_after"]);
    check(&demo(&["--events", "3000", "--shards", "2", "--seed", "4", "--json"]), 2);
}

#[test]
fn a_file_is_shown_as_well() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("clicks.csv");
    // Two groups of users with items of their own, who change sides half-way.
    let row = |n: u64| {
        let (user, turned) = (n * 7 % 40, u64::from(n > 2_000));
        let item = (n * n + n / 40) % 60 + 60 * ((user + turned) % 2);
        format!("{user},{item},{}\n", 1_700_000_000 + n)
    };
    let text: String = std::iter::once("user,item,timestamp\n".to_owned()).chain((0..5_000).map(row)).collect();
    std::fs::write(&path, text).expect("the file is written");
    let figures = demo(&["--data", path.to_str().expect("a path"), "--json"]);
    let sent = figure(&figures, "events") as u64;
    assert!(sent > 3_000 && figure(&figures, "accepted") as u64 == sent, "{figures}");
    assert_eq!(figure(&figures, "crash.lost") as u64, 0);
    assert!(figure(&figures, "accuracy.learned_last10_hr_10") > figure(&figures, "accuracy.frozen_last10_hr_10"));
}

#[test]
fn a_file_that_says_too_little_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("few.csv");
    std::fs::write(&path, "user,item\na,b\n").expect("the file is written");
    let out = Command::new(env!("CARGO_BIN_EXE_mirra")).arg("demo").arg("--data").arg(&path).output().expect("it runs");
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && told.contains("few.csv has 1 usable events"), "{told}");
}
