//! Fused scores against the formula, weights against planted ones, order of statements, images.

use super::*;
use crate::learn::bank::window::Met;

const DIMS: [usize; 2] = [20, 8];

fn random_unit(rng: &mut Rng, dim: usize) -> Vec<f32> {
    let vector: Vec<f32> = (0..dim).map(|_| rng.normal() as f32).collect();
    unit(&vector).expect("not all zero")
}

/// Two modalities, `a` and `b`; every item has `a`, but for every fifth, and every second has `b`. `a` sits in a corner.
fn filled(items: usize, seed: u64) -> Embeddings {
    let (mut embeddings, mut rng) = (Embeddings::new(seed), Rng::new(seed));
    embeddings.declare([("a", DIMS[0]), ("b", DIMS[1])].into_iter());
    for item in 0..items {
        embeddings.insert();
        let mut a: Vec<f32> = random_unit(&mut rng, DIMS[0]);
        a[0] += 1.5;
        if item % 5 != 4 {
            embeddings.put(0, item, 1, Some(&unit(&a).expect("not zero")), false);
        }
        if item % 2 == 0 {
            embeddings.put(1, item, 1, Some(&random_unit(&mut rng, DIMS[1])), false);
        }
    }
    embeddings
}

fn bytes(embeddings: &Embeddings) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes);
    embeddings.encode_head(&mut out);
    (0..embeddings.items).for_each(|item| embeddings.encode_item(item, &mut out));
    bytes
}

/// The formula of the module's head, in doubles.
fn by_formula(embeddings: &Embeddings, newest: &[u32], item: u32) -> f64 {
    let mut score = 0.0;
    for space in embeddings.spaces() {
        let vector = |item: u32| {
            let vector = space.vector(item as usize)?;
            Some(vector[..space.dim()].iter().map(|value| f64::from(*value)).collect::<Vec<f64>>())
        };
        let all: Vec<Vec<f64>> = (0..embeddings.items as u32).filter_map(vector).collect();
        let weights = newest.iter().enumerate().map(|(age, item)| (0.9_f64.powi(age as i32), vector(*item)));
        let held: Vec<(f64, Vec<f64>)> = weights.filter_map(|(weight, vector)| Some((weight, vector?))).collect();
        let (Some(candidate), false) = (vector(item), held.is_empty()) else { continue };
        let total: f64 = held.iter().map(|(weight, _)| weight).sum();
        let product: f64 = (0..space.dim())
            .map(|at| {
                let mean = all.iter().map(|vector| vector[at]).sum::<f64>() / all.len() as f64;
                let user = held.iter().map(|(weight, vector)| weight * vector[at]).sum::<f64>() / total;
                (user - mean) * (candidate[at] - mean)
            })
            .sum();
        score += f64::from(space.weight() * space.inverse_deviation()) * product;
    }
    score
}

#[test]
fn scores_are_those_of_the_formula_and_what_is_missing_says_nothing() {
    let embeddings = filled(60, 11);
    let (mut taste, mut scores) = (Taste::default(), Vec::new());
    let items: Vec<u32> = (0..60).collect();
    for newest in [&[3, 17, 40, 5][..], &[4], &[9, 19], &[29, 39]] {
        taste.of(&embeddings, newest.iter().copied());
        taste.score(&embeddings, &items, &mut scores);
        for (item, [score, _]) in items.iter().zip(&scores) {
            let exact = by_formula(&embeddings, newest, *item);
            assert!((f64::from(*score) - exact).abs() < 1e-4, "seed 11, {newest:?}, item {item}: {score}, {exact}");
        }
        assert_eq!(scores[9], [0.0; 2], "an item without any vector");
        let first_known = newest.iter().find(|item| embeddings.has(**item as usize));
        let newest_alone = first_known.map(|item| by_formula(&embeddings, &[*item], 0));
        if newest.len() == 1 {
            assert!((f64::from(scores[0][1]) - newest_alone.expect("it has one")).abs() < 1e-4);
        }
        let known = newest.iter().filter(|item| embeddings.spaces()[0].vector(**item as usize).is_some()).count();
        assert_eq!(taste.evidence(0).0, known, "{newest:?}");
    }
    taste.of(&embeddings, [9, 19].into_iter());
    assert!(!taste.known(), "nothing is known of either");
    assert!(taste.fused(&embeddings).iter().all(|value| *value == 0.0));
}

