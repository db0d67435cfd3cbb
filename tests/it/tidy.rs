//! The architecture, enforced: floors, homes of outside crates, purity below floor 5, headers, lengths, `unsafe`.
//!
//! Sources are read as text: comments and literals are blanked, the rest is cut into words, and every path
//! (`crate::a::b`, `super::super::a`, `use {a, b::{c, d}}`) is resolved to its full form, which the rules look at.
//! Code in `#[cfg(test)] mod` at the end of a file keeps to the floors but may print and read fixtures.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Folders (or files) of `src`, by floor. A file imports only from floors below its own.
const FLOORS: &[(u8, &[&str])] = &[
    (9, &["main", "cli", "config"]),
    (8, &["server", "admin", "ingest", "client"]),
    (7, &["engine"]),
    (6, &["shard"]),
    (5, &["storage"]),
    (4, &["state"]),
    (3, &["learn", "evaluate", "wire", "pipeline", "mine", "experiment"]),
    (2, &["model"]),
    (1, &["linalg", "telemetry"]),
    (0, &["base"]),
];

/// The only imports within a floor: the binary is put together from its parts.
const SAME_FLOOR: &[(&str, &str)] = &[("main", "cli"), ("main", "config"), ("cli", "config")];

/// Outside crates (or parts of one) and the only folders that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("faer", &["linalg"]),
    ("pulp", &["linalg"]),
    ("dyn_stack", &["linalg"]),
    ("sled", &["storage"]),
    ("bincode", &["storage"]),
    ("actix", &["shard", "engine"]),
    ("actix_rt", &["shard", "engine"]),
    ("dashmap", &["engine"]),
    ("tokio::net", &["server", "admin", "ingest", "client"]),
    ("clap", &["cli"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
    ("textplots", &["cli"]),
    ("console", &["cli"]),
    ("toml", &["config", "cli"]),
    ("serde", &["config", "cli"]),
    ("strsim", &["config", "cli"]),
    ("serde_json", &["cli"]),
    ("csv", &["ingest"]),
    ("flate2", &["ingest"]),
];

/// What reaches the world; none of it below [`PURE_BELOW`], where time and randomness are arguments.
const IMPURE: &[&str] = &["SystemTime", "Instant::now", "thread_rng", "std::env", "std::fs", "std::net"];
const PURE_BELOW: u8 = 5;
const IMPURE_ALLOWED: &[&str] = &["base/clock.rs"];

const LINES_MAX: usize = 500;
const LINES_NOTED: usize = 400;
const SAFETY_WITHIN: usize = 5;

/// A word or a mark of the source, with its line from 1.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// A path in full (`crate::` and `super::` resolved, `crate` first if it is ours), with its line.
#[derive(Debug)]
struct Named {
    path: Vec<String>,
    line: usize,
}

#[test]
fn the_sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "found only {} files under {}", files.len(), root.display());
    let mut problems = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&root).expect("collected under the root").to_string_lossy().replace('\\', "/");
        let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = source.lines().count();
        if lines > LINES_NOTED {
            println!("note: src/{name} has {lines} lines, think again past {LINES_NOTED}");
        }
        problems.extend(check(&name, &source).into_iter().map(|problem| format!("src/{problem}")));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn collect(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable folder").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Everything that is wrong with one file, `name` as under `src/`: `floor/file.rs:line: what`.
fn check(name: &str, source: &str) -> Vec<String> {
    let mut problems = BTreeSet::new();
    let mut report = |line: usize, what: String| {
        problems.insert((line, format!("{name}:{line}: {what}")));
    };
    if !source.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!")) {
        report(1, "does not open with a `//!` header".to_owned());
    }
    let lines = source.lines().count();
    if lines > LINES_MAX {
        report(lines, format!("{lines} lines, more than {LINES_MAX}"));
    }
    let tokens = tokens(&blanked(source));
    let home = home(name);
    let floor = floor(home);
    if floor.is_none() && home != "lib" {
        report(1, format!("`{home}` is on no floor: add it to FLOORS"));
    }
    let tests_from = if name.ends_with("/tests.rs") { 0 } else { tests_from(&tokens) };
    for named in paths(name, &tokens) {
        let Named { path, line } = &named;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let ["crate", target, ..] = path[..]
            && home != "lib"
            && let Some(what) = climbs(home, target)
        {
            report(*line, what);
        }
        for (outside, homes) in HOMES {
            let parts: Vec<&str> = outside.split("::").collect();
            if path.starts_with(&parts) && !homes.contains(&home) {
                report(*line, format!("`{outside}` lives only in {}", homes.join(", ")));
            }
        }
        let full = format!("::{}::", path.join("::"));
        let impure = IMPURE.iter().find(|banned| full.contains(&format!("::{banned}::")));
        let pure = floor.is_some_and(|floor| floor < PURE_BELOW) && !IMPURE_ALLOWED.contains(&name);
        if let Some(banned) = impure
            && pure
            && *line < tests_from
        {
            report(*line, format!("`{banned}` below floor {PURE_BELOW}: make it an argument"));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let is_macro = tokens.get(at + 1).is_some_and(|next| next.text == "!");
        match token.text.as_str() {
            "unsafe" if home != "linalg" => report(token.line, "`unsafe` outside linalg".to_owned()),
            "unsafe" => {
                let above = source.lines().take(token.line).skip(token.line.saturating_sub(SAFETY_WITHIN + 1));
                if !above.into_iter().any(|line| line.contains("// SAFETY:")) {
                    let what = format!("`unsafe` without `// SAFETY:` within {SAFETY_WITHIN} lines above");
                    report(token.line, what);
                }
            }
            "todo" | "unimplemented" | "dbg" if is_macro => report(token.line, format!("`{}!`", token.text)),
            "println" | "print" | "eprintln" | "eprint"
                if is_macro && !["cli", "main"].contains(&home) && token.line < tests_from =>
            {
                report(token.line, format!("`{}!` outside cli and main.rs", token.text));
            }
            _ => {}
        }
    }
    problems.into_iter().map(|(_, problem)| problem).collect()
}

/// Why a file of `home` may not import `target`, if it may not.
fn climbs(home: &str, target: &str) -> Option<String> {
    let (from, Some(to)) = (floor(home)?, floor(target)) else {
        return Some(format!("`{target}` is on no floor: add it to FLOORS"));
    };
    let allowed = home == target || to < from || SAME_FLOOR.contains(&(home, target));
    (!allowed).then(|| format!("`{home}` (floor {from}) imports `{target}` (floor {to})"))
}

fn floor(home: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, folders)| folders.contains(&home)).map(|(floor, _)| *floor)
}

