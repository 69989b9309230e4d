//! Four lanes, with the rotations of AVX-512.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_ror_epi64, _mm256_set1_epi64x, _mm256_srli_epi64,
    _mm256_ternarylogic_epi64,
};

use super::avx2::{load, words};

lanes!(
    "avx512f,avx512vl,avx2",
    4 lanes of __m256i, _mm256_set1_epi64x, _mm256_add_epi64, _mm256_ror_epi64, shift,
    |x, y, z| xor3: _mm256_ternarylogic_epi64::<0x96>(x, y, z),
    choose: _mm256_ternarylogic_epi64::<0xca>(x, y, z),
    majority: _mm256_ternarylogic_epi64::<0xe8>(x, y, z)
);

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx2")]
fn shift<const BITS: i32>(vector: __m256i) -> __m256i {
    _mm256_srli_epi64::<BITS>(vector)
}
