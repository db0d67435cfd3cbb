//! The ensemble as a whole: finite, repeatable, the same over an image, on any scale, and worth having.

use super::*;
use crate::base::Rng;
use crate::base::cursor::{CursorError, Reader, Writer};

#[derive(Clone, Copy, Debug)]
struct Rating {
    user: usize,
    item: usize,
    value: f32,
    time_ms: i64,
}

const USERS: usize = 60;
const ITEMS: usize = 90;

/// Ratings 1..5 from biases and two planted factors, with noise.
fn planted(seed: u64, count: usize) -> Vec<Rating> {
    let mut rng = Rng::new(seed);
    let mut draw = |rows: usize| -> Vec<[f64; 3]> {
        (0..rows).map(|_| [0.4 * rng.normal(), rng.normal(), rng.normal()]).collect()
    };
    let (users, items) = (draw(USERS), draw(ITEMS));
    let mut time_ms = 1_600_000_000_000;
    (0..count)
        .map(|_| {
            let (user, item) = (rng.below(USERS as u64) as usize, rng.below(ITEMS as u64) as usize);
            let (p, q) = (users[user], items[item]);
            let value = 3.0 + p[0] + q[0] + 0.7 * (p[1] * q[1] + p[2] * q[2]) + 0.3 * rng.normal();
            time_ms += rng.below(600_000) as i64;
            Rating { user, item, value: value.clamp(1.0, 5.0).round() as f32, time_ms }
        })
        .collect()
}

fn with_rows(options: RatingsOptions) -> Ratings {
    let mut ratings = Ratings::new(options);
    for user in 0..USERS + 5 {
        ratings.insert_user(mix(user as u64));
    }
    for item in 0..ITEMS + 5 {
        ratings.insert_item(mix(1_000 + item as u64));
    }
    ratings
}

fn learn(ratings: &mut Ratings, rating: &Rating) -> f32 {
    ratings.learn(rating.user, rating.item, rating.value, 1.0, rating.time_ms)
}

fn image(ratings: &Ratings) -> Vec<u8> {
    let mut bytes = Vec::new();
    let out = &mut Writer::new(&mut bytes);
    ratings.encode_head(out);
    (0..ratings.users()).for_each(|user| ratings.encode_user(user, out));
    (0..ratings.items()).for_each(|item| ratings.encode_item(item, out));
    bytes
}

fn restored(bytes: &[u8], options: RatingsOptions) -> Result<Ratings, CursorError> {
    let mut ratings = with_rows(options);
    let from = &mut Reader::new(bytes);
    ratings.decode_head(from)?;
    (0..ratings.users()).try_for_each(|user| ratings.decode_user(user, from))?;
    (0..ratings.items()).try_for_each(|item| ratings.decode_item(item, from))?;
    from.finish()?;
    Ok(ratings)
}

#[test]
fn hostile_values_leave_everything_finite() {
    let mut rng = Rng::new(31);
    let values = [0.0, -0.0, 1e30, -1e30, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 3.0, f32::NAN, f32::INFINITY];
    let weights = [1.0, 0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX, 1e-30, 7.5];
    let times = [0, i64::MIN, i64::MAX, 1_600_000_000_000, -5];
    for scale in [None, Some((1.0, 5.0)), Some((5.0, 1.0)), Some((f32::NAN, 1.0)), Some((f32::MIN, f32::MAX))] {
        let mut ratings = with_rows(RatingsOptions { scale, ring_max: 100, ..RatingsOptions::default() });
        for _ in 0..3_000 {
            let mut pick = |from: &[f32]| from[rng.below(from.len() as u64) as usize];
            let (value, weight) = (pick(&values), pick(&weights));
            let time_ms = times[rng.below(times.len() as u64) as usize];
            let (user, item) = (rng.below(8) as usize, rng.below(8) as usize);
            let prediction = ratings.learn(user, item, value, weight, time_ms);
            assert!(prediction.is_finite(), "{prediction} on {scale:?}");
            assert!(ratings.predict(None, Some(item), time_ms).is_finite());
            assert!(ratings.explain(Some(user), None, time_ms).iter().all(|part| part.value.is_finite()));
        }
        let column = ratings.users.find(0).expect("user 0 has rated");
        assert!(ratings.users.get(column).iter().all(|value| value.is_finite() && value.abs() < 1e6));
    }
}

