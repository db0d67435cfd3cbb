//! The model on streams in which people with rates of their own stop for ever, part of them after slowing down.

use super::*;

const DAY_MS: i64 = 86_400_000;
const HORIZON_MS: i64 = 14 * DAY_MS;
const HALF_LIVES_S: [f64; 3] = [86_400.0, 7.0 * 86_400.0, 30.0 * 86_400.0];

/// What is known of a person from the events applied, as a shard would keep it.
#[derive(Clone, Default)]
struct Person {
    times_ms: Vec<i64>,
    gap_mean_s: f64,
    gap_squares: f64,
    /// As of the latest event.
    counts: [f64; 3],
    /// Numbers that have nothing to do with staying.
    taste: [f64; 2],
}

fn seconds(from_ms: i64, to_ms: i64) -> f64 {
    (to_ms - from_ms) as f64 / 1_000.0
}

impl Person {
    fn apply(&mut self, time_ms: i64) {
        let since_s = self.times_ms.last().map(|last| seconds(*last, time_ms));
        self.times_ms.push(time_ms);
        for (count, half_life_s) in self.counts.iter_mut().zip(HALF_LIVES_S) {
            *count = *count * (-since_s.unwrap_or(0.0) / half_life_s).exp2() + 1.0;
        }
        if let Some(gap_s) = since_s {
            let off = gap_s - self.gap_mean_s;
            self.gap_mean_s += off / (self.times_ms.len() - 1) as f64;
            self.gap_squares += off * (gap_s - self.gap_mean_s);
        }
    }

    fn inputs(&self, at_ms: i64) -> Option<ChurnInputs> {
        let (first, last) = (self.times_ms.first()?, self.times_ms.last()?);
        let (since_s, gaps) = (seconds(*last, at_ms), self.times_ms.len() as f64 - 1.0);
        assert!(since_s >= 0.0, "asked about the past: events later than {at_ms} are applied");
        let some = |known: bool, value: f64| if known { value } else { f64::NAN };
        Some(ChurnInputs {
            horizon_s: HORIZON_MS as f64 / 1_000.0,
            since_s,
            gap_mean_s: some(gaps >= 1.0, self.gap_mean_s),
            gap_deviation_s: some(gaps >= 2.0, (self.gap_squares / gaps).sqrt()),
            counts: std::array::from_fn(|at| self.counts[at] * (-since_s / HALF_LIVES_S[at]).exp2()),
            half_lives_s: HALF_LIVES_S,
            events: gaps + 1.0,
            tenure_s: seconds(*first, at_ms),
            latest_share: 1.0 / (gaps + 1.0),
            value_mean: self.taste[0],
            breadth: self.taste[1],
        })
    }
}

#[derive(Clone, Default)]
struct World {
    people: Vec<Person>,
}

impl World {
    fn apply(&mut self, (time_ms, slot): (i64, u32), taste: [f64; 2]) {
        let slot = slot as usize;
        if slot == self.people.len() {
            self.people.push(Person { taste, ..Person::default() });
        }
        self.people[slot].apply(time_ms);
    }
}

fn any_in(times_ms: &[i64], after_ms: i64, until_ms: i64) -> bool {
    times_ms.get(times_ms.partition_point(|time| *time <= after_ms)).is_some_and(|time| *time <= until_ms)
}

impl Users for World {
    fn known(&self) -> u32 {
        u32::try_from(self.people.len()).unwrap()
    }

    fn features(&self, slot: u32, at_ms: i64) -> Option<[f32; FEATURES]> {
        Some(self.people[slot as usize].inputs(at_ms)?.vector())
    }

    fn came(&self, slot: u32, after_ms: i64, until_ms: i64) -> Option<bool> {
        Some(any_in(&self.people[slot as usize].times_ms, after_ms, until_ms))
    }
}

/// A stream with the truth about it.
struct Planted {
    /// By time; slots in the order of first events.
    events: Vec<(i64, u32)>,
    times_ms: Vec<Vec<i64>>,
    /// Events a day, by slot.
    rates: Vec<f64>,
}

