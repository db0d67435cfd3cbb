//! The whole person through a real server: parts, history, controls, retracted events, and a schema that changes while it
//! serves; all of it over a kill.

use std::path::Path;

use mirra::base::Id;
use mirra::config::Config;
use mirra::model::{AttributeRule, AttributeType, Kind, Kinds, Schema};
use mirra::wire::Status;
use mirra::wire::commands::*;
use mirra::wire::portrait::Person;
use mirra::wire::types::{Attribute, AttributeValue, Event};
use serde_json::Value;

use crate::support::{Connection, ServeProcess, told as mirra};

const VIEW: u8 = 1;
const PURCHASE: u8 = 4;
/// A kind that comes later.
const WAVE: u8 = 77;
const HOUR_MS: i64 = 3_600_000;

const CONFIG: &str = "[shards]\ncount = 2\n[strategy]\nactive = [\"decay\"]\n[refit]\nautomatic = false\n\
    [user_attributes.age]\ntype = \"number\"\nrange = [0.0, 130.0]\n\
    [user_attributes.home]\ntype = \"text\"\nsensitive = true\n\
    [user_attributes.signup]\ntype = \"date\"\nrequired = true\n\
    [item_attributes.brand]\ntype = \"category\"\nrole = \"facet\"\n\
    [item_attributes.price]\ntype = \"number\"\nrole = \"price\"\n\
    [traits.spent]\nformula = 'sum(\"purchase\")'\n";

const ADA: &str = "ada";

