//! Where a model looked, as a small picture that the page lays over the one that was asked about.
//!
//! It has a pixel for each part of the picture and is made large by the browser, smoothly. Its colours are in
//! `style/_explanation.scss` too, for the legend.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::chat::LookMap;

/// Steps of the scale.
const LEVELS: usize = 64;

/// Red, green, blue and how much they hide, from what was hardly looked at to what was looked at most: the rest
/// of the picture steps back, and what counts stays visible.
const SCALE: [[f32; 4]; 4] = [
    [12.0, 10.0, 60.0, 176.0],
    [112.0, 24.0, 130.0, 140.0],
    [236.0, 96.0, 60.0, 112.0],
    [255.0, 216.0, 64.0, 96.0],
];

/// The map as a `data:` address of a PNG, its own highest share being the top of the scale.
pub fn address(map: &LookMap) -> Option<String> {
    let rows = map.shares.len().checked_div(map.columns)?;
    let (least, most) = map
        .shares
        .iter()
        .fold((f32::INFINITY, 0.0_f32), |(least, most), share| {
            (least.min(*share), most.max(*share))
        });
    let level = |share: &f32| ((share - least) / (most - least).max(f32::MIN_POSITIVE) * (LEVELS - 1) as f32) as u8;
    let pixels: Vec<u8> = map.shares.iter().map(level).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(map.columns).ok()?, u32::try_from(rows).ok()?);
    let (colours, alphas) = scale();
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(colours);
    encoder.set_trns(alphas);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file)))
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
        let mut levels = vec![0; 6];
        let frame = reader.next_frame(&mut levels).expect("it can be read");
        assert_eq!((frame.width, frame.height), (3, 2));
        assert_eq!(levels, [0, 0, 63, 31, 0, 0]);
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
