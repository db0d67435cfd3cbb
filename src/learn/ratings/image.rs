//! The image: one head, then every user and every item by itself, so that a snapshot can be written leaf by leaf.
//!
//! To read one, make a [`Ratings`] with the same options, insert the same rows in the same order, then decode the head and
//! whoever was written, in any order. What follows is the same to the bit. A row without ratings is one byte, and
//! [`Ratings::has_user`] and [`Ratings::has_item`] let a caller leave it out.

use crate::base::cursor::{CursorError, Reader, Writer};

use super::columns::FIGURES;
use super::neighbours::{Memory, Row};
use super::residuals::inverse_deviation;
use super::{Kept, Ratings};

/// Layout of head, column and inputs; goes up with any change to them.
const LAYOUT: u16 = 1;

impl Ratings {
    /// Whether this user has rated anything.
    #[must_use]
    pub fn has_user(&self, user: usize) -> bool {
        self.users.find(user).is_some()
    }

    /// Whether this item was ever rated.
    #[must_use]
    pub fn has_item(&self, item: usize) -> bool {
        self.items.find(item).is_some()
    }

    /// Writes what belongs to nobody. About 32 kB and 12 bytes a rating of the ring; two bytes if nothing was learned.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        out.u16(if self.learned == 0 { 0 } else { LAYOUT });
        if self.learned == 0 {
            return;
        }
        out.u64(self.learned);
        self.scale.encode(out);
        out.f32(self.common.residual).f32(self.common.power);
        self.stack.encode(out);
        self.net.encode(out);
        out.count(self.ring.len());
        for past in &self.ring {
            out.u32(past.user).u32(past.item).f32(past.value);
        }
    }

    /// Reads a head.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes are no head of this layout, or its ring is longer than the options allow.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        match from.u16()? {
            0 => return Ok(()),
            LAYOUT => {}
            other => {
                let found = u64::from(other);
                return Err(CursorError::Bad { what: "layout of ratings", offset, found, allowed: "0 or 1" });
            }
        }
        self.learned = from.u64()?;
        self.scale.decode(from)?;
        self.common.residual = from.f32()?;
        self.common.power = from.f32()?;
        self.stack.decode(from)?;
        self.net.decode(from)?;
        let length = from.count(size_of::<Kept>(), self.options.ring_max)?;
        self.ring.clear();
        for _ in 0..length {
            self.ring.push(Kept { user: from.u32()?, item: from.u32()?, value: from.f32()? });
        }
        Ok(())
    }

    /// Writes one user.
    pub fn encode_user(&self, user: usize, out: &mut Writer<'_>) {
        let Some(column) = self.users.find(user) else {
            out.u8(0);
            return;
        };
        out.u8(1);
        self.users.encode(column, out);
        self.memories[column].encode(out);
    }

    /// Reads one user into its row, which has been inserted before.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes are no user, or there is no such row.
    pub fn decode_user(&mut self, user: usize, from: &mut Reader<'_>) -> Result<(), CursorError> {
        if !present(from)? {
            return Ok(());
        }
        let column = self.make_user(user).ok_or_else(|| no_row(user, from))?;
        self.users.decode(column, from)?;
        self.memories[column] = Memory::decode(from)?;
        Ok(())
    }

    /// Writes one item.
    pub fn encode_item(&self, item: usize, out: &mut Writer<'_>) {
        let Some(column) = self.items.find(item) else {
            out.u8(0);
            return;
        };
        out.u8(1);
        self.items.encode(column, out);
        self.rows[column].encode(out);
    }

    /// Reads one item into its row, which has been inserted before.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes are no item, or there is no such row.
    pub fn decode_item(&mut self, item: usize, from: &mut Reader<'_>) -> Result<(), CursorError> {
        if !present(from)? {
            return Ok(());
        }
        let column = self.make_item(item).ok_or_else(|| no_row(item, from))?;
        self.items.decode(column, from)?;
        self.rows[column] = Row::decode(from)?;
        self.rows[column].inverse = inverse_deviation(&self.items.get(column)[FIGURES..]);
        Ok(())
    }
}

fn present(from: &mut Reader<'_>) -> Result<bool, CursorError> {
    let offset = from.at();
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(CursorError::Bad { what: "mark of a row", offset, found: u64::from(other), allowed: "0 or 1" }),
    }
}

fn no_row(row: usize, from: &Reader<'_>) -> CursorError {
    let allowed = "a row that has been inserted";
    CursorError::Bad { what: "row", offset: from.at(), found: row as u64, allowed }
}
