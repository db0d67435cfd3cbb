//! What must hold of every field: the same seed, the same bytes; a clean stream is clean; a dirty one as dirty as asked.

use std::collections::{BTreeMap, BTreeSet};

use super::rhythm::DAY_MS;
use super::*;
use crate::ingest::{Table, TableOptions};

/// A small field, quickly made.
pub(super) fn options(field: Field) -> FieldOptions {
    FieldOptions { users: 200, items: 600, events: 20_000, days: 60.0, seed: 7, ..FieldOptions::new(field) }
}

pub(super) fn index(user: &Id) -> usize {
    let Id::Int(number) = user else { panic!("{user} is no user") };
    usize::try_from(*number).unwrap() - 1
}

/// All files of a field.
fn bytes(options: &FieldOptions) -> Vec<Vec<u8>> {
    let data = generate(options);
    let mut files = vec![Vec::new(); 4];
    write::users(&mut files[0], options.field, &data.users).unwrap();
    write::items(&mut files[1], options.field, &data.items).unwrap();
    write::truths(&mut files[2], &data.users).unwrap();
    write::events(&mut files[3], true, data.events, |_| ()).unwrap();
    files
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for field in Field::ALL {
        let dirty = FieldOptions { events: 3_000, dirty: Some(Dirty::default()), ..options(field) };
        let first = bytes(&dirty);
        assert_eq!(first, bytes(&dirty), "{}", field.name());
        let other = bytes(&FieldOptions { seed: 8, ..dirty });
        assert!(first.iter().zip(&other).all(|(one, two)| one != two), "{}", field.name());
    }
}

#[test]
fn a_clean_stream_is_clean() {
    for field in Field::ALL {
        let options = options(field);
        let name = field.name();
        let data = generate(&options);
        let items: BTreeSet<Id> = data.items.iter().map(|item| item.id.clone()).collect();
        assert_eq!((data.users.len(), items.len()), (200, 600), "{name}: ids differ");
        let events: Vec<FieldEvent> = data.events.collect();
        assert_eq!(events.len(), 20_000, "{name}");
        let ids: BTreeSet<u64> = events.iter().map(|event| event.event_id).collect();
        assert_eq!(ids.len(), events.len(), "{name}: an event id came twice");
        assert!(events.windows(2).all(|pair| pair[0].row.time_ms <= pair[1].row.time_ms), "{name}: out of order");
        for (at, FieldEvent { row, arrives_ms, label, .. }) in events.iter().enumerate() {
            let told = || format!("{name}: {row:?}");
            assert_eq!((row.line, *arrives_ms, *label), (at as u64 + 1, row.time_ms, Label::Clean), "{}", told());
            let kind = field.kinds().iter().find(|kind| Some(kind.name) == row.kind.as_deref());
            let (low, high) = kind.unwrap_or_else(|| panic!("{}", told())).range.unwrap_or((1.0, 1.0));
            assert!((low..=high).contains(&row.value) && items.contains(&row.item), "{}", told());
            let truth = &data.users[index(&row.user)].truth;
            assert!(row.time_ms >= truth.joined_at_ms.max(options.start_ms), "{}: before it joined", told());
            assert!(truth.churned_at_ms.is_none_or(|left_ms| row.time_ms < left_ms), "{}: after it left", told());
        }
        let days = (events[events.len() - 1].row.time_ms - options.start_ms) as f64 / DAY_MS as f64;
        assert!((48.0..72.0).contains(&days), "{name}: {days} days instead of about 60");
        let came: BTreeSet<&str> = events.iter().filter_map(|event| event.row.kind.as_deref()).collect();
        assert_eq!(came.len(), field.kinds().len(), "{name}: only {came:?}");
    }
}

