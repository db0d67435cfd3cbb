//! What a user has said that its profile shall and shall not do: in force at the next request, kept like everything else,
//! and taken back like everything else.

use super::Person;
use super::behaviours::{Behaviours, Rhythm};
use super::facets::Facets;
use crate::base::IdRef;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::CONTROLS_MAX;
use crate::model::{Entry, History};

/// A dimension of the profile that can be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dimension {
    /// Counts and amounts by behaviour kind.
    Behaviours = 1,
    /// What is liked, by facet.
    Facets = 2,
    /// When in the day and week.
    Rhythm = 3,
    /// Prices met and paid.
    Prices = 4,
    /// The retained events, and the vectors that were learned of them.
    History = 5,
}

impl Dimension {
    /// All dimensions.
    pub const ALL: [Self; 5] = [Self::Behaviours, Self::Facets, Self::Rhythm, Self::Prices, Self::History];

    /// Its name on the command line and in replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Behaviours => "behaviours",
            Self::Facets => "facets",
            Self::Rhythm => "rhythm",
            Self::Prices => "prices",
            Self::History => "history",
        }
    }

    /// The dimension with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| *dimension as u8 == code)
    }
}

/// One thing that a user asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Control<'a> {
    /// Nothing with this facet is recommended (or is again).
    MuteFacet(&'a str, bool),
    /// This item is not recommended (or is again).
    MuteItem(IdRef<'a>, bool),
    /// At most this share of a list has the facet; 1 takes it back.
    Less(&'a str, f32),
    /// Nothing is learned of the user (or is again).
    Pause(bool),
    /// What was learned in a dimension is set aside (or put back).
    Reset(Dimension, bool),
}

const MUTE_FACET: u8 = 1;
const MUTE_ITEM: u8 = 2;
const LESS: u8 = 3;
const PAUSE: u8 = 4;
const RESET: u8 = 5;

impl<'a> Control<'a> {
    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        match *self {
            Self::MuteFacet(name, on) => out.u8(MUTE_FACET).text(name).u8(u8::from(on)),
            Self::MuteItem(item, on) => out.u8(MUTE_ITEM).id(item).u8(u8::from(on)),
            Self::Less(name, share) => out.u8(LESS).text(name).f32(share),
            Self::Pause(on) => out.u8(PAUSE).u8(u8::from(on)),
            Self::Reset(dimension, on) => out.u8(RESET).u8(dimension as u8).u8(u8::from(on)),
        };
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are none.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, CursorError> {
        let offset = from.at();
        let bad = |what, found| CursorError::Bad { what, offset, found: u64::from(found), allowed: "1 to 5" };
        Ok(match from.u8()? {
            MUTE_FACET => Self::MuteFacet(from.text()?, from.u8()? != 0),
            MUTE_ITEM => Self::MuteItem(from.id()?, from.u8()? != 0),
            LESS => Self::Less(from.text()?, from.f32()?),
            PAUSE => Self::Pause(from.u8()? != 0),
            RESET => {
                let code = from.u8()?;
                let dimension = Dimension::from_code(code).ok_or_else(|| bad("dimension", code))?;
                Self::Reset(dimension, from.u8()? != 0)
            }
            code => return Err(bad("control", code)),
        })
    }
}

/// What was set aside by a reset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aside {
    /// Which dimension.
    pub dimension: u8,
    /// When.
    pub time_ms: i64,
    /// Sums of that dimension; nothing in the others.
    pub person: Person,
    /// Retained events.
    pub history: History,
}

/// All that is in force of one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controls {
    /// Numbers of muted facets, rising.
    pub muted_facets: Vec<u32>,
    /// Rows of muted items, rising.
    pub muted_items: Vec<u32>,
    /// Facets of which at most a share of a list may be.
    pub less: Vec<(u32, f32)>,
    /// Since when nothing is learned.
    pub paused_ms: Option<i64>,
    /// What was set aside, by dimension.
    pub aside: Vec<Aside>,
}

impl Controls {
    /// Whether nothing is in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts a number into a rising list or takes it out; a full list takes no more. Says whether it is as was asked.
    pub fn switch(list: &mut Vec<u32>, number: u32, on: bool) -> bool {
        match (list.binary_search(&number), on) {
            (Ok(place), false) => drop(list.remove(place)),
            (Err(_), true) if list.len() >= CONTROLS_MAX => return false,
            (Err(place), true) => list.insert(place, number),
            _ => {}
        }
        true
    }

    /// At most a share of a list may have this facet; 1 or more: as many as may be. A full list takes no more; says whether it is
    /// as was asked.
    pub fn limit(&mut self, number: u32, share: f32) -> bool {
        self.less.retain(|(held, _)| *held != number);
        let room = self.less.len() < CONTROLS_MAX;
        if share < 1.0 && room {
            self.less.push((number, share.max(0.0)));
        }
        share >= 1.0 || room
    }

