//! Generated machines are caught, generated people are left alone.

use super::*;
use crate::base::Rng;
use crate::base::ids::mix;

/// Events of one user over a stream whose stamps have a given grain.
struct User {
    pulse: Pulse,
    grain: Grain,
    limits: AbuseLimits,
}

impl User {
    fn new(grain_ms: i64) -> Self {
        let mut grain = Grain::default();
        (0..2).for_each(|others| grain.observe(others * grain_ms));
        Self { pulse: Pulse::default(), grain, limits: AbuseLimits::default() }
    }

    fn event(&mut self, time_ms: i64, item: u64) -> Verdict {
        self.pulse.observe(time_ms, mix(item), &self.grain, &self.limits).verdict
    }

    /// The number of the first event in quarantine, and why; items are all different.
    fn caught(&mut self, times: impl IntoIterator<Item = i64>) -> Option<(usize, Reason)> {
        (0..).zip(times).find_map(|(at, time_ms)| match self.event(time_ms, at as u64) {
            Verdict::Quarantined { reason } => Some((at, reason)),
            Verdict::Clear => None,
        })
    }
}

/// A timer with normal jitter, its times rounded down to the grain.
fn timer(seed: u64, period_ms: f64, jitter: f64, grain_ms: i64) -> impl Iterator<Item = i64> {
    let (mut rng, mut time) = (Rng::new(seed), 1e12 + 123.0);
    std::iter::from_fn(move || {
        time += period_ms * (1.0 + jitter * rng.normal()).max(0.01);
        Some(time as i64 / grain_ms * grain_ms)
    })
}

/// Sessions of a few to some hundred events; within them log-normal gaps.
fn person(seed: u64, grain_ms: i64) -> impl Iterator<Item = i64> {
    let (mut rng, mut time, mut left) = (Rng::new(seed), 1e12, 0_u64);
    std::iter::from_fn(move || {
        if left == 0 {
            left = 1 + rng.below(200);
            time += 3_600_000.0 * (1.0 + 40.0 * rng.unit());
        }
        left -= 1;
        time += (9.0 + 0.8 * rng.normal()).exp();
        Some(time as i64 / grain_ms * grain_ms)
    })
}

#[test]
fn machines_are_caught_within_200_events_whatever_their_speed() {
    for (period_ms, grain_ms) in [
        (20.0, 1),
        (300.0, 1),
        (1_000.0, 1),
        (18_000.0, 1),
        (18_000.0, 1_000),
        (18_300.0, 1_000),
        (60_000.0, 1_000),
        (3_600_000.0, 1),
        (3_600_000.0, 1_000),
        (600_000.0, 60_000),
    ] {
        for jitter in [0.0, 0.1] {
            for seed in 0..20 {
                let caught = User::new(grain_ms).caught(timer(seed, period_ms, jitter, grain_ms).take(200));
                let told =
                    format!("every {period_ms} ms, jitter {jitter}, grain {grain_ms} ms, seed {seed}: {caught:?}");
                assert!(caught.is_some_and(|(at, _)| at < 200), "{told}");
            }
        }
    }
}

/// A machine that rests, and one that does two things at a time, are machines.
#[test]
fn rests_and_pairs_do_not_hide_a_timer() {
    let rests = timer(1, 20_000.0, 0.05, 1).take(400).enumerate().map(|(at, time)| time + (at / 60) as i64 * 1_800_000);
    assert!(matches!(User::new(1).caught(rests), Some((16..200, Reason::Regular))));
    let pairs = timer(1, 20_000.0, 0.05, 1).take(100).flat_map(|time| [time, time + 3]);
    assert!(matches!(User::new(1).caught(pairs), Some((16..200, Reason::Regular))));
}

#[test]
fn bursty_people_are_left_alone_at_any_grain() {
    for grain_ms in [1, 1_000, 60_000, 3_600_000, 86_400_000] {
        for seed in 0..200 {
            let caught = User::new(grain_ms).caught(person(seed, grain_ms).take(3_000));
            assert_eq!(caught, None, "grain {grain_ms} ms, seed {seed}");
        }
    }
}

/// A page that reports ten films in one second, again and again; and 77 purchases with the stamp of one day.
#[test]
fn many_events_of_one_stamp_are_one_moment() {
    let pages = person(3, 1_000).take(300).flat_map(|time| [time; 10]);
    assert_eq!(User::new(1_000).caught(pages), None);
    let days = (0..400).flat_map(|day| [day * 86_400_000; 77]);
    assert_eq!(User::new(86_400_000).caught(days), None);
    // The same days among stamps of milliseconds: a source in seconds at best, 77 at a time.
    let days = (0..400).flat_map(|day| [day * 86_400_000; 77]);
    assert_eq!(User::new(1).caught(days), None);
    // Every minute one event, told in minutes: nothing can be known of the rhythm.
    assert_eq!(User::new(60_000).caught((0..3_000).map(|minute| minute * 60_000)), None);
    // A stream of one stamp: nothing is known of it at all.
    let mut lonely = User { grain: Grain::default(), ..User::new(1) };
    assert_eq!(lonely.caught([5; 10_000]), None);
}