/// People join over 300 days, stay for 120 on average, and come by a Poisson process of their own rate, 0.02 to 10 times a
/// day; every other one comes at a quarter of it for the last fifth of the stay.
fn planted(people: usize, seed: u64) -> Planted {
    let mut rng = Rng::new(seed);
    let exponential = |rng: &mut Rng, mean: f64| -mean * (1.0 - rng.unit()).ln();
    let mut all: Vec<(Vec<i64>, f64)> = Vec::new();
    for at in 0..people {
        let rate = (0.4 * rng.normal().exp()).clamp(0.02, 10.0);
        let joins = 300.0 * rng.unit();
        let stops = joins + exponential(&mut rng, 120.0);
        let slows = if at % 2 == 0 { stops - 0.2 * (stops - joins) } else { stops };
        let (mut times_ms, mut day) = (Vec::new(), joins);
        while day < stops.min(400.0) {
            times_ms.push((day * DAY_MS as f64) as i64);
            day += exponential(&mut rng, if day < slows { 1.0 / rate } else { 4.0 / rate });
        }
        all.push((times_ms, rate));
    }
    all.retain(|(times_ms, ..)| !times_ms.is_empty());
    all.sort_by_key(|(times_ms, ..)| times_ms[0]);
    let mut events = Vec::new();
    for (slot, (times_ms, ..)) in (0_u32..).zip(&all) {
        events.extend(times_ms.iter().map(|time_ms| (*time_ms, slot)));
    }
    events.sort_unstable();
    let rates = all.iter().map(|(_, rate)| *rate).collect();
    Planted { events, times_ms: all.into_iter().map(|(times_ms, ..)| times_ms).collect(), rates }
}

/// A judged probe, as kept by the tests.
struct Kept {
    slot: u32,
    at_ms: i64,
    features: [f32; FEATURES],
    probability: f64,
    churned: bool,
}

fn run(planted: &Planted, churn: &mut Churn, world: &mut World, events: std::ops::Range<usize>) -> Vec<Kept> {
    let mut kept = Vec::new();
    for event in &planted.events[events] {
        let before = kept.len();
        churn.observe(event.1, event.0, world, &mut |judged| {
            let Judged { slot, at_ms, features, probability, churned } = *judged;
            kept.push(Kept { slot, at_ms, features: *features, probability, churned });
        });
        assert!(kept.len() - before <= SETTLED_MAX && churn.pending() <= PENDING_MAX);
        let mut taste = Rng::new(u64::from(event.1));
        world.apply(*event, [taste.unit(), 2.0 * taste.unit()]);
    }
    kept
}

fn bytes_of(churn: &Churn) -> Vec<u8> {
    let mut bytes = Vec::new();
    churn.encode(&mut Writer::new(&mut bytes));
    bytes
}

/// Area under the ROC curve by ranks, ties by their mean rank.
fn area(kept: &[&Kept], score: impl Fn(&Kept) -> f64) -> f64 {
    let mut ranked: Vec<(f64, bool)> = kept.iter().map(|judged| (score(judged), judged.churned)).collect();
    ranked.sort_by(|one, two| one.0.total_cmp(&two.0));
    let (mut below, mut ordered, mut yes) = (0.0, 0.0, 0.0);
    for tied in ranked.chunk_by(|one, two| one.0 == two.0) {
        let came = tied.iter().filter(|(_, churned)| *churned).count() as f64;
        let no = tied.len() as f64 - came;
        ordered += came * (below + no / 2.0);
        below += no;
        yes += came;
    }
    ordered / (yes * below)
}

/// That a person who comes at `rate` a day, stops at a rate of one in 120 days, and was last seen `since` days ago stays away
/// over 14 days: all that can be known of a Poisson process by who knows the rates (Schmittlein, Morrison & Colombo 1987).
fn best_guess(rate: f64, since: f64) -> f64 {
    let stop = 1.0 / 120.0;
    let both = rate + stop;
    let odds = stop / both * (both * since).min(40.0).exp_m1();
    let gone = odds / (1.0 + odds);
    let away = (-both * 14.0).exp() - stop / both * (-both * 14.0).exp_m1();
    gone + (1.0 - gone) * away
}

