//! Dirty streams through a server: what is wrong is refused under its reason, to the event, and the people whom a server
//! knows from a dirty stream are those that it knows from the clean one.

use std::collections::{BTreeMap, BTreeSet};

use mirra::base::Id;
use mirra::cli::setup;
use mirra::engine::Options;
use mirra::ingest::fields::{Dirty, Field, FieldEvent, FieldOptions, Label, generate};
use mirra::learn::auto::Training;
use mirra::model::Schema;
use mirra::person::traits::NAMES;
use mirra::state;
use mirra::wire::Status;
use mirra::wire::commands::{EventBatch, ItemUpsert, ProfileParts, Rejects, RejectsReply, UserUpsert};
use mirra::wire::portrait::{FacetAffinity, Person};
use mirra::wire::types::EventResult;

use crate::planted::{config, sent, state_options, stated};
use crate::support::{Connection, TestServer, options};

/// Whether the configurations of the fields quarantine users that behave like machines.
const QUARANTINES: bool = true;

/// The people of a field, and a server that knows what they are.
struct Served {
    server: TestServer,
    door: Connection,
    schema: Schema,
    _dir: tempfile::TempDir,
}

fn field_options(field: Field, seed: u64, dirty: Dirty) -> FieldOptions {
    FieldOptions {
        users: 60,
        items: 300,
        events: 9_000,
        days: 40.0,
        seed,
        dirty: Some(dirty),
        ..FieldOptions::new(field)
    }
}

impl Served {
    /// A server of one shard with these options of its state, told of all users and items.
    fn start(field: &FieldOptions, state: state::Options) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let schema = state.schema.clone();
        let queue_events_max = setup::engine_options(&config(field.field), dir.path()).queue_events_max;
        let server = TestServer::start(Options { state, queue_events_max, ..options(dir.path()) });
        let mut door = Connection::open(server.addr);
        let (data, time_ms) = (generate(field), field.start_ms);
        for user in data.users {
            let (user, attributes) = (user.id, stated(&user.attributes));
            door.ask(&UserUpsert { user, time_ms, attributes, durability: 1 }).expect("USER_UPSERT");
        }
        for item in data.items {
            let (item, tags, attributes) = (item.id, item.tags, stated(&item.attributes));
            door.ask(&ItemUpsert { item, time_ms, tags, attributes, durability: 1 }).expect("ITEM_UPSERT");
        }
        Self { server, door, schema, _dir: dir }
    }

    /// Sends events in batches; gives how each ended.
    fn send<'a>(&mut self, events: impl IntoIterator<Item = &'a FieldEvent>) -> Vec<EventResult> {
        let events: Vec<_> = events.into_iter().map(|event| sent(event, &self.schema)).collect();
        let mut results = Vec::new();
        for batch in events.chunks(400) {
            let reply = self.door.ask(&EventBatch { durability: 1, want: 1, events: batch.to_vec() }).expect("a batch");
            assert_eq!(reply.accepted + reply.duplicates + reply.rejected, batch.len() as u32);
            results.extend(reply.results);
        }
        assert_eq!(results.len(), events.len());
        results
    }

    fn rejects(&mut self, from: u64) -> RejectsReply {
        self.door.ask(&Rejects { from, max: 4_096, reason: 0 }).expect("REJECTS")
    }

    fn person(&mut self, user: &Id) -> Person {
        self.door.ask(&ProfileParts { user: user.clone(), parts: 255, facets_max: 1_000 }).expect("PROFILE_PARTS")
    }

    fn stop(self) {
        drop(self.door);
        self.server.stop();
    }
}

/// Under which reason an event is refused at the door.
fn reason(event: &FieldEvent) -> Option<&'static str> {
    match event.label {
        Label::BadValue if event.row.value.is_nan() => Some("value_not_finite"),
        Label::BadValue => Some("value_out_of_range"),
        Label::UnknownKind => Some("unknown_kind"),
        Label::Clean | Label::Duplicate | Label::Late | Label::Bot => None,
    }
}

