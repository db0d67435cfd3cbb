//! From a list to what came of it, through a real server: joined by decision id, credited once, over restarts.

use mirra::base::Id;
use mirra::engine::Options;
use mirra::learn::Strategy;
use mirra::model::{Kind, Kinds};
use mirra::wire::Status;
use mirra::wire::commands::*;
use mirra::wire::types::{DecisionsCell, Event, KindOutcomes};

use crate::support::{Connection, TestServer, options};

const CLICK: u8 = 2;
const BUY: u8 = 4;
const WAIT_MS: i64 = 3_600_000;
const USERS: u64 = 12;

fn over(dir: &std::path::Path, shards: u16) -> Options {
    let mut options = options(dir);
    let kind = |code, name: &str, weight| Kind::new(code, name, weight);
    options.state.shards = shards;
    options.state.schema.kinds =
        Kinds::new([kind(0, "event", 1.0), kind(CLICK, "click", 0.5), kind(BUY, "purchase", 2.0)]);
    options.state.strategies =
        ["decay", "popularity"].iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
    options.decisions.wait_ms = WAIT_MS;
    options
}

fn recommend(door: &mut Connection, user: u64) -> RecommendReply {
    let (allow_items, deny_items, allow_tags, deny_tags) = (vec![], vec![], vec![], vec![]);
    let (user, strategy) = (Id::Int(user), "popularity".to_owned());
    let wanted =
        Recommend { user, k: 5, exclude_seen: false, allow_items, deny_items, allow_tags, deny_tags, strategy };
    let list = door.ask(&wanted).expect("RECOMMEND");
    assert_eq!(list.items.len(), 5);
    list
}

fn outcome(decision_id: u64, event_id: u64, user: u64, item: Id, kind: u8, time_ms: i64) -> Outcome {
    let (event_id, user) = (Id::Int(event_id), Id::Int(user));
    Outcome { decision_id, event: Event { event_id, user, item, kind, value: 1.0, time_ms }, durability: 0 }
}

fn figures(door: &mut Connection, cohort: &str) -> (DecisionsCell, DecisionsReply) {
    let (strategy, cohort, window) = ("popularity".to_owned(), cohort.to_owned(), "lifetime".to_owned());
    let reply = door.ask(&Decisions { strategy, cohort, window }).expect("DECISIONS");
    (reply.cells[0].clone(), reply)
}

fn of<'a>(cell: &'a DecisionsCell, kind: &str) -> &'a KindOutcomes {
    cell.kinds.iter().find(|outcomes| outcomes.kind == kind).expect("a kind that came")
}

fn learn_something(door: &mut Connection) {
    let event = |n: u64| Event {
        event_id: Id::Int(n + 1),
        user: Id::Int(n % USERS),
        item: Id::parse(&format!("item-{}", n % 23)),
        kind: 0,
        value: 1.0,
        time_ms: 0,
    };
    let events = (0..300).map(event).collect();
    assert_eq!(door.ask(&EventBatch { durability: 0, want: 0, events }).expect("EVENT_BATCH").accepted, 300);
    std::thread::sleep(std::time::Duration::from_millis(150)); // exchange between shards comes to rest
}

