//! The protocols on generated streams against straightforward re-statements of them.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;

use clap::FromArgMatches;

use super::*;
use crate::base::Id;
use crate::ingest::{DriftOptions, DriftStream, Row};

fn rows(seed: u64, events: u64) -> Vec<Row> {
    println!("seed {seed}");
    let options = DriftOptions { users: 40, items: 60, events, seed, genres: 5, ..DriftOptions::default() };
    DriftStream::new(options).collect()
}

fn spec(text: &str) -> Spec {
    Spec::parse(text, 1).unwrap()
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-9)
}

fn scoring(every: usize) -> Scoring {
    Scoring { slice: (0.9, 1.0), every }
}

fn counted_ranks(rows: &[Row], every: usize) -> Vec<(Option<u32>, bool)> {
    counted_ranks_with(rows, &[], rows.len() * 9 / 10, every)
}

/// Ranks by the definition of P2 for plain counts: (rank or miss, user and item known) of every scored event. Items of a
/// table are candidates from the beginning, in its order.
fn counted_ranks_with(rows: &[Row], table: &[Id], start: usize, every: usize) -> Vec<(Option<u32>, bool)> {
    let mut order: Vec<&Id> = table.iter().collect();
    let mut counts: HashMap<&Id, u32> = HashMap::new();
    let mut had: HashMap<&Id, HashSet<&Id>> = HashMap::new();
    let mut ranks = Vec::new();
    for (x, row) in rows.iter().enumerate() {
        let items = had.get(&row.user).cloned().unwrap_or_default();
        if items.contains(&row.item) {
            continue;
        }
        if x >= start && (x - start).is_multiple_of(every) {
            let ahead = |target: usize| {
                let count = |j: usize| counts.get(order[j]).copied().unwrap_or(0);
                let of = count(target);
                let candidates = (0..order.len()).filter(|j| *j != target && !items.contains(order[*j]));
                candidates.filter(|j| count(*j) > of || (count(*j) == of && *j < target)).count()
            };
            let place = order.iter().position(|item| **item == row.item);
            let rank = place.map(|target| 1 + u32::try_from(ahead(target)).unwrap());
            ranks.push((rank, counts.contains_key(&row.item) && !items.is_empty()));
        }
        if !order.contains(&&row.item) {
            order.push(&row.item);
        }
        *counts.entry(&row.item).or_default() += 1;
        had.entry(&row.user).or_default().insert(&row.item);
    }
    ranks
}

#[test]
fn p2_popularity_has_the_ranks_of_the_definition() {
    // Few events, so that the tail has new users and new items; many, so that nearly all pairs are repeats.
    for (seed, events, every) in [(1, 300, 1), (2, 300, 3), (3, 1_500, 1), (4, 1_500, 7), (5, 90, 1)] {
        let rows = rows(seed, events);
        let ranks = counted_ranks(&rows, every);
        let stream = Stream::from_rows(rows);
        let mut done = Vec::new();
        let found = protocol_p2::run(&stream, &Side::default(), &spec("popularity"), scoring(every), 1, &mut |at| {
            done.push(at);
        })
        .unwrap()
        .0;
        let scored = ranks.len() as f64;
        let share = |cutoff: u32| ranks.iter().filter(|(rank, _)| rank.is_some_and(|r| r <= cutoff)).count() as f64;
        let top = |gain: fn(f64) -> f64| -> f64 {
            let short = ranks.iter().filter_map(|(rank, _)| rank.filter(|rank| *rank <= 10));
            short.map(|rank| gain(f64::from(rank))).sum::<f64>() / scored
        };
        assert_eq!((found.events, found.scored), (events, ranks.len() as u64));
        assert!(close(found.hr_10, share(10) / scored), "{found:?}");
        assert!(close(found.hr_100, share(100) / scored), "{found:?}");
        assert!(close(found.ndcg_10, top(|rank| 1.0 / (rank + 1.0).log2())), "{found:?}");
        assert!(close(found.mrr_10, top(|rank| 1.0 / rank)), "{found:?}");
        let known: Vec<_> = ranks.iter().filter(|(_, known)| *known).collect();
        let hits = known.iter().filter(|(rank, _)| rank.is_some_and(|rank| rank <= 10)).count() as f64;
        if !known.is_empty() {
            assert!(close(found.known_hr_10, hits / known.len() as f64), "{found:?}");
        }
        assert_eq!((done.last(), found.rmse, found.train_us_p50), (Some(&events), None, None));
        assert!(found.rank_us_p50.is_some() && found.update_us_p99.is_some());
    }
}

