//! What attention learned elsewhere goes into every shard as operations of its journal: replay needs no file.

use super::{Engine, EngineError, state};
use crate::learn::Strategy;
use crate::learn::bank::pretrained::Pretrained;
use crate::model::Durability;
use crate::shard::{Recovered, Step};
use crate::state::Op;

/// The shards that do not come from `pretrained` yet.
///
/// # Errors
/// [`EngineError::NothingToPretrain`] if no strategy has the neural step.
pub(super) fn without(
    pretrained: &Pretrained,
    options: &state::Options,
    recovered: &[Recovered],
) -> Result<Vec<u16>, EngineError> {
    if !options.strategies.iter().any(|strategy| matches!(strategy, Strategy::Attention(_))) {
        return Err(EngineError::NothingToPretrain);
    }
    let lacking = recovered.iter().filter(|one| one.shard.pretrained_stamp() != pretrained.stamp);
    Ok(lacking.map(|one| one.shard.index()).collect())
}

/// Hands `pretrained` to these shards: before the doors open, so that it stands before every event that comes.
pub(super) fn hand_out(engine: &Engine, pretrained: &Pretrained, shards: &[u16]) -> Result<(), EngineError> {
    for part in pretrained.parts() {
        let mut ops = Vec::new();
        Op::Pretrained { part: &part }.encode(&mut ops);
        for shard in shards {
            let step = Step::Write { bytes: ops.len(), count: 1, durability: Durability::Journaled, each: false };
            // The answer is not waited for: what comes to the shard later is carried out later.
            let sent = engine.submit(*shard, ops.clone(), vec![step], 0);
            sent.map_err(|_| EngineError::ShardFailed { shard: *shard, what: "installation of weights" })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Opened, Options, block_on};
    use super::*;
    use crate::base::{Id, SystemClock};
    use crate::learn::bank::pretrained::PretrainedItem;
    use crate::linalg::attention::{DIM, ROWS};

    /// Starts and stops an engine over this directory; tells the sequences that it found.
    fn start(folder: &std::path::Path, strategy: &str, given: Option<&Pretrained>) -> Result<Vec<u64>, EngineError> {
        block_on(async {
            let mut options = Options::new(folder);
            options.state.shards = 2;
            options.state.strategies = vec![Strategy::default_named(strategy).expect("listed")];
            options.pretrained = given.cloned().map(Arc::new);
            let Opened { engine, report } = Engine::start(options, Arc::new(SystemClock))?;
            engine.stop().await;
            Ok(report.sequences)
        })
    }

    #[test]
    fn weights_are_journaled_once_and_come_back_without_their_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let item = PretrainedItem { id: Id::Int(3), vector: [0.5; DIM], bias: 0.0, squares: [1.0; 2] };
        let given = Pretrained { stamp: 0, weights: Some(Box::new([[0.1; DIM]; ROWS])), items: vec![item] }.stamped();
        let start = |given: Option<&Pretrained>| start(folder.path(), "attention", given).expect("it starts");
        assert_eq!(start(Some(&given)), [0, 0]);
        assert_eq!(start(Some(&given)), [2, 2], "items, then weights, in every shard");
        assert_eq!(start(None), [2, 2], "the same file again is no operation");
        let other = Pretrained { weights: Some(Box::new([[0.2; DIM]; ROWS])), ..given.clone() }.stamped();
        start(Some(&other));
        assert_eq!(start(None), [4, 4], "another file is");
    }

    #[test]
    fn weights_without_the_strategy_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = start(folder.path(), "decay", Some(&Pretrained::default()));
        assert!(matches!(refused, Err(EngineError::NothingToPretrain)), "{refused:?}");
    }
}