/// What people did, without the dirt: each event once, when it happened.
fn cleaned(events: &[FieldEvent]) -> Vec<&FieldEvent> {
    let mut clean: Vec<&FieldEvent> =
        events.iter().filter(|event| matches!(event.label, Label::Clean | Label::Late)).collect();
    clean.sort_by_key(|event| event.row.time_ms);
    clean
}

/// Every label's events ended as they should.
fn assert_ended(events: &[FieldEvent], results: &[EventResult], case: &str) {
    let mut quarantined = 0;
    for (event, result) in events.iter().zip(results) {
        let status = Status::from_number(result.status).expect("a known status");
        let right = match event.label {
            Label::Clean | Label::Late => status == Status::Ok,
            Label::Duplicate => status == Status::Duplicate,
            Label::BadValue | Label::UnknownKind => !status.is_success(),
            Label::Bot => status == Status::Ok || QUARANTINES && status == Status::Quarantined,
        };
        quarantined += usize::from(status == Status::Quarantined);
        assert!(right, "{case}: {event:?} ended as {status:?}");
    }
    let bot = events.iter().filter(|event| event.label == Label::Bot).count();
    println!("{case}: {quarantined} of the bot's {bot} events quarantined");
    assert!(!QUARANTINES || bot == 0 || 2 * quarantined > bot, "{case}: {quarantined} of the bot's {bot} events");
}

/// Every refused event is counted and kept under its reason, and no other is.
fn assert_rejects(served: &mut Served, events: &[FieldEvent], case: &str) {
    let mut expected: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for event in events {
        if let Some(reason) = reason(event) {
            expected.entry(reason).or_default().insert(event.event_id);
        }
    }
    let (mut rows, mut from) = (Vec::new(), 0);
    let counts = loop {
        let reply = served.rejects(from);
        rows.extend(reply.rejects);
        from = reply.next;
        if from == 0 {
            assert_eq!((reply.dropped, reply.damaged), (0, 0), "{case}");
            break reply.counts;
        }
    };
    let mut kept: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for row in &rows {
        let name = mirra::model::RejectReason::from_code(row.reason).expect("a known reason").name();
        let Id::Int(event_id) = row.event.event_id else { panic!("{row:?}") };
        kept.entry(name).or_default().insert(event_id);
    }
    for count in &counts {
        if QUARANTINES && count.name == "quarantined" {
            continue; // some of the bot's events, all of them learned or refused: `assert_ended`
        }
        let planted = expected.get(count.name.as_str()).map_or(0, BTreeSet::len) as u64;
        assert_eq!(count.count, planted, "{case}: {}", count.name);
        assert_eq!(kept.get(count.name.as_str()), expected.get(count.name.as_str()), "{case}: {}", count.name);
    }
    let planted: usize = expected.values().map(BTreeSet::len).sum();
    assert!(expected.len() == 3 && planted > 100, "{case}: {planted} planted under {} reasons", expected.len());
}

