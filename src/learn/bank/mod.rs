//! The bank: cheap statistics of who met what, out of which ranking strategies propose, describe and score items.
//!
//! Every part is O(1) memory an item, a user or a pair, and is learned on the path of the acknowledgement, in bounded
//! work. A strategy over the bank names the parts that it needs; the parts know nothing of strategies.
//!
//! Users are numbered by slot and items by row, as in the shard. The clock is the number of events learned.

pub mod alive;
pub mod attention;
pub mod counts;
pub mod embeddings;
pub mod groups;
pub mod loss;
pub mod pairs;
pub mod pretrained;
pub mod sequence;
pub mod space;
pub mod tags;
pub mod taste;
pub mod toplist;
pub mod trails;
pub mod visitors;
pub mod window;

use alive::Alive;
use attention::Attention;
use counts::{Counts, GRID, cohort};
use embeddings::Embeddings;
use groups::Groups;
use pairs::PairSums;
use sequence::Sequence;
use tags::Tags;
use toplist::TopList;
use trails::Trail;
use visitors::{Visit, Visitors};
use window::{Met, Window};

use crate::base::Captured;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::ids::mix;

/// Grid points of decayed popularity whose best items are kept in lists: 100, 1,600 and 25,600 events, and plain.
pub const LISTED: [usize; 4] = [0, 2, 4, GRID - 1];

/// What an image takes apart of a bank, in the order of [`Bank::parts`]: what it is, and how many stand in one section where
/// nobody is in a hurry.
pub const PARTS: [(&str, usize); 5] = [
    ("pairs of items", 16),
    ("sequence vectors", 64),
    ("counts of items", 256),
    ("attention vectors", 64),
    ("events of the window", 4_096),
];

/// The grid point that says which items are alive: 25,600 events.
const SLOW: usize = 4;

/// The share of arrivals to begin with, and the slowest rate at which it follows.
const ARRIVALS: (f32, f32) = (0.02, 0.001);

/// All parts.
#[derive(Debug)]
pub struct Bank {
    /// Events learned.
    events: u64,
    trails: Vec<Trail>,
    /// Mean milliseconds between two events of the stream, running.
    spacing_ms: f64,
    latest_ms: i64,
    /// How much, how often, how recently.
    pub counts: Counts,
    /// Most popular items at the grid points of [`LISTED`].
    pub lists: [TopList; LISTED.len()],
    /// The items worth a look.
    pub alive: Alive,
    /// What comes together.
    pub pairs: PairSums,
    /// Who came last.
    pub visitors: Visitors,
    /// Running share of events whose item nobody had met before, of those whose item has tags or vectors.
    pub arrivals: f32,
    /// What items are about.
    pub tags: Tags,
    /// What items look, read or sound like.
    pub embeddings: Embeddings,
    /// What people alike turn to.
    pub groups: Groups,
    /// What follows what.
    pub sequence: Sequence,
    /// The newest events.
    pub window: Window,
    /// The neural step, if a strategy needs it.
    pub attention: Option<Box<Attention>>,
    /// Whether it learns by [`Bank::learn_attention`] instead of by [`Bank::learn`]: an option, no part of the state.
    pub attention_apart: bool,
}

