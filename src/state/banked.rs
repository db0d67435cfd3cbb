//! The bank in a shard: what strategies over it know, and how `auto` is taught. What they answer: [`super::opinions`].
//!
//! The bank learns on the path of the acknowledgement, from the events of this shard's users. The ranker of `auto` is
//! taught off it: *in step*, before each event, by the shard itself ([`Shard::train`]); or *apart*, where the shard hands
//! out examples ([`Shard::example`], which changes nothing) and takes weights back as operations ([`Shard::take_ranker`]).
//! Either way what the shard knows follows from its operations alone.

use super::Outcome;
use super::Shard;
use super::arm::Arm;
use crate::base::Captured;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::ids::mix;
use crate::base::{IdRef, Rng};
use crate::learn::auto::example::{Described, Example, STRANGERS};
use crate::learn::auto::gather::{Asker, Factors, Gather};
use crate::learn::auto::network::Pass;
use crate::learn::auto::ranker::{Ranker, Weights};
use crate::learn::auto::trainer::{Trainer, TrainerOptions};
use crate::learn::auto::{self, Training, features, newcomers};
use crate::learn::bank::attention::{Attention, AttentionOptions};
use crate::learn::bank::{Bank, PARTS};
use crate::learn::ratings::{Ratings, RatingsOptions};
use crate::learn::{self, Auto, Opinions, Strategy};
use crate::model::{Event, Kinds};

/// Events learned before the first example: with less there is nothing to describe candidates by.
const FIRST_EXAMPLE: u64 = 200;

/// The bank and what goes with it.
#[derive(Debug)]
pub(super) struct Banked {
    pub(super) bank: Bank,
    /// The ranker of `auto`; the first arm's if there are several.
    pub(super) ranker: Option<Ranker>,
    /// Predicts explicit values for `auto`.
    pub(super) ratings: Option<Ratings>,
    /// Which events become examples, and their negatives.
    pub(super) rng: Rng,
    /// Events learned at which item factors are fitted next, in step.
    pub(super) next_fit: u64,
    pub(super) scratch: Scratch,
}

/// Buffers of queries: no part of the state.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    gather: Gather,
    rows: Vec<f32>,
    pass: Pass,
    scores: Vec<f32>,
    pub(super) opinions: Opinions,
}

impl Banked {
    /// An empty bank, if a strategy ranks by it.
    pub(super) fn new(options: &super::Options) -> Option<Box<Self>> {
        let over_bank = options.strategies.iter().any(Strategy::over_bank);
        let auto = options.strategies.iter().find_map(|strategy| match strategy {
            Strategy::Auto(auto) => Some(auto),
            _ => None,
        });
        let ranker = auto.map(|auto| new_ranker(auto, options.training, options.seed));
        let seed = options.seed;
        let alone = |strategy: &Strategy| matches!(strategy, Strategy::Attention(_));
        let mut bank = Bank::new(mix(seed));
        bank.attention = attention_options(options).map(|options| Box::new(Attention::new(mix(seed ^ 3), options)));
        bank.embeddings.declare(options.schema.modalities());
        bank.attention_apart = options.training == Training::InStep && !options.strategies.iter().any(alone);
        over_bank.then(|| {
            Box::new(Self {
                bank,
                ratings: auto.map(|_| new_ratings(&options.schema.kinds, options.seed)),
                ranker,
                rng: Rng::new(mix(options.seed ^ 1)),
                next_fit: auto::FIRST_FIT,
                scratch: Scratch::default(),
            })
        })
    }