#[test]
fn attributes_are_those_of_the_field_in_their_order() {
    for field in Field::ALL {
        let data = generate(&options(field));
        let place = |columns: &[&str], name: &str| columns.iter().position(|column| *column == name);
        let ordered = |columns: &[&str], attributes: &[(&'static str, Value)]| {
            let places: Vec<usize> =
                attributes.iter().map(|(name, _)| place(columns, name).unwrap_or_else(|| panic!("{name}"))).collect();
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{}: {attributes:?}", field.name());
        };
        data.users.iter().for_each(|user| ordered(field.user_attributes(), &user.attributes));
        data.items.iter().for_each(|item| ordered(field.item_attributes(), &item.attributes));
        let known: usize = data.users.iter().map(|user| user.attributes.len()).sum();
        let share = known as f64 / (200 * field.user_attributes().len()) as f64;
        assert!((0.93..0.99).contains(&share), "{}: {share} of all attributes are known", field.name());
        assert!(data.items.iter().all(|item| !item.tags.is_empty()));
    }
}

#[test]
fn options_out_of_range_are_taken_for_the_nearest() {
    for field in Field::ALL {
        let odd = FieldOptions {
            users: 0,
            items: 0,
            events: 300,
            days: f64::NAN,
            churn: -1.0,
            dirty: Some(Dirty { duplicates: 7.0, late: 7.0, bad_values: f64::NAN, unknown_kinds: 1.0, bot: 1.0 }),
            ..FieldOptions::new(field)
        };
        let data = generate(&odd);
        assert_eq!((data.users.len(), data.items.len()), (1, ITEMS_MIN as usize));
        let labels = count(data.events);
        let [duplicates, clean, bot] = [Label::Duplicate, Label::Clean, Label::Bot].map(|label| labels[&label]);
        assert_eq!((duplicates, clean, bot), (300, 300, 600), "{}: {labels:?}", field.name());
        // Where everybody leaves, the stream may end early, but it ends.
        assert!(generate(&FieldOptions { users: 3, churn: 1.0, ..options(field) }).events.count() <= 20_000);
        assert_eq!(generate(&FieldOptions { events: 0, ..options(field) }).events.count(), 0);
    }
}

fn count(events: impl Iterator<Item = FieldEvent>) -> BTreeMap<Label, usize> {
    let mut labels = BTreeMap::new();
    events.for_each(|event| *labels.entry(event.label).or_insert(0) += 1);
    labels
}

#[test]
fn a_dirty_stream_is_as_dirty_as_asked() {
    for field in Field::ALL {
        let dirty = Dirty { duplicates: 0.02, late: 0.03, bad_values: 0.01, unknown_kinds: 0.015, bot: 0.05 };
        let soiled = FieldOptions { dirty: Some(dirty), ..options(field) };
        let events: Vec<FieldEvent> = generate(&soiled).events.collect();
        let labels = count(events.iter().cloned());
        let people = 20_000.0;
        for (label, share) in [
            (Label::Duplicate, dirty.duplicates),
            (Label::Late, dirty.late),
            (Label::BadValue, dirty.bad_values),
            (Label::UnknownKind, dirty.unknown_kinds),
        ] {
            let found = labels[&label] as f64 / people;
            // Four standard deviations of a binomial share.
            let slack = 4.0 * (share * (1.0 - share) / people).sqrt();
            assert!((found - share).abs() < slack, "{}: {found} are {label:?}, {share} asked for", field.name());
        }
        let bot = labels[&Label::Bot] as f64 / events.len() as f64;
        assert!((bot - 0.05).abs() < 0.001, "{}: {bot} from the bot", field.name());
        assert!(events.windows(2).all(|pair| pair[0].arrives_ms <= pair[1].arrives_ms), "{}", field.name());
    }
}

#[test]
fn each_label_says_what_is_wrong() {
    for field in Field::ALL {
        let clean: BTreeMap<u64, FieldEvent> =
            generate(&options(field)).events.map(|event| (event.event_id, event)).collect();
        let soiled = FieldOptions { dirty: Some(Dirty::default()), ..options(field) };
        let events: Vec<FieldEvent> = generate(&soiled).events.collect();
        let mut seen = BTreeSet::new();
        let kind_of = |row: &Row| field.kinds().iter().find(|kind| Some(kind.name) == row.kind.as_deref());
        for event in &events {
            let told = || format!("{}: {event:?}", field.name());
            let new = seen.insert(event.event_id);
            assert_eq!(new, event.label != Label::Duplicate, "{}", told());
            let original = clean.get(&event.event_id).map(|event| &event.row);
            let as_before = |row: &Row| Row { line: event.row.line, ..row.clone() } == event.row;
            let delay_ms = event.arrives_ms - event.row.time_ms;
            match event.label {
                Label::Clean => assert!(original.is_some_and(as_before) && delay_ms == 0, "{}", told()),
                Label::Duplicate => {
                    assert!(original.is_some_and(as_before), "{}", told());
                    assert!((1_000..=600_000).contains(&delay_ms), "{}", told());
                }
                Label::Late => {
                    assert!(original.is_some_and(as_before), "{}", told());
                    assert!((60_000..=3 * DAY_MS).contains(&delay_ms), "{}", told());
                }
                Label::BadValue => {
                    let range = kind_of(&event.row).and_then(|kind| kind.range);
                    let outside = range.is_some_and(|(low, high)| !(low..=high).contains(&event.row.value));
                    assert!(event.row.value.is_nan() || outside, "{}", told());
                }
                Label::UnknownKind => assert!(kind_of(&event.row).is_none(), "{}", told()),
                Label::Bot => assert!(original.is_none() && index(&event.row.user) == 200, "{}", told()),
            }
        }
        assert!(clean.keys().all(|id| seen.contains(id)), "{}: an event was lost", field.name());
        let bot: Vec<&FieldEvent> = events.iter().filter(|event| event.label == Label::Bot).collect();
        let steps = bot.windows(2).filter(|pair| pair[1].row.time_ms - pair[0].row.time_ms == 2_000).count();
        assert!(steps as f64 > 0.9 * bot.len() as f64, "{}: {steps} even steps of {}", field.name(), bot.len());
        let items: BTreeSet<&Id> = bot.iter().map(|event| &event.row.item).collect();
        assert!(items.len() > 400, "{}: the bot saw {} of 600 items", field.name(), items.len());
    }
}

#[test]
fn files_are_read_back_as_they_were_made() {
    for field in Field::ALL {
        let options = FieldOptions { events: 2_000, dirty: Some(Dirty::default()), ..options(field) };
        let made: Vec<FieldEvent> = generate(&options).events.collect();
        let file = bytes(&options).remove(3);
        let table = Table::from_reader(std::io::Cursor::new(file), "events.tsv.gz", TableOptions::default()).unwrap();
        let read: Vec<_> = table.collect();
        assert_eq!(read.len(), made.len());
        for (read, made) in read.iter().zip(&made) {
            match read {
                // The header is a line of the file.
                Ok(row) => {
                    let event_id = Some(Id::Int(made.event_id));
                    assert_eq!(Row { line: row.line - 1, ..row.clone() }, Row { event_id, ..made.row.clone() });
                }
                Err(error) => assert!(!error.stops() && made.label == Label::BadValue, "{error}: {made:?}"),
            }
        }
    }
}