/// As [`mirra`], expects success, gives standard output.
fn good(arguments: &[&str]) -> String {
    let (code, out, error) = mirra(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
    out
}

fn ask(arguments: &[&str]) -> Value {
    serde_json::from_str(&good(&[arguments, &["--json"]].concat())).expect("one object")
}

fn put_item(door: &mut Connection, item: &str, tags: &[&str], brand: &str, price: f64) {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let attribute = |name: &str, value| Attribute { name: name.into(), value };
    let attributes =
        vec![attribute("brand", AttributeValue::Text(brand.into())), attribute("price", AttributeValue::Number(price))];
    let put = ItemUpsert { item: item.into(), time_ms: 0, tags, attributes, durability: 0 };
    door.ask(&put).expect("ITEM_UPSERT");
}

/// Five items, and what Ada and others did with them, a day ago; gives the time before the first event.
fn learn(door: &mut Connection) -> i64 {
    put_item(door, "laugh-1", &["comedy"], "acme", 10.0);
    put_item(door, "laugh-2", &["comedy"], "acme", 20.0);
    put_item(door, "laugh-3", &["comedy"], "zeta", 15.0);
    put_item(door, "dark-1", &["crime"], "zeta", 40.0);
    put_item(door, "dark-2", &["crime", "noir"], "zeta", 80.0);
    // An event counts for what its user's shard knows of the item then: wait until shards have told each other.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let begin_ms = door.ask(&Ping {}).expect("PING").server_ms - 24 * HOUR_MS;
    let event = |event_id: u64, user: &str, item: &str, kind: u8, value: f32| Event {
        event_id: Id::Int(event_id),
        user: user.into(),
        item: item.into(),
        kind,
        value,
        time_ms: begin_ms + 60_000 * event_id as i64,
    };
    let mut events = vec![
        event(1, ADA, "laugh-1", VIEW, 1.0),
        event(2, ADA, "dark-1", VIEW, 1.0),
        event(3, ADA, "laugh-1", PURCHASE, 10.0),
        event(4, ADA, "laugh-2", VIEW, 1.0),
        event(5, ADA, "laugh-2", PURCHASE, 18.5),
    ];
    // What is usual is told of the users of a shard: some of these are in Ada's.
    for other in 0..8 {
        let user = format!("other-{other}");
        let items = [(10, "dark-1"), (11, "dark-2"), (12, "laugh-3")];
        events.extend(items.map(|(id, item)| event(id + 10 * other, &user, item, VIEW, 1.0)));
    }
    let batch = EventBatch { durability: 0, want: 0, events };
    assert_eq!(door.ask(&batch).expect("EVENT_BATCH").accepted, 5 + 24);
    let attribute = |name: &str, value| Attribute { name: name.into(), value };
    let attributes =
        vec![attribute("age", AttributeValue::Number(34.0)), attribute("home", AttributeValue::Text("Lund".into()))];
    door.ask(&UserUpsert { user: ADA.into(), time_ms: 0, attributes, durability: 0 }).expect("USER_UPSERT");
    begin_ms
}

fn person(door: &mut Connection, parts: u16) -> Person {
    door.ask(&ProfileParts { user: ADA.into(), parts, facets_max: 64 }).expect("PROFILE_PARTS")
}

fn control(door: &mut Connection, control: u8, on: bool, name: &str, item: Option<Id>) {
    let (user, name) = (ADA.into(), name.to_owned());
    let wanted = UserControl { user, control, on, name, item, share: 0.0, time_ms: 0, durability: 0 };
    assert_eq!(door.ask(&wanted).expect("USER_CONTROL").durability, 2);
}

/// Items recommended to Ada, met or not.
fn recommended(door: &mut Connection) -> Vec<String> {
    let (allow_items, deny_items, allow_tags, deny_tags) = (vec![], vec![], vec![], vec![]);
    let (user, strategy) = (ADA.into(), String::new());
    let wanted =
        Recommend { user, k: 10, exclude_seen: false, allow_items, deny_items, allow_tags, deny_tags, strategy };
    let mut items: Vec<String> =
        door.ask(&wanted).expect("RECOMMEND").items.iter().map(|scored| scored.item.to_string()).collect();
    items.sort();
    items
}

fn serve(dir: &Path, config: &Path) -> (ServeProcess, Connection) {
    let server = ServeProcess::start(&dir.join("data"), &["--config", config.to_str().expect("UTF-8")]);
    let door = Connection::open(server.addr);
    (server, door)
}

#[test]
fn a_person_is_told_paged_and_ruled_over_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("mirra.toml");
    std::fs::write(&config, CONFIG).expect("written");
    let (server, mut door) = serve(dir.path(), &config);
    let begin_ms = learn(&mut door);
    told(&mut door);
    paged(&mut door, begin_ms);
    from_the_command_line(&server.addr.to_string());

    // Several at once, one of them nobody.
    let users = vec![ADA.into(), "nobody".into(), "other-1".into()];
    let several = door.ask(&ProfilesGet { users, parts: 2, facets_max: 0 }).expect("PROFILES_GET");
    let names: Vec<String> = several.profiles.iter().map(|person| person.user.to_string()).collect();
    assert_eq!((names, several.missing), (vec![ADA.to_owned(), "other-1".to_owned()], vec!["nobody".into()]));
    assert!(several.profiles[0].behaviours.len() == 2 && several.profiles[0].traits.is_empty());

    // Muted at the next request, and still after a kill.
    assert_eq!(recommended(&mut door), ["dark-1", "dark-2", "laugh-1", "laugh-2", "laugh-3"]);
    control(&mut door, 1, true, "crime", None);
    control(&mut door, 2, true, "", Some("laugh-2".into()));
    assert_eq!(recommended(&mut door), ["laugh-1", "laugh-3"]);
    drop(door);
    server.kill();
    let (server, mut door) = serve(dir.path(), &config);
    assert_eq!(recommended(&mut door), ["laugh-1", "laugh-3"]);
    let controls: Vec<String> = person(&mut door, 64).controls.into_iter().map(|of| of.control).collect();
    assert_eq!(controls, ["mute_facet", "mute_item"]);
    control(&mut door, 1, false, "crime", None);
    assert_eq!(recommended(&mut door), ["dark-1", "dark-2", "laugh-1", "laugh-3"]);

    retracted(&mut door);
    paused(&mut door);
    drop(door);
    server.stop();
}