/// A player that tells every 30 seconds how far its film has come.
#[test]
fn a_heartbeat_of_few_items_is_left_alone() {
    let mut user = User::new(1);
    for at in 0..2_000 {
        assert_eq!(user.event(1_000_000 + at * 30_000, at as u64 / 200), Verdict::Clear, "{at}");
    }
}

#[test]
fn a_quarantine_goes_on_for_the_hold_after_the_last_suspicious_event() {
    let mut user = User::new(1);
    let times: Vec<i64> = timer(7, 10_000.0, 0.0, 1).take(100).collect();
    assert!(user.caught(times.iter().copied()).is_some());
    let last = times[..].iter().take_while(|time| **time <= user.pulse.latest_ms).count() - 1;
    let hold_ms = i64::from(user.limits.hold_s) * 1_000;
    assert_eq!(user.pulse.held_until_ms, times[last] + hold_ms);
    let quarantined = Verdict::Quarantined { reason: Reason::Regular };
    // Two irregular events later it is no longer suspicious, but held; the last suspicious event counts.
    let mut now = times[last];
    for gap in [300, 200_000, 400, 90_000, 1_000_000] {
        now += gap;
        assert_eq!(user.event(now, 1), quarantined);
    }
    assert!(user.pulse.held_until_ms < now + hold_ms && (1..=5).contains(&user.pulse.proof));
    // Probation follows, and ends by itself.
    let over = user.pulse.held_until_ms + PROBATION_MS;
    assert_eq!((user.pulse.verdict(over - 1), user.pulse.verdict(over)), (quarantined, Verdict::Clear));
    assert_eq!(user.event(over, 2), Verdict::Clear);
    let again = user.caught((1..100).map(|at| over + at * 10_000));
    assert!(matches!(again, Some((31..80, Reason::Regular))), "{again:?}");
}

/// A crawler that comes every night, slow or fast, is found in one of its runs, and not one event of a later run passes.
#[test]
fn a_machine_that_was_found_is_held_from_the_first_event_of_its_next_run() {
    let found = |run: &mut dyn FnMut(i64) -> Vec<i64>, reason: Reason| {
        let (mut user, mut passed) = (User::new(1), Vec::new());
        for day in 0..30 {
            let times = run(day * 86_400_000 + 137);
            let verdicts = times.iter().enumerate().map(|(at, time)| user.event(*time, at as u64));
            passed.push(verdicts.filter(|verdict| *verdict == Verdict::Clear).count());
        }
        assert_eq!(user.pulse.verdict(user.pulse.latest_ms), Verdict::Quarantined { reason });
        passed
    };
    // Fifteen pages, one every two seconds: three nights show enough of it.
    let slow = found(&mut |start_ms| (0..15).map(|at| start_ms + 2_000 * at).collect(), Reason::Regular);
    assert!(slow[0] > 0 && slow[3..].iter().all(|passed| *passed == 0), "{slow:?}");
    // Waiting as people do, but 40 pages a minute for two hours.
    let mut rng = Rng::new(13);
    let fast = found(
        &mut |start_ms| {
            let mut time = start_ms as f64;
            let mut next = || {
                time += 1_500.0 * (-(1.0 - rng.unit()).ln());
                time as i64
            };
            (0..4_800).map(|_| next()).collect()
        },
        Reason::Rate,
    );
    assert_eq!((fast[0] > 500, fast[1..].iter().sum::<usize>()), (true, 0), "seed 13: {fast:?}");
}

/// Somebody whose device once played a machine comes as a person does: let go when the quarantine is over, and for good. A
/// machine that was let go for it has changed its pace is found again.
#[test]
fn who_behaves_like_a_person_ends_the_probation() {
    let caught = || {
        let mut user = User::new(1);
        assert!(user.caught(timer(7, 10_000.0, 0.0, 1).take(100)).is_some());
        user
    };
    for seed in 0..50 {
        let mut user = caught();
        let start_ms = user.pulse.held_until_ms + 3_600_000;
        let times = person(seed, 1).map(|time| time - 10_i64.pow(12) + start_ms);
        let held = times.take(1_000).enumerate().map(|(at, time)| user.event(time, at as u64) != Verdict::Clear);
        let held: Vec<bool> = held.collect();
        let free = held.iter().position(|held| !held).expect("let go");
        assert!((usize::from(PROOF) - 1..500).contains(&free), "seed {seed}: {free} of 1,000 held");
        assert!(held[free..].iter().all(|held| !held) && user.pulse.held_until_ms == 0, "seed {seed}");
    }
    let mut user = caught();
    let start_ms = user.pulse.held_until_ms + 3_600_000;
    let slower = timer(8, 45_000.0, 0.1, 1).map(|time| time - 10_i64.pow(12) + start_ms);
    let passed = slower.take(1_000).enumerate().filter(|(at, time)| user.event(*time, *at as u64) == Verdict::Clear);
    assert!((1..150).contains(&passed.count()));
}