    /// Renames every facet, as another shard's table numbers it, every row, and what retained events say of their items.
    pub fn renumber(
        &mut self,
        facet: impl Fn(u32) -> u32,
        row: impl Fn(u32) -> u32,
        mut entry: impl FnMut(&mut Entry),
    ) {
        self.muted_facets.iter_mut().for_each(|number| *number = facet(*number));
        self.muted_items.iter_mut().for_each(|number| *number = row(*number));
        self.muted_facets.sort_unstable();
        self.muted_items.sort_unstable();
        self.less.iter_mut().for_each(|(number, _)| *number = facet(*number));
        for aside in &mut self.aside {
            aside.person.facets.renumber(&facet);
            aside.history.change_each(&mut entry);
        }
    }

    /// Appends all.
    pub fn encode(&self, out: &mut Writer<'_>) {
        for list in [&self.muted_facets, &self.muted_items] {
            out.count(list.len()).u32s(list);
        }
        out.count(self.less.len());
        for (number, share) in &self.less {
            out.u32(*number).f32(*share);
        }
        out.u8(u8::from(self.paused_ms.is_some())).i64(self.paused_ms.unwrap_or(0)).count(self.aside.len());
        for Aside { dimension, time_ms, person, history } in &self.aside {
            out.u8(*dimension).i64(*time_ms);
            person.encode(out);
            history.encode(out);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no controls.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut list = || {
            let count = from.count(4, CONTROLS_MAX)?;
            (0..count).map(|_| from.u32()).collect::<Result<Vec<u32>, _>>()
        };
        let (muted_facets, muted_items) = (list()?, list()?);
        let count = from.count(8, CONTROLS_MAX)?;
        let less = (0..count).map(|_| Ok((from.u32()?, from.f32()?))).collect::<Result<_, CursorError>>()?;
        let (paused, time_ms) = (from.u8()? != 0, from.i64()?);
        let count = from.count(9, Dimension::ALL.len())?;
        let aside = |from: &mut Reader<'_>| {
            let (dimension, time_ms) = (from.u8()?, from.i64()?);
            Ok(Aside { dimension, time_ms, person: Person::decode(from)?, history: History::decode(from, true)? })
        };
        let aside = (0..count).map(|_| aside(from)).collect::<Result<_, CursorError>>()?;
        Ok(Self { muted_facets, muted_items, less, paused_ms: paused.then_some(time_ms), aside })
    }
}

/// Takes the sums of one dimension out of a person.
pub fn take_dimension(person: &mut Person, dimension: Dimension) -> Person {
    let mut taken = Person::default();
    match dimension {
        Dimension::Behaviours => std::mem::swap::<Behaviours>(&mut taken.behaviours, &mut person.behaviours),
        Dimension::Facets => std::mem::swap::<Facets>(&mut taken.facets, &mut person.facets),
        Dimension::Rhythm => std::mem::swap::<Rhythm>(&mut taken.rhythm, &mut person.rhythm),
        Dimension::Prices => std::mem::swap(&mut taken.prices, &mut person.prices),
        Dimension::History => {}
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_come_back_and_are_taken_back() {
        let mut controls = Controls::default();
        assert!(Controls::switch(&mut controls.muted_facets, 7, true));
        assert!(Controls::switch(&mut controls.muted_facets, 3, true));
        assert!(Controls::switch(&mut controls.muted_facets, 7, true), "it is there");
        controls.limit(9, 0.25);
        controls.paused_ms = Some(5);
        controls.aside.push(Aside { dimension: 2, time_ms: 8, ..Aside::default() });
        let mut bytes = Vec::new();
        controls.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Controls::decode(&mut Reader::new(&bytes)), Ok(controls.clone()));
        Controls::switch(&mut controls.muted_facets, 3, false);
        Controls::switch(&mut controls.muted_facets, 7, false);
        controls.limit(9, 1.0);
        (controls.paused_ms, controls.aside) = (None, Vec::new());
        assert!(controls.is_empty());
    }

    #[test]
    fn every_control_has_its_bytes() {
        let all = [
            Control::MuteFacet("crime", true),
            Control::MuteItem(IdRef::Text("x"), false),
            Control::Less("sport", 0.25),
            Control::Pause(true),
            Control::Reset(Dimension::History, true),
        ];
        for control in all {
            let mut bytes = Vec::new();
            control.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Control::decode(&mut Reader::new(&bytes)), Ok(control));
            for cut in 0..bytes.len() {
                assert!(Control::decode(&mut Reader::new(&bytes[..cut])).is_err());
            }
        }
    }
}