#[test]
fn outcomes_join_their_lists_over_restarts() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = TestServer::start(over(dir.path(), shards));
        let mut door = Connection::open(server.addr);
        learn_something(&mut door);

        let before = door.digests();
        let lists: Vec<RecommendReply> = (0..USERS).map(|user| recommend(&mut door, user)).collect();
        assert_eq!(door.digests(), before, "recommending changes nothing that is kept");
        let item = |user: u64, place: usize| lists[user as usize].items[place].item.clone();
        let decision = |user: u64| lists[user as usize].decision_id;

        // User 0: reported as shown, clicked at 2, bought, clicked on something else.
        let shown = Exposure { decision_id: decision(0), user: Id::Int(0), places: 0, time_ms: 0, durability: 0 };
        let (status, reply) = door.ask_status(&shown).expect("EXPOSURE");
        assert_eq!((status, reply.join, reply.strategy.as_str()), (Status::Ok, 1, "popularity"));
        assert_eq!(door.ask_status(&shown).expect("EXPOSURE again").0, Status::Duplicate);
        let click = outcome(decision(0), 1_001, 0, item(0, 1), CLICK, 0);
        let (status, reply) = door.ask_status(&click).expect("OUTCOME");
        assert_eq!((status, reply.join, reply.position, reply.durability), (Status::Ok, 1, 2, 2));
        assert!(reply.strategy == "popularity" && (0..60_000).contains(&reply.delay_ms), "{reply:?}");
        let (status, again) = door.ask_status(&click).expect("OUTCOME again");
        assert_eq!((status, again.join), (Status::Duplicate, 0));
        assert_eq!(again.profile_version, reply.profile_version, "nothing is learned twice");
        let ask = |door: &mut Connection, wanted: Outcome| door.ask(&wanted).expect("OUTCOME");
        assert_eq!(ask(&mut door, outcome(decision(0), 1_002, 0, item(0, 1), BUY, 0)).position, 2);
        let other = ask(&mut door, outcome(decision(0), 1_003, 0, "elsewhere".into(), CLICK, 0));
        assert_eq!((other.join, other.position, other.profile_version), (2, 0, reply.profile_version + 2));

        // User 1: not reported, clicked at 5. User 2: too late. Nobody: a list that was never served; another's.
        assert_eq!(ask(&mut door, outcome(decision(1), 1_004, 1, item(1, 4), CLICK, 0)).position, 5);
        let late_ms = door.ask(&Ping {}).expect("PING").server_ms + 2 * WAIT_MS;
        assert_eq!(ask(&mut door, outcome(decision(2), 1_005, 2, item(2, 0), CLICK, late_ms)).join, 3);
        let unknown = ask(&mut door, outcome(77, 1_006, 3, item(3, 0), CLICK, 0));
        assert!(unknown.join == 4 && unknown.profile_version > 0, "it is learned all the same: {unknown:?}");
        assert_eq!(ask(&mut door, outcome(decision(4), 1_007, 5, item(4, 0), CLICK, 0)).join, 4);

        let stats = door.ask(&Stats {}).expect("STATS").stats;
        let stat = |name: &str| stats.iter().find(|stat| stat.name == name).map(|stat| stat.value);
        let names = ["lists_served", "lists_shown", "outcomes_listed", "outcomes_not_listed", "decisions_expired"];
        assert_eq!(names.map(stat), [12.0, 1.0, 3.0, 1.0, 1.0].map(Some));
        assert_eq!(stat("decisions_unknown"), Some(2.0));
        let before = check_figures(&mut door, 2, [3, 2, 1]);
        drop(door);
        server.stop();

        // From the journal, then from a snapshot: lists that were named are found, those that were not are gone.
        let mut clicks = 3;
        for start in 0..2 {
            let server = TestServer::start(over(dir.path(), shards));
            let mut door = Connection::open(server.addr);
            if start == 0 {
                let after = figures(&mut door, "all").1;
                assert_eq!(format!("{after:?}"), format!("{before:?}"), "the figures are those of before the restart");
            }
            assert_eq!(door.ask_status(&click).expect("repeated").0, Status::Duplicate);
            let joined = ask(&mut door, outcome(decision(0), 2_000 + start, 0, item(0, 0), CLICK, 0));
            assert_eq!((joined.join, joined.position), (1, 1));
            let gone = ask(&mut door, outcome(decision(6 + start), 3_000 + start, 6 + start, item(6, 0), CLICK, 0));
            assert_eq!(gone.join, 4, "served and not named before the restart");
            clicks += 1;
            check_figures(&mut door, 3 + start, [clicks, 2, 1]);
            door.ask(&Snapshot {}).expect("SNAPSHOT");
            drop(door);
            server.stop();
        }
    }
}

/// Checks that figures say this many unknown ids, and outcomes of any kind, clicked lists and purchases; returns them.
fn check_figures(door: &mut Connection, unknown: u64, [any, clicked, bought]: [u64; 3]) -> DecisionsReply {
    let (all, reply) = figures(door, "all");
    assert_eq!((reply.expired, reply.unknown, all.shown), (1, unknown, 2), "{all:?}");
    let (click, buy) = (of(&all, "click"), of(&all, "purchase"));
    assert_eq!((of(&all, "any").outcomes, click.lists, buy.lists), (any, clicked, bought), "{all:?}");
    assert_eq!((click.outcomes + buy.outcomes, click.not_listed), (any, 1), "kinds add up: {all:?}");
    assert!((click.share - clicked as f64 / 2.0).abs() < 1e-12 && (buy.share - 0.5).abs() < 1e-12, "{all:?}");
    assert!((buy.position - 2.0).abs() < 1e-12 && (buy.mrr - 0.25).abs() < 1e-12, "half of 1 / 2: {buy:?}");
    assert!(click.delay_s < 60.0 && click.delay_s_p50 < 60.0, "{click:?}");
    let cohorts = ["new", "1-3", "4-15", "16-63", "64+"].map(|cohort| figures(door, cohort).0);
    assert_eq!(cohorts.iter().map(|cell| cell.shown).sum::<u64>(), all.shown);
    let of_any = |cell: &DecisionsCell| of(cell, "any").outcomes;
    assert_eq!(cohorts.iter().map(of_any).sum::<u64>(), any, "cohorts add up");
    reply
}

#[test]
fn a_server_that_remembers_nothing_still_learns() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = over(dir.path(), 1);
    options.decisions.kept_max = 0;
    let server = TestServer::start(options);
    let mut door = Connection::open(server.addr);
    learn_something(&mut door);
    let list = recommend(&mut door, 1);
    let reply = door.ask(&outcome(list.decision_id, 0, 1, list.items[0].item.clone(), CLICK, 0)).expect("OUTCOME");
    assert_eq!((reply.join, reply.profile_version), (4, 26));
    let refused = door.ask(&outcome(1, 0, 1, Id::Int(1), 77, 0)).expect_err("a kind that is not configured");
    assert!(refused.1.message.contains("kind 77"), "{}", refused.1.message);
    drop(door);
    server.stop();
}
