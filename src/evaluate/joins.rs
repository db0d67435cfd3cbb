//! What came of the lists that were shown: shares of lists with an outcome, by kind, and where and when it came.
//!
//! The clock is the list: fading and windows go by lists shown, and an outcome counts when it comes, with the weight of
//! the newest list. Ledgers of kinds have the clock of the lists' one, so that shares are quotients of like windows.

use super::ledger::{Cohort, Ledger, Window};
use crate::base::limits::OUTCOME_KINDS_MAX;
use crate::base::{CursorError, Reader, Writer};

const VERSION: u8 = 1;

/// First column of lists: how many, and their places.
const SHOWN: usize = 0;
const SHOWN_COLUMNS: usize = 2;

/// Columns of outcomes: the order is part of the stored bytes.
const OUTCOMES: usize = 0;
const LISTS: usize = 1;
const GAIN: usize = 2;
const RECIPROCAL: usize = 3;
const NOT_LISTED: usize = 4;
const POSITION: usize = 5;
const DELAY: usize = 6;
/// First of [`DELAYS`] columns: delays below 1 s, 2 s, 4 s...
const FIRST_DELAY: usize = 7;
const DELAYS: usize = 24;
const COLUMNS: usize = FIRST_DELAY + DELAYS;

/// One outcome of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Joined {
    /// Code of the behaviour kind.
    pub kind: u8,
    /// Whether the kind weighs something: only then it counts among those of any kind.
    pub weighs: bool,
    /// Where the item stood in the list, from 1; `None`: nowhere.
    pub position: Option<u32>,
    /// Seconds between the list and the outcome.
    pub delay_s: f64,
    /// Whether it is the list's first of this kind.
    pub first: bool,
    /// Whether it is the list's first of any kind that weighs something.
    pub first_of_any: bool,
}

/// Accumulators of one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Joins {
    growth: f64,
    shown: Ledger<SHOWN_COLUMNS>,
    any: Ledger<COLUMNS>,
    kinds: Vec<(u8, Ledger<COLUMNS>)>,
}

/// What came of some lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Lists.
    pub lists: f64,
    /// Their mean length.
    pub places: f64,
    /// Outcomes of any kind that weighs something.
    pub any: Outcomes,
    /// Outcomes by kind, by rising code.
    pub kinds: Vec<(u8, Outcomes)>,
}

/// Outcomes of some lists; a mean over nothing is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcomes {
    /// Outcomes with an item of the list.
    pub outcomes: f64,
    /// Outcomes with another item: they say nothing of the list's order.
    pub not_listed: f64,
    /// Lists with an outcome.
    pub lists: f64,
    /// Their share.
    pub share: f64,
    /// Mean position of the outcomes, from 1.
    pub position: f64,
    /// Mean over all lists of `1 / log2(position + 1)` of the first outcome, else 0.
    pub ndcg: f64,
    /// Mean over all lists of `1 / position` of the first outcome, else 0.
    pub mrr: f64,
    /// Mean time from the list to the outcome, in seconds.
    pub delay_s: f64,
    /// Its median, between two powers of two.
    pub delay_s_p50: f64,
}

impl Joins {
    /// Nothing recorded. A fading factor outside `(0, 1]` (or NaN) is taken for 1.
    #[must_use]
    pub fn new(fading: f64) -> Self {
        let fading = if fading > 0.0 && fading <= 1.0 { fading } else { 1.0 };
        Self { growth: 1.0 / fading, shown: Ledger::default(), any: Ledger::default(), kinds: Vec::new() }
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown == Ledger::default()
    }

    /// Records a list that was shown.
    #[expect(clippy::cast_precision_loss, reason = "a list is short")]
    pub fn record_shown(&mut self, cohort: Cohort, places: usize) {
        self.shown.begin(self.growth);
        self.any.begin(self.growth);
        for (_, ledger) in &mut self.kinds {
            ledger.begin(self.growth);
        }
        self.shown.add(cohort as usize, SHOWN, [1.0, places as f64]);
    }

    /// Records what came of a list of this cohort that was recorded before.
    pub fn record_outcome(&mut self, cohort: Cohort, joined: &Joined) {
        if let Some(at) = self.ledger_of(joined.kind) {
            add(&mut self.kinds[at].1, cohort, joined, joined.first);
        }
        if joined.weighs {
            add(&mut self.any, cohort, joined, joined.first_of_any);
        }
    }

