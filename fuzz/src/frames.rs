//! Compressed blobs: gzip members, zstd frames, frames to be skipped and zeros, in any order and of any settings.

use std::io::{Cursor, Read as _, Write as _};

use crate::Dice;

/// The most bytes of a member or frame that are packed anew.
const UNPACKED_MAX: u64 = 1 << 16;

/// Makes another blob of one.
pub fn change(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut frames = split(data);
    match dice.below(6) {
        0 | 1 => dice.shuffle(&mut frames),
        2 => {
            let at = dice.below(frames.len() + 1);
            frames.insert(at, filler(dice));
        }
        3 => {
            let frame = dice.pick_mut(&mut frames)?;
            dice.bytes(frame, 16);
        }
        _ => {
            let frame = dice.pick_mut(&mut frames)?;
            let mut unpacked = unpack(frame);
            if dice.one_in(2) {
                dice.bytes(&mut unpacked, 256);
            }
            *frame = if dice.one_in(2) { gzip(&unpacked, dice) } else { zstd_frame(&unpacked, dice) };
        }
    }
    Some(frames.concat())
}

/// Cuts a blob where its frames end; what is none is one piece.
fn split(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !data.is_empty() && frames.len() < 100 {
        let length =
            frame_length(data).filter(|length| (1..=data.len()).contains(length)).unwrap_or(data.len());
        let (frame, rest) = data.split_at(length);
        frames.push(frame.to_vec());
        data = rest;
    }
    frames
}

fn frame_length(data: &[u8]) -> Option<usize> {
    match data {
        [0, ..] => Some(data.iter().take_while(|&&byte| byte == 0).count()),
        [0x1f, 0x8b, ..] => {
            let mut decoder = flate2::bufread::GzDecoder::new(Cursor::new(data));
            std::io::copy(&mut (&mut decoder).take(1 << 20), &mut std::io::sink()).ok()?;
            usize::try_from(decoder.into_inner().position()).ok()
        }
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, length @ ..] => {
            let length = u32::from_le_bytes(*length.first_chunk()?);
            usize::try_from(length).ok()?.checked_add(8)
        }
        _ => zstd::zstd_safe::find_frame_compressed_size(data).ok(),
    }
}

fn unpack(frame: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let _ = match frame {
        [0x1f, 0x8b, ..] => {
            flate2::bufread::GzDecoder::new(frame).take(UNPACKED_MAX).read_to_end(&mut unpacked)
        }
        _ => zstd::Decoder::with_buffer(frame)
            .and_then(|decoder| decoder.take(UNPACKED_MAX).read_to_end(&mut unpacked)),
    };
    unpacked
}

fn gzip(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut builder = flate2::GzBuilder::new();
    if dice.one_in(2) {
        builder = builder.extra(vec![1; dice.below(300)]);
    }
    if dice.one_in(2) {
        builder = builder.filename(vec![b'n'; 1 + dice.below(300)]).comment("c");
    }
    let level = flate2::Compression::new(*dice.pick(&[0, 1, 9]));
    let mut encoder = builder.write(Vec::new(), level);
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn zstd_frame(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let pack = |dice: &mut Dice| {
        let mut encoder = zstd::Encoder::new(Vec::new(), *dice.pick(&[1, 3]))?;
        encoder.include_checksum(dice.one_in(2))?;
        // Large windows cost the encoder, too.
        encoder.window_log(if dice.one_in(50) { 27 } else { 10 + dice.below(9) as u32 })?;
        if dice.one_in(2) {
            encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
        }
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    pack(dice).unwrap_or_default()
}

fn filler(dice: &mut Dice) -> Vec<u8> {
    let bytes = vec![b'f'; dice.below(600)];
    match dice.below(4) {
        0 => vec![0; 1 + dice.below(600)],
        1 => {
            let said =
                if dice.one_in(8) { dice.number(bytes.len() as u64) as u32 } else { bytes.len() as u32 };
            [&[0x50 | dice.below(16) as u8, 0x2a, 0x4d, 0x18], &said.to_le_bytes()[..], &bytes].concat()
        }
        2 => gzip(&bytes, dice),
        _ => zstd_frame(&bytes, dice),
    }
}
