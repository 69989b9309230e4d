//! Archives: members taken out, put in, doubled; header fields at their edges; PAX records with right lengths; sparse
//! members of every form. Checksums are right but for one in sixteen.

use crate::Dice;

type Block = [u8; 512];

/// A header with what belongs to it.
#[derive(Clone)]
struct Member {
    header: Block,
    /// Blocks with more slots of a GNU sparse map.
    slots: Vec<Block>,
    data: Vec<u8>,
    /// Leave the header's size as it is, whatever the data.
    keep_size: bool,
}

const TYPES: &[u8] = b"0\x0012345670xgLKSSVMDA";
const NAMES: &[&[u8]] = &[
    b"a",
    b"a/",
    b"a/b",
    b"./a",
    b"../a",
    b"/a/../b",
    b"",
    b".",
    b"a\0b",
    b".wh.a",
    b"a/.wh..wh..opq",
    b"b//c/",
    b"\xff",
    &[b'n'; 100],
    &[b'n'; 101],
    &[b'd'; 255],
    &[b'/'; 99],
];
const KEYS: &[&[u8]] = &[
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"atime",
    b"comment",
    b"SCHILY.xattr.user.a",
    b"SCHILY.xattr.",
    b"SCHILY.xattr.security.selinux",
    b"LIBARCHIVE.xattr.user.a",
    b"GNU.sparse.name",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.size",
    b"GNU.sparse.realsize",
    b"GNU.sparse.map",
    b"GNU.sparse.offset",
    b"GNU.sparse.numbytes",
    b"hdrcharset",
    b"",
];
const VALUES: &[&[u8]] = &[
    b"0",
    b"1",
    b"64",
    b"65",
    b"512",
    b"-1",
    b"1.5",
    b"-0.000000001",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e9",
    b"",
    b"a",
    b"\0",
    b"\n",
    b"0,1",
    b"0,512,1024,512",
    b"0,",
    b"../x",
    b"a=b",
    b"1234567890.1234567891",
];

/// Makes another archive of one.
pub fn change(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let (mut members, mut tail) = split(data);
    for _ in 0..=dice.below(3) {
        step(&mut members, &mut tail, dice);
    }
    Some(join(&members, &tail, dice))
}

fn split(mut rest: &[u8]) -> (Vec<Member>, Vec<u8>) {
    let mut members = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<512>() {
        if header.iter().all(|&byte| byte == 0) || members.len() > 500 {
            break;
        }
        let mut after = after;
        let mut slots = Vec::new();
        let mut more = header[156] == b'S' && header[482] != 0;
        while more && let Some((block, next)) = after.split_first_chunk::<512>() {
            slots.push(*block);
            (more, after) = (block[504] != 0, next);
        }
        let size = usize::try_from(size_of(header)).unwrap_or(usize::MAX);
        let here = size.min(after.len());
        let data = after[..here].to_vec();
        let padded = here.next_multiple_of(512).min(after.len());
        members.push(Member { header: *header, slots, data, keep_size: size != here });
        rest = &after[padded..];
    }
    (members, rest.to_vec())
}

fn size_of(header: &Block) -> u64 {
    let field = &header[124..136];
    if field[0] & 0x80 != 0 {
        return u64::from_be_bytes(field[4..].try_into().unwrap_or_default());
    }
    let digits = field.iter().filter(|byte| (b'0'..=b'7').contains(byte));
    digits.fold(0, |size: u64, digit| size << 3 | u64::from(digit & 7))
}

