//! Eight lanes of AVX-512.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_extracti64x4_epi64, _mm512_ror_epi64, _mm512_set_epi64,
    _mm512_set1_epi64, _mm512_setr_epi64, _mm512_shuffle_epi8, _mm512_shuffle_i64x2, _mm512_srli_epi64,
    _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use super::{avx2, half};

lanes!(
    "avx512f,avx512bw,avx2",
    8 lanes of __m512i, _mm512_set1_epi64, _mm512_add_epi64, _mm512_ror_epi64, _mm512_srli_epi64,
    |x, y, z| xor3: _mm512_ternarylogic_epi64::<0x96>(x, y, z),
    choose: _mm512_ternarylogic_epi64::<0xca>(x, y, z),
    majority: _mm512_ternarylogic_epi64::<0xe8>(x, y, z)
);

/// Loads a block: a vector for each word of it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn load(messages: &[&[u8]; 8], block: usize, w: &mut [__m512i; 16]) {
    let (low, high) = w.split_at_mut(8);
    load_half(messages, 2 * block, low);
    load_half(messages, 2 * block + 1, high);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn load_half(messages: &[&[u8]; 8], which: usize, to: &mut [__m512i]) {
    let (low, high) = (0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let order = _mm512_set_epi64(high, low, high, low, high, low, high, low);
    let mut rows = [_mm512_set1_epi64(0); 8];
    for (row, message) in rows.iter_mut().zip(messages) {
        let [a, b, c, d, e, f, g, h] = half(message, which);
        *row = _mm512_shuffle_epi8(_mm512_setr_epi64(a, b, c, d, e, f, g, h), order);
    }
    // Words 0, 2, 4, 6 of pairs of rows, and 1, 3, 5, 7.
    let mut even = [_mm512_set1_epi64(0); 4];
    let mut odd = even;
    for ((even, odd), pair) in even.iter_mut().zip(&mut odd).zip(rows.as_chunks::<2>().0) {
        *even = _mm512_unpacklo_epi64(pair[0], pair[1]);
        *odd = _mm512_unpackhi_epi64(pair[0], pair[1]);
    }
    for (first, pairs) in [even, odd].iter().enumerate() {
        let (x0, x1) = (
            _mm512_shuffle_i64x2::<0x88>(pairs[0], pairs[1]),
            _mm512_shuffle_i64x2::<0xdd>(pairs[0], pairs[1]),
        );
        let (y0, y1) = (
            _mm512_shuffle_i64x2::<0x88>(pairs[2], pairs[3]),
            _mm512_shuffle_i64x2::<0xdd>(pairs[2], pairs[3]),
        );
        to[first] = _mm512_shuffle_i64x2::<0x88>(x0, y0);
        to[first + 2] = _mm512_shuffle_i64x2::<0x88>(x1, y1);
        to[first + 4] = _mm512_shuffle_i64x2::<0xdd>(x0, y0);
        to[first + 6] = _mm512_shuffle_i64x2::<0xdd>(x1, y1);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn words(vector: __m512i) -> [u64; 8] {
    let low = avx2::words(_mm512_extracti64x4_epi64::<0>(vector));
    let high = avx2::words(_mm512_extracti64x4_epi64::<1>(vector));
    [low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]]
}
