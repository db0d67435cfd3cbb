//! What the risk is told from: figures of a profile in plain units, and the numbers that the learner sees.
//!
//! Two of the numbers are terms of the model of Fader, Hardie & Lee 2005 ("Counting your customers the easy way", BG/NBD),
//! in which people with rates of their own stop for ever after some event: with `x` events, the latest of them `t` after
//! the first and the first `T` ago, the log-odds of having stopped rise linearly with `x ln((T + a) / (t + a))` (silence),
//! and one who has not stopped stays away over the horizon `H` with a probability that falls with
//! `x ln(1 + H / (T + a))` (expected). `a` is a tenth of the horizon.

/// Numbers that the learner sees.
pub const FEATURES: usize = 16;

/// Their names, in the order of [`ChurnInputs::vector`]; appended to, never moved: weights are kept by position.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "recency",
    "recency_in_gaps",
    "recency_in_deviations",
    "silence",
    "silence_of_late",
    "count_short",
    "count_middle",
    "count_long",
    "momentum",
    "events",
    "tenure",
    "expected",
    "gap_irregularity",
    "latest_share",
    "value_mean",
    "breadth",
];

/// Most of the two terms that grow with the number of events: one is sure long before.
const TERM_MAX: f64 = 20.0;
/// Gaps shorter than this are alike, and no gap is divided by less.
const MINUTE_S: f64 = 60.0;

/// Figures of one user at one time. NaN stands for what is not known; the learner takes it for the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChurnInputs {
    /// Within which a user who stays away counts as churned, in seconds, as in [`Churn::new`](super::Churn::new).
    pub horizon_s: f64,
    /// Seconds since the latest event.
    pub since_s: f64,
    /// Mean seconds between two events that follow each other; NaN with fewer than two events.
    pub gap_mean_s: f64,
    /// Standard deviation of these; NaN with fewer than three events.
    pub gap_deviation_s: f64,
    /// Counts of events, decayed to this time, of a short, a middle and a long half-life.
    pub counts: [f64; 3],
    /// Those half-lives, in seconds.
    pub half_lives_s: [f64; 3],
    /// Events ever.
    pub events: f64,
    /// Seconds since the first event: `since_s` or more.
    pub tenure_s: f64,
    /// Share of all events that belongs to the latest session, 0 to 1.
    pub latest_share: f64,
    /// Mean explicit value, as a share of the range of its kind, 0 to 1; NaN without any.
    pub value_mean: f64,
    /// Entropy of the shares of tags, in nats; NaN without tags.
    pub breadth: f64,
}