#[test]
fn late_events_count_as_they_would_have_and_do_not_turn_time_back() {
    let orders = [[0, 30_000, 60_000, 90_000], [90_000, 0, 60_000, 30_000], [30_000, 90_000, 60_000, 0]];
    let levels = orders.map(|order| {
        let mut user = User::new(1);
        for time in order {
            user.event(time, 1);
        }
        assert_eq!(user.pulse.latest_ms, 90_000);
        (user.pulse.short, user.pulse.long)
    });
    for (short, long) in levels {
        assert!((short - levels[0].0).abs() < 1e-5 && (long - levels[0].1).abs() < 1e-5, "{levels:?}");
    }
    let mut old = User::new(1);
    old.event(10_i64.pow(12), 0);
    assert_eq!(old.caught((0..5_000).map(|at| at * 7_919 % 1_000_003)), None, "a history that is loaded late");
    let mut ends = User::new(1);
    for time in [i64::MIN, i64::MAX, 0, i64::MIN, i64::MAX] {
        ends.event(time, 1);
        assert!([ends.pulse.short, ends.pulse.long, ends.pulse.gap_mean].iter().all(|number| number.is_finite()));
    }
}

#[test]
fn figures_are_what_they_are_called() {
    let mut user = User::new(1);
    let mut last = None;
    for (at, time) in (0..400_u64).zip(timer(2, 10_000.0, 0.1, 1)) {
        last = Some(user.pulse.observe(time, mix(at % 4), &user.grain, &user.limits));
    }
    let Suspicion { rate_per_min, regularity, breadth, .. } = last.unwrap();
    assert!((rate_per_min - 6.0).abs() < 1.0, "{last:?}");
    assert!((regularity.unwrap() - 0.1).abs() < 0.05, "{last:?}");
    assert!(breadth < 0.01, "{last:?}");
}

#[test]
fn the_grain_is_the_greatest_common_divisor() {
    for (times, expected) in [
        (&[5, 5, 5][..], None),
        (&[5, 5, 3_605], Some(3_600)),
        (&[86_400_000 * 3, 86_400_000, 86_400_000 * 8], Some(86_400_000)),
        (&[1_000, 4_000, 2_000], Some(1_000)),
        (&[1_000, 4_000, 2_001, 9_000], Some(1)),
        (&[i64::MIN, i64::MAX, i64::MIN], Some(u64::MAX)),
    ] {
        let mut grain = Grain::default();
        times.iter().for_each(|time| grain.observe(*time));
        assert_eq!(grain.ms(), expected, "{times:?}");
        let mut bytes = Vec::new();
        grain.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Grain::decode(&mut Reader::new(&bytes)), Ok(grain));
    }
}

#[test]
fn a_pulse_goes_on_from_its_bytes() {
    let mut user = User::new(1);
    assert!(user.caught(timer(7, 10_000.0, 0.0, 1).take(100)).is_some());
    let after_ms = user.pulse.held_until_ms + 1_000;
    for (at, gap) in [5_000, 61_000, 7_000, 200_000, 9_000].into_iter().enumerate() {
        user.event(after_ms + gap * (at as i64 + 1), at as u64);
    }
    assert!(user.pulse.proof > 0, "on probation");
    let mut bytes = Vec::new();
    user.pulse.encode(&mut Writer::new(&mut bytes));
    assert_eq!(bytes.len(), 59);
    let mut copy = Pulse::decode(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(copy, user.pulse);
    let next = user.pulse.latest_ms + 777;
    let (one, two) =
        (user.pulse.observe(next, 5, &user.grain, &user.limits), copy.observe(next, 5, &user.grain, &user.limits));
    assert_eq!((one, user.pulse), (two, copy));
    for cut in 0..bytes.len() {
        assert!(Pulse::decode(&mut Reader::new(&bytes[..cut])).is_err());
    }
    // As it was written before there were probations.
    bytes[58] = 1;
    let old = Pulse::decode(&mut Reader::new(&bytes)).unwrap();
    assert_eq!((old.fine, old.proof), (true, 0));
    bytes[16..20].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(Pulse::decode(&mut Reader::new(&bytes)), Err(CursorError::Bad { offset: 16, .. })));
}

/// What two sources have proved together is as fine as what either has.
#[test]
fn grains_of_two_sources_divide_both() {
    let grain = |times: &[i64]| {
        let mut grain = Grain::default();
        times.iter().for_each(|time_ms| grain.observe(*time_ms));
        grain
    };
    let mut merged = grain(&[0, 6_000, 18_000]);
    merged.merge(&grain(&[1, 4_001]));
    assert_eq!(merged, Grain { latest_ms: Some(18_000), grain_ms: 2_000 });
    merged.merge(&Grain::default());
    assert_eq!(merged.ms(), Some(2_000));
}
