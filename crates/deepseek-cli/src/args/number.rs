//! Numbers and sizes as they are typed. What is out of its range is told with the range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use bytesize::ByteSize;

/// Reads a whole number of this range.
pub(super) fn whole<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "want a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Reads a number of bytes: `64GiB`, `8GB`, or the number alone.
pub(super) fn size(text: &str) -> Result<ByteSize, String> {
    text.parse()
        .map_err(|_| "want a size such as 512MiB or 8GB, or a number of bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_at_its_bounds_is_read_and_one_past_them_told_the_range() {
        let read = whole(2_u32..=9);
        assert_eq!([read("2"), read("9")], [Ok(2), Ok(9)]);
        for text in ["1", "10", "-1", "x", "", "2.5", "4294967298"] {
            assert_eq!(read(text).unwrap_err(), "want a whole number from 2 to 9");
        }
    }

    #[test]
    fn sizes_count_in_thousands_or_in_binary() {
        for (text, bytes) in [
            ("8GB", 8_000_000_000),
            ("8GiB", 8 << 30),
            ("512 mib", 512 << 20),
            ("7", 7),
        ] {
            assert_eq!(size(text).map(|size| size.as_u64()), Ok(bytes), "{text}");
        }
        for text in ["", "-1", "much", "8 parsecs"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
