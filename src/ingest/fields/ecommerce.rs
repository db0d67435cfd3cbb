//! A shop: goods of ten categories and sixteen brands, at prices.
//!
//! A session looks at some goods of one category, opens some, and buys one of them in a quarter of the cases. *Planted*:
//! the good that is bought is drawn with probability proportional to
//! `exp(-7 price_sensitivity ln(price / mean price seen) + 4 loyalty [favourite brand])`; loyal users also look for their
//! brand. Goods are sent back (more where the category is not to the user's taste) 3 to 20 days later, or rated 2 to 10 days
//! later by taste and by the good's quality.

use super::people::{Person, Taste};
use super::rhythm::{DAY_MS, HOUR_MS, Habits};
use super::stream::{Act, Behaviour, World};
use super::world::{
    Shelf, age, cents, chance, choose, count, date, days_ms, home, known, list, number, pick, popularity, shelves,
    stars, text, topics, wait_ms,
};
use super::{FieldKind, FieldOptions, ItemRow, UserRow};
use crate::base::{Id, Rng};
use crate::ingest::generate::below;
use crate::model::Value;

const MONEY: Option<(f32, f32)> = Some((0.0, 100_000.0));

pub(super) const KINDS: &[FieldKind] = &[
    FieldKind { name: "view", range: None },
    FieldKind { name: "click", range: None },
    FieldKind { name: "cart", range: MONEY },
    FieldKind { name: "purchase", range: MONEY },
    FieldKind { name: "return", range: MONEY },
    FieldKind { name: "rate", range: Some((1.0, 5.0)) },
];

pub(super) const USER_ATTRIBUTES: &[&str] = &["signup", "age", "country", "home", "tier", "newsletter", "interests"];

pub(super) const ITEM_ATTRIBUTES: &[&str] = &["title", "category", "brand", "price", "released", "in_stock"];

const CATEGORIES: [&str; 10] =
    ["books", "electronics", "fashion", "beauty", "home", "garden", "sports", "toys", "grocery", "pets"];
/// A usual price of each category.
const PRICES: [f64; 10] = [14.0, 180.0, 45.0, 22.0, 60.0, 35.0, 55.0, 25.0, 6.0, 18.0];
const BRANDS: [&str; 16] = [
    "aldera",
    "borin",
    "cavo",
    "dunmore",
    "elista",
    "fenwick",
    "gastro",
    "halden",
    "ivory",
    "juno",
    "kestrel",
    "lumen",
    "morrow",
    "norden",
    "oakley-row",
    "pallas",
];
const STYLES: [&str; 6] = ["classic", "modern", "budget", "premium", "eco", "compact"];
const TIERS: [&str; 3] = ["none", "silver", "gold"];

const HABITS: Habits = Habits {
    peak_hour: (19.0, 3.0),
    sharpness: 3.0,
    weekend: (0.7, 2.2),
    slots: &[],
    gap_ms: HOUR_MS,
    session_ms: 6 * 60_000,
};

/// Probability that a session ends with something in the cart, and that this is then bought.
const CART: f64 = 0.36;
const BUYS: f64 = 0.7;
/// Standard deviation of the logarithm of prices within a category.
const PRICE_SPREAD: f64 = 0.7;

#[derive(Debug)]
struct Shopper {
    taste: Taste,
    price_sensitivity: f64,
    loyalty: f64,
    brand: usize,
}

#[derive(Debug)]
struct Shop {
    shoppers: Vec<Shopper>,
    categories: Vec<usize>,
    brands: Vec<usize>,
    prices: Vec<f64>,
    quality: Vec<f64>,
    by_category: Vec<Shelf>,
    /// Category-major.
    by_brand: Vec<Shelf>,
}

pub(super) fn build(options: &FieldOptions, rng: &mut Rng) -> World {
    let (items, mut shop) = goods(options, rng);
    let (mut users, mut people) = (Vec::new(), Vec::new());
    for id in 1..=u64::from(options.users) {
        let person = Person::draw(options, HABITS, rng);
        let shopper = Shopper {
            taste: Taste::draw(CATEGORIES.len(), rng),
            price_sensitivity: rng.unit(),
            // Most keep to no brand.
            loyalty: rng.unit().powi(2),
            brand: below(rng, BRANDS.len()),
        };
        let mut truth = person.truth(&shopper.taste, &CATEGORIES);
        truth.price_sensitivity = shopper.price_sensitivity;
        truth.loyalty = shopper.loyalty;
        truth.favourite_brand = Some(BRANDS[shopper.brand].to_owned());
        let attributes = describe(&person, &shopper, rng);
        users.push(UserRow { id: Id::Int(id), attributes, truth });
        people.push(person);
        shop.shoppers.push(shopper);
    }
    World { habits: HABITS, users, items, people, behaviour: Box::new(shop) }
}

