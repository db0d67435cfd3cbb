//! What is told of a person is true: traits, facets and risks against what the generated fields planted.
//!
//! One seed of each field is always run. The limits hold over many more, which
//! `cargo test --test it -- --ignored truth --nocapture` runs and prints.

use std::collections::BTreeSet;

use mirra::base::Id;
use mirra::ingest::fields::{Field, Truth, UserRow, generate};
use mirra::model::Schema;
use mirra::state::Shard;
use mirra::state::portrait::{Portrait, formulas, parts};

use crate::planted::{area, op, shard, spearman, state_options, stream};

/// Events from which on a user is expected to be known.
const KNOWN: u64 = 50;
/// Share of the stream's days after which risks are read, to see what comes of them.
const READ_AT: f64 = 0.7;

/// A planted number, the trait that should follow it, and the least of Spearman's correlation.
type Expected = (fn(&Truth) -> f64, &'static str, f64);

fn expected(field: Field) -> &'static [Expected] {
    match field {
        Field::Ecommerce => &[
            (|truth| truth.price_sensitivity, "price_sensitivity", 0.45),
            (|truth| truth.loyalty, "brand_loyalty", 0.65),
            (|truth| truth.novelty, "novelty_seeking", 0.4),
            (|truth| truth.novelty, "breadth", 0.6),
        ],
        // Who looks elsewhere goes to another category there, whose merchants are the popular ones again.
        Field::Finance => &[
            (|truth| truth.risk, "risk", 0.75),
            (|truth| truth.risk, "decline_rate", 0.85),
            (|truth| truth.risk, "late_rate", 0.2),
            (|truth| truth.novelty, "breadth", 0.5),
        ],
        Field::Media => &[(|truth| truth.novelty, "novelty_seeking", 0.5), (|truth| truth.novelty, "breadth", 0.45)],
        Field::Social => &[(|truth| truth.novelty, "novelty_seeking", 0.55), (|truth| truth.novelty, "breadth", 0.3)],
        // Most of what is met are measures and medicines, which nobody chooses.
        Field::Health => &[(|truth| truth.adherence, "adherence", 0.7)],
    }
}

/// A field after all its events, and what was told on the way.
struct Told {
    field: Field,
    seed: u64,
    shard: Shard,
    schema: Schema,
    users: Vec<UserRow>,
    end_ms: i64,
    /// Risk of users known at [`READ_AT`], and whether they then stayed away for the horizon.
    risks: Vec<(f64, bool)>,
}

impl Told {
    fn of(field: Field, seed: u64) -> Self {
        let options = stream(field, seed);
        let data = generate(&options);
        let state = state_options(field, &["popularity"]);
        let schema = state.schema.clone();
        let mut shard = shard(state, &data.users, &data.items, options.start_ms);
        let read_ms = options.start_ms + (READ_AT * options.days * 86_400_000.0) as i64;
        let (mut end_ms, mut read) = (0, Vec::new());
        let mut came = BTreeSet::new();
        for event in data.events {
            end_ms = event.row.time_ms;
            if end_ms > read_ms && read.is_empty() {
                let risk = |user: &UserRow| {
                    let portrait = shard.portrait(user.id.as_ref(), parts::TRAITS, 0, read_ms)?;
                    Some((user.id.clone(), told(&portrait, "churn_risk").filter(|_| portrait.events > 0)?))
                };
                read = data.users.iter().filter_map(risk).collect();
            }
            if end_ms > read_ms && end_ms <= read_ms + schema.churn_horizon_ms {
                came.insert(event.row.user.clone());
            }
            shard.apply(&op(&event, &schema));
        }
        assert!(end_ms > read_ms + schema.churn_horizon_ms, "the stream ends before what is foretold");
        let risks = read.into_iter().map(|(user, risk)| (risk, !came.contains(&user))).collect();
        Self { field, seed, shard, schema, users: data.users, end_ms, risks }
    }

    /// Truth and portrait of each user who should be known.
    fn known(&self) -> Vec<(&Truth, Portrait)> {
        let portrait =
            |id: &Id| self.shard.portrait(id.as_ref(), parts::ALL, 1_000, self.end_ms).expect("a known user");
        let both = self.users.iter().map(|user| (&user.truth, portrait(&user.id)));
        both.filter(|(_, portrait)| portrait.events >= KNOWN).collect()
    }

    /// Prints a figure, and fails if it is less than it should be.
    fn at_least(&self, least: f64, figure: f64, what: &str) {
        let line = format!("{} seed {}: {what} {figure:.3}, at least {least}", self.field.name(), self.seed);
        println!("{line}");
        assert!(figure >= least, "{line}");
    }

