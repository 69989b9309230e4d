//! Images: made anew from a tree at random, or a field of one changed: superblock, inode, directory entry, attribute.

use composefs::{
    digest::Algorithm,
    dumpfile,
    erofs::{self, FormatVersion, Image, ReadLimits, WriteOptions, read::Inode},
};

use crate::Dice;

/// Inodes that are looked for.
const INODES_MAX: usize = 500;

/// Makes another image of one.
pub fn change(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    if dice.one_in(12) {
        return image(dice);
    }
    let mut made = data.to_vec();
    let limits = ReadLimits::default().image_bytes(4 << 20).tree_bytes(16 << 20);
    let Ok(image) = Image::open(data, &limits) else {
        superblock(&mut made, dice);
        return Some(made);
    };
    let inodes = inodes(&image);
    for _ in 0..=dice.below(3) {
        match dice.below(8) {
            0 => superblock(&mut made, dice),
            1..=3 => inode(&mut made, &inodes, dice),
            4 | 5 => entry(&mut made, data, &inodes, dice),
            6 => attribute(&mut made, data, &inodes, dice),
            _ => {
                // A piece from elsewhere: half inodes, doubled directories.
                let (from, to) = (dice.below(data.len() / 4) * 4, dice.below(data.len() / 4) * 4);
                let length = (4 << dice.below(8)).min(data.len() - from.max(to));
                made[to..to + length].copy_from_slice(&data[from..from + length]);
            }
        }
    }
    Some(made)
}

/// Finds inodes by the names that lead to them, breadth first.
fn inodes<'i>(image: &Image<'i>) -> Vec<Inode<'i>> {
    let mut found: Vec<Inode<'i>> = image.inode(image.root_nid()).ok().into_iter().collect();
    let mut next = 0;
    while next < found.len() && found.len() < INODES_MAX {
        for entry in found[next].entries().flatten().take(INODES_MAX) {
            // The stubs of the root are all alike.
            if entry.is_dots()
                || found.iter().any(|inode| inode.nid() == entry.nid)
                || entry.name.len() == 2 && found.len() > 20
            {
                continue;
            }
            found.extend(image.inode(entry.nid).ok());
        }
        next += 1;
    }
    found
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = image.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

