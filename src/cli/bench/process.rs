//! A server of the bench's own: a process, so that client and server share neither allocator nor runtime, over a
//! directory that is deleted afterwards (under TMPDIR: point that at the device to be measured).

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::cli::CliError;

/// How long a server may take to start over an empty directory.
const START: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct OwnServer {
    child: Child,
    addr: String,
    // Dropped after the child, which writes into it.
    _dir: TempDir,
}

#[derive(Deserialize)]
struct Ready {
    addr: String,
}

impl OwnServer {
    /// Starts `program serve` on a free port of loopback and waits until it answers.
    ///
    /// # Errors
    /// [`CliError::Output`] if it cannot be started or ends at once; then with the end of its log.
    pub fn start(program: &Path, shards: Option<u16>, config: Option<&Path>) -> Result<Self, CliError> {
        let dir = TempDir::with_prefix("mirra-bench-")?;
        let (ready, log) = (dir.path().join("ready.json"), dir.path().join("log"));
        let mut command = Command::new(program);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("data"));
        command.arg("--ready-file").arg(&ready);
        if let Some(shards) = shards {
            command.args(["--shards", &shards.to_string()]);
        }
        let log_file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
        let mut server = Self { child: command.spawn()?, addr: String::new(), _dir: dir };
        let began = Instant::now();
        // The ready file is put in place whole, by a rename.
        while !ready.exists() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || began.elapsed() > START {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                let why = ended
                    .map_or_else(|| format!("is not ready after {} s", START.as_secs()), |status| status.to_string());
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                return Err(io::Error::other(format!("the server of the bench: {why}\n{}", tail.join("\n"))).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let Ready { addr } = serde_json::from_slice(&std::fs::read(&ready)?).map_err(io::Error::from)?;
        server.addr = addr;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Its process id, for profilers.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Nothing of it is kept, so there is nothing to stop cleanly; it may also have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
