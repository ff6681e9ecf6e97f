//! Times in UTC; they are counted in milliseconds since 1970.

/// `2026-11-28T13:05:09Z`, as ISO 8601 has it.
pub fn iso(milliseconds: i64) -> String {
    let (year, month, day) = civil(milliseconds);
    let seconds = milliseconds.div_euclid(1000).rem_euclid(24 * 60 * 60);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day. Counted in years that begin with March, so that the day that some years have more is their
/// last, and in spans of 400 years, which all have as many days.
pub fn civil(milliseconds: i64) -> (i64, usize, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    /// From the first of March of the year 0 to the first day of 1970.
    const UNTIL_1970: i64 = 719_468;
    let days = milliseconds.div_euclid(24 * 60 * 60 * 1000) + UNTIL_1970;
    let (span, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    // A month is 1 to 12.
    (span * 400 + year + i64::from(month <= 2), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (milliseconds, day) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59Z"),
            (1_795_871_109_123, "2026-11-28T13:05:09Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso(milliseconds), day);
        }
    }
}