    fn check(&self) {
        let known = self.known();
        assert!(known.len() > 200, "{} users have {KNOWN} events", known.len());
        for (planted, name, least) in expected(self.field) {
            let pair = |(truth, portrait): &(&Truth, Portrait)| Some((planted(truth), told(portrait, name)?));
            let pairs: Vec<(f64, f64)> = known.iter().filter_map(pair).collect();
            self.at_least(0.95, pairs.len() as f64 / known.len() as f64, &format!("share of users with {name}"));
            self.at_least(*least, spearman(&pairs), &format!("{name} follows the truth"));
        }
        self.check_peak(&known);
        self.check_favourites(&known);
        self.check_own_traits(&known);
        self.check_churn();
        // What is no more than a count of events would be no trait.
        let novelty =
            |(_, portrait): &(&Truth, Portrait)| Some((portrait.events as f64, told(portrait, "novelty_seeking")?));
        let by_events = spearman(&known.iter().filter_map(novelty).collect::<Vec<_>>());
        self.at_least(0.7, 1.0 - by_events.abs(), "1 less how far novelty_seeking goes by the number of events:");
    }

    fn check_peak(&self, known: &[(&Truth, Portrait)]) {
        let off = |hour: f64, peak: f64| (hour - peak).rem_euclid(24.0).min((peak - hour).rem_euclid(24.0));
        let near = |(truth, portrait): &(&Truth, Portrait)| {
            let hour = told(portrait, "peak_hour")?;
            // A patient's day has two: an evening, and a morning eleven hours before.
            let morning = if self.field == Field::Health { off(hour, truth.peak_hour - 11.0) } else { f64::INFINITY };
            Some(off(hour, truth.peak_hour).min(morning) <= 2.0)
        };
        let near: Vec<bool> = known.iter().filter_map(near).collect();
        self.at_least(0.8, near.len() as f64 / known.len() as f64, "share of users with a peak");
        let share = near.iter().filter(|near| **near).count() as f64 / near.len() as f64;
        let least = match self.field {
            Field::Ecommerce | Field::Social => 0.87,
            Field::Finance | Field::Media | Field::Health => 0.94,
        };
        self.at_least(least, share, "peaks within two hours");
    }

    /// The tag liked best is among the first of the tags, as they are told.
    fn check_favourites(&self, known: &[(&Truth, Portrait)]) {
        let found = |(truth, portrait): &&(&Truth, Portrait)| {
            let tags = portrait.facets.iter().map(|facet| facet.name.as_str()).filter(|name| !name.contains('='));
            tags.take(3).any(|tag| tag == truth.favourite_tags[0])
        };
        let share = known.iter().filter(found).count() as f64 / known.len() as f64;
        // Of what a patient does, few things are chosen at all.
        self.at_least(if self.field == Field::Health { 0.75 } else { 0.9 }, share, "favourites among three tags");
    }

    /// Every trait of the configuration is a formula that can be read, and has a value.
    fn check_own_traits(&self, known: &[(&Truth, Portrait)]) {
        assert_eq!(formulas(&self.schema).len(), self.schema.traits.len(), "{}", self.field.name());
        for rule in &self.schema.traits {
            let values: Vec<f64> = known.iter().filter_map(|(_, portrait)| told(portrait, &rule.name)).collect();
            assert!(values.iter().all(|value| value.is_finite()), "{}: {values:?}", rule.name);
            self.at_least(
                0.95,
                values.len() as f64 / known.len() as f64,
                &format!("share of users with {}", rule.name),
            );
        }
    }

    fn check_churn(&self) {
        let report = self.shard.forecast_report();
        let (low, high) = (report.auc_low, report.auc_high);
        let what = format!("AUC of churn ({low:.3} to {high:.3}, {} of {} left)", report.yes, report.count);
        self.at_least(0.8, report.auc, &what);
        assert!(report.not_finite == 0 && report.calibration_error < 0.04, "{report:?}");
        let (count, away) = (self.risks.len() as f64, self.risks.iter().filter(|(_, away)| *away).count() as f64);
        let mean = self.risks.iter().map(|(risk, _)| risk).sum::<f64>() / count;
        self.at_least(0.8, area(&self.risks), &format!("area of risks read at once ({away} of {count} stayed away)"));
        self.at_least(
            0.92,
            1.0 - (mean - away / count).abs(),
            &format!("mean risk {mean:.3}, truly {:.3}:", away / count),
        );
    }
}

fn told(portrait: &Portrait, name: &str) -> Option<f64> {
    portrait.traits.iter().find(|one| one.name == name).map(|one| one.value)
}

#[test]
fn a_shopper_is_told_as_planted() {
    Told::of(Field::Ecommerce, 1).check();
}

#[test]
fn a_client_of_a_bank_is_told_as_planted() {
    Told::of(Field::Finance, 1).check();
}

#[test]
fn a_viewer_is_told_as_planted() {
    Told::of(Field::Media, 1).check();
}

#[test]
fn a_user_of_a_network_is_told_as_planted() {
    Told::of(Field::Social, 1).check();
}

#[test]
fn a_patient_is_told_as_planted() {
    Told::of(Field::Health, 1).check();
}

#[test]
#[ignore = "forty streams; the limits above were set by what it prints"]
fn truth_over_eight_seeds() {
    let mut failed = Vec::new();
    for field in Field::ALL {
        for seed in 1..=8 {
            let checked = std::panic::catch_unwind(|| Told::of(field, seed).check());
            if checked.is_err() {
                failed.push((field.name(), seed));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