    /// Where the kind's ledger is, made if it is not there; `None` for one kind too many.
    fn ledger_of(&mut self, kind: u8) -> Option<usize> {
        match self.kinds.binary_search_by_key(&kind, |(code, _)| *code) {
            Ok(at) => Some(at),
            Err(_) if self.kinds.len() == OUTCOME_KINDS_MAX => None,
            Err(at) => {
                self.kinds.insert(at, (kind, Ledger::beside(&self.shown)));
                Some(at)
            }
        }
    }

    /// What came of the lists of one cohort (`None`: of all) in one window.
    #[must_use]
    pub fn shown(&self, cohort: Option<Cohort>, window: Window) -> Shown {
        let row = cohort.map(|cohort| cohort as usize);
        let [lists, places] = self.shown.sums(row, window);
        let outcomes = |ledger: &Ledger<COLUMNS>| Outcomes::new(lists, &ledger.sums(row, window));
        Shown {
            lists,
            places: places / lists,
            any: outcomes(&self.any),
            kinds: self.kinds.iter().map(|(kind, ledger)| (*kind, outcomes(ledger))).collect(),
        }
    }

    /// Adds what another recorded, as the other figures do.
    pub fn merge(&mut self, other: &Self) {
        for (kind, ledger) in &other.kinds {
            if let Some(at) = self.ledger_of(*kind) {
                self.kinds[at].1.merge(ledger);
            }
        }
        self.any.merge(&other.any);
        self.shown.merge(&other.shown);
    }

    /// Appends: version `u8` = 1; ledger of lists; of any kind; count of kinds, each code `u8` and ledger.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(VERSION);
        self.shown.encode(out);
        self.any.encode(out);
        out.count(self.kinds.len());
        for (kind, ledger) in &self.kinds {
            out.u8(*kind);
            ledger.encode(out);
        }
    }

    /// Takes what [`Self::encode`] put, for the same fading.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that cannot have been put.
    pub fn decode(fading: f64, from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        match from.u8()? {
            VERSION => {}
            other => {
                let found = u64::from(other);
                return Err(CursorError::Bad { what: "version of sums of outcomes", offset, found, allowed: "1" });
            }
        }
        let (shown, any) = (Ledger::decode(from)?, Ledger::decode(from)?);
        let count = from.count(2, OUTCOME_KINDS_MAX)?;
        let kinds = (0..count).map(|_| Ok((from.u8()?, Ledger::decode(from)?))).collect::<Result<_, CursorError>>()?;
        Ok(Self { shown, any, kinds, ..Self::new(fading) })
    }
}

fn add(ledger: &mut Ledger<COLUMNS>, cohort: Cohort, joined: &Joined, first: bool) {
    let row = cohort as usize;
    let Some(position) = joined.position.map(|position| f64::from(position.max(1))) else {
        return ledger.add(row, NOT_LISTED, [1.0]);
    };
    let delay_s = if joined.delay_s.is_finite() { joined.delay_s.max(0.0) } else { 0.0 };
    ledger.add(row, OUTCOMES, [1.0]);
    ledger.add(row, POSITION, [position, delay_s]);
    ledger.add(row, FIRST_DELAY + delay_bin(delay_s), [1.0]);
    if first {
        ledger.add(row, LISTS, [1.0, 1.0 / (position + 1.0).log2(), 1.0 / position]);
    }
}

/// The bin of a delay: 0 below a second, then one for each doubling.
fn delay_bin(delay_s: f64) -> usize {
    (0..DELAYS - 1).find(|bin| delay_s < edge(*bin)).unwrap_or(DELAYS - 1)
}

/// Upper edge of a bin, in seconds.
fn edge(bin: usize) -> f64 {
    (0..bin).fold(1.0, |edge, _| 2.0 * edge)
}

impl Outcomes {
    fn new(shown: f64, sums: &[f64; COLUMNS]) -> Self {
        let outcomes = sums[OUTCOMES];
        Self {
            outcomes,
            not_listed: sums[NOT_LISTED],
            lists: sums[LISTS],
            share: sums[LISTS] / shown,
            position: sums[POSITION] / outcomes,
            ndcg: sums[GAIN] / shown,
            mrr: sums[RECIPROCAL] / shown,
            delay_s: sums[DELAY] / outcomes,
            delay_s_p50: median(outcomes, &sums[FIRST_DELAY..]),
        }
    }
}

