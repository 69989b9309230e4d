//! The checksum that tar-split keeps of each file: CRC-64 of ISO 3309, eight bytes at a time.

/// The polynomial, its bits reversed.
const POLYNOMIAL: u64 = 0xd800_0000_0000_0000;

/// `TABLES[k][b]` is the checksum of the byte `b` and `k` zero bytes.
static TABLES: [[u64; 256]; 8] = tables();

#[allow(clippy::indexing_slicing)]
const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// A checksum of pushed bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc64(u64);

impl Crc64 {
    pub(super) const fn new() -> Self {
        Self(u64::MAX)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let [b0, b1, b2, b3, b4, b5, b6, b7] = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
            crc = at(t7, b0)
                ^ at(t6, b1)
                ^ at(t5, b2)
                ^ at(t4, b3)
                ^ at(t3, b4)
                ^ at(t2, b5)
                ^ at(t1, b6)
                ^ at(t0, b7);
        }
        for byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = at(t0, low ^ byte) ^ (crc >> 8);
        }
        self.0 = crc;
    }

    pub(super) const fn finish(self) -> u64 {
        !self.0
    }
}

#[allow(clippy::indexing_slicing)]
fn at(table: &[u64; 256], byte: u8) -> u64 {
    // A byte is never past the end.
    table[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::new();
        crc.update(bytes);
        crc.finish()
    }

    #[test]
    fn what_podman_wrote() {
        assert_eq!(of(b"xattr").to_be_bytes(), [0x2d, 0xd8, 0x78, 0x64, 0x03, 0x10, 0x00, 0x00]);
        assert_eq!(of(b"gone").to_be_bytes(), [0x32, 0xdd, 0x8c, 0x31, 0x80, 0x00, 0x00, 0x00]);
        // The usual check value of CRC-64/GO-ISO.
        assert_eq!(of(b"123456789"), 0xb909_56c7_75a4_1001);
    }

    #[test]
    fn any_split_is_the_same() {
        let bytes: Vec<u8> = (0..100_u8).collect();
        for at in 0..bytes.len() {
            let mut crc = Crc64::new();
            crc.update(&bytes[..at]);
            crc.update(&bytes[at..]);
            assert_eq!(crc.finish(), of(&bytes));
        }
    }
}
