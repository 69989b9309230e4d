use proptest::prelude::*;
use sha2::Digest as _;

use super::*;

fn oracle(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 % 251) as u8).collect()
}

#[test]
fn every_length_of_a_few_blocks() {
    let data = bytes(300);
    for length in 0..=data.len() {
        let message = &data[..length];
        assert_eq!(Sha256::digest(message), oracle(message), "{length}");
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        one.update_with(&mut other, message);
        assert_eq!((one.finish(), other.finish()), (oracle(message), oracle(message)), "{length}");
    }
}

/// Wherever the two begin, whatever is between, and however it ends.
#[test]
fn every_alignment_of_two() {
    let data = bytes(700);
    for before in 0..=130 {
        for split in [0, 1, 63, 64, 65, 128, 200] {
            for end in [0, 1, 8, 55, 56, 63, 64, 65, 127, 256] {
                let (mut tar, mut leaf) = (Sha256::new(), Sha256::new());
                tar.update(&data[..before]);
                leaf.update_with(&mut tar, &data[before..before + split]);
                tar.update_with(&mut leaf, &data[before + split..before + split + end]);
                let end = before + split + end;
                assert_eq!(leaf.finish_reset(), oracle(&data[before..end]), "{before} {split} {end}");
                tar.update(&data[end..]);
                assert_eq!(tar.finish(), oracle(&data), "{before} {split} {end}");
                leaf.update(&data[..3]);
                assert_eq!(leaf.finish(), oracle(&data[..3]), "after a reset");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn pieces_of_any_length(data in prop::collection::vec(any::<u8>(), 0..9000), cuts in prop::collection::vec((0_usize..900, 0_u8..3), 1..40)) {
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
        let (mut rest, mut cuts) = (&data[..], cuts.into_iter().cycle());
        let mut rounds = 0;
        while !rest.is_empty() && rounds < 1000 {
            rounds += 1;
            let Some((length, who)) = cuts.next() else { break };
            let (now, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            match who {
                0 => one.update(now),
                1 => other.update(now),
                _ => one.update_with(&mut other, now),
            }
            if who != 1 { of_one.extend_from_slice(now); }
            if who != 0 { of_other.extend_from_slice(now); }
        }
        prop_assert_eq!(one.finish(), oracle(&of_one));
        prop_assert_eq!(other.finish(), oracle(&of_other));
    }
}
