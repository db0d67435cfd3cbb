//! Lists that were shown, and what came of them.
//!
//! A list enters by the operation that first names its decision, an exposure or an outcome, which carries what the shard
//! that served it remembered: reads themselves leave nothing here. From then on it is part of the state, so that
//! outcomes find it after a restart. Until when outcomes count stands in each list, so no setting has a say in replay.

use super::{Outcome, OutcomeKind, Shard};
use crate::base::IdRef;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::{SHOWN_LISTS_MAX, TOP_K_MAX};
use crate::evaluate::{Cohort, Joined, Joins};
use crate::model::{Event, Recall, Remembered, ServedList};

/// Whether the state holds the list that an operation named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// The operation named none.
    None,
    /// An exposure: the list counts as shown.
    Shown {
        /// Who ranked it.
        strategy: &'static str,
        /// Whether it counted before: nothing changed then.
        again: bool,
    },
    /// An outcome with an item of the list.
    Listed {
        /// Who ranked it.
        strategy: &'static str,
        /// Where the item stood, from 1.
        position: u16,
        /// Time from the list to the outcome, in milliseconds.
        delay_ms: i64,
    },
    /// An outcome with another item than those of the list.
    NotListed {
        /// Who ranked it.
        strategy: &'static str,
        /// Time from the list to the outcome, in milliseconds.
        delay_ms: i64,
    },
    /// The list is too old, or newer ones have taken its place.
    Expired,
    /// No such list was served to this user, as far as is known: not in this shard, or before a restart.
    Unknown,
}

/// A list that was shown.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    /// Stable hash of its user.
    user: u64,
    arm: usize,
    cohort: Cohort,
    shown_ms: i64,
    until_ms: i64,
    /// Stable hashes of the items that were shown, the best first.
    items: Box<[u64]>,
    /// Kinds of its outcomes so far, and whether one of them weighed something.
    kinds: Vec<u8>,
    weighed: bool,
}

/// What a shard knows of decisions.
#[derive(Debug)]
pub(super) struct Decisions {
    kept: Remembered<Kept>,
    /// Figures by arm.
    joins: Vec<Joins>,
    missing: Missing,
}

/// Operations that named a decision without a list, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Too old, or given way to newer ones.
    pub expired: u64,
    /// Not known here.
    pub unknown: u64,
}

impl Decisions {
    pub(super) fn new(arms: usize, fading: f64) -> Self {
        let (kept, joins) = (Remembered::new(SHOWN_LISTS_MAX), vec![Joins::new(fading); arms]);
        Self { kept, joins, missing: Missing::default() }
    }

