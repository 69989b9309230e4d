//! From PCRE's dialect to ours, for expressions that ours refuses.
//!
//! Policies are written for PCRE. What is the same in both is not translated; what a machine that runs in linear
//! time cannot do (looking around, references, atomic groups) is refused.

use std::fmt::Write as _;

/// Bytes in a class.
struct Class([bool; 256]);

impl Class {
    fn add(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            if let Some(slot) = self.0.get_mut(usize::from(byte)) {
                *slot = true;
            }
        }
    }

    fn add_where(&mut self, test: impl Fn(u8) -> bool) {
        for byte in 0..=u8::MAX {
            if test(byte) {
                self.add(byte, byte);
            }
        }
    }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

/// The test behind a class escape such as `\d`.
fn class_escape(letter: u8) -> Option<fn(u8) -> bool> {
    Some(match letter {
        b'd' => |byte| byte.is_ascii_digit(),
        b'D' => |byte| !byte.is_ascii_digit(),
        b'w' => word,
        b'W' => |byte| !word(byte),
        b's' => space,
        b'S' => |byte| !space(byte),
        b'h' => |byte| matches!(byte, b' ' | b'\t' | 0xa0),
        b'H' => |byte| !matches!(byte, b' ' | b'\t' | 0xa0),
        b'v' => |byte| matches!(byte, 10..=13 | 0x85),
        b'V' => |byte| !matches!(byte, 10..=13 | 0x85),
        _ => return None,
    })
}

fn posix(name: &[u8]) -> Option<fn(u8) -> bool> {
    Some(match name {
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"space" => space,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"print" => |byte| matches!(byte, 32..=126),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        b"word" => word,
        b"ascii" => |byte| byte.is_ascii(),
        _ => return None,
    })
}

struct Translation<'p> {
    rest: &'p [u8],
    out: String,
    /// Whether a quantifier may follow.
    atom: bool,
}

/// Translates a whole expression; `None` if it cannot be.
pub(super) fn translate(pattern: &str) -> Option<String> {
    let mut translation = Translation { rest: pattern.as_bytes(), out: String::new(), atom: false };
    while !translation.rest.is_empty() {
        translation.step()?;
    }
    Some(translation.out)
}

impl<'p> Translation<'p> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, prefix: &[u8]) -> bool {
        let stripped = self.rest.strip_prefix(prefix);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    fn take_while(&mut self, max: usize, test: impl Fn(u8) -> bool) -> &'p [u8] {
        let length = self.rest.iter().take(max).take_while(|byte| test(**byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn until(&mut self, end: &[u8]) -> Option<&'p [u8]> {
        let at = self.rest.windows(end.len()).position(|window| window == end)?;
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest.get(end.len()..)?;
        Some(taken)
    }

    fn literal(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(char::from(byte));
        } else {
            let _ = write!(self.out, "\\x{byte:02x}");
        }
        self.atom = true;
    }

    fn class(&mut self, negated: bool, class: &Class) {
        self.out.push_str(if negated { "[^" } else { "[" });
        // As ranges: a byte each would be hundreds of times what `\D` is.
        let mut next = 0_u8;
        for run in class.0.chunk_by(|one, other| one == other) {
            let (first, length) = (next, u8::try_from(run.len().saturating_sub(1)).unwrap_or(u8::MAX));
            let last = first.saturating_add(length);
            next = last.wrapping_add(1);
            if run.first() == Some(&true) {
                let _ = write!(self.out, "\\x{first:02x}-\\x{last:02x}");
            }
        }
        self.out.push(']');
        self.atom = true;
    }

    fn step(&mut self) -> Option<()> {
        let byte = self.next()?;
        match byte {
            b'\\' => return self.escape(),
            b'[' => return self.bracket(),
            b'(' => return self.group(),
            b')' => {
                self.out.push(')');
                self.atom = true;
            }
            b'|' | b'^' | b'$' => {
                self.out.push(char::from(byte));
                self.atom = false;
            }
            // Unlike in our dialect, where a line feed is a byte like any other.
            b'.' => {
                self.out.push_str("[^\\n]");
                self.atom = true;
            }
            b'*' | b'+' | b'?' => self.quantifier(&char::from(byte).to_string())?,
            b'{' => match self.counts() {
                Some(counts) => self.quantifier(&counts)?,
                None => self.literal(b'{'),
            },
            other => self.literal(other),
        }
        Some(())
    }

    /// Reads `n}`, `n,}`, `n,m}` or `,m}`; nothing is read if none of them is there.
    fn counts(&mut self) -> Option<String> {
        let before = self.rest;
        let digits = |byte: u8| byte.is_ascii_digit();
        let least = self.take_while(6, digits);
        let comma = self.eat(b",");
        let most = if comma { self.take_while(6, digits) } else { &[][..] };
        if !self.eat(b"}") || least.is_empty() && most.is_empty() {
            self.rest = before;
            return None;
        }
        let text = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
        let least = if least.is_empty() { "0".to_owned() } else { text(least) };
        Some(if comma { format!("{{{least},{}}}", text(most)) } else { format!("{{{least}}}") })
    }

    fn quantifier(&mut self, text: &str) -> Option<()> {
        // Greedy or lazy makes no difference to whether a path matches; possessive does.
        if !self.atom || self.eat(b"+") {
            return None;
        }
        self.eat(b"?");
        self.out.push_str(text);
        Some(())
    }