#[test]
fn tells_who_will_stay_away() {
    let planted = planted(600, 7);
    let (mut churn, mut world) = (Churn::new(HORIZON_MS, 1), World::default());
    let kept = run(&planted, &mut churn, &mut world, 0..planted.events.len());
    println!("{} events, {} labels", planted.events.len(), kept.len());
    assert_eq!(churn.labels().0, kept.len() as u64);
    let warm: Vec<&Kept> = kept.iter().skip(1_000).collect();
    let month: f32 = 28.0 * 86_400.0;
    let active: Vec<&Kept> = warm.iter().copied().filter(|judged| judged.features[0] < month.ln()).collect();
    for (name, kept, more) in [("all users", &warm, 0.005), ("seen within 28 days", &active, 0.02)] {
        let by = |at: usize| area(kept, |judged| f64::from(judged.features[at]));
        let model = area(kept, |judged| judged.probability);
        let best = area(kept, |judged| {
            best_guess(planted.rates[judged.slot as usize], f64::from(judged.features[0]).exp() / 86_400.0)
        });
        let churned = kept.iter().filter(|judged| judged.churned).count() as f64 / kept.len() as f64;
        println!(
            "{name}: {} labels, {churned:.3} churned; AUC {model:.4}; recency alone {:.4}, in mean gaps {:.4}, silence {:.4}; \
             knowing every rate {best:.4}",
            kept.len(),
            by(0),
            by(1),
            by(3),
        );
        assert!(model >= 0.8, "{name}: {model}");
        assert!(model > by(0) + more && model > by(1) + more && model > by(3) + more, "{name}: {model}");
        assert!(model > best - 0.01, "{name}: {model} of {best}");
    }
    // Probabilities are meant: by tenths, forecast and share lie near each other.
    let mut tenths = [(0.0, 0.0, 0.0); 10];
    for judged in &warm {
        let tenth = &mut tenths[((judged.probability * 10.0) as usize).min(9)];
        *tenth = (tenth.0 + 1.0, tenth.1 + judged.probability, tenth.2 + f64::from(u8::from(judged.churned)));
    }
    let off: f64 = tenths.iter().map(|(_, forecast, came)| (forecast - came).abs()).sum::<f64>() / warm.len() as f64;
    println!("calibration error {off:.4}");
    assert!(off < 0.03, "{off} {tenths:?}");
}

#[test]
fn labels_are_the_truth_and_probes_cover_what_is_asked() {
    let planted = planted(300, 8);
    let (mut churn, mut world) = (Churn::new(HORIZON_MS, 2), World::default());
    let kept = run(&planted, &mut churn, &mut world, 0..planted.events.len());
    let mut recencies = [0; 4];
    for judged in &kept {
        let times_ms = &planted.times_ms[judged.slot as usize];
        let came = any_in(times_ms, judged.at_ms, judged.at_ms + HORIZON_MS);
        assert_eq!(judged.churned, !came, "user {} at {}", judged.slot, judged.at_ms);
        // The features are those of all events up to tau, and of none after it.
        let mut person = Person::default();
        times_ms.iter().filter(|time| **time <= judged.at_ms).for_each(|time| person.apply(*time));
        let mut expected = ChurnInputs { value_mean: 0.0, breadth: 0.0, ..person.inputs(judged.at_ms).unwrap() };
        let mut taste = Rng::new(u64::from(judged.slot));
        (expected.value_mean, expected.breadth) = (taste.unit(), 2.0 * taste.unit());
        assert_eq!(judged.features.map(f32::to_bits), expected.vector().map(f32::to_bits));
        let days = judged.features[0].exp() / 86_400.0;
        recencies[[1.0, 7.0, 30.0].iter().filter(|bound| days > **bound).count()] += 1;
    }
    // Within a day, a week, a month, and longer: all are met, none is rare.
    assert!(recencies.iter().all(|count| *count * 12 > kept.len()), "{recencies:?} of {}", kept.len());
    let of_all = kept.len() as f64 / planted.events.len() as f64;
    assert!((0.5..=1.0).contains(&of_all), "{of_all}");
}

