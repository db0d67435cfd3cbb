//! `mirra serve` as a child process of this very binary: started, waited for, killed, started again.
//!
//! For commands that show or measure a whole server: the demonstration, and the load tester when it is given no address.
//! The child gets no `MIRRA__` variable of this process, only those of [`Launch::env`], so that what runs is known; its
//! log goes to a file. It stands in a process group of its own, so that Ctrl-C reaches it only through this process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::config::ENV_PREFIX;

/// Lines of the child's log that an error shows.
const LOG_LINES: usize = 8;
/// Time between two looks at the ready file.
const LOOK_MS: u64 = 2;

/// Why there is no child server.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The process cannot be started, or its files not be used.
    #[error("cannot start a server over {}: {source}", dir.display())]
    Start {
        /// Working directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before its port answered.
    #[error("the server ended before it was ready, {status}; its log ends:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// Its port did not answer in time.
    #[error("the server was not ready after {waited_ms} ms; its log ends:\n{log}")]
    NotReady {
        /// How long was waited.
        waited_ms: u64,
        /// The end of its log.
        log: String,
    },
    /// The ready file is not what this version writes.
    #[error("the server's ready file cannot be read: {0}")]
    ReadyFile(#[from] serde_json::Error),
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Directory of this server alone: data in `data`, and beside it the ready file and the log.
    pub dir: PathBuf,
    /// The `mirra` program; `None` for this very one.
    pub program: Option<PathBuf>,
    /// Shards; `None` for what is configured.
    pub shards: Option<u16>,
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Variables of the environment: `MIRRA__SECTION__KEY` and value.
    pub env: Vec<(String, String)>,
    /// Longest wait until the port answers.
    pub ready_timeout: Duration,
}

impl Launch {
    /// A server in `dir` as configured by default, waited for at most 30 seconds.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let ready_timeout = Duration::from_secs(30);
        Self { dir: dir.into(), program: None, shards: None, config: None, env: Vec::new(), ready_timeout }
    }

    fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    fn ready(&self) -> PathBuf {
        self.dir.join("ready.json")
    }

    fn command(&self) -> io::Result<Command> {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log())?;
        let program = self.program.clone().map_or_else(std::env::current_exe, Ok)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(ENV_PREFIX)) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.dir.join("data")).arg("--ready-file").arg(self.ready());
        if let Some(shards) = self.shards {
            command.args(["--shards", &shards.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        Ok(command)
    }
}

/// What the ready file of `mirra serve` says.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// `host:port`.
    pub addr: String,
    /// Process id.
    pub pid: u32,
    /// Shards.
    pub shards: u16,
    /// Newest sequence of each shard after recovery.
    pub sequences: Vec<u64>,
    /// Time that recovery took, in milliseconds.
    pub start_ms: u64,
}

/// A server process. Dropped, it is killed.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    ready: Ready,
    waited: Duration,
}

impl ServerProcess {
    /// Starts a server and waits until its port answers. A second start over the same directory recovers what the first
    /// one left.
    ///
    /// # Errors
    /// [`ChildError`]; no process is left behind then.
    pub fn start(launch: &Launch) -> Result<Self, ChildError> {
        let failed = |source| ChildError::Start { dir: launch.dir.clone(), source };
        match fs::remove_file(launch.ready()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let began = Instant::now();
        let mut child = launch.command().and_then(|mut command| command.spawn()).map_err(failed)?;
        let ready = wait(&mut child, launch, began);
        if ready.is_err() {
            end(&mut child);
        }
        Ok(Self { child, ready: ready?, waited: began.elapsed() })
    }

    /// What it said when it was ready.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// `host:port`.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.ready.addr
    }

    /// Time from the start of the process to its ready file.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Kills it with SIGKILL, which no process can catch, and waits until it is gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Both fail only if it has ended and been waited for, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child, launch: &Launch, began: Instant) -> Result<Ready, ChildError> {
    loop {
        match fs::read(launch.ready()) {
            Ok(bytes) => return Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ChildError::Start { dir: launch.dir.clone(), source }),
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(ChildError::Ended { status, log: tail(&launch.log()) });
        }
        let waited = began.elapsed();
        if waited >= launch.ready_timeout {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            return Err(ChildError::NotReady { waited_ms, log: tail(&launch.log()) });
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
}

/// The last lines of a log, as far as it can be read.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(tail(&log), "");
        fs::write(&log, (0..20).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
        let tail = tail(&log);
        assert_eq!((tail.lines().count(), tail.lines().next()), (LOG_LINES, Some("line 12")));
    }

    #[test]
    fn a_launch_says_what_runs_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let mut launch = Launch::new(dir.path());
        (launch.shards, launch.env) = (Some(3), vec![("MIRRA__LOG__LEVEL".to_owned(), "warn".to_owned())]);
        let command = launch.command().unwrap();
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        assert_eq!(arguments[..3], ["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(arguments[arguments.len() - 2..], ["--shards", "3"]);
        assert!(command.get_envs().any(|(name, value)| name == "MIRRA__LOG__LEVEL" && value.is_some()));
    }
}
