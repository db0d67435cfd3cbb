//! Every maximum, with the reason, and the relations between them checked at compile time.

/// Longest text id, in bytes: as long as any UUID, e-mail hash or URL slug that peers accept; fits one length byte.
pub const ID_BYTES_MAX: usize = 128;

/// Longest frame, header included, in bytes. A batch of 4,096 events with the longest ids fits twice.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Most events in one EVENT_BATCH: the reply still fits a frame, and a shard's turn stays under a few milliseconds.
pub const BATCH_EVENTS_MAX: usize = 4_096;

/// Most items that one RECOMMEND or SIMILAR_ITEMS returns.
pub const TOP_K_MAX: usize = 1_000;

/// Most entries of an allow or deny list, and most items of one PREDICT.
pub const LIST_MAX: usize = 4_096;

/// Most tags of one item.
pub const ITEM_TAGS_MAX: usize = 64;

/// Longest tag, attribute name or text attribute, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// Most attributes of one user or item.
pub const ATTRIBUTES_MAX: usize = 64;

/// Most profiles of one PROFILES_GET: with everything in them they fit a frame.
pub const PROFILES_MAX: usize = 64;

/// Longest schema in a request, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Most ways of embedding items.
pub const MODALITIES_MAX: usize = 8;

/// Most numbers of an item's embedding in one modality.
pub const EMBEDDING_DIM_MAX: usize = 2_048;

/// Most traits that a schema adds to the built-in ones.
pub const TRAITS_MAX: usize = 32;

/// Most facets, and most items, that one user mutes or limits.
pub const CONTROLS_MAX: usize = 256;

/// Longest factor, in `f32`s.
pub const DIM_MAX: usize = 512;

/// Largest magnitude of an event's value: squares and products of it stay finite in `f32`.
pub const VALUE_ABS_MAX: f32 = 1.0e9;

/// Most shards of one server.
pub const SHARDS_MAX: u16 = 256;

/// Most strategies that learn side by side.
pub const ARMS_MAX: usize = 16;

/// Most items that one event is contrasted with.
pub const NEGATIVES_MAX: usize = 64;

/// Most users kept of one item.
pub const AUDIENCE_MAX: usize = 4_096;

/// Longest history kept of one user, in events.
pub const HISTORY_MAX: usize = 65_536;

/// Most lists that a shard keeps as shown: 4 MiB, a day of one list every three seconds. They are part of its state.
pub const SHOWN_LISTS_MAX: usize = 32_768;

/// Most behaviour kinds of one strategy that have figures of what came of lists.
pub const OUTCOME_KINDS_MAX: usize = 64;

/// Most events that one EXPLAIN tells: each costs a fold-in of all older ones.
pub const EXPLAINED_EVENTS_MAX: usize = 100;

/// Most named parts of one score.
pub const SCORE_PARTS_MAX: usize = 64;

/// Least bytes of the store of refused events that keeps any: each of its eight segments holds some.
pub const REJECTS_BYTES_MIN: u64 = 64 << 10;

/// Most bytes of the store of refused events: a reader holds one segment, an eighth, in memory.
pub const REJECTS_BYTES_MAX: u64 = 1 << 30;

const _: () = assert!(ID_BYTES_MAX <= u8::MAX as usize, "an id's length is one byte");
const _: () =
    assert!(BATCH_EVENTS_MAX * (2 * (ID_BYTES_MAX + 1) + 64) * 2 <= FRAME_BYTES_MAX, "a full batch fits a frame");
const _: () = assert!(TOP_K_MAX * (ID_BYTES_MAX + 16) <= FRAME_BYTES_MAX, "a full answer fits a frame");
