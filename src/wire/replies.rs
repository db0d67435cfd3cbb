//! Replies with many fields, out of the way of the table of commands.

use super::portrait::ModalityTaste;
use super::schema::records;
use super::types::{
    ArmProfile, AttributeAt, EventError, EventPart, EventResult, KindInfo, RecentEvent, ScorePart, ScoredItem,
    ShardAddr, ShardSequence,
};
use crate::base::Id;
use crate::base::limits::{
    ARMS_MAX, ATTRIBUTES_MAX, BATCH_EVENTS_MAX, EMBEDDING_DIM_MAX, EXPLAINED_EVENTS_MAX, ITEM_TAGS_MAX, MODALITIES_MAX,
    SCORE_PARTS_MAX, SHARDS_MAX, TOP_K_MAX,
};

/// Most shards in a list of shards.
const SHARD_LIST_MAX: usize = SHARDS_MAX as usize;

/// Most numbers of a fused vector.
const FUSED_DIM_MAX: usize = MODALITIES_MAX * EMBEDDING_DIM_MAX;

/// Most behaviour kinds: their codes are one byte.
const KINDS_MAX: usize = 256;

records! {
    /// Reply of HELLO.
    HelloReply {
        /// Protocol version of this connection.
        version: u8,
        /// Name and version of the server program.
        server: String,
        /// Number of shards that ids are routed over.
        shards: u16,
        /// Where each shard answers; empty if one address serves all.
        shard_map: Vec<ShardAddr> [max SHARD_LIST_MAX],
        /// Behaviour kinds.
        kinds: Vec<KindInfo> [max KINDS_MAX],
        /// Strategies that learn here; the first one answers where a request names none.
        strategies: Vec<String> [max ARMS_MAX],
        /// Longest frame that the server reads, header included.
        frame_bytes_max: u32,
        /// Most events of one batch.
        batch_events_max: u32,
        /// Most requests of one connection that may wait for their replies.
        in_flight_max: u32,
        /// Durability level of requests that ask for 0.
        durability: u8,
    }

    /// Reply of ROUTING_GET.
    RoutingGetReply {
        /// Number of the rule: 1 or 2.
        rule: u16,
        /// Bytes 0 to 7 of the key, as a little-endian number; 0 where the rule has none.
        key_low: u64,
        /// Bytes 8 to 15.
        key_high: u64,
    }

    /// Reply of EVENT_PUT.
    EventPutReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the event.
        sequence: u64,
        /// Version of the profile that has learned the event.
        profile_version: u32,
        /// Durability level that was reached.
        durability: u8,
        /// Score of the item just before the event was learned; NaN when there is none.
        score_before: f32,
        /// Rank of the item just before the event was learned, from 1; 0 when it was not ranked.
        rank_before: u32,
    }

    /// Reply of EVENT_BATCH.
    EventBatchReply {
        /// Events that were learned.
        accepted: u32,
        /// Events whose ids had been seen.
        duplicates: u32,
        /// Events that were refused.
        rejected: u32,
        /// Lowest durability level that was reached.
        durability: u8,
        /// Newest record of each shard that took part.
        shards: Vec<ShardSequence> [max SHARD_LIST_MAX],
        /// The events that were refused.
        errors: Vec<EventError> [max BATCH_EVENTS_MAX],
        /// A result for each event, in their order, if wanted; else empty.
        results: Vec<EventResult> [max BATCH_EVENTS_MAX],
    }

    /// Reply of USER_GET.
    UserGetReply {
        /// User.
        user: Id,
        /// Version of the profile.
        version: u32,
        /// Events learned.
        events: u64,
        /// Time of the first event, in milliseconds since 1970-01-01 UTC.
        first_ms: i64,
        /// Time of the newest event.
        last_ms: i64,
        /// Attributes.
        attributes: Vec<AttributeAt> [max ATTRIBUTES_MAX],
    }

    /// Reply of ITEM_GET.
    ItemGetReply {
        /// Item.
        item: Id,
        /// Version of the item.
        version: u32,
        /// Events that named it.
        events: u64,
        /// Decayed count of its events.
        popularity: f64,
        /// Time of the newest event, in milliseconds since 1970-01-01 UTC.
        last_ms: i64,
        /// Tags.
        tags: Vec<String> [max ITEM_TAGS_MAX],
        /// Attributes.
        attributes: Vec<AttributeAt> [max ATTRIBUTES_MAX],
    }

    /// Reply of EXPOSURE.
    ExposureReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the report.
        sequence: u64,
        /// Durability level that was reached.
        durability: u8,
        /// Whether the list is known: 1 shown, 3 expired (too old, or too many since), 4 unknown (never served to this
        /// user, or before a restart).
        join: u8,
        /// Strategy that ranked the list; empty if it is not known.
        strategy: String,
    }

    /// Reply of OUTCOME.
    OutcomeReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the event.
        sequence: u64,
        /// Version of the profile that has learned the event.
        profile_version: u32,
        /// Durability level that was reached.
        durability: u8,
        /// Score of the item just before the event was learned; NaN when there is none.
        score_before: f32,
        /// Rank of the item just before the event was learned, from 1; 0 when it was not ranked.
        rank_before: u32,
        /// Whether the list was credited: 0 no (DUPLICATE), 1 yes, 2 yes, but the item is none of the list's, 3 expired
        /// (too old, or too many since), 4 unknown (never served to this user, or before a restart).
        join: u8,
        /// Strategy that ranked the list; empty if it is not known.
        strategy: String,
        /// Where the item stood in the list, from 1; 0 if nowhere.
        position: u16,
        /// Time from the list to the event, in milliseconds.
        delay_ms: i64,
    }

    /// Reply of PROFILE_GET.
    ProfileGetReply {
        /// User.
        user: Id,
        /// Shard that owns the user.
        shard: u16,
        /// Version of the profile: it grows by one with every event learned.
        version: u32,
        /// Events learned.
        events: u64,
        /// Time of the first event, in milliseconds since 1970-01-01 UTC.
        first_ms: i64,
        /// Time of the newest event.
        last_ms: i64,
        /// Mean value of the events; NaN when there is none.
        value_mean: f64,
        /// Attributes.
        attributes: Vec<AttributeAt> [max ATTRIBUTES_MAX],
        /// What each strategy has learned, if wanted; else empty.
        arms: Vec<ArmProfile> [max ARMS_MAX],
        /// Newest events, the newest first.
        recent: Vec<RecentEvent>,
        /// Digest of all that is held about the user: equal profiles have equal digests.
        digest: u64,
    }

    /// Reply of EXPLAIN.
    ExplainReply {
        /// Strategy that answered.
        strategy: String,
        /// Version of the profile that was used; 0 if the user was not seen.
        profile_version: u32,
        /// The score: the sum of all parts, those of events included.
        score: f32,
        /// What it rests on, as in Score.
        basis: u8,
        /// Named parts. Of the ranking of `auto`: the score of the mean candidate, then what each group of features adds.
        parts: Vec<ScorePart> [max SCORE_PARTS_MAX],
        /// What the score became by each event, less what it was without it; the newest first.
        events: Vec<EventPart> [max EXPLAINED_EVENTS_MAX],
    }

    /// Reply of RECOMMEND.
    RecommendReply {
        /// Joins this list to what comes of it.
        decision_id: u64,
        /// Strategy that answered.
        strategy: String,
        /// What the list rests on: 0 learned, 1 popularity.
        basis: u8,
        /// Version of the profile that was used; 0 if the user was not seen.
        profile_version: u32,
        /// Items, the best first.
        items: Vec<ScoredItem> [max TOP_K_MAX],
    }

    /// Reply of PROFILE_EMBEDDING.
    ProfileEmbeddingReply {
        /// Version of the profile that was used.
        version: u32,
        /// The modalities, in the order of the schema; none where no strategy looks at embeddings.
        modalities: Vec<ModalityTaste> [max MODALITIES_MAX],
        /// The fused vector, if it is wanted: modality after modality, the mean of the newest items' vectors less the mean of
        /// all items', times weight over deviation; zeros where nothing is known.
        vector: Vec<f32> [max FUSED_DIM_MAX],
        /// The items nearest to it that the history does not hold, with their fused scores, the best first.
        nearest: Vec<ScoredItem> [max TOP_K_MAX],
    }

    /// Reply of EVENT_RETRACT.
    EventRetractReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the write.
        sequence: u64,
        /// Version of the profile after it.
        version: u32,
        /// Durability level that was reached.
        durability: u8,
        /// Whether all is as if the event had never come. Else sums, history and facets are, and vectors that learn event by
        /// event (`auto`'s statistics over all users, `biased_mf`...) keep a trace that newer events outweigh.
        exact: bool,
    }
}
