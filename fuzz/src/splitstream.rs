//! Splitstreams of all three layouts: tables and chunks changed as what they are, compressed again, every offset right.

use std::io::Read as _;

use crate::Dice;

/// The most bytes of a section that are unpacked.
const UNPACKED_MAX: u64 = 1 << 18;
const MAGIC: &[u8] = b"SplitStream";

/// A stream taken apart; one of the 0.3 format has nothing but chunks and, in `streams`, its map.
#[derive(Clone)]
struct Apart {
    layout: Layout,
    /// The kernel's number of the algorithm.
    algorithm: u8,
    streams: Vec<u8>,
    objects: Vec<u8>,
    names: Vec<u8>,
    chunks: Vec<Chunk>,
    content_type: u64,
    size: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Current,
    Old,
    V03,
}

/// The number in front, and what belongs to it.
#[derive(Clone)]
struct Chunk(u64, Vec<u8>);

/// Makes another stream of one.
pub fn change(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut apart = split(data)?;
    for _ in 0..=dice.below(2) {
        step(&mut apart, dice);
    }
    Some(join(&apart, dice))
}

fn split(data: &[u8]) -> Option<Apart> {
    let (layout, algorithm, info) = if data.starts_with(MAGIC) {
        (Layout::Current, *data.get(14)?, 16)
    } else if data.get(18..29) == Some(MAGIC) {
        (Layout::Old, *data.get(30)?, 0)
    } else if data.starts_with(b"\x28\xb5\x2f\xfd") {
        return split_v03(data);
    } else {
        return None;
    };
    let number = |at: usize| Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
    let at = usize::try_from(number(info)?).ok().filter(|at| *at < data.len())?;
    let section = |index: usize| {
        let (start, end) = (number(at + 16 * index)?, number(at + 16 * index + 8)?);
        data.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    };
    Some(Apart {
        layout,
        algorithm,
        streams: section(0).unwrap_or_default().to_vec(),
        objects: section(1).unwrap_or_default().to_vec(),
        chunks: split_chunks(&unpack(section(2).unwrap_or_default()), layout, algorithm),
        names: unpack(section(3).unwrap_or_default()),
        content_type: number(at + 64)?,
        size: number(at + 72)?,
    })
}

/// Which algorithm a 0.3 stream is of, the repository says, so here the size of its map does.
fn split_v03(data: &[u8]) -> Option<Apart> {
    let unpacked = unpack(data);
    let (count, rest) = unpacked.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*count)).ok()?.checked_mul(64)?.min(rest.len());
    let (map, chunks) = rest.split_at(length);
    Some(Apart {
        layout: Layout::V03,
        algorithm: 1,
        streams: map.to_vec(),
        objects: Vec::new(),
        names: Vec::new(),
        chunks: split_chunks(chunks, Layout::V03, 1),
        content_type: 0,
        size: 0,
    })
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    if let Ok(decoder) = zstd::Decoder::with_buffer(packed) {
        let _ = decoder.take(UNPACKED_MAX).read_to_end(&mut unpacked);
    }
    unpacked
}

fn digest_size(algorithm: u8) -> usize {
    if algorithm == 2 { 64 } else { 32 }
}

fn split_chunks(mut bytes: &[u8], layout: Layout, algorithm: u8) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let number = u64::from_le_bytes(*header);
        let length = match layout {
            Layout::V03 if number == 0 => digest_size(algorithm) as u64,
            Layout::V03 => number,
            _ if number >> 63 == 1 => number.wrapping_neg(),
            _ => 0,
        };
        let (body, rest) = rest.split_at(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
        chunks.push(Chunk(number, body.to_vec()));
        bytes = rest;
    }
    chunks
}

