//! Decoding a picture takes no more memory than was said before, in any format.
//!
//! What libjpeg allocates is not counted here: `pictures` checks that by its formula.

use std::error::Error;
use std::io::Cursor;

use glimpse::processor::{Picture, PictureLimits, preview};
use image::{DynamicImage, ImageFormat, RgbImage};

use crate::support::memory::peak_of;

type Outcome = Result<(), Box<dyn Error>>;

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 900;

/// Something to compress: stripes, and a little of everything.
fn drawing() -> DynamicImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        image::Rgb([(x / 3 % 256) as u8, (y % 251) as u8, (x * y % 61) as u8])
    })
    .into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format)?;
    Ok(file.into_inner())
}

fn jpeg(rgb: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Vec::new();
    let (width, height) = (u16::try_from(WIDTH)?, u16::try_from(HEIGHT)?);
    jpeg_encoder::Encoder::new(&mut file, 75).encode(rgb, width, height, jpeg_encoder::ColorType::Rgb)?;
    Ok(file)
}

fn png(color: png::ColorType, depth: png::BitDepth, samples: &[u8], turned: bool) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Vec::new();
    let mut info = png::Info::with_size(WIDTH, HEIGHT);
    (info.color_type, info.bit_depth) = (color, depth);
    if turned {
        // A directory with one entry: orientation 6.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        info.exif_metadata = Some(exif.to_vec().into());
    }
    png::Encoder::with_info(&mut file, info)?
        .write_header()?
        .write_image_data(samples)?;
    Ok(file)
}

fn lossless_webp(samples: &[u8], color: image_webp::ColorType) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Vec::new();
    image_webp::WebPEncoder::new(&mut file).encode(samples, WIDTH, HEIGHT, color)?;
    Ok(file)
}

fn gif(image: &DynamicImage) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Vec::new();
    let (width, height) = (WIDTH as u16, HEIGHT as u16);
    let palette: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
    let frame = gif::Frame::from_indexed_pixels(width, height, image.to_luma8().into_raw(), None);
    gif::Encoder::new(&mut file, width, height, &palette)?.write_frame(&frame)?;
    Ok(file)
}

/// A picture's file with its name.
type NamedFile = (String, Vec<u8>);

/// Files of every format, with much and with little beside the pixels.
fn files() -> Result<Vec<NamedFile>, Box<dyn Error>> {
    use png::{BitDepth, ColorType};
    let image = drawing();
    let (rgb, rgba) = (image.to_rgb8(), image.to_rgba8());
    let deep: Vec<u8> = rgb.as_raw().iter().flat_map(|&sample| [sample, 0]).collect();
    let named = |name: &str, file: Vec<u8>| (name.to_owned(), file);
    let mut files = vec![
        named("rgb.png", png(ColorType::Rgb, BitDepth::Eight, rgb.as_raw(), false)?),
        named("turned.png", png(ColorType::Rgb, BitDepth::Eight, rgb.as_raw(), true)?),
        named("deep.png", png(ColorType::Rgb, BitDepth::Sixteen, &deep, false)?),
        named("rgba.png", png(ColorType::Rgba, BitDepth::Eight, rgba.as_raw(), false)?),
        named(
            "lossless.webp",
            lossless_webp(rgb.as_raw(), image_webp::ColorType::Rgb8)?,
        ),
        named(
            "lossless-alpha.webp",
            lossless_webp(rgba.as_raw(), image_webp::ColorType::Rgba8)?,
        ),
        named("rgb.gif", gif(&image)?),
        named("rgb.bmp", encoded(&image, ImageFormat::Bmp)?),
        named("rgba.bmp", encoded(&rgba.clone().into(), ImageFormat::Bmp)?),
        named("rgb.jpg", jpeg(rgb.as_raw())?),
        named("grey.tif", encoded(&image.to_luma8().into(), ImageFormat::Tiff)?),
        named("grey-16.tif", encoded(&image.to_luma16().into(), ImageFormat::Tiff)?),
        named("rgb.tif", encoded(&image, ImageFormat::Tiff)?),
        named("rgba-16.tif", encoded(&image.to_rgba16().into(), ImageFormat::Tiff)?),
    ];
    // No crate writes lossy ones, or animations: `make golden` does.
    for name in [
        "large-lossy.webp",
        "large-lossy-alpha.webp",
        "large-lossless.webp",
        "large-animated.webp",
    ] {
        files.push(named(name, std::fs::read(format!("tests/golden/pictures/{name}"))?));
    }
    Ok(files)
}

#[test]
fn decoding_holds_at_most_what_was_said_and_not_much_less() -> Outcome {
    let mut complaints = Vec::new();
    for (name, file) in files()? {
        let (declared, of_declaring) = peak_of(|| Picture::decoding_bytes(&file));
        let declared = declared?;
        let (picture, peak) = peak_of(|| Picture::decode(&file, &PictureLimits::default()));
        let pixels = picture?.rgb.len() as u64;
        if peak > declared {
            complaints.push(format!("{name}: {peak} bytes were held, and {declared} declared"));
        }
        // Much too high a bound would refuse what could be read. 16 MB is for small things.
        if declared > 2 * peak.max(pixels) + (16 << 20) {
            complaints.push(format!("{name}: {declared} bytes were declared, and {peak} held"));
        }
        if of_declaring > pixels / 4 {
            complaints.push(format!("{name}: declaring it took {of_declaring} bytes"));
        }
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n").into())
    }
}

#[test]
fn a_preview_takes_at_most_what_was_said() -> Outcome {
    for (width, height) in [
        (900, 700),
        (1281, 1280),
        (2559, 1700),
        (2560, 2560),
        (4000, 3000),
        (9000, 3),
    ] {
        let rgb = (0..width * height * 3).map(|at| (at % 251) as u8).collect();
        let picture = Picture { width, height, rgb };
        let (file, peak) = peak_of(|| preview::encode(&picture));
        assert!(!file?.is_empty());
        let said = preview::encoding_bytes(width, height);
        assert!(
            peak <= said,
            "{width} x {height}: {peak} bytes were held, and {said} said"
        );
    }
    Ok(())
}
