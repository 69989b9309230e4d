//! Random choices from the seed that libFuzzer gives, so that a run can be repeated.

/// A source of random numbers (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

/// Numbers at which something tends to change.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    7,
    8,
    12,
    16,
    31,
    32,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    511,
    512,
    513,
    1023,
    1024,
    4095,
    4096,
    4097,
    8191,
    65535,
    65536,
    0xf_ffff,
    1 << 20,
    1 << 27,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    1 << 32,
    1 << 33,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 511,
    u64::MAX - 7,
    u64::MAX,
];

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u32) -> Self {
        let mut dice = Self(u64::from(seed) ^ 0x9e37_79b9_7f4a_7c15);
        dice.next();
        dice.next();
        dice
    }

    /// Returns a number of 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `count`; 0 if there is none.
    pub fn below(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { (self.next() >> 11) as usize % count }
    }

    /// Says yes once in `count` times.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// Picks one; panics if there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Picks a word; panics if there is none.
    pub fn word<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }

    /// Picks one to change.
    pub fn pick_mut<'a, T>(&mut self, from: &'a mut [T]) -> Option<&'a mut T> {
        let at = self.below(from.len());
        from.get_mut(at)
    }

    /// Returns a number from an edge, or near `value`, or any.
    pub fn number(&mut self, value: u64) -> u64 {
        match self.below(8) {
            0..=2 => *self.pick(EDGES),
            3 => value.wrapping_add(1),
            4 => value.wrapping_sub(1),
            5 => value ^ (1 << self.below(64)),
            6 => value.wrapping_add(self.next() % 4096),
            _ => self.next() >> self.below(64),
        }
    }

    /// Lets libFuzzer change some bytes, which may become up to `more` longer.
    pub fn bytes(&mut self, bytes: &mut Vec<u8>, more: usize) {
        let size = bytes.len();
        bytes.resize(size + more.max(1), 0);
        let max = bytes.len();
        let made = libfuzzer_sys::fuzzer_mutate(bytes, size, max);
        bytes.truncate(made);
    }

    /// Takes out, doubles, exchanges or moves an element of a list.
    pub fn shuffle<T: Clone>(&mut self, list: &mut Vec<T>) {
        if list.is_empty() {
            return;
        }
        let (from, to) = (self.below(list.len()), self.below(list.len()));
        match self.below(4) {
            0 => drop(list.remove(from)),
            1 => list.insert(to, list[from].clone()),
            2 => list.swap(from, to),
            _ => {
                let moved = list.remove(from);
                list.insert(to.min(list.len()), moved);
            }
        }
    }
}