fn told(door: &mut Connection) {
    let ada = person(door, 0);
    assert_eq!((ada.events, ada.half_lives_s.len(), ada.hours.iter().sum::<u32>()), (5, 3, 5));
    let kinds: Vec<_> = ada.behaviours.iter().map(|of| (of.name.as_str(), of.events)).collect();
    assert_eq!(kinds, [("view", 3), ("purchase", 2)]);
    assert!((ada.behaviours[1].sum - 28.5).abs() < 1e-9 && ada.behaviours[1].unit == "money");
    let facet = |name: &str| ada.facets.iter().find(|facet| facet.name == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!((facet("comedy").events, facet("crime").events, facet("brand=acme").events), (4, 1, 4));
    let comedy = facet("comedy");
    assert!(comedy.lift > 1.0 && comedy.lift_low < comedy.lift && comedy.lift < comedy.lift_high, "{comedy:?}");
    assert!(facet("crime").lift < 1.0);
    let value = |name: &str| ada.traits.iter().find(|of| of.name == name).map(|of| of.value);
    assert!((value("spent").expect("of the schema") - 28.5).abs() < 1e-9, "{:?}", ada.traits);
    assert!(value("novelty_seeking").is_some() && value("price_sensitivity").is_some());
    assert_eq!((ada.sessions, ada.missing.as_slice()), (1, &["signup".to_owned()][..]));
    let names = |person: &Person| person.attributes.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ada), ["age"], "what is sensitive is told only when asked for");
    assert_eq!(names(&person(door, 1 + 128)), ["age", "home"]);
    let profile = door.ask(&ProfileGet { user: ADA.into(), recent_max: 0, factors: false }).expect("PROFILE_GET");
    let user = door.ask(&UserGet { user: ADA.into() }).expect("USER_GET");
    for open in [profile.attributes, user.attributes] {
        assert_eq!(open.iter().map(|of| of.name.as_str()).collect::<Vec<_>>(), ["age"], "{open:?}");
    }
}

fn paged(door: &mut Connection, begin_ms: i64) {
    let mut page = |kinds: &[u8], from_ms, to_ms, skip, max| {
        let wanted = ProfileHistory { user: ADA.into(), from_ms, to_ms, kinds: kinds.to_vec(), skip, max };
        let page = door.ask(&wanted).expect("PROFILE_HISTORY");
        let minutes = page.events.iter().map(|event| (event.time_ms - begin_ms) / 60_000).collect::<Vec<_>>();
        (page.matching, minutes)
    };
    assert_eq!(page(&[], 0, 0, 0, 2), (5, vec![5, 4]));
    assert_eq!(page(&[], 0, 0, 2, 2), (5, vec![3, 2]));
    assert_eq!(page(&[], 0, 0, 4, 2), (5, vec![1]));
    assert_eq!(page(&[], 0, 0, 9, 2), (5, vec![]));
    assert_eq!(page(&[PURCHASE], 0, 0, 0, 9), (2, vec![5, 3]));
    assert_eq!(page(&[VIEW], begin_ms + 2 * 60_000, begin_ms + 4 * 60_000, 0, 9), (2, vec![4, 2]));
}

fn from_the_command_line(addr: &str) {
    let text = good(&["profile", ADA, "--addr", addr]);
    let parts =
        ["user ada: 5 events", "missing, though required: signup", "28.50", "comedy", "brand", "spent", "recent"];
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(!text.contains("Lund"), "{text}");
    let traits = good(&["profile", ADA, "--addr", addr, "--part", "traits"]);
    assert!(traits.contains("novelty_seeking") && !traits.contains("comedy"), "{traits}");
    let whole = ask(&["profile", ADA, "--addr", addr, "--sensitive"]);
    assert_eq!(whole["attributes"][1]["value"], "Lund");
    let page = ask(&["history", ADA, "--addr", addr, "--kind", "purchase", "--max", "1"]);
    assert_eq!((&page["matching"], &page["events"][0]["item"]), (&2.into(), &"laugh-2".into()));
    let text = good(&["history", ADA, "--addr", addr, "--skip", "1", "--max", "2"]);
    assert!(text.contains("2 to 3 of 5 retained events") && text.contains("2 more: --skip 3"), "{text}");
    assert!(mirra(&["history", ADA, "--addr", addr, "--kind", "wave"]).2.contains("no kind `wave`"));
    assert_eq!(mirra(&["history", ADA, "--from", "soon"]).0, Some(2));

    let done = ask(&["control", ADA, "less", "comedy", "0.5", "--addr", addr]);
    assert_eq!((&done["done"], &done["durability"]), (&"at most 0.5 of a list is comedy".into(), &"journaled".into()));
    assert!(good(&["profile", ADA, "--addr", addr, "--part", "controls"]).contains("50 % comedy"));
    good(&["control", ADA, "unless", "comedy", "--addr", addr]);
    good(&["control", ADA, "reset", "facets", "--addr", addr]);
    assert!(!good(&["profile", ADA, "--addr", addr]).contains("comedy"));
    good(&["control", ADA, "restore", "facets", "--addr", addr]);
    assert!(good(&["profile", ADA, "--addr", addr]).contains("comedy"));
    let (code, _, error) = mirra(&["retract", ADA, "999", "--addr", addr]);
    assert_eq!(code, Some(1));
    assert_eq!(error, "error: event 999 of user ada: no retained event of this user has this id (NOT_FOUND)\n");
}

