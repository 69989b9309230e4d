//! Ages and sizes as people write them, and days as they read them.

use std::time::{Duration, SystemTime};

/// Reads an age: a number and s, m, h, d or w.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600), ('w', 7 * 24 * 3600)];
    let (number, unit) = split(text, &units).ok_or("give a number with a unit: s, m, h, d or w")?;
    let unit = unit.ok_or("a unit is missing: s, m, h, d or w")?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

/// Reads a size: a number of bytes, or one and K, M, G or T for binary units.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let units = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];
    let (number, unit) = split(text, &units).ok_or("give a number of bytes, or with a unit: K, M, G or T")?;
    number.checked_mul(unit.unwrap_or(1)).ok_or_else(|| "too large".to_owned())
}

/// Splits a number from its unit, if it has one.
fn split(text: &str, units: &[(char, u64)]) -> Option<(u64, Option<u64>)> {
    let unit = units.iter().find_map(|(letter, factor)| Some((text.strip_suffix(*letter)?, *factor)));
    let (digits, unit) = unit.map_or((text, None), |(digits, factor)| (digits, Some(factor)));
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| all_digits)?, unit))
}

/// Returns the day of a time, in UTC.
pub(super) fn date(time: SystemTime) -> String {
    let days = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / (24 * 3600);
    // Years of the Gregorian calendar that begin in March, in cycles of 400.
    let days = days.saturating_add(719_468);
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + cycle * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes() {
        for (text, seconds) in [("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("0s", 0)]
        {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "7", "d", "-1d", "+1d", "1.5d", "7D", "99999999999999999999d", "999999999999999999w"]
        {
            assert!(age(bad).is_err(), "{bad}");
        }
        for (text, bytes) in [("0", 0), ("1000", 1000), ("2K", 2048), ("20G", 20 << 30), ("1T", 1 << 40)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for bad in ["", "G", "20g", "20GB", "-1", "99999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