fn join(members: &[Member], tail: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        let mut header = member.header;
        if !member.keep_size {
            number(&mut header[124..136], member.data.len() as u64, 0);
        }
        if !dice.one_in(16) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
        out.extend_from_slice(&header);
        out.extend(member.slots.iter().flatten());
        out.extend_from_slice(&member.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(tail);
    out
}

/// Writes a number as octal digits or, if told so, in base 256.
fn number(field: &mut [u8], value: u64, base256: usize) {
    let octal = format!("{value:0width$o}", width = field.len() - 1);
    field.fill(0);
    if octal.len() < field.len() && base256 == 0 {
        field[..octal.len()].copy_from_slice(octal.as_bytes());
        return;
    }
    let bytes = value.to_be_bytes();
    let most = field.len().min(8);
    let start = field.len() - most;
    field[start..].copy_from_slice(&bytes[8 - most..]);
    field[0] |= 0x80;
}

fn step(members: &mut Vec<Member>, tail: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(members.len() + 1);
    match dice.below(12) {
        0 => dice.shuffle(members),
        1 => members.insert(at, plain(dice)),
        2 => members.splice(at..at, pax(dice)).for_each(drop),
        3 => members.splice(at..at, sparse(dice)).for_each(drop),
        4 => members.insert(at, long(dice)),
        5 => match dice.below(3) {
            0 => tail.clear(),
            1 => tail.resize(1024, 0),
            _ => dice.bytes(tail, 512),
        },
        choice => {
            let Some(member) = dice.pick_mut(members) else { return members.push(plain(dice)) };
            match choice {
                6 => dice.bytes(&mut member.data, 64),
                7 => {
                    let length = member.data.len();
                    let next = dice.number(length as u64).min(4096) as usize;
                    member.data.resize(next, b'd');
                }
                8 if matches!(member.header[156], b'x' | b'g') => records(&mut member.data, dice),
                8 | 9 => field(member, dice),
                10 if !member.slots.is_empty() => {
                    if let Some(block) = dice.pick_mut(&mut member.slots) {
                        let slot = dice.below(42) * 12;
                        number(&mut block[slot..slot + 12], dice.number(512), dice.below(2));
                    }
                }
                _ => {
                    let mut header = member.header.to_vec();
                    dice.bytes(&mut header, 1);
                    header.resize(512, 0);
                    member.header.copy_from_slice(&header);
                }
            }
        }
    }
}

fn field(member: &mut Member, dice: &mut Dice) {
    let header = &mut member.header;
    let mut put = |at: usize, most: usize, text: &[u8]| {
        header[at..at + most].fill(0);
        let length = text.len().min(most);
        header[at..at + length].copy_from_slice(&text[..length]);
    };
    match dice.below(8) {
        0 => put(156, 1, &[*dice.pick(TYPES)]),
        1 => put(0, 100, dice.word(NAMES)),
        2 => put(157, 100, dice.word(NAMES)),
        3 => put(345, 155, dice.word(NAMES)),
        4 => put(257, 8, *dice.pick(&[&b"ustar\x0000"[..], b"ustar  \0", b"", b"ustar\0\0\0"])),
        5 => {
            let value = dice.number(member.data.len() as u64);
            number(&mut header[124..136], value, dice.below(2));
            member.keep_size = true;
        }
        _ => {
            let (at, length) = *dice.pick(&[
                (100, 8),
                (108, 8),
                (116, 8),
                (136, 12),
                (329, 8),
                (337, 8),
                (386, 12),
                (398, 12),
                (483, 12),
            ]);
            number(&mut header[at..at + length], dice.number(1), dice.below(2));
            if dice.one_in(8) {
                header[at] = *dice.pick(&[0xff, 0x80, b' ', b'-', b'9', 0]);
            }
        }
    }
}

fn header(type_flag: u8, name: &[u8], size: usize) -> Block {
    let mut header = [0; 512];
    let length = name.len().min(100);
    header[..length].copy_from_slice(&name[..length]);
    for (at, length, value) in
        [(100, 8, 0o644), (108, 8, 0), (116, 8, 0), (124, 12, size as u64), (136, 12, 1)]
    {
        number(&mut header[at..at + length], value, 0);
    }
    header[156] = type_flag;
    header[257..265].copy_from_slice(if type_flag == b'S' { b"ustar  \0" } else { b"ustar\x0000" });
    header
}

fn member(type_flag: u8, name: &[u8], data: Vec<u8>) -> Member {
    Member { header: header(type_flag, name, data.len()), slots: Vec::new(), data, keep_size: false }
}

fn plain(dice: &mut Dice) -> Member {
    let kind = *dice.pick(b"0005123467");
    let size = if kind == b'0' { *dice.pick(&[0, 1, 64, 65, 512, 700]) } else { 0 };
    let mut made = member(kind, dice.word(NAMES), vec![b'c'; size]);
    if matches!(kind, b'1' | b'2') {
        let target = dice.word(NAMES);
        let length = target.len().min(100);
        made.header[157..157 + length].copy_from_slice(&target[..length]);
    }
    made
}

fn long(dice: &mut Dice) -> Member {
    let mut name = dice.word(NAMES).repeat(1 + dice.below(4));
    if !dice.one_in(4) {
        name.push(0);
    }
    let mut made = member(*dice.pick(b"LK"), b"././@LongLink", name);
    made.header[257..265].copy_from_slice(b"ustar  \0");
    made
}

/// A record with its length in front.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn pax(dice: &mut Dice) -> Vec<Member> {
    let records: Vec<u8> =
        (0..=dice.below(3)).flat_map(|_| record(dice.word(KEYS), dice.word(VALUES))).collect();
    vec![member(*dice.pick(b"xxxg"), b"PaxHeaders/a", records), plain(dice)]
}

/// Takes records apart; what is none is left out.
fn split_records(mut data: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(blank) = data.iter().position(|&byte| byte == b' ') {
        let length = std::str::from_utf8(&data[..blank]).ok().and_then(|text| text.parse::<usize>().ok());
        let Some(body) = length.and_then(|length| data.get(blank + 1..length)) else { break };
        let equals = body.iter().position(|&byte| byte == b'=').unwrap_or(0);
        let value = body.get(equals + 1..body.len().saturating_sub(1)).unwrap_or_default();
        records.push((body[..equals].to_vec(), value.to_vec()));
        data = &data[length.unwrap_or(data.len())..];
    }
    records
}

