//! The log: where lines go and how they look. Lines carry fields, not sentences with numbers in them.

use tracing_subscriber::EnvFilter;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line... in `tracing`'s own compact form, which log shippers parse.
    Compact,
}

/// Sends log lines to standard error from now on; `level` is a level name or a filter such as `mirra=debug`. Called
/// once, by the binary; later calls change nothing.
///
/// # Errors
/// The reason, if `level` is no filter.
pub fn start(level: &str, format: Format) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Refused only when a subscriber is there already: then it stays.
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Compact => builder.compact().with_ansi(false).try_init(),
    };
    Ok(())
}