#[test]
fn one_user_and_a_constant_stream() {
    let mut ratings = with_rows(RatingsOptions::default());
    for event in 0..2_000 {
        let prediction = ratings.learn(0, event % 40, 4.0, 1.0, event as i64);
        assert!(event == 0 || (prediction - 4.0).abs() < 0.02, "{prediction} at {event}");
    }
    assert!((ratings.predict(None, None, 0) - 4.0).abs() < 0.02);
    assert!((ratings.mean() - 4.0).abs() < 1e-6);
}

#[test]
fn nothing_is_learned_from_nothing() {
    let mut ratings = with_rows(RatingsOptions::default());
    for rating in planted(32, 500) {
        learn(&mut ratings, &rating);
    }
    let before = image(&ratings);
    for (user, item, value, weight) in [
        (0, 0, 5.0, 0.0),
        (0, 0, 5.0, -1.0),
        (0, 0, f32::NAN, 1.0),
        (0, 0, 5.0, f32::NAN),
        (10_000, 0, 5.0, 1.0),
        (0, usize::MAX, 5.0, 1.0),
        (USERS + 1, ITEMS + 1, 5.0, 0.0),
    ] {
        let expected = ratings.predict(Some(user), Some(item), 0);
        assert_eq!(ratings.learn(user, item, value, weight, 0).to_bits(), expected.to_bits());
    }
    ratings.explain(Some(0), Some(0), 5);
    assert!(before == image(&ratings), "reads and void events must change nothing");
}

#[test]
fn the_same_calls_give_the_same_bits() {
    let stream = planted(33, 2_000);
    let run = || {
        let mut ratings = with_rows(RatingsOptions { ring_max: 300, ..RatingsOptions::default() });
        let predictions: Vec<u32> = stream.iter().map(|rating| learn(&mut ratings, rating).to_bits()).collect();
        (predictions, image(&ratings))
    };
    assert!(run() == run());
}

/// First values belong to ids, so who came first does not matter.
#[test]
fn rows_may_be_numbered_otherwise() {
    // Tables wide enough that no pair is given up: which one goes depends on numbers.
    let options = RatingsOptions { pairs_max: 1 << 14, ..RatingsOptions::default() };
    let (mut one, mut two) = (Ratings::new(options.clone()), Ratings::new(options));
    for row in 0..USERS.max(ITEMS) {
        one.insert_user(mix(row as u64));
        one.insert_item(mix(1_000 + row as u64));
        let other = USERS.max(ITEMS) - 1 - row;
        two.insert_user(mix(other as u64));
        two.insert_item(mix(1_000 + other as u64));
    }
    for rating in planted(34, 1_000) {
        let turned = |row: usize| USERS.max(ITEMS) - 1 - row;
        let expected = learn(&mut one, &rating);
        let Rating { user, item, value, time_ms } = rating;
        assert_eq!(two.learn(turned(user), turned(item), value, 1.0, time_ms).to_bits(), expected.to_bits());
    }
}

#[test]
fn an_image_goes_on_to_the_bit() {
    let options = RatingsOptions { ring_max: 400, pairs_max: 32, ..RatingsOptions::default() };
    let stream = planted(35, 1_500);
    let mut first = with_rows(options.clone());
    for (at, rating) in stream.iter().enumerate() {
        if [0, 1, 7, 399, 1_000].contains(&at) {
            let bytes = image(&first);
            let again = restored(&bytes, options.clone()).expect("our own image");
            assert!(image(&again) == bytes, "image at {at}");
            first = again;
        }
        learn(&mut first, rating);
    }
    let mut straight = with_rows(options);
    stream.iter().for_each(|rating| {
        learn(&mut straight, rating);
    });
    assert!(image(&first) == image(&straight));
}

#[test]
fn damaged_images_are_refused_and_never_panic() {
    let options = RatingsOptions { ring_max: 50, ..RatingsOptions::default() };
    let mut ratings = with_rows(options.clone());
    for rating in planted(36, 200) {
        learn(&mut ratings, &rating);
    }
    let bytes = image(&ratings);
    for cut in (0..bytes.len()).step_by(997) {
        assert!(restored(&bytes[..cut], options.clone()).is_err(), "cut at {cut}");
    }
    let mut rng = Rng::new(37);
    for _ in 0..200 {
        let mut bytes = bytes.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << rng.below(8);
        if let Ok(mut ratings) = restored(&bytes, options.clone()) {
            ratings.learn(0, 0, 3.0, 1.0, 0);
        }
    }
}

