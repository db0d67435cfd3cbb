//! Random shards to other numbers of shards: what is known of everybody stays, what is counted stays counted.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::base::{Id, IdRef, Rng};
use crate::evaluate::Window;
use crate::learn::Strategy;
use crate::learn::auto::Training;
use crate::model::{AttributeRule, AttributeType, Attributes, Event, History, Recall, Role, ServedList, Value};
use crate::person::{Control, Dimension, Facets, Person};
use crate::state::tests::{Workload, apply, model, options_of, trade};
use crate::state::{Filter, ImageReader, OutcomeKind};

const NOW_MS: i64 = 1_700_000_000_000;

const ROUTING: Routing = Routing::Keyed([5, 6]);

fn options(shards: u16, training: Training) -> Options {
    let mut options = Options { training, routing: ROUTING, ..options_of(shards, Strategy::NAMES) };
    options.schema.item = vec![
        AttributeRule { role: Role::Facet, ..AttributeRule::new("brand", AttributeType::Category) },
        AttributeRule { role: Role::Price, ..AttributeRule::new("price", AttributeType::Number) },
    ];
    options
}

/// Shards that have been told all kinds of things.
struct World {
    shards: Vec<Shard>,
    workload: Workload,
    rng: Rng,
    step: u64,
}

impl World {
    fn new(seed: u64, shards: u16, training: Training) -> Self {
        let shards = (0..shards).map(|index| Shard::new(index, options(shards, training))).collect();
        Self { shards, workload: Workload::embedding(seed), rng: Rng::new(seed ^ 1), step: 0 }
    }