/// What a person did, told so that it is the same whenever it is asked for and in whatever order events came: nothing of
/// sessions where some events are retained no more. Facets
/// stand against what is usual among all users: their lifts only where these are the same.
fn facts(person: &Person, schema: &Schema, end_ms: i64, with_lifts: bool) -> String {
    // Fading sums as they were at the end of the stream.
    let then = |value: f64, half_life_s: f64| {
        let back = ((person.at_ms - end_ms) as f64 / 1_000.0 / half_life_s).exp2();
        // What has faded to nothing is not brought back.
        if value.abs() < 1e-200 || !back.is_finite() { String::new() } else { format!("{:.6e}", value * back) }
    };
    let halves = |kind: u8| {
        let own = schema.kinds.get(kind).map_or(0.0, |kind| kind.half_life_s);
        let [short, middle, long] = schema.half_lives_s;
        [short, middle, if own > 0.0 { own } else { long }]
    };
    let mut text = format!("{} {} {} ", person.events, person.first_ms, person.last_ms);
    text += &format!("{:?} {:?} {:?} ", person.attributes, person.hours, person.days);
    text += &format!("{} {}\n", person.retained, person.facets_dropped);
    if u64::from(person.retained) == person.events {
        let session = (person.sessions, person.newest_begin_ms, person.newest_length_ms, person.newest_events);
        text += &format!("{session:?} {:.9} {:.9}\n", person.session_length_ms, person.session_return_ms);
    }
    for sums in &person.behaviours {
        text += &format!("{} {} {} {} ", sums.name, sums.unit, sums.events, sums.last_ms);
        text += &format!("{:.9e} {:.9e} {:.9e} ", sums.sum, sums.mean, sums.deviation);
        let faded = sums.counts.iter().chain(&sums.amounts).zip([halves(sums.kind), halves(sums.kind)].concat());
        text += &format!("{:?}\n", faded.map(|(value, half)| then(*value, half)).collect::<Vec<_>>());
    }
    let mut facets: Vec<&FacetAffinity> = person.facets.iter().collect();
    facets.sort_by(|one, other| one.name.cmp(&other.name));
    for facet in facets {
        text += &format!("{} {} {:.9e} ", facet.name, facet.events, facet.liked);
        text += &then(facet.liked_middle, schema.half_lives_s[1]);
        text += &then(facet.liked_long, schema.half_lives_s[2]);
        if with_lifts {
            text += &format!(" {:.9e} {:.9e} {:.9e} {:.9e}", facet.share, facet.lift, facet.lift_low, facet.lift_high);
        }
        text += "\n";
    }
    for held in person.traits.iter().filter(|held| held.order_free && NAMES.contains(&held.name.as_str())) {
        text += &format!("{} {:.9} {:.9} {}\n", held.name, held.value, held.deviation, held.evidence);
    }
    text
}

/// The dirty stream to one server, the clean one to another: the same people.
fn the_same_people(field: Field, seed: u64, dirty: Dirty) {
    let case = format!("{} seed {seed}", field.name());
    let options = field_options(field, seed, dirty);
    let events: Vec<FieldEvent> = generate(&options).events.collect();
    let clean = cleaned(&events);
    let end_ms = clean.last().expect("events").row.time_ms;
    let state = state_options(field, &["popularity"]);

    let mut soiled = Served::start(&options, state.clone());
    let results = soiled.send(&events);
    assert_ended(&events, &results, &case);
    assert_rejects(&mut soiled, &events, &case);
    let mut tidy = Served::start(&options, state);
    let results = tidy.send(clean.iter().copied());
    assert!(results.iter().all(|result| result.status == Status::Ok.number()), "{case}: a clean event is refused");

    let late: BTreeSet<&Id> =
        events.iter().filter(|event| event.label == Label::Late).map(|event| &event.row.user).collect();
    assert!(late.len() > 20, "{case}: {} users have late events", late.len());
    let with_lifts = dirty.bot == 0.0;
    for number in 1..=u64::from(options.users) {
        let id = Id::Int(number);
        let told = [&mut soiled, &mut tidy].map(|served| {
            let person = served.person(&id);
            facts(&person, &served.schema, end_ms, with_lifts)
        });
        assert_eq!(told[0], told[1], "{case}: user {number}");
    }
    if QUARANTINES && dirty.bot > 0.0 {
        // What the bot did before it was found counts for little.
        let bot = events.iter().filter(|event| event.label == Label::Bot).count() as u64;
        let person = soiled.person(&Id::Int(u64::from(options.users) + 1));
        assert!(2 * person.events < bot, "{case}: {} of {bot} events of the bot are learned", person.events);
    }
    soiled.stop();
    tidy.stop();
}

#[test]
fn people_are_the_same_through_dirt() {
    for (field, seed) in Field::ALL.into_iter().zip(1..) {
        the_same_people(field, seed, Dirty::default());
    }
}

