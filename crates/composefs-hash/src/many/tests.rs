use super::*;

/// Messages of one length that differ in every byte.
fn messages(count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| (0..length).map(|i| (i * 31 + n * 97 + i / 251) as u8).collect()).collect()
}

#[test]
fn every_count_of_messages() {
    for length in [0, 128, 256, 1024, 4096, 65536] {
        for count in 0..=if length > 4096 { 9 } else { 20 } {
            let owned = messages(count, length);
            let messages: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
            let (mut small, mut large) = (vec![1], vec![2]);
            sha256(&messages, &mut small);
            sha512(&messages, &mut large);
            let (mut expected_small, mut expected_large) = (vec![1], vec![2]);
            for message in &messages {
                expected_small.extend_from_slice(&sha2::Sha256::digest(message));
                expected_large.extend_from_slice(&sha2::Sha512::digest(message));
            }
            assert!(small == expected_small && large == expected_large, "{count} of {length}");
        }
    }
}

/// Every implementation that this processor can run, also those that faster ones hide.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_implementation() {
    let owned = messages(8, 4096);
    let expected: Vec<[u8; 64]> = owned.iter().map(|message| sha2::Sha512::digest(message).into()).collect();
    let four = || std::array::from_fn(|i| &owned[i][..]);
    // SAFETY: each is called where the processor has the instructions that it was compiled for.
    #[allow(unsafe_code)]
    unsafe {
        if crate::processor::has_avx2() {
            assert_eq!(lanes::avx2::hash(four())[..], expected[..4]);
        }
        if crate::processor::has_avx512() {
            assert_eq!(lanes::avx512vl::hash(four())[..], expected[..4]);
            assert_eq!(lanes::avx512::hash(std::array::from_fn(|i| &owned[i][..]))[..], expected[..]);
        }
    }
}

#[test]
#[should_panic(expected = "one length")]
fn lengths_must_agree() {
    sha256(&[&[0; 64], &[0; 128]], &mut Vec::new());
}

#[test]
#[should_panic(expected = "whole blocks")]
fn blocks_must_be_whole() {
    sha512(&[&[0; 64]], &mut Vec::new());
}
