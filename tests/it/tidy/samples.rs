//! The rules of `tidy.rs` on samples that break each of them, and on samples that only look so.

use super::*;

fn broken(name: &str, source: &str, words: &str) {
    let problems = check(name, &format!("//! Header.\n{source}"), false);
    assert_eq!(problems.len(), 1, "{name}: {source}\n{problems:?}");
    assert!(problems[0].contains(words), "{words:?} is not in {problems:?}");
}

fn fine(name: &str, source: &str) {
    let problems = check(name, &format!("//! Header.\n{source}"), false);
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
    fine("state/mod.rs", "use std::time::Instant;\n#[cfg(test)]\nmod tests { use std::fs; fn f() { println!(); } }");
    fine("storage/mod.rs", "use std::{env, fs, net, time::SystemTime};");
    fine("base/clock.rs", "use std::time::SystemTime;");
    broken("state/mod.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;", "`std::fs`");
}

#[test]
fn headers_and_lengths() {
    assert!(check("base/ids.rs", "use std::fmt;\n", false)[0].contains("does not open with a `//!` header"));
    assert!(check("base/ids.rs", "", false)[0].contains("does not open with a `//!` header"));
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
    fine("base/ids.rs", "fn f() { if print != todo {} }");
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

#[test]
fn test_code_ends_with_its_braces() {
    let mixed = "#[cfg(test)]\npub(crate) mod testing {\n  fn f() { println!(); }\n}\nfn g() {\n  println!();\n}";
    broken("state/mod.rs", mixed, "mod.rs:7: `println!`");
    broken("state/mod.rs", "mod tests {\n  use std::fs;\n}", "`std::fs`");
    broken("state/mod.rs", "#[cfg(not(test))]\nmod a {\n  use std::fs;\n}", "`std::fs`");
    fine("state/mod.rs", "#[cfg(test)]\n#[allow(dead_code)]\nmod a {\n  mod b {}\n  use std::fs;\n}");
}

#[test]
fn test_files_are_those_declared_so() {
    let declares =
        "#[cfg(test)]\nmod golden;\nmod plain;\n#[cfg(test)]\npub(crate) mod sample;\n#[cfg(test)]\nmod tests {}";
    assert_eq!(test_files("wire/mod.rs", declares), ["wire/golden", "wire/sample"]);
    assert_eq!(test_files("wire/frame.rs", "#[cfg(test)] mod a;"), ["wire/frame/a"]);
    assert_eq!(test_files("lib.rs", "#[cfg(test)] mod a;"), ["a"]);
    let stems = ["wire/golden".to_owned()];
    for (name, expected) in [
        ("wire/golden.rs", true),
        ("wire/golden/a.rs", true),
        ("wire/golden_tests.rs", false),
        ("wire/plain.rs", false),
    ] {
        assert_eq!(is_test_file(name, &stems), expected, "{name}");
    }
    let source = "//! Header.\nfn f() { std::fs::read(a); println!(); }";
    assert_eq!(check("wire/golden.rs", source, true), Vec::<String>::new());
    assert_eq!(check("wire/golden.rs", source, false).len(), 2);
    // The floors and the words hold for tests, too.
    let source = "//! Header.\nuse crate::engine::X;\nfn f() { todo!() }";
    assert_eq!(check("wire/golden.rs", source, true).len(), 2);
}
