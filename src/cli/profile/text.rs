//! The whole person as text, about a screen and a half; nothing of parts that are empty.

use comfy_table::Table;

use super::{Part, Profile, Shown, kind_name, length, likes, traits};
use crate::cli::look::Look;
use crate::cli::{ask, output, when};
use crate::model::kind::{MONEY, SECONDS};
use crate::model::{AttributeType, Schema};
use crate::wire::portrait::{AttributeFact, BehaviourSums, ControlInForce, Person};
use crate::wire::types::AttributeValue;

/// Widest bar, in characters.
pub(super) const BAR_WIDTH: usize = 10;

/// Numbers of a vector in a line.
const VECTOR_COLUMNS: usize = 8;

/// Milliseconds of a second, as a double.
const SECOND_MS: f64 = 1_000.0;

/// All parts that are wanted and not empty, an empty line between them.
pub(super) fn whole(profile: &Profile, shown: Shown<'_>) -> String {
    let (person, look) = (&profile.person, shown.look);
    let parts = [
        (Part::Attributes, attributes(person, profile.schema.as_ref(), look)),
        (Part::Behaviours, behaviours(person, profile.schema.as_ref(), look)),
        (Part::Facets, likes::facets(person, shown.facets, look)),
        (Part::Interests, likes::interests(person, look)),
        (Part::Modalities, likes::modalities(&profile.taste, look)),
        (Part::Rhythm, rhythm(person, look)),
        (Part::Traits, traits::table(person, profile.schema.as_ref(), look)),
        (Part::Controls, controls(person, look)),
        (Part::Vectors, vectors(profile, shown)),
        (Part::Recent, recent(profile, look)),
    ];
    let wanted = parts.into_iter().filter(|(part, text)| shown.has(*part) && !text.is_empty());
    wanted.fold(head(profile, look), |all, (_, text)| format!("{all}\n\n{}", text.trim_end()))
}

fn head(profile: &Profile, look: Look) -> String {
    let Profile { person, rest, .. } = profile;
    let mut of_all = output::plural(person.events, "event");
    if person.events > 0 {
        let (since, last) =
            (when::date_and_age(person.first_ms, person.at_ms), when::age(person.last_ms, person.at_ms));
        of_all.push_str(&format!(" since {since}; last seen {last}"));
    }
    let (shard, version) = (rest.shard, output::grouped(u64::from(person.version)));
    let bytes = output::bytes(u64::from(person.person_bytes));
    let name = look.bold(&format!("user {}", person.user));
    format!(
        "{name}: {of_all}\nversion {version}, shard {shard}, digest {:016x}, {bytes} beside history and vectors",
        rest.digest
    )
}

/// A table whose first heading names its part.
pub(super) fn part(headings: &[&str], right: &[usize]) -> Table {
    let mut table = output::table(headings);
    output::align_right_at(&mut table, right);
    table
}

/// A table as text, its first heading in bold. (Painted afterwards: a table counts escape codes as columns.)
pub(super) fn titled(table: &Table, look: Look) -> String {
    let text = table.to_string();
    let end = text.find(' ').unwrap_or(text.len());
    format!("{}{}", look.bold(&text[..end]), &text[end..])
}

/// A number with two digits behind the point, its thousands apart.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the whole part of a number below 10^15")]
pub(super) fn money(amount: f64) -> String {
    if !amount.is_finite() || amount.abs() >= 1e15 {
        return amount.to_string();
    }
    let hundredths = (amount.abs() * 100.0).round() as u64;
    let sign = if amount < 0.0 && hundredths > 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", output::grouped(hundredths / 100), hundredths % 100)
}

/// Milliseconds for people.
fn span(ms: f64) -> String {
    if !ms.is_finite() || ms < 0.0 {
        return String::new();
    }
    seconds(ms / SECOND_MS)
}

/// Seconds for people: `40 s`, `12 min`, `46 h`, `2.3 d`; a whole unit where there is one: `1 h`, `1 d`.
pub(super) fn seconds(seconds: f64) -> String {
    let units = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")];
    let fits = |(size, _): &(f64, &str)| seconds >= 2.0 * size || (seconds - size).abs() < 1e-9 * size;
    let (size, unit) = units.into_iter().find(fits).unwrap_or((1.0, "s"));
    format!("{} {unit}", short(seconds / size))
}