impl Bank {
    /// Nothing learned yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            events: 0,
            trails: Vec::new(),
            spacing_ms: 0.0,
            latest_ms: 0,
            counts: Counts::default(),
            lists: Default::default(),
            alive: Alive::default(),
            pairs: PairSums::default(),
            visitors: Visitors::default(),
            arrivals: ARRIVALS.0,
            tags: Tags::default(),
            embeddings: Embeddings::new(mix(seed ^ 7)),
            groups: Groups::default(),
            sequence: Sequence::new(seed),
            window: Window::default(),
            attention: None,
            attention_apart: false,
        }
    }

    /// Events learned: the clock.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Items there are.
    #[must_use]
    pub fn items(&self) -> usize {
        self.counts.item_count()
    }

    /// Users there are.
    #[must_use]
    pub fn trail_count(&self) -> usize {
        self.trails.len()
    }

    /// Adds a user.
    pub fn insert_user(&mut self) {
        self.trails.push(Trail::default());
        self.groups.insert_user();
    }

    /// Adds an item; `seed` belongs to its id.
    pub fn insert_item(&mut self, seed: u64) {
        self.counts.insert();
        self.pairs.insert();
        self.visitors.insert();
        self.tags.insert();
        self.embeddings.insert();
        self.sequence.insert(seed);
        if let Some(attention) = &mut self.attention {
            attention.insert(seed);
        }
    }

    /// The newest items of a user.
    #[must_use]
    #[inline]
    pub fn trail(&self, user: usize) -> &Trail {
        &self.trails[user]
    }

    /// Mean milliseconds between two events, at least a nanosecond.
    #[must_use]
    pub fn spacing_ms(&self) -> f64 {
        self.spacing_ms.max(1e-6)
    }

    /// Time of the latest event, in milliseconds.
    #[must_use]
    pub fn latest_ms(&self) -> i64 {
        self.latest_ms
    }

    /// Sets the tags of an item.
    pub fn set_tags(&mut self, item: usize, tags: &[u32]) {
        let met = self.counts.get(item).events > 0;
        self.tags.set(item, tags, met);
    }

    /// Whether anything but its events speaks of an item: tags or vectors.
    #[must_use]
    #[inline]
    pub fn is_described(&self, item: usize) -> bool {
        self.embeddings.has(item) || !self.tags.of(item).is_empty()
    }

    /// Whether nobody met an item yet that is described: then it is compared with its like alone.
    #[must_use]
    #[inline]
    pub fn is_newcomer(&self, item: u32) -> bool {
        self.counts.get(item as usize).events == 0 && self.is_described(item as usize)
    }

    /// Gives an item a vector of length 1 in a modality, or takes it away, as it was at `time_ms`.
    pub fn put_embedding(&mut self, modality: usize, item: usize, time_ms: i64, vector: Option<&[f32]>) {
        let met = self.counts.get(item).events > 0;
        self.embeddings.put(modality, item, time_ms, vector, met);
    }

    /// Puts another trail in the place of a user's: items and times, oldest first. What the items have learned stays.
    pub fn set_trail(&mut self, user: usize, met: impl Iterator<Item = (u32, i64)>) {
        let mut trail = Trail::default();
        met.for_each(|(item, time_ms)| trail.push(item, time_ms));
        self.trails[user] = trail;
    }

    /// Puts this trail in the place of a user's, as it was kept elsewhere.
    pub fn put_trail(&mut self, user: usize, trail: Trail) {
        self.trails[user] = trail;
    }

    /// Learns that `user` met `item`.
    pub fn learn(&mut self, user: usize, item: usize, time_ms: i64) {
        let x = self.events;
        self.keep_time(time_ms);
        let position = self.trails[user].count() as u32;
        let met = Met { user: user as u32, item: item as u32, position };
        self.groups.learn(user, met.item);
        self.visitors.learn(item, Visit { user: met.user, position });
        let rescaled = self.counts.learn(item, cohort(position as usize), x);
        for (list, at) in self.lists.iter_mut().zip(LISTED) {
            if rescaled {
                list.refresh(|item| self.counts.get(item as usize).popularity[at]);
            }
            list.rise(met.item, self.counts.get(item).popularity[at]);
        }
        let first = (self.counts.get(item).events == 1).then_some(met.item);
        if self.is_described(item) {
            let rate = (1.0 / (x as f32 + 50.0)).max(ARRIVALS.1);
            self.arrivals += rate * (f32::from(u8::from(first.is_some())) - self.arrivals);
        }
        self.tags.learn(item, first.is_some());
        if self.embeddings.any() {
            if first.is_some() {
                self.embeddings.met(item);
            }
            self.embeddings.learn(x, &self.window, self.trails[user].newest(taste::LOOKED), met.item);
        }
        let counts = &self.counts;
        self.alive.learn(x, first, counts.item_count(), |item| counts.get(item as usize).popularity[SLOW]);
        let trail = &self.trails[user];
        self.pairs.learn(met.item, trail.newest(pairs::PAIRED), trail.sitting(time_ms), x);
        self.trails[user].push(met.item, time_ms);
        let trails = &self.trails;
        self.sequence.learn(&self.window, met, |slot| &trails[slot as usize]);
        if let Some(attention) = self.attention.as_mut().filter(|_| !self.attention_apart) {
            attention.learn(x, &self.window, met, |slot| &trails[slot as usize]);
        }
        self.window.push(met);
        self.events += 1;
    }

    /// Attention learns the newest event, where that is not done on the path of the event itself.
    pub fn learn_attention(&mut self) {
        let Self { attention, attention_apart: true, window, trails, events, .. } = self else { return };
        if let (Some(attention), Some(met)) = (attention, window.newest(1).next()) {
            attention.learn(*events - 1, window, met, |slot| &trails[slot as usize]);
        }
    }

    fn keep_time(&mut self, time_ms: i64) {
        if self.events > 0 {
            let gap = time_ms.saturating_sub(self.latest_ms).max(0) as f64;
            self.spacing_ms += (gap - self.spacing_ms) / self.events.min(100_000) as f64;
        }
        self.latest_ms = if self.events == 0 { time_ms } else { self.latest_ms.max(time_ms) };
    }
}

