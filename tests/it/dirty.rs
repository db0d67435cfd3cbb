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

/// More than a bot does before it is found: 16 gaps tell a steady rhythm, 32 any, and nights lie between them.
const BOT_LEARNED_MAX: usize = 24;

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
    assert!(!QUARANTINES || bot < quarantined + BOT_LEARNED_MAX, "{case}: {quarantined} of the bot's {bot} events");
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
        let person = soiled.person(&Id::Int(u64::from(options.users) + 1));
        assert!(person.events < BOT_LEARNED_MAX as u64, "{case}: {} events of the bot are learned", person.events);
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

/// Clean events of one stream that were ranked in both forms of it: how many, and hits among the first ten without and
/// with the dirt.
#[derive(Clone, Copy, Default)]
struct Hits {
    ranked: f64,
    without: f64,
    with: f64,
}

impl Hits {
    /// For the stream without a bot and the one with it, against the same clean one.
    fn of(field: Field, seed: u64) -> [Self; 2] {
        let options =
            FieldOptions { users: 150, items: 400, events: 12_000, ..field_options(field, seed, Dirty::default()) };
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
        [false, true].map(|bot| {
            let soiled: Vec<_> = events.iter().filter(|event| bot || event.label != Label::Bot).collect();
            Self::between(&without, &ranks(&soiled))
        })
    }

    fn between(without: &BTreeMap<u64, u32>, with: &BTreeMap<u64, u32>) -> Self {
        let mut hits = Self::default();
        for (rank, other) in without.iter().filter_map(|(event_id, rank)| Some((rank, with.get(event_id)?))) {
            let [one, two] = [rank, other].map(|rank| f64::from(u8::from(*rank <= 10)));
            hits = Self { ranked: hits.ranked + 1.0, without: hits.without + one, with: hits.with + two };
        }
        hits
    }
}

/// By how many per cent the hit rate over all streams changes, and the standard error of that.
///
/// The change is a ratio of sums over streams, its error that of a ratio estimator (Cochran, *Sampling Techniques*, 1977,
/// 6.3), the stream being what is drawn: events of one stream are ranked by one network, whose luck they share.
fn change(streams: &[Hits]) -> (f64, f64) {
    let sum = |of: fn(&Hits) -> f64| streams.iter().map(of).sum::<f64>();
    let (without, with, count) = (sum(|hits| hits.without), sum(|hits| hits.with), streams.len() as f64);
    let ratio = with / without;
    let squares: f64 = streams.iter().map(|hits| (hits.with - ratio * hits.without).powi(2)).sum();
    (100.0 * (ratio - 1.0), 100.0 * (squares * count / (count - 1.0)).sqrt() / without)
}

#[test]
fn a_change_is_told_with_its_error() {
    let hits = |without, with| Hits { ranked: 1_000.0, without, with };
    let (by, error) = change(&[hits(200.0, 196.0), hits(200.0, 200.0), hits(100.0, 99.0), hits(100.0, 105.0)]);
    // All in all 600 and 600; off by -4, 0, -1, 5: sqrt(42 * 4 / 3) / 600.
    assert!(by.abs() < 1e-9 && (error - 100.0 * 56.0_f64.sqrt() / 600.0).abs() < 1e-9, "{by} {error}");
}

/// What the issue asks for, in per cent: HR@10 on the clean events falls by less.
const LOSS_MAX: f64 = 1.0;

/// `cargo test --test it -- --ignored ranking_stays --nocapture`: HR@10 of `auto` on the clean events of a dirty stream
/// against that of the same events without the dirt, `MIRRA_SEEDS` streams a field (12 by default, 2 at least).
///
/// One event more or less makes other draws, and so another network: of eight hits one becomes a miss, about as many
/// misses become hits, and a stream of 5,300 ranked events tells the change to 1.4 % at best. It takes many to tell 1 %. The
/// loss is less than that if even the lower end of the interval of 95 % (one-sided: 1.64 errors) is.
#[test]
#[ignore = "minutes: every event is ranked and taught in step, three times a stream"]
fn ranking_stays_as_good_through_dirt() {
    let seeds: u64 = std::env::var("MIRRA_SEEDS").map_or(12, |seeds| seeds.parse().expect("MIRRA_SEEDS is a number"));
    assert!(seeds > 1, "an error cannot be told of {seeds} streams a field");
    let of_field = |field: Field| {
        let streams = (1..=seeds).map(|seed| Hits::of(field, seed));
        let told = |hits: &[Hits; 2]| {
            let [bare, bot] = hits.map(|hits| (hits.with / hits.ranked, hits.without / hits.ranked));
            println!("{}: {:.4} of {:.4} without a bot, {:.4} with one", field.name(), bare.0, bare.1, bot.0);
        };
        streams.inspect(told).collect::<Vec<_>>()
    };
    let streams: Vec<[Hits; 2]> = std::thread::scope(|scope| {
        let fields = [Field::Ecommerce, Field::Social].map(|field| scope.spawn(move || of_field(field)));
        fields.into_iter().flat_map(|field| field.join().expect("a field is ranked")).collect()
    });
    let told = [("without a bot", 0), ("with a bot", 1)].map(|(name, at)| {
        let streams: Vec<Hits> = streams.iter().map(|hits| hits[at]).collect();
        let (by, error) = change(&streams);
        let events: f64 = streams.iter().map(|hits| hits.ranked).sum();
        println!("{name}: HR@10 {by:+.2} % (standard error {error:.2}), {} streams, {events} events", streams.len());
        (name, by, error)
    });
    for (name, by, error) in told {
        assert!(by - 1.64 * error > -LOSS_MAX, "{name}: {by:+.2} %, standard error {error:.2}");
    }
}
