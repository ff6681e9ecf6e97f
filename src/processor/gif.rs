//! GIF: the first frame, on its canvas.
//!
//! Pillow's canvas is as large as the screen and the frame together need, and
//! filled with the transparent colour, or with colour 0 where there is none.
//! (`image`'s decoder on top of the same crate crops the frame to the screen,
//! and shows nothing where Pillow shows colour 0.)

use ::gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, Frame, MemoryLimit};

use super::decode::{DECODER, Declared, Decoded, RGB, check_size};
use super::{Picture, PictureError, PictureLimits};

pub(super) const FORMAT: &str = "GIF";

/// Decodes the first frame of a GIF file.
pub(super) fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Decoded, PictureError> {
    let (mut decoder, placed) = open(bytes)?;
    let (width, height) = check_size(FORMAT, placed.canvas.0, placed.canvas.1, limits)?;
    check_size(FORMAT, placed.width as u64, placed.height as u64, limits)?;
    let mut indices = vec![0; placed.width * placed.height];
    decoder.read_into_buffer(&mut indices).map_err(error)?;
    let colours = colours(&decoder, placed.transparent);
    let rgb = paint(&placed, &indices, &colours, width, height);
    Ok(Decoded::upright(Picture { width, height, rgb }))
}

/// What the head and the first frame's head declare.
pub(super) fn declared(bytes: &[u8]) -> Result<Declared, PictureError> {
    let (width, height) = open(bytes)?.1.canvas;
    // The frame's indices, and the canvas.
    Ok(Declared::new(width, height, 1 + RGB, DECODER + bytes.len() as u64))
}

/// Reads up to the first frame's pixels.
fn open(bytes: &[u8]) -> Result<(Decoder<&[u8]>, Placed), PictureError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The sizes are checked before the frame is read.
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let screen = (decoder.width(), decoder.height());
    let frame = decoder
        .next_frame_info()
        .map_err(error)?
        .ok_or(PictureError::Truncated { format: FORMAT })?;
    let placed = Placed::of(frame, screen);
    Ok((decoder, placed))
}

fn error(error: DecodingError) -> PictureError {
    match error {
        DecodingError::UnexpectedEof => PictureError::Truncated { format: FORMAT },
        DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format: FORMAT }
        }
        error => PictureError::Damaged {
            format: FORMAT,
            reason: error.to_string(),
        },
    }
}

/// Where the frame lies on the canvas, in pixels, and its transparent index.
struct Placed {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    transparent: Option<u8>,
    /// Width and height of the canvas: what screen and frame together need.
    canvas: (u64, u64),
}

impl Placed {
    fn of(frame: &Frame, screen: (u16, u16)) -> Self {
        let right = u64::from(frame.left) + u64::from(frame.width);
        let bottom = u64::from(frame.top) + u64::from(frame.height);
        Self {
            left: frame.left.into(),
            top: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
            transparent: frame.transparent,
            canvas: (right.max(screen.0.into()), bottom.max(screen.1.into())),
        }
    }
}

/// The colours of the 256 indices, the transparent one white. Those beyond the
/// end of the palette are black, except that a palette of greys in order goes
/// on, as in Pillow.
fn colours(decoder: &Decoder<&[u8]>, transparent: Option<u8>) -> Vec<[u8; 3]> {
    let palette = decoder.palette().unwrap_or_default().as_chunks::<3>().0;
    let greys = palette
        .iter()
        .zip(0..=255u8)
        .all(|(colour, index)| *colour == [index; 3]);
    (0..=255u8)
        .map(|index| match palette.get(usize::from(index)) {
            _ if Some(index) == transparent => [255; 3],
            Some(colour) => *colour,
            None if greys => [index; 3],
            None => [0; 3],
        })
        .collect()
}

/// The frame on a canvas of `width` by `height`, which holds it.
fn paint(placed: &Placed, indices: &[u8], colours: &[[u8; 3]], width: usize, height: usize) -> Vec<u8> {
    let ground = colours[usize::from(placed.transparent.unwrap_or(0))];
    let mut rgb = ground.repeat(width * height);
    for (row, line) in indices.chunks_exact(placed.width).enumerate() {
        let start = ((placed.top + row) * width + placed.left) * 3;
        for (pixel, &index) in rgb[start..].chunks_exact_mut(3).zip(line) {
            pixel.copy_from_slice(&colours[usize::from(index)]);
        }
    }
    rgb
}
