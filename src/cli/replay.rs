//! `mirra replay`: send files of events to a server, and account for every row.
//!
//! *Order.* One connection sends the rows in the order of the files. With several, a user's rows all go over the same
//! one, so that each user's order is kept. `sender.rs` says what OVERLOADED does to it.
//!
//! *Repeats.* Every event carries an id, its own (`event_id`) or one made of the file's name and the row's line: what a
//! server has in the user's kept history already (`history.events_max` newest events) is recognised as a duplicate and
//! not learned again.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use clap::Args;

use super::replay_report::{FileReport, ReplayReport, tell};
use super::sender::{Numbered, Sender, Tally};
use super::{CliError, DurabilityArg, OutputArgs, ServerAddress, ask, output};
use crate::base::{Id, IdRef};
use crate::ingest::{IngestError, Row, Table, TableOptions};
use crate::wire::types::{Event, KindInfo};

/// Rows of a file that are looked at to see whether its values vary.
const PEEK_ROWS: usize = 10_000;

/// Batches that wait for a connection.
const WAITING_BATCHES: usize = 4;

/// Longest wait for the answer to a batch.
const TIMEOUT_MS: u64 = 60_000;

/// Options of `mirra replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// TSV or CSV, plain or gzip, with a header naming `user item value timestamp [kind] [event_id]`; sent in the order
    /// given.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Events in one batch.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub batch: u16,
    /// Connections; with more than one the order is kept for each user, not over all of them.
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Behaviour kind of rows that name none; without it `rate` if the file's values vary, else `event`.
    #[arg(long, value_name = "NAME")]
    pub kind: Option<String>,
    /// Events a second, evenly; without it as fast as the server takes them.
    #[arg(long, value_name = "R", value_parser = rate)]
    pub rate: Option<f64>,
    /// Stop after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// What an acknowledgement means; without it what the server is configured for.
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
    /// Send events without ids: a repeated replay is learned twice.
    #[arg(long)]
    pub no_event_ids: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a number above 0".to_owned())
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if a file cannot be read, the server is not reached, nothing was accepted, or the counts do not add up.
pub fn run(args: &ReplayArgs) -> Result<(), CliError> {
    check_names(args)?;
    let probe = ask::connect(&args.server, TIMEOUT_MS)?;
    let kinds = probe.hello().kinds.clone();
    if let Some(name) = &args.kind {
        code_of(&kinds, name)?;
    }
    let mut clients = vec![probe];
    while clients.len() < usize::from(args.connections) {
        clients.push(ask::connect(&args.server, TIMEOUT_MS)?);
    }
    let began = Instant::now();
    let durability = ask::durability_code(args.durability);
    let (read, tallies) = std::thread::scope(|scope| {
        let (mut outlets, mut threads) = (Vec::new(), Vec::new());
        for client in clients {
            let (outlet, batches) = sync_channel::<Vec<Numbered>>(WAITING_BATCHES);
            let mut sender = Sender::new(client, durability, usize::from(args.batch), args.connections);
            outlets.push(outlet);
            threads.push(scope.spawn(move || {
                // A failure ends the loop, which closes the channel, which ends the reading.
                let sent = batches.iter().try_for_each(|batch| sender.send(batch)).and_then(|()| sender.finish());
                (sender.into_tally(), sent.err())
            }));
        }
        let mut reading = Reading::new(args, &kinds, outlets);
        let stopped = reading.read_all();
        let (files, sent) = reading.finish();
        let tallies: Vec<(Tally, Option<CliError>)> = threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok((tally, error)) => (tally, error.map(CliError::from)),
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect();
        ((files, sent, stopped), tallies)
    });
    let (files, sent, stopped) = read;
    let mut tally = Tally::default();
    let mut failure = None;
    for (each, error) in tallies {
        tally.add(each);
        failure = failure.or(error);
    }
    // Why a connection has gone says more than that the reading stopped because it has.
    let failure = failure.or(stopped.err());
    let report = ReplayReport { files, sent, tally, took: began.elapsed() };
    tell(args, &report)?;
    failure.map_or_else(|| report.outcome(), Err)
}