    /// Appends what is kept over all users and items.
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.next_fit);
        self.rng.words().iter().for_each(|word| {
            out.u64(*word);
        });
        self.bank.encode_head(out);
        if let Some(ranker) = &self.ranker {
            ranker.encode(out);
        }
        if let Some(ratings) = &self.ratings {
            ratings.encode_head(out);
        }
        self.bank.groups.encode_head(out);
        out.f32(self.bank.arrivals);
        self.bank.embeddings.encode_head(out);
        for part in self.bank.parts() {
            out.count(part.map_or(0, Captured::count));
        }
    }

    /// Reads what [`Self::encode`] wrote in an image of this version, into an empty bank of the same options. Says how many
    /// there are of each part that the image takes apart.
    pub(super) fn decode(
        &mut self,
        from: &mut Reader<'_>,
        image: u8,
    ) -> Result<Option<[u32; PARTS.len()]>, CursorError> {
        self.next_fit = from.u64()?;
        self.rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        self.bank.decode_head(from, image < 6)?;
        self.ranker.as_mut().map_or(Ok(()), |ranker| ranker.decode(from))?;
        self.ratings.as_mut().map_or(Ok(()), |ratings| ratings.decode_head(from))?;
        if image > 3 {
            self.bank.groups.decode_head(from)?;
        }
        if image > 4 {
            self.bank.arrivals = from.f32()?;
            self.bank.embeddings.decode_head(from)?;
        }
        if image < 6 {
            return Ok(None);
        }
        let mut counts = [0; PARTS.len()];
        counts.iter_mut().try_for_each(|count| from.u32().map(|told| *count = told))?;
        Ok(Some(counts))
    }

    /// Adds a user whose id hashes to `hash`.
    pub(super) fn insert_user(&mut self, hash: u64) {
        self.bank.insert_user();
        if let Some(ratings) = &mut self.ratings {
            ratings.insert_user(hash);
        }
    }

    /// Adds an item whose id hashes to `hash`.
    pub(super) fn insert_item(&mut self, hash: u64, seed: u64) {
        self.bank.insert_item(mix(seed ^ hash.rotate_left(32)));
        if let Some(ratings) = &mut self.ratings {
            ratings.insert_item(hash);
        }
    }

    /// Appends what is kept of one user.
    pub(super) fn encode_user(&self, slot: usize, out: &mut Writer<'_>) {
        self.bank.encode_user(slot, out);
        if let Some(ratings) = &self.ratings {
            ratings.encode_user(slot, out);
        }
        self.bank.groups.encode_user(slot, out);
    }

    /// Adds a user as [`Self::encode_user`] wrote it in an image of this version.
    pub(super) fn decode_user(&mut self, hash: u64, from: &mut Reader<'_>, image: u8) -> Result<(), CursorError> {
        self.bank.decode_user(from)?;
        if let Some(ratings) = &mut self.ratings {
            ratings.insert_user(hash);
            ratings.decode_user(ratings.users() - 1, from)?;
        }
        if image > 3 {
            self.bank.groups.decode_user(from)
        } else {
            self.bank.groups.insert_user();
            Ok(())
        }
    }

    /// Appends what is kept of one item.
    pub(super) fn encode_item(&self, row: usize, out: &mut Writer<'_>) {
        self.bank.encode_item(row, out);
        if let Some(ratings) = &self.ratings {
            ratings.encode_item(row, out);
        }
        self.bank.embeddings.encode_item(row, out);
    }

    /// Adds an item as [`Self::encode_item`] wrote it in an image of this version.
    pub(super) fn decode_item(&mut self, hash: u64, from: &mut Reader<'_>, image: u8) -> Result<(), CursorError> {
        self.bank.decode_item(from, image < 6)?;
        if let Some(ratings) = &mut self.ratings {
            ratings.insert_item(hash);
            ratings.decode_item(ratings.items() - 1, from)?;
        }
        if image > 4 {
            self.bank.embeddings.decode_item(from)
        } else {
            self.bank.embeddings.insert();
            Ok(())
        }
    }

    /// A user as queries see it, whose history holds `met`.
    pub(super) fn asker<'a>(
        &self,
        slot: Option<usize>,
        met: &'a [u32],
        excluded: &'a [u32],
        time_ms: i64,
    ) -> Asker<'a> {
        let known = |slot: &usize| self.bank.trail(*slot).count() > 0 || self.bank.groups.knows(*slot);
        let user = slot.filter(known);
        Asker { user, met, excluded, time_ms }
    }

    /// Opinions of a strategy for a user, into `scratch.opinions`: of what is proposed, or of the `given` items.
    pub(super) fn opine(&mut self, arm: &Arm, asker: Asker<'_>, given: Option<&[u32]>) {
        let Self { bank, ranker, scratch, .. } = self;
        let Scratch { gather, rows, pass, scores, opinions } = scratch;
        opinions.clear();
        let factors = factors(arm);
        match (&arm.strategy, ranker) {
            (Strategy::Auto(auto), Some(ranker)) => {
                gather.run(bank, factors, asker, auto.candidates);
                if let Some(items) = given {
                    gather.add_given(bank, items);
                }
                features::fill(gather, bank, factors, asker, rows);
                ranker.score(rows, pass, scores);
                newcomers::settle(gather, bank, ranker.networks(), scores);
                let wanted = if given.is_some() { gather.proposed } else { 0 };
                opinions.extend(gather.candidates.iter().copied().zip(scores.iter().copied()).skip(wanted));
            }
            (strategy, _) => {
                if let Some(strategy) = strategy.as_over_bank() {
                    strategy.opine(bank, gather, factors, asker, opinions);
                }
            }
        }
    }

    /// The raw features of one item for a user, and what its score is moved by as a newcomer's; `None` if the bank does not
    /// know it.
    pub(super) fn features_of(
        &mut self,
        arm: &Arm,
        asker: Asker<'_>,
        item: u32,
        candidates: usize,
    ) -> Option<(Vec<f32>, f32)> {
        let Scratch { gather, rows, pass, scores, .. } = &mut self.scratch;
        gather.run(&self.bank, factors(arm), asker, candidates);
        gather.add_given(&self.bank, &[item]);
        features::fill(gather, &self.bank, factors(arm), asker, rows);
        let given = &rows[gather.proposed * features::STRIDE..];
        let given = (!given.is_empty()).then(|| given.to_vec())?;
        let mut shift = 0.0;
        if let Some(ranker) = self.ranker.as_ref().filter(|_| self.bank.is_newcomer(item)) {
            ranker.score(rows, pass, scores);
            shift = newcomers::settle(gather, &self.bank, ranker.networks(), scores);
        }
        Some((given, shift))
    }

    /// The features of all candidates for a user, of `item` and of some strangers.
    fn describe(&mut self, arm: &Arm, auto: &Auto, asker: Asker<'_>, item: u32, rng: &mut Rng) -> Described<'_> {
        let Scratch { gather, rows, .. } = &mut self.scratch;
        gather.run(&self.bank, factors(arm), asker, auto.candidates);
        let came = gather.candidates.iter().position(|candidate| *candidate == item).unwrap_or_else(|| {
            gather.add_given(&self.bank, &[item]);
            gather.proposed
        });
        gather.add_strangers(&self.bank, STRANGERS, rng);
        gather.add_newcomers(&self.bank, item);
        features::fill(gather, &self.bank, factors(arm), asker, rows);
        Described {
            rows,
            proposed: gather.proposed,
            compared: gather.compared,
            came,
            population: self.bank.alive.items().len(),
            newcomers: gather.newcomers.len(),
        }
    }
}

