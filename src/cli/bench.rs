//! `mirra bench`: load on a server, and what it stood.

use clap::Args;

use super::{DurabilityArg, OutputArgs};

/// Shares of the requests, in per cent; they add up to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Event batches.
    pub ingest: u8,
    /// Reads of a profile.
    pub profile: u8,
    /// Recommendations.
    pub recommend: u8,
}

/// Options of `mirra bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Address of a running server; without it the bench starts one of its own on loopback.
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<String>,
    /// Connections.
    #[arg(long, value_name = "C", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Unanswered requests of each connection.
    #[arg(long, value_name = "F", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub in_flight: u16,
    /// Events in one batch.
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub batch: u16,
    /// What an acknowledgement means.
    #[arg(long, value_enum, default_value = "journaled")]
    pub durability: DurabilityArg,
    /// Seconds to run [default: 10, unless --events is given].
    #[arg(long, value_name = "S", conflicts_with = "events")]
    pub seconds: Option<f64>,
    /// Events to send, in place of a time.
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// Events a second over all connections, sent on schedule whether or not the server keeps up, so that latency
    /// counts the waiting; without it each connection sends as soon as it may.
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// Users, drawn by Zipf's law.
    #[arg(long, value_name = "U", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub users: u64,
    /// Items, drawn by Zipf's law.
    #[arg(long, value_name = "I", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub items: u64,
    /// Shares of the requests in per cent, which add up to 100, such as `ingest=90,profile=5,recommend=5`.
    #[arg(long, value_name = "SHARES", default_value = "ingest=100", value_parser = mix)]
    pub mix: Mix,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Parses `ingest=90,profile=5,recommend=5`; what is not named has no share.
fn mix(text: &str) -> Result<Mix, String> {
    let mut mix = Mix { ingest: 0, profile: 0, recommend: 0 };
    for part in text.split(',') {
        let (name, share) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=SHARE"))?;
        let share = share.parse().map_err(|_| format!("`{share}` is not a whole number of per cent"))?;
        match name {
            "ingest" => mix.ingest = share,
            "profile" => mix.profile = share,
            "recommend" => mix.recommend = share,
            _ => return Err(format!("`{name}` is not one of ingest, profile, recommend")),
        }
    }
    match u16::from(mix.ingest) + u16::from(mix.profile) + u16::from(mix.recommend) {
        100 => Ok(mix),
        sum => Err(format!("the shares add up to {sum}, not 100")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_100() {
        assert_eq!(mix("ingest=90,profile=5,recommend=5"), Ok(Mix { ingest: 90, profile: 5, recommend: 5 }));
        assert_eq!(mix("recommend=100"), Ok(Mix { ingest: 0, profile: 0, recommend: 100 }));
        for wrong in ["", "ingest", "ingest=x", "ingest=300", "other=100", "ingest=90", "ingest=90,profile=11"] {
            assert!(mix(wrong).is_err(), "{wrong:?}");
        }
    }
}
