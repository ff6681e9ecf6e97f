//! Numbers as arguments: one that is out of its range, or none at all, is refused with the
//! range.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::generation::bounds::Bounds;

/// Reads a whole number within a range, which `T` holds.
pub fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("it may be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Reads a number within the bounds of a setting.
pub fn number(bounds: Bounds) -> impl Fn(&str) -> Result<f64, String> + Clone {
    let range = bounds.min..=bounds.max;
    move |text| {
        // What is not a number, written so or computed so, is in no range.
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it may be a number from {} to {}", range.start(), range.end()))
    }
}

/// The bounds of a setting that counts something, for [`whole`].
pub fn of(bounds: Bounds) -> RangeInclusive<u64> {
    bounds.min as u64..=bounds.max as u64
}

/// A number of bytes, written as people do: `12GB`, `8GiB`, `500M`, or plain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write a number of bytes above 0, as 12GB, 8GiB or 500M";
        let text = text.trim().to_ascii_lowercase();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit: f64 = match text[digits.len()..].trim_start() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1024.0 * 1024.0,
            "gib" => 1024.0 * 1024.0 * 1024.0,
            "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(wrong),
        };
        let bytes = digits.parse::<f64>().map_err(|_| wrong)? * unit;
        if (1.0..=u64::MAX as f64).contains(&bytes) {
            Ok(Self(bytes as u64))
        } else {
            Err(wrong)
        }
    }
}

/// Reads a number of bytes within a range, which `T` holds, written as [`Bytes`].
pub fn bytes<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().map(|Bytes(number)| number);
        let number = number.filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("it may be a number of bytes from {least} to {most}, also written as 50MB or 8MiB")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::bounds;

    #[test]
    fn a_number_of_bytes_is_held_to_its_range() {
        let upload = bytes::<usize>(1..=1 << 40);
        assert_eq!(
            (upload("1"), upload("50MB"), upload("8 MiB")),
            (Ok(1), Ok(50_000_000), Ok(8 << 20))
        );
        for wrong in ["0", "-1", "2TiB", "", "ten"] {
            let refused = upload(wrong).expect_err(wrong);
            assert!(
                refused.starts_with("it may be a number of bytes from 1 to 1099511627776"),
                "{refused}"
            );
        }
    }

    #[test]
    fn bytes_are_written_as_people_do() {
        for (text, bytes) in [
            ("12GB", 12_000_000_000),
            (" 1.5 GiB ", 3 << 29),
            ("500m", 500_000_000),
            ("2TB", 2_000_000_000_000),
            ("20", 20),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for wrong in ["", "GB", "0", "-1GB", "0.5", "12 cats", "1e400", "nan", "inf GB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_with_the_range() {
        let beams = whole::<u16>(1..=10);
        assert_eq!((beams("1"), beams("10")), (Ok(1), Ok(10)));
        for wrong in ["0", "11", "-1", "1.5", "", "ten", "99999999999999999999999"] {
            let refused = beams(wrong).expect_err(wrong);
            assert_eq!(refused, "it may be a whole number from 1 to 10");
        }
        let top_p = number(bounds::TOP_P);
        assert_eq!((top_p("0"), top_p("1e-1")), (Ok(0.0), Ok(0.1)));
        for wrong in ["-0.1", "1.01", "NaN", "inf", "1e999", "half"] {
            let refused = top_p(wrong).expect_err(wrong);
            assert_eq!(refused, "it may be a number from 0 to 1");
        }
    }
}