    /// Whether no operation ever named a decision.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.missing == Missing::default() && self.joins.iter().all(Joins::is_empty)
    }

    pub(super) fn joins(&self, arm: usize) -> &Joins {
        &self.joins[arm]
    }

    /// Of every list that is kept.
    #[cfg(test)]
    pub(super) fn users_of_lists(&self) -> impl Iterator<Item = u64> {
        self.kept.iter().map(|(_, kept)| kept.user)
    }

    pub(super) fn missing(&self) -> Missing {
        self.missing
    }

    fn expired(&mut self) -> Join {
        self.missing.expired += 1;
        Join::Expired
    }

    fn unknown(&mut self) -> Join {
        self.missing.unknown += 1;
        Join::Unknown
    }

    /// Keeps a list as shown, and counts it.
    fn keep(&mut self, decision: u64, kept: Kept) {
        self.joins[kept.arm].record_shown(kept.cohort, kept.items.len());
        self.kept.insert(decision, kept.items.len(), kept);
    }

    /// What the shards of `before` know, for `shards` others: every list goes with its user (who has which `owner`, by hash),
    /// and is forgotten where nobody has one; figures are added up in the first, and what was forgotten is known in all.
    pub(super) fn divided(
        before: &[&Self],
        shards: u16,
        fading: f64,
        owner: &impl Fn(u64) -> Option<usize>,
    ) -> Vec<Self> {
        let arms = before.first().map_or(0, |one| one.joins.len());
        let mut divided: Vec<Self> = (0..shards).map(|_| Self::new(arms, fading)).collect();
        let mut lists: Vec<(u64, &Kept)> = before.iter().flat_map(|one| one.kept.iter()).collect();
        lists.sort_by_key(|(_, kept)| kept.shown_ms); // stable: of one time, the first shard's first
        for id in before.iter().flat_map(|one| one.kept.forgotten()) {
            divided.iter_mut().for_each(|one| one.kept.note_forgotten(id));
        }
        for (id, kept) in lists {
            match owner(kept.user) {
                Some(shard) => divided[shard].kept.insert(id, kept.items.len(), kept.clone()),
                None => divided.iter_mut().for_each(|one| one.kept.note_forgotten(id)),
            }
        }
        if let Some(first) = divided.first_mut() {
            for one in before {
                first.joins.iter_mut().zip(&one.joins).for_each(|(sums, more)| sums.merge(more));
                first.missing.expired += one.missing.expired;
                first.missing.unknown += one.missing.unknown;
            }
        }
        divided
    }

    /// Appends everything.
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u8(VERSION).u64(self.missing.expired).u64(self.missing.unknown).count(self.joins.len());
        self.joins.iter().for_each(|joins| joins.encode(out));
        self.kept.encode(out, Kept::encode);
    }

    /// Takes what [`Self::encode`] put, for as many arms.
    pub(super) fn decode(arms: usize, fading: f64, from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut decisions = Self::new(arms, fading);
        let offset = from.at();
        let (version, missing) = (from.u8()?, Missing { expired: from.u64()?, unknown: from.u64()? });
        let count = from.count(1, arms)?;
        if version != VERSION || count != arms {
            let found = u64::from(version) << 32 | count as u64;
            let allowed = "version 1 in the upper half, the strategies that learn in the lower";
            return Err(CursorError::Bad { what: "decisions", offset, found, allowed });
        }
        decisions.missing = missing;
        decisions.joins = (0..arms).map(|_| Joins::decode(fading, from)).collect::<Result<_, _>>()?;
        decisions.kept.decode(from, |from| Kept::decode(arms, from))?;
        from.finish()?;
        Ok(decisions)
    }
}

const VERSION: u8 = 1;

impl Kept {
    fn encode(&self, out: &mut Writer<'_>) {
        let arm = u8::try_from(self.arm).expect("arms are few");
        out.u64(self.user).u8(arm).u8(self.cohort as u8).i64(self.shown_ms).i64(self.until_ms);
        out.u8(u8::from(self.weighed)).count(self.items.len());
        for item in &self.items {
            out.u64(*item);
        }
        out.count(self.kinds.len()).bytes(&self.kinds);
    }

    fn decode(arms: usize, from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let user = from.u64()?;
        let offset = from.at();
        let (arm, cohort) = (usize::from(from.u8()?), usize::from(from.u8()?));
        if arm >= arms || cohort >= Cohort::ALL.len() {
            let found = (arm as u64) << 32 | cohort as u64;
            let allowed = "an arm in the upper half, a cohort in the lower";
            return Err(CursorError::Bad { what: "kept list", offset, found, allowed });
        }
        let (shown_ms, until_ms, weighed) = (from.i64()?, from.i64()?, from.u8()? != 0);
        let count = from.count(8, TOP_K_MAX)?;
        let items = (0..count).map(|_| from.u64()).collect::<Result<_, _>>()?;
        let count = from.count(1, 256)?;
        let kinds = from.bytes(count)?.to_vec();
        Ok(Self { user, arm, cohort: Cohort::ALL[cohort], shown_ms, until_ms, items, kinds, weighed })
    }
}

