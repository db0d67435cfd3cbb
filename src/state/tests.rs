//! The machine as a whole: replay, images taken under way, shards that deal with each other.

use super::*;
use crate::base::{Id, Rng};
use crate::learn::Strategy;
use crate::learn::auto::Training;
use crate::model::{AttributeRule, AttributeType, Attributes, Event, Modality, Role, Schema, Value};

/// A seeded mix of operations over few users and items, so that everything meets everything.
pub(super) struct Workload {
    rng: Rng,
    next_event_id: u64,
    time_ms: i64,
    /// Whether some operations are embeddings.
    embeds: bool,
}

/// Modalities of the tests' schema.
const MODALITIES: [(&str, u16); 2] = [("look", 6), ("sound", 4)];

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self { rng: Rng::new(seed), next_event_id: 1, time_ms: 1_700_000_000_000, embeds: false }
    }

    /// With embeddings.
    pub(super) fn embedding(seed: u64) -> Self {
        Self { embeds: true, ..Self::new(seed) }
    }

    /// The bytes of one operation, and the user (or item) that routes it.
    pub(super) fn draw(&mut self) -> (Vec<u8>, Id) {
        let mut bytes = Vec::new();
        let (user, item) = (self.rng.below(600), self.rng.below(700));
        self.time_ms += self.rng.below(60_000) as i64;
        let id = match self.rng.below(100) {
            0 => {
                let mut attributes = Attributes::default();
                attributes.patch("age", Value::Number(self.rng.below(90) as f64), self.time_ms);
                Op::UserUpsert { user: IdRef::Int(user), time_ms: self.time_ms, attributes }.encode(&mut bytes);
                Id::Int(user)
            }
            1..=3 => {
                let tags = vec![["red", "green", "blue"][self.rng.below(3) as usize], "all"];
                let (time_ms, attributes) = (self.time_ms, Attributes::default());
                Op::ItemUpsert { item: IdRef::Int(item), time_ms, tags, attributes }.encode(&mut bytes);
                Id::Int(item)
            }
            4..=6 => self.event(&mut bytes, user, item, self.next_event_id / 2),
            7..=21 if self.embeds => self.embed(&mut bytes, item),
            _ => self.event(&mut bytes, user, item, self.next_event_id),
        };
        self.next_event_id += 1;
        (bytes, id)
    }

    /// A vector, or now and then that there is none any more; sometimes one that is late.
    fn embed(&mut self, bytes: &mut Vec<u8>, item: u64) -> Id {
        let (modality, dim) = MODALITIES[self.rng.below(2) as usize];
        let vector: Vec<f32> = (0..dim).map(|_| self.rng.normal() as f32).collect();
        let mut vector = crate::learn::bank::embeddings::unit_bytes(&vector).expect("not all zero");
        if self.rng.below(8) == 0 {
            vector.clear();
        }
        let (item, time_ms) = (IdRef::Int(item), self.time_ms - self.rng.below(600_000) as i64);
        Op::Embedding { item, modality, time_ms, vector: &vector }.encode(bytes);
        item.to_owned()
    }

    fn event(&mut self, bytes: &mut Vec<u8>, user: u64, item: u64, event_id: u64) -> Id {
        let late = if self.rng.below(10) == 0 { self.rng.below(90_000_000) as i64 } else { 0 };
        let (kind, value) = if self.rng.below(2) == 0 { (5, 1.0 + self.rng.below(5) as f32) } else { (0, 1.0) };
        let (user, item) = (IdRef::Int(user), IdRef::Int(item));
        let time_ms = self.time_ms - late;
        op::put_event(bytes, &Event { event_id, user, item, kind, value, time_ms });
        user.to_owned()
    }
}

/// Every strategy.
fn options(shards: u16) -> Options {
    options_of(shards, Strategy::NAMES)
}

pub(super) fn options_of(shards: u16, names: &[&str]) -> Options {
    let named = |name: &&str| Strategy::default_named(name).expect("listed");
    Options {
        shards,
        strategies: names.iter().map(named).collect(),
        history_max: 20,
        popularity_half_life_s: 3_600.0,
        rank_every: 7,
        schema: Schema {
            modalities: MODALITIES.iter().map(|(name, dim)| Modality { name: (*name).into(), dim: *dim }).collect(),
            ..Schema::default()
        },
        ..Options::default()
    }
}

