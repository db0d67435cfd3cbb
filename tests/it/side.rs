//! `mirra evaluate` with tables of users and items: what they are worth to people and items that events cannot tell of yet.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command as Program, Output};

use mirra::base::Rng;
use serde_json::Value;

const TEAMS: [&str; 4] = ["red", "blue", "green", "grey"];
/// Items of each team that there are from the beginning; one more comes with every eighth user.
const FIRST_ITEMS: u64 = 25;

/// Users of four teams come one after the other, and stay for eight events, a few at a time. Six of seven of their events
/// are of items of their team; every third of these is of the team's newest item, which stands in the table from shortly
/// before it can be met.
fn planted(dir: &Path, seed: u64) {
    let (mut rng, mut events) = (Rng::new(seed), "user\titem\ttimestamp\n".to_owned());
    let (mut users, mut items) = ("user\tteam\tcode\n".to_owned(), "item\tgenres\ttimestamp\n".to_owned());
    let count_at = |user: u64| FIRST_ITEMS + user / 8;
    let time_s = |step: u64| 1_600_000_000 + 60 * step;
    for user in 0..320 {
        // The code is of one user alone: a group that says nothing.
        writeln!(users, "u{user}\t{}\tc{user}", TEAMS[user as usize % 4]).expect("a string takes all");
    }
    for at in 0..count_at(320) {
        let from = time_s((64 * at.saturating_sub(FIRST_ITEMS)).saturating_sub(48));
        for team in TEAMS {
            writeln!(items, "{team}{at}\t{team}|any\t{from}").expect("a string takes all");
        }
    }
    for step in 0..320 * 8_u64 {
        let user = (step / 8 + rng.below(6)).min(319);
        let stranger = rng.below(7) == 0;
        let team = TEAMS[if stranger { rng.below(4) } else { user % 4 } as usize];
        let count = count_at(user);
        let item = if rng.below(3) == 0 { count - 1 } else { rng.below(count) };
        writeln!(events, "u{user}\t{team}{item}\t{}", time_s(step)).expect("a string takes all");
    }
    for (name, text) in [("events.tsv", events), ("users.tsv", users), ("items.tsv", items)] {
        fs::write(dir.join(name), text).expect("the folder is writable");
    }
}

fn evaluate(dir: &Path, arguments: &[&str]) -> Output {
    let mut program = Program::new(env!("CARGO_BIN_EXE_mirra"));
    program.current_dir(dir).env_clear().args(["evaluate", "events.tsv", "--protocol", "P2"]).args(arguments);
    program.output().expect("the program runs")
}

fn good(dir: &Path, arguments: &[&str]) -> String {
    let output = evaluate(dir, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

const TABLES: [&str; 6] = ["--slice", "0.3,1", "--users", "users.tsv", "--items", "items.tsv"];

#[test]
fn tables_help_where_events_cannot_and_the_comparison_says_by_how_much() {
    let dir = tempfile::tempdir().expect("a folder");
    planted(dir.path(), 5);
    let specs = ["auto:attention=0,user_table=0,item_table=0", "auto:attention=0,item_table=0", "auto:attention=0"];
    let strategies = specs.map(|spec| ["--strategy", spec]).concat();
    let text = good(dir.path(), &[&TABLES[..], &["--cold", "1", "--json"], &strategies].concat());
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let slice = |strategy: usize, at: usize| &found[strategy]["slices"][at];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {text}"));
    let measure = |strategy, at, name: &str| number(&slice(strategy, at)["measures"][name]);

    assert_eq!(slice(1, 0)["slice"], "users with at most 1 earlier event");
    assert!(slice(0, 0)["differences"].is_null() && slice(0, 0)["scored"].as_u64() > Some(300), "{text}");
    let gain = &slice(1, 0)["differences"]["hr_10"];
    assert!(number(&gain["low"]) > 0.0, "attributes of users help cold users: {gain}");
    let plain = measure(1, 0, "hr_10") - measure(0, 0, "hr_10");
    assert!((plain - number(&gain["mean"])).abs() < 1e-9, "the difference is that of the figures");

    assert_eq!(slice(2, 1)["slice"], "items that nobody met before");
    let (without, with) = (measure(1, 1, "hr_10"), measure(2, 1, "hr_10"));
    assert!(with > without + 0.1, "new items are reached through their tags: {with} against {without}");
    let gain = &slice(2, 1)["differences"]["hr_10"];
    assert!(number(&gain["low"]) > 0.0, "{gain}");
}

#[test]
fn strategies_that_are_not_told_have_the_same_candidates() {
    let dir = tempfile::tempdir().expect("a folder");
    planted(dir.path(), 6);
    let specs = ["popularity", "popularity:item_table=0,user_table=0", "decay:dim=8,iterations=2"];
    let strategies = specs.map(|spec| ["--strategy", spec]).concat();
    let text = good(dir.path(), &[&TABLES[2..], &["--slice", "0,1", "--cold", "3"], &strategies].concat());
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let of = |name: &str| lines.iter().filter(|line| line.first() == Some(&name)).cloned().collect::<Vec<_>>();
    let (told, untold) = (of(specs[0]), of(specs[1]));
    assert!(told.len() == 3 && untold.len() == 6, "whole and two slices; and a difference each: {text}");
    for (told, untold) in told.iter().zip([&untold[0], &untold[2], &untold[4]]) {
        assert_eq!(told[1..6], untold[1..6], "plain counts know no tables: {text}");
    }
    assert!(text.contains("\nusers with at most 3 earlier events\n") && text.contains("\nless popularity\n"), "{text}");
    assert!(
        lines.iter().any(|line| line.first() == Some(&specs[2])),
        "no model to fit at the first event, and none fails"
    );
}

#[test]
fn what_would_be_ignored_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    planted(dir.path(), 7);
    for (arguments, message) in [
        (&["--strategy", "auto:user_table=0"][..], "no table that user_table could keep from it; give --users FILE"),
        (&["--strategy", "auto:item_table=2"], "item_table is 2, expected a whole number, 0 to 1"),
        (&["--types", "team=text"], "--types is about columns of --users and --items, and neither is given"),
        (&["--users", "users.tsv", "--protocol", "P1"], "cannot be used multiple times"),
        (&["--tags", "genres"], "--items"),
    ] {
        let output = evaluate(dir.path(), arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(message), "{arguments:?}: {told}");
    }
    for (arguments, message) in [
        (&["--users", "items.tsv"][..], "header of items.tsv has no column \"user\""),
        (&["--items", "items.tsv", "--tags", "team"], "items.tsv has no column \"team\" for --tags"),
        (&["--items", "items.tsv", "--types", "team=text"], "no table has a column \"team\" for --types"),
    ] {
        let output = evaluate(dir.path(), arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains(message), "{arguments:?}: {told}");
    }
}
