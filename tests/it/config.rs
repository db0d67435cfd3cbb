//! `mirra config check` as an operator runs it: the binary, its exit codes, its output and its error text.

use std::process::{Command, Output};

fn mirra(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirra"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIRRA__")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().copied()).output().expect("the binary was built with the tests")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn check_prints_every_value_with_its_origin() {
    let output = mirra(&["config", "check"], &[("MIRRA__SERVER__SHUTDOWN_S", "3")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {text}"));
    assert_eq!(
        line("server.shutdown_s").split_whitespace().collect::<Vec<_>>()[1..],
        ["3", "MIRRA__SERVER__SHUTDOWN_S"]
    );
    assert!(line("server.listen").ends_with("built-in"));
    assert!(text.ends_with("values, 1 differ from the built-in ones\n"), "{text}");
}

#[test]
fn check_speaks_json() {
    let output = mirra(&["config", "check", "--json", "--changed"], &[("MIRRA__SHARDS__COUNT", "3")]);
    let lines: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let expected = serde_json::json!({
        "key": "shards.count", "value": 3, "default": 0, "origin": "environment", "set_by": "MIRRA__SHARDS__COUNT",
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn a_wrong_file_fails_with_a_hint() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config/misspelt.toml");
    for arguments in [&["config", "check", path][..], &["--config", path, "config", "check"]] {
        let output = mirra(arguments, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        let text = stderr(&output);
        assert!(text.starts_with("error: unknown key `server.lisen` in "), "{text}");
        assert!(text.contains("did you mean `server.listen`?\n  hint: "), "{text}");
    }
    let output = mirra(&["config", "check", "/nonexistent.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("\n  caused by: "), "{}", stderr(&output));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&["--nonsense"][..], &["config"], &["nonsense"], &["config", "check", "a", "--config", "b"], &[]]
    {
        let output = mirra(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(mirra(&arguments, &[]).status.code(), Some(0), "{arguments:?}");
    }
}