impl Shard {
    /// A list was shown: it counts from now on, and outcomes find it.
    pub(super) fn expose(
        &mut self,
        (decision, user): (u64, IdRef<'_>),
        places: u16,
        time_ms: i64,
        list: &Recall<ServedList<'_>>,
    ) -> Outcome {
        let (hash, before) = (user.stable_hash(), self.decisions.kept.recall(decision));
        let mut outcome = Outcome::applied(self.version(user));
        if let Recall::Known(kept) = before
            && kept.user == hash
        {
            outcome.join = Join::Shown { strategy: self.arm_name(kept.arm), again: true };
            return outcome;
        }
        outcome.join = match self.admit((decision, user), time_ms, list) {
            Ok(mut kept) => {
                if places > 0 {
                    kept.items = kept.items.iter().take(usize::from(places)).copied().collect();
                }
                kept.shown_ms = time_ms.max(kept.shown_ms);
                let strategy = self.arm_name(kept.arm);
                self.decisions.keep(decision, kept);
                Join::Shown { strategy, again: false }
            }
            Err(join) => join,
        };
        outcome
    }

    /// Learns an event, and credits the list that it came of.
    pub(super) fn learn_outcome(
        &mut self,
        decision: u64,
        event: &Event<'_>,
        list: &Recall<ServedList<'_>>,
        train: bool,
    ) -> Outcome {
        // The cohort of a list that was not reported as shown: that of the user before this event.
        let admitted = match self.decisions.kept.recall(decision) {
            Recall::Known(_) => None,
            _ => Some(self.admissible((decision, event.user), event.time_ms, list)),
        };
        let outcome = self.learn(event, train);
        if outcome.kind != OutcomeKind::Applied {
            return outcome;
        }
        let join = match admitted {
            None => self.credit(decision, event),
            Some(Ok(kept)) => {
                self.decisions.keep(decision, kept);
                self.credit(decision, event)
            }
            Some(Err(join)) => self.refuse_join(join),
        };
        Outcome { join, ..outcome }
    }

    fn admit(&mut self, named: (u64, IdRef<'_>), time_ms: i64, list: &Recall<ServedList<'_>>) -> Result<Kept, Join> {
        self.admissible(named, time_ms, list).map_err(|join| self.refuse_join(join))
    }

    /// The list that comes with an operation, if it can be kept; why not, else. Counts nothing.
    fn admissible(
        &self,
        (decision, user): (u64, IdRef<'_>),
        time_ms: i64,
        list: &Recall<ServedList<'_>>,
    ) -> Result<Kept, Join> {
        match (self.decisions.kept.recall(decision), list) {
            (Recall::Forgotten, _) | (Recall::Unknown, Recall::Forgotten) => return Err(Join::Expired),
            (Recall::Known(_), _) | (Recall::Unknown, Recall::Unknown) => return Err(Join::Unknown),
            (Recall::Unknown, Recall::Known(_)) => {}
        }
        let Recall::Known(list) = list else { return Err(Join::Unknown) };
        let Some(arm) = self.arm_named(list.strategy) else { return Err(Join::Unknown) };
        if list.user != user.stable_hash() {
            return Err(Join::Unknown);
        }
        if time_ms > list.until_ms {
            return Err(Join::Expired);
        }
        let events = self.users.find(user).map_or(0, |slot| self.users.get(slot).events);
        Ok(Kept {
            user: list.user,
            arm,
            cohort: Cohort::of(events),
            shown_ms: list.served_ms,
            until_ms: list.until_ms,
            items: list.items.as_slice().into(),
            kinds: Vec::new(),
            weighed: false,
        })
    }

    fn refuse_join(&mut self, join: Join) -> Join {
        match join {
            Join::Expired => self.decisions.expired(),
            _ => self.decisions.unknown(),
        }
    }

    /// Credits a kept list with an outcome.
    #[expect(clippy::cast_precision_loss, reason = "times in milliseconds")]
    fn credit(&mut self, decision: u64, event: &Event<'_>) -> Join {
        let weighs = self.schema.kinds.get(event.kind).is_some_and(|kind| kind.weight > 0.0);
        let Some(kept) = self.decisions.kept.get_mut(decision) else { return self.decisions.unknown() };
        if kept.user != event.user.stable_hash() {
            return self.decisions.unknown();
        }
        if event.time_ms > kept.until_ms {
            return self.decisions.expired();
        }
        let item = event.item.stable_hash();
        let position = (1_u16..).zip(&kept.items).find(|(_, listed)| **listed == item).map(|(position, _)| position);
        let delay_ms = event.time_ms.saturating_sub(kept.shown_ms).max(0);
        let first = position.is_some() && !kept.kinds.contains(&event.kind);
        let first_of_any = position.is_some() && weighs && !kept.weighed;
        if first {
            kept.kinds.push(event.kind);
        }
        kept.weighed |= first_of_any;
        let (arm, cohort) = (kept.arm, kept.cohort);
        let (kind, delay_s) = (event.kind, delay_ms as f64 / 1_000.0);
        let joined = Joined { kind, weighs, position: position.map(u32::from), delay_s, first, first_of_any };
        self.decisions.joins[arm].record_outcome(cohort, &joined);
        let strategy = self.arm_name(arm);
        match position {
            Some(position) => Join::Listed { strategy, position, delay_ms },
            None => Join::NotListed { strategy, delay_ms },
        }
    }
}
