//! `mirra profile`: the whole person, as a server knows it.

mod json;
mod likes;
mod text;
#[cfg(test)]
mod text_tests;
mod traits;

use clap::{Args, ValueEnum};

use super::look::Look;
use super::schema::in_force;
use super::{CliError, OutputArgs, ServerAddress, ask, output};
use crate::model::Schema;
use crate::state::portrait::parts;
use crate::wire::commands::{ProfileEmbedding, ProfileEmbeddingReply, ProfileGet, ProfileGetReply, ProfileParts};
use crate::wire::portrait::Person;
use crate::wire::types::{ArmProfile, KindInfo};

/// Facets asked for: all that are kept, so that what each has of the whole can be told.
const FACETS_MAX: u16 = 256;

/// Items named that are nearest to what embeddings say.
const NEAREST: u16 = 5;

/// Options of `mirra profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Only this part; may be repeated.
    #[arg(long = "part", value_name = "NAME")]
    pub parts: Vec<Part>,
    /// Sensitive attributes as well.
    #[arg(long)]
    pub sensitive: bool,
    /// Most facets shown of what the user likes, and does not.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(0..=i64::from(FACETS_MAX)))]
    pub facets: u16,
    /// Strategy whose profile vector is shown; without it those of all strategies.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// Most recent events shown.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=4_096))]
    pub recent: u16,
    /// Show the numbers of the profile vectors as well.
    #[arg(long)]
    pub vector: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A part of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What was stated, and when.
    Attributes,
    /// What the user does: counts and amounts by behaviour kind.
    Behaviours,
    /// What the user likes: tags and values of attributes.
    Facets,
    /// When in the day and week, and sessions.
    Rhythm,
    /// Interests, each named by an item.
    Interests,
    /// What embeddings of items say: texts, images, sounds.
    Modalities,
    /// Traits.
    Traits,
    /// What the user asks of the profile.
    Controls,
    /// What strategies have learned.
    Vectors,
    /// The newest events.
    Recent,
}

impl Part {
    /// Its bit in requests; none for what PROFILE_GET tells.
    const fn bit(self) -> u16 {
        match self {
            Self::Attributes => parts::ATTRIBUTES,
            Self::Behaviours => parts::BEHAVIOURS,
            Self::Facets => parts::FACETS,
            Self::Rhythm => parts::RHYTHM,
            Self::Interests => parts::INTERESTS,
            Self::Traits => parts::TRAITS,
            Self::Controls => parts::CONTROLS,
            Self::Modalities | Self::Vectors | Self::Recent => 0,
        }
    }
}

/// What is printed.
struct Profile {
    person: Person,
    /// What PROFILE_GET tells beside: shard, digest, vectors, newest events.
    rest: ProfileGetReply,
    /// What embeddings say; without modalities where no item has any.
    taste: ProfileEmbeddingReply,
    kinds: Vec<KindInfo>,
    /// What names, units and formulas mean, where the server tells it.
    schema: Option<Schema>,
}

/// How it is printed.
#[derive(Clone, Copy)]
struct Shown<'a> {
    parts: &'a [Part],
    facets: usize,
    vector: bool,
    look: Look,
}

impl Shown<'_> {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or does not know the user.
pub fn run(args: &ProfileArgs) -> Result<(), CliError> {
    let user = ask::id(&args.user, "user")?;
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let strategy = ask::strategy(&client, args.strategy.as_ref())?;
    let shown = Shown {
        parts: &args.parts,
        facets: usize::from(args.facets),
        vector: args.vector,
        look: Look::of_environment(),
    };
    let subject = format!("user {user}");
    let wanted = [Part::Attributes, Part::Behaviours, Part::Facets, Part::Rhythm, Part::Interests, Part::Traits];
    let wanted = wanted.into_iter().chain([Part::Controls]).filter(|part| shown.has(*part));
    let sensitive = if args.sensitive { parts::SENSITIVE } else { 0 };
    // No part at all would be taken for all: then the controls, which are short.
    let bits = match wanted.fold(0, |bits, part| bits | part.bit()) {
        0 => parts::CONTROLS,
        bits => bits | sensitive,
    };
    let person =
        ask::ask(&mut client, &subject, &ProfileParts { user: user.clone(), parts: bits, facets_max: FACETS_MAX })?;
    let wanted = ProfileEmbedding { user: user.clone(), vector: args.vector, nearest: NEAREST };
    let taste = ask::ask(&mut client, &subject, &wanted)?;
    let mut rest = ask::ask(&mut client, &subject, &ProfileGet { user, recent_max: args.recent, factors: true })?;
    rest.arms.retain(|arm| strategy.is_empty() || arm.strategy == strategy);
    let kinds = client.hello().kinds.clone();
    // Dates, half-lives and formulas are told better with it, and all else without.
    let schema = in_force(&mut client).ok();
    let profile = Profile { person, rest, taste, kinds, schema };
    if args.output.json {
        return Ok(output::json(&json::whole(&profile, shown))?);
    }
    Ok(output::text(&text::whole(&profile, shown))?)
}

/// The name of a behaviour kind; its number, if the server does not say.
fn kind_name(kinds: &[KindInfo], code: u8) -> String {
    let known = kinds.iter().find(|kind| kind.code == code);
    known.map_or_else(|| format!("kind {code}"), |kind| kind.name.clone())
}

/// Euclidean length.
fn length(arm: &ArmProfile) -> f64 {
    // A sum of nothing is -0.
    arm.factor.iter().fold(0.0, |sum, number| sum + f64::from(*number).powi(2)).sqrt()
}
