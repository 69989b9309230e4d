//! The expanded file of a sparse member, as an object of its own.

use composefs::repo::{ObjectWriter, Stored};
use composefs_tar::{Expander, Piece, SparseMap};

use crate::error::Error;

use super::spool::write_error;

/// An object that is written while the stored data of a sparse member pass by.
pub(super) struct Expanding {
    expander: Expander,
    object: ObjectWriter,
}

impl Expanding {
    pub(super) fn new(map: SparseMap, object: ObjectWriter) -> Self {
        Self { expander: map.into_expander(), object }
    }

    /// Takes stored bytes, and writes them with the holes before them.
    pub(super) fn push(&mut self, mut stored: &[u8]) -> Result<(), Error> {
        while let Some(piece) = self.expander.next(&mut stored) {
            match piece {
                Piece::Hole(bytes) => self.object.write_hole(bytes).map_err(write_error)?,
                Piece::Data(bytes) => self.object.append(bytes)?,
            }
        }
        Ok(())
    }

    /// Writes the last hole and stores the object.
    pub(super) fn finish(mut self) -> Result<Stored, Error> {
        self.push(&[])?;
        Ok(self.object.finish()?)
    }
}