/// Items of a table: those that occur in its second half, and some that never do. Everything is scored.
#[test]
fn p2_items_of_a_table_are_candidates_from_the_beginning() {
    let rows = rows(10, 400);
    let table: Vec<Id> =
        rows[200..].iter().map(|row| row.item.clone()).chain((0..20).map(|at| Id::Int(900 + at))).collect();
    let mut once: Vec<Id> = Vec::new();
    for id in table {
        if !once.contains(&id) {
            once.push(id);
        }
    }
    let text: String = once.iter().map(|id| format!("{id}\ttag\n")).collect();
    let items = file(".tsv", &format!("item\ttags\n{text}"));
    let side_args = SideArgs { items: Some(items.path().to_owned()), ..SideArgs::default() };
    let ranks = counted_ranks_with(&rows, &once, 0, 1);
    let bare = counted_ranks_with(&rows, &[], 0, 1);
    let stream = Stream::from_rows(rows);
    let side = Side::read(&side_args, &stream).unwrap();
    let everything = Scoring { slice: (0.0, 1.0), every: 1 };
    for (side, ranks) in [(&side, &ranks), (&Side::default(), &bare)] {
        let (found, outcomes) =
            protocol_p2::run(&stream, side, &spec("popularity"), everything, 1, &mut |_| {}).unwrap();
        let expected: Vec<u32> = ranks.iter().map(|(rank, _)| rank.unwrap_or(outcomes::MISS)).collect();
        assert_eq!(outcomes.ranks, expected);
        let known: Vec<_> = ranks.iter().filter(|(_, known)| *known).collect();
        let hits = known.iter().filter(|(rank, _)| rank.is_some_and(|rank| rank <= 10)).count() as f64;
        assert!(close(found.known_hr_10, hits / known.len() as f64), "occurrence is told from the events: {found:?}");
    }
    let misses = |ranks: &[(Option<u32>, bool)]| ranks.iter().filter(|(rank, _)| rank.is_none()).count();
    assert!(misses(&ranks) < misses(&bare) && misses(&ranks) > 0, "some items stand in no table");
}

/// Nothing to fit a model over at the first event: strategies over one answer as a server does before its first refit.
#[test]
fn p2_may_score_everything() {
    let stream = Stream::from_rows(rows(11, 300));
    let everything = Scoring { slice: (0.0, 1.0), every: 1 };
    for strategy in Strategy::NAMES {
        let spec = spec(strategy);
        if !spec.strategy.ranks() {
            continue;
        }
        let found = protocol_p2::run(&stream, &Side::default(), &spec, everything, 1, &mut |_| {}).unwrap().0;
        assert!(found.scored > 150 && found.hr_10.is_some_and(|rate| rate > 0.0), "{strategy}: {found:?}");
    }
}

/// The same for a strategy over a fitted model: profiles spelt out over the factors that the same fit gives.
#[test]
fn p2_decay_ranks_by_the_mean_of_fitted_factors() {
    let rows = rows(6, 1_200);
    let stream = Stream::from_rows(rows);
    let spec = spec("decay:dim=8,half_life_s=0,recency=0.5,iterations=4");
    let found = protocol_p2::run(&stream, &Side::default(), &spec, scoring(1), 1, &mut |_| {}).unwrap().0;

    let start = stream.events.len() * 9 / 10;
    let (mut had, mut lists) = (HashSet::new(), vec![Vec::new(); stream.users.len()]);
    let mut counts = vec![0.0_f64; stream.items.len()];
    let mut known_items = 0;
    let mut model: Option<crate::linalg::ItemFactors> = None;
    let (mut scored, mut hits) = (0.0, 0.0);
    for (at, event) in stream.events.iter().enumerate() {
        if at == start {
            model = Some(fitted(&lists, known_items, &spec));
        }
        if !had.insert((event.user, event.item)) {
            continue;
        }
        let (list, item) = (&mut lists[event.user as usize], event.item as usize);
        if let Some(model) = &model {
            scored += 1.0;
            let scores = profile_scores(model, list, known_items, &counts);
            let better = |j: &usize| {
                !list.contains(&u32::try_from(*j).unwrap())
                    && (scores[*j] > scores[item] || (scores[*j] >= scores[item] && *j < item))
            };
            if item < known_items && (0..known_items).filter(better).count() < 10 {
                hits += 1.0;
            }
        }
        list.push(event.item);
        counts[item] += 1.0;
        known_items = known_items.max(item + 1);
    }
    assert!(close(found.hr_10, hits / scored), "{found:?} instead of {hits} of {scored}");
    assert!(hits > 0.0 && hits < scored);
}

