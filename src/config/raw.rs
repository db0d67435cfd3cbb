//! The shapes of `config.toml`, as written: one struct a section, one field a key, nothing optional.
//!
//! Invariant: the built-in file names every field here and this file names every key there. Both directions hold
//! because unknown fields are denied and no field has a default; a test removes and adds each key to prove it.
//! Whole numbers are `u64` whatever they become, so that a number too large is reported with its limit by the
//! checks (`checks.rs`), not by serde.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) shards: Shards,
    pub(super) memory: Memory,
    pub(super) disk: Disk,
    pub(super) strategy: Strategy,
    pub(super) schema: Schema,
    pub(super) cleaning: Cleaning,
    pub(super) kinds: BTreeMap<String, Kind>,
    pub(super) user_attributes: BTreeMap<String, UserAttribute>,
    pub(super) item_attributes: BTreeMap<String, ItemAttribute>,
    pub(super) modalities: BTreeMap<String, Modality>,
    pub(super) traits: BTreeMap<String, Trait>,
    pub(super) history: History,
    pub(super) refit: Refit,
    pub(super) ranker: Ranker,
    pub(super) journal: Journal,
    pub(super) snapshot: Snapshot,
    pub(super) exchange: Exchange,
    pub(super) prequential: Prequential,
    pub(super) decisions: Decisions,
    pub(super) rejects: Rejects,
    pub(super) log: Log,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) allow_open: bool,
    pub(super) shard_ports: bool,
    pub(super) connections_max: u64,
    pub(super) in_flight_max: u64,
    pub(super) output_bytes_max: u64,
    pub(super) output_total_bytes_max: u64,
    pub(super) hello_timeout_s: u64,
    pub(super) frame_timeout_s: u64,
    pub(super) write_timeout_s: u64,
    pub(super) idle_timeout_s: u64,
    pub(super) keepalive_s: u64,
    pub(super) deadline_ms: u64,
    pub(super) connection_events_per_s: u64,
    pub(super) source_late_s: u64,
    pub(super) shutdown_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shards {
    pub(super) count: u64,
    pub(super) queue_events_max: u64,
    pub(super) queue_wait_ms: u64,
    pub(super) quantum_us: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) limit_bytes: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disk {
    pub(super) free_min_bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Strategy {
    pub(super) active: Vec<String>,
    /// A section a strategy: `learn/parameters.rs` knows their keys.
    #[serde(flatten)]
    _sections: std::collections::BTreeMap<String, toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    pub(super) code: u64,
    pub(super) weight: f64,
    pub(super) explicit: bool,
    pub(super) range: Vec<f64>,
    pub(super) sign: f64,
    pub(super) unit: String,
    pub(super) half_life_s: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    pub(super) version: u64,
    pub(super) closed: bool,
    pub(super) session_gap_s: f64,
    pub(super) churn_horizon_s: f64,
    pub(super) half_lives_s: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cleaning {
    pub(super) burst_ms: u64,
    pub(super) late_s: u64,
    pub(super) outlier_deviations: f64,
    pub(super) impute: bool,
    pub(super) quarantine: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserAttribute {
    #[serde(rename = "type")]
    pub(super) holds: String,
    pub(super) range: Vec<f64>,
    pub(super) values: Vec<String>,
    pub(super) required: bool,
    pub(super) expiry_s: f64,
    pub(super) sensitive: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemAttribute {
    #[serde(rename = "type")]
    pub(super) holds: String,
    pub(super) range: Vec<f64>,
    pub(super) values: Vec<String>,
    pub(super) required: bool,
    pub(super) role: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Modality {
    pub(super) dim: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trait {
    pub(super) formula: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) events_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refit {
    pub(super) iterations: u64,
    pub(super) iterations_warm: u64,
    pub(super) l2: f64,
    pub(super) unobserved_weight: f64,
    pub(super) seed: u64,
    pub(super) init_std: f64,
    pub(super) automatic: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ranker {
    pub(super) training: String,
    pub(super) cpu_share: f64,
    pub(super) sample_share: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) durability: String,
    pub(super) segment_bytes: u64,
    pub(super) flush_ms: u64,
    pub(super) sync_interval_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    pub(super) keep: u64,
    pub(super) every_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    pub(super) publish_ms: u64,
    pub(super) rows_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prequential {
    pub(super) rank_every: u64,
    pub(super) fading: f64,
    pub(super) seed: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decisions {
    pub(super) kept_max: u64,
    pub(super) wait_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejects {
    pub(super) bytes_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::*;
    use crate::config::BUILT_IN;

    fn built_in() -> Table {
        BUILT_IN.parse().expect("the built-in file is TOML")
    }

    /// Sections without entries are not written; the layers make them.
    fn whole(mut table: Table) -> Table {
        for (section, _) in crate::config::layers::NAMED {
            table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        }
        table
    }

    /// Dotted paths of all tables, the root as "".
    fn tables(table: &Table, at: &str, into: &mut Vec<String>) {
        into.push(at.to_owned());
        for (key, value) in table {
            if let Value::Table(inner) = value {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                tables(inner, &path, into);
            }
        }
    }

    fn table_at<'a>(root: &'a mut Table, path: &str) -> &'a mut Table {
        path.split('.').filter(|part| !part.is_empty()).fold(root, |table, part| {
            table.get_mut(part).and_then(Value::as_table_mut).expect("the path was collected from this table")
        })
    }

    fn all_tables() -> Vec<String> {
        let mut paths = Vec::new();
        tables(&built_in(), "", &mut paths);
        assert!(paths.len() > 20, "{paths:?}");
        paths
    }

    #[test]
    fn the_built_in_file_has_the_shape() {
        whole(built_in()).try_into::<Raw>().expect("every key is a field and every field a key");
    }

    #[test]
    fn every_key_is_needed() {
        for path in all_tables() {
            let keys: Vec<String> = table_at(&mut built_in(), &path).keys().cloned().collect();
            for key in keys {
                let named = path.is_empty() && crate::config::layers::NAMED.iter().any(|(section, _)| *section == key);
                if named || path == "kinds" || (path.starts_with("strategy") && key != "active") {
                    continue; // names of kinds are data; sections of strategies are checked in `strategy.rs`
                }
                let mut changed = built_in();
                table_at(&mut changed, &path).remove(&key);
                assert!(whole(changed).try_into::<Raw>().is_err(), "{path}.{key} is in the file and in no shape");
            }
        }
    }

    #[test]
    fn no_other_key_is_known() {
        for path in all_tables().into_iter().filter(|path| !path.starts_with("strategy")) {
            let mut changed = built_in();
            table_at(&mut changed, &path).insert("surplus".to_owned(), Value::Integer(1));
            assert!(whole(changed).try_into::<Raw>().is_err(), "{path}.surplus was accepted");
        }
    }

    #[test]
    fn every_key_of_the_file_has_a_comment() {
        let lines: Vec<&str> = BUILT_IN.lines().collect();
        let mut in_kinds = false;
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with('[') {
                in_kinds = line.starts_with("[kinds.");
                assert!(!in_kinds || lines[at - 1].starts_with("# "), "line {}: {line}", at + 1);
            } else if line.contains(" = ") && !line.starts_with('#') {
                assert!(in_kinds || lines[at - 1].starts_with("# "), "line {}: {line}", at + 1);
            }
        }
    }
}
