//! SHA-256 by the instructions of x86 for it, two states at a time.
//!
//! An `sha256rnds2` takes four cycles and one can start every two: the rounds of a second state are free.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};

use super::BLOCK;

pub(crate) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// A state in the order of the instructions: ABEF and CDGH.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

/// Hashes `blocks` into both states.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(crate) fn shared(one: &mut [u32; 8], other: &mut [u32; 8], blocks: &[[u8; BLOCK]]) {
    let (mut a, mut b) = (load_state(one), load_state(other));
    for block in blocks {
        let (a0, b0) = (a, b);
        let mut w = load_block(block);
        macro_rules! four {
            ($i:literal, then) => {
                four!($i);
                w[$i % 4] = schedule(w[$i % 4], w[($i + 1) % 4], w[($i + 2) % 4], w[($i + 3) % 4]);
            };
            ($i:literal) => {{
                let k = constants($i);
                let now = _mm_add_epi32(w[$i % 4], k);
                let next = _mm_shuffle_epi32::<0x0e>(now);
                a.cdgh = _mm_sha256rnds2_epu32(a.cdgh, a.abef, now);
                b.cdgh = _mm_sha256rnds2_epu32(b.cdgh, b.abef, now);
                a.abef = _mm_sha256rnds2_epu32(a.abef, a.cdgh, next);
                b.abef = _mm_sha256rnds2_epu32(b.abef, b.cdgh, next);
            }};
        }
        four!(0, then);
        four!(1, then);
        four!(2, then);
        four!(3, then);
        four!(4, then);
        four!(5, then);
        four!(6, then);
        four!(7, then);
        four!(8, then);
        four!(9, then);
        four!(10, then);
        four!(11, then);
        four!(12);
        four!(13);
        four!(14);
        four!(15);
        (a, b) = (add(a, a0), add(b, b0));
    }
    store_state(a, one);
    store_state(b, other);
}

/// Hashes the blocks of each message into its state; of the longer one only as many as the other has.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(crate) fn two(states: [&mut [u32; 8]; 2], messages: [&[[u8; BLOCK]]; 2]) {
    let [one, other] = states;
    let (mut a, mut b) = (load_state(one), load_state(other));
    for (block_a, block_b) in messages[0].iter().zip(messages[1]) {
        let (a0, b0) = (a, b);
        let (mut v, mut w) = (load_block(block_a), load_block(block_b));
        macro_rules! four {
            ($i:literal, then) => {
                four!($i);
                v[$i % 4] = schedule(v[$i % 4], v[($i + 1) % 4], v[($i + 2) % 4], v[($i + 3) % 4]);
                w[$i % 4] = schedule(w[$i % 4], w[($i + 1) % 4], w[($i + 2) % 4], w[($i + 3) % 4]);
            };
            ($i:literal) => {{
                let k = constants($i);
                let now_a = _mm_add_epi32(v[$i % 4], k);
                let now_b = _mm_add_epi32(w[$i % 4], k);
                a.cdgh = _mm_sha256rnds2_epu32(a.cdgh, a.abef, now_a);
                b.cdgh = _mm_sha256rnds2_epu32(b.cdgh, b.abef, now_b);
                a.abef = _mm_sha256rnds2_epu32(a.abef, a.cdgh, _mm_shuffle_epi32::<0x0e>(now_a));
                b.abef = _mm_sha256rnds2_epu32(b.abef, b.cdgh, _mm_shuffle_epi32::<0x0e>(now_b));
            }};
        }
        four!(0, then);
        four!(1, then);
        four!(2, then);
        four!(3, then);
        four!(4, then);
        four!(5, then);
        four!(6, then);
        four!(7, then);
        four!(8, then);
        four!(9, then);
        four!(10, then);
        four!(11, then);
        four!(12);
        four!(13);
        four!(14);
        four!(15);
        (a, b) = (add(a, a0), add(b, b0));
    }
    store_state(a, one);
    store_state(b, other);
}

#[inline]
#[target_feature(enable = "sse2")]
fn constants(four: usize) -> __m128i {
    let k = |i: usize| K[4 * four + i].cast_signed();
    _mm_set_epi32(k(3), k(2), k(1), k(0))
}

/// Four words of the schedule from the sixteen before them.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3")]
fn schedule(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    _mm_sha256msg2_epu32(sum, w3)
}

#[inline]
#[target_feature(enable = "sse2,ssse3")]
fn load_block(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let (words, _) = block.as_chunks::<8>();
    let word = |i: usize| i64::from_le_bytes(words[i]);
    let four = |i: usize| _mm_shuffle_epi8(_mm_set_epi64x(word(2 * i + 1), word(2 * i)), order);
    [four(0), four(1), four(2), four(3)]
}

#[inline]
#[target_feature(enable = "sse2")]
fn add(one: State, other: State) -> State {
    State { abef: _mm_add_epi32(one.abef, other.abef), cdgh: _mm_add_epi32(one.cdgh, other.cdgh) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_state(state: &[u32; 8]) -> State {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    State { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
}

#[inline]
#[target_feature(enable = "sse2,sse4.1")]
fn store_state(from: State, to: &mut [u32; 8]) {
    let halves = |v: __m128i| {
        let (low, high) = (_mm_cvtsi128_si64(v).cast_unsigned(), _mm_extract_epi64::<1>(v).cast_unsigned());
        [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32]
    };
    let ([a, b, e, f], [c, d, g, h]) = (halves(from.abef), halves(from.cdgh));
    *to = [a, b, c, d, e, f, g, h];
}
