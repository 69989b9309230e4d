//! Random damage: any bytes end in an error or in a tree, soon and without a panic.

use composefs::erofs::FormatVersion;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    fuzz_target,
    strategies::{fit, tree},
    write,
};

/// Where to damage, and with what.
type Hit = (Index, u8, Index);

/// Values that are limits of some field.
const BYTES: [u8; 8] = [0, 1, 2, 4, 0x7f, 0x80, 0xfe, 0xff];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_images_are_harmless(
        tree in tree(),
        version in 0..3_u32,
        hits in vec(any::<Hit>(), 1..6),
        cut in proptest::option::weighted(0.1, any::<Index>()),
    ) {
        let version = FormatVersion::from_number(version).unwrap();
        let image = write(&fit(&tree, version), version).unwrap();
        let used: Vec<usize> =
            image.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
        // One at a time, then all of them: most damage is found at the first.
        let mut together = image.clone();
        for (at, bits, value) in &hits {
            let mut damaged = image.clone();
            // Half of the hits go to bytes in use, past the headers.
            let at = if bits & 1 == 0 { used[at.index(used.len())] } else { at.index(image.len()) };
            let byte = if bits & 2 == 0 { damaged[at] ^ bits } else { BYTES[value.index(BYTES.len())] };
            damaged[at] = byte;
            together[at] = byte;
            fuzz_target::run(&damaged);
        }
        if let Some(cut) = cut {
            together.truncate(cut.index(image.len()));
        }
        fuzz_target::run(&together);
    }
}
