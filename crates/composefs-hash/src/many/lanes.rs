//! SHA-512 of several messages, a lane of a vector each.

const K: [u64; 80] = [
    0x428a_2f98_d728_ae22,
    0x7137_4491_23ef_65cd,
    0xb5c0_fbcf_ec4d_3b2f,
    0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538,
    0x59f1_11f1_b605_d019,
    0x923f_82a4_af19_4f9b,
    0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242,
    0x1283_5b01_4570_6fbe,
    0x2431_85be_4ee4_b28c,
    0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f,
    0x80de_b1fe_3b16_96b1,
    0x9bdc_06a7_25c7_1235,
    0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2,
    0xefbe_4786_384f_25e3,
    0x0fc1_9dc6_8b8c_d5b5,
    0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275,
    0x4a74_84aa_6ea6_e483,
    0x5cb0_a9dc_bd41_fbd4,
    0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab,
    0xa831_c66d_2db4_3210,
    0xb003_27c8_98fb_213f,
    0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2,
    0xd5a7_9147_930a_a725,
    0x06ca_6351_e003_826f,
    0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc,
    0x2e1b_2138_5c26_c926,
    0x4d2c_6dfc_5ac4_2aed,
    0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de,
    0x766a_0abb_3c77_b2a8,
    0x81c2_c92e_47ed_aee6,
    0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364,
    0xa81a_664b_bc42_3001,
    0xc24b_8b70_d0f8_9791,
    0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218,
    0xd699_0624_5565_a910,
    0xf40e_3585_5771_202a,
    0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8,
    0x1e37_6c08_5141_ab53,
    0x2748_774c_df8e_eb99,
    0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63,
    0x4ed8_aa4a_e341_8acb,
    0x5b9c_ca4f_7763_e373,
    0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc,
    0x78a5_636f_4317_2f60,
    0x84c8_7814_a1f0_ab72,
    0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28,
    0xa450_6ceb_de82_bde9,
    0xbef9_a3f7_b2c6_7915,
    0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c,
    0xd186_b8c7_21c0_c207,
    0xeada_7dd6_cde0_eb1e,
    0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba,
    0x0a63_7dc5_a2c8_98a6,
    0x113f_9804_bef9_0dae,
    0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84,
    0x32ca_ab7b_40c7_2493,
    0x3c9e_be0a_15c9_bebc,
    0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6,
    0x597f_299c_fc65_7e2a,
    0x5fcb_6fab_3ad6_faec,
    0x6c44_198c_4a47_5817,
];

const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// Half a block of a message as words; zeros beyond its end, which no caller asks for.
#[inline(always)]
fn half(message: &[u8], half: usize) -> [i64; 8] {
    let mut words = [0; 8];
    if let Some(bytes) = message.get(half * 64..half * 64 + 64) {
        for (to, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *to = i64::from_le_bytes(*from);
        }
    }
    words
}