/// Changes the records of a PAX header.
pub fn records(data: &mut Vec<u8>, dice: &mut Dice) {
    let mut records = split_records(data);
    let new = |dice: &mut Dice| (dice.word(KEYS).to_vec(), dice.word(VALUES).to_vec());
    match (dice.below(6), records.is_empty()) {
        (0, _) | (_, true) => {
            let at = dice.below(records.len() + 1);
            records.insert(at, new(dice));
        }
        (1, _) => dice.shuffle(&mut records),
        (choice, _) => {
            if let Some((key, value)) = dice.pick_mut(&mut records) {
                match choice {
                    2 => *key = dice.word(KEYS).to_vec(),
                    3 => *value = dice.word(VALUES).to_vec(),
                    4 => dice.bytes(key, 16),
                    _ => dice.bytes(value, 64),
                }
            }
        }
    }
    *data = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    if dice.one_in(16) {
        dice.bytes(data, 8);
    }
}

/// A sparse member of any of the four forms, its map true but for one number now and then.
fn sparse(dice: &mut Dice) -> Vec<Member> {
    let (mut segments, mut end, mut stored) = (Vec::new(), 0, 0);
    for _ in 0..dice.below(30) {
        let (hole, length) = (*dice.pick(&[0, 1, 512, 4096]), *dice.pick(&[0, 1, 33, 512]));
        segments.push((end + hole, length));
        (end, stored) = (end + hole + length, stored + length as usize);
    }
    let mut real = end + *dice.pick(&[0, 1, 4096]);
    if dice.one_in(4) {
        match dice.pick_mut(&mut segments) {
            Some((offset, _)) if dice.one_in(2) => *offset = dice.number(*offset),
            Some((_, length)) => *length = dice.number(*length),
            None => real = dice.number(real),
        }
    }
    let data = vec![b's'; stored];
    let text = |number: u64| number.to_string().into_bytes();
    let set = |records: &[(&[u8], Vec<u8>)]| {
        member(b'x', b"PaxHeaders/s", records.iter().flat_map(|(key, value)| record(key, value)).collect())
    };
    match dice.below(4) {
        0 => {
            let mut made = member(b'S', b"sparse", data);
            let mut slots = segments.iter().flat_map(|&(offset, length)| [offset, length]);
            let mut fill = |area: &mut [u8]| {
                for slot in area.chunks_exact_mut(12) {
                    if let Some(value) = slots.next() {
                        number(slot, value, 0);
                    }
                }
            };
            fill(&mut made.header[386..482]);
            let blocks = segments.len().saturating_sub(4).div_ceil(21);
            made.header[482] = u8::from(blocks > 0);
            for index in 0..blocks {
                let mut block = [0; 512];
                fill(&mut block[..504]);
                block[504] = u8::from(index + 1 < blocks);
                made.slots.push(block);
            }
            number(&mut made.header[483..495], real, 0);
            vec![made]
        }
        1 => {
            let mut records = vec![(&b"GNU.sparse.size"[..], text(real))];
            for (offset, length) in segments {
                records.push((b"GNU.sparse.offset", text(offset)));
                records.push((b"GNU.sparse.numbytes", text(length)));
            }
            vec![set(&records), member(b'0', b"sparse", data)]
        }
        2 => {
            let map: Vec<_> = segments.iter().map(|(offset, length)| format!("{offset},{length}")).collect();
            let map = map.join(",").into_bytes();
            let records = [
                (&b"GNU.sparse.size"[..], text(real)),
                (b"GNU.sparse.map", map),
                (b"GNU.sparse.name", b"sparse".to_vec()),
            ];
            vec![set(&records), member(b'0', b"GNUSparseFile.1/sparse", data)]
        }
        _ => {
            let mut lines = format!("{}\n", segments.len());
            lines.extend(segments.iter().map(|(offset, length)| format!("{offset}\n{length}\n")));
            let mut body = lines.into_bytes();
            body.resize(body.len().next_multiple_of(512), 0);
            body.extend(data);
            let records = [
                (&b"GNU.sparse.major"[..], text(1)),
                (b"GNU.sparse.minor", text(0)),
                (b"GNU.sparse.realsize", text(real)),
                (b"GNU.sparse.name", b"sparse".to_vec()),
            ];
            vec![set(&records), member(b'0', b"GNUSparseFile.1/sparse", body)]
        }
    }
}

/// Makes other PAX records of some.
pub fn change_records(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut made = data.to_vec();
    for _ in 0..=dice.below(3) {
        records(&mut made, dice);
    }
    Some(made)
}
