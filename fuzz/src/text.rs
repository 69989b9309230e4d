//! Lines of fields: lines and fields exchanged, replaced by words that mean something, changed byte by byte.

use crate::Dice;

/// What the fields of a text are, and words that may stand in it.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// What stands between two fields.
    pub between: &'static [u8],
    /// Words of the language.
    pub words: &'static [&'static [u8]],
    /// Whole lines of it.
    pub lines: &'static [&'static [u8]],
}

impl Text {
    /// Makes another text of one.
    pub fn change(&self, data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> = data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        for _ in 0..=dice.below(3) {
            self.step(&mut lines, dice);
        }
        Some(lines.join(&b'\n'))
    }

    fn step(&self, lines: &mut Vec<Vec<u8>>, dice: &mut Dice) {
        let at = dice.below(lines.len() + 1);
        match dice.below(8) {
            0 => dice.shuffle(lines),
            1 if !self.lines.is_empty() => lines.insert(at, dice.word(self.lines).to_vec()),
            2 => {
                // A field from the same place in another line.
                let other =
                    lines.get(dice.below(lines.len())).map(|line| self.fields(line)).unwrap_or_default();
                let Some(line) = dice.pick_mut(lines) else { return };
                let mut fields = self.fields(line);
                let place = dice.below(fields.len().min(other.len()));
                if let (Some(field), Some(with)) = (fields.get_mut(place), other.get(place)) {
                    field.clone_from(with);
                }
                *line = fields.concat();
            }
            choice => {
                let Some(line) = dice.pick_mut(lines) else { return };
                let mut fields = self.fields(line);
                match (choice, dice.pick_mut(&mut fields)) {
                    (3, _) => dice.shuffle(&mut fields),
                    (4 | 5, Some(field)) if !self.words.is_empty() => {
                        let keep =
                            usize::from(field.first().is_some_and(|first| self.between.contains(first)));
                        field.truncate(keep);
                        field.extend_from_slice(dice.word(self.words));
                    }
                    (6, Some(field)) => {
                        let digits =
                            std::str::from_utf8(field).ok().and_then(|text| text.trim().parse().ok());
                        let number = dice.number(digits.unwrap_or(1)).to_string();
                        let keep =
                            usize::from(field.first().is_some_and(|first| self.between.contains(first)));
                        field.truncate(keep);
                        field.extend_from_slice(number.as_bytes());
                    }
                    (_, Some(field)) => dice.bytes(field, 16),
                    _ => {}
                }
                *line = fields.concat();
            }
        }
    }

    /// Cuts a line before each byte that stands between fields.
    fn fields(&self, line: &[u8]) -> Vec<Vec<u8>> {
        let mut fields = vec![Vec::new()];
        for &byte in line {
            if self.between.contains(&byte) {
                fields.push(Vec::new());
            }
            if let Some(last) = fields.last_mut() {
                last.push(byte);
            }
        }
        fields
    }
}