pub(super) fn apply(shard: &mut Shard, bytes: &[u8]) -> Outcome {
    let mut reader = crate::base::Reader::new(bytes);
    let op = Op::decode(&mut reader).expect("own bytes");
    reader.finish().expect("one operation");
    shard.apply(&op)
}

/// A model of random factors for all items that the shard knows.
pub(super) fn model(shard: &Shard, epoch: u32) -> EpochModel {
    let mut rng = Rng::new(u64::from(epoch));
    let ids: Vec<Id> = shard.item_ids().cloned().collect();
    let parts = shard
        .model_dims()
        .into_iter()
        .map(|dim| {
            let factors: Vec<f32> = (0..ids.len() * dim).map(|_| rng.normal() as f32 / 8.0).collect();
            EpochPart { dim, gram: crate::linalg::solve::gram(&factors, dim, 0.3), factors }
        })
        .collect();
    EpochModel { epoch, ids, parts }
}

#[test]
fn the_same_operations_give_the_same_bits() {
    let mut workload = Workload::embedding(31);
    let (mut one, mut two) = (Shard::new(0, options(1)), Shard::new(0, options(1)));
    for step in 0..4_000 {
        if step == 2_000 {
            let model = model(&one, 1);
            one.install(&model);
            two.install(&model);
        }
        let (bytes, _) = workload.draw();
        let (first, second) = (apply(&mut one, &bytes), apply(&mut two, &bytes));
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "step {step}");
    }
    assert_eq!(one.digest(), two.digest());
    assert_eq!(one.sequence(), 4_001);
}

/// An image begun at some sequence holds exactly that moment, whatever is learned while it is written.
#[test]
fn an_image_taken_under_way_is_the_moment_it_began() {
    image_under_way(&options(1));
}

/// The same of attention alone, whose weights every event changes.
#[test]
fn an_image_of_attention_taken_under_way_is_the_moment_it_began() {
    image_under_way(&options_of(1, &["attention"]));
}

/// A bank without attention: the parts behind it keep their kinds.
#[test]
fn an_image_of_a_bank_without_attention_is_the_moment_it_began() {
    image_under_way(&options_of(1, &["content"]));
}

fn image_under_way(options: &Options) {
    let mut workload = Workload::embedding(37);
    let mut shard = Shard::new(0, options.clone());
    for _ in 0..3_000 {
        apply(&mut shard, &workload.draw().0);
    }
    shard.install(&model(&shard, 1));
    for _ in 0..500 {
        apply(&mut shard, &workload.draw().0);
    }
    let (digest, sequence) = (shard.digest(), shard.sequence());
    shard.capture_begin();
    let mut reader = ImageReader::new(options.clone());
    let mut tail = Vec::new();
    while let Some(sections) = shard.capture_some(1) {
        for section in sections {
            for cut in section.chunks(1_000) {
                reader.feed(cut).expect("own sections");
            }
        }
        let (bytes, _) = workload.draw();
        apply(&mut shard, &bytes);
        tail.push(bytes);
    }
    assert!(tail.len() > 4, "operations went on meanwhile");
    let mut restored = reader.finish().expect("a whole image");
    assert_eq!((restored.digest(), restored.sequence()), (digest, sequence));
    for bytes in &tail {
        apply(&mut restored, bytes);
    }
    assert_eq!(restored.digest(), shard.digest(), "image and tail are the present");
}

#[test]
fn a_repeated_event_id_changes_nothing() {
    let mut shard = Shard::new(0, options(1));
    let mut bytes = Vec::new();
    let event = Event { event_id: 7, user: IdRef::Int(1), item: IdRef::Int(2), kind: 5, value: 4.0, time_ms: 5 };
    op::put_event(&mut bytes, &event);
    assert_eq!(apply(&mut shard, &bytes).kind, OutcomeKind::Applied);
    let before = (shard.event_count(), shard.profile(IdRef::Int(1), true).map(|view| view.digest));
    let again = apply(&mut shard, &bytes);
    assert_eq!((again.kind, again.version), (OutcomeKind::Duplicate, 1));
    assert_eq!(before, (shard.event_count(), shard.profile(IdRef::Int(1), true).map(|view| view.digest)));
}