/// Two digits or the whole part, and no zeros behind the point: `0.25`, `3.4`, `12`.
pub(super) fn short(number: f64) -> String {
    let digits = match number.abs() {
        small if small < 0.995 => 2,
        small if small < 9.95 => 1,
        _ => 0,
    };
    let text = format!("{number:.digits$}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A value of a behaviour kind in its unit; empty where there is none.
fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        _ if !value.is_finite() => String::new(),
        MONEY => money(value),
        SECONDS => seconds(value),
        _ if value.abs() >= 1_000.0 => output::count(value),
        _ => short(value),
    }
}

fn attributes(person: &Person, schema: Option<&Schema>, look: Look) -> String {
    let mut text = String::new();
    if !person.attributes.is_empty() {
        let mut table = part(&["attributes", "value", "stated", "runs out", ""], &[]);
        for fact in &person.attributes {
            let AttributeFact { name, time_ms, expires_ms, sensitive, .. } = fact;
            let expires = if *expires_ms == 0 { String::new() } else { when::age(*expires_ms, person.at_ms) };
            let note = if *sensitive { "sensitive" } else { "" };
            let stated = when::age(*time_ms, person.at_ms);
            table.add_row([name.clone(), attribute(fact, schema), stated, expires, note.to_owned()]);
        }
        text = titled(&table, look);
    }
    if !person.missing.is_empty() {
        let separator = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{separator}missing, though required: {}", person.missing.join(", ")));
    }
    text
}

/// The value of an attribute; a day where the schema says that it is one.
fn attribute(fact: &AttributeFact, schema: Option<&Schema>) -> String {
    let rule = schema.and_then(|schema| schema.user_rule(&fact.name));
    match fact.value {
        AttributeValue::Number(ms) if rule.is_some_and(|rule| rule.holds == AttributeType::Date) => {
            #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
            let date = when::date(ms as i64);
            date.strip_suffix(" 00:00:00 UTC").map_or(date.clone(), str::to_owned)
        }
        _ => ask::attribute_text(&fact.value),
    }
}

fn behaviours(person: &Person, schema: Option<&Schema>, look: Look) -> String {
    if person.behaviours.is_empty() {
        return String::new();
    }
    let half_lives: Vec<String> = person.half_lives_s.iter().map(|half_life_s| seconds(*half_life_s)).collect();
    let fading: Vec<String> = half_lives.iter().map(|half_life| format!("fading {half_life}")).collect();
    let headings = ["does", "events", "last"].into_iter().chain(fading.iter().map(String::as_str));
    let headings: Vec<&str> = headings.chain(["sum", "mean", "unit"]).collect();
    let right: Vec<usize> = std::iter::once(1).chain(3..headings.len() - 1).collect();
    let mut table = part(&headings, &right);
    let mut kinds: Vec<&BehaviourSums> = person.behaviours.iter().collect();
    kinds.sort_by_key(|kind| (std::cmp::Reverse(kind.events), kind.kind));
    for kind in kinds {
        let last = when::age(kind.last_ms, person.at_ms);
        let mut row = vec![kind.name.clone(), output::grouped(kind.events), last];
        row.extend(kind.counts.iter().map(|count| short(*count)));
        // A kind may have a long half-life of its own.
        let own_s = schema.and_then(|schema| schema.kinds.get(kind.kind)).map_or(0.0, |kind| kind.half_life_s);
        if own_s > 0.0
            && let Some(long) = row.last_mut()
        {
            *long = format!("{long} ({})", seconds(own_s));
        }
        row.extend(amounts(kind, look));
        table.add_row(row);
    }
    titled(&table, look)
}

/// Sum, mean and unit of a kind's values; nothing where values mean nothing, no sum of ratings.
fn amounts(kind: &BehaviourSums, look: Look) -> [String; 3] {
    if kind.unit.is_empty() {
        return Default::default();
    }
    let sums = kind.unit == MONEY || kind.unit == SECONDS || !kind.unit.contains("rating");
    let sum = if sums { in_unit(kind.sum, &kind.unit) } else { String::new() };
    let (mean, deviation) = (in_unit(kind.mean, &kind.unit), in_unit(kind.deviation, &kind.unit));
    let mean = if deviation.is_empty() || kind.deviation <= 0.0 { mean } else { look.plus_minus(&mean, &deviation) };
    [sum, mean, kind.unit.clone()]
}