/// The median of binned delays: within its bin by share, as if all there were spread evenly.
fn median(count: f64, bins: &[f64]) -> f64 {
    let (mut before, half) = (0.0, count / 2.0);
    for (bin, inside) in bins.iter().enumerate() {
        if *inside > 0.0 && before + inside >= half {
            let low = if bin == 0 { 0.0 } else { edge(bin - 1) };
            return low + (edge(bin) - low) * ((half - before) / inside).clamp(0.0, 1.0);
        }
        before += inside;
    }
    f64::NAN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(kind: u8, position: Option<u32>, delay_s: f64, first: bool) -> Joined {
        Joined { kind, weighs: kind != 6, position, delay_s, first, first_of_any: first && kind == 2 }
    }

    /// Ten lists of five; two clicked (at 1 and, twice, at 3), one of them bought from, one passed over.
    fn recorded() -> Joins {
        let mut joins = Joins::new(0.9);
        for list in 0..10 {
            joins.record_shown(if list % 2 == 0 { Cohort::New } else { Cohort::To3 }, 5);
            match list {
                0 => joins.record_outcome(Cohort::New, &joined(2, Some(1), 0.5, true)),
                1 => {
                    joins.record_outcome(Cohort::To3, &joined(2, Some(3), 3.0, true));
                    joins.record_outcome(Cohort::To3, &joined(2, Some(3), 9.0, false));
                    joins.record_outcome(Cohort::To3, &joined(4, Some(3), 100.0, true));
                    joins.record_outcome(Cohort::To3, &joined(4, None, 100.0, false));
                }
                5 => joins.record_outcome(Cohort::To3, &joined(6, Some(5), 1.0, true)),
                _ => {}
            }
        }
        joins
    }

    fn near(found: f64, expected: f64, what: &str) {
        assert!((found - expected).abs() < 1e-12, "{what}: {found} instead of {expected}");
    }

    #[test]
    fn figures_add_up() {
        let all = recorded().shown(None, Window::Lifetime);
        near(all.lists, 10.0, "lists");
        near(all.places, 5.0, "places");
        assert_eq!(all.kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [2, 4, 6]);
        let clicks = all.kinds[0].1;
        near(clicks.outcomes, 3.0, "clicks");
        near(clicks.lists, 2.0, "lists clicked");
        near(clicks.share, 0.2, "click-through");
        near(clicks.position, 7.0 / 3.0, "position");
        near(clicks.mrr, (1.0 + 1.0 / 3.0) / 10.0, "reciprocal");
        near(clicks.ndcg, (1.0 + 0.5) / 10.0, "gain");
        near(clicks.delay_s, 12.5 / 3.0, "delay");
        assert!((2.0..4.0).contains(&clicks.delay_s_p50), "the median is 3: {}", clicks.delay_s_p50);
        near(all.kinds[1].1.not_listed, 1.0, "another item");
        near(all.any.outcomes, 4.0, "any: clicks and the purchase, not what was passed over");
        near(all.any.share, 0.2, "any");
        near(recorded().shown(Some(Cohort::New), Window::Last).kinds[0].1.share, 0.2, "one of five new ones");
        assert!(Joins::new(1.0).shown(None, Window::Lifetime).any.share.is_nan());
    }

    /// A list and its outcome weigh `0.9` each list that came after them.
    #[test]
    fn outcomes_fade_with_the_lists() {
        let weight = |age: i32| 0.9_f64.powi(age);
        let shown: f64 = (0..10).map(weight).sum();
        let faded = recorded().shown(None, Window::Faded);
        near(faded.lists, shown, "lists");
        near(faded.kinds[0].1.share, (weight(9) + weight(8)) / shown, "clicks: ledger made later, same clock");
        near(faded.any.share, (weight(9) + weight(8)) / shown, "any");
    }

    #[test]
    fn sums_come_back_and_merge() {
        let joins = recorded();
        let mut bytes = Vec::new();
        joins.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Joins::decode(0.9, &mut Reader::new(&bytes)), Ok(joins.clone()));
        for cut in 0..bytes.len() {
            assert!(Joins::decode(0.9, &mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        let mut both = Joins::new(0.9);
        both.merge(&joins);
        both.merge(&joins);
        let (one, two) = (joins.shown(None, Window::Faded), both.shown(None, Window::Faded));
        near(two.lists, 2.0 * one.lists, "lists");
        near(two.kinds[1].1.share, one.kinds[1].1.share, "shares are those of like halves");
    }

    #[test]
    fn delays_have_a_bin_each() {
        for (delay_s, bin) in [(0.0, 0), (0.99, 0), (1.0, 1), (2.0, 2), (3.9, 2), (4.0, 3), (1e12, DELAYS - 1)] {
            assert_eq!(delay_bin(delay_s), bin, "{delay_s} s");
        }
    }
}