fn number_at(image: &[u8], at: usize, size: usize) -> u64 {
    let bytes = image.get(at..at + size).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Changes a number of `size` bytes.
fn number(image: &mut [u8], at: usize, size: usize, dice: &mut Dice) {
    let value = dice.number(number_at(image, at, size));
    put(image, at, &value.to_le_bytes()[..size]);
}

fn superblock(image: &mut [u8], dice: &mut Dice) {
    let (at, size) = *dice.pick(&[
        (12, 4),
        (1024 + 14, 2),
        (1024 + 16, 8),
        (1024 + 24, 8),
        (1024 + 32, 4),
        (1024 + 36, 4),
        (1024 + 44, 4),
        (1024 + 8, 4),
        (1024 + 80, 4),
    ]);
    number(image, at, size, dice);
}

fn inode(image: &mut [u8], inodes: &[Inode<'_>], dice: &mut Dice) {
    if inodes.is_empty() {
        return;
    }
    let (inode, other) = (dice.pick(inodes), dice.pick(inodes));
    let (at, from) = (inode.nid() as usize * 32, other.nid() as usize * 32);
    let extended = number_at(image, at, 2) & 1 != 0;
    // Format, attributes, mode, size, block or device, inode number, owner, times, links.
    let fields: &[(usize, usize)] = match extended {
        true => {
            &[(0, 2), (2, 2), (4, 2), (8, 8), (16, 4), (20, 4), (24, 4), (28, 4), (32, 8), (40, 4), (44, 4)]
        }
        false => &[(0, 2), (2, 2), (4, 2), (6, 2), (8, 4), (16, 4), (20, 4), (24, 2), (26, 2)],
    };
    let (field, size) = *dice.pick(fields);
    if dice.one_in(3) {
        let value = number_at(image, from + field, size);
        put(image, at + field, &value.to_le_bytes()[..size]);
    } else {
        number(image, at + field, size, dice);
    }
}

/// Tells where in the image a piece of it lies.
fn place(data: &[u8], piece: &[u8]) -> Option<usize> {
    (piece.as_ptr() as usize).checked_sub(data.as_ptr() as usize).filter(|at| at + piece.len() <= data.len())
}

fn entry(image: &mut [u8], data: &[u8], inodes: &[Inode<'_>], dice: &mut Dice) {
    let directories: Vec<_> = inodes.iter().filter(|inode| inode.is_directory()).collect();
    if directories.is_empty() {
        return;
    }
    let contents = dice.pick(&directories).contents();
    let piece = if contents.tail.is_empty() || dice.one_in(2) { contents.blocks } else { contents.tail };
    let Some(start) = place(data, piece).filter(|_| piece.len() > 12) else { return };
    let block = start + dice.below(piece.len().div_ceil(4096)) * 4096;
    let count = number_at(data, block + 8, 2) as usize / 12;
    let at = block + dice.below(count) * 12;
    match dice.below(4) {
        0 => put(image, at, &dice.pick(inodes).nid().to_le_bytes()),
        1 => number(image, at + 8, 2, dice),
        2 => put(image, at + 10, &[dice.below(9) as u8]),
        _ => {
            let name = block + number_at(data, at + 8, 2) as usize + dice.below(6);
            put(image, name, &[*dice.pick(b"\0/.az\xff")]);
        }
    }
}

fn attribute(image: &mut [u8], data: &[u8], inodes: &[Inode<'_>], dice: &mut Dice) {
    let values: Vec<_> = inodes.iter().flat_map(|inode| inode.xattrs().flatten().take(20)).collect();
    if values.is_empty() {
        return;
    }
    let xattr = dice.pick(&values);
    let Some(at) = place(data, xattr.suffix) else { return };
    // Length of the name, its prefix, length of the value; then name and value.
    match dice.below(5) {
        0 => number(image, at.wrapping_sub(4), 1, dice),
        1 => put(image, at.wrapping_sub(3), &[dice.below(10) as u8]),
        2 => number(image, at.wrapping_sub(2), 2, dice),
        _ => {
            let length = xattr.suffix.len() + xattr.value.len();
            let byte = *dice.pick(b"\0/.x\xff\x01\x02\x24");
            put(image, at + dice.below(length), &[byte]);
        }
    }
}

/// Writes an image of a tree at random.
fn image(dice: &mut Dice) -> Option<Vec<u8>> {
    let mut directories = vec![String::new()];
    let mut lines = vec![format!("/ 0 40755 2 0 0 0 1.0 - - -{}", xattrs(dice))];
    let mut files: Vec<String> = Vec::new();
    for index in 0..dice.below(60) {
        let name = ["n".repeat(1 + dice.below(250)), format!("{:02x}", dice.below(256)), ".wh.x".to_owned()];
        let path = format!("{}/{}{index}", dice.pick(&directories), dice.pick(&name));
        if path.len() > 4000 {
            continue;
        }
        let id = format!("{:064x}", dice.next());
        let object = format!("{}/{}", &id[..2], &id[2..]);
        let (uid, time) = (
            *dice.pick(&[0, 1, 65535, 65536, u32::MAX]),
            *dice.pick(&["0.0", "1.0", "-1.5", "5000000000.999999999"]),
        );
        let stat = |mode: &str, size: u64, rdev: u32| format!("{path} {size} {mode} 1 {uid} 0 {rdev} {time}");
        lines.push(match dice.below(9) {
            0 | 1 => {
                directories.push(path.clone());
                format!("{} - - -{}", stat("40755", 0, 0), xattrs(dice))
            }
            2 => format!("{} - - -", stat("10644", 0, 0)),
            3 => format!("{} - - -", stat("20600", 0, *dice.pick(&[0, 1, 259, u32::MAX]))),
            4 => format!("{} target{} - -", stat("120777", 6, 0), "/x".repeat(dice.below(900))),
            5 if !files.is_empty() => format!("{path} 0 @120000 - - - - 0.0 {} - -", dice.pick(&files)),
            6 => {
                files.push(path.clone());
                let length = 1 + dice.below(64);
                format!("{} - {} -{}", stat("100644", length as u64, 0), "c".repeat(length), xattrs(dice))
            }
            7 => format!("{} - - -", stat("100644", dice.number(4096).min(1 << 40), 0)),
            _ => {
                files.push(path.clone());
                format!(
                    "{} {object} - {id}{}",
                    stat("104755", dice.number(4096).clamp(1, 1 << 40), 0),
                    xattrs(dice)
                )
            }
        });
    }
    let tree = dumpfile::parse(lines.join("\n").as_bytes(), Algorithm::Sha256).ok()?.tree;
    let version = *dice.pick(&[FormatVersion::V0, FormatVersion::V1, FormatVersion::V2]);
    erofs::to_vec(&tree, version, &WriteOptions::default()).ok()
}

fn xattrs(dice: &mut Dice) -> String {
    const NAMES: &[&str] = &[
        "user.a",
        "security.selinux",
        "trusted.overlay.opaque",
        "system.posix_acl_access",
        "user.overlay.whiteout",
        "trusted.x",
    ];
    let mut text = String::new();
    let start = dice.below(NAMES.len() * 2);
    for name in NAMES.iter().skip(start).take(2) {
        text.push_str(&format!(" {name}={}", "v".repeat(dice.below(3) * dice.below(300))));
    }
    text
}
