//! Floor 4: what a shard knows, as a deterministic machine.
//!
//! Operations go in with a sequence ([`Shard::apply`]), outcomes come out; questions are answered without changing
//! anything that is kept. No clock, no randomness, no I/O: the same operations give the same bytes, so replay,
//! evaluation, simulation and recovery are one property. `apply` cannot fail and cannot wait: what can go wrong is
//! checked before an operation is made.
//!
//! Invariants: user slots and item rows are dense, in the order of first mention, and never reused; every arm has one
//! column for each of them; the shard changes only users whose id routes here and items that it owns, all else are
//! copies as published.

mod adds;
mod ahead;
mod apply;
pub mod arm;
mod banked;
mod churn;
mod cleaning;
mod contrast;
mod controls;
mod decisions;
#[cfg(test)]
mod decisions_tests;
mod directory;
mod embeddings;
pub mod exchange;
mod explain;
#[cfg(test)]
mod explain_tests;
mod fitting;
mod image;
mod image_reader;
mod items;
mod merge;
pub mod model;
pub mod op;
mod opinions;
mod outcome;
mod person;
pub mod portrait;
mod pretrained;
mod query;
mod repairs;
mod reshard;
mod select;
mod trade;
mod unseen;
mod users;

pub use ahead::AHEAD;
pub use decisions::{Join, Missing};
pub use embeddings::{ModalityView, TasteView};
pub use exchange::Parcel;
pub use explain::{EventPart, Explanation};
pub use image_reader::{ImageError, ImageReader};
pub use items::Item;
pub use model::{EpochModel, EpochPart};
pub use op::Op;
pub use outcome::{Outcome, OutcomeKind};
pub use portrait::Portrait;
pub use query::{ArmView, Basis, Filter, ItemView, Prediction, ProfileView, Ranking, Scored, StrategyReport};
pub use reshard::{Resharded, reshard};
pub use users::User;

use arm::Arm;
use banked::Banked;
use churn::Leaving;
use cleaning::Values;
use decisions::Decisions;
use exchange::Outbox;
use image::Image;
use items::Items;
use users::Users;

use crate::base::{IdRef, Routing, ids::mix};
use crate::learn::auto::Training;
use crate::learn::{ItemSide, Recent, Strategy, Work};
use crate::linalg::TopK;
use crate::model::Schema;
use crate::person::Population;
use crate::person::formula::Formula;
use crate::pipeline::Grain;

/// What a shard is made with. The same for all shards of a server, and for every replay of their journals.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Shards of the server.
    pub shards: u16,
    /// Which of them owns an id. It stands in the data directory, so whoever opens one sets it.
    pub routing: Routing,
    /// The strategies that learn side by side; the first answers where none is named.
    pub strategies: Vec<Strategy>,
    /// What events, users and items are, until an operation says otherwise.
    pub schema: Schema,
    /// Events remembered of each user.
    pub history_max: usize,
    /// Half-life of popularity in seconds; 0 means plain counts.
    pub popularity_half_life_s: f64,
    /// Every n-th event is ranked against all known items before it is learned; 0 means never.
    pub rank_every: u32,
    /// Factor on recent figures at each new record.
    pub fading: f64,
    /// Where first values of factors come from.
    pub seed: u64,
    /// Who teaches the ranker of `auto`.
    pub training: Training,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 1,
            routing: Routing::Plain,
            strategies: vec![Strategy::Auto(crate::learn::Auto::default())],
            schema: Schema::default(),
            history_max: 256,
            popularity_half_life_s: 0.0,
            rank_every: 0,
            fading: 0.999,
            seed: 1,
            training: Training::InStep,
        }
    }
}

impl Options {
    /// Whether a strategy's item columns come from the models that are installed. `auto` taught in step fits its own.
    #[must_use]
    pub fn takes_model(&self, strategy: &Strategy) -> bool {
        let own = self.training == Training::InStep && matches!(strategy, Strategy::Auto(_));
        strategy.shape().items == ItemSide::Model && !own
    }

    /// What journals and images depend on: data written under one fingerprint cannot be read under another. The schema
    /// has no part in it: it is kept beside the journal, and changed in it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint_of("state 2", "")
    }

    /// The fingerprint as it was before there were schemas: behaviour kinds had a part in it.
    #[must_use]
    pub fn fingerprint_1(&self) -> String {
        let kinds = self.schema.kinds.iter().map(|kind| (kind.code, kind.weight, kind.explicit, kind.range));
        self.fingerprint_of("state 1", &format!("kinds {:?}; ", kinds.collect::<Vec<_>>()))
    }

    fn fingerprint_of(&self, version: &str, kinds: &str) -> String {
        let Self { shards, strategies, history_max, popularity_half_life_s, rank_every, fading, seed, .. } = self;
        // Without a bank nothing depends on it.
        let training = match self.training {
            training if strategies.iter().any(Strategy::over_bank) => format!("; training {training:?}"),
            _ => String::new(),
        };
        format!(
            "{version}; shards {shards}; strategies {strategies:?}; {kinds}history {history_max}; popularity \
             {popularity_half_life_s}; ranked {rank_every}; fading {fading}; seed {seed}{training}"
        )
    }
}