fn step(apart: &mut Apart, dice: &mut Dice) {
    let digest = digest_size(apart.algorithm);
    match dice.below(11) {
        0 => {
            apart.layout = *dice.pick(&[Layout::Current, Layout::Old, Layout::V03]);
            apart.algorithm = 1 + dice.below(2) as u8;
        }
        1 => dice.shuffle(&mut apart.chunks),
        2 | 3 => {
            let count = (apart.objects.len() / digest) as u64;
            let Some(Chunk(number, bytes)) = dice.pick_mut(&mut apart.chunks) else { return };
            if bytes.is_empty() {
                *number = dice.number(count);
            } else {
                dice.bytes(bytes, 64);
                let length = bytes.len() as u64;
                *number = if apart.layout == Layout::V03 { length } else { length.wrapping_neg() };
                if dice.one_in(8) {
                    *number = dice.number(*number);
                }
            }
        }
        4 => {
            let bytes = vec![b'x'; *dice.pick(&[1, 64, 65535, 65536, 65537])];
            let length = bytes.len() as u64;
            let number = if apart.layout == Layout::V03 { length } else { length.wrapping_neg() };
            let at = dice.below(apart.chunks.len() + 1);
            apart.chunks.insert(at, Chunk(number, bytes));
        }
        5 => {
            let at = dice.below(apart.chunks.len() + 1);
            let body = if apart.layout == Layout::V03 { vec![7; digest] } else { Vec::new() };
            apart.chunks.insert(at, Chunk(0, body));
        }
        6 => ids(&mut apart.objects, digest, dice),
        7 => ids(&mut apart.streams, if apart.layout == Layout::V03 { 32 + digest } else { digest }, dice),
        8 => {
            let mut records: Vec<Vec<u8>> =
                apart.names.split_inclusive(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
            match dice.below(3) {
                0 => dice.shuffle(&mut records),
                1 => {
                    let index = dice.number(1);
                    records.push(format!("{index}:name-{}\0", dice.below(4)).into_bytes());
                }
                _ => {
                    if let Some(record) = dice.pick_mut(&mut records) {
                        dice.bytes(record, 16);
                    }
                }
            }
            apart.names = records.concat();
        }
        9 => apart.content_type = dice.number(apart.content_type),
        _ => apart.size = dice.number(apart.size),
    }
}

/// Changes a table of ids, whose length stays a multiple of theirs but for one in sixteen.
fn ids(table: &mut Vec<u8>, size: usize, dice: &mut Dice) {
    let mut list: Vec<Vec<u8>> = table.chunks(size).map(<[u8]>::to_vec).collect();
    if list.is_empty() || dice.one_in(3) {
        list.push(vec![dice.next() as u8; size]);
    }
    dice.shuffle(&mut list);
    *table = list.concat();
    if dice.one_in(16) {
        dice.bytes(table, 8);
    }
}

fn pack(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    if bytes.is_empty() && dice.one_in(2) {
        return Vec::new();
    }
    let packed = zstd::encode_all(bytes, 1).unwrap_or_default();
    match dice.below(12) {
        // Two frames, with one between that is to be skipped.
        0 => {
            let (first, second) = bytes.split_at(dice.below(bytes.len()));
            let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
            let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap_or_default();
            [&frame(first)[..], &skipped, &frame(second)].concat()
        }
        1 => [&packed[..], &[0; 3]].concat(),
        2 => packed[..packed.len().saturating_sub(1)].to_vec(),
        _ => packed,
    }
}

fn join(apart: &Apart, dice: &mut Dice) -> Vec<u8> {
    let mut chunks = Vec::new();
    for Chunk(number, bytes) in &apart.chunks {
        chunks.extend(number.to_le_bytes());
        chunks.extend(bytes);
    }
    if apart.layout == Layout::V03 {
        let entry = 32 + digest_size(apart.algorithm);
        let mut count = (apart.streams.len() / entry) as u64;
        if dice.one_in(16) {
            count = dice.number(count);
        }
        return pack(&[&count.to_le_bytes()[..], &apart.streams, &chunks].concat(), dice);
    }
    let (names, stream) = (pack(&apart.names, dice), pack(&chunks, dice));
    let mut at = 32 + 80;
    let mut info = Vec::new();
    let mut body = Vec::new();
    let mut place = |section: &[u8]| {
        let range = (at, at + section.len() as u64);
        at = range.1;
        body.extend_from_slice(section);
        range
    };
    let ranges = [&apart.streams, &apart.objects, &names, &stream].map(|section| place(section));
    let [streams, objects, names, stream] = ranges;
    for (start, end) in [streams, objects, stream, names] {
        let wrong = dice.one_in(32);
        for number in [start, end] {
            info.extend(if wrong { dice.number(number) } else { number }.to_le_bytes());
        }
    }
    info.extend(apart.content_type.to_le_bytes());
    info.extend(apart.size.to_le_bytes());
    let extent = [32_u64.to_le_bytes(), 112_u64.to_le_bytes()].concat();
    let tail = [0, apart.algorithm, 12];
    let head = match apart.layout {
        Layout::Old => [&extent[..], &[0, 0], MAGIC, &tail].concat(),
        _ => [MAGIC, &[0, 0, 0], &tail[1..], &extent].concat(),
    };
    [head, info, body].concat()
}