    fn octal(digits: &[u8]) -> Option<u8> {
        let value = digits.iter().try_fold(0_u16, |value, digit| {
            value.checked_mul(8)?.checked_add(u16::from(digit.checked_sub(b'0')?))
        })?;
        u8::try_from(value).ok()
    }

    /// Reads an escape of one byte, behind the backslash and `letter`.
    fn byte_escape(&mut self, letter: u8, in_class: bool) -> Option<u8> {
        let octal = |byte: u8| matches!(byte, b'0'..=b'7');
        Some(match letter {
            b'a' => 7,
            b'e' => 27,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'b' if in_class => 8,
            b'c' => self.next()?.to_ascii_uppercase() ^ 64,
            b'0' => Self::octal(self.take_while(2, octal))?,
            b'1'..=b'7' => {
                let more = self.take_while(2, octal);
                if more.len() < 2 && !in_class {
                    return None;
                }
                Self::octal(&[&[letter], more].concat())?
            }
            b'x' => {
                let digits = match self.eat(b"{") {
                    true => self.until(b"}")?,
                    false => self.take_while(2, |byte| byte.is_ascii_hexdigit()),
                };
                match digits {
                    [] => 0,
                    digits => u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?,
                }
            }
            other if !other.is_ascii_alphanumeric() => other,
            _ => return None,
        })
    }

    fn escape(&mut self) -> Option<()> {
        let letter = self.next()?;
        match letter {
            b'Q' => {
                let quoted = self.until(b"\\E").unwrap_or_else(|| std::mem::take(&mut self.rest));
                for byte in quoted {
                    self.literal(*byte);
                }
            }
            b'E' => {}
            b'A' | b'z' | b'b' | b'B' => {
                let _ = write!(self.out, "\\{}", char::from(letter));
                self.atom = false;
            }
            // The letter of the type, no line feed, is last.
            b'Z' => self.out.push_str("\\z"),
            b'N' => self.out.push_str("[^\\n]"),
            letter => match class_escape(letter) {
                Some(test) => {
                    let mut class = Class([false; 256]);
                    class.add_where(test);
                    self.class(false, &class);
                }
                None => {
                    let byte = self.byte_escape(letter, false)?;
                    self.literal(byte);
                }
            },
        }
        if letter == b'N' {
            self.atom = true;
        }
        Some(())
    }

    fn group(&mut self) -> Option<()> {
        self.atom = false;
        if self.rest.first() == Some(&b'*') {
            return None;
        }
        if !self.eat(b"?") {
            self.out.push('(');
            return Some(());
        }
        if self.eat(b"#") {
            self.until(b")")?;
            return Some(());
        }
        let named = self.eat(b"P<")
            || self.rest.first() == Some(&b'<') && {
                let lookbehind = matches!(self.rest.get(1), Some(b'=' | b'!'));
                !lookbehind && self.eat(b"<")
            };
        if named {
            self.until(b">")?;
            self.out.push('(');
            return Some(());
        }
        let flags = self.take_while(8, |byte| matches!(byte, b'i' | b'-'));
        let end = self.next().filter(|end| matches!(end, b':' | b')'))?;
        let _ = write!(self.out, "(?{}{}", String::from_utf8_lossy(flags), char::from(end));
        Some(())
    }

    fn bracket(&mut self) -> Option<()> {
        let negated = self.eat(b"^");
        let mut class = Class([false; 256]);
        let mut first = true;
        loop {
            let byte = self.next()?;
            if byte == b']' && !std::mem::take(&mut first) {
                break;
            }
            first = false;
            if byte == b'[' && matches!(self.rest.first(), Some(b':' | b'.' | b'=')) {
                let before = self.rest;
                self.next();
                let name = self.until(b":]");
                if let Some(name) = name.filter(|name| name.iter().all(|byte| word(*byte) || *byte == b'^')) {
                    match name.strip_prefix(b"^") {
                        Some(name) => class.add_where(|byte| posix(name).is_some_and(|test| !test(byte))),
                        None => class.add_where(posix(name)?),
                    }
                    continue;
                }
                self.rest = before;
            }
            if byte == b'\\' && self.eat(b"Q") {
                for byte in self.until(b"\\E")? {
                    class.add(*byte, *byte);
                }
                continue;
            }
            let Some(low) = self.class_member(byte, &mut class)? else { continue };
            if self.rest.first() == Some(&b'-') && self.rest.get(1).is_some_and(|next| *next != b']') {
                self.next();
                let byte = self.next()?;
                let high = self.class_member(byte, &mut class)?.filter(|high| *high >= low)?;
                class.add(low, high);
            } else {
                class.add(low, low);
            }
        }
        self.class(negated, &class);
        Some(())
    }

    /// Reads a member of a class: a byte, or nothing if it was a class itself and is added already.
    fn class_member(&mut self, byte: u8, class: &mut Class) -> Option<Option<u8>> {
        if byte != b'\\' {
            return Some(Some(byte));
        }
        let letter = self.next()?;
        if let Some(test) = class_escape(letter) {
            class.add_where(test);
            return Some(None);
        }
        if matches!(letter, b'8' | b'9') {
            return Some(Some(letter));
        }
        self.byte_escape(letter, true).map(Some)
    }
}
