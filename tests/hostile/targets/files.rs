//! Targets of files that people bring: tables of events, matrices, tensors, configurations, formulas.

use std::cell::OnceCell;
use std::io::Cursor;
use std::path::PathBuf;

use mirra::base::limits::{ID_BYTES_MAX, VALUE_ABS_MAX};
use mirra::config::Config;
use mirra::ingest::embeddings::{embeddings_bytes, read_embeddings};
use mirra::ingest::table::ROW_BYTES_MAX;
use mirra::ingest::tensors::read_tensors;
use mirra::ingest::{Sheet, Table, TableOptions, npy};
use mirra::person::formula::{BYTES_MAX, Formula, Reading};

use super::alloc::measured;
use super::{ROOM, Target, decoded, decoded_within, was_read};

pub fn targets() -> Vec<Target> {
    vec![
        Target::new("files/formula", 16, formula),
        Target::new("files/table", 8, table),
        Target::new("files/sheet", 4, sheet),
        Target::new("files/npy", 16, npy),
        Target::new("files/embeddings", 4, embeddings),
        Target::new("files/tensors", 4, tensors),
        Target::new("files/config", 4, config),
    ]
}

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    FOLDER.with(|folder| {
        let path = folder.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    })
}

fn formula(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (formula, taken) = measured(|| Formula::parse(text).ok());
    // Nodes of a short text: 256 of them, and the readings' texts.
    let bound = 2 * text.len() + ROOM;
    assert!(taken.most <= bound, "{taken:?} for {} bytes, allowed are {bound}", text.len());
    let Some(formula) = formula else { return };
    was_read();
    let said = formula.to_string();
    assert!(said.len() <= BYTES_MAX);
    assert_eq!(Formula::parse(&said).as_ref(), Ok(&formula), "{said}");
    for extreme in [0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE / 2.0, f64::NAN, f64::INFINITY, 1e-300] {
        let value = formula.eval(&|_: Reading<'_>| Some(extreme));
        assert!(value.is_none_or(f64::is_finite), "{said} of {extreme} is {value:?}");
    }
}

/// Two buffers of 64 KiB, and one row; what is packed is read in pieces, however much it becomes.
const TABLE_ROOM: usize = 8 * ROOM + 4 * ROW_BYTES_MAX;

/// Where the calendar of files ends.
const YEAR_10_000_MS: u64 = 253_402_300_800_000;

fn table(bytes: &[u8]) {
    let owned = bytes.to_vec();
    let ((), taken) = measured(move || {
        let Ok(table) = Table::from_reader(Cursor::new(owned), "hostile", TableOptions::default()) else { return };
        for row in table.take(10_000) {
            let Ok(row) = row else { continue };
            was_read();
            // Times before 1970 are read: what takes events refuses them, and counts them.
            let dated = row.time_ms.unsigned_abs() < YEAR_10_000_MS;
            assert!(row.value.is_finite() && row.value.abs() <= VALUE_ABS_MAX && dated, "{row:?}");
            assert!([&row.user, &row.item].iter().all(|id| (1..=ID_BYTES_MAX).contains(&id.to_string().len())));
        }
    });
    assert!(taken.most <= 2 * bytes.len() + TABLE_ROOM, "{taken:?} for {} bytes", bytes.len());
}

fn sheet(bytes: &[u8]) {
    let owned = bytes.to_vec();
    let ((), taken) = measured(move || {
        let Ok(sheet) = Sheet::from_reader(Cursor::new(owned), "hostile") else { return };
        sheet.take(10_000).flatten().for_each(|_| was_read());
    });
    assert!(taken.most <= 2 * bytes.len() + TABLE_ROOM, "{taken:?} for {} bytes", bytes.len());
}

fn npy(bytes: &[u8]) {
    let Some(matrix) = decoded(bytes, npy::parse) else { return };
    assert_eq!(matrix.shape[0].checked_mul(matrix.shape[1]), Some(matrix.values.len()));
}

/// The file is read before it is understood, and a header of JSON becomes a tree, twice.
fn embeddings(bytes: &[u8]) {
    let path = file("embeddings", bytes);
    let read = decoded_within(16, bytes, |_| read_embeddings(&path, None, "text", None));
    let Some(embedded) = read else { return };
    assert_eq!(embedded.ids.len(), embedded.matrix.shape[0]);
    let again = file("embeddings-again", &embeddings_bytes("text", &embedded));
    let read = read_embeddings(&again, None, "text", None).expect("what is written can be read");
    assert_eq!((read.ids, read.matrix.shape), (embedded.ids, embedded.matrix.shape));
}

fn tensors(bytes: &[u8]) {
    let path = file("tensors", bytes);
    let Some(learned) = decoded_within(16, bytes, |_| read_tensors(&path)) else { return };
    let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
    assert!(learned.weights.iter().all(|weights| finite(weights.as_flattened())));
    assert!(learned.items.iter().all(|item| finite(&item.vector) && item.bias.is_finite() && finite(&item.squares)));
}

/// A configuration is the operator's own, and a foreign crate makes a tree of it: no bound of memory is kept here but the
/// limit on the file's length.
fn config(bytes: &[u8]) {
    let path = file("config.toml", bytes);
    let Ok((config, origins)) = Config::load(Some(&path), [], &[]) else { return };
    was_read();
    assert!(origins.iter().count() > 0);
    assert!(config.schema.half_lives_s.iter().all(|half_life| half_life.is_finite() && *half_life > 0.0));
    assert!(config.schema.kinds.iter().all(|kind| kind.weight.is_finite()));
}