/// Running mean and spread of explicit values (Welford 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spread {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    fn add(&mut self, value: f64) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    /// Takes away a value that was added.
    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    fn remove(&mut self, value: f64) {
        if self.count <= 1 {
            *self = Self::default();
            return;
        }
        self.count -= 1;
        let off = value - self.mean;
        self.mean -= off / self.count as f64;
        self.squares = (self.squares - off * (value - self.mean)).max(0.0);
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    fn deviation(&self) -> f64 {
        if self.count < 2 { 0.0 } else { (self.squares / (self.count - 1) as f64).sqrt() }
    }
}

/// One shard: its users, its items, its arms.
#[derive(Debug)]
pub struct Shard {
    options: Options,
    /// The schema in force.
    schema: Schema,
    /// Its traits.
    formulas: Vec<(String, Formula)>,
    index: u16,
    /// Sequence of the newest operation applied; 0 before the first.
    sequence: u64,
    /// Events learned.
    events: u64,
    /// Epoch of the item model.
    epoch: u32,
    spread: Spread,
    users: Users,
    items: Items,
    tags: Tags,
    /// How many events met each facet.
    population: Population,
    /// Values of all users, by kind.
    values: Values,
    /// How finely time is told.
    grain: Grain,
    /// Who may leave.
    leaving: Box<Leaving>,
    arms: Vec<Arm>,
    /// What strategies over the bank know; `None` if there is none.
    banked: Option<Box<Banked>>,
    /// Lists that were shown, and what came of them.
    decisions: Decisions,
    /// Observations for each other shard, by shard.
    outboxes: Vec<Outbox>,
    /// Newest sequence merged from each other shard, by shard.
    merged: Vec<u64>,
    /// Rows changed since they were last published, in the order of their first change.
    dirty: std::collections::VecDeque<u32>,
    published: u64,
    capture: Option<Box<Image>>,
    scratch: Scratch,
}

/// Buffers that are used and forgotten: no part of the state.
#[derive(Debug, Default)]
struct Scratch {
    work: Work,
    recent: Vec<Recent>,
    seen: Vec<u32>,
    /// Rows of a history's events that weigh something, in its order.
    met: Vec<u32>,
    /// The scores of all items, unless `opined`.
    scores: Vec<f32>,
    /// Whether the scores are opinions of the bank instead, which stand there.
    opined: bool,
    column: Vec<f32>,
    top: TopK,
    allowed: Vec<bool>,
}

/// Tag names and their numbers in this shard.
#[derive(Debug, Default)]
struct Tags {
    names: Vec<Box<str>>,
    numbers: hashbrown::HashMap<Box<str>, u32, foldhash::fast::RandomState>,
}

impl Tags {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("memory ends before 2^32 tags");
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

impl Shard {
    /// An empty shard.
    ///
    /// # Panics
    /// If there is no strategy, or `index` is no shard of `options.shards`.
    #[must_use]
    pub fn new(index: u16, options: Options) -> Self {
        assert!(!options.strategies.is_empty(), "a shard learns with at least one strategy");
        assert!(index < options.shards, "shard {index} of {}", options.shards);
        let shards = usize::from(options.shards);
        let arm = |strategy: &Strategy| Arm::new(strategy.clone(), options.fading, options.seed);
        Self {
            index,
            sequence: 0,
            events: 0,
            epoch: 0,
            spread: Spread::default(),
            users: Users::default(),
            items: Items::new(options.popularity_half_life_s),
            tags: Tags::default(),
            population: Population::default(),
            values: Values::default(),
            grain: Grain::default(),
            leaving: Box::new(Leaving::new(&options.schema, mix(options.seed ^ 5))),
            arms: options.strategies.iter().map(arm).collect(),
            banked: Banked::new(&options),
            decisions: Decisions::new(options.strategies.len(), options.fading),
            outboxes: vec![Outbox::default(); shards],
            merged: vec![0; shards],
            dirty: std::collections::VecDeque::new(),
            published: 0,
            capture: None,
            scratch: Scratch::default(),
            formulas: portrait::formulas(&options.schema),
            schema: options.schema.clone(),
            options,
        }
    }

    /// Which shard this is.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The schema in force.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Sequence of the newest operation applied; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Epoch of the item model in use; 0 before the first refit.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Newest sequence merged from shard `source`.
    #[must_use]
    pub fn merged(&self, source: u16) -> u64 {
        self.merged[usize::from(source)]
    }

    /// Sequences up to `sequence` are taken, by operations that are lost: the next one comes after them.
    pub fn skip_to(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    /// The outbox for shard `target`.
    pub fn outbox(&mut self, target: u16) -> &mut Outbox {
        &mut self.outboxes[usize::from(target)]
    }

    /// Bytes of observations that wait for other shards.
    #[must_use]
    pub fn outbox_bytes(&self) -> usize {
        self.outboxes.iter().map(Outbox::held_bytes).sum()
    }

    fn owner(&self, item: IdRef<'_>) -> u16 {
        self.options.routing.shard(item, self.options.shards)
    }
}

#[cfg(test)]
mod auto_tests;
#[cfg(test)]
mod person_tests;
#[cfg(test)]
mod tests;
