//! Tests of the configuration as a whole: layers, errors, limits, cross checks, origins. Data-driven: a case is a text
//! laid over the built-in file and what must be said about it.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::learn::Strategy;
use crate::model::Role;

type Loaded = Result<(Config, Origins), ConfigError>;

/// Loads `text` as a user's file, `env` and `overrides` over the built-in file.
fn load(text: &str, env: &[(&str, &str)], overrides: &[Override]) -> Loaded {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(file.path()), env, overrides)
}

fn file(text: &str) -> Loaded {
    load(text, &[], &[])
}

fn env(name: &str, value: &str) -> Loaded {
    load("", &[(name, value)], &[])
}

/// The message of the refusal, which must contain every one of `words`.
fn refused(loaded: Loaded, words: &[&str]) {
    let message = loaded.expect_err(&format!("accepted, though expected: {words:?}")).to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[test]
fn the_built_in_values_are_those_documented() {
    let config = Config::built_in().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7311");
    assert_eq!((config.shards.count, config.history.events_max, config.snapshot.keep), (0, 256, 2));
    assert_eq!(config.journal.durability, Durability::Journaled);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
    let auto = Strategy::Auto(crate::learn::Auto::default());
    assert_eq!(config.strategy.active, [ActiveStrategy { label: "auto".to_owned(), strategy: auto }]);
    let decay = crate::learn::Decay { dim: 64, half_life_s: 2_592_000.0, recency: 0.8 };
    assert_eq!(config.strategy.parameter("decay", "half_life_s"), Some(decay.half_life_s));
    let codes: Vec<_> = config.schema.kinds.iter().map(|kind| (kind.code, kind.name.as_str(), kind.explicit)).collect();
    assert_eq!(codes[..2], [(0, "event", false), (1, "view", false)]);
    assert_eq!(codes[5], (5, "rate", true));
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/misspelt.toml");
    let loaded = Config::load(Some(&path), [], &[]);
    refused(loaded, &["unknown key `server.lisen`", "misspelt.toml", "did you mean `server.listen`?"]);
}

#[test]
fn unknown_keys_name_layer_and_nearest() {
    let cases: [(Loaded, &[&str]); 9] = [
        (file("[sever]\nlisten = \"127.0.0.1:1\""), &["`sever`", "did you mean `server`?"]),
        (file("listen = \"127.0.0.1:1\""), &["`listen`", "did you mean `server.listen`?"]),
        (file("[strategy.decay]\nhalflife_s = 1.0"), &["did you mean `strategy.decay.half_life_s`?"]),
        (file("[kinds.view]\nwieght = 1.0"), &["did you mean `kinds.view.weight`?"]),
        (file("[kinds.Like]\ncode = 9"), &["`kinds.Like`"]),
        (env("MIRRA__SERVER__LISTN", "127.0.0.1:1"), &["in MIRRA__SERVER__LISTN", "did you mean `server.listen`?"]),
        (env("MIRRA__", "1"), &["unknown key ``", "in MIRRA__"]),
        (env("MIRRA__SERVER__LISTEN__PORT", "1"), &["`server.listen.port`"]),
        (load("", &[], &[Override::new("shard.count", 1, "--shards")]), &["in --shards", "`shards.count`?"]),
    ];
    for (loaded, words) in cases {
        refused(loaded, words);
    }
    let far = file("[server]\nzzzzzz = 1").unwrap_err().to_string();
    assert!(!far.contains("did you mean"), "a far name helps nobody: {far}");
}

#[test]
fn type_errors_name_key_value_and_what_was_expected() {
    let cases: [(Loaded, &[&str]); 12] = [
        (file("[server]\nlisten = 7311"), &["`server.listen` is 7311", "expected text"]),
        (file("[server]\nallow_open = \"yes\""), &["`server.allow_open` is \"yes\"", "expected true or false"]),
        (file("[server]\nin_flight_max = 1.5"), &["is 1.5", "expected a whole number"]),
        (file("[shards]\ncount = -1"), &["`shards.count` is -1", "0 or more"]),
        (file("[prequential]\nfading = nan"), &["`prequential.fading` is nan", "a finite number"]),
        (file("[strategy]\nactive = \"decay\""), &["`strategy.active` is \"decay\"", "a list of texts"]),
        (file("[strategy]\nactive = [1]"), &["`strategy.active` is [1]"]),
        (file("server = 3"), &["`server` is 3", "a section"]),
        (file("[server.listen]\nport = 1"), &["`server.listen`", "expected text"]),
        (env("MIRRA__SHARDS__COUNT", "four"), &["`shards.count` is \"four\" in MIRRA__SHARDS__COUNT", "whole number"]),
        (env("MIRRA__SERVER", "x"), &["`server` is \"x\"", "a section"]),
        (load("", &[], &[Override::new("shards.count", "4", "--shards")]), &["is \"4\" in --shards"]),
    ];
    for (loaded, words) in cases {
        refused(loaded, words);
    }
    refused(file("[server\n"), &["is not valid TOML"]);
}

#[test]
fn whole_numbers_serve_as_floats() {
    let (config, _) = file("[strategy.decay]\nhalf_life_s = 3600").unwrap();
    assert_eq!(config.strategy.parameter("decay", "half_life_s"), Some(3_600.0));
}

#[test]
fn later_layers_win_and_are_named() {
    let text = "[server]\nin_flight_max = 8\nconnections_max = 8\nshutdown_s = 8\n[shards]\ncount = 0\n";
    let variables = [("MIRRA__SERVER__CONNECTIONS_MAX", "9"), ("MIRRA__SERVER__SHUTDOWN_S", "9"), ("PATH", "ignored")];
    let overrides = [Override::new("server.shutdown_s", 10, "--shutdown")];
    let (config, origins) = load(text, &variables, &overrides).unwrap();
    let ServerOptions { in_flight_max, connections_max, shutdown_s, .. } = config.server;
    assert_eq!((in_flight_max, connections_max, shutdown_s), (8, 9, 10));
    let layer = |key: &str| origins.get(key).unwrap().layer.clone();
    assert!(matches!(layer("server.in_flight_max"), Layer::File(_)));
    assert_eq!(layer("server.connections_max"), Layer::Environment("MIRRA__SERVER__CONNECTIONS_MAX".to_owned()));
    assert_eq!(layer("server.shutdown_s"), Layer::CommandLine("--shutdown".to_owned()));
    assert_eq!(layer("server.listen"), Layer::BuiltIn);
    // `shards.count` and `server.shutdown_s` are set, but to the built-in value: no change to report.
    assert!(matches!(layer("shards.count"), Layer::File(_)));
    let changed: Vec<_> = origins.changed().map(|setting| setting.key.as_str()).collect();
    assert_eq!(changed, ["server.connections_max", "server.in_flight_max"]);
}

#[test]
fn variables_need_no_quotes_and_reach_deep_sections() {
    let variables = [
        ("MIRRA__SERVER__LISTEN", "127.0.0.1:0"),
        ("MIRRA__STRATEGY__BIASED_MF__DIM", "16"),
        ("MIRRA__STRATEGY__ACTIVE", "fold_in:dim=32,recency=0.8"),
        ("MIRRA__KINDS__VIEW__WEIGHT", "0.3"),
        ("MIRRA__SERVER__SHARD_PORTS", "false"),
    ];
    let (config, _) = load("", &variables, &[]).unwrap();
    assert_eq!((config.server.listen.port(), config.server.shard_ports), (0, false));
    assert_eq!(config.strategy.parameter("biased_mf", "dim"), Some(16.0));
    assert!((config.schema.kinds.get(1).unwrap().weight - 0.3).abs() < 1e-6);
    let Strategy::FoldIn(fold_in) = &config.strategy.active[0].strategy else { panic!("{config:?}") };
    assert_eq!((fold_in.dim, fold_in.history), (32, 40));
    assert_eq!(config.strategy.parameter("fold_in", "dim"), Some(64.0), "the section itself stays");
    let (config, _) = env("MIRRA__STRATEGY__ACTIVE", "[\"mean\", \"popularity\"]").unwrap();
    assert_eq!(config.strategy.active.len(), 2);
}

#[test]
fn kinds_are_changed_and_added_by_name() {
    let text = "[kinds.view]\nweight = 0.1\n[kinds.like]\ncode = 20\nweight = 1.5\nexplicit = false\n";
    let (config, origins) = file(text).unwrap();
    let names: Vec<_> = config.schema.kinds.iter().map(|kind| (kind.code, kind.name.as_str())).collect();
    assert_eq!(names.len(), 8);
    assert_eq!((names[1], names[7]), ((1, "view"), (20, "like")));
    assert!((config.schema.kinds.get(1).unwrap().weight - 0.1).abs() < 1e-6);
    assert_eq!(origins.get("kinds.like.code").unwrap().default, None);
    assert_eq!(origins.changed().count(), 8, "one key of view, three of like and four that it leaves out");
    let incomplete = "`kinds.like` in";
    refused(file("[kinds.like]\nweight = 1.0"), &[incomplete, "lacks `code`"]);
    refused(file("[kinds.like]\ncode = 9\nweight = 1.0"), &[incomplete, "lacks `explicit`"]);
    refused(file("[kinds.like]"), &["`kinds.like`", "lacks `code`"]);
    refused(env("MIRRA__KINDS__LIKE__CODE", "9"), &["`kinds.like` in MIRRA__KINDS__LIKE__CODE", "lacks `weight`"]);
}

#[test]
fn every_limit_is_kept() {
    let too_many = format!("active = {:?}", vec!["a"; 17]);
    let cases = [
        ("server", "connections_max = 0", "1 to 1048576"),
        ("server", "in_flight_max = 0", "1 to 1048576"),
        ("server", "output_bytes_max = 4194303", "4194304 to 1073741824"),
        ("server", "idle_timeout_s = 31536001", "0 to 31536000"),
        ("server", "shutdown_s = 3601", "0 to 3600"),
        ("server", "listen = \"localhost:1\"", "must be an IP address and a port"),
        ("shards", "count = 257", "0 to 256"),
        ("shards", "queue_events_max = 4095", "4096 to 16777216"),
        ("shards", "quantum_us = 0", "100 to 100000"),
        ("shards", "queue_wait_ms = 0", "1 to 600000"),
        ("memory", "limit_bytes = 1000", "must be 0, or at least 67108864"),
        ("server", "output_total_bytes_max = 4194304", "must be at least server.output_bytes_max, which is 8388608"),
        ("server", "keepalive_s = 32768", "0 to 32767"),
        ("kinds.rate", "range = [5.0, 1.0]", "[lowest, highest]"),
        ("strategy", "active = []", "1 to 16 strategies, names 0"),
        ("strategy", too_many.as_str(), "1 to 16 strategies, names 17"),
        ("strategy.mean", "dim = 0", "1 to 512"),
        ("strategy.mean", "weight_floor = 1.1", "above 0, at most 1"),
        ("strategy.mean", "weight_floor = 0.0", "above 0, at most 1"),
        ("strategy.decay", "dim = 513", "1 to 512"),
        ("strategy.decay", "half_life_s = -1.0", "must be 0 to"),
        ("strategy.decay", "recency = 1.1", "above 0, at most 1"),
        ("strategy.biased_mf", "dim = 513", "1 to 512"),
        ("strategy.biased_mf", "step_factor = -0.1", "0 to 1"),
        ("strategy.biased_mf", "init_std = 0.0", "above 0"),
        ("strategy.biased_mf", "passes = 0", "1 to 100"),
        ("strategy.fold_in", "dim = 513", "1 to 512"),
        ("strategy.fold_in", "history = 65537", "1 to 65536"),
        ("strategy.fold_in", "l2 = 0.0", "above 0"),
        ("strategy.fold_in", "unobserved_weight = -1.0", "0 to 1000000"),
        ("strategy.fold_in", "recency = 0.0", "above 0"),
        ("strategy.isgd", "dim = 0", "1 to 512"),
        ("strategy.isgd", "step = 0.0", "above 0, at most 1"),
        ("strategy.isgd", "l2 = 11.0", "0 to 10"),
        ("strategy.raisgd", "init_std = 0.0", "above 0"),
        ("strategy.raisgd", "negatives = 65", "0 to 64"),
        ("strategy.bpr", "negatives = 0", "1 to 64"),
        ("strategy.bpr", "l2 = 1.5", "0 to 1"),
        ("strategy.eals", "missing_weight = 0.0", "above 0"),
        ("strategy.eals", "popularity_power = 2.1", "0 to 2"),
        ("strategy.eals", "audience = 4097", "1 to 4096"),
        ("strategy.eals", "recency = 1.5", "above 0, at most 1"),
        ("strategy.popularity", "half_life_s = -1.0", "0 to 3153600000"),
        ("kinds.view", "code = 256", "0 to 255"),
        ("kinds.view", "weight = -0.1", "0 to 1000"),
        ("history", "events_max = 65537", "0 to 65536"),
        ("refit", "iterations = 0", "1 to 1000"),
        ("refit", "iterations_warm = 0", "1 to 1000"),
        ("refit", "l2 = 0.0", "above 0"),
        ("refit", "unobserved_weight = -1.0", "0 to 1000000"),
        ("refit", "init_std = 0.0", "above 0"),
        ("journal", "durability = \"safe\"", "one of \"applied\", \"journaled\", \"durable\""),
        ("journal", "segment_bytes = 1024", "8388608 to"),
        ("journal", "flush_ms = 0", "1 to 60000"),
        ("journal", "sync_interval_ms = 3600001", "0 to 3600000"),
        ("snapshot", "keep = 1", "2 to 64"),
        ("snapshot", "every_s = 31536001", "0 to 31536000"),
        ("exchange", "publish_ms = 0", "1 to 60000"),
        ("exchange", "rows_max = 0", "1 to 65536"),
        ("prequential", "rank_every = 4294967296", "0 to 4294967295"),
        ("prequential", "fading = 1.0", "above 0 and below 1"),
        ("prequential", "fading = 0.0", "above 0 and below 1"),
        ("rejects", "bytes_max = 65535", "0, or 65536 to 1073741824"),
        ("rejects", "bytes_max = 1073741825", "0, or 65536 to 1073741824"),
        ("log", "level = \"loud\"", "one of \"error\", \"warn\""),
        ("log", "format = \"xml\"", "one of \"text\", \"json\""),
    ];
    for (section, line, word) in cases {
        let key = format!("{section}.{}", line.split(' ').next().unwrap());
        let error = file(&format!("[{section}]\n{line}")).expect_err(line);
        let ConfigError::Invalid { problems } = error else { panic!("{line}: {error}") };
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert_eq!(problems[0].key, key);
        assert!(problems[0].why.contains(word), "{line}: {}", problems[0].why);
        assert!(matches!(problems[0].layer, Layer::File(_)), "{line}: {:?}", problems[0].layer);
    }
}

#[test]
fn every_cross_check_refuses() {
    let cases: [(&str, &[&str]); 13] = [
        ("[server]\nlisten = \"0.0.0.0:7311\"", &["`server.listen`", "there is no login yet"]),
        ("[server]\nlisten = \"[::]:7311\"", &["there is no login yet"]),
        ("[server]\nlisten = \"10.0.0.1:0\"", &["there is no login yet"]),
        ("[server]\nlisten = \"127.0.0.1:65535\"", &["port 65536, past 65535"]),
        ("[server]\nlisten = \"127.0.0.1:65500\"\n[shards]\ncount = 40", &["port 65540"]),
        ("[kinds.view]\ncode = 2", &["`kinds.", "has the same code"]),
        ("[strategy]\nactive = [\"mean\", \"mean\"]", &["`mean` stands there twice"]),
        ("[strategy]\nactive = [\"fold_in\"]\n[history]\nevents_max = 39", &["reads 40", "keeps 39"]),
        ("[strategy]\nactive = [\"fold_in:history=300\"]", &["reads 300", "keeps 256"]),
        ("[strategy]\nactive = [\"eals:history=300\"]", &["reads 300", "keeps 256"]),
        ("[strategy]\nactive = [\"fold-in\"]", &["unknown strategy `fold-in`, did you mean `fold_in`?"]),
        ("[strategy]\nactive = [\"decay:recensy=1\"]", &["unknown parameter `recensy`, did you mean `recency`?"]),
        ("[journal]\nflush_ms = 60", &["`journal.sync_interval_ms` is 50", "which is 60"]),
    ];
    for (text, words) in cases {
        let error = file(text).expect_err(text);
        let ConfigError::Invalid { problems } = &error else { panic!("{text}: {error}") };
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        refused(Err(error), words);
    }
    let open = file("[server]\nlisten = \"0.0.0.0:7311\"").unwrap_err();
    assert!(open.hint().unwrap().contains("allow_open"));
}

#[test]
fn what_the_cross_checks_allow() {
    let texts = [
        "[server]\nlisten = \"0.0.0.0:7311\"\nallow_open = true",
        "[server]\nlisten = \"[::1]:7311\"",
        "[server]\nlisten = \"[::ffff:127.0.0.1]:7311\"",
        "[server]\nlisten = \"127.0.0.1:65535\"\nshard_ports = false",
        "[strategy]\nactive = [\"decay\", \"decay:recency=0.8\"]",
        "[history]\nevents_max = 0",
        "[journal]\nflush_ms = 60\nsync_interval_ms = 0",
    ];
    for text in texts {
        file(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn all_problems_are_reported_together() {
    let text = "[server]\nlisten = \"0.0.0.0:1\"\nin_flight_max = 0\n[strategy.mean]\ndim = 0\n[snapshot]\nkeep = 0";
    refused(
        file(text),
        &["has 4 problems", "server.listen", "server.in_flight_max", "strategy.mean.dim", "snapshot.keep"],
    );
}

#[test]
fn specifications_resolve_or_say_why() {
    let strategy = Config::built_in().unwrap().strategy;
    let one = strategy.resolve("biased_mf:dim=8,passes=2").unwrap();
    let Strategy::BiasedMf(options) = &one.strategy else { panic!("{one:?}") };
    assert_eq!((options.dim, options.passes, one.label.as_str()), (8, 2, "biased_mf:dim=8,passes=2"));
    let cases = [
        ("", "unknown strategy ``"),
        ("active", "unknown strategy `active`"),
        ("desay", "did you mean `decay`?"),
        ("mean:", "`` is not key=value"),
        ("mean:dim", "`dim` is not key=value"),
        ("mean:dim=x", "`dim` is `x`, expected a whole number"),
        ("mean:dim=1\ndim=2", "`dim`"),
        ("mean:dim=-1", "`dim` is `-1`"),
        ("mean:dim=513", "`dim` must be 1 to 512"),
        ("mean:recency=1", "unknown parameter `recency`"),
        ("decay:half_life_s=nan", "a finite number"),
    ];
    for (spec, word) in cases {
        let message = strategy.resolve(spec).expect_err(spec).to_string();
        assert!(message.contains(word), "{spec:?}: {message}");
    }
}

#[test]
fn unreadable_and_endless_files_are_refused() {
    let missing = Config::load(Some(&PathBuf::from("/nonexistent/mirra.toml")), [], &[]);
    refused(missing, &["cannot read the configuration file /nonexistent/mirra.toml"]);
    refused(file(&"#".repeat((1 << 20) + 1)), &["longer than 1048576 bytes"]);
}

#[test]
fn a_schema_is_named_entry_by_entry() {
    let text = "[schema]\nversion = 3\n[kinds.purchase]\nhalf_life_s = 60\n[user_attributes.age]\ntype = \"number\"\n\
                range = [0, 130]\n[user_attributes.\"Plan B\"]\ntype = \"category\"\nvalues = [\"x\"]\nexpiry_s = 2\n\
                [item_attributes.brand]\ntype = \"category\"\nrole = \"facet\"\n[modalities.text]\ndim = 8\n\
                [traits.big]\nformula = 'sum(\"purchase\")'\n[cleaning]\nlate_s = 5\n";
    let schema = file(text).unwrap().0.schema;
    assert_eq!((schema.version, schema.cleaning.late_ms, schema.session_gap_ms), (3, 5_000, 1_800_000));
    let buy = schema.kinds.named("purchase").unwrap();
    assert_eq!((buy.unit.as_str(), buy.half_life_s, buy.sign), ("money", 60.0, 1));
    let (plan, age) = (&schema.user[0], &schema.user[1]);
    assert_eq!((plan.name.as_str(), plan.values.len(), plan.expiry_ms), ("Plan B", 1, 2_000));
    assert_eq!((age.name.as_str(), age.range, age.required), ("age", Some((0.0, 130.0)), false));
    assert_eq!((schema.item[0].role, schema.modalities[0].dim), (Role::Facet, 8));
    assert_eq!(schema.traits[0].formula, "sum(\"purchase\")");
}

#[test]
fn what_is_no_schema_is_refused_with_key_and_reason() {
    let cases: [(&str, &[&str]); 7] = [
        ("[user_attributes.age]\nrange = [0, 1]", &["`user_attributes.age` in", "lacks `type`"]),
        ("[user_attributes.age]\ntype = \"numbr\"", &["user_attributes.age.type", "\"number\""]),
        ("[user_attributes.age]\ntype = \"number\"\nrole = \"price\"", &["user_attributes.age.role"]),
        ("[item_attributes.p]\ntype = \"text\"\nrole = \"price\"", &["item_attributes.p.role", "number"]),
        ("[schema]\nhalf_lives_s = [1.0, 1.0, 2.0]", &["schema.half_lives_s", "three rising numbers"]),
        ("[kinds.view]\nsign = 2", &["kinds.view.sign", "1, -1 or 0"]),
        ("[modalities.text]\ndim = 9999", &["modalities.text.dim", "1 to 2048"]),
    ];
    for (text, expected) in cases {
        refused(file(text), expected);
    }
}
