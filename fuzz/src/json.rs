//! JSON: values taken out, exchanged, moved, made deep or long; what comes out is JSON again.

use serde_json::Value;

use crate::Dice;

const TEXTS: &[&str] = &[
    "",
    "a",
    "latest",
    "../x",
    "/",
    "\0",
    "\u{ffff}",
    "linux",
    "amd64",
    "sha256:",
    "sha512:00",
    "1.5",
    "-1",
    "geheim",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha256:E3B0",
    "md5:d41d8cd98f00b204e9800998ecf8427e",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "org.opencontainers.image.ref.name",
    "2024-01-01T00:00:00Z",
    "Z2VoZWltOmdlaGVpbQ==",
    "fsverity-sha256-12",
    "fsverity-sha512-12",
];

/// Makes another document of one.
pub fn change(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(data).ok()?;
    for _ in 0..=dice.below(3) {
        step(&mut document, dice);
    }
    let mut made = match dice.below(4) {
        0 => serde_json::to_vec_pretty(&document).ok()?,
        _ => serde_json::to_vec(&document).ok()?,
    };
    if dice.one_in(16) {
        // A key given twice, which no value can hold.
        let at = made.iter().position(|&byte| byte == b'{')?;
        let end = made.iter().position(|&byte| byte == b',')?;
        if at < end {
            made.splice(at + 1..at + 1, made[at + 1..=end].to_vec());
        }
    }
    Some(made)
}

/// Changes one of the documents between bytes `separator`; what stands in a document up to `head` is left as it is.
pub fn change_one(data: &[u8], dice: &mut Dice, separator: u8, head: Option<u8>) -> Option<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = data.split(|&byte| byte == separator).map(<[u8]>::to_vec).collect();
    if dice.one_in(5) {
        dice.shuffle(&mut parts);
    } else {
        let part = dice.pick_mut(&mut parts)?;
        let start = head.and_then(|head| part.iter().position(|&byte| byte == head)).map_or(0, |at| at + 1);
        match change(&part[start..], dice) {
            Some(changed) => part.splice(start.., changed).for_each(drop),
            None => dice.bytes(part, 32),
        }
    }
    Some(parts.join(&separator))
}

/// Finds a value at random: the one itself, or one within.
fn within<'v>(mut value: &'v mut Value, dice: &mut Dice) -> &'v mut Value {
    loop {
        let count = match value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        };
        if count == 0 || dice.one_in(4) {
            return value;
        }
        let at = dice.below(count);
        value = match value {
            Value::Array(list) => &mut list[at],
            Value::Object(map) => map.values_mut().nth(at).expect("below its length"),
            scalar => return scalar,
        };
    }
}

fn made(dice: &mut Dice) -> Value {
    match dice.below(9) {
        0 => Value::Null,
        1 => Value::Bool(dice.one_in(2)),
        2 => Value::from(dice.number(1)),
        3 => Value::from(-(dice.below(1000) as i64)),
        4 => Value::from(1.5e300),
        5 => Value::Array(Vec::new()),
        6 => Value::Object(serde_json::Map::new()),
        7 => Value::from((*dice.pick(TEXTS)).repeat(1 + dice.below(3) * dice.below(100))),
        _ => {
            let deep = *dice.pick(&[1, 10, 126, 127, 128]);
            (0..deep).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
        }
    }
}

fn step(document: &mut Value, dice: &mut Dice) {
    let copy = within(document, dice).clone();
    let target = within(document, dice);
    match (dice.below(6), &mut *target) {
        (0, _) => *target = made(dice),
        (1, _) => *target = copy,
        (_, Value::Array(list)) => match dice.below(3) {
            0 => list.push(copy),
            1 => {
                // Copies of copies would grow without end.
                let small = |value: &&Value| value.to_string().len() < 256;
                let more = *dice.pick(&[2, 20, 300]);
                list.extend(
                    list.first().filter(small).map(|first| vec![first.clone(); more]).unwrap_or_default(),
                );
            }
            _ => dice.shuffle(list),
        },
        (_, Value::Object(map)) => {
            let key = map.keys().nth(dice.below(map.len())).cloned();
            let taken = key.as_ref().and_then(|key| map.remove(key));
            match (dice.below(3), key) {
                (0, _) => {}
                (1, Some(key)) => drop(map.insert(key, made(dice))),
                _ => drop(map.insert((*dice.pick(TEXTS)).to_owned(), taken.unwrap_or(copy))),
            }
        }
        (2, Value::String(text)) => (*dice.pick(TEXTS)).clone_into(text),
        (_, Value::String(text)) => {
            let mut bytes = std::mem::take(text).into_bytes();
            dice.bytes(&mut bytes, 16);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        (_, Value::Number(number)) => *target = Value::from(dice.number(number.as_u64().unwrap_or(0))),
        _ => *target = made(dice),
    }
}
