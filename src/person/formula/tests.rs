//! Formulas against a reference that walks a tree, and against everything that is no formula.

use proptest::prelude::*;

use super::node::Function;
use super::*;

/// A tree as generated: written with all parentheses, valued by recursion.
#[derive(Clone, Debug)]
enum Tree {
    Number(f64),
    Reading(&'static str),
    Sign(&'static str, Box<Tree>),
    Infix(&'static str, Box<Tree>, Box<Tree>),
    Call(&'static str, Vec<Tree>),
}

/// Readings of the tests, and what they hold.
const PROFILE: [(&str, Option<f64>); 6] = [
    ("events", Some(12.0)),
    ("recency_s(\"view\")", Some(3_600.0)),
    ("count(\"purchase\", 2)", Some(0.25)),
    ("mean(\"rate\")", None),
    ("share(\"tag:a \\\"b\\\\\")", Some(-0.5)),
    ("trait(\"novelty_seeking\")", Some(f64::NAN)),
];

fn profile(reading: Reading<'_>) -> Option<f64> {
    let written = reading.to_string();
    PROFILE.iter().find(|(name, _)| *name == written).unwrap_or_else(|| panic!("{written} is not of the tests")).1
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => format!("{number}"),
            Self::Reading(text) => (*text).to_owned(),
            Self::Sign(sign, one) => format!("({sign} ({}))", one.text()),
            Self::Infix(operator, one, two) => format!("({}) {operator} ({})", one.text(), two.text()),
            Self::Call(name, all) => {
                format!("{name}({})", all.iter().map(Self::text).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// NaN stands for what is not known: a second way to say the same.
    fn value(&self) -> f64 {
        let truth = |yes: bool| if yes { 1.0 } else { 0.0 };
        let value = match self {
            Self::Number(number) => *number,
            Self::Reading(text) => PROFILE.iter().find(|(name, _)| name == text).unwrap().1.unwrap_or(f64::NAN),
            Self::Sign("-", one) => -one.value(),
            Self::Sign(_, one) => match one.value() {
                value if value.is_nan() => value,
                value => truth(value == 0.0),
            },
            Self::Infix(operator, one, two) => {
                let (one, two) = (one.value(), two.value());
                let known = |value: f64| if one.is_nan() || two.is_nan() { f64::NAN } else { value };
                match *operator {
                    "and" if one == 0.0 || two == 0.0 => 0.0,
                    "or" if !one.is_nan() && one != 0.0 || !two.is_nan() && two != 0.0 => 1.0,
                    "and" => known(1.0),
                    "or" => known(0.0),
                    "<" => known(truth(one < two)),
                    "<=" => known(truth(one <= two)),
                    ">" => known(truth(one > two)),
                    ">=" => known(truth(one >= two)),
                    "==" => known(truth(one == two)),
                    "!=" => known(truth(one != two)),
                    "+" => one + two,
                    "-" => one - two,
                    "*" => one * two,
                    "/" => one / two,
                    // Doubles know 1^NaN = 1 and NaN^0 = 1; formulas do not.
                    _ => known(one.powf(two)),
                }
            }
            Self::Call(name, all) => {
                let all: Vec<f64> = all.iter().map(Self::value).collect();
                let unknown = all.iter().any(|value| value.is_nan());
                match (*name, all[..].as_ref()) {
                    ("if", [c, ..]) if c.is_nan() => f64::NAN,
                    ("if", [c, yes, no]) => {
                        if *c == 0.0 {
                            *no
                        } else {
                            *yes
                        }
                    }
                    ("default", [x, otherwise]) => {
                        if x.is_nan() {
                            *otherwise
                        } else {
                            *x
                        }
                    }
                    ("known", [x]) => truth(!x.is_nan()),
                    _ if unknown => f64::NAN,
                    ("min", all) => all.iter().copied().fold(f64::INFINITY, f64::min),
                    ("max", all) => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    ("clamp", [x, low, high]) => {
                        if low > high {
                            f64::NAN
                        } else {
                            x.max(*low).min(*high)
                        }
                    }
                    ("abs", [x]) => x.abs(),
                    ("log", [x]) => x.ln(),
                    ("exp", [x]) => x.exp(),
                    ("sqrt", [x]) => x.sqrt(),
                    other => panic!("{other:?}"),
                }
            }
        };
        if value.is_finite() { value } else { f64::NAN }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let numbers = prop_oneof![
        (0_u32..12).prop_map(f64::from),
        (0.0..1.0_f64).boxed(),
        prop::sample::select(vec![1e300, 1e-300, 123_456.75, 5e-324, 1e21]),
    ];
    let leaf = prop_oneof![
        numbers.prop_map(Tree::Number),
        prop::sample::select(PROFILE.map(|(name, _)| name).to_vec()).prop_map(Tree::Reading),
    ];
    leaf.prop_recursive(6, 40, 3, |inner| {
        let signs = prop::sample::select(vec!["-", "not"]);
        let operators =
            vec!["or", "and", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "^", "+", "*", "-", "/", "^"];
        let calls = Function::ALL.to_vec();
        let boxed = |tree: Tree| Box::new(tree);
        prop_oneof![
            (signs, inner.clone()).prop_map(move |(sign, one)| Tree::Sign(sign, boxed(one))),
            (prop::sample::select(operators), inner.clone(), inner.clone())
                .prop_map(move |(operator, one, two)| Tree::Infix(operator, boxed(one), boxed(two))),
            (prop::sample::select(calls), prop::collection::vec(inner, 4)).prop_map(|(function, mut all)| {
                all.truncate(usize::from(*function.arguments().end()));
                Tree::Call(function.text(), all)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn values_are_those_of_the_tree_and_the_canonical_text_is_the_same_formula(tree in trees()) {
        let text = tree.text();
        let formula = match Formula::parse(&text) {
            Ok(formula) => formula,
            Err(FormulaError { problem: Problem::Long { .. } | Problem::Deep, .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error}"))),
        };
        let canonical = formula.to_string();
        let again = Formula::parse(&canonical).map_err(|error| TestCaseError::fail(format!("{canonical}\n{error}")))?;
        prop_assert_eq!(&again, &formula, "{} as {}", text, canonical);
        prop_assert_eq!(again.to_string(), canonical);

        let value = formula.eval(&profile);
        let expected = tree.value();
        prop_assert_eq!(value.is_some(), !expected.is_nan(), "{} = {:?}, tree {}", text, value, expected);
        if let Some(value) = value {
            prop_assert_eq!(value.to_bits(), (expected + 0.0).to_bits(), "{} = {}, tree {}", text, value, expected);
        }

        let mut bytes = Vec::new();
        formula.encode(&mut Writer::new(&mut bytes));
        prop_assert_eq!(Formula::decode(&mut Reader::new(&bytes)), Ok(formula));
        prop_assert!(Formula::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn anything_at_all_is_a_formula_or_a_told_error(text in any::<String>()) {
        if let Err(error) = Formula::parse(&text) {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} of {:?}", error.at, text);
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn words_in_any_order_are_a_formula_or_a_told_error(
        words in prop::collection::vec(prop::sample::select(vec![
            "(", ")", ",", "+", "-", "*", "/", "^", "<", "<=", "==", "and", "or", "not", "if", "min", "clamp", "known",
            "events", "count", "recency_s", "\"view\"", "0", "1.5", "2", "1e9", "é", "\"", "=", "\n",
        ]), 0..40),
    ) {
        match Formula::parse(&words.join(" ")) {
            Ok(formula) => prop_assert!(formula.eval(&|_: Reading<'_>| Some(2.0)).is_none_or(f64::is_finite)),
            Err(error) => prop_assert!(error.to_string().contains('^') || error.problem == Problem::Deep),
        }
    }
}

fn value(text: &str) -> Option<f64> {
    Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).eval(&profile)
}

#[test]
fn strengths_are_those_of_school() {
    for (text, expected) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("10 - 4 - 3", 3.0),
        ("100 / 10 / 2", 5.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("2 ^ -1", 0.5),
        ("2 * -3", -6.0),
        ("--2", 2.0),
        ("1 + 1 == 2", 1.0),
        ("not 1 == 2", 1.0),
        ("1 or 0 and 0", 1.0),
        ("not 0 and 0", 0.0),
        ("min(3, 1, 2) + max(3, 1, 2)", 4.0),
        ("if(events > 10, 5, 6)", 5.0),
        ("clamp(events, 0, 10)", 10.0),
        ("exp(log(5)) > 4.999", 1.0),
        ("0 * -1", 0.0),
        ("1.5e2", 150.0),
    ] {
        let found = value(text).unwrap_or_else(|| panic!("{text} is not known"));
        assert_eq!(found.to_bits(), f64::to_bits(expected), "{text} = {found}");
    }
}

#[test]
fn what_cannot_be_known_is_not() {
    for text in [
        "1 / 0",
        "0 / 0",
        "log(0)",
        "log(-1)",
        "sqrt(-1)",
        "exp(1e9)",
        "1e308 * 10",
        "(-8) ^ 0.5",
        "0 ^ -1",
        "clamp(1, 3, 2)",
        "mean(\"rate\")",
        "mean(\"rate\") ^ 0",
        "trait(\"novelty_seeking\")",
        "min(1, mean(\"rate\"))",
        "not mean(\"rate\")",
        "1 and mean(\"rate\")",
        "0 or mean(\"rate\")",
        "if(mean(\"rate\"), 1, 1)",
        "mean(\"rate\") == mean(\"rate\")",
    ] {
        assert_eq!(value(text), None, "{text}");
    }
    for (text, expected) in [
        ("0 and mean(\"rate\")", 0.0),
        ("mean(\"rate\") or 1", 1.0),
        ("if(1, 2, mean(\"rate\"))", 2.0),
        ("default(mean(\"rate\"), 3)", 3.0),
        ("default(4, mean(\"rate\"))", 4.0),
        ("known(mean(\"rate\")) + 2 * known(events)", 2.0),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
    }
}

#[test]
fn canonical_texts() {
    for (text, expected) in [
        ("((events))", "events"),
        ("1+(2*3)", "1 + 2 * 3"),
        ("1-(2-3)", "1 - (2 - 3)"),
        ("(1-2)-3", "1 - 2 - 3"),
        ("(2^3)^2", "(2 ^ 3) ^ 2"),
        ("2^(3^2)", "2 ^ 3 ^ 2"),
        ("(-2)^2", "(-2) ^ 2"),
        ("-(2^2)", "-2 ^ 2"),
        ("-(1+2)", "-(1 + 2)"),
        ("not (events and 1)", "not (events and 1)"),
        ("(not events) and 1", "not events and 1"),
        ("(1<2)==(2<3)", "(1 < 2) == (2 < 3)"),
        ("1000000000000000000000000", "1e24"),
        ("0.000000001", "1e-9"),
        ("count( \"purchase\" ,2 )", "count(\"purchase\", 2)"),
        ("share(\"a \\\"b\\\\\")", "share(\"a \\\"b\\\\\")"),
    ] {
        let found = Formula::parse(text).map(|formula| formula.to_string()).unwrap_or_default();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn errors_show_the_place() {
    for (text, expected) in [
        ("2 * evnts + 1", "unknown name `evnts`, did you mean `events`?\n  2 * evnts + 1\n      ^^^^^"),
        ("xyzzy", "unknown name `xyzzy`: docs/traits.md lists readings and functions\n  xyzzy\n  ^^^^^"),
        ("1 +", "a number, a reading, a function or `(` expected, the end found\n  1 +\n     ^"),
        ("", "a number, a reading, a function or `(` expected, the end found\n  \n  ^"),
        ("1 2", "an operator or the end expected, the number 2 found\n  1 2\n    ^"),
        ("(1 + 2", "an operator or `)` expected, the end found\n  (1 + 2\n        ^"),
        ("a = 1", "`=` means nothing in a formula, write `==`\n  a = 1\n    ^"),
        ("1 < 2 < 3", "comparisons do not chain: write `a < b and b < c`\n  1 < 2 < 3\n        ^"),
        ("events(\"view\")", "`events` is written `events`\n  events(\"view\")\n  ^^^^^^^^^^^^^"),
        (
            "1 + count",
            "`count` is written `count(\"purchase\")` or, decayed, `count(\"purchase\", 0)` to `2`\n  1 + count\n      ^^^^^",
        ),
        (
            "count(\"a\", 3)",
            "`count` is written `count(\"purchase\")` or, decayed, `count(\"purchase\", 0)` to `2`\n  count(\"a\", 3)\n  ^^^^^^^^^^^^",
        ),
        ("clamp(1, 2)", "`clamp` is written `clamp(x, low, high)`\n  clamp(1, 2)\n  ^^^^^^^^^^^"),
        ("count(\"a", "a text that does not end: close it with `\"` on the same line\n  count(\"a\n        ^"),
        ("1 +\n  é", "`é` means nothing in a formula\n    é\n    ^"),
        ("1. + 2", "a digit after the point expected, none found\n  1. + 2\n  ^^"),
        ("1e999", "a number too large for a double, at most 1.8e308\n  1e999\n  ^^^^^"),
    ] {
        let found = Formula::parse(text).map(|formula| formula.to_string()).unwrap_err().to_string();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn limits_hold_and_are_told() {
    let problem = |text: &str| Formula::parse(text).map(|_| ()).map_err(|error| error.problem);
    let nested = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(problem(&nested(DEPTH_MAX)), Ok(()));
    assert_eq!(problem(&nested(DEPTH_MAX + 1)), Err(Problem::Deep));
    assert_eq!(problem(&"-".repeat(500)), Err(Problem::Deep));
    assert_eq!(problem(&"not ".repeat(200)), Err(Problem::Deep));
    assert_eq!(problem(&vec!["2"; 100].join("^")), Err(Problem::Deep));
    assert_eq!(problem(&vec!["1"; 128].join(" + ")), Ok(()));
    assert_eq!(problem(&vec!["1"; 129].join(" + ")), Err(Problem::Large));
    assert_eq!(problem(&" ".repeat(1_025)), Err(Problem::Long { bytes: 1_025 }));
    assert_eq!(problem(&format!("count(\"{}\")", "k".repeat(257))), Err(Problem::LongText));
    // Sixteen arguments, nested: the operands that wait are bounded as well.
    let wide = (0..6).fold("1".to_owned(), |inner, _| format!("min({}{inner})", "1,".repeat(15)));
    assert_eq!(problem(&wide), Err(Problem::Deep));
    // Written out, with its spaces, it is longer than what may be kept.
    let tight = format!("{}1", "events*".repeat(120));
    assert!(matches!(problem(&tight), Err(Problem::Long { bytes: 1_025.. })), "{:?}", problem(&tight));
}

#[test]
fn readings_are_told_once_each() {
    let text = "events + count(\"view\") * events - count(\"view\", 1) + trait(\"a\") / trait(\"b\")";
    let formula = Formula::parse(text).unwrap();
    let readings: Vec<String> = formula.readings().map(|reading| reading.to_string()).collect();
    assert_eq!(readings, ["events", "count(\"view\")", "count(\"view\", 1)", "trait(\"a\")", "trait(\"b\")"]);
    assert_eq!(formula.traits().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn traits_come_after_those_that_they_read() {
    let parse = |text: &str| Formula::parse(text).unwrap();
    let (a, b, c, d) =
        (parse("trait(\"b\") + trait(\"c\")"), parse("trait(\"c\")"), parse("events"), parse("trait(\"z\")"));
    let places = order(&[("a", &a), ("b", &b), ("c", &c), ("d", &d)]).unwrap();
    assert_eq!(places, [2, 1, 0, 3]);
    let circle = order(&[("d", &d), ("a", &a), ("b", &b), ("c", &parse("trait(\"a\")"))]).unwrap_err();
    assert_eq!(circle, Cycle(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
    assert!(circle.to_string().contains("a → b → c → a"), "{circle}");
    assert!(order(&[("me", &parse("trait(\"me\")"))]).is_err());
}

/// The page lists every reading and function as the code does.
#[test]
fn the_page_is_fresh() {
    let page = include_str!("../../../docs/traits.md");
    for name in ReadingName::ALL {
        let row = format!("| {} | {} |", name.usage(), name.meaning());
        assert!(page.contains(&row), "docs/traits.md lacks the row\n{row}");
    }
    for function in Function::ALL {
        let row = format!("| {} | {} |", function.usage(), function.meaning());
        assert!(page.contains(&row), "docs/traits.md lacks the row\n{row}");
    }
    // Every example on the page is a formula.
    let blocks = page.split("```").skip(1).step_by(2);
    let examples: Vec<&str> = blocks.flat_map(|block| block.lines().skip(1)).filter(|line| !line.is_empty()).collect();
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let formula = example.split_once('#').map_or(example, |(formula, _)| formula);
        Formula::parse(formula).unwrap_or_else(|error| panic!("{error}"));
    }
}
