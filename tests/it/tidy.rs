//! The architecture, enforced: floors, homes of outside crates, purity below floor 5, headers, lengths, `unsafe`.
//!
//! Sources are read as text: comments and literals are blanked, the rest is cut into words, and every path
//! (`crate::a::b`, `super::super::a`, `use {a, b::{c, d}}`) is resolved to its full form, which the rules look at.
//! Code in a `#[cfg(test)] mod`, inline or in a file of its own, keeps to the floors but may print and read fixtures.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

mod samples;

/// Folders (or files) of `src`, by floor. A file imports only from floors below its own.
const FLOORS: &[(u8, &[&str])] = &[
    (9, &["main", "cli", "config"]),
    (8, &["server", "admin", "ingest", "client"]),
    (7, &["engine"]),
    (6, &["shard"]),
    (5, &["storage"]),
    (4, &["state"]),
    (3, &["learn", "evaluate", "wire", "person", "pipeline", "mine", "experiment"]),
    (2, &["model"]),
    (1, &["linalg", "telemetry"]),
    (0, &["base"]),
];

/// The only imports within a floor: the binary is put together from its parts.
const SAME_FLOOR: &[(&str, &str)] = &[("main", "cli"), ("main", "config"), ("cli", "config")];

/// Outside crates (or parts of one) and the only folders that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("siphasher", &["base"]),
    ("faer", &["linalg"]),
    ("pulp", &["linalg"]),
    ("dyn_stack", &["linalg"]),
    ("statrs", &["evaluate"]),
    ("sled", &["storage"]),
    ("bincode", &["storage"]),
    ("actix", &["shard", "engine"]),
    ("actix_rt", &["shard", "engine"]),
    ("dashmap", &["engine"]),
    ("tokio::net", &["server", "admin", "ingest", "client"]),
    ("clap", &["cli"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
    ("plotters", &["cli"]),
    ("textplots", &["cli"]),
    ("console", &["cli"]),
    ("toml", &["config", "cli"]),
    ("serde", &["config", "cli"]),
    ("strsim", &["config", "cli"]),
    ("serde_json", &["cli"]),
    ("csv", &["ingest"]),
    ("flate2", &["ingest"]),
    ("safetensors", &["ingest"]),
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
    let sources: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(&root).expect("collected under the root").to_string_lossy().replace('\\', "/");
            let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, source)
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(|(name, source)| test_files(name, source)).collect();
    let mut problems = Vec::new();
    for (name, source) in &sources {
        let lines = source.lines().count();
        if lines > LINES_NOTED {
            println!("note: src/{name} has {lines} lines, think again past {LINES_NOTED}");
        }
        let found = check(name, source, is_test_file(name, &tests));
        problems.extend(found.into_iter().map(|problem| format!("src/{problem}")));
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

/// Everything that is wrong with one file, `name` as under `src/`: `floor/file.rs:line: what`. A file of `tests` is
/// compiled for tests only.
fn check(name: &str, source: &str, tests: bool) -> Vec<String> {
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
    let inline = test_modules(&tokens);
    let is_test = |line: usize| tests || inline.iter().any(|module| module.lines.contains(&line));
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
            && !is_test(*line)
        {
            report(*line, format!("`{banned}` below floor {PURE_BELOW}: make it an argument"));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let next = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text.as_str());
        let is_macro = next(1) == "!" && next(2) != "=";
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
                if is_macro && !["cli", "main"].contains(&home) && !is_test(token.line) =>
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

/// A module that is compiled for tests only; one in a file of its own has only the line of its declaration here.
struct TestModule {
    name: String,
    lines: RangeInclusive<usize>,
    inline: bool,
}

/// The modules after `#[cfg(test)]`, whatever other attributes and visibility stand between.
fn test_modules(tokens: &[Token]) -> Vec<TestModule> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    // The place after the bracket that closes the one at `at`.
    let after = |open: &str, close: &str, at: usize| {
        let mut depth = 0_usize;
        for here in at..tokens.len() {
            depth += usize::from(text(here) == open);
            depth -= usize::from(text(here) == close && depth > 0);
            if depth == 0 {
                return here + 1;
            }
        }
        tokens.len()
    };
    let mut modules = Vec::new();
    for start in 0..tokens.len() {
        if !["#", "[", "cfg", "(", "test", ")", "]"].iter().enumerate().all(|(i, word)| text(start + i) == *word) {
            continue;
        }
        let mut at = start + 7;
        while text(at) == "#" {
            at = after("[", "]", at + 1);
        }
        at += usize::from(text(at) == "pub");
        if text(at) == "(" {
            at = after("(", ")", at);
        }
        let inline = text(at + 2) == "{";
        if text(at) == "mod" && (inline || text(at + 2) == ";") {
            let end = if inline { after("{", "}", at + 2) - 1 } else { at + 2 };
            let lines = tokens[start].line..=tokens[end].line;
            modules.push(TestModule { name: text(at + 1).to_owned(), lines, inline });
        }
    }
    modules
}

/// The files, without `.rs`, that `name` declares as modules for tests only.
fn test_files(name: &str, source: &str) -> Vec<String> {
    let stem = name.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod")) => format!("{folder}/"),
        None if ["lib", "main"].contains(&stem) => String::new(),
        _ => format!("{stem}/"),
    };
    let modules = test_modules(&tokens(&blanked(source)));
    modules.iter().filter(|module| !module.inline).map(|module| format!("{folder}{}", module.name)).collect()
}

/// Whether a file is one of these, or lies in the folder of one.
fn is_test_file(name: &str, stems: &[String]) -> bool {
    stems.iter().any(|stem| name.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
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
