//! The five fields: their configurations load, fit what is generated, and serve it; `mirra generate` as people run it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mirra::base::Id;
use mirra::ingest::Row;
use mirra::ingest::fields::{Field, FieldData, FieldModality, FieldOptions, ItemRow, generate};
use mirra::model::{Role, Schema, Value};
use mirra::wire::commands::{ItemUpsert, ProfileEmbedding, ProfileParts, UserUpsert};
use toml::Table;

use crate::planted::{config, config_path, stated};
use crate::support::{Connection, ServeProcess, run as mirra};

fn written(field: Field) -> Table {
    fs::read_to_string(config_path(field)).expect("the file is there").parse().expect("it is TOML")
}

fn section<'a>(table: &'a Table, name: &str) -> &'a Table {
    table.get(name).and_then(toml::Value::as_table).unwrap_or_else(|| panic!("no [{name}]"))
}

/// Runs it with `--json`, expects success, gives the only object.
fn ask(arguments: &[&str]) -> serde_json::Value {
    let output = mirra(&[arguments, &["--json"]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).expect("one object")
}

#[test]
fn every_configuration_loads() {
    for field in Field::ALL {
        let config = config(field);
        assert_eq!(config.schema.check_sound(), Ok(()), "{}: a file says what a request may not", field.name());
        for kind in field.kinds() {
            let found = config.schema.kinds.iter().find(|held| held.name == kind.name);
            let found = found.unwrap_or_else(|| panic!("{} has no kind {}", field.name(), kind.name));
            assert_eq!(found.range, kind.range, "{} {}", field.name(), kind.name);
        }
        let declared: Vec<_> = config.schema.modalities().collect();
        let made: Vec<_> = field.modalities().iter().map(|modality| (modality.name, modality.dim)).collect();
        assert_eq!(declared, made, "{}", field.name());
        assert!(config.strategy.active.len() > 1, "{}: nothing to compare auto with", field.name());
    }
}

#[test]
fn kinds_are_declared_in_full_and_no_code_stands_for_two() {
    // Codes of the built-in kinds, which stay beside those of a file.
    let built_in: Table = mirra::config::BUILT_IN.parse().expect("the built-in file is TOML");
    for field in Field::ALL {
        let table = written(field);
        let mut codes = BTreeSet::new();
        let mut all = section(&built_in, "kinds").clone();
        all.extend(section(&table, "kinds").clone());
        for (name, kind) in &all {
            let code = kind.get("code").and_then(toml::Value::as_integer).expect("a code");
            assert!((0..256).contains(&code) && codes.insert(code), "{}: kinds.{name}.code {code}", field.name());
        }
        for (name, kind) in section(&table, "kinds") {
            let keys: Vec<&str> = kind.as_table().expect("a table").keys().map(String::as_str).collect();
            let mut expected = ["code", "explicit", "half_life_s", "range", "sign", "unit", "weight"];
            expected.sort_unstable();
            assert_eq!(keys, expected, "{} kinds.{name}", field.name());
            let sign = kind.get("sign").and_then(toml::Value::as_integer);
            assert!(matches!(sign, Some(-1..=1)), "{} kinds.{name}.sign {sign:?}", field.name());
            let made = field.kinds().iter().find(|kind| kind.name == name);
            let range: Option<Vec<f64>> =
                made.map(|kind| kind.range.map_or_else(Vec::new, |(low, high)| vec![low.into(), high.into()]));
            let stated = kind.get("range").and_then(toml::Value::as_array).expect("a range");
            let stated: Vec<f64> = stated.iter().filter_map(toml::Value::as_float).collect();
            assert_eq!(Some(stated), range, "{} kinds.{name}.range", field.name());
        }
    }
}

/// What an attribute's declaration says against a value.
fn refusal(declared: &toml::Value, value: &Value) -> Option<String> {
    let list = |key: &str| declared.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let range: Vec<f64> = list("range").iter().filter_map(toml::Value::as_float).collect();
    let values: Vec<String> = list("values").iter().filter_map(toml::Value::as_str).map(str::to_owned).collect();
    let kind = declared.get("type").and_then(toml::Value::as_str).unwrap_or_default();
    let fits = match (kind, value) {
        ("number", Value::Number(number)) => range.is_empty() || (range[0]..=range[1]).contains(number),
        ("category", Value::Text(text)) => values.is_empty() || values.contains(text),
        ("text", Value::Text(_)) | ("boolean", Value::Bool(_)) | ("list", Value::List(_)) => true,
        // YYYY-MM-DD, or milliseconds.
        ("date", Value::Text(text)) => {
            let parts: Vec<u32> = text.split('-').filter_map(|part| part.parse().ok()).collect();
            text.len() == 10 && matches!(parts[..], [1900..=2100, 1..=12, 1..=31])
        }
        ("date", Value::Number(time_ms)) => time_ms.fract() == 0.0 && *time_ms > 0.0,
        ("geo", Value::Text(text)) => {
            let parts: Vec<f64> = text.split(',').filter_map(|part| part.parse().ok()).collect();
            matches!(parts[..], [latitude, longitude] if latitude.abs() <= 90.0 && longitude.abs() <= 180.0)
        }
        _ => false,
    };
    (!fits).then(|| format!("{value:?} is no {kind} of {range:?} {values:?}"))
}

#[test]
fn attributes_are_declared_and_generated_as_declared() {
    for field in Field::ALL {
        let table = written(field);
        let data = generate(&FieldOptions { users: 300, items: 900, events: 1, ..FieldOptions::new(field) });
        let users: Vec<_> = data.users.iter().map(|user| &user.attributes).collect();
        let items: Vec<_> = data.items.iter().map(|item| &item.attributes).collect();
        let (of_users, of_items) = (field.user_attributes(), field.item_attributes());
        for (name, columns, rows) in [("user_attributes", of_users, users), ("item_attributes", of_items, items)] {
            let declared = section(&table, name);
            let names: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
            assert_eq!(names, columns.iter().copied().collect(), "{} [{name}]", field.name());
            for attributes in rows {
                for (attribute, value) in attributes {
                    let refused = refusal(&declared[*attribute], value);
                    assert!(refused.is_none(), "{} {name}.{attribute}: {}", field.name(), refused.unwrap_or_default());
                }
                for (attribute, declaration) in declared {
                    let required = declaration.get("required").and_then(toml::Value::as_bool).expect("required");
                    let there = attributes.iter().any(|(held, _)| held == attribute);
                    assert!(there || !required, "{} {name}.{attribute} is required: {attributes:?}", field.name());
                }
            }
        }
        let traits = section(&table, "traits").len();
        assert!((2..=4).contains(&traits), "{}: {traits} traits", field.name());
    }
}

#[test]
fn every_field_is_served_by_its_configuration_alone() {
    for field in Field::ALL {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let out = scratch.path().join("files");
        let out = out.to_str().expect("a plain path");
        let config = config_path(field);
        let sizes = ["--users", "60", "--items", "200", "--events", "2000", "--days", "20"];
        ask(&[&["generate", field.name(), "--out", out, "--vectors"][..], &sizes].concat());
        let arguments = ["--shards", "1", "--config", config.to_str().expect("a plain path")];
        let server = ServeProcess::start(&scratch.path().join("data"), &arguments);
        let options = FieldOptions { users: 60, items: 200, events: 2_000, days: 20.0, ..FieldOptions::new(field) };
        let data = generate(&options);
        let mut door = Connection::open(server.addr);
        tell(&mut door, &data, options.start_ms);
        let addr = server.addr.to_string();
        for FieldModality { name, .. } in field.modalities() {
            let vectors = format!("{out}/{name}.safetensors");
            let report = ask(&["load", "embeddings", name, &vectors, "--addr", &addr]);
            assert!(report["loaded"].as_u64() > Some(150) && report["refused"] == 0, "{report}");
        }
        let report = ask(&["replay", &format!("{out}/events.tsv.gz"), "--addr", &addr]);
        assert_eq!((&report["accepted"], &report["rejected"]), (&2_000.into(), &0.into()), "{report}");
        assert_eq!(report["files"][0]["unknown_kinds"], serde_json::json!({}), "{report}");
        is_told(&mut door, field, data, options.start_ms);
        drop(door);
        server.stop();
    }
}

/// States all that is known of users and items.
fn tell(door: &mut Connection, data: &FieldData, time_ms: i64) {
    for user in &data.users {
        let (user, attributes) = (user.id.clone(), stated(&user.attributes));
        door.ask(&UserUpsert { user, time_ms, attributes, durability: 1 }).expect("USER_UPSERT");
    }
    for item in &data.items {
        let (tags, attributes) = (item.tags.clone(), stated(&item.attributes));
        let item = item.id.clone();
        door.ask(&ItemUpsert { item, time_ms, tags, attributes, durability: 1 }).expect("ITEM_UPSERT");
    }
}

/// What a profile tells of the user with the most events is what was stated and done.
fn is_told(door: &mut Connection, field: Field, data: FieldData, time_ms: i64) {
    let name = field.name();
    let mut histories: BTreeMap<Id, Vec<Row>> = BTreeMap::new();
    data.events.for_each(|event| histories.entry(event.row.user.clone()).or_default().push(event.row));
    let (user, rows) = histories.into_iter().max_by_key(|(_, rows)| rows.len()).expect("users");
    let (table, schema) = (written(field), config(field).schema);
    let person = door.ask(&ProfileParts { user: user.clone(), parts: 255, facets_max: 1_000 }).expect("PROFILE_PARTS");
    assert_eq!((person.events, person.last_ms), (rows.len() as u64, rows[rows.len() - 1].time_ms), "{name}");

    let stated_of = data.users.iter().find(|row| row.id == user).expect("generated").attributes.clone();
    for (attribute, value) in stated_of {
        let rule = schema.user_rule(attribute).expect("declared");
        let told = person.attributes.iter().find(|told| told.name == attribute);
        // A date may be told as milliseconds; all else is told as it was stated.
        let value = schema.check_user(attribute, value).expect("it fits");
        let expires_ms = if rule.expiry_ms > 0 { time_ms + rule.expiry_ms } else { 0 };
        if expires_ms > 0 && expires_ms <= person.at_ms {
            assert_eq!(told, None, "{name} {attribute} has run out");
            continue;
        }
        let told = told.unwrap_or_else(|| panic!("{name}: {attribute} is not told"));
        let expected = (&stated(&[(attribute, value)])[0].value.clone(), time_ms, expires_ms, rule.sensitive);
        assert_eq!((&told.value, told.time_ms, told.expires_ms, told.sensitive), expected, "{name} {attribute}");
    }
    assert_eq!(person.missing, [""; 0], "{name}");
    let plain = door.ask(&ProfileParts { user: user.clone(), parts: 0, facets_max: 10 }).expect("PROFILE_PARTS");
    assert!(plain.attributes.iter().all(|told| !told.sensitive), "{name}: {:?}", plain.attributes);
    let open = person.attributes.iter().filter(|told| !told.sensitive).count();
    assert_eq!((plain.attributes.len(), plain.facets.len()), (open, person.facets.len().min(10)), "{name}");

    for sums in &person.behaviours {
        let of: Vec<f64> =
            rows.iter().filter(|row| row.kind.as_ref() == Some(&sums.name)).map(|row| f64::from(row.value)).collect();
        let unit = section(&table, "kinds").get(&sums.name).and_then(|kind| kind.get("unit")?.as_str());
        assert_eq!(unit, Some(sums.unit.as_str()), "{name} {}", sums.name);
        assert_eq!(sums.events, of.len() as u64, "{name} {}", sums.name);
        let sum: f64 = of.iter().sum();
        assert!((sums.sum - sum).abs() <= 1e-5 * sum.abs().max(1.0), "{name} {}: {} {sum}", sums.name, sums.sum);
    }
    assert_eq!(person.behaviours.iter().map(|sums| sums.events).sum::<u64>(), person.events, "{name}");

    let items: BTreeMap<&Id, &ItemRow> = data.items.iter().map(|item| (&item.id, item)).collect();
    let mut facets: BTreeMap<String, u32> = BTreeMap::new();
    for row in &rows {
        for facet in facets_of(items[&row.item], &schema) {
            *facets.entry(facet).or_default() += 1;
        }
    }
    let told: BTreeMap<String, u32> = person.facets.iter().map(|facet| (facet.name.clone(), facet.events)).collect();
    if person.facets_dropped == 0 {
        assert_eq!(told, facets, "{name}");
    } else {
        assert!(told.iter().all(|(facet, events)| events <= &facets[facet]), "{name}: {told:?} of {facets:?}");
    }
    let taste = door.ask(&ProfileEmbedding { user, vector: false, nearest: 3 }).expect("PROFILE_EMBEDDING");
    let told: Vec<&str> = taste.modalities.iter().map(|told| told.name.as_str()).collect();
    assert_eq!(told, field.modalities().iter().map(|modality| modality.name).collect::<Vec<_>>(), "{name}");
    for told in &taste.modalities {
        assert!(told.evidence > 0 && told.agreement > 0.3, "{name}: {told:?}");
    }
    assert_eq!(taste.nearest.len(), if told.is_empty() { 0 } else { 3 }, "{name}");

    let traits: BTreeSet<&str> = person.traits.iter().map(|told| told.name.as_str()).collect();
    let own = section(&table, "traits").keys().map(String::as_str);
    for trait_ in own.chain(["novelty_seeking", "breadth", "daily_rhythm"]) {
        assert!(traits.contains(trait_), "{name}: {trait_} is not among {traits:?}");
    }
}

/// The tags of an item, and those of its attributes that count like tags.
fn facets_of(item: &ItemRow, schema: &Schema) -> BTreeSet<String> {
    let role = |name: &str| schema.item.iter().find(|rule| rule.name == name).map(|rule| rule.role);
    let named = item.attributes.iter().filter(|(name, _)| role(name) == Some(Role::Facet));
    let of = named.flat_map(|(name, value)| match value {
        Value::Text(text) => vec![format!("{name}={text}")],
        Value::List(texts) => texts.iter().map(|text| format!("{name}={text}")).collect(),
        Value::Number(_) | Value::Bool(_) | Value::Removed => Vec::new(),
    });
    item.tags.iter().cloned().chain(of).collect()
}

#[test]
fn duplicates_are_learned_once_and_bad_values_not_at_all() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let out = scratch.path().join("files");
    let out = out.to_str().expect("a plain path");
    let sizes = ["--users", "100", "--items", "200", "--events", "5000", "--days", "20", "--dirty"];
    let made = ask(&[&["generate", "ecommerce", "--out", out][..], &sizes].concat());
    // The built-in kinds: what a shop sends beside them goes in as `view`.
    let server = ServeProcess::start(&scratch.path().join("data"), &["--shards", "1"]);
    let events = format!("{out}/events.tsv.gz");
    let report = ask(&["replay", &events, "--kind", "view", "--addr", &server.addr.to_string()]);
    server.stop();
    let label = |name: &str| made["labels"][name].as_u64().expect("a count");
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert_eq!(count("duplicates"), label("duplicate"), "{made} {report}");
    // Those that are NaN; the others are out of a range that this configuration does not state.
    assert!((1..=label("bad_value")).contains(&count("bad_rows")), "{made} {report}");
    assert_eq!(count("accepted") + count("duplicates") + count("bad_rows"), count("read"), "{report}");
    assert!(report["files"][0]["unknown_kinds"]["veiw"].as_u64() > Some(0), "{report}");
}