#[test]
fn lifts_are_the_same_too_where_no_machine_has_a_say() {
    for field in [Field::Ecommerce, Field::Media] {
        the_same_people(field, 9, Dirty { bot: 0.0, ..Dirty::default() });
    }
}

/// Clean events that were ranked in both streams: how many, hits among the first ten without and with the dirt, and hits
/// of one stream alone.
#[derive(Clone, Copy, Default)]
struct Hits {
    ranked: f64,
    without: f64,
    with: f64,
    apart: f64,
}

impl Hits {
    fn of(field: Field, seed: u64, dirty: Dirty) -> Self {
        let options = FieldOptions { users: 150, items: 400, events: 12_000, ..field_options(field, seed, dirty) };
        let events: Vec<FieldEvent> = generate(&options).events.collect();
        let state = state::Options { training: Training::InStep, rank_every: 1, ..state_options(field, &["auto"]) };
        let ranks = |events: &[&FieldEvent]| -> BTreeMap<u64, u32> {
            let mut served = Served::start(&options, state.clone());
            let results = served.send(events.iter().copied());
            served.stop();
            let clean = events.iter().zip(results).filter(|(event, _)| event.label == Label::Clean);
            let ranked = clean.filter(|(_, result)| result.rank_before > 0);
            ranked.map(|(event, result)| (event.event_id, result.rank_before)).collect()
        };
        let without = ranks(&cleaned(&events));
        let with = ranks(&events.iter().collect::<Vec<_>>());
        let mut hits = Self::default();
        for (event_id, rank) in &without {
            let Some(other) = with.get(event_id) else { continue };
            let [one, two] = [rank, other].map(|rank| f64::from(u8::from(*rank <= 10)));
            hits.add(Self { ranked: 1.0, without: one, with: two, apart: (one - two).abs() });
        }
        hits
    }

    fn add(&mut self, more: Self) {
        self.ranked += more.ranked;
        self.without += more.without;
        self.with += more.with;
        self.apart += more.apart;
    }

    /// By how many per cent the hit rate changes.
    fn change(&self) -> f64 {
        100.0 * (self.with / self.without - 1.0)
    }

    /// With the deviation of the change (McNemar 1947: hits of one stream alone are as heads and tails).
    fn print(&self, what: &str) {
        let (without, with) = (self.without / self.ranked, self.with / self.ranked);
        let deviation = 100.0 * self.apart.sqrt() / self.without;
        println!(
            "{what}: HR@10 {without:.4} clean, {with:.4} dirty, {:+.2} % (deviation {deviation:.2}), {} events",
            self.change(),
            self.ranked
        );
    }
}

/// `cargo test --test it -- --ignored ranking_stays --nocapture`: HR@10 of `auto` on the clean events of a dirty stream
/// must be that of the same events without the dirt within 1 % relative. `MIRRA_SEEDS` streams a field, 3 by default.
#[test]
#[ignore = "minutes: every event is ranked and taught in step, twice"]
fn ranking_stays_as_good_through_dirt() {
    let seeds = std::env::var("MIRRA_SEEDS").map_or(3, |seeds| seeds.parse().expect("MIRRA_SEEDS is a number"));
    let cases = [("without a bot", Dirty { bot: 0.0, ..Dirty::default() }), ("with a bot", Dirty::default())];
    let mut sums = [Hits::default(); 2];
    for field in [Field::Ecommerce, Field::Social] {
        for seed in 1..=seeds {
            for ((name, dirty), sum) in cases.iter().zip(&mut sums) {
                let hits = Hits::of(field, seed, *dirty);
                hits.print(&format!("{} seed {seed} {name}", field.name()));
                sum.add(hits);
            }
        }
    }
    for ((name, dirty), sum) in cases.iter().zip(&sums) {
        sum.print(&format!("all {name}"));
        // What a machine does is learned until it is quarantined.
        assert!(sum.change().abs() < 1.0 || dirty.bot > 0.0 && !QUARANTINES, "{name}: {:+.2} %", sum.change());
    }
}
