//! `mirra control`: what a user asks of the profile, carried out and taken back.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{CliError, DurabilityArg, OutputArgs, ServerAddress, ask, output};
use crate::base::Id;
use crate::person::Dimension;
use crate::wire::commands::UserControl;

/// Options of `mirra control`.
#[derive(Clone, Debug, Args)]
pub struct ControlArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// What the user asks.
    #[command(subcommand)]
    pub control: ControlAction,
}

/// What a user can ask.
#[derive(Clone, Debug, Subcommand)]
pub enum ControlAction {
    /// Recommend nothing with this facet.
    Mute(FacetArgs),
    /// Recommend what has this facet again.
    Unmute(FacetArgs),
    /// Do not recommend this item.
    MuteItem(ItemArgs),
    /// Recommend this item again.
    UnmuteItem(ItemArgs),
    /// Give a facet at most a share of every list.
    Less(LessArgs),
    /// Give a facet as many places as it earns again.
    Unless(FacetArgs),
    /// Learn nothing of this user; events are answered with NO_CONSENT.
    Pause(DoorArgs),
    /// Learn of this user again.
    Resume(DoorArgs),
    /// Set aside what was learned in one dimension.
    Reset(DimensionArgs),
    /// Put back what was set aside, together with what came since.
    Restore(DimensionArgs),
}

/// A facet.
#[derive(Clone, Debug, Args)]
pub struct FacetArgs {
    /// A tag, or `attribute=value`, such as `brand=acme`.
    #[arg(value_name = "FACET")]
    pub facet: String,
    /// Shared by all.
    #[command(flatten)]
    pub door: DoorArgs,
}

/// An item.
#[derive(Clone, Debug, Args)]
pub struct ItemArgs {
    /// Id of the item.
    #[arg(value_name = "ITEM")]
    pub item: String,
    /// Shared by all.
    #[command(flatten)]
    pub door: DoorArgs,
}

/// A facet and a share.
#[derive(Clone, Debug, Args)]
pub struct LessArgs {
    /// A tag, or `attribute=value`.
    #[arg(value_name = "FACET")]
    pub facet: String,
    /// Greatest share of a list, 0 to 1.
    #[arg(value_name = "SHARE", value_parser = share)]
    pub share: f32,
    /// Shared by all.
    #[command(flatten)]
    pub door: DoorArgs,
}

/// A dimension.
#[derive(Clone, Debug, Args)]
pub struct DimensionArgs {
    /// What was learned of the user.
    #[arg(value_name = "DIMENSION")]
    pub dimension: DimensionArg,
    /// Shared by all.
    #[command(flatten)]
    pub door: DoorArgs,
}