    fn live(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            match self.rng.below(10) {
                0 => self.ask_something(),
                1 => self.describe(),
                2 => self.show(),
                _ => {
                    let (bytes, id) = self.workload.draw();
                    // Every shard has all embeddings; all else goes to who owns it.
                    match Op::decode(&mut crate::base::Reader::new(&bytes)) {
                        Ok(Op::Embedding { .. }) => self.shards.iter_mut().for_each(|shard| {
                            apply(shard, &bytes);
                        }),
                        _ => {
                            apply(self.of(id.as_ref()), &bytes);
                        }
                    }
                }
            }
            if self.rng.below(60) == 0 {
                trade(&mut self.shards);
            }
        }
    }

    fn of(&mut self, id: IdRef<'_>) -> &mut Shard {
        let shard = ROUTING.shard(id, self.shards.len() as u16);
        &mut self.shards[usize::from(shard)]
    }

    fn someone(&mut self) -> IdRef<'static> {
        IdRef::Int(self.rng.below(600))
    }

    /// A control, a retraction, or two users that become one.
    fn ask_something(&mut self) {
        let (user, item, on) = (self.someone(), IdRef::Int(self.rng.below(900)), self.rng.below(3) > 0);
        let dimension = Dimension::ALL[self.rng.below(5) as usize];
        let control = match self.rng.below(9) {
            0 => Control::MuteFacet("red", on),
            1 => Control::MuteItem(item, on),
            2 => Control::Less(["green", "brand=b2"][self.rng.below(2) as usize], 0.25),
            3 => Control::Reset(dimension, on),
            4 => Control::Pause(self.rng.below(2) == 0),
            5 => return self.join(user),
            _ => {
                let event_id = self.step.saturating_sub(self.rng.below(400));
                let retained = self.of(user).profile(user, false).map(|view| view.user.history.entries().to_vec());
                let held = retained.and_then(|entries| entries.first().map(|entry| entry.event_id));
                self.of(user).apply(&Op::Retract { user, event_id: held.unwrap_or(event_id) });
                return;
            }
        };
        self.of(user).apply(&Op::Control { user, time_ms: NOW_MS, control });
    }

    fn join(&mut self, user: IdRef<'static>) {
        let into = self.someone();
        let taken = [user, into].iter().any(|one| self.of(*one).merged_into(*one).is_some());
        if taken || user == into || self.of(user).apply(&Op::Seal { user, into }).kind != OutcomeKind::Applied {
            return;
        }
        // Some are interrupted there.
        if self.rng.below(4) > 0
            && let Some(bytes) = self.of(user).export_user(user)
        {
            self.of(into).apply(&Op::Absorb { into, user, bytes: &bytes });
            self.of(user).apply(&Op::Empty { user });
        }
    }

    fn describe(&mut self) {
        let (item, time_ms) = (IdRef::Int(self.rng.below(700)), NOW_MS + self.step as i64);
        let mut attributes = Attributes::default();
        attributes.patch("brand", Value::Text(format!("b{}", self.rng.below(5))), time_ms);
        attributes.patch("price", Value::Number(1.0 + self.rng.below(90) as f64), time_ms);
        let tags = vec![["red", "green", "blue", "grey"][self.rng.below(4) as usize]];
        self.of(item).apply(&Op::ItemUpsert { item, time_ms, tags, attributes });
    }

    fn show(&mut self) {
        let (decision, time_ms) = (self.rng.below(300), NOW_MS + self.step as i64);
        let user = IdRef::Int(decision * 2);
        let items = (0..5).map(|at| IdRef::Int(decision + at).stable_hash()).collect();
        let strategy = "decay";
        let served =
            ServedList { user: user.stable_hash(), strategy, served_ms: time_ms, until_ms: time_ms + 90_000, items };
        let (list, item) = (Recall::Known(served), IdRef::Int(decision + self.rng.below(7)));
        let op = match self.rng.below(2) {
            0 => Op::Exposure { decision, user, places: 0, time_ms, list },
            _ => {
                let event = Event { event_id: 1 << 40 | self.step, user, item, kind: 0, value: 1.0, time_ms };
                Op::Outcome { decision, event, list }
            }
        };
        self.of(user).apply(&op);
    }

    /// Installs an item model of all items in every shard.
    fn refit(&mut self) {
        trade(&mut self.shards);
        let model = model(&self.shards[0], self.shards[0].epoch() + 1);
        self.shards.iter_mut().for_each(|shard| {
            shard.install(&model);
        });
    }

    /// The same shards once more, as their images tell them.
    fn copy(&mut self) -> Vec<Shard> {
        self.shards.iter_mut().map(image).collect()
    }
}

fn image(shard: &mut Shard) -> Shard {
    let mut reader = ImageReader::new(shard.options().clone());
    shard.capture_begin();
    while let Some(sections) = shard.capture_some(8) {
        sections.iter().for_each(|section| reader.feed(section).expect("own sections"));
    }
    reader.finish().expect("a whole image")
}

/// A user by names instead of numbers, every bit of it.
fn told(shard: &Shard, slot: usize) -> String {
    let mut user = shard.users.get(slot).clone();
    let name = |number: u32| shard.tags.name(number);
    let history = |history: &mut History| {
        let told: Vec<String> = history
            .oldest_first()
            .map(|entry| {
                let item = shard.items.get(entry.item as usize);
                let described = item.described(entry.described);
                let mut facets: Vec<&str> = described.facets.iter().map(|facet| name(*facet)).collect();
                facets.sort_unstable();
                let numberless = crate::model::Entry { item: 0, described: 0, ..*entry };
                format!("{:?} {numberless:?} {facets:?} {}", item.id, described.log_price.to_bits())
            })
            .collect();
        *history = History::default();
        told
    };
    let facets = |person: &mut Person| {
        let mut told: Vec<String> = Vec::new();
        for facet in person.facets.held() {
            let mut numberless = *facet;
            numberless.number = 0;
            told.push(format!("{} {numberless:?}", name(facet.number)));
        }
        told.sort();
        let counts = (person.facets.events, person.facets.dropped);
        person.facets = Facets::default();
        (counts, told)
    };
    let mut parts = format!("{:?} {:?}", history(&mut user.history), facets(&mut user.person));
    if let Some(controls) = &mut user.controls {
        for aside in &mut controls.aside {
            parts += &format!("{:?} {:?}", history(&mut aside.history), facets(&mut aside.person));
        }
        let mut muted: Vec<String> = controls.muted_facets.drain(..).map(|facet| name(facet).to_owned()).collect();
        muted.extend(controls.muted_items.drain(..).map(|row| shard.item_id(row).to_string()));
        muted.sort();
        let less: Vec<String> =
            controls.less.drain(..).map(|(facet, share)| format!("{} {share}", name(facet))).collect();
        parts += &format!("{muted:?} {less:?}");
    }
    let columns: Vec<u32> = shard
        .arms
        .iter()
        .flat_map(|arm| arm.users.col(slot)[..arm.shape.user_rows].iter().map(|value| value.to_bits()))
        .collect();
    format!("{user:?} {parts} {columns:?}")
}