/// The fused vector's product with an item's centred vectors is the fused score.
#[test]
fn one_vector_stands_for_the_user() {
    let embeddings = filled(40, 3);
    let (mut taste, mut scores, mut mean) = (Taste::default(), Vec::new(), Vec::new());
    taste.of(&embeddings, [0, 1, 2].into_iter());
    taste.score(&embeddings, &[6], &mut scores);
    let mut item = Vec::new();
    for space in embeddings.spaces() {
        space.mean(&mut mean);
        let vector = space.vector(6).expect("it has both");
        item.extend((0..space.dim()).map(|at| vector[at] - mean[at]));
    }
    let fused = taste.fused(&embeddings);
    assert_eq!((fused.len(), item.len()), (28, 28));
    let product: f32 = fused.iter().zip(&item).map(|(one, two)| one * two).sum();
    assert!((product - scores[0][0]).abs() < 1e-4, "{product} {}", scores[0][0]);
    let (items, agreement) = taste.evidence(0);
    assert!(items == 3 && agreement > 0.5 && agreement <= 1.0, "a corner: all alike, {agreement}");
}

/// Users go for what is near in `b` and do not look at `a`: the weights say so, though `a` is in a corner where everything
/// is alike.
#[test]
fn the_stream_teaches_what_each_modality_is_worth() {
    let (items, users) = (200_u32, 20_u32);
    let mut embeddings = Embeddings::new(5);
    let mut rng = Rng::new(5);
    embeddings.declare([("a", 16), ("b", 16)].into_iter());
    let likes: Vec<Vec<f32>> = (0..users).map(|_| random_unit(&mut rng, 16)).collect();
    let mut liked = Vec::new();
    for item in 0..items as usize {
        embeddings.insert();
        let (mut a, b) = (random_unit(&mut rng, 16), random_unit(&mut rng, 16));
        a[0] += 2.0;
        embeddings.put(0, item, 1, Some(&unit(&a).expect("not zero")), false);
        embeddings.put(1, item, 1, Some(&b), false);
        liked.push(b);
    }
    let near = |user: u32, item: u32| {
        let product: f32 = likes[user as usize].iter().zip(&liked[item as usize]).map(|(one, two)| one * two).sum();
        product
    };
    let (mut window, mut trails) = (Window::default(), vec![Vec::<u32>::new(); users as usize]);
    for x in 0..4_000_u64 {
        let user = (x % u64::from(users)) as u32;
        let item = loop {
            let item = rng.below(u64::from(items)) as u32;
            if near(user, item) > 0.3 {
                break item;
            }
        };
        embeddings.learn(x, &window, trails[user as usize].iter().rev().take(20).copied(), item);
        trails[user as usize].push(item);
        window.push(Met { user, item, position: 0 });
    }
    let [a, b] = [&embeddings.spaces()[0], &embeddings.spaces()[1]].map(Space::weight);
    assert!(b > 0.7 && a < 0.2 * b, "seed 5: a {a}, b {b}");
}