/// Shared by every control.
#[derive(Clone, Debug, Args)]
pub struct DoorArgs {
    /// Durability level to reach before the answer; without it the server's.
    #[arg(long, value_name = "LEVEL")]
    pub durability: Option<DurabilityArg>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A dimension of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DimensionArg {
    /// Counts and amounts by behaviour kind.
    Behaviours,
    /// What is liked, by facet.
    Facets,
    /// When in the day and week.
    Rhythm,
    /// Prices met and paid.
    Prices,
    /// The retained events, and the vectors learned of them.
    History,
}

impl DimensionArg {
    const fn dimension(self) -> Dimension {
        match self {
            Self::Behaviours => Dimension::Behaviours,
            Self::Facets => Dimension::Facets,
            Self::Rhythm => Dimension::Rhythm,
            Self::Prices => Dimension::Prices,
            Self::History => Dimension::History,
        }
    }
}

fn share(text: &str) -> Result<f32, String> {
    let share = text.parse::<f32>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number of 0 to 1, such as 0.25".to_owned())
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or refuses.
pub fn run(args: &ControlArgs) -> Result<(), CliError> {
    let (request, door, done) = request(ask::id(&args.user, "user")?, &args.control)?;
    let mut client = ask::connect(&door.server, ask::TIMEOUT_MS)?;
    let reply = ask::ask(&mut client, &format!("user {}", request.user), &request)?;
    let durability = ask::durability_name(reply.durability);
    if door.output.json {
        return Ok(output::json(&json!({
            "user": ask::id_json(&request.user),
            "done": done,
            "shard": reply.shard,
            "sequence": reply.sequence,
            "version": reply.version,
            "durability": durability,
        }))?);
    }
    Ok(output::text(&format!("user {}: {done} (version {}, {durability})", request.user, reply.version))?)
}

/// The request of a control, its options, and what is said when it is done.
fn request(user: Id, action: &ControlAction) -> Result<(UserControl, &DoorArgs, String), CliError> {
    let (name, item, share, time_ms) = (String::new(), None, 0.0, 0);
    let base = UserControl { user, control: 0, on: true, name, item, share, time_ms, durability: 0 };
    let of = |control, on| UserControl { control, on, ..base.clone() };
    let facet = |control, on, args: &FacetArgs| UserControl { name: args.facet.clone(), ..of(control, on) };
    let item =
        |on, args: &ItemArgs| ask::id(&args.item, "item").map(|item| UserControl { item: Some(item), ..of(2, on) });
    let dimension = |on, args: &DimensionArgs| {
        let name = args.dimension.dimension().name().to_owned();
        UserControl { name, ..of(5, on) }
    };
    let (mut request, door, done) = match action {
        ControlAction::Mute(args) => (facet(1, true, args), &args.door, format!("{} is muted", args.facet)),
        ControlAction::Unmute(args) => (facet(1, false, args), &args.door, format!("{} is not muted", args.facet)),
        ControlAction::MuteItem(args) => (item(true, args)?, &args.door, format!("item {} is muted", args.item)),
        ControlAction::UnmuteItem(args) => (item(false, args)?, &args.door, format!("item {} is not muted", args.item)),
        ControlAction::Less(LessArgs { facet, share, door }) => {
            let request = UserControl { name: facet.clone(), share: *share, ..of(3, true) };
            (request, door, format!("at most {share} of a list is {facet}"))
        }
        ControlAction::Unless(args) => (facet(3, false, args), &args.door, format!("{} is not limited", args.facet)),
        ControlAction::Pause(door) => (of(4, true), door, "learning is paused".to_owned()),
        ControlAction::Resume(door) => (of(4, false), door, "learning goes on".to_owned()),
        ControlAction::Reset(args) => {
            let request = dimension(true, args);
            let done = format!("{} set aside", request.name);
            (request, &args.door, done)
        }
        ControlAction::Restore(args) => {
            let request = dimension(false, args);
            let done = format!("{} as before", request.name);
            (request, &args.door, done)
        }
    };
    request.durability = ask::durability_code(door.durability);
    Ok((request, door, done))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    fn parsed(line: &str) -> Result<UserControl, String> {
        let command = ControlArgs::augment_args(clap::Command::new("control"));
        let matches = command.try_get_matches_from(line.split(' ')).map_err(|error| error.to_string())?;
        let args = ControlArgs::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        request(Id::parse(&args.user), &args.control).map(|(request, ..)| request).map_err(|error| error.to_string())
    }

    #[test]
    fn every_control_becomes_its_request() {
        crate::cli::Cli::command().debug_assert();
        let cases = [
            ("control 7 mute crime", (1, true, "crime", 0.0)),
            ("control 7 unmute brand=acme", (1, false, "brand=acme", 0.0)),
            ("control 7 mute-item x", (2, true, "", 0.0)),
            ("control 7 less sport 0.25", (3, true, "sport", 0.25)),
            ("control 7 unless sport", (3, false, "sport", 0.0)),
            ("control 7 pause", (4, true, "", 0.0)),
            ("control 7 resume --durability durable", (4, false, "", 0.0)),
            ("control 7 reset history", (5, true, "history", 0.0)),
            ("control 7 restore prices", (5, false, "prices", 0.0)),
        ];
        for (line, expected) in cases {
            let request = parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!((request.control, request.on, request.name.as_str(), request.share), expected, "{line}");
            assert_eq!(request.item.is_some(), expected.0 == 2, "{line}");
            assert_eq!(request.durability, if line.ends_with(" durable") { 3 } else { 0 });
        }
        for (line, told) in [("control 7 less sport 1.5", "0 to 1"), ("control 7 reset moods", "behaviours")] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(told), "{error}");
        }
        for dimension in DimensionArg::value_variants() {
            let name = dimension.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(name.as_deref(), Some(dimension.dimension().name()));
        }
    }
}