fn users(shards: &[Shard]) -> BTreeMap<Id, String> {
    let mut users = BTreeMap::new();
    for shard in shards {
        for slot in 0..shard.users.len() {
            let id = shard.users.get(slot).id.clone();
            assert_eq!(ROUTING.shard(id.as_ref(), shards.len() as u16), shard.index, "user {id} is where it belongs");
            assert!(users.insert(id, told(shard, slot)).is_none(), "each once");
        }
    }
    users
}

/// Every item as its owner knows it (else the first that does), with the owner's columns. `own_fits` leaves out the factors
/// that shards fit themselves.
fn items(shards: &[Shard], own_fits: bool) -> BTreeMap<Id, String> {
    let mut items = BTreeMap::new();
    for owned in [true, false] {
        for shard in shards {
            for (row, item) in shard.items.iter().enumerate() {
                if item.owner != shard.index && owned || items.contains_key(&item.id) {
                    continue;
                }
                let mut tags: Vec<&str> = item.tags.iter().map(|tag| shard.tags.name(*tag)).collect();
                tags.sort_unstable();
                let facts = (item.version, item.events, item.weight.to_bits(), item.last_ms, item.tags_ms);
                let decayed = (item.decayed * since_aligned(shard)).to_bits();
                let mut facets: Vec<&str> = item.present().facets.iter().map(|tag| shard.tags.name(*tag)).collect();
                facets.sort_unstable();
                let arms = shard.arms.iter().filter(|arm| own_fits || !fits_itself(arm, &shard.options));
                let columns: Vec<Vec<u32>> = arms
                    .map(|arm| arm.items.col(row)[..arm.shape.item_rows].iter().map(|value| value.to_bits()).collect())
                    .collect();
                let spaces = shard.banked.as_ref().map(|banked| banked.bank.embeddings.spaces()).unwrap_or_default();
                let said: Vec<_> = spaces.iter().map(|space| space.said(row)).collect();
                let told =
                    format!("{facts:?} {decayed} {tags:?} {facets:?} {:?} {columns:?} {said:?}", item.attributes);
                items.insert(item.id.clone(), told);
            }
        }
    }
    items
}

/// What brings decayed sums of a shard to one reference time, the same for all: a power of two, as all are 64 half-lives apart.
fn since_aligned(shard: &Shard) -> f64 {
    let half_life_ms = 1_000.0 * shard.options.popularity_half_life_s;
    let aligned_ms = (NOW_MS as f64 / half_life_ms / 64.0).floor() * half_life_ms * 64.0;
    ((shard.items.reference_ms() - aligned_ms) / half_life_ms).exp2()
}