#[test]
fn the_same_calls_give_the_same_bits_and_stored_ones_go_on() {
    let planted = planted(120, 9);
    let (mut churn, mut world) = (Churn::new(HORIZON_MS, 3), World::default());
    let half = planted.events.len() / 2;
    run(&planted, &mut churn, &mut world, 0..half);
    let bytes = bytes_of(&churn);
    let mut reader = Reader::new(&bytes);
    let mut read = Churn::decode(&mut reader).unwrap();
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(bytes_of(&read), bytes);
    let mut same_world = world.clone();
    run(&planted, &mut churn, &mut world, half..planted.events.len());
    run(&planted, &mut read, &mut same_world, half..planted.events.len());
    assert!(churn.labels().0 > 1_000, "{:?}", churn.labels());
    assert_eq!(bytes_of(&read), bytes_of(&churn));
    let mut other = Churn::new(HORIZON_MS, 4);
    run(&planted, &mut other, &mut World::default(), 0..planted.events.len());
    assert_ne!(bytes_of(&other), bytes_of(&churn), "another seed asks others");
}

#[test]
fn bytes_that_were_never_put_are_refused() {
    let planted = planted(20, 10);
    let (mut churn, mut world) = (Churn::new(HORIZON_MS, 5), World::default());
    run(&planted, &mut churn, &mut world, 0..60);
    assert!(churn.pending() > 2);
    let bytes = bytes_of(&churn);
    for cut in 0..bytes.len() {
        assert!(Churn::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
    }
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        match Churn::decode(&mut Reader::new(&bytes)) {
            Err(CursorError::Bad { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(changed(0, &[2]), "version of the risk of churn");
    assert_eq!(changed(1, &0_i64.to_le_bytes()), "horizon in ms");
    assert_eq!(changed(41, &[2]), "mark of the clock");
    assert_eq!(changed(62, &i64::MAX.to_le_bytes()), "time of a probe");
    assert_eq!(changed(bytes.len() - 8, &(-1.0_f64).to_le_bytes()), "variance (bits)");
    assert_eq!(changed(bytes.len() - 16, &f64::NAN.to_le_bytes()), "weight (bits)");
    let labels = 62 + churn.pending() * PROBE_BYTES;
    assert_eq!(changed(labels + 8, &u64::MAX.to_le_bytes()), "churned users");
}

/// A dense stream takes probes no faster than the ring has room, and late events move nothing.
#[test]
fn dense_streams_are_sampled_and_the_ring_is_bounded() {
    let mut rng = Rng::new(11);
    let (mut churn, mut world) = (Churn::new(100_000, 6), World::default());
    let (mut most, mut time_ms, mut judged) = (0, 0, 0);
    for step in 0..200_000_u32 {
        time_ms += i64::try_from(rng.below(4)).unwrap();
        let slot = if step < 50 { step } else { u32::try_from(rng.below(50)).unwrap() };
        churn.observe(slot, time_ms, &world, &mut |_| judged += 1);
        world.apply((time_ms, slot), [0.5, 0.5]);
        most = most.max(churn.pending());
        if step % 1_000 == 0 {
            let before = bytes_of(&churn);
            churn.observe(slot, time_ms - 50, &world, &mut |_| panic!("a late event makes no label known"));
            assert_eq!(bytes_of(&churn), before);
        }
    }
    assert!((PENDING_MAX / 3..=PENDING_MAX).contains(&most), "{most}");
    assert!(judged > 2 * PENDING_MAX / 3, "{judged}");
    let risk = churn.predict(&world.features(3, time_ms).unwrap());
    assert!(risk.probability < 0.01 && risk.evidence == judged as u64, "{risk:?}");
}

/// After a silence longer than the horizon all that wait are due at once: a few at every event, and all labels right.
#[test]
fn a_long_silence_is_worked_off_in_small_steps() {
    let mut planted = planted(200, 12);
    let pause_ms = 3 * HORIZON_MS;
    let middle_ms = 200 * DAY_MS;
    let later = |time_ms: &mut i64| *time_ms += if *time_ms > middle_ms { pause_ms } else { 0 };
    planted.events.iter_mut().for_each(|(time_ms, _)| later(time_ms));
    planted.times_ms.iter_mut().flatten().for_each(later);
    let (mut churn, mut world) = (Churn::new(HORIZON_MS, 7), World::default());
    let split = planted.events.partition_point(|(time_ms, _)| *time_ms <= middle_ms);
    run(&planted, &mut churn, &mut world, 0..split);
    let waiting = churn.pending();
    assert!(waiting > 300, "{waiting}");
    let kept = run(&planted, &mut churn, &mut world, split..split + waiting);
    let old = kept.iter().filter(|judged| judged.at_ms <= middle_ms).count();
    assert_eq!(old, waiting, "all that waited are settled");
    for judged in &kept {
        let times_ms = &planted.times_ms[judged.slot as usize];
        assert_eq!(judged.churned, !any_in(times_ms, judged.at_ms, judged.at_ms + HORIZON_MS));
    }
}

#[test]
fn who_is_forgotten_teaches_nothing_and_what_cannot_be_told_is_dropped() {
    struct Forgetful(World);
    impl Users for Forgetful {
        fn known(&self) -> u32 {
            self.0.known()
        }
        fn features(&self, slot: u32, at_ms: i64) -> Option<[f32; FEATURES]> {
            self.0.features(slot, at_ms)
        }
        fn came(&self, _: u32, _: i64, _: i64) -> Option<bool> {
            None
        }
    }
    let planted = planted(60, 13);
    let (mut churn, mut world) = (Churn::new(HORIZON_MS, 8), World::default());
    run(&planted, &mut churn, &mut world, 0..planted.events.len());
    let waiting = churn.pending();
    let somebody = churn.pending[0].slot;
    churn.forget(somebody);
    assert!(churn.pending() < waiting);
    assert!(churn.pending.iter().all(|probe| probe.slot != somebody && probe.visitor != somebody));
    let labels = churn.labels();
    let end_ms = planted.events[planted.events.len() - 1].0;
    let world = Forgetful(world);
    for step in 1..=40 {
        churn.observe(0, end_ms + HORIZON_MS + step, &world, &mut |_| panic!("nothing can be told"));
    }
    assert_eq!(churn.labels(), labels);
}

/// Probes go with their users, to the bit, whatever slots they have then; what was learned is that of the model with most
/// labels.
#[test]
fn what_waits_goes_with_its_user() {
    let probe = |at_ms, slot, visitor| Probe { at_ms, slot, visitor, features: [slot as f32; FEATURES] };
    let model = |labels: usize, times: &[(i64, u32, u32)]| {
        let mut model = Churn::new(HORIZON_MS, 5);
        (0..labels).for_each(|_| model.learner.learn(&[1.0; FEATURES], true));
        model.pending = times.iter().map(|(at_ms, slot, visitor)| probe(*at_ms, *slot, *visitor)).collect();
        let latest_ms = times.last().map_or(0, |(at_ms, ..)| *at_ms);
        model.clock = Some(Clock { watermark_ms: latest_ms, due_ms: latest_ms + 10 });
        model
    };
    let (one, two) = (model(3, &[(1, 0, 1), (4, 1, 0), (9, 2, 2)]), model(7, &[(2, 0, 0), (6, 1, 0)]));
    // Of the first model users 0 and 2 have come, of the second user 1.
    let places = [[Some(0), None, Some(1)], [None, Some(2), None]];
    let moved = Churn::of_moved(&[&one, &two], |from, slot| places[from][slot as usize]).expect("there are models");
    let waiting: Vec<_> = moved.pending.iter().map(|of| (of.at_ms, of.slot, of.visitor, of.features[0])).collect();
    assert_eq!(waiting, [(1, 0, 0, 0.0), (6, 2, 2, 1.0), (9, 1, 1, 2.0)]);
    assert_eq!(moved.clock, Some(Clock { watermark_ms: 9, due_ms: 19 }));
    assert_eq!((moved.labels(), moved.learner == two.learner), ((7, 7), true));
    assert!(Churn::of_moved(&[], |_, _| None).is_none());
}
