//! What is told of a person is true: traits, facets and risks against what the generated fields planted.

use mirra::base::Id;
use mirra::ingest::fields::{Field, Truth, UserRow, generate};
use mirra::state::Shard;
use mirra::state::portrait::{Portrait, parts};

use crate::planted::{area, op, shard, spearman, state_options, stream};

/// A field after all its events.
struct Told {
    shard: Shard,
    users: Vec<UserRow>,
    end_ms: i64,
    seed: u64,
}

impl Told {
    fn of(field: Field, seed: u64) -> Self {
        let options = stream(field, seed);
        let data = generate(&options);
        let state = state_options(field, &["popularity"]);
        let schema = state.schema.clone();
        let mut shard = shard(state, &data.users, &data.items, options.start_ms);
        let mut end_ms = 0;
        for event in data.events {
            shard.apply(&op(&event, &schema));
            end_ms = event.row.time_ms;
        }
        Self { shard, users: data.users, end_ms, seed }
    }

    fn portrait(&self, user: &Id) -> Portrait {
        self.shard.portrait(user.as_ref(), parts::ALL, 1_000, self.end_ms).expect("a known user")
    }

    /// Truth and portrait of each user with at least so many events.
    fn busy(&self, events: u64) -> Vec<(&Truth, Portrait)> {
        let both = self.users.iter().map(|user| (&user.truth, self.portrait(&user.id)));
        both.filter(|(_, portrait)| portrait.events >= events).collect()
    }

    fn correlation(&self, planted: fn(&Truth) -> f64, name: &str) -> f64 {
        let pair = |(truth, portrait): &(&Truth, Portrait)| Some((planted(truth), told(portrait, name)?));
        let pairs: Vec<(f64, f64)> = self.busy(50).iter().filter_map(pair).collect();
        let found = spearman(&pairs);
        println!("seed {} {name}: {found:.3} over {} users", self.seed, pairs.len());
        found
    }
}

fn told(portrait: &Portrait, name: &str) -> Option<f64> {
    portrait.traits.iter().find(|one| one.name == name).map(|one| one.value)
}

#[test]
fn explore() {
    for seed in [1, 2, 3] {
        for field in Field::ALL {
            let told_of = Told::of(field, seed);
            println!("== {} {seed}", field.name());
            told_of.correlation(|t| t.novelty, "novelty_seeking");
            told_of.correlation(|t| t.novelty, "breadth");
            match field {
                Field::Ecommerce => {
                    told_of.correlation(|t| t.price_sensitivity, "price_sensitivity");
                    told_of.correlation(|t| t.loyalty, "brand_loyalty");
                }
                Field::Finance => {
                    told_of.correlation(|t| t.risk, "risk");
                    told_of.correlation(|t| t.risk, "decline_rate");
                    told_of.correlation(|t| t.risk, "late_rate");
                }
                Field::Health => {
                    told_of.correlation(|t| t.adherence, "adherence");
                }
                Field::Media => {
                    told_of.correlation(|t| t.binge, "finish_rate");
                }
                Field::Social => {}
            }
            let (mut near, mut all, mut strength) = (0, 0, 0.0);
            let mut placed = [0; 6];
            let mut favourites = [0; 4];
            for (truth, portrait) in told_of.busy(50) {
                let Some(hour) = told(&portrait, "peak_hour") else { continue };
                let off = (hour - truth.peak_hour).rem_euclid(24.0);
                near += usize::from(off.min(24.0 - off) <= 2.0);
                strength += told(&portrait, "daily_rhythm").unwrap_or(f64::NAN);
                all += 1;
                let names: Vec<&str> = portrait.facets.iter().map(|f| f.name.as_str()).filter(|n| !n.contains('=')).collect();
                let at = names.iter().position(|n| *n == truth.favourite_tags[0]).unwrap_or(99);
                placed[at.min(5)] += 1;
                favourites[truth.favourite_tags.iter().filter(|tag| names.iter().take(4).any(|n| n == tag)).count()] += 1;
            }
            println!("peak {near} of {all}, strength {}, favourite at {placed:?}, in top 4 {favourites:?}", strength / all as f64);
            let report = told_of.shard.forecast_report();
            println!("churn AUC {:.3} ({:.3} to {:.3}) of {} yes {} cal {:.3}", report.auc, report.auc_low, report.auc_high, report.count, report.yes, report.calibration_error);
            let left: Vec<(f64, bool)> = told_of.busy(20).iter().filter_map(|(t, p)| Some((told(p, "churn_risk")?, t.churned_at_ms.is_some()))).collect();
            println!("gone: area {:.3} of {}", area(&left), left.len());
        }
    }
}
