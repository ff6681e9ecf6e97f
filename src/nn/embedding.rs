//! Pictures and texts as vectors, each computed by itself, so that many pictures can be searched with one
//! text.
//!
//! The cosine of a picture and a text is the dot product of their vectors, which have length 1; of a
//! picture with several vectors, one a query token, the largest counts (BLIP-2, arXiv 2301.12597, section
//! 3.1).

use candle_core::{Result, Tensor};

use super::matching::Matcher;

/// Vectors of length 1, one behind the other, in f32 on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Numbers of a vector.
    pub width: usize,
    /// `[vectors, width]`.
    pub numbers: Vec<f32>,
}

impl Vectors {
    /// Each by itself.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.width.max(1))
    }
}

/// A model whose pictures and texts lie in one space.
pub trait Embedder: Matcher {
    /// Numbers of a vector.
    fn width(&self) -> usize;

    /// Vectors of a picture: 1, or one a query token.
    fn vectors_of_picture(&self) -> usize;

    /// A picture as vectors: pixel values `[1, 3, h, w]` in f32 on any device.
    ///
    /// # Errors
    /// The device's.
    fn picture_vectors(&self, pixel_values: &Tensor) -> Result<Vectors>;

    /// A text as a vector: its ids, `[CLS]` and `[SEP]` included.
    ///
    /// # Errors
    /// As for [`Matcher::text`].
    fn text_vector(&self, ids: &[u32]) -> Result<Vectors>;
}

/// The cosine of a picture's vectors and a text's.
pub fn cosine(picture: &[f32], text: &[f32]) -> f32 {
    let rows = picture.chunks_exact(text.len().max(1));
    rows.map(|row| dot(row, text)).fold(f32::NEG_INFINITY, f32::max)
}

/// In eight sums, which a compiler computes at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_parts, a_rest) = a.as_chunks::<8>();
    let (b_parts, b_rest) = b.as_chunks::<8>();
    let mut sums = [0f32; 8];
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_vector_of_a_picture_counts() {
        let text = [0.6, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mut picture = vec![0.0; 27];
        (picture[8], picture[9], picture[19]) = (1.0, 1.0, 1.0);
        assert_eq!(cosine(&picture, &text), 0.8);
        assert_eq!(cosine(&picture[..9], &text), 0.0);
        assert_eq!(cosine(&[], &text), f32::NEG_INFINITY);
    }
}
