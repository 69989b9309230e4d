//! Mutators that keep what they change close to what is valid, so that inputs get past checksums and tables.
//!
//! libFuzzer hands over an input and takes back another. Each mutator takes it apart, changes one or a few of the parts,
//! by itself or with libFuzzer's own mutations, and puts it together again: lengths, offsets and checksums are right then,
//! mostly. What cannot be taken apart is changed byte by byte, as without a mutator; so is every third input.
#![forbid(unsafe_code)]

pub mod dice;
pub mod erofs;
pub mod frames;
pub mod json;
pub mod splitstream;
pub mod tar;
pub mod text;
pub mod words;

pub use dice::Dice;

/// The longest input that is taken apart; longer ones come from libFuzzer's splicing and are shortened by it.
const APART_MAX: usize = 1 << 18;

/// Changes `data[..size]` with `change`, or byte by byte if that makes nothing of it; returns the new size.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    change: impl FnOnce(&[u8], &mut Dice) -> Option<Vec<u8>>,
) -> usize {
    let mut dice = Dice::new(seed);
    if size <= APART_MAX && !dice.one_in(3) {
        let made = data.get(..size).and_then(|data| change(data, &mut dice));
        if let Some(made) = made.filter(|made| !made.is_empty() && made.len() <= max_size)
            && let Some(room) = data.get_mut(..made.len())
        {
            room.copy_from_slice(&made);
            return made.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
}

/// Gives a target its program: libFuzzer's entry, and a mutator of the given kind.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $run(data));
    };
    ($run:path, $change:expr) => {
        $crate::program!($run);
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate(data, size, max_size, seed, $change)
        });
    };
}
