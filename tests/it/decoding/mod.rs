//! Every way of decoding: the reference's answers, and what else is promised of them.

pub mod asking;
mod batches;
mod beams;
mod golden;
mod prompts;
mod reference;
mod seeds;

use std::error::Error;

use glimpse::processor::Picture;

type AnyResult<T> = Result<T, Box<dyn Error>>;

/// A picture of rectangles, the same here and in `decoding.py`.
fn draw(seed: u64) -> Picture {
    let mut state = seed;
    let mut number = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (width, height) = (16 + number(33), 16 + number(33));
    let colour = |number: &mut dyn FnMut(usize) -> usize| [number(256) as u8, number(256) as u8, number(256) as u8];
    let mut rgb = colour(&mut number).repeat(width * height);
    for _ in 0..6 {
        let (left, top) = (number(width), number(height));
        let (right, bottom) = (left + 1 + number(width), top + 1 + number(height));
        let colour = colour(&mut number);
        for y in top..bottom.min(height) {
            for x in left..right.min(width) {
                rgb[3 * (y * width + x)..][..3].copy_from_slice(&colour);
            }
        }
    }
    Picture { width, height, rgb }
}