fn fitted(lists: &[Vec<u32>], items: usize, spec: &Spec) -> crate::linalg::ItemFactors {
    let sorted = lists.iter().filter(|list| !list.is_empty()).map(|list| {
        let mut list = list.clone();
        list.sort_unstable();
        list
    });
    let sorted: Vec<Vec<u32>> = sorted.collect();
    let pairs: Vec<(u32, u32)> =
        (0..).zip(&sorted).flat_map(|(user, list)| list.iter().map(move |item| (user, *item))).collect();
    let interactions = crate::linalg::Interactions::new(sorted.len(), items, &pairs).unwrap();
    let options = crate::linalg::IalsOptions { dim: 8, ..spec.around.fit.clone() };
    crate::linalg::als::fit(&interactions, &options, &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
}

/// Scores by the recency-weighted mean in doubles; plain counts without a profile.
fn profile_scores(model: &crate::linalg::ItemFactors, list: &[u32], items: usize, counts: &[f64]) -> Vec<f64> {
    let mut profile = vec![0.0_f64; model.dim];
    for (age, item) in list.iter().rev().enumerate().filter(|(_, item)| (**item as usize) < model.items) {
        let weight = 0.5_f64.powi(i32::try_from(age).unwrap());
        let factor = model.row(*item as usize);
        profile.iter_mut().zip(factor).for_each(|(sum, value)| *sum += weight * f64::from(*value));
    }
    if profile.iter().all(|value| *value == 0.0) {
        return counts[..items].to_vec();
    }
    let dot = |row: &[f32]| profile.iter().zip(row).map(|(a, b)| a * f64::from(*b)).sum();
    (0..items).map(|item| if item < model.items { dot(model.row(item)) } else { 0.0 }).collect()
}

#[test]
fn p2_slices_end_where_told() {
    let all = rows(7, 1_000);
    let scoring = Scoring { slice: (0.5, 0.8), every: 1 };
    let sliced = protocol_p2::run(
        &Stream::from_rows(all.clone()),
        &Side::default(),
        &spec("popularity"),
        scoring,
        1,
        &mut |_| {},
    )
    .unwrap()
    .0;
    assert_eq!(sliced.events, 800);
    let scoring = Scoring { slice: (0.625, 1.0), every: 1 };
    let cut = Stream::from_rows(all[..800].to_vec());
    let cut = protocol_p2::run(&cut, &Side::default(), &spec("popularity"), scoring, 1, &mut |_| {}).unwrap().0;
    assert_eq!((sliced.scored, sliced.hr_10, sliced.ndcg_10), (cut.scored, cut.hr_10, cut.ndcg_10));
}

/// P1 against the equations of biased factorisation with no factors to speak of, in doubles.
#[test]
fn p1_has_the_errors_of_the_definition() {
    let rows = rows(8, 2_000);
    let (low, high) = (1.5_f64, 4.5_f64);
    let settings = "biased_mf:dim=1,init_std=0.000001,step_bias_user=0.05,step_bias_item=0.02,boost_bias_user=0.1,\
                    boost_bias_item=0.4,l2_bias=0.01";
    let (mut sum, mut squared, mut absolute, mut tail) = (0.0, 0.0, 0.0, 0.0);
    let mut biases: HashMap<(bool, Id), (f64, f64)> = HashMap::new();
    for (x, row) in rows.iter().enumerate() {
        let value = f64::from(row.value);
        let mean = if x > 0 { sum / x as f64 } else { 0.0 };
        let (user, item) = ((true, row.user.clone()), (false, row.item.clone()));
        let (bu, cu) = biases.get(&user).copied().unwrap_or_default();
        let (bi, ci) = biases.get(&item).copied().unwrap_or_default();
        let error = (mean + bu + bi).clamp(low, high) - value;
        squared += error * error;
        absolute += error.abs();
        tail += if x >= rows.len() * 9 / 10 { error * error } else { 0.0 };
        sum += value;
        let e = value - sum / (x + 1) as f64 - bu - bi;
        biases.insert(user, (bu + (0.05 + 0.1 / (cu + 1.0)) * (e - 0.01 * bu), cu + 1.0));
        biases.insert(item, (bi + (0.02 + 0.4 / (ci + 1.0)) * (e - 0.01 * bi), ci + 1.0));
    }
    let n = rows.len() as f64;
    let stream = Stream::from_rows(rows);
    let found = protocol_p1::run(&stream, &spec(settings), Some((1.5, 4.5)), 1, &mut |_| {}).0;
    let expected = [(squared / n).sqrt(), absolute / n, (tail / (n / 10.0)).sqrt()];
    for (found, expected) in [found.rmse, found.mae, found.last10_rmse].into_iter().zip(expected) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-5), "{found:?} instead of {expected}");
    }
    assert_eq!((found.scored, found.hr_10), (2_000, None));
    let none = protocol_p1::run(&stream, &spec("popularity"), None, 1, &mut |_| {}).0;
    assert_eq!((none.scored, none.rmse, none.last10_rmse), (0, None, None), "popularity predicts no values");
}