fn goods(options: &FieldOptions, rng: &mut Rng) -> (Vec<ItemRow>, Shop) {
    let count = options.items as usize;
    let categories = topics(CATEGORIES.len(), count, rng);
    let popularity = popularity(count, rng);
    let brands: Vec<usize> = (0..count).map(|_| below(rng, BRANDS.len())).collect();
    let prices: Vec<f64> =
        categories.iter().map(|&category| PRICES[category] * (PRICE_SPREAD * rng.normal()).exp()).collect();
    let prices: Vec<f64> = prices.into_iter().map(|price| f64::from(cents(price.min(50_000.0)))).collect();
    let quality = (0..count).map(|_| rng.normal()).collect();
    let mut items = Vec::with_capacity(count);
    for item in 0..count {
        let (category, brand) = (CATEGORIES[categories[item]], BRANDS[brands[item]]);
        let released_ms = options.start_ms - (rng.unit().powi(2) * 5.0 * 365.0 * DAY_MS as f64) as i64;
        let style = pick(&STYLES, rng);
        let attributes = vec![
            ("title", Value::Text(format!("{brand} {style} {category} {}", item + 1))),
            ("category", text(category)),
            ("brand", text(brand)),
            ("price", number(prices[item])),
            ("released", date(released_ms)),
            ("in_stock", Value::Bool(chance(0.93, rng))),
        ];
        let tags = vec![category.to_owned(), style.to_owned()];
        items.push(ItemRow { id: Id::Int(item as u64 + 1), tags, attributes });
    }
    let by_category = shelves(CATEGORIES.len(), &categories, &popularity);
    let pairs: Vec<usize> = (0..count).map(|item| categories[item] * BRANDS.len() + brands[item]).collect();
    let by_brand = shelves(CATEGORIES.len() * BRANDS.len(), &pairs, &popularity);
    (items, Shop { shoppers: Vec::new(), categories, brands, prices, quality, by_category, by_brand })
}

fn describe(person: &Person, shopper: &Shopper, rng: &mut Rng) -> Vec<(&'static str, Value)> {
    let (country, place) = home(rng);
    // Active users are more often of a higher tier.
    let tier = usize::from(chance(0.3 * person.activity, rng)) + usize::from(chance(0.15 * person.activity, rng));
    let interests = match shopper.taste.favourites.first() {
        Some(&favourite) if chance(0.7, rng) => Value::List(vec![CATEGORIES[favourite].to_owned()]),
        _ => list(&CATEGORIES, 2, rng),
    };
    let attributes = vec![
        ("signup", date(person.joined_at_ms)),
        ("age", age(38.0, 13.0, rng)),
        ("country", country),
        ("home", place),
        ("tier", text(TIERS[tier])),
        ("newsletter", Value::Bool(chance(0.4, rng))),
        ("interests", interests),
    ];
    known(attributes, 1, rng)
}

impl Shop {
    fn look(&self, shopper: &Shopper, focus: usize, rng: &mut Rng) -> usize {
        if shopper.taste.roams(rng) {
            return below(rng, self.categories.len());
        }
        let own = &self.by_brand[focus * BRANDS.len() + shopper.brand];
        let of_brand = if chance(0.6 * shopper.loyalty, rng) { own.draw(rng) } else { None };
        of_brand.or_else(|| self.by_category[focus].draw(rng)).unwrap_or(0)
    }

    /// Which of the goods seen is taken.
    fn take(&self, shopper: &Shopper, seen: &[usize], rng: &mut Rng) -> usize {
        let mean = seen.iter().map(|&item| self.prices[item]).sum::<f64>() / seen.len() as f64;
        let utility = |&item: &usize| {
            let dear = (self.prices[item] / mean).ln();
            let own = if self.brands[item] == shopper.brand { 1.0 } else { 0.0 };
            -7.0 * shopper.price_sensitivity * dear + 4.0 * shopper.loyalty * own
        };
        let utilities: Vec<f64> = seen.iter().map(utility).collect();
        seen[choose(&utilities, rng)]
    }

    /// What comes of a good that was bought.
    fn after(&self, shopper: &Shopper, item: usize, bought_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) {
        let liking = shopper.taste.liking(self.categories[item]);
        if chance(0.04 + 0.12 * (1.0 - liking), rng) {
            let time_ms = bought_ms + days_ms(3.0, 20.0, rng);
            acts.push(Act { time_ms, item, kind: "return", value: self.prices[item] as f32 });
        } else if chance(0.25, rng) {
            let value = stars(3.2 + liking + 0.6 * self.quality[item] + 0.5 * rng.normal());
            acts.push(Act { time_ms: bought_ms + days_ms(2.0, 10.0, rng), item, kind: "rate", value });
        }
    }
}

impl Behaviour for Shop {
    fn session(&mut self, user: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let shopper = &self.shoppers[user];
        let focus = shopper.taste.topic(rng);
        let mut at_ms = time_ms;
        let mut seen = Vec::new();
        for _ in 0..count(6.0, 30, rng) {
            let item = self.look(shopper, focus, rng);
            acts.push(Act { time_ms: at_ms, item, kind: "view", value: 1.0 });
            at_ms += wait_ms(15.0, rng);
            if chance(0.35, rng) {
                acts.push(Act { time_ms: at_ms, item, kind: "click", value: 1.0 });
                at_ms += wait_ms(40.0, rng);
            }
            seen.push(item);
        }
        if chance(CART, rng) {
            let item = self.take(shopper, &seen, rng);
            let value = self.prices[item] as f32;
            acts.push(Act { time_ms: at_ms, item, kind: "cart", value });
            at_ms += wait_ms(90.0, rng);
            if chance(BUYS, rng) {
                acts.push(Act { time_ms: at_ms, item, kind: "purchase", value });
                self.after(shopper, item, at_ms, rng, acts);
            }
        }
        at_ms
    }
}