/// Two shards with parcels and publications between them, against one shard that does it all.
#[test]
fn item_counts_over_shards_are_exact_and_parcels_count_once() {
    let mut workload = Workload::new(41);
    let mut whole = Shard::new(0, options(1));
    let mut parts: Vec<Shard> = (0..2).map(|index| Shard::new(index, options(2))).collect();
    for step in 0..3_000 {
        let (bytes, id) = workload.draw();
        apply(&mut whole, &bytes);
        apply(&mut parts[usize::from(id.as_ref().shard(2))], &bytes);
        if step % 50 == 0 {
            trade(&mut parts);
        }
    }
    trade(&mut parts);
    trade(&mut parts);
    for row in 0..whole.item_count() {
        let id = whole.item_id(row as u32).clone();
        let expected = whole.item(id.as_ref()).expect("known");
        for part in &parts {
            let found = part.item(id.as_ref()).expect("published everywhere");
            assert_eq!((found.item.events, &found.tags), (expected.item.events, &expected.tags), "item {id}");
        }
    }
    let users: usize = parts.iter().map(Shard::user_count).sum();
    assert_eq!(users, whole.user_count());
}

/// Delivers everything, each parcel twice: what was merged must not count again.
pub(super) fn trade(parts: &mut [Shard]) {
    let count = parts.len() as u16;
    let pairs = || (0..count).flat_map(|one| (0..count).filter(move |two| *two != one).map(move |two| (one, two)));
    for (source, target) in pairs() {
        while let Some(parcel) = parts[usize::from(source)].outbox(target).take() {
            let Parcel { upto, count, bytes } = &parcel;
            let mut encoded = Vec::new();
            Op::Merge { source, upto: *upto, count: *count, bytes }.encode(&mut encoded);
            apply(&mut parts[usize::from(target)], &encoded);
            apply(&mut parts[usize::from(target)], &encoded);
            parts[usize::from(source)].outbox(target).acknowledge(*upto);
        }
    }
    for owner in 0..count {
        while let Some(Parcel { upto, count, bytes }) = parts[usize::from(owner)].publish(100) {
            let mut encoded = Vec::new();
            Op::Rows { owner, generation: upto, count, bytes: &bytes }.encode(&mut encoded);
            for (_, other) in pairs().filter(|(one, _)| *one == owner) {
                apply(&mut parts[usize::from(other)], &encoded);
            }
        }
    }
}

#[test]
fn filters_hold_and_new_users_get_what_is_popular() {
    let mut shard = Shard::new(0, Options { history_max: 256, ..options_of(1, &["decay"]) });
    let tags = |item: u64| if item.is_multiple_of(2) { "even" } else { "odd" };
    for item in 0..20_u64 {
        let (id, time_ms) = (IdRef::Int(item), 1);
        shard.apply(&Op::ItemUpsert { item: id, time_ms, tags: vec![tags(item)], attributes: Attributes::default() });
        for user in 0..item {
            let (user, item) = (IdRef::Int(100 + user), id);
            shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 2 }));
        }
    }
    let ids = |ranking: &Ranking| ranking.items.iter().map(|scored| scored.item.clone()).collect::<Vec<_>>();
    let newcomer = shard.recommend(0, IdRef::Int(9_999), 3, &Filter::default());
    assert_eq!((ids(&newcomer), newcomer.basis), (vec![Id::Int(19), Id::Int(18), Id::Int(17)], Basis::NewUser));

    let user = IdRef::Int(500);
    for item in [1, 3, 5] {
        let item = IdRef::Int(item);
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 3 }));
    }
    let seen = Filter { exclude_seen: true, ..Filter::default() };
    let odd = shard.recommend(0, user, 5, &seen);
    assert_eq!(odd.basis, Basis::Learned);
    let is_odd = |id: &Id| matches!(id, Id::Int(number) if number % 2 == 1);
    assert!(ids(&odd).iter().all(|id| is_odd(id) && ![Id::Int(1), Id::Int(3), Id::Int(5)].contains(id)), "{odd:?}");

    let even = ["even".to_owned()];
    let deny = [Id::Int(18)];
    let filter = Filter { deny_items: &deny, allow_tags: &even, ..Filter::default() };
    let some = ids(&shard.recommend(0, user, 100, &filter));
    assert!(some.len() == 9 && !some.iter().any(is_odd) && !some.contains(&Id::Int(18)), "{some:?}");
    let only = [Id::Int(2), Id::Int(7)];
    let filter = Filter { allow_items: &only, deny_tags: &even, ..Filter::default() };
    assert_eq!(ids(&shard.recommend(0, user, 100, &filter)), vec![Id::Int(7)]);
    assert_eq!(shard.similar(0, IdRef::Int(2), 3).map(|items| items.len()), Some(3));
}