#[test]
fn the_newer_statement_holds_whatever_the_order() {
    let mut rng = Rng::new(17);
    let vectors: Vec<Vec<f32>> = (0..4).map(|_| random_unit(&mut rng, 4)).collect();
    // Times, and what was said; two at the same time.
    let said: [(i64, Option<usize>); 5] = [(1, Some(0)), (5, None), (7, Some(1)), (7, Some(2)), (3, Some(3))];
    let mut found = Vec::new();
    for round in 0..120 {
        let mut order: Vec<usize> = (0..said.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let mut embeddings = Embeddings::new(1);
        embeddings.declare([("a", 4)].into_iter());
        embeddings.insert();
        for at in &order {
            let (time_ms, vector) = said[*at];
            embeddings.put(0, 0, time_ms, vector.map(|at| &vectors[at][..]), false);
        }
        let held = embeddings.spaces()[0].vector(0).map(|vector| vector[..4].to_vec());
        found.push(held.expect("a vector is the newest"));
        assert_eq!(found[round], found[0], "seed 17, order {order:?}");
        assert_eq!((embeddings.spaces()[0].count(), embeddings.fresh()), (1, &[0][..]));
    }
}

#[test]
fn what_is_taken_away_leaves_nothing_behind() {
    let mut embeddings = filled(30, 2);
    let before = bytes(&embeddings);
    embeddings.insert();
    embeddings.put(0, 30, 1, Some(&random_unit(&mut Rng::new(8), DIMS[0])), false);
    assert_eq!(embeddings.fresh().last(), Some(&30));
    embeddings.met(30);
    assert_eq!(embeddings.fresh().last(), Some(&28), "29 has no vector");
    embeddings.put(0, 30, 2, None, true);
    assert!(!embeddings.has(30) && embeddings.any());
    assert_eq!(embeddings.spaces()[0].count(), 24);
    let mut mean = [Vec::new(), Vec::new()];
    embeddings.spaces()[0].mean(&mut mean[0]);
    filled(30, 2).spaces()[0].mean(&mut mean[1]);
    let apart = mean[0].iter().zip(&mean[1]).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-6 && bytes(&embeddings) != before, "{apart}: sums are as before, the statement is remembered");
    // The column of what was taken away serves another.
    embeddings.insert();
    embeddings.put(0, 31, 3, Some(&random_unit(&mut Rng::new(9), DIMS[0])), false);
    assert_eq!(embeddings.spaces()[0].vectors().len(), 25);
}

#[test]
fn modalities_come_and_go_with_the_schema() {
    let mut embeddings = filled(30, 4);
    let kept = embeddings.spaces()[1].vector(6).expect("even").to_vec();
    embeddings.declare([("c", 3), ("b", DIMS[1])].into_iter());
    assert_eq!(embeddings.spaces()[1].vector(6), Some(&kept[..]));
    assert_eq!((embeddings.spaces()[0].count(), embeddings.spaces()[0].vector(6)), (0, None));
    assert!(embeddings.fresh().iter().all(|item| item % 2 == 0), "those without a vector left wait for nothing");
    embeddings.put(0, 7, 1, Some(&[1.0, 0.0, 0.0]), false);
    assert!(embeddings.has(7));
}

#[test]
fn image_leads_back_bit_for_bit_and_learns_on_alike() {
    let learn = |embeddings: &mut Embeddings, from: u64| {
        let (mut rng, mut window) = (Rng::new(from), Window::default());
        for x in from..from + 300 {
            let newest = [rng.below(50) as u32, rng.below(50) as u32];
            let item = rng.below(50) as u32;
            embeddings.learn(x, &window, newest.into_iter(), item);
            window.push(Met { user: 0, item, position: 0 });
        }
    };
    let mut one = filled(50, 23);
    one.put(1, 8, 9, None, false);
    learn(&mut one, 1);
    let image = bytes(&one);
    let mut two = Embeddings::new(0);
    let mut from = Reader::new(&image);
    two.decode_head(&mut from).expect("whole");
    (0..50).for_each(|_| two.decode_item(&mut from).expect("whole"));
    from.finish().expect("nothing left");
    assert_eq!(bytes(&two), image);
    learn(&mut one, 1_000);
    learn(&mut two, 1_000);
    assert_eq!(bytes(&one), bytes(&two));
    assert_ne!(bytes(&one), image, "it learned");
    for cut in (0..image.len()).step_by(97) {
        let (mut cut_off, mut from) = (Embeddings::new(0), Reader::new(&image[..cut]));
        let head = cut_off.decode_head(&mut from);
        let items = head.and_then(|()| (0..50).try_for_each(|_| cut_off.decode_item(&mut from)));
        assert!(items.is_err(), "cut at {cut}");
    }
}

#[test]
fn only_directions_are_kept() {
    assert_eq!(unit(&[0.0, 3.0, 4.0]), Some(vec![0.0, 0.6, 0.8]));
    assert_eq!(unit(&[1e-30, 0.0]), Some(vec![1.0, 0.0]));
    assert_eq!(unit(&[f32::MAX, f32::MAX]).map(|vector| vector[0]), Some(0.5_f32.sqrt()));
    assert_eq!(unit(&[0.0; 3]), None);
    assert_eq!(unit(&[]), None);
}
