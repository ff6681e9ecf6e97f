//! From the bytes of a picture file to pixel values, and from a question to
//! token ids.
//!
//! A picture goes through four stations, each a file of this folder:
//!
//! 1. [`decode`]: the bytes are recognised by their first bytes, the declared
//!    size is checked against [`PictureLimits`] before anything is allocated,
//!    and one of `jpeg`, `png`, `gif`, `webp`, `bmp`, `tiff` turns them into
//!    8-bit RGB; the last two by way of the `image` crate's decoders
//!    (`decoder`). Transparency is composited over white (`alpha`).
//! 2. [`orientation`]: the picture is turned the way its EXIF data say.
//! 3. [`resize`]: Pillow's resampling, from 8-bit RGB to 8-bit RGB.
//! 4. [`image_processor`]: scaled to 0..1 and normalised with the mean and the
//!    standard deviation that the checkpoint was trained with.
//!
//! The reference for stations 1 and 2 is Pillow's `ImageOps.exif_transpose`
//! followed by `convert_to_rgb` of transformers 5; for stations 3 and 4 it is
//! `BlipImageProcessorPil`, the Pillow backend (the torchvision backend rounds
//! differently in up to one byte of a hundred). All four are equal to it bit
//! for bit, with few exceptions: 16-bit greys are scaled to 8 bits, where Pillow
//! clips them and shows a white picture (see [`decode`]); BMPs of 16 bits a
//! pixel, and CMYK in TIFFs, may differ by one level; what a run-length encoded
//! BMP skips is black.
//!
//! Texts: [`mod@text`] is the language model's tokenizer and how prompts are written, [`bert`] the
//! Q-Former's.
//!
//! [`file_names`]: which files are pictures by their names.
//!
//! The way back, to a file, is [`preview`], for showing a picture.

mod alpha;
pub mod bert;
mod bmp;
pub mod decode;
mod error;
pub mod file_names;
mod gif;
mod image_crate;
pub mod image_processor;
mod jpeg;
pub mod orientation;
mod png;
pub mod preview;
pub mod resize;
pub mod text;
mod tiff;
mod webp;
mod webp_tables;
pub mod wordpiece;

pub use bert::BertTokenizer;
pub use decode::{Picture, PictureLimits};
pub use error::{HEIC, PictureError, ProcessorError, SVG};
pub use image_processor::ImageProcessor;
pub use preview::EncodeError;
pub use resize::Resample;
pub use text::{Exchange, InstructionReader, Prompt, PromptForm, TextConfig, TextError, TextProcessor, TextStream};

/// What stands between a visitor and the model: pictures to pixel values, questions to
/// token ids, token ids to text (`Blip2Processor`).
#[derive(Debug)]
pub struct Processor {
    pub image: ImageProcessor,
    pub text: TextProcessor,
}
