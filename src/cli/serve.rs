//! `mirra serve`: run the server until it is told to stop.

use std::path::PathBuf;

use clap::Args;

use crate::config::Override;

/// Options of `mirra serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Address of the binary protocol; port 0 takes any free port [configuration: server.listen].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Directory of journal and snapshots; made if it does not exist, recovered from if it does.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Number of shards, 0 for one a core [configuration: shards.count].
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Allow an address that other machines can reach; there is no login yet [configuration: server.allow_open].
    #[arg(long)]
    pub allow_open: bool,
    /// File to write when the port answers: one JSON object with `addr` and `pid`.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

impl ServeArgs {
    /// The options that stand over the configuration.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let listen = self.listen.as_ref().map(|listen| Override::new("server.listen", listen.as_str(), "--listen"));
        let shards = self.shards.map(|count| Override::new("shards.count", i64::from(count), "--shards"));
        let open = self.allow_open.then(|| Override::new("server.allow_open", true, "--allow-open"));
        [listen, shards, open].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;
    use crate::config::{Config, Layer};

    #[test]
    fn options_stand_over_the_configuration() {
        let line = ["serve", "--data-dir", "d", "--listen", "0.0.0.0:0", "--shards", "3", "--allow-open"];
        let matches = ServeArgs::augment_args(clap::Command::new("serve")).get_matches_from(line);
        let args = ServeArgs::from_arg_matches(&matches).unwrap();
        let (config, origins) = Config::load(None, [], &args.overrides()).unwrap();
        assert_eq!(config.server.listen.to_string(), "0.0.0.0:0");
        assert_eq!(config.shards.count, 3);
        let layer = |key: &str| origins.get(key).unwrap().layer.clone();
        assert_eq!(layer("shards.count"), Layer::CommandLine("--shards".to_owned()));
        assert_eq!(origins.changed().count(), 3);
    }
}