/// Defines `hash` for vectors with these operations; `load` and `words` are defined beside it.
macro_rules! lanes {
    (
        $features:literal, $lanes:literal lanes of $vector:ident, $splat:ident, $add:ident, $rotate:ident, $shift:ident,
        |$x:ident, $y:ident, $z:ident| xor3: $xor3:expr, choose: $choose:expr, majority: $majority:expr
    ) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn xor3($x: $vector, $y: $vector, $z: $vector) -> $vector {
            $xor3
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn choose($x: $vector, $y: $vector, $z: $vector) -> $vector {
            $choose
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn majority($x: $vector, $y: $vector, $z: $vector) -> $vector {
            $majority
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn splat(word: u64) -> $vector {
            $splat(word.cast_signed())
        }

        /// Sixteen rounds; after them the words of the state are where they were.
        #[inline]
        #[target_feature(enable = $features)]
        fn rounds(state: &mut [$vector; 8], w: &[$vector; 16], k: &[u64; 16]) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            macro_rules! round {
                ($ra:ident $rb:ident $rc:ident $rd:ident $re:ident $rf:ident $rg:ident $rh:ident $i:literal) => {
                    let sum = xor3($rotate::<14>($re), $rotate::<18>($re), $rotate::<41>($re));
                    let one = $add($add($add($rh, $add(w[$i], splat(k[$i]))), sum), choose($re, $rf, $rg));
                    let sum = xor3($rotate::<28>($ra), $rotate::<34>($ra), $rotate::<39>($ra));
                    $rd = $add($rd, one);
                    $rh = $add(one, $add(sum, majority($ra, $rb, $rc)));
                };
            }
            round!(a b c d e f g h 0);
            round!(h a b c d e f g 1);
            round!(g h a b c d e f 2);
            round!(f g h a b c d e 3);
            round!(e f g h a b c d 4);
            round!(d e f g h a b c 5);
            round!(c d e f g h a b 6);
            round!(b c d e f g h a 7);
            round!(a b c d e f g h 8);
            round!(h a b c d e f g 9);
            round!(g h a b c d e f 10);
            round!(f g h a b c d e 11);
            round!(e f g h a b c d 12);
            round!(d e f g h a b c 13);
            round!(c d e f g h a b 14);
            round!(b c d e f g h a 15);
            *state = [a, b, c, d, e, f, g, h];
        }

        /// The next sixteen words of the schedule.
        #[inline]
        #[target_feature(enable = $features)]
        fn schedule(w: &mut [$vector; 16]) {
            macro_rules! next {
                ($i:literal) => {
                    let (x, y) = (w[($i + 1) % 16], w[($i + 14) % 16]);
                    let small0 = xor3($rotate::<1>(x), $rotate::<8>(x), $shift::<7>(x));
                    let small1 = xor3($rotate::<19>(y), $rotate::<61>(y), $shift::<6>(y));
                    w[$i] = $add($add(w[$i], w[($i + 9) % 16]), $add(small0, small1));
                };
            }
            next!(0);
            next!(1);
            next!(2);
            next!(3);
            next!(4);
            next!(5);
            next!(6);
            next!(7);
            next!(8);
            next!(9);
            next!(10);
            next!(11);
            next!(12);
            next!(13);
            next!(14);
            next!(15);
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn compress(state: &mut [$vector; 8], mut w: [$vector; 16]) {
            let before = *state;
            let (k, _) = super::K.as_chunks::<16>();
            rounds(state, &w, &k[0]);
            schedule(&mut w);
            rounds(state, &w, &k[1]);
            schedule(&mut w);
            rounds(state, &w, &k[2]);
            schedule(&mut w);
            rounds(state, &w, &k[3]);
            schedule(&mut w);
            rounds(state, &w, &k[4]);
            for (now, before) in state.iter_mut().zip(before) {
                *now = $add(*now, before);
            }
        }

        /// Hashes messages of one length, a multiple of 128.
        #[target_feature(enable = $features)]
        pub(crate) fn hash(messages: [&[u8]; $lanes]) -> [[u8; 64]; $lanes] {
            let length = messages[0].len();
            // Loops, and no closures: those would not be compiled for the instructions.
            let mut state = [splat(0); 8];
            for (to, word) in state.iter_mut().zip(super::INITIAL) {
                *to = splat(word);
            }
            for block in 0..length / 128 {
                let mut w = [splat(0); 16];
                load(&messages, block, &mut w);
                compress(&mut state, w);
            }
            let mut end = [splat(0); 16];
            end[0] = splat(1 << 63);
            end[15] = splat(length as u64 * 8);
            compress(&mut state, end);
            let mut digests = [[0; 64]; $lanes];
            for (index, vector) in state.into_iter().enumerate() {
                for (digest, word) in digests.iter_mut().zip(words(vector)) {
                    if let Some(to) = digest.as_chunks_mut::<8>().0.get_mut(index) {
                        *to = word.to_be_bytes();
                    }
                }
            }
            digests
        }
    };
}

pub(crate) mod avx512;
pub(crate) mod avx512vl;
pub(crate) mod avx2;
