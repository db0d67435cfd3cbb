//! Records that stand inside commands, and the one tagged value.
//!
//! Field order is the wire; a record never grows or loses a field (a new command carries a new record).

use super::error::OverLimit;
use super::field::Field;
use super::portrait::{
    AttributeFact, BehaviourSums, ControlInForce, FacetAffinity, InterestOf, ModalityTaste, Person, TraitValue,
};
use super::schema::{Keyed, Record, TypeInfo, records};
use crate::base::limits::{ATTRIBUTES_MAX, DIM_MAX, ITEM_TAGS_MAX, LIST_MAX, OUTCOME_KINDS_MAX, TEXT_BYTES_MAX};
use crate::base::{CursorError, Id, Reader, Writer};
use crate::model::Value;

/// Tenths of the range of values.
const CALIBRATION_MAX: usize = 10;

/// All kinds, and each.
const KIND_OUTCOMES_MAX: usize = OUTCOME_KINDS_MAX + 1;

/// Every record that stands inside commands, in the order of the documents.
pub const TYPES: &[TypeInfo] = &[
    ShardAddr::INFO,
    KindInfo::INFO,
    Stat::INFO,
    Event::INFO,
    ShardSequence::INFO,
    EventError::INFO,
    EventResult::INFO,
    WriteAck::INFO,
    Attribute::INFO,
    AttributeAt::INFO,
    ArmProfile::INFO,
    RecentEvent::INFO,
    Score::INFO,
    ScoredItem::INFO,
    ScorePart::INFO,
    EventPart::INFO,
    StrategyMetrics::INFO,
    CalibrationTenth::INFO,
    MetricsCell::INFO,
    KindOutcomes::INFO,
    DecisionsCell::INFO,
    ShardDigest::INFO,
    RejectCount::INFO,
    RejectRow::INFO,
    Person::INFO,
    AttributeFact::INFO,
    BehaviourSums::INFO,
    FacetAffinity::INFO,
    InterestOf::INFO,
    ModalityTaste::INFO,
    TraitValue::INFO,
    ControlInForce::INFO,
];

/// The value of an attribute: a `u8` tag, then the value.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Tag 0, nothing follows: the attribute is removed.
    Removed,
    /// Tag 1: `f64`.
    Number(f64),
    /// Tag 2: text.
    Text(String),
    /// Tag 3: bool.
    Bool(bool),
    /// Tag 4: list of text, at most [`ITEM_TAGS_MAX`].
    Texts(Vec<String>),
}

impl From<AttributeValue> for Value {
    fn from(value: AttributeValue) -> Self {
        match value {
            AttributeValue::Removed => Self::Removed,
            AttributeValue::Number(number) => Self::Number(number),
            AttributeValue::Text(text) => Self::Text(text),
            AttributeValue::Bool(yes) => Self::Bool(yes),
            AttributeValue::Texts(texts) => Self::List(texts),
        }
    }
}

impl Field for AttributeValue {
    const MIN_BYTES: usize = 1;
    const MAX: usize = 0;

    fn encode(&self, out: &mut Writer<'_>, _max: usize) -> Result<(), OverLimit> {
        match self {
            Self::Removed => {
                out.u8(0);
                Ok(())
            }
            Self::Number(number) => number.encode(out.u8(1), 0),
            Self::Text(text) => text.encode(out.u8(2), TEXT_BYTES_MAX),
            Self::Bool(flag) => flag.encode(out.u8(3), 0),
            Self::Texts(texts) => texts.encode(out.u8(4), ITEM_TAGS_MAX),
        }
    }

    fn decode(reader: &mut Reader<'_>, _max: usize) -> Result<Self, CursorError> {
        let offset = reader.at();
        match reader.u8()? {
            0 => Ok(Self::Removed),
            1 => reader.f64().map(Self::Number),
            2 => Field::decode(reader, TEXT_BYTES_MAX).map(Self::Text),
            3 => Field::decode(reader, 0).map(Self::Bool),
            4 => Field::decode(reader, ITEM_TAGS_MAX).map(Self::Texts),
            tag => {
                let found = u64::from(tag);
                Err(CursorError::Bad { what: "attribute tag", offset, found, allowed: "0 to 4" })
            }
        }
    }
}