impl Bank {
    /// Parts of which an event changes more than what is of its user and its item, so that an image takes them apart.
    pub fn parts(&self) -> [Option<&dyn Captured>; PARTS.len()] {
        let attention = self.attention.as_deref().map(|attention| attention as &dyn Captured);
        [Some(&self.pairs), Some(&self.sequence), Some(&self.counts), attention, Some(&self.window)]
    }

    /// The same, to be captured or read.
    pub fn parts_mut(&mut self) -> [Option<&mut dyn Captured>; PARTS.len()] {
        let attention = self.attention.as_deref_mut().map(|attention| attention as &mut dyn Captured);
        [Some(&mut self.pairs), Some(&mut self.sequence), Some(&mut self.counts), attention, Some(&mut self.window)]
    }

    /// Appends what is kept over all users and items.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        out.u64(self.events).f64(self.spacing_ms).i64(self.latest_ms);
        self.counts.encode_head(out);
        for list in &self.lists {
            out.count(list.entries().len());
            for (sum, item) in list.entries() {
                out.f32(*sum).u32(*item);
            }
        }
        self.alive.encode(out);
        self.tags.encode_head(out);
        self.sequence.encode_head(out);
        self.window.encode_head(out);
        if let Some(attention) = &self.attention {
            attention.encode_head(out);
        }
    }

    /// Reads what [`Self::encode_head`] wrote, into a bank that has learned nothing. With the `whole`, as images up to version
    /// 5 have it: vectors and window stand in it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a bank.
    pub fn decode_head(&mut self, from: &mut Reader<'_>, whole: bool) -> Result<(), CursorError> {
        (self.events, self.spacing_ms, self.latest_ms) = (from.u64()?, from.f64()?, from.i64()?);
        self.counts.decode_head(from)?;
        for list in &mut self.lists {
            let count = from.count(8, toplist::TOP_MAX)?;
            let entry = |from: &mut Reader<'_>| Ok((from.f32()?, from.u32()?));
            *list = TopList::restored((0..count).map(|_| entry(from)).collect::<Result<_, CursorError>>()?);
        }
        self.alive = Alive::decode(from)?;
        self.tags.decode_head(from)?;
        self.sequence.decode_head(from)?;
        let items = if whole { from.count(4, usize::MAX)? } else { 0 };
        (0..items).try_for_each(|_| self.sequence.decode_one(from))?;
        match whole {
            true => self.window = Window::decode_whole(from)?,
            false => self.window.decode_head(from)?,
        }
        if let Some(attention) = &mut self.attention {
            attention.decode_head(from)?;
            (0..items).try_for_each(|_| attention.decode_one(from))?;
        }
        Ok(())
    }

    /// Appends what is kept of one user.
    pub fn encode_user(&self, user: usize, out: &mut Writer<'_>) {
        self.trails[user].encode(out);
    }

    /// Adds a user as [`Self::encode_user`] wrote it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a user.
    pub fn decode_user(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.trails.push(Trail::decode(from)?);
        Ok(())
    }

    /// Appends what is kept of one item, but for its [parts](Self::parts).
    pub fn encode_item(&self, item: usize, out: &mut Writer<'_>) {
        self.visitors.encode_item(item, out);
        self.tags.encode_item(item, out);
    }

    /// Adds an item as [`Self::encode_item`] wrote it; with the `whole`, as images up to version 5 have it: counts and pairs
    /// stand in it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not an item.
    pub fn decode_item(&mut self, from: &mut Reader<'_>, whole: bool) -> Result<(), CursorError> {
        if whole {
            self.counts.decode_one(from)?;
            self.pairs.decode_one(from)?;
        }
        self.visitors.decode_item(from)?;
        self.tags.decode_item(from)
    }
}