#[test]
fn generate_writes_the_same_bytes_again_and_over_nothing() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let folder = |name: &str| scratch.path().join(name).to_str().expect("a plain path").to_owned();
    let sizes =
        ["--users", "50", "--items", "100", "--events", "3000", "--days", "30", "--dirty", "--truth", "--vectors"];
    let make = |out: &str, more: &[&str]| [&["generate", "media", "--out", out][..], &sizes, more].concat().join(" ");
    let run = |line: &str| ask(&line.split(' ').collect::<Vec<_>>());
    let (one, two, other) = (folder("one"), folder("two"), folder("other"));
    let report = run(&make(&one, &[]));
    run(&make(&two, &[]));
    run(&make(&other, &["--seed", "2"]));
    let names =
        ["users.tsv.gz", "items.tsv.gz", "events.tsv.gz", "image.safetensors", "text.safetensors", "truth.tsv.gz"];
    for (at, name) in names.iter().enumerate() {
        let read = |folder: &str| fs::read(Path::new(folder).join(name)).expect("the file is there");
        assert_eq!(read(&one), read(&two), "{name}");
        assert_ne!(read(&one), read(&other), "{name}");
        assert_eq!(report["files"][at]["bytes"], read(&one).len() as u64, "{report}");
    }
    let labels = report["labels"].as_object().expect("labels");
    let rows: u64 = labels.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!((labels.len(), Some(rows)), (6, report["files"][2]["rows"].as_u64()), "{report}");
    let again = make(&one, &[]);
    let refused = mirra(&again.split(' ').collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("users.tsv.gz is there already") && told.contains("--force"), "{told}");
    run(&make(&one, &["--force"]));
    assert_eq!(fs::read_dir(&one).expect("a folder").count(), names.len(), "nothing half-written is left");
}

#[test]
fn generate_tells_what_to_do_next_and_refuses_what_is_no_field() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let out = scratch.path().to_str().expect("a plain path");
    let output = mirra(&["generate", "health", "--out", out, "--events", "500", "--users", "20", "--items", "60"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "mirra serve --config examples/config/health.toml --data-dir",
        "mirra load users",
        "mirra replay",
        "500  events",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    for arguments in [
        &["generate", "farming", "--out", out][..],
        &["generate", "media"],
        &["generate", "media", "--out", out, "--churn", "2"],
        &["generate", "media", "--out", out, "--items", "3"],
    ] {
        assert_eq!(mirra(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
