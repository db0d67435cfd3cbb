//! `mirra config check`: the effective configuration, each value with the layer that set it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::CliError;
use super::{OutputArgs, output};
use crate::config::{Config, Layer, Setting};

/// Options of `mirra config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What `mirra config` does.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check a configuration and print every effective value with the layer that set it.
    Check(CheckArgs),
}

/// Options of `mirra config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// File to check; without it the built-in values and the `MIRRA__` variables are checked.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print only values that differ from the built-in ones.
    #[arg(long)]
    pub changed: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// One line of the output with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    value: &'a toml::Value,
    default: Option<&'a toml::Value>,
    origin: &'static str,
    set_by: String,
}

/// Runs it; `global` is the file of the global `--config`.
///
/// # Errors
/// [`CliError::Config`] if the configuration cannot be used, [`CliError::Usage`] if two files are named.
pub fn run(args: &ConfigArgs, global: Option<&Path>) -> Result<(), CliError> {
    let ConfigAction::Check(args) = &args.action;
    let file = match (args.file.as_deref(), global) {
        (Some(_), Some(_)) => {
            return Err(CliError::Usage("name one file, either as FILE or with --config".to_owned()));
        }
        (file, global) => file.or(global),
    };
    let (_, origins) = Config::load(file, environment(), &[])?;
    let settings: Vec<&Setting> = if args.changed { origins.changed().collect() } else { origins.iter().collect() };
    if args.output.json {
        for setting in settings {
            output::json(&line(setting))?;
        }
        return Ok(());
    }
    let mut table = output::table(&["key", "value", "set by"]);
    for setting in &settings {
        table.add_row([setting.key.clone(), setting.value.to_string(), setting.layer.to_string()]);
    }
    output::text(&table.to_string())?;
    let changed = origins.changed().count();
    output::text(&format!("{} values, {changed} differ from the built-in ones", origins.iter().count()))?;
    Ok(())
}

/// The environment of this process, without variables that are not Unicode: none of those can be ours.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn line(setting: &Setting) -> Line<'_> {
    let origin = match setting.layer {
        Layer::BuiltIn => "built-in",
        Layer::File(_) => "file",
        Layer::Environment(_) => "environment",
        Layer::CommandLine(_) => "command line",
    };
    Line {
        key: &setting.key,
        value: &setting.value,
        default: setting.default.as_ref(),
        origin,
        set_by: setting.layer.to_string(),
    }
}