records! {
    /// Where a shard answers.
    ShardAddr {
        /// Shard, from 0.
        shard: u16,
        /// `host:port`.
        addr: String,
    }

    /// A behaviour kind that the server knows.
    KindInfo {
        /// Number that events carry.
        code: u8,
        /// Name, for instance `purchase`.
        name: String,
        /// How strongly it counts.
        weight: f32,
    }

    /// One number about the server.
    Stat {
        /// Name; its unit stands last, for instance `rank_us_p99`.
        name: String,
        /// Value; NaN when there is none.
        value: f64,
    }

    /// One observed behaviour.
    Event {
        /// Makes a repeat harmless: an event whose id was seen is not learned again. Integer 0: none.
        event_id: Id,
        /// Who behaved.
        user: Id,
        /// Towards what.
        item: Id,
        /// Behaviour kind, one of the kinds that HELLO lists.
        kind: u8,
        /// How strongly: a rating, a count, a duration. Finite.
        value: f32,
        /// When, in milliseconds since 1970-01-01 UTC. 0: when the server gets it.
        time_ms: i64,
    }

    /// How far a shard's journal is.
    ShardSequence {
        /// Shard.
        shard: u16,
        /// Number of the newest record, from 1.
        sequence: u64,
    }

    /// An event of a batch that was refused.
    EventError {
        /// Its place in the batch, from 0.
        index: u32,
        /// Status.
        status: u16,
        /// When to send it again, in milliseconds; 0 if the status is not retryable.
        retry_after_ms: u32,
        /// Why, in words.
        message: String,
    }

    /// How one event of a batch ended.
    EventResult {
        /// Status. Unless it is OK or DUPLICATE, the fields that follow are 0 and the errors say more.
        status: u16,
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the event.
        sequence: u64,
        /// Version of the profile that has learned the event.
        profile_version: u32,
        /// Score of the item just before the event was learned; NaN when there is none.
        score_before: f32,
        /// Rank of the item just before the event was learned, from 1; 0 when it was not ranked.
        rank_before: u32,
    }

    /// A write was carried out.
    WriteAck {
        /// Shard that owns the user or item.
        shard: u16,
        /// Number of the shard's record that holds the write.
        sequence: u64,
        /// Version of the user or item after the write.
        version: u32,
        /// Durability level that was reached.
        durability: u8,
    }

    /// A named value to be set.
    Attribute {
        /// Name.
        name: String,
        /// New value, or its removal.
        value: AttributeValue,
    }

    /// A named value as it stands.
    AttributeAt {
        /// Name.
        name: String,
        /// Value.
        value: AttributeValue,
        /// When it was set, in milliseconds since 1970-01-01 UTC.
        time_ms: i64,
    }

    /// What one strategy has learned about a user.
    ArmProfile {
        /// Strategy.
        strategy: String,
        /// Epoch of the item model that the factor belongs to.
        epoch: u32,
        /// User factor.
        factor: Vec<f32> [max DIM_MAX],
    }

    /// An event out of a user's history.
    RecentEvent {
        /// Item.
        item: Id,
        /// Behaviour kind.
        kind: u8,
        /// Value.
        value: f32,
        /// When, in milliseconds since 1970-01-01 UTC.
        time_ms: i64,
    }

    /// The score of one item.
    Score {
        /// Score, in the strategy's own scale.
        score: f32,
        /// What it rests on: 0 learned, 1 user not seen, 2 item not seen, 3 neither seen.
        basis: u8,
    }

    /// An item and its score.
    ScoredItem {
        /// Item.
        item: Id,
        /// Score, in the strategy's own scale.
        score: f32,
    }

    /// A named part of a score.
    ScorePart {
        /// What it comes from.
        name: String,
        /// How much.
        value: f32,
    }

    /// The part of a score that one event of the user is.
    EventPart {
        /// Item of the event.
        item: Id,
        /// Behaviour kind.
        kind: u8,
        /// When, in milliseconds since 1970-01-01 UTC.
        time_ms: i64,
        /// How much.
        value: f32,
    }

    /// How well a strategy foretold events before it learned them. NaN where there is no figure.
    StrategyMetrics {
        /// Strategy.
        strategy: String,
        /// Events seen.
        events: u64,
        /// Events whose value was foretold.
        scored: u64,
        /// Root mean squared error of the value.
        rmse: f64,
        /// Mean absolute error of the value.
        mae: f64,
        /// The same, fading: recent events count most.
        recent_rmse: f64,
        /// The same, fading.
        recent_mae: f64,
        /// Events whose item was ranked.
        ranked: u64,
        /// Share of events whose item was among the first 10.
        hr_10: f64,
        /// Normalised discounted cumulative gain at 10.
        ndcg_10: f64,
        /// Mean reciprocal rank at 10.
        mrr_10: f64,
        /// Share of events whose item was among the first 100.
        hr_100: f64,
        /// Hit rate at 10, fading.
        recent_hr_10: f64,
        /// NDCG at 10, fading.
        recent_ndcg_10: f64,
    }

    /// What was predicted within one tenth of the range of values, and what came. NaN where there is no figure.
    CalibrationTenth {
        /// Predictions.
        count: u64,
        /// Their mean.
        predicted: f64,
        /// Mean of what came.
        observed: f64,
    }

    /// How well a strategy foretold the events of one cohort in one window. NaN where there is no figure.
    MetricsCell {
        /// Strategy.
        strategy: String,
        /// Events that the user had before: `new`, `1-3`, `4-15`, `16-63`, `64+`, or `all`.
        cohort: String,
        /// Which records count: `lifetime`, `faded`, or `last`: the latest 5,000 to 10,000 of each shard.
        window: String,
        /// Events whose value was foretold. Counts of a faded window are rounded.
        scored: u64,
        /// Events whose prediction was no number.
        not_finite: u64,
        /// Mean squared error of the value.
        mse: f64,
        /// Its root.
        rmse: f64,
        /// Mean absolute error of the value.
        mae: f64,
        /// Share of values on the foretold side of the mean of the values before: liked, or not.
        accuracy: f64,
        /// Of the values foretold as liked, the share that was.
        liked_precision: f64,
        /// Of the liked values, the share foretold so.
        liked_recall: f64,
        /// Harmonic mean of the two.
        liked_f1: f64,
        /// Mean negative logarithm of the probability given to the side that came, in nats; of every eighth event.
        log_loss: f64,
        /// Mean distance of foretold and came over the tenths of the range, in units of the value.
        calibration_error: f64,
        /// The tenths of the range, from the lowest.
        calibration: Vec<CalibrationTenth> [max CALIBRATION_MAX],
        /// Events whose item was ranked.
        ranked: u64,
        /// Share of events whose item was among the first 10.
        hr_10: f64,
        /// Share of the first 10 places that held the item.
        precision_10: f64,
        /// Share of the items to be found that were among the first 10: with one an event, the hit rate.
        recall_10: f64,
        /// Harmonic mean of precision and recall at 10.
        f1_10: f64,
        /// Normalised discounted cumulative gain at 10.
        ndcg_10: f64,
        /// Mean reciprocal rank at 10.
        mrr_10: f64,
        /// Share of events whose item was among the first 100.
        hr_100: f64,
        /// Mean self-information of the first 10, in bits.
        novelty_10: f64,
        /// Share of the known items that were ever among a first 10; for `all` and `lifetime` alone.
        coverage_10: f64,
    }

    /// What came of some lists, by behaviour kind. NaN where there is no figure.
    KindOutcomes {
        /// Name of the kind; `any`: of any kind that weighs something.
        kind: String,
        /// Outcomes with an item of the list. Counts of a faded window are rounded.
        outcomes: u64,
        /// Outcomes with an item that the list did not hold.
        not_listed: u64,
        /// Lists with an outcome.
        lists: u64,
        /// Their share of the lists shown: click-through for clicks, conversion for purchases.
        share: f64,
        /// Mean position of the outcomes, from 1.
        position: f64,
        /// Mean over the lists shown of 1 / log2(position + 1) of the first outcome, else 0.
        ndcg: f64,
        /// Mean over the lists shown of 1 / position of the first outcome, else 0.
        mrr: f64,
        /// Mean time from the list to the outcome, in seconds.
        delay_s: f64,
        /// Median time, between two powers of two.
        delay_s_p50: f64,
    }

    /// What came of the lists of one strategy, cohort and window. NaN where there is no figure.
    DecisionsCell {
        /// Strategy.
        strategy: String,
        /// Events that the user had when the list was shown, as in MetricsCell.
        cohort: String,
        /// Which lists count, as in MetricsCell; outcomes count when they come.
        window: String,
        /// Lists shown: reported by EXPOSURE, or named by an outcome.
        shown: u64,
        /// Their mean length.
        places: f64,
        /// Outcomes of any kind that weighs something, then those of each kind that came.
        kinds: Vec<KindOutcomes> [max KIND_OUTCOMES_MAX],
    }

    /// A digest of all that a shard holds: equal states have equal digests.
    ShardDigest {
        /// Shard.
        shard: u16,
        /// Number of its newest record.
        sequence: u64,
        /// Digest.
        digest: u64,
    }

    /// How many events were refused for one reason.
    RejectCount {
        /// Code of the reason.
        reason: u8,
        /// Its name.
        name: String,
        /// Events.
        count: u64,
    }

    /// An event that was refused.
    RejectRow {
        /// Its number; numbers rise, with gaps, also over restarts.
        sequence: u64,
        /// Code of the reason, as in the counts.
        reason: u8,
        /// When it was refused, in milliseconds since 1970-01-01 UTC.
        at_ms: i64,
        /// The name that the client gave in HELLO, cut to 64 bytes.
        source: String,
        /// Why, in words.
        message: String,
        /// The event exactly as it was sent: its value may be NaN or infinite. Of one that passed the door and was
        /// refused behind it the event id is an integer by which a repeat is recognised.
        event: Event,
    }
}

