//! A bank, looked at for risk: logins, payments, transfers, declined cards, loans paid in time or late.
//!
//! *Planted*: `risk`, 0 to 1, the square of a uniform draw. A card payment is declined with probability
//! `0.01 + 0.3 risk`, an instalment of a loan is late with probability `0.02 + 0.65 risk`, and then 5 to 25 days; users of
//! higher risk also like gambling and trading more. Salaries come monthly, on a day of the user's own, instalments a few days later.

use super::people::{Person, Taste};
use super::rhythm::{DAY_MS, HOUR_MS, Habits};
use super::stream::{Act, Behaviour, World};
use super::world::{
    Shelf, age, cents, chance, count, date, days_ms, home, known, number, pick, popularity, shelves, text, topics,
    wait_ms, whole,
};
use super::{FieldKind, FieldOptions, ItemRow, UserRow};
use crate::base::{Id, Rng};
use crate::ingest::generate::below;
use crate::model::Value;

const MONEY: Option<(f32, f32)> = Some((0.0, 10_000_000.0));

pub(super) const KINDS: &[FieldKind] = &[
    FieldKind { name: "payment", range: MONEY },
    FieldKind { name: "login", range: None },
    FieldKind { name: "transfer", range: MONEY },
    FieldKind { name: "card_decline", range: MONEY },
    FieldKind { name: "deposit", range: MONEY },
    FieldKind { name: "loan_payment", range: MONEY },
    FieldKind { name: "late_payment", range: MONEY },
    FieldKind { name: "support_call", range: Some((0.0, 14_400.0)) },
];

pub(super) const USER_ATTRIBUTES: &[&str] =
    &["opened", "segment", "age", "country", "home", "income", "credit_score", "employment", "marketing"];

pub(super) const ITEM_ATTRIBUTES: &[&str] = &["name", "category", "country", "fee", "merchant_risk"];

/// Items that are no merchants, with their tags: they come first.
const SERVICES: [(&str, &str); 11] = [
    ("app", "channel"),
    ("web", "channel"),
    ("branch", "channel"),
    ("hotline", "channel"),
    ("salary", "account"),
    ("transfer-domestic", "transfer"),
    ("transfer-abroad", "transfer"),
    ("loan-car", "loan"),
    ("loan-home", "loan"),
    ("loan-personal", "loan"),
    ("loan-study", "loan"),
];
const HOTLINE: usize = 3;
const SALARY: usize = 4;
const TRANSFERS: usize = 5;
const LOANS: usize = 7;

const CATEGORIES: [&str; 10] = [
    "groceries",
    "dining",
    "travel",
    "utilities",
    "electronics",
    "healthcare",
    "education",
    "clothing",
    "gambling",
    "trading",
];
/// A usual payment of each category, for an income of 40,000.
const AMOUNTS: [f64; 10] = [35.0, 28.0, 240.0, 90.0, 160.0, 60.0, 120.0, 55.0, 70.0, 300.0];
/// The first category that risky users like.
const RISKY_FROM: usize = 8;
const SEGMENTS: [&str; 4] = ["student", "standard", "premier", "business"];
const EMPLOYMENT: [&str; 4] = ["employed", "self_employed", "unemployed", "retired"];

/// Probability of a declined card and of a late instalment: at no risk, and what risk adds.
const DECLINE: (f64, f64) = (0.01, 0.3);
const LATE: (f64, f64) = (0.02, 0.65);
/// Share of users with a loan.
const LOAN: f64 = 0.6;

const HABITS: Habits = Habits {
    peak_hour: (13.0, 3.5),
    sharpness: 2.0,
    weekend: (0.4, 1.1),
    slots: &[],
    gap_ms: HOUR_MS,
    session_ms: 5 * 60_000,
};

#[derive(Debug)]
struct Client {
    taste: Taste,
    risk: f64,
    income: f64,
    /// Index of the loan's item and its monthly instalment.
    loan: Option<(usize, f64)>,
    /// Day of the month, of 30 days, on which the salary comes.
    payday: i64,
}

#[derive(Debug)]
struct Bank {
    clients: Vec<Client>,
    /// Of merchants, whose items follow the services.
    categories: Vec<usize>,
    by_category: Vec<Shelf>,
}

pub(super) fn build(options: &FieldOptions, rng: &mut Rng) -> World {
    let (items, mut bank) = merchants(options, rng);
    let (mut users, mut people) = (Vec::new(), Vec::new());
    for id in 1..=u64::from(options.users) {
        let person = Person::draw(options, HABITS, rng);
        let income = (38_000.0 * (0.5 * rng.normal()).exp()).clamp(6_000.0, 2e6).round();
        let client = Client {
            taste: Taste::draw(CATEGORIES.len(), rng),
            risk: rng.unit().powi(2),
            income,
            loan: chance(LOAN, rng).then(|| (LOANS + below(rng, SERVICES.len() - LOANS), 0.01 * income)),
            payday: below(rng, 30) as i64,
        };
        let mut truth = person.truth(&client.taste, &CATEGORIES);
        truth.risk = client.risk;
        let attributes = describe(&person, &client, rng);
        users.push(UserRow { id: Id::Int(id), attributes, truth });
        people.push(person);
        bank.clients.push(client);
    }
    World { habits: HABITS, users, items, people, behaviour: Box::new(bank) }
}