/// The folder of a file, or the file's own name at the root: `linalg/slab.rs` → `linalg`, `main.rs` → `main`.
fn home(name: &str) -> &str {
    name.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// The line from which a file is tests: that of `#[cfg(test)] mod NAME {`.
fn tests_from(tokens: &[Token]) -> usize {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let starts = |at: &usize| {
        texts[*at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]", "mod"]) && texts.get(at + 9) == Some(&"{")
    };
    (0..texts.len()).find(starts).map_or(usize::MAX, |at| tokens[at].line)
}

/// All paths of a file that are rooted (in a `use`, or the first word before `::`), in full.
fn paths(name: &str, tokens: &[Token]) -> Vec<Named> {
    let mut module: Vec<String> = vec!["crate".to_owned()];
    module.extend(name.trim_end_matches(".rs").split('/').map(str::to_owned));
    if ["mod", "lib", "main"].contains(&module[module.len() - 1].as_str()) {
        module.pop();
    }
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut found, mut depth, mut inline, mut at) = (Vec::new(), 0_usize, Vec::new(), 0);
    while at < tokens.len() {
        let rooted = at == 0
            || text(at - 1) != "::"
            || !is_word(text(at.saturating_sub(2))) && text(at.saturating_sub(2)) != ">";
        match text(at) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
            }
            "mod" if text(at + 2) == "{" => {
                module.push(text(at + 1).to_owned());
                inline.push(depth);
            }
            "use" => {
                at = tree(tokens, at + 1, &module, &[], &mut found);
                continue;
            }
            "extern" if text(at + 1) == "crate" => {
                found.push(Named { path: vec![text(at + 2).to_owned()], line: tokens[at].line });
            }
            word if is_word(word) && text(at + 1) == "::" && rooted && text(at.saturating_sub(1)) != "." => {
                at = tree(tokens, at, &module, &[], &mut found);
                continue;
            }
            "thread_rng" => found.push(Named { path: vec!["thread_rng".to_owned()], line: tokens[at].line }),
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path or `use` tree at `at`, below `prefix`; puts its leaves into `found` and returns where it ends.
fn tree(tokens: &[Token], at: usize, module: &[String], prefix: &[String], found: &mut Vec<Named>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut path, mut at) = (prefix.to_vec(), at);
    let line = tokens.get(at).map_or(0, |token| token.line);
    if text(at) == "::" {
        at += 1;
    }
    loop {
        match text(at) {
            "{" if !path.is_empty() || prefix.is_empty() => {
                at += 1;
                while !["}", ""].contains(&text(at)) {
                    let next = tree(tokens, at, module, &path, found);
                    at = if next == at { at + 1 } else { next };
                }
                return at + 1;
            }
            "crate" | "mirra" if path.is_empty() => path.push("crate".to_owned()),
            "self" if path.is_empty() => path = module.to_vec(),
            "super" if path.is_empty() => path = module[..module.len().saturating_sub(1).max(1)].to_vec(),
            "super" => path.truncate((path.len() - 1).max(1)),
            "self" => {}
            word if is_word(word) => path.push(word.to_owned()),
            _ => break,
        }
        at += 1;
        if text(at) != "::" {
            break;
        }
        at += 1;
    }
    let exported_macro = text(at) == "!" && path.len() == 2;
    if !path.is_empty() && !exported_macro {
        found.push(Named { path, line });
    }
    if text(at) == "as" {
        at += 2;
    }
    at
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::`, and single marks.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let bytes = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { text: rest[..bytes].to_owned(), line: at + 1 });
            rest = rest[bytes..].trim_start();
        }
    }
    tokens
}

/// The source with comments and the inside of literals turned into spaces; lines stay where they are.
fn blanked(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let word_before = at > 0 && (get(at - 1).is_alphanumeric() || get(at - 1) == '_');
        let end = match (get(at), get(at + 1)) {
            ('/', '/') => (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len()),
            ('/', '*') => comment_end(&chars, at),
            ('"', _) => text_end(&chars, at + 1),
            ('r', '"' | '#') | ('b', 'r') if !word_before => raw_end(&chars, at).unwrap_or(at),
            ('\'', '\\') => (at + 3..chars.len()).find(|&i| chars[i] == '\'').map_or(chars.len(), |i| i + 1),
            ('\'', _) if get(at + 2) == '\'' => at + 3,
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn text_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of the raw text that begins at `start`, if one does.
fn raw_end(chars: &[char], start: usize) -> Option<usize> {
    let mut at = start + usize::from(chars[start] == 'b') + 1;
    let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    let close = |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    Some((at + 1..chars.len()).find(close).map_or(chars.len(), |i| i + 1 + hashes))
}

/// The rules on samples that break each of them, and on samples that only look so.
mod samples {
    use super::*;

    fn broken(name: &str, source: &str, words: &str) {
        let problems = check(name, &format!("//! Header.\n{source}"));
        assert_eq!(problems.len(), 1, "{name}: {source}\n{problems:?}");
        assert!(problems[0].contains(words), "{words:?} is not in {problems:?}");
    }

    fn fine(name: &str, source: &str) {
        let problems = check(name, &format!("//! Header.\n{source}"));
        assert!(problems.is_empty(), "{name}: {source}\n{problems:?}");
    }

    #[test]
    fn floors() {
        let up = "imports `engine` (floor 7)";
        broken("learn/decay.rs", "use crate::engine::Engine;", up);
        broken("learn/decay.rs", "use crate::{base::Rng, engine::{A, B as C}};", up);
        broken("learn/decay.rs", "use {std::fmt, crate::engine};", up);
        broken("learn/decay.rs", "fn f() { crate::engine::run::<u8>(); }", up);
        broken("learn/decay.rs", "use super::super::engine::Engine;", up);
        broken("learn/mod.rs", "use super::engine::Engine;", up);
        broken("learn/decay.rs", "mod tests { use super::super::super::engine::Engine; }", up);
        broken("learn/decay.rs", "mod a {} fn f() { super::super::engine::run() }", up);
        broken("learn/decay.rs", "pub(crate) use mirra::engine::Engine;", up);
        broken("wire/frame.rs", "use crate::learn::Strategy;", "`wire` (floor 3) imports `learn` (floor 3)");
        broken("config/mod.rs", "use crate::cli::Cli;", "`config` (floor 9) imports `cli`");
        broken("base/ids.rs", "use crate::nowhere::X;", "`nowhere` is on no floor");
        broken("nowhere/mod.rs", "", "`nowhere` is on no floor");
        fine("learn/decay.rs", "use crate::learn::{self, mean::Mean}; use super::checks; use crate::base::Rng;");
        fine(
            "learn/decay.rs",
            "mod tests { use super::super::checks; } // crate::engine\nconst A: &str = \"crate::engine\";",
        );
        fine("cli/serve.rs", "use crate::config::Config; use crate::engine::Engine;");
        fine("main.rs", "fn main() { mirra::cli::main() }");
        fine("learn/mod.rs", "pub(crate) fn f() { crate::strategies!(); x.engine::<u8>(); learn::engine::f() }");
    }

    #[test]
    fn homes() {
        for (outside, homes) in HOMES {
            broken("model/kind.rs", &format!("use {outside}::Thing;"), &format!("`{outside}` lives only in"));
            broken("model/kind.rs", &format!("fn f(x: &::{outside}::Thing) {{}}"), "lives only in");
            fine(&format!("{}/mod.rs", homes[0]), &format!("use {outside}::Thing;"));
        }
        broken("model/kind.rs", "use tokio::{time, net::TcpStream};", "`tokio::net` lives only in");
        broken("model/kind.rs", "extern crate sled;", "`sled` lives only in");
        broken("model/kind.rs", "#[derive(serde::Serialize)]\nstruct A;", "`serde` lives only in");
        fine("engine/mod.rs", "use tokio::time; use self::net::faer::X; use crate::base::sled;");
    }

    #[test]
    fn purity() {
        broken("state/mod.rs", "use std::time::SystemTime;", "`SystemTime` below floor 5");
        broken("state/mod.rs", "use std::time::{Duration, Instant}; fn f() { Instant::now(); }", "`Instant::now`");
        broken("state/mod.rs", "fn f() { std::time::Instant::now(); }", "`Instant::now`");
        broken("state/mod.rs", "use std::{env, fmt};", "`std::env`");
        broken("state/mod.rs", "fn f() { std::fs::read(a); }", "`std::fs`");
        broken("state/mod.rs", "use std::net::IpAddr;", "`std::net`");
        broken("state/mod.rs", "use rand::thread_rng;", "`thread_rng`");
        broken("state/mod.rs", "fn f() { thread_rng(); }", "`thread_rng`");
        fine(
            "state/mod.rs",
            "use std::time::Instant;\n#[cfg(test)]\nmod tests { use std::fs; fn f() { println!(); } }",
        );
        fine("storage/mod.rs", "use std::{env, fs, net, time::SystemTime};");
        fine("base/clock.rs", "use std::time::SystemTime;");
        broken("state/mod.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;", "`std::fs`");
    }

    #[test]
    fn headers_and_lengths() {
        assert!(check("base/ids.rs", "use std::fmt;\n")[0].contains("does not open with a `//!` header"));
        assert!(check("base/ids.rs", "")[0].contains("does not open with a `//!` header"));
        fine("base/ids.rs", &"\n".repeat(LINES_MAX - 1));
        broken("base/ids.rs", &"\n".repeat(LINES_MAX), "501 lines, more than 500");
    }

    #[test]
    fn words_that_are_not_allowed() {
        broken("base/ids.rs", "fn f() { unsafe { g() } }", "`unsafe` outside linalg");
        broken("linalg/slab.rs", "fn f() { unsafe { g() } }", "without `// SAFETY:`");
        broken("linalg/slab.rs", "// SAFETY: far\n\n\n\n\n\nunsafe fn f() {}", "without `// SAFETY:`");
        fine("linalg/slab.rs", "// SAFETY: near\n\n\n\n\nunsafe fn f() {}");
        fine("base/ids.rs", "#![deny(unsafe_code)] // unsafe\nconst A: &str = r#\"unsafe \" todo!()\"#;");
        for word in ["todo", "unimplemented", "dbg"] {
            broken("cli/mod.rs", &format!("fn f() {{ {word}!() }}"), word);
        }
        for word in ["println", "print", "eprintln", "eprint"] {
            broken("server/mod.rs", &format!("fn f() {{ {word}!() }}"), "outside cli and main.rs");
            fine("cli/mod.rs", &format!("fn f() {{ {word}!() }}"));
            fine("main.rs", &format!("fn f() {{ {word}!() }}"));
        }
    }

    #[test]
    fn literals_and_lifetimes_do_not_confuse() {
        let quotes = "fn f<'a>(x: &'a str) -> char { let _ = ('\"', '\\'', '\\u{41}', b'\"', \"\\\"\"); 'x' }";
        fine("base/ids.rs", quotes);
        broken("base/ids.rs", &format!("{quotes}\nfn g() {{ todo!() }}"), "ids.rs:3: `todo!`");
        broken("base/ids.rs", "/* a /* b */ \" */ fn g() { todo!() }", "`todo!`");
        broken("base/ids.rs", "const A: &[u8] = br#\"\"\"#; fn g() { todo!() }", "`todo!`");
    }
}