impl Keyed for Event {
    fn is_keyed(&self) -> bool {
        self.event_id != Id::Int(0)
    }
}

impl Keyed for Vec<Event> {
    fn is_keyed(&self) -> bool {
        self.iter().all(Keyed::is_keyed)
    }
}

/// A row of the longest texts and ids has 750 bytes: a full list of them fits a frame.
const _: () = assert!(LIST_MAX * 800 < crate::base::limits::FRAME_BYTES_MAX);

const _: () = assert!(ATTRIBUTES_MAX * (3 * TEXT_BYTES_MAX) < crate::base::limits::FRAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_tags_are_frozen() {
        let cases = [
            (AttributeValue::Removed, vec![0]),
            (AttributeValue::Number(1.0), vec![1, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]),
            (AttributeValue::Text("a".into()), vec![2, 1, 0, b'a']),
            (AttributeValue::Bool(true), vec![3, 1]),
            (AttributeValue::Texts(vec!["a".into()]), vec![4, 1, 0, 0, 0, 1, 0, b'a']),
        ];
        for (value, expected) in cases {
            let mut bytes = Vec::new();
            value.encode(&mut Writer::new(&mut bytes), 0).unwrap();
            assert_eq!(bytes, expected, "{value:?}");
            assert_eq!(AttributeValue::decode(&mut Reader::new(&bytes), 0), Ok(value));
        }
        for tag in 5..=u8::MAX {
            let found = AttributeValue::decode(&mut Reader::new(&[tag]), 0);
            assert!(matches!(found, Err(CursorError::Bad { what: "attribute tag", .. })), "{tag}: {found:?}");
        }
    }
}
