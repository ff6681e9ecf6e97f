//! What a picture looks like in 64 bits, which re-encoding and resizing change little.
//!
//! Source: Zauner 2010, *Implementation and Benchmarking of Perceptual Image Hash Functions*: the lowest
//! frequencies of a small grey picture, each above their median or not.

use std::f32::consts::PI;

use crate::processor::{Picture, Resample, resize::resize};

/// Side of the grey picture, and of the frequencies that are kept.
const SIDE: usize = 32;
const KEPT: usize = 8;

/// The hash of a picture. Of two that look the same it is the same, or differs in few bits.
pub fn perceptual_hash(picture: &Picture) -> u64 {
    let small = resize(picture, SIDE, SIDE, Resample::Bilinear);
    let grey: Vec<f32> = small
        .rgb
        .chunks_exact(3)
        .map(|pixel| 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]))
        .collect();
    // The cosine transform, rows first, of the frequencies that are kept.
    let cosine = |frequency: usize, at: usize| ((2 * at + 1) as f32 * frequency as f32 * PI / (2 * SIDE) as f32).cos();
    let rows: Vec<f32> = (0..SIDE * KEPT)
        .map(|place| {
            let (y, u) = (place / KEPT, place % KEPT);
            (0..SIDE).map(|x| grey[y * SIDE + x] * cosine(u, x)).sum()
        })
        .collect();
    let frequencies: Vec<f32> = (0..KEPT * KEPT)
        .map(|place| {
            let (v, u) = (place / KEPT, place % KEPT);
            (0..SIDE).map(|y| rows[y * KEPT + u] * cosine(v, y)).sum()
        })
        .collect();
    // The first is how bright it is.
    let mut sorted = frequencies[1..].to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    let bits = frequencies
        .iter()
        .skip(1)
        .map(|frequency| u64::from(*frequency > median));
    bits.fold(0, |hash, bit| hash << 1 | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: usize, shade: impl Fn(f32, f32) -> f32) -> Picture {
        let at = |place: usize| (place % side) as f32 / side as f32;
        let rgb = (0..side * side).flat_map(|place| [(shade(at(place), at(place / side)) * 255.0) as u8; 3]);
        Picture {
            width: side,
            height: side,
            rgb: rgb.collect(),
        }
    }

    #[test]
    fn a_picture_looks_the_same_at_another_size() {
        let wave = |x: f32, y: f32| 0.5 + 0.3 * (9.0 * x).sin() * (5.0 * y + x).cos() + 0.1 * x;
        let other = |x: f32, y: f32| 0.5 + 0.4 * (4.0 * y).sin() * (11.0 * x - y).cos();
        let large = perceptual_hash(&picture(300, wave));
        let small = perceptual_hash(&picture(200, wave));
        assert!((large ^ small).count_ones() <= 4, "{large:x} {small:x}");
        let another = perceptual_hash(&picture(300, other));
        assert!((large ^ another).count_ones() > 12, "{large:x} {another:x}");
    }
}
