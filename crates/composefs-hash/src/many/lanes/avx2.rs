//! Four lanes of AVX2, which has no rotations.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_extract_epi64, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_setr_epi64x,
    _mm256_shuffle_epi8, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::half;

lanes!(
    "avx2",
    4 lanes of __m256i, _mm256_set1_epi64x, _mm256_add_epi64, rotate, _mm256_srli_epi64,
    |x, y, z| xor3: _mm256_xor_si256(_mm256_xor_si256(x, y), z),
    choose: _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z))),
    majority: _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
);

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const BITS: i32>(vector: __m256i) -> __m256i {
    // The count of the other shift would be an expression of the constant, which the language does not have.
    macro_rules! both {
        ($($bits:literal),*) => {
            match BITS {
                $($bits => _mm256_or_si256(
                    _mm256_srli_epi64::<$bits>(vector),
                    _mm256_slli_epi64::<{ 64 - $bits }>(vector),
                ),)*
                _ => unreachable!("SHA-512 rotates by no other number"),
            }
        };
    }
    both!(1, 8, 14, 18, 19, 28, 34, 39, 41, 61)
}

/// Loads a block: a vector for each word of it.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(messages: &[&[u8]; 4], block: usize, w: &mut [__m256i; 16]) {
    let (low, high) = (0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let order = _mm256_set_epi64x(high, low, high, low);
    for (number, to) in w.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut rows = [[_mm256_set1_epi64x(0); 2]; 4];
        for (row, message) in rows.iter_mut().zip(messages) {
            let [a, b, c, d, e, f, g, h] = half(message, 2 * block + number);
            row[0] = _mm256_shuffle_epi8(_mm256_setr_epi64x(a, b, c, d), order);
            row[1] = _mm256_shuffle_epi8(_mm256_setr_epi64x(e, f, g, h), order);
        }
        for (quarter, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let even0 = _mm256_unpacklo_epi64(rows[0][quarter], rows[1][quarter]);
            let even1 = _mm256_unpacklo_epi64(rows[2][quarter], rows[3][quarter]);
            let odd0 = _mm256_unpackhi_epi64(rows[0][quarter], rows[1][quarter]);
            let odd1 = _mm256_unpackhi_epi64(rows[2][quarter], rows[3][quarter]);
            *to = [
                _mm256_permute2x128_si256::<0x20>(even0, even1),
                _mm256_permute2x128_si256::<0x20>(odd0, odd1),
                _mm256_permute2x128_si256::<0x31>(even0, even1),
                _mm256_permute2x128_si256::<0x31>(odd0, odd1),
            ];
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn words(vector: __m256i) -> [u64; 4] {
    [
        _mm256_extract_epi64::<0>(vector).cast_unsigned(),
        _mm256_extract_epi64::<1>(vector).cast_unsigned(),
        _mm256_extract_epi64::<2>(vector).cast_unsigned(),
        _mm256_extract_epi64::<3>(vector).cast_unsigned(),
    ]
}
