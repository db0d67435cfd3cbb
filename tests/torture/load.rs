//! Load on a server from the load tester in a process of its own, each on a core of its own where the system can do that.

use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

use serde_json::Value;

use crate::support::ServeProcess;

/// Whether processes can be held to cores here: `taskset` is there, and there is more than one core.
pub fn pins() -> bool {
    let there = Command::new("taskset").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    there.is_ok_and(|status| status.success()) && available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// Holds all threads of a server to the first core.
pub fn pin(server: &ServeProcess) {
    if pins() {
        let pid = server.pid().to_string();
        let pinned = Command::new("taskset").args(["-acp", "0", &pid]).stdout(Stdio::null()).status();
        assert!(pinned.is_ok_and(|status| status.success()), "taskset of {pid}");
    }
}

/// A load under way.
pub struct Load(Child);

impl Load {
    /// Starts `mirra bench` at a server, on the second core.
    pub fn start(server: &ServeProcess, arguments: &[&str]) -> Self {
        let mut program = match pins() {
            true => {
                let mut program = Command::new("taskset");
                program.args(["-c", "1", env!("CARGO_BIN_EXE_mirra")]);
                program
            }
            false => Command::new(env!("CARGO_BIN_EXE_mirra")),
        };
        program.args(["bench", "--json", "--addr", &server.addr.to_string()]).args(arguments).env_clear();
        let child = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Self(child.expect("the load tester starts"))
    }

    /// What it found; waits for its end.
    pub fn found(self) -> Value {
        let output = self.0.wait_with_output().expect("the load tester ends");
        assert!(output.status.success(), "the load tester failed: {}", output.status);
        serde_json::from_slice(&output.stdout).expect("the report is JSON")
    }
}

/// Runs a load to its end.
pub fn load(server: &ServeProcess, arguments: &[&str]) -> Value {
    Load::start(server, arguments).found()
}

/// A figure of a report; 0 where there is none.
pub fn figure(report: &Value, path: &[&str]) -> f64 {
    path.iter().fold(report, |value, name| &value[*name]).as_f64().unwrap_or(0.0)
}