/// Two files of one name would be taken for one: their event ids are the same.
fn check_names(args: &ReplayArgs) -> Result<(), CliError> {
    let mut seen = BTreeSet::new();
    for path in args.files.iter().filter(|_| !args.no_event_ids) {
        let name = file_name(path);
        if !seen.insert(name.clone()) {
            return Err(CliError::Usage(format!(
                "two files are called {name}: event ids are made of name and line, so rename one, replay them one by \
                 one to learn the first only, or use --no-event-ids"
            )));
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn code_of(kinds: &[KindInfo], name: &str) -> Result<u8, CliError> {
    kinds.iter().find(|kind| kind.name == name).map(|kind| kind.code).ok_or_else(|| {
        let there: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        CliError::Failed(format!("the server has no kind `{name}`; it has: {}", there.join(", ")))
    })
}

/// Reads the files and hands batches to the connections.
struct Reading<'a> {
    args: &'a ReplayArgs,
    kinds: &'a [KindInfo],
    outlets: Vec<SyncSender<Vec<Numbered>>>,
    batches: Vec<Vec<Numbered>>,
    files: Vec<FileReport>,
    sent: u64,
    began: Instant,
    progress: output::Progress,
}

impl<'a> Reading<'a> {
    fn new(args: &'a ReplayArgs, kinds: &'a [KindInfo], outlets: Vec<SyncSender<Vec<Numbered>>>) -> Self {
        let batches = outlets.iter().map(|_| Vec::new()).collect();
        let progress = output::Progress::new("events", args.limit);
        Self { args, kinds, outlets, batches, files: Vec::new(), sent: 0, began: Instant::now(), progress }
    }

    fn read_all(&mut self) -> Result<(), CliError> {
        let args = self.args;
        for path in &args.files {
            if args.limit.is_some_and(|limit| self.sent >= limit) {
                break;
            }
            self.read_file(path)?;
        }
        Ok(())
    }

    /// Hands out what is left; gives what was read, and how many events were handed out.
    fn finish(mut self) -> (Vec<FileReport>, u64) {
        for to in 0..self.outlets.len() {
            // A connection that has gone tells why itself.
            let _ = self.hand_out(to);
        }
        (self.files, self.sent)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), CliError> {
        let mut table = Table::open(path, TableOptions::default())?;
        let name = file_name(path);
        let peeked: VecDeque<_> = table.by_ref().take(PEEK_ROWS).collect();
        let values = || peeked.iter().filter_map(|row| row.as_ref().ok()).map(|row| row.value);
        let varies = values().zip(values().skip(1)).any(|(one, next)| one.to_bits() != next.to_bits());
        let (fallback, why) = match &self.args.kind {
            Some(name) => (name.clone(), "by --kind"),
            None if varies => ("rate".to_owned(), "its values vary"),
            None => ("event".to_owned(), "its values do not vary"),
        };
        let fallback_code = code_of(self.kinds, &fallback)?;
        let base = IdRef::text(&name).stable_hash();
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(FileReport::new(name, fallback, why));
        let limit = self.args.limit.unwrap_or(u64::MAX);
        for row in peeked.into_iter().chain(table) {
            if self.sent >= limit {
                break;
            }
            // Pushed above.
            let Some(file) = self.files.last_mut() else { break };
            let row = match row {
                Ok(row) => row,
                Err(IngestError::Row(error)) => {
                    file.bad_row(error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let code = file.kind_of(&row, self.kinds, fallback_code);
            self.put((number, base), row, code)?;
        }
        Ok(())
    }

    fn put(&mut self, (file, base): (u32, u64), row: Row, kind: u8) -> Result<(), CliError> {
        // At most 64 connections.
        let to = usize::from(row.user.as_ref().shard(self.outlets.len() as u16));
        let Row { line, user, item, value, time_ms, event_id, .. } = row;
        let event_id = match event_id {
            _ if self.args.no_event_ids => Id::Int(0),
            Some(id) => id,
            None => Id::Int(base.wrapping_add(line).max(1)),
        };
        let event = Event { event_id, user, item, kind, value, time_ms };
        self.batches[to].push(Numbered { number: self.sent, file, line, event });
        self.sent += 1;
        self.progress.advance(1);
        if self.batches[to].len() >= usize::from(self.args.batch) {
            self.hand_out(to)?;
        }
        Ok(())
    }

    fn hand_out(&mut self, to: usize) -> Result<(), CliError> {
        let batch = std::mem::take(&mut self.batches[to]);
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(rate) = self.args.rate {
            let due = Duration::try_from_secs_f64(self.sent as f64 / rate).unwrap_or(Duration::MAX);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
        let gone = |_| CliError::Failed("a connection has gone: the rest of the rows was not sent".to_owned());
        self.outlets[to].send(batch).map_err(gone)
    }
}