fn merchants(options: &FieldOptions, rng: &mut Rng) -> (Vec<ItemRow>, Bank) {
    let service = |(name, tag): &(&str, &str)| ItemRow {
        id: Id::parse(name),
        tags: vec![(*tag).to_owned()],
        attributes: vec![("name", text(name)), ("category", text(tag))],
    };
    let mut items: Vec<ItemRow> = SERVICES.iter().map(service).collect();
    let count = options.items as usize - SERVICES.len();
    let categories = topics(CATEGORIES.len(), count, rng);
    let popularity = popularity(count, rng);
    for (at, &category) in categories.iter().enumerate() {
        let (country, _) = home(rng);
        let fee = if chance(0.2, rng) { 0.5 + rng.unit() } else { 0.0 };
        let danger = if category >= RISKY_FROM { 0.5 } else { 0.1 };
        let attributes = vec![
            ("name", Value::Text(format!("merchant {}", at + 1))),
            ("category", text(CATEGORIES[category])),
            ("country", country),
            ("fee", number(fee)),
            ("merchant_risk", number((danger + 0.15 * rng.normal()).clamp(0.0, 1.0))),
        ];
        let tags = vec![CATEGORIES[category].to_owned(), "merchant".to_owned()];
        items.push(ItemRow { id: Id::Int(at as u64 + 1), tags, attributes });
    }
    let by_category = shelves(CATEGORIES.len(), &categories, &popularity);
    (items, Bank { clients: Vec::new(), categories, by_category })
}

fn describe(person: &Person, client: &Client, rng: &mut Rng) -> Vec<(&'static str, Value)> {
    let (country, place) = home(rng);
    let score = 760.0 - 260.0 * client.risk + 45.0 * rng.normal();
    let attributes = vec![
        ("opened", date(person.joined_at_ms)),
        ("segment", text(pick(&SEGMENTS, rng))),
        ("age", age(44.0, 15.0, rng)),
        ("country", country),
        ("home", place),
        ("income", Value::Number(client.income)),
        ("credit_score", Value::Number(score.round().clamp(300.0, 850.0))),
        ("employment", text(if chance(0.7, rng) { EMPLOYMENT[0] } else { pick(&EMPLOYMENT, rng) })),
        ("marketing", Value::Bool(chance(0.5, rng))),
    ];
    known(attributes, 2, rng)
}

impl Bank {
    fn merchant(&self, client: &Client, rng: &mut Rng) -> usize {
        let category = if chance(0.35 * client.risk, rng) {
            RISKY_FROM + below(rng, CATEGORIES.len() - RISKY_FROM)
        } else if client.taste.roams(rng) {
            below(rng, CATEGORIES.len())
        } else {
            client.taste.topic(rng)
        };
        self.by_category[category].draw(rng).unwrap_or(0)
    }

    /// Pays a merchant, if the card is not declined. Gives when that is over.
    fn pay(&self, client: &Client, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let merchant = self.merchant(client, rng);
        let usual = AMOUNTS[self.categories[merchant]] * (client.income / 40_000.0).sqrt();
        let item = SERVICES.len() + merchant;
        let value = cents(usual * (0.6 * rng.normal()).exp());
        if !chance(DECLINE.0 + DECLINE.1 * client.risk, rng) {
            acts.push(Act { time_ms, item, kind: "payment", value });
            return time_ms;
        }
        acts.push(Act { time_ms, item, kind: "card_decline", value });
        if !chance(0.2, rng) {
            return time_ms;
        }
        let called_ms = time_ms + wait_ms(240.0, rng);
        let seconds = whole(420.0 * (0.7 * rng.normal()).exp(), 20.0, 7_200.0);
        acts.push(Act { time_ms: called_ms, item: HOTLINE, kind: "support_call", value: seconds });
        called_ms
    }
}

impl Behaviour for Bank {
    fn session(&mut self, user: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let client = &self.clients[user];
        let mut at_ms = time_ms;
        if chance(0.7, rng) {
            acts.push(Act { time_ms, item: usize::from(chance(0.3, rng)), kind: "login", value: 1.0 });
            at_ms += wait_ms(30.0, rng);
        }
        for _ in 0..count(2.0, 8, rng) {
            if chance(0.2, rng) {
                let item = TRANSFERS + usize::from(chance(0.15, rng));
                let value = cents(client.income / 400.0 * rng.normal().exp());
                acts.push(Act { time_ms: at_ms, item, kind: "transfer", value });
            } else {
                at_ms = self.pay(client, at_ms, rng, acts);
            }
            at_ms += wait_ms(100.0, rng);
        }
        at_ms
    }

    fn set_times(&mut self, user: usize, from_ms: i64, until_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) {
        const MONTH_MS: i64 = 30 * DAY_MS;
        let client = &self.clients[user];
        let mut month_ms = from_ms.div_euclid(MONTH_MS) * MONTH_MS;
        while month_ms < until_ms {
            let paid_ms = month_ms + client.payday * DAY_MS + 6 * HOUR_MS + wait_ms(3_600.0, rng);
            let value = cents(client.income / 12.0);
            acts.push(Act { time_ms: paid_ms, item: SALARY, kind: "deposit", value });
            if let Some((item, instalment)) = client.loan {
                let due_ms = paid_ms + 3 * DAY_MS;
                let late = chance(LATE.0 + LATE.1 * client.risk, rng);
                let (kind, after_ms) =
                    if late { ("late_payment", days_ms(5.0, 25.0, rng)) } else { ("loan_payment", 0) };
                acts.push(Act { time_ms: due_ms + after_ms, item, kind, value: cents(instalment) });
            }
            month_ms += MONTH_MS;
        }
        acts.retain(|act| act.time_ms >= from_ms && act.time_ms < until_ms);
    }
}