/// Whole-shard sums, over all shards, as text: exact ones to the bit, others to 9 digits.
fn sums(shards: &[Shard]) -> String {
    let numbers = Numbers::of(shards);
    let Totals { events, spread, population, values, .. } = Totals::of(shards, &numbers);
    assert_eq!(events, shards.iter().map(Shard::event_count).sum::<u64>());
    let facets: BTreeMap<&str, f64> =
        (0..).zip(numbers.names()).map(|(number, name)| (&**name, population.share(number))).collect();
    let values: Vec<_> = values.iter().filter(|(_, values)| values.count() > 0).collect();
    let mut reports = shards[0].reports();
    for shard in &shards[1..] {
        reports.iter_mut().zip(shard.reports()).for_each(|(sum, more)| sum.merge(&more));
    }
    let figures: Vec<_> = reports
        .iter()
        .map(|report| {
            let (figures, shown) = (report.report(), report.joins.shown(None, Window::Lifetime));
            format!("{} {} {:.9} {:?}", figures.predicted, figures.ranked, figures.rmse, shown)
        })
        .collect();
    let foretold: u64 = shards.iter().map(|shard| shard.forecast_report().count).sum();
    // Of people who are known: under a key nobody can tell whose the others are.
    let ids = shards.iter().flat_map(|shard| (0..shard.users.len()).map(|slot| shard.users.get(slot).id.as_ref()));
    let known: HashSet<u64> = ids.map(IdRef::stable_hash).collect();
    let users_of_lists = shards.iter().flat_map(|shard| shard.decisions.users_of_lists());
    let lists = users_of_lists.filter(|user| known.contains(user)).count();
    assert!(lists > 0, "some were shown");
    format!(
        "{events} {} {:.9} {:.6} {values:?} {facets:?} {figures:?} {foretold} {lists}",
        spread.count,
        spread.mean,
        spread.deviation()
    )
}

fn digests(shards: &[Shard]) -> Vec<u64> {
    shards.iter().map(Shard::digest).collect()
}

fn to_others(seed: u64, from: u16, training: Training) {
    let mut world = World::new(seed, from, training);
    world.live(1_200);
    world.refit();
    world.live(600);
    // What waits is delivered first; the originals do the same, to be compared with.
    let mut delivered = world.copy();
    deliver(&mut delivered);
    let own_fits = training == Training::InStep && from == 1;
    let (users_before, items_before) = (users(&delivered), items(&delivered, own_fits));
    let sums_before = sums(&delivered);
    for to in [1, 2, 8] {
        let told = format!("seed {seed}: {from} to {to}");
        let mut resharded = reshard(world.copy(), to, ROUTING);
        assert_eq!(
            digests(&resharded.shards),
            digests(&reshard(world.copy(), to, ROUTING).shards),
            "{told}: deterministic"
        );
        let shards = &mut resharded.shards;
        assert_eq!(shards.len(), usize::from(to));
        assert_eq!(users(shards), users_before, "{told}");
        assert_eq!(items(shards, own_fits), items_before, "{told}");
        assert_eq!(sums(shards), sums_before, "{told}");
        assert_eq!(
            shards.iter().map(|shard| (shard.sequence, shard.outbox_bytes())).max(),
            Some((shards[0].sequence, 0))
        );
        if to == from {
            assert_eq!(digests(shards), digests(&delivered), "{told}: nobody moves");
        }
        for shard in shards.iter_mut() {
            assert!(
                shard.banked.as_ref().is_some_and(|banked| banked.bank.events() > 0),
                "{told}: it knows what was met"
            );
            let mut again = image(shard);
            assert_eq!((again.digest(), again.sequence()), (shard.digest(), shard.sequence()), "{told}: as an image");
            for user in 0..600 {
                for arm in 0..Strategy::NAMES.len() {
                    let list = shard.recommend(arm, IdRef::Int(user), 5, &Filter::default());
                    assert_eq!(list, again.recommend(arm, IdRef::Int(user), 5, &Filter::default()), "{told}");
                }
            }
        }
        // And back, after which nobody is missed.
        let back = reshard(resharded.shards, from, ROUTING).shards;
        assert_eq!(
            (users(&back), items(&back, own_fits)),
            (users_before.clone(), items_before.clone()),
            "{told} and back"
        );
        assert_eq!(sums(&back), sums_before, "{told} and back");
        // They go on, and are told everything there is.
        let mut on = World { shards: back, ..World::new(seed + 7, from, training) };
        on.live(300);
        trade(&mut on.shards);
    }
}

