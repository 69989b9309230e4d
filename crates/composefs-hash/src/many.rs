//! Digests of many messages of one length.
//!
//! The length is that of an fs-verity block, or of its descriptor: a multiple of the hash's own block.

#[cfg(target_arch = "x86_64")]
mod lanes;

use sha2::Digest as _;

/// Appends the SHA-256 of each message, in order.
///
/// # Panics
/// If a message's length is not a multiple of 64, or not that of the others.
pub fn sha256(messages: &[&[u8]], out: &mut Vec<u8>) {
    assert_equal(messages, crate::sha256::BLOCK);
    let rest = sha256_pairs(messages, out);
    for message in rest {
        out.extend_from_slice(&crate::Sha256::digest(message));
    }
}

/// Appends the SHA-512 of each message, in order.
///
/// # Panics
/// If a message's length is not a multiple of 128, or not that of the others.
pub fn sha512(messages: &[&[u8]], out: &mut Vec<u8>) {
    assert_equal(messages, 128);
    let rest = sha512_lanes(messages, out);
    for message in rest {
        out.extend_from_slice(&sha2::Sha512::digest(message));
    }
}

fn assert_equal(messages: &[&[u8]], block: usize) {
    let length = messages.first().map_or(0, |message| message.len());
    let equal = messages.iter().all(|message| message.len() == length);
    assert!(equal && length.is_multiple_of(block), "messages of one length, and whole blocks");
}

/// Hashes pairs; returns the messages that are left.
fn sha256_pairs<'a, 'm>(messages: &'a [&'m [u8]], out: &mut Vec<u8>) -> &'a [&'m [u8]] {
    #[cfg(target_arch = "x86_64")]
    if crate::processor::has_sha() {
        use crate::sha256::{BLOCK, INITIAL, sha_ni, to_bytes};
        let (pairs, rest) = messages.as_chunks::<2>();
        for [one, other] in pairs {
            let mut end = [0; BLOCK];
            end[0] = 0x80;
            if let Some(bits) = end.last_chunk_mut() {
                *bits = (one.len() as u64 * 8).to_be_bytes();
            }
            let (mut a, mut b) = (INITIAL, INITIAL);
            // SAFETY: the processor has the instructions that the function was compiled for; that is all it asks.
            #[allow(unsafe_code)]
            unsafe {
                sha_ni::two([&mut a, &mut b], [one.as_chunks().0, other.as_chunks().0]);
                sha_ni::two([&mut a, &mut b], [&[end], &[end]]);
            }
            out.extend_from_slice(&to_bytes(&a));
            out.extend_from_slice(&to_bytes(&b));
        }
        return rest;
    }
    let _ = &out;
    messages
}

/// Hashes as many messages as there are lanes for; returns those that are left.
fn sha512_lanes<'a, 'm>(messages: &'a [&'m [u8]], out: &mut Vec<u8>) -> &'a [&'m [u8]] {
    #[cfg(target_arch = "x86_64")]
    {
        let mut left = messages;
        let (wide, narrow) = (crate::processor::has_avx512(), crate::processor::has_avx2());
        while left.len() > 1 && (wide || narrow) {
            // A lane that has no message of its own repeats the last one. Two in four cost what two alone would.
            let count = left.len().min(if wide && left.len() > 4 { 8 } else { 4 });
            let (now, rest) = left.split_at(count);
            let lane = |i: usize| now[i.min(count - 1)];
            let mut digests = [[0; 64]; 8];
            // SAFETY: the processor has the instructions that each function was compiled for; that is all they ask.
            #[allow(unsafe_code)]
            unsafe {
                if count > 4 {
                    digests = lanes::avx512::hash(std::array::from_fn(lane));
                } else {
                    let four = std::array::from_fn(lane);
                    let found = if wide { lanes::avx512vl::hash(four) } else { lanes::avx2::hash(four) };
                    digests[..4].copy_from_slice(&found);
                }
            }
            digests.iter().take(count).for_each(|digest| out.extend_from_slice(digest));
            left = rest;
        }
        left
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = out;
        messages
    }
}

#[cfg(test)]
mod tests;