/// How much the neural step learns, if a strategy has it: as that strategy says, or as a part of `auto`. On the path of
/// events, where `auto` is taught apart, a share has to do; where nobody teaches the ranker, it would never be asked.
fn attention_options(options: &super::Options) -> Option<AttentionOptions> {
    let alone = options.strategies.iter().find_map(|strategy| match strategy {
        Strategy::Attention(strategy) => Some(strategy.options()),
        _ => None,
    });
    let has_part = |strategy: &Strategy| matches!(strategy, Strategy::Auto(auto) if auto.attention > 0);
    let part = match options.training {
        Training::InStep => Some(learn::Attention::default().options()),
        Training::Apart => Some(AttentionOptions { replays: 1, train_full: 20_000, train_share: 0.125 }),
        Training::Never => None,
    };
    alone.or(part.filter(|_| options.strategies.iter().any(has_part)))
}

fn new_ranker(auto: &Auto, training: Training, seed: u64) -> Ranker {
    let options = TrainerOptions { replays: auto.replays, ..TrainerOptions::default() };
    let trainer = Trainer::new(mix(seed ^ 2), auto.networks, options);
    match training {
        Training::InStep => Ranker::InStep(Box::new(trainer)),
        Training::Apart | Training::Never => Ranker::Installed(Box::new(trainer.weights())),
    }
}

/// Explicit kinds that agree on a scale have it; otherwise it is learned.
fn new_ratings(kinds: &Kinds, seed: u64) -> Ratings {
    let mut scales: Vec<_> = kinds.iter().filter(|kind| kind.explicit).map(|kind| kind.range).collect();
    scales.dedup();
    let scale = if let [scale] = scales[..] { scale } else { None };
    Ratings::new(RatingsOptions { scale, seed, ..RatingsOptions::default() })
}

fn factors(arm: &Arm) -> Factors<'_> {
    Factors { items: &arm.items, model: &arm.model, l2: auto::L2, unobserved_weight: auto::UNOBSERVED_WEIGHT }
}

impl Shard {
    /// Adds a user to the bank.
    pub(super) fn bank_user(&mut self, id: IdRef<'_>) {
        if let Some(banked) = &mut self.banked {
            banked.insert_user(id.stable_hash());
        }
    }

    /// Adds an item to the bank.
    pub(super) fn bank_item(&mut self, id: IdRef<'_>) {
        if let Some(banked) = &mut self.banked {
            banked.insert_item(id.stable_hash(), self.options.seed);
        }
    }

    /// Predicts the value of an explicit event and learns it. `None` without `auto`.
    pub(super) fn learn_rating(&mut self, slot: usize, row: usize, event: &Event<'_>) -> Option<f32> {
        let weight = self.schema.kinds.get(event.kind)?.weight;
        if self.capture.is_some() {
            let (users, items) = self.banked.as_ref()?.ratings.as_ref()?.touched_by(slot);
            users.into_iter().for_each(|slot| self.touch_user(slot as usize));
            self.touch_item(row);
            items.into_iter().for_each(|row| self.touch_item(row as usize));
        }
        let ratings = self.banked.as_mut()?.ratings.as_mut()?;
        Some(ratings.learn(slot, row, event.value, weight, event.time_ms))
    }