#[test]
fn strangers_cost_eight_bytes_and_rated_rows_a_bounded_number() {
    let mut ratings = Ratings::new(RatingsOptions { ring_max: 1_000, ..RatingsOptions::default() });
    for row in 0..10_000 {
        ratings.insert_user(mix(row));
        ratings.insert_item(mix(row + 1));
    }
    assert!(ratings.bytes() <= 2 * 16_384 * 8, "{} bytes", ratings.bytes());
    let mut bytes = Vec::new();
    ratings.encode_head(&mut Writer::new(&mut bytes));
    assert_eq!(bytes, [0, 0]);
    let mut rng = Rng::new(38);
    for event in 0..30_000 {
        let (user, item) = (rng.below(20) as usize, rng.below(400) as usize);
        ratings.learn(user, item, rng.below(5) as f32, 1.0, event);
    }
    assert!(ratings.memories.iter().all(|memory| memory.recent.len() <= neighbours::RECENT));
    assert!(ratings.rows.iter().all(|row| row.bytes() <= 128 * 12));
    assert_eq!((ratings.memories.len(), ratings.rows.len(), ratings.ring.len()), (20, 400, 1_000));
    assert!(ratings.has_user(0) && !ratings.has_user(20) && ratings.has_item(0) && !ratings.has_item(400));
}

/// Squared errors of the ensemble and of the running mean over the second half of a stream.
fn errors(ratings: &mut Ratings, stream: &[Rating]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (at, rating) in stream.iter().enumerate() {
        let mean = ratings.mean();
        let prediction = learn(ratings, rating);
        if at >= stream.len() / 2 {
            for (sum, guess) in sums.iter_mut().zip([prediction, mean]) {
                *sum += f64::from(guess - rating.value).powi(2);
            }
        }
    }
    sums.map(|sum| (sum / (stream.len() - stream.len() / 2) as f64).sqrt())
}

#[test]
fn planted_factors_are_found() {
    for seed in [41, 42, 43] {
        let stream = planted(seed, 8_000);
        let [ensemble, mean] = errors(&mut with_rows(RatingsOptions::default()), &stream);
        assert!(ensemble < 0.62 * mean, "seed {seed}: {ensemble} against {mean} of the mean");
    }
}

#[test]
fn any_scale_gives_the_same_predictions_on_that_scale() {
    let stream = planted(44, 2_000);
    for (factor, shift) in [(10.0, 3.0), (0.25, -0.25), (25.0, -25.0), (-1.0, 0.0)] {
        for scale in [None, Some((1.0_f32, 5.0_f32))] {
            let moved = |value: f32| factor * value + shift;
            let ends = scale.map(|(low, high)| (moved(low).min(moved(high)), moved(low).max(moved(high))));
            let mut plain = with_rows(RatingsOptions { scale, ..RatingsOptions::default() });
            let mut other = with_rows(RatingsOptions { scale: ends, ..RatingsOptions::default() });
            let (mut worst, mut sum) = (0.0_f32, [0.0_f64; 2]);
            for (at, rating) in stream.iter().enumerate() {
                let expected = moved(learn(&mut plain, rating));
                let found = learn(&mut other, &Rating { value: moved(rating.value), ..*rating });
                if at == 0 {
                    continue; // before the first value an unknown scale has no middle to say
                }
                worst = worst.max((expected - found).abs() / factor.abs());
                sum[0] += f64::from(expected - moved(rating.value)).powi(2);
                sum[1] += f64::from(found - moved(rating.value)).powi(2);
            }
            if factor > 0.0 {
                assert!(worst < 0.02, "{factor}, {shift}, {scale:?}: {worst} off");
            } else {
                // First values of factors and of the network are not mirrored: alike in quality only.
                assert!((sum[0] / sum[1]).ln().abs() < 0.1, "{scale:?}: {sum:?}");
            }
        }
    }
}

#[test]
fn parts_add_up() {
    let mut ratings = with_rows(RatingsOptions::default());
    for rating in planted(45, 1_000) {
        let expected = ratings.predict(Some(rating.user), Some(rating.item), rating.time_ms);
        let parts = ratings.explain(Some(rating.user), Some(rating.item), rating.time_ms);
        let sum: f32 = parts.iter().map(|part| part.value).sum();
        assert!((sum - expected).abs() < 1e-4, "{parts:?} make {sum}, not {expected}");
        learn(&mut ratings, &rating);
    }
    let mut inputs: Vec<usize> =
        GROUPS.iter().flat_map(|(_, ranges)| ranges.iter().flat_map(|[from, to]| *from..*to)).collect();
    inputs.sort_unstable();
    assert!(inputs.into_iter().eq(0..rls::INPUTS), "every input is in one group");
}
