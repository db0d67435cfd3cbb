//! Peers whose machine has gone: nothing comes from them any more, no end and no reset.

use std::path::Path;
use std::process::Command as Program;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::peers::{LATE_S, SETTINGS, serve};
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work};

fn descriptors(server: &ServeProcess) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the process is there").count()
}

/// Seconds until the server holds no more descriptors than that; none if it does not come to that.
fn seconds_until(server: &ServeProcess, held: usize, longest_s: u64) -> Option<f64> {
    let began = Instant::now();
    while descriptors(server) > held {
        if began.elapsed() > Duration::from_secs(longest_s) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(began.elapsed().as_secs_f64())
}

/// A network of its own for a server, by a pair of interfaces. Dropping it removes both.
struct Apart {
    name: String,
    link: String,
}

impl Apart {
    const OURS: &str = "10.213.77.1/30";
    const THEIRS: &str = "10.213.77.2";

    /// # Errors
    /// The step that the system does not allow.
    fn new() -> Result<Self, String> {
        let pid = std::process::id();
        let apart = Self { name: format!("mirra{pid}"), link: format!("mi{pid}a") };
        let (name, ours, theirs) = (apart.name.as_str(), apart.link.as_str(), format!("mi{pid}b"));
        let address = format!("{}/30", Self::THEIRS);
        ip(&["netns", "add", name])?;
        ip(&["link", "add", ours, "type", "veth", "peer", "name", &theirs, "netns", name])?;
        ip(&["addr", "add", Self::OURS, "dev", ours])?;
        ip(&["link", "set", ours, "up"])?;
        ip(&["-n", name, "addr", "add", &address, "dev", &theirs])?;
        ip(&["-n", name, "link", "set", &theirs, "up"])?;
        Ok(apart)
    }

    fn serve(&self, dir: &Path, settings: &[(&str, &str)]) -> ServeProcess {
        let mut program = Program::new("ip");
        program.args(["netns", "exec", &self.name, env!("CARGO_BIN_EXE_mirra")]);
        let settings = [&SETTINGS[..], settings].concat();
        let listen = format!("{}:0", Self::THEIRS);
        ServeProcess::start_by(program, &listen, &dir.join("data"), &["--allow-open", "--shards", "1"], &settings)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        let _ = (ip(&["link", "del", &self.link]), ip(&["netns", "del", &self.name]));
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Program::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    let said = || format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    if output.status.success() { Ok(()) } else { Err(said()) }
}

/// Peers without an end or an answer are found, and leave no descriptor behind.
pub fn peers(work: Work) -> Found {
    const KEEPALIVE_S: f64 = 2.0;
    const IDLE_S: f64 = 2.0;
    let count = work.of(50);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(dir.path(), &[("MIRRA__SERVER__IDLE_TIMEOUT_S", "2")]);
    let held = descriptors(&server);
    let silent: Vec<Connection> = (0..count).map(|_| Connection::open(server.addr)).collect();
    let with_them = descriptors(&server);
    let silent_s = seconds_until(&server, held, 20);
    let well = with_them >= held + silent.len() && silent_s.is_some_and(|s| s <= IDLE_S + LATE_S);
    drop((silent, server));
    let (reaped, vanished) = match Apart::new() {
        Err(why) => (true, json!({ "skipped": why })),
        Ok(apart) => {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let server = apart.serve(dir.path(), &[("MIRRA__SERVER__KEEPALIVE_S", "2")]);
            let held = descriptors(&server);
            let gone: Vec<Connection> = (0..count).map(|_| Connection::open(server.addr)).collect();
            let with_them = descriptors(&server);
            ip(&["link", "set", &apart.link, "down"]).expect("the link goes down");
            let reaped_s = seconds_until(&server, held, 60);
            let well = with_them >= held + gone.len() && reaped_s.is_some_and(|s| s <= 3.0 * KEEPALIVE_S + LATE_S);
            (well, json!({ "peers": gone.len(), "reaped_s": reaped_s, "limit_s": 3.0 * KEEPALIVE_S + LATE_S }))
        }
    };
    let figures = json!({
        "silent": { "peers": count, "all_closed_s": silent_s, "limit_s": IDLE_S + LATE_S },
        "vanished": vanished,
    });
    (well && reaped, figures)
}