    /// The values that a user would give items, if `auto` has learned any.
    pub(super) fn predict_ratings(
        &mut self,
        slot: Option<usize>,
        rows: &[Option<usize>],
        time_ms: i64,
    ) -> Option<Vec<f32>> {
        let ratings = self.banked.as_mut()?.ratings.as_mut()?;
        (ratings.learned() > 0).then(|| rows.iter().map(|row| ratings.predict(slot, *row, time_ms)).collect())
    }

    /// The bank learns an event that weighs something. Rows of the user's newest items change with it.
    pub(super) fn bank_learn(&mut self, slot: usize, row: usize, time_ms: i64) {
        self.touch_item(row);
        if let Some(banked) = &mut self.banked {
            banked.bank.learn(slot, row, time_ms);
        }
    }

    /// Teaches the ranker, in step, from an event that is about to be applied; fits item factors where that is due.
    /// Part of [`Shard::apply`], after the event was tested; apart so that its time can be told from that of the update.
    pub fn train(&mut self, event: &Event<'_>) {
        if self.options.training != Training::InStep {
            return;
        }
        let Some(arm) = self.auto_arm() else { return };
        if let Some(banked) = &mut self.banked {
            banked.bank.learn_attention();
        }
        self.fit_if_due(arm);
        let Some(Strategy::Auto(auto)) = self.arms.get(arm).map(|arm| arm.strategy.clone()) else { return };
        let Some(banked) = &mut self.banked else { return };
        let events = banked.bank.events();
        let share =
            if events < auto.train_full { 1.0 } else { auto.train_share.max(auto.train_full as f64 / events as f64) };
        let mut rng = banked.rng.clone();
        let drawn = share > 0.0 && rng.unit() < share;
        let example = if drawn { self.example_with(arm, &auto, event, &mut rng) } else { None };
        let Some(banked) = &mut self.banked else { return };
        banked.rng = rng;
        if let (Some(example), Some(Ranker::InStep(trainer))) = (example, &mut banked.ranker) {
            trainer.learn(example);
        }
    }

    /// An example for whoever teaches the ranker apart, from an event that is about to be applied: changes nothing.
    pub fn example(&mut self, event: &Event<'_>) -> Option<Example> {
        let arm = self.auto_arm()?;
        let Strategy::Auto(auto) = self.arms[arm].strategy.clone() else { return None };
        let mut rng = Rng::new(self.sequence);
        self.example_with(arm, &auto, event, &mut rng)
    }

    /// The ranker's weights take over: the operation that [`super::Op::Ranker`] names.
    pub(super) fn take_ranker(&mut self, version: u32, weights: &[u8]) -> Outcome {
        let decoded = Weights::decode(&mut Reader::new(weights));
        if let (Some(banked), Ok(weights)) = (&mut self.banked, decoded)
            && matches!(banked.ranker, Some(Ranker::Installed(_)))
        {
            banked.ranker = Some(Ranker::Installed(Box::new(weights)));
        }
        Outcome::applied(version)
    }

    /// The weights that answer, if `auto` is at work.
    #[must_use]
    pub fn ranker(&self) -> Option<Weights> {
        self.banked.as_ref()?.ranker.as_ref().map(Ranker::weights)
    }

    pub(super) fn auto_arm(&self) -> Option<usize> {
        self.arms.iter().position(|arm| matches!(arm.strategy, Strategy::Auto(_)))
    }

    fn example_with(&mut self, arm: usize, auto: &Auto, event: &Event<'_>, rng: &mut Rng) -> Option<Example> {
        let row = self.items.find(event.item)?;
        let slot = self.users.find(event.user);
        let (_, weight) = self.weigh(slot, event);
        let repeated = slot.is_some_and(|slot| {
            self.users.get(slot).history.holds(event.event_id)
                || self.refusal(slot, event).is_some()
                || self.is_held(slot, event.time_ms)
        });
        if weight <= 0.0 || repeated || self.banked.as_ref()?.bank.events() < FIRST_EXAMPLE {
            return None;
        }
        self.scratch.seen.clear();
        if let Some(slot) = slot {
            self.collect_seen(slot);
        }
        self.collect_met(slot);
        let banked = self.banked.as_mut()?;
        let asker = banked.asker(slot, &self.scratch.met, &self.scratch.seen, event.time_ms);
        let described = banked.describe(&self.arms[arm], auto, asker, u32::try_from(row).ok()?, rng);
        described.draw(auto.negatives, rng)
    }
}