#[test]
fn one_shard_becomes_others() {
    to_others(101, 1, Training::Apart);
}

#[test]
fn one_shard_taught_in_step_becomes_others() {
    to_others(102, 1, Training::InStep);
}

#[test]
fn two_shards_become_others() {
    to_others(103, 2, Training::Apart);
}

#[test]
fn three_shards_taught_in_step_become_others() {
    to_others(104, 3, Training::InStep);
}

/// An event that was learned before is a repeated one afterwards, and one that is taken away leaves no trace in sums.
#[test]
fn what_was_learned_is_recognised_and_can_be_taken_away() {
    let mut world = World::new(105, 2, Training::Apart);
    world.live(1_000);
    let mut shards = reshard(world.copy(), 3, ROUTING).shards;
    let mut taken = 0;
    for id in 0..600 {
        let user = IdRef::Int(id);
        let shard = &mut shards[usize::from(ROUTING.shard(user, 3))];
        let Some(slot) = shard.users.find(user) else { continue };
        for entry in shard.users.get(slot).history.entries().to_vec() {
            if entry.event_id == 0 || shard.is_paused(slot) || shard.merged_into(user).is_some() {
                continue;
            }
            let item = shard.item_id(entry.item).clone();
            let crate::model::Entry { event_id, kind, value, time_ms, .. } = entry;
            let again = Event { event_id, user, item: item.as_ref(), kind, value, time_ms };
            assert_eq!(shard.apply(&Op::Event(again)).kind, OutcomeKind::Duplicate, "user {id}");
            let events = shard.events;
            assert_eq!(shard.apply(&Op::Retract { user, event_id }).kind, OutcomeKind::Applied);
            assert_eq!(shard.events, events - 1);
            taken += 1;
        }
    }
    assert!(taken > 500, "{taken}");
}

/// Sums over columns are made anew as a shard would have them that had kept them event by event: over all items in each, over
/// its own users in each; and the newest users of an item are users of its owner, each once.
#[test]
fn sums_over_columns_are_kept() {
    let (mut workload, mut one) = (Workload::new(106), Shard::new(0, options_of(1, &["eals"])));
    for _ in 0..2_000 {
        apply(&mut one, &workload.draw().0);
    }
    let before = one.arms[0].shared.clone();
    let dim = one.arms[0].shape.user_rows - 1;
    let shards = reshard(vec![one], 3, Routing::Plain).shards;
    let near = |found: &[f32], expected: &[f32]| {
        let most = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let off = found.iter().zip(expected).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
        assert!(most > 0.0 && off < 1e-3 * most, "seed 106: off by {off} of {most}");
    };
    let mut of_users = vec![0.0; dim * dim];
    for shard in &shards {
        let arm = &shard.arms[0];
        near(&arm.shared[..dim * dim], &before[..dim * dim]);
        near(&arm.shared[2 * dim * dim..], &before[2 * dim * dim..]);
        of_users.iter_mut().zip(&arm.shared[dim * dim..]).for_each(|(sum, value)| *sum += value);
        for (row, audience) in arm.audiences.iter().enumerate() {
            let mut slots = audience.clone();
            slots.sort_unstable();
            slots.dedup();
            assert!(slots.len() == audience.len() && slots.iter().all(|slot| (*slot as usize) < shard.users.len()));
            assert!(audience.is_empty() || shard.items.get(row).owner == shard.index);
        }
        assert!(arm.audiences.iter().any(|audience| audience.len() > 1));
    }
    near(&of_users, &before[dim * dim..2 * dim * dim]);
}