fn retracted(door: &mut Connection) {
    let wanted = EventRetract { user: ADA.into(), event_id: Id::Int(5), durability: 0 };
    assert!(door.ask(&wanted).expect("EVENT_RETRACT").exact, "decay is made of what is retained");
    let ada = person(door, 0);
    assert!((ada.behaviours[1].sum - 10.0).abs() < 1e-9, "{:?}", ada.behaviours);
    assert_eq!(ada.facets.iter().find(|facet| facet.name == "comedy").map(|facet| facet.events), Some(3));
    assert_eq!(door.ask(&wanted).expect_err("gone").0, Status::NotFound);
}

fn paused(door: &mut Connection) {
    let refused = |door: &mut Connection| {
        let reply = door.ask(&Rejects { from: 0, max: 0, reason: 0 }).expect("REJECTS");
        reply.counts.iter().find(|each| each.name == "paused").map(|each| each.count)
    };
    let event = |event_id: u64| Event {
        event_id: Id::Int(event_id),
        user: ADA.into(),
        item: "laugh-3".into(),
        kind: VIEW,
        value: 1.0,
        time_ms: 0,
    };
    let before = refused(door).expect("a reason by name");
    control(door, 4, true, "", None);
    let version = person(door, 64).version;
    let (status, error) = door.ask(&EventPut { event: event(100), durability: 0 }).expect_err("nothing is learned");
    assert!(status == Status::NoConsent && error.message.contains("paused"), "{error:?}");
    assert_eq!((refused(door), person(door, 64).version), (Some(before + 1), version));
    control(door, 4, false, "", None);
    door.ask(&EventPut { event: event(100), durability: 0 }).expect("learned again");
}

/// The schema of the test's configuration with these changes.
fn schema(config: &Path, change: impl FnOnce(&mut Schema)) -> Vec<u8> {
    let mut schema = Config::load(Some(config), [], &[]).expect("a configuration").0.schema;
    change(&mut schema);
    schema.to_bytes()
}

