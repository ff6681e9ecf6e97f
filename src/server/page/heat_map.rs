//! Where a model looked, as a small picture that the page lays over the one that was asked about.
//!
//! It has a few pixels for each part of the picture, between which it is smooth, and is made large by the browser.
//! Its colours are in `style/_picture.scss` too, for the legend.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::chat::LookMap;

/// Steps of the scale.
const LEVELS: usize = 64;

/// Red, green, blue and how much they hide, from what was hardly looked at to what was looked at most: the rest
/// of the picture steps back, and what counts stays visible.
const SCALE: [[f32; 4]; 4] = [
    [12.0, 10.0, 60.0, 116.0],
    [112.0, 24.0, 130.0, 140.0],
    [236.0, 96.0, 60.0, 140.0],
    [255.0, 216.0, 64.0, 140.0],
];

/// Pixels of a part, on each side.
const PIXELS: usize = 4;

/// The map as a `data:` address of a PNG, its own highest share being the top of the scale.
pub fn address(map: &LookMap) -> Option<String> {
    let rows = map.shares.len().checked_div(map.columns)?;
    let across = smooth(&map.shares, map.columns);
    let shares = transposed(&smooth(&transposed(&across, rows), rows), map.columns * PIXELS);
    let (columns, rows) = (map.columns * PIXELS, rows * PIXELS);
    let least = shares.iter().copied().fold(f32::INFINITY, f32::min);
    let most = shares.iter().copied().fold(0.0, f32::max);
    let level = |share: &f32| ((share - least) / (most - least).max(f32::MIN_POSITIVE) * (LEVELS - 1) as f32) as u8;
    let pixels: Vec<u8> = shares.iter().map(level).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(columns).ok()?, u32::try_from(rows).ok()?);
    let (colours, alphas) = scale();
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(colours);
    encoder.set_trns(alphas);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file)))
}

/// A cubic B-spline through each of the lines of so many numbers, at [`PIXELS`] places of every number.
fn smooth(numbers: &[f32], count: usize) -> Vec<f32> {
    let smoothed = numbers.chunks(count.max(1)).flat_map(|line| {
        let last = line.len() as isize - 1;
        (0..line.len() * PIXELS).map(move |place| {
            let at = (place as f32 + 0.5) / PIXELS as f32 - 0.5;
            let below = at.floor();
            let near = (0..4).map(|offset| line[(below as isize - 1 + offset).clamp(0, last) as usize]);
            near.zip(spline(at - below))
                .map(|(number, weight)| number * weight)
                .sum()
        })
    });
    smoothed.collect()
}

/// So many lines as columns.
fn transposed(numbers: &[f32], lines: usize) -> Vec<f32> {
    let count = numbers.len() / lines.max(1);
    let column = |index| numbers.iter().skip(index).step_by(count.max(1)).copied();
    (0..count).flat_map(column).collect()
}

/// How much the two numbers before a place count, and the two behind it.
fn spline(part: f32) -> [f32; 4] {
    let (back, square, cube) = (1.0 - part, part * part, part * part * part);
    [
        back * back * back / 6.0,
        (3.0 * cube - 6.0 * square + 4.0) / 6.0,
        (-3.0 * cube + 3.0 * square + 3.0 * part + 1.0) / 6.0,
        cube / 6.0,
    ]
}

/// The colours of all levels, and how much each hides.
fn scale() -> (Vec<u8>, Vec<u8>) {
    let (mut colours, mut alphas) = (Vec::new(), Vec::new());
    for level in 0..LEVELS {
        let place = level as f32 / (LEVELS - 1) as f32 * (SCALE.len() - 1) as f32;
        let below = (place as usize).min(SCALE.len() - 2);
        let part = place - below as f32;
        let between = |index: usize| (SCALE[below][index] * (1.0 - part) + SCALE[below + 1][index] * part) as u8;
        colours.extend([between(0), between(1), between(2)]);
        alphas.push(between(3));
    }
    (colours, alphas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_most_has_the_top_of_the_scale() {
        let map = LookMap {
            columns: 3,
            shares: vec![0.1, 0.1, 0.3, 0.2, 0.1, 0.1],
        };
        let address = address(&map).expect("it has rows");
        let file = address.strip_prefix("data:image/png;base64,").expect("it is a PNG");
        let file = BASE64_STANDARD.decode(file).expect("it is base64");
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .expect("it is one");
        let mut levels = vec![0; 12 * 8];
        let frame = reader.next_frame(&mut levels).expect("it can be read");
        assert_eq!((frame.width, frame.height), (12, 8));
        let at = |column: usize, row: usize| usize::from(levels[row * 12 + column]);
        assert_eq!(at(11, 0), LEVELS - 1, "in the corner: {levels:?}");
        assert!(at(0, 0) == 0 && at(4, 1) < at(7, 1) && at(7, 1) < at(9, 1));
        assert!(
            (0..7).all(|row| at(10, row) >= at(10, row + 1)),
            "it grows smoothly: {levels:?}"
        );
    }

    #[test]
    fn a_map_without_differences_is_one_too() {
        let even = LookMap {
            columns: 2,
            shares: vec![0.25; 4],
        };
        assert!(address(&even).is_some());
        let nothing = LookMap {
            columns: 0,
            shares: Vec::new(),
        };
        assert_eq!(address(&nothing), None);
    }
}