/// After a refit, a read of a user not touched since sees the new space, and changes nothing that is kept.
#[test]
fn reads_after_a_refit_fold_in_without_keeping() {
    let mut workload = Workload::new(43);
    let mut shard = Shard::new(0, options(1));
    let mut read_later = Shard::new(0, options(1));
    for _ in 0..2_000 {
        let (bytes, _) = workload.draw();
        apply(&mut shard, &bytes);
        apply(&mut read_later, &bytes);
    }
    let model = model(&shard, 1);
    shard.install(&model);
    read_later.install(&model);
    let before = shard.digest();
    for user in 0..600 {
        for arm in 0..Strategy::NAMES.len() {
            shard.recommend(arm, IdRef::Int(user), 10, &Filter::default());
            shard.predict(arm, IdRef::Int(user), &[Id::Int(3), Id::Int(100_000)]);
        }
        shard.profile(IdRef::Int(user), true);
    }
    assert_eq!(shard.digest(), before);
    for _ in 0..2_000 {
        let (bytes, _) = workload.draw();
        apply(&mut shard, &bytes);
        apply(&mut read_later, &bytes);
    }
    assert_eq!(shard.digest(), read_later.digest());
}

/// The strategies that there were up to version 4.
const FIRST_STRATEGIES: &[&str] = Strategy::NAMES.split_at(15).0;

/// What images of this version were written with.
fn options_of_version(version: u32) -> Options {
    match version {
        1 => options_of(2, &["decay", "mean", "biased_mf", "fold_in", "popularity"]),
        2 | 3 => Options { training: Training::Apart, ..options_of(2, FIRST_STRATEGIES) },
        _ => {
            let (facet, price) = (AttributeType::Category, AttributeType::Number);
            let item = vec![
                AttributeRule { role: Role::Facet, ..AttributeRule::new("maker", facet) },
                AttributeRule { role: Role::Price, ..AttributeRule::new("price", price) },
            ];
            let base = if version < 5 { options_of(2, FIRST_STRATEGIES) } else { options(2) };
            let modalities = if version < 5 { Vec::new() } else { base.schema.modalities.clone() };
            let schema = Schema { item, modalities, ..base.schema.clone() };
            Options { training: Training::Apart, schema, ..base }
        }
    }
}

/// Images are read for ever. One from before figures had cohorts and shards had banks (version 1) decodes, and what it
/// says is unchanged; one of the present version decodes and encodes to the same bytes.
#[test]
fn images_of_all_versions_are_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state");
    let image = |shard: &mut Shard| -> Vec<u8> {
        shard.capture_begin();
        std::iter::from_fn(|| shard.capture_some(1)).flatten().flatten().collect()
    };
    let mut digests = Vec::new();
    for version in [1, 2, 3, 4, 5, 6] {
        let mut workload = if version < 5 { Workload::new(47) } else { Workload::embedding(47) };
        let mut fresh = Shard::new(0, options_of_version(version));
        for _ in 0..60 {
            apply(&mut fresh, &workload.draw().0);
        }
        let path = folder.join(format!("v{version}/image.bin"));
        if std::env::var_os("MIRRA_BLESS").is_some() && !path.exists() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
            std::fs::write(&path, image(&mut fresh)).expect("the fixture can be written");
        }
        let golden = std::fs::read(&path).expect("the fixture is there");
        let mut reader = ImageReader::new(options_of_version(version));
        reader.feed(&golden).expect("sections");
        let mut shard = reader.finish().expect("a whole image");
        assert_eq!(shard.sequence(), 60);
        for (old, new) in shard.reports().iter().zip(fresh.reports()) {
            let learns_to_rank = version < 4 && old.strategy == "auto";
            let (old, new) = (old.report(), new.report());
            assert_eq!((old.predicted, old.ranked), (new.predicted, new.ranked), "version {version}");
            let near = |a: f64, b: f64| (a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan());
            assert!(near(old.rmse, new.rmse) && near(old.faded_rmse, new.faded_rmse), "{version}: {old:?} {new:?}");
            // How well `auto` ranks is no promise of a format, it gets better: the images say what it was.
            let said = if learns_to_rank { 0.044_525_898_388_502_77 } else { new.ndcg_at_10 };
            assert!(near(old.ndcg_at_10, said), "{version}: {old:?} {new:?}");
        }
        assert!(version < 6 || image(&mut shard) == golden, "the image's bytes changed: that needs a new version");
        digests.push(shard.digest());
    }
    assert_eq!(digests[4], digests[5], "the same state, in two versions");
}