impl ChurnInputs {
    /// The numbers by [`FEATURE_NAMES`]: mostly logarithms, as times and counts span powers of ten.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "logarithms and shares need no more than single precision")]
    pub fn vector(&self) -> [f32; FEATURES] {
        let Self { since_s, gap_mean_s, gap_deviation_s, counts, half_lives_s, events, tenure_s, .. } = *self;
        let ease_s = self.horizon_s / 10.0;
        let met_s = (tenure_s - since_s).max(0.0);
        // Events a second, as the decayed counts see it: a steady rate r holds a count of r h / ln 2.
        let rate = |at: usize| counts[at] * std::f64::consts::LN_2 / half_lives_s[at];
        // The middle rate as it was at the latest event, and how many events it has missed since.
        let missed = rate(1) * (since_s / half_lives_s[1]).min(60.0).exp2() * since_s;
        let least_rate = 0.1 / self.horizon_s;
        let numbers = [
            since_s.ln_1p(),
            ((since_s + MINUTE_S) / (gap_mean_s + MINUTE_S)).ln(),
            ((since_s - gap_mean_s) / (gap_deviation_s + MINUTE_S)).asinh(),
            (events * ((tenure_s + ease_s) / (met_s + ease_s)).ln()).min(TERM_MAX),
            missed.ln_1p(),
            counts[0].ln_1p(),
            counts[1].ln_1p(),
            counts[2].ln_1p(),
            ((rate(1) + least_rate) / (rate(2) + least_rate)).ln(),
            events.ln_1p(),
            tenure_s.ln_1p(),
            (events * (self.horizon_s / (tenure_s + ease_s)).ln_1p()).min(TERM_MAX),
            ((gap_deviation_s + MINUTE_S) / (gap_mean_s + MINUTE_S)).ln(),
            self.latest_share,
            self.value_mean,
            self.breadth,
        ];
        numbers.map(|number| number as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: f64 = 86_400.0;

    fn regular() -> ChurnInputs {
        ChurnInputs {
            horizon_s: 14.0 * DAY_S,
            since_s: DAY_S,
            gap_mean_s: DAY_S,
            gap_deviation_s: DAY_S / 2.0,
            counts: [1.4, 10.0, 30.0],
            half_lives_s: [DAY_S, 7.0 * DAY_S, 30.0 * DAY_S],
            events: 30.0,
            tenure_s: 30.0 * DAY_S,
            latest_share: 0.1,
            value_mean: 0.8,
            breadth: 1.2,
        }
    }

    fn at(inputs: &ChurnInputs, name: &str) -> f32 {
        inputs.vector()[FEATURE_NAMES.iter().position(|known| *known == name).unwrap()]
    }

    #[test]
    fn numbers_move_as_they_should() {
        let regular = regular();
        let silent = ChurnInputs { since_s: 10.0 * DAY_S, tenure_s: 39.0 * DAY_S, ..regular };
        for name in ["recency", "recency_in_gaps", "recency_in_deviations", "silence", "silence_of_late"] {
            assert!(at(&silent, name) > at(&regular, name) + 0.5, "{name}");
        }
        // Same days away, but of one who never came more often: less alarming.
        let rare = ChurnInputs { gap_mean_s: 10.0 * DAY_S, gap_deviation_s: 5.0 * DAY_S, events: 4.0, ..silent };
        for name in ["recency_in_gaps", "recency_in_deviations", "silence", "expected"] {
            assert!(at(&rare, name) < at(&silent, name) - 0.5, "{name}");
        }
        let slower = ChurnInputs { counts: [0.1, 2.0, 25.0], ..regular };
        assert!(at(&slower, "momentum") < at(&regular, "momentum") - 0.5);
    }

    /// 30 events, the latest after 29 of 30 days; a tenth of the horizon is 1.4 days.
    #[test]
    fn terms_by_hand() {
        let inputs = regular();
        let silence = 30.0 * (31.4_f64 / 30.4).ln();
        let expected = 30.0 * (1.0 + 14.0 / 31.4_f64).ln();
        assert!((f64::from(at(&inputs, "silence")) - silence).abs() < 1e-5);
        assert!((f64::from(at(&inputs, "expected")) - expected).abs() < 1e-5);
        // The middle rate was 10 ln 2 / 7 a day by now, 2^(1/7) times that a day ago.
        let missed = 10.0 * std::f64::consts::LN_2 / 7.0 * (1.0_f64 / 7.0).exp2();
        assert!((f64::from(at(&inputs, "silence_of_late")) - missed.ln_1p()).abs() < 1e-5);
    }

    #[test]
    fn extremes_stay_finite_and_only_the_unknown_is_not_a_number() {
        let century_s = 3.2e9;
        let extreme = ChurnInputs {
            since_s: century_s,
            gap_mean_s: 0.0,
            gap_deviation_s: 0.0,
            counts: [0.0, 1e-300, 1e9],
            events: 1e9,
            tenure_s: century_s,
            ..regular()
        };
        let first = ChurnInputs { since_s: 0.0, events: 1.0, tenure_s: 0.0, ..extreme };
        assert!(extreme.vector().iter().chain(&first.vector()).all(|number| number.is_finite()), "{extreme:?}");
        let unknown = ChurnInputs { gap_mean_s: f64::NAN, gap_deviation_s: f64::NAN, value_mean: f64::NAN, ..first };
        let names: Vec<&str> = FEATURE_NAMES
            .into_iter()
            .zip(unknown.vector())
            .filter_map(|(name, number)| number.is_nan().then_some(name))
            .collect();
        assert_eq!(names, ["recency_in_gaps", "recency_in_deviations", "gap_irregularity", "value_mean"]);
    }
}