fn rhythm(person: &Person, look: Look) -> String {
    let mut lines = Vec::new();
    if person.hours.iter().chain(&person.days).any(|events| *events > 0) {
        let peak = person.hours.iter().enumerate().max_by_key(|(hour, events)| (**events, std::cmp::Reverse(*hour)));
        let peak = peak.map_or(0, |(hour, _)| hour);
        let (hours, days) = (look.sparkline(&person.hours), look.sparkline(&person.days));
        lines.push(format!(
            "{}  0 h {hours} 24 h UTC, most from {peak} to {} h   Mon {days} Sun",
            look.bold("rhythm  "),
            peak + 1
        ));
    }
    if person.sessions > 0 {
        let mut line = format!(
            "{}  {} of {}: {} and {} each",
            look.bold("sessions"),
            output::grouped(u64::from(person.sessions)),
            output::plural(u64::from(person.retained), "retained event"),
            events(person.session_events),
            span(person.session_length_ms),
        );
        if person.session_return_ms.is_finite() {
            line.push_str(&format!(", every {}", span(person.session_return_ms)));
        }
        #[expect(clippy::cast_precision_loss, reason = "a length, for people")]
        let (begun, length) = (when::age(person.newest_begin_ms, person.at_ms), span(person.newest_length_ms as f64));
        line.push_str(&format!("; the newest {begun}, {} in {length}", events(f64::from(person.newest_events))));
        lines.push(line);
    }
    lines.join("\n")
}

fn events(number: f64) -> String {
    format!("{} event{}", short(number), if (number - 1.0).abs() < 1e-9 { "" } else { "s" })
}

fn controls(person: &Person, look: Look) -> String {
    if person.controls.is_empty() {
        return String::new();
    }
    let mut table = part(&["controls", "", "since"], &[]);
    for ControlInForce { control, name, item, share, time_ms } in &person.controls {
        let of = item.as_ref().map_or_else(|| name.clone(), ToString::to_string);
        let (what, of) = match control.as_str() {
            "mute_facet" => ("never recommended", of),
            "mute_item" => ("never recommended", format!("item {of}")),
            "less" => ("at most", format!("{} % {of}", short(100.0 * f64::from(*share)))),
            "pause" => ("paused", "nothing is learned".to_owned()),
            "reset" => ("set aside", of),
            other => (other, of),
        };
        let since = if *time_ms == 0 { String::new() } else { when::age(*time_ms, person.at_ms) };
        table.add_row([what.to_owned(), of, since]);
    }
    titled(&table, look)
}

fn vectors(profile: &Profile, shown: Shown<'_>) -> String {
    let arms = &profile.rest.arms;
    if arms.is_empty() {
        return String::new();
    }
    let mut table = part(&["strategy", "epoch", "floats", "length"], &[1, 2, 3]);
    for arm in arms {
        let (epoch, floats) = (arm.epoch.to_string(), arm.factor.len().to_string());
        table.add_row([arm.strategy.clone(), epoch, floats, format!("{:.3}", length(arm))]);
    }
    let mut text = titled(&table, shown.look);
    for arm in arms.iter().filter(|_| shown.vector) {
        text.push_str(&format!("\n\nvector of {}", arm.strategy));
        for numbers in arm.factor.chunks(VECTOR_COLUMNS) {
            text.push('\n');
            text.extend(numbers.iter().map(|number| format!("{number:>10.4}")));
        }
    }
    text
}

fn recent(profile: &Profile, look: Look) -> String {
    let events = &profile.rest.recent;
    if events.is_empty() {
        return String::new();
    }
    let mut table = part(&["recent", "kind", "when", "age", "value", ""], &[3, 4]);
    let most = events.iter().map(|event| event.value).filter(|value| value.is_finite()).fold(0.0, f32::max);
    for event in events {
        let (date, age) = (when::date(event.time_ms), when::age(event.time_ms, profile.person.at_ms));
        let (kind, value) = (kind_name(&profile.kinds, event.kind), event.value.to_string());
        let bar = look.bar(f64::from(event.value / most.max(f32::MIN_POSITIVE)), BAR_WIDTH);
        table.add_row([event.item.to_string(), kind, date, age, value, bar]);
    }
    titled(&table, look)
}