#[test]
fn a_schema_changes_while_it_serves_and_stays_over_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("mirra.toml");
    std::fs::write(&config, CONFIG).expect("written");
    let (server, mut door) = serve(dir.path(), &config);
    learn(&mut door);
    let wave = |event_id: u64| Event {
        event_id: Id::Int(event_id),
        user: ADA.into(),
        item: "laugh-3".into(),
        kind: WAVE,
        value: 1.0,
        time_ms: 0,
    };
    let put = |door: &mut Connection, event_id| door.ask(&EventPut { event: wave(event_id), durability: 0 });
    assert!(put(&mut door, 200).expect_err("not known yet").1.message.contains("kind 77"));

    // What would lose its meaning is refused, with advice, and changes nothing.
    let text_for_number = schema(&config, |schema| {
        schema.version = 2;
        schema.user[0] = AttributeRule::new("age", AttributeType::Text);
    });
    for dry_run in [true, false] {
        let wanted = SchemaSet { schema: text_for_number.clone(), dry_run };
        let (status, error) = door.ask(&wanted).expect_err("it cannot follow");
        assert_eq!(status, Status::BadRequest);
        for part in ["attribute `age` of users is a number and would be a text", "with a name of its own"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    // One kind more: first asked, then done, and events of it are taken at once on the connection that is open.
    let more = schema(&config, |schema| {
        schema.version = 2;
        schema.kinds = Kinds::new(schema.kinds.iter().cloned().chain([Kind::new(WAVE, "wave", 1.0)]));
    });
    let version = |door: &mut Connection| door.ask(&SchemaGet {}).expect("SCHEMA_GET").version;
    assert_eq!(door.ask(&SchemaSet { schema: more.clone(), dry_run: true }).expect("it could").version, 1);
    assert!(version(&mut door) == 1 && put(&mut door, 200).is_err());
    assert_eq!(door.ask(&SchemaSet { schema: more.clone(), dry_run: false }).expect("it does").version, 2);
    put(&mut door, 200).expect("taken at once");
    let reply = door.ask(&SchemaGet {}).expect("SCHEMA_GET");
    assert_eq!((reply.version, reply.schema), (2, more));

    // The file is the old one: the data know better.
    drop(door);
    server.kill();
    let (server, mut door) = serve(dir.path(), &config);
    assert_eq!(version(&mut door), 2);
    assert!(door.hello.kinds.iter().any(|kind| kind.name == "wave"));
    put(&mut door, 201).expect("still known");
    let waves = person(&mut door, 2).behaviours.into_iter().find(|of| of.name == "wave").map(|of| of.events);
    assert_eq!(waves, Some(2));
    drop(door);
    schema_from_the_command_line(&server.addr.to_string(), dir.path());
    server.stop();
}

fn schema_from_the_command_line(addr: &str, dir: &Path) {
    let shown = good(&["schema", "show", "--addr", addr]);
    assert!(shown.contains("[kinds.wave]\ncode = 77\n") && shown.contains("[item_attributes.price]"), "{shown}");
    assert_eq!(ask(&["schema", "show", "--addr", addr])["user_attributes"]["home"]["sensitive"], true);
    let file = dir.join("next.toml");
    let path = file.to_str().expect("UTF-8");
    let write = |text: String| std::fs::write(&file, text).expect("written");

    write(shown.clone());
    assert!(good(&["schema", "check", path, "--addr", addr]).contains("nothing differs from version 2"));
    write(shown.replace("code = 77\nweight = 1.0", "code = 77\nweight = 3.0"));
    let (code, _, error) = mirra(&["schema", "apply", path, "--addr", addr]);
    assert!(code == Some(1) && error.contains("raise [schema] version"), "{error}");
    let next =
        shown.replace("code = 77\nweight = 1.0", "code = 77\nweight = 3.0").replace("version = 2", "version = 3");
    write(next.clone());
    let told = good(&["schema", "check", path, "--addr", addr]);
    assert!(
        told.contains("version 3 can follow version 2") && told.contains("~ kinds.wave.weight: 1.0 -> 3.0"),
        "{told}"
    );
    assert_eq!(ask(&["schema", "show", "--addr", addr])["schema"]["version"], 2, "checked only");
    let done = ask(&["schema", "apply", path, "--addr", addr]);
    assert_eq!(
        (&done["applied"], &done["to"], done["changes"].as_array().map(Vec::len)),
        (&true.into(), &3.into(), Some(2))
    );
    assert_eq!(ask(&["schema", "show", "--addr", addr])["kinds"]["wave"]["weight"], 3.0);

    write(next.replace("version = 3", "version = 4").replace("unit = \"money\"", "unit = \"seconds\""));
    let (code, _, error) = mirra(&["schema", "apply", path, "--addr", addr]);
    assert_eq!(code, Some(1));
    for part in ["values of kind `purchase` would mean something else", "add a kind with a code of its own instead"] {
        assert!(error.contains(part), "{error}");
    }
    write("[schema]\nversoin = 5\n".to_owned());
    let (code, _, error) = mirra(&["schema", "check", path, "--addr", addr]);
    assert!(code == Some(1) && error.contains("schema.version"), "{error}");
}