fn file(name: &str, text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(name).tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn arguments(line: &[&str]) -> Result<EvaluateArgs, clap::Error> {
    let command = <EvaluateArgs as clap::Args>::augment_args(clap::Command::new("evaluate"));
    EvaluateArgs::from_arg_matches(&command.try_get_matches_from([&["evaluate"], line].concat())?)
}

#[test]
fn p3_positions_and_bad_rows() {
    // Counts: a 3, b 2, c 1. The held-out items: a ties with nothing (hit at 0); c loses to a and b (hit at 2); x has
    // no data and scores 0 as its negatives y, z do: ties count against it.
    let train = file(".tsv", "user\titem\n1\ta\n2\ta\n3\ta\n\tbroken\n1\tb\n2\tb\n3\tc\n");
    let test = file(".tsv", "user\titem\tnegatives\n4\ta\tb c x\n1\tc\ta b y\n2\tx\ty z\n3\n");
    let (train, test) = (train.path().to_str().unwrap(), test.path().to_str().unwrap());
    let args = arguments(&[train, "--protocol", "p3", "--test", test, "--strategy", "popularity"]).unwrap();
    let mut calls = Vec::new();
    let found = run(&args, &mut |done, total| calls.push((done, total))).unwrap();
    assert_eq!((found[0].events, found[0].scored, found[0].protocol), (6, 3, "P3"));
    assert!(close(found[0].hr_10, 1.0), "{found:?}");
    let gain = (1.0 + 1.0 / 4.0_f64.log2() + 1.0 / 4.0_f64.log2()) / 3.0;
    assert!(close(found[0].ndcg_10, gain), "{found:?} instead of {gain}");
    assert_eq!(calls, [(6, 6)]);
    assert!(found[0].peak_rss_bytes.is_some_and(|bytes| bytes > 1 << 20));
    let stream = Stream::read(&[train.into()], None).unwrap();
    assert_eq!(stream.bad.count, 1);
    assert!(stream.bad.told()[0].contains("line 5"), "{:?}", stream.bad.told());
    let times: Vec<i64> = stream.events.iter().map(|event| event.time_ms).collect();
    assert_eq!(times, [0, 1, 2, 3, 4, 5], "a file without times");
}

#[test]
fn p3_folds_users_into_the_fitted_model() {
    // Two camps; everybody lacks one item of the own camp, and is asked for it against the other camp's items.
    let mut train = "user\titem\n".to_owned();
    let mut test = "user\titem\tnegatives\n".to_owned();
    for user in 0..24 {
        let item = |camp: usize, at: usize| camp * 100 + at;
        let (camp, lacks) = (user % 2, user % 12);
        (0..12).filter(|at| *at != lacks).for_each(|at| train += &format!("{user}\t{}\n", item(camp, at)));
        let others: Vec<String> = (0..12).map(|at| item(1 - camp, at).to_string()).collect();
        test += &format!("{user}\t{}\t{}\n", item(camp, lacks), others.join(" "));
    }
    let (train, test) = (file(".tsv", &train), file(".tsv", &test));
    let mut line = vec![train.path().to_str().unwrap(), "--protocol", "P3", "--test", test.path().to_str().unwrap()];
    for strategy in ["decay:dim=4", "mean:dim=4", "fold_in:dim=4"] {
        line.extend(["--strategy", strategy]);
    }
    for figures in run(&arguments(&line).unwrap(), &mut |_, _| {}).unwrap() {
        assert!(close(figures.hr_10, 1.0) && close(figures.ndcg_10, 1.0), "{figures:?}");
        assert_eq!(figures.update_us_p50, None);
    }
}

#[test]
fn flags_are_checked_and_nothing_is_ignored() {
    for line in [
        &["a", "--clip", "5,1"][..],
        &["a", "--clip", "1"],
        &["a", "--every", "0"],
        &["a", "--slice", "0.5,1.1"],
        &["a", "--protocol", "P4"],
        &[],
    ] {
        assert!(arguments(line).is_err(), "{line:?}");
    }
    for (line, message) in [
        (&["a", "--every", "2"][..], "--every means nothing in protocol P1"),
        (&["a", "--protocol", "P2", "--clip", "1,5"], "--clip means nothing in protocol P2"),
        (&["a", "--protocol", "P3"], "--test is needed for protocol P3"),
        (&["a", "--strategy", "deca"], "no strategy is called \"deca\", nearest is \"decay\""),
        (&["/no/such/file"], "cannot open /no/such/file"),
    ] {
        let error = run(&arguments(line).unwrap(), &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().starts_with(message), "{line:?}: {error}");
        assert_eq!(error.is_usage(), !message.contains("open"), "{line:?}");
    }
    assert_eq!(arguments(&["a", "--clip", "-1,1"]).unwrap().clip, Some((-1.0, 1.0)));
}

#[test]
fn several_strategies_over_several_files_with_a_smallest_value() {
    let text = |rows: &[Row]| {
        let lines: Vec<String> =
            rows.iter().map(|row| format!("{}\t{}\t{}\t{}", row.user, row.item, row.value, row.time_ms)).collect();
        format!("user\titem\tvalue\ttimestamp\n{}\n", lines.join("\n"))
    };
    let rows = rows(9, 1_000);
    let (one, two) = (file(".tsv", &text(&rows[..400])), file(".tsv", &text(&rows[400..])));
    let paths = [one.path().to_str().unwrap(), two.path().to_str().unwrap()];
    let args = arguments(&[paths[0], paths[1], "--protocol", "P2", "--min-value", "3"]).unwrap();
    let found = run(&args, &mut |_, _| {}).unwrap();
    let names: Vec<&str> = found.iter().map(|figures| figures.strategy.as_str()).collect();
    let ranking = Strategy::NAMES.iter().filter(|name| **name != "biased_mf").copied();
    assert_eq!(names, ranking.collect::<Vec<_>>(), "all that rank, auto first");
    let popularity = found.iter().find(|figures| figures.strategy == "popularity").unwrap();
    let kept: Vec<Row> = rows.iter().filter(|row| row.value >= 3.0).cloned().collect();
    let ranks = counted_ranks(&kept, 1);
    assert_eq!((popularity.events, popularity.scored), (kept.len() as u64, ranks.len() as u64));
    let hits = ranks.iter().filter(|(rank, _)| rank.is_some_and(|rank| rank <= 10)).count();
    assert!(close(popularity.hr_10, hits as f64 / ranks.len() as f64), "{popularity:?}");
    let again = run(&args, &mut |_, _| {}).unwrap();
    for (one, two) in found.iter().zip(&again) {
        assert_eq!((one.hr_10, one.ndcg_10, one.known_hr_10), (two.hr_10, two.ndcg_10, two.known_hr_10));
    }
    let error = run(&arguments(&[paths[0], "--min-value", "6"]).unwrap(), &mut |_, _| {}).unwrap_err().to_string();
    assert_eq!(error, "no events to evaluate: 0 bad rows, 400 rows below --min-value, in 1 file(s)");
}
