//! Tests of plans: what columns are taken for, and what rows then state.

use std::io::Cursor;

use clap::Parser;

use super::*;
use crate::cli::load::What;
use crate::cli::{Cli, Command};

/// The plan for a file under a command line such as `items --types a=number`, and what its rows state.
fn plan(command: &str, file: &str) -> Result<(Plan, Vec<Result<Stated, String>>), String> {
    let line = format!("mirra load {command} file.csv");
    let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
    let Command::Load(load) = cli.command else { panic!("{line}") };
    let (rows, target) = match load.what {
        What::Users(rows) => (rows, Target::Users),
        What::Items { rows, tags } => (rows, Target::Items { tags }),
        What::Embeddings(_) => panic!("{line} has no columns"),
    };
    let mut sheet = Sheet::from_reader(Cursor::new(file.as_bytes().to_vec()), "file.csv").unwrap();
    let cells: Vec<Cells> = sheet.by_ref().map(Result::unwrap).collect();
    let sample = cells.iter().take(3);
    let typing = Typing { told: &rows.types, declared: &[], infer: !rows.no_infer, time: rows.time.as_deref() };
    let mut plan =
        Plan::new(&target, Path::new("file.csv"), &sheet, typing, &sample).map_err(|error| error.to_string())?;
    let stated = cells.iter().map(|row| plan.stated(row)).collect();
    Ok((plan, stated))
}

fn types(command: &str, file: &str) -> Vec<(String, &'static str)> {
    let (plan, _) = plan(command, file).unwrap();
    plan.columns.into_iter().map(|column| (column.name, column.cell.name())).collect()
}

#[test]
fn types_are_told_by_the_first_rows_or_by_name() {
    let file =
        "user,n,code,flag,words,mixed,nothing,nan\n1,-1.5e3,007,TRUE,a|b,1,,nan\n2,,12,false,,x,,1\n3,4,13,,c,2,,2\n";
    let expected = ["number", "text", "boolean", "list", "text", "text", "text"];
    let found: Vec<&str> = types("users", file).into_iter().map(|(_, cell)| cell).collect();
    assert_eq!(found, expected);
    let told: Vec<&str> = types("users --types N=text,flag=category,code=number,nothing=bool", file)
        .into_iter()
        .map(|(_, cell)| cell)
        .collect();
    assert_eq!(told, ["text", "number", "text", "list", "text", "boolean", "text"]);
    assert!(types("users --no-infer --types n=number", file).iter().skip(1).all(|(_, cell)| *cell == "text"));
}

#[test]
fn rows_state_what_their_cells_say_and_empty_ones_nothing() {
    let file = "item,genres,year,tags,timestamp\nx,A| b ||c,1995,t,874724710\n7,,,,\n9,d,2000,,874724711\n";
    let (plan_of, stated) = plan("items --tags genres", file).unwrap();
    assert_eq!(plan_of.tags(), Some("genres"));
    let attribute = |name: &str, value| Attribute { name: name.to_owned(), value };
    let first = Stated {
        id: Id::parse("x"),
        time_ms: 874_724_710_000,
        tags: Some(["A", "b", "c"].map(str::to_owned).to_vec()),
        attributes: vec![
            attribute("year", AttributeValue::Number(1995.0)),
            attribute("tags", AttributeValue::Text("t".to_owned())),
        ],
    };
    let nothing = Stated { id: Id::Int(7), time_ms: 0, tags: None, attributes: Vec::new() };
    assert_eq!(stated[..2], [Ok(first), Ok(nothing)]);
    assert_eq!(plan("items", file).unwrap().0.tags(), Some("tags"), "the first of the usual names");
    let times = |command: &str| plan(command, file).unwrap().1[0].as_ref().unwrap().time_ms;
    assert_eq!(
        [times("items --time now"), times("items --time 1600000000"), times("items --time year")],
        [0, 1_600_000_000_000, 1_995_000]
    );
}

#[test]
fn cells_that_do_not_fit_name_column_value_and_way_out() {
    let long = "x".repeat(257);
    let many = vec!["t"; 65].join("|");
    for (file, message) in [
        (
            "user,age\n1,2\n2,3\n3,4\n4,old\n",
            "age is \"old\", expected a number (as in the first 3 rows; --types age=text takes all)",
        ),
        ("user,f\n1,true\n2,\n3,\n4,maybe\n", "f is \"maybe\", expected a boolean"),
        (",user\n,\n", "user is \"\", expected an id of 1 to 128 bytes"),
        ("user,timestamp\n1,soon\n", "time is \"soon\", expected seconds or milliseconds"),
        ("user,timestamp\n1,0\n", "time is \"0\", expected seconds or milliseconds"),
        (&format!("user,t\n1,{long}\n"), "expected at most 256 bytes of text, not 257"),
        (&format!("user,t\n1,a|{long}\n"), "expected at most 256 bytes of text, not 257"),
        (&format!("user,t\n1,{many}\n"), "expected at most 64 texts, not 65"),
    ] {
        // A column without a name is refused; here it stands for a row without an id.
        let file = file.replace(",user\n", "a,user\n");
        let (_, stated) = plan("users", &file).unwrap();
        let found = stated.last().unwrap().as_ref().unwrap_err();
        assert!(found.contains(message), "{found}");
    }
    let (_, told) = plan("users --types age=number", "user,age\n1,old\n").unwrap();
    assert!(told[0].as_ref().unwrap_err().contains("(--types says so)"), "{told:?}");
}

#[test]
fn headers_that_make_no_sense_are_refused() {
    let wide: String = (0..65).map(|at| format!(",c{at}")).collect();
    for (command, file, message) in [
        ("users", "item,a\n", "no column \"user\""),
        ("users", "user,a,A\n", "column \"A\" twice"),
        ("users", "user,a,\n", "column 3 of file.csv has a name of 0 bytes"),
        ("users --types b=number", "user,a\n", "no column \"b\" for --types; it has: user, a"),
        ("users --types a=float", "user,a\n", "where TYPE is number, text, category, boolean or list"),
        ("items --tags b", "item,a\n", "no column \"b\" for --tags"),
        ("users --time then", "user,a\n", "no column \"then\" for --time"),
        ("users", &format!("user{wide}\n"), "65 columns of attributes, a user takes 64"),
    ] {
        let error = plan(command, file).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
