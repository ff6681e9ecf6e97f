//! Pictures: decoding, turning, resizing and normalising agree with the
//! reference to the bit, and what is damaged or too large is refused.
//!
//! The files are made by `make golden`; `GLIMPSE_GOLDEN=DIR` tests another set.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use glimpse::processor::{ImageProcessor, Picture, PictureError, PictureLimits};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

fn folder() -> PathBuf {
    let golden = std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from);
    golden.join("pictures")
}

fn expected_tensors() -> Result<HashMap<String, Tensor>, Box<dyn Error>> {
    Ok(candle_core::safetensors::load(
        folder().join("expected.safetensors"),
        &Device::Cpu,
    )?)
}

fn expected() -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(&std::fs::read(folder().join("expected.json"))?)?)
}

fn read(name: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(folder().join(name))
}

fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    Picture::decode(bytes, &PictureLimits::default())
}

/// The picture that a `[height, width, 3]` tensor of bytes holds.
fn picture(tensor: &Tensor) -> candle_core::Result<Picture> {
    let (height, width, _) = tensor.dims3()?;
    Ok(Picture {
        width,
        height,
        rgb: tensor.flatten_all()?.to_vec1()?,
    })
}

/// What differs between two pictures, if anything does.
fn difference(got: &Picture, want: &Picture) -> Option<String> {
    if (got.width, got.height) != (want.width, want.height) {
        return Some(format!(
            "{} x {} instead of {} x {}",
            got.width, got.height, want.width, want.height
        ));
    }
    let distances: Vec<u8> = got.rgb.iter().zip(&want.rgb).map(|(a, b)| a.abs_diff(*b)).collect();
    let differing = distances.iter().filter(|distance| **distance > 0).count();
    let largest = distances.iter().max()?;
    (differing > 0).then(|| format!("{differing} of {} bytes differ, by up to {largest}", distances.len()))
}

/// Fails with all complaints at once, so that a change shows all it breaks.
fn none(complaints: Vec<String>) -> Outcome {
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n").into())
    }
}

#[test]
fn every_picture_decodes_to_the_references_bytes() -> Outcome {
    let tensors = expected_tensors()?;
    let is_file = |name: &&String| name.contains('.');
    assert!(
        tensors.keys().filter(is_file).count() > 100,
        "the golden set is not complete"
    );
    let mut complaints = Vec::new();
    for name in tensors.keys().filter(is_file) {
        match decode(&read(name)?) {
            Ok(got) => {
                let difference = difference(&got, &picture(&tensors[name])?);
                complaints.extend(difference.map(|difference| format!("{name}: {difference}")));
            }
            Err(error) => complaints.push(format!("{name}: {error}")),
        }
    }
    none(complaints)
}

#[test]
fn a_file_cut_short_is_read_only_where_the_reference_reads_it() -> Outcome {
    let expected = expected()?;
    let truncated = expected["truncated"].as_object().ok_or("no truncated files")?;
    let mut complaints = Vec::new();
    for (name, cuts) in truncated {
        let bytes = read(name)?;
        for cut in cuts.as_array().ok_or("no cuts")? {
            let length = cut[0].as_u64().ok_or("no length")? as usize;
            let outcome = decode(&bytes[..length]);
            if Some(outcome.is_ok()) != cut[1].as_bool() {
                complaints.push(format!(
                    "{name}, {length} of {} bytes: {:?}",
                    bytes.len(),
                    outcome.err()
                ));
            }
        }
    }
    none(complaints)
}

#[test]
fn no_prefix_of_a_file_and_no_flipped_byte_panics() -> Outcome {
    for name in expected_tensors()?.keys().filter(|name| name.contains('.')) {
        let bytes = read(name)?;
        for length in (0..bytes.len()).step_by(bytes.len() / 20 + 1) {
            let _ = decode(&bytes[..length]);
            let mut flipped = bytes.clone();
            flipped[length] ^= 0x5a;
            let _ = decode(&flipped);
        }
    }
    Ok(())
}

#[test]
fn a_small_file_that_declares_many_pixels_is_refused_with_both_numbers() -> Outcome {
    let expected = expected()?;
    let bombs = expected["bombs"].as_object().ok_or("no bombs")?;
    for (name, size) in bombs {
        let (width, height) = (
            size[0].as_u64().ok_or("no width")?,
            size[1].as_u64().ok_or("no height")?,
        );
        let bytes = read(name)?;
        assert!(bytes.len() < 2_000, "{name} is no bomb");
        let error = decode(&bytes).err().ok_or(format!("{name} was read"))?;
        let max_pixels = PictureLimits::default().max_pixels;
        assert_eq!(
            error,
            PictureError::TooManyPixels {
                width,
                height,
                pixels: width * height,
                max_pixels
            },
            "{name}"
        );
        let sentence = error.to_string();
        assert!(sentence.contains(&(width * height).to_string()), "{sentence}");
        assert!(sentence.contains(&max_pixels.to_string()), "{sentence}");
    }
    Ok(())
}

#[test]
fn the_declared_size_is_that_of_the_decoded_picture() -> Outcome {
    for name in expected_tensors()?.keys().filter(|name| name.contains('.')) {
        let bytes = read(name)?;
        let (width, height) = Picture::declared_size(&bytes)?;
        let picture = decode(&bytes)?;
        let decoded = (picture.width as u64, picture.height as u64);
        // A turned picture has its sides the other way round.
        assert!(
            [(width, height), (height, width)].contains(&decoded),
            "{name}: {width} x {height} is declared, {decoded:?} came out"
        );
        let bytes = Picture::decoding_bytes(&bytes)?;
        assert!(bytes > picture.rgb.len() as u64, "{name}: {bytes} bytes");
    }
    Ok(())
}

#[test]
fn what_a_bomb_declares_and_would_take_is_known_without_decoding_it() -> Outcome {
    let expected = expected()?;
    for (name, size) in expected["bombs"].as_object().ok_or("no bombs")? {
        let bytes = read(name)?;
        let (width, height) = Picture::declared_size(&bytes)?;
        assert_eq!(Some(width), size[0].as_u64(), "{name}");
        assert_eq!(Some(height), size[1].as_u64(), "{name}");
        assert!(Picture::decoding_bytes(&bytes)? >= 3 * width * height, "{name}");
    }
    Ok(())
}

#[test]
fn a_progressive_jpeg_takes_its_coefficients_besides_its_pixels() -> Outcome {
    // 4:2:0: in 16 x 16 pixels four blocks of grey and two of colour, of 128 bytes.
    let sides = |width: u16, height: u16| [height.to_be_bytes(), width.to_be_bytes()].concat();
    let sized = |name: &str| -> Result<u64, Box<dyn Error>> {
        let mut bytes = read(name)?;
        let frame = |pair: &[u8]| pair[0] == 0xff && matches!(pair[1], 0xc0 | 0xc2);
        let at = bytes.windows(2).position(frame).ok_or("no frame")?;
        bytes.splice(at + 5..at + 9, sides(8000, 6000));
        Ok(Picture::decoding_bytes(&bytes)?)
    };
    let (baseline, progressive) = (sized("420.jpg")?, sized("420-progressive.jpg")?);
    let pixels = 8000 * 6000 * 3;
    let coefficients = (8000 / 16) * (6000 / 16) * 6 * 128;
    assert!((pixels..pixels + (8 << 20)).contains(&baseline), "{baseline}");
    let both = pixels + coefficients;
    assert!((both..both + (8 << 20)).contains(&progressive), "{progressive}");
    Ok(())
}

#[test]
fn a_lossy_frame_larger_than_its_webp_is_refused_before_it_is_decoded() -> Outcome {
    let mut bytes = read("lossy-alpha.webp")?;
    let at = bytes.windows(4).position(|name| name == b"VP8 ").ok_or("no frame")?;
    bytes.splice(at + 14..at + 18, [0xff, 0x3f, 0xff, 0x3f]);
    let sentence = decode(&bytes).err().ok_or("it was read")?.to_string();
    assert!(sentence.contains("a frame of 16383 x 16383"), "{sentence}");
    assert!(Picture::decoding_bytes(&bytes).is_err());
    Ok(())
}

#[test]
fn the_hash_of_the_pixels_is_the_same_on_every_machine() {
    let picture = |width, height| Picture {
        width,
        height,
        rgb: (0..18).collect(),
    };
    let hex: String = picture(3, 2)
        .pixel_hash()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, "308d1bd5510b5254361e77597d9d04bcd962b1ae94750a64182e8cb440390a84");
    assert_ne!(picture(3, 2).pixel_hash(), picture(2, 3).pixel_hash());
}

#[test]
fn limits_are_the_callers() -> Outcome {
    let bytes = read("444.jpg")?;
    let pixels = decode(&bytes)?.rgb.len() as u64 / 3;
    let decode = |max_bytes, max_pixels| {
        Picture::decode(
            &bytes,
            &PictureLimits {
                max_bytes,
                max_pixels,
                ..PictureLimits::default()
            },
        )
    };
    assert!(decode(bytes.len(), pixels).is_ok());
    assert!(matches!(
        decode(bytes.len() - 1, pixels),
        Err(PictureError::TooManyBytes { .. })
    ));
    assert!(matches!(
        decode(bytes.len(), pixels - 1),
        Err(PictureError::TooManyPixels { .. })
    ));
    Ok(())
}

#[test]
fn a_jpeg_with_hundreds_of_scans_is_refused() -> Outcome {
    let scans = [0xff, 0xda, 0, 2].repeat(101);
    let mut bytes = read("420-progressive.jpg")?;
    bytes.splice(bytes.len() - 2.., scans.clone());
    let sentence = decode(&bytes).err().ok_or("it was read")?.to_string();
    assert!(sentence.contains("at most 100"), "{sentence}");
    // Behind the end of the picture they may be anything.
    let mut bytes = read("420-progressive.jpg")?;
    bytes.extend(scans);
    assert!(decode(&bytes).is_ok());
    Ok(())
}

#[test]
fn what_is_no_picture_is_called_what_it_is() {
    let error = |bytes: &[u8]| decode(bytes).err();
    assert_eq!(error(b""), Some(PictureError::Empty));
    assert_eq!(error(b"\0"), Some(PictureError::NotAPicture));
    assert_eq!(error(b"What is in the picture?"), Some(PictureError::NotAPicture));
    for (bytes, name) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "a HEIC picture"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF picture"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "an AVIF picture"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isomavc1", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a camera's raw file"),
        (b"\xff\x0a\xfa\x3f", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"II+\0\x08\0\0\0", "a BigTIFF picture"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG drawing"),
        (
            b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- drawn -->\n<svg/>",
            "an SVG drawing",
        ),
        (b"%PDF-1.7", "a PDF document"),
    ] {
        assert_eq!(error(bytes), Some(PictureError::OtherFormat { name }));
        let sentence = error(bytes).map(|error| error.to_string()).unwrap_or_default();
        assert!(
            sentence.contains(name) && sentence.contains("Save it as JPEG or PNG"),
            "{sentence}"
        );
        assert_eq!(sentence.contains("iPhone"), name == "a HEIC picture", "{sentence}");
    }
    assert_eq!(
        error(b"<html><p>no picture</p></html>"),
        Some(PictureError::NotAPicture)
    );
    assert!(matches!(
        error(b"\xff\xd8\xff"),
        Some(PictureError::Truncated { format: "JPEG" })
    ));
    assert!(matches!(
        error(b"GIF89a"),
        Some(PictureError::Truncated { format: "GIF" })
    ));
    assert!(matches!(error(b"BM"), Some(PictureError::Truncated { format: "BMP" })));
    assert!(matches!(
        error(b"II*\0\x08\0\0\0"),
        Some(PictureError::Truncated { format: "TIFF" })
    ));
}

/// The bytes of a file with one of its chunk's bytes of checksum wrong.
fn with_wrong_checksum(name: &str, kind: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = read(name)?;
    let at = bytes.windows(4).position(|name| name == kind).ok_or("no such chunk")?;
    let length: [u8; 4] = bytes[at - 4..at].try_into()?;
    bytes[at + 4 + u32::from_be_bytes(length) as usize] ^= 1;
    Ok(bytes)
}

#[test]
fn a_wrong_checksum_is_overlooked_behind_a_pngs_head_only() -> Outcome {
    assert!(decode(&with_wrong_checksum("rgb-8.png", b"IDAT")?).is_ok());
    let head = decode(&with_wrong_checksum("rgb-8.png", b"IHDR")?);
    assert!(
        matches!(head, Err(PictureError::Damaged { format: "PNG", .. })),
        "{head:?}"
    );
    // Neither does a flipped byte of the pixels themselves pass, for they have a checksum of their own.
    let mut bytes = read("rgb-8.png")?;
    let at = bytes.windows(4).rposition(|name| name == b"IDAT").ok_or("no pixels")?;
    bytes[at + 40] ^= 1;
    assert!(decode(&bytes).is_err());
    Ok(())
}

#[test]
fn resizing_and_pixel_values_agree_with_the_reference() -> Outcome {
    let (tensors, expected) = (expected_tensors()?, expected()?);
    let cases = expected["processed"].as_array().ok_or("no cases")?;
    assert!(cases.len() >= 28, "the golden set is not complete");
    let mut complaints = Vec::new();
    for case in cases {
        let key = case["key"].as_str().ok_or("no key")?;
        let source = picture(&tensors[case["source"].as_str().ok_or("no source")?])?;
        let processor = ImageProcessor::from_json(&case["settings"])?;
        let resized = processor.resize(&source);
        if let Some(difference) = difference(&resized, &picture(&tensors[&format!("resized-{key}")])?) {
            complaints.push(format!("{}: {difference}", case["settings"]));
        }
        let (got, want) = (
            processor.pixel_values(&source)?,
            &tensors[&format!("pixel-values-{key}")],
        );
        assert_eq!(got.dims()[1..], *want.dims(), "{}", case["settings"]);
        let got: Vec<f32> = got.flatten_all()?.to_vec1()?;
        let want: Vec<f32> = want.flatten_all()?.to_vec1()?;
        let differing = got
            .iter()
            .zip(&want)
            .filter(|(got, want)| got.to_bits() != want.to_bits())
            .count();
        if differing > 0 {
            complaints.push(format!(
                "{}: {differing} of {} pixel values differ",
                case["settings"],
                want.len()
            ));
        }
    }
    none(complaints)
}

#[test]
fn a_large_picture_is_resized_alike_on_many_threads() {
    // Large enough to be shared between threads; every row is the same, so a
    // small picture, resized on one thread, tells what must come out.
    let row: Vec<u8> = (0..1500 * 3).map(|index| (index * 7 % 256) as u8).collect();
    let processor = ImageProcessor::default();
    let large = processor.resize(&Picture {
        width: 1500,
        height: 1000,
        rgb: row.repeat(1000),
    });
    let small = processor.resize(&Picture {
        width: 1500,
        height: 3,
        rgb: row.repeat(3),
    });
    assert_eq!((large.width, large.height), (384, 384));
    assert_eq!(large.rgb[..384 * 3], small.rgb[..384 * 3]);
    assert_eq!(large.rgb[383 * 384 * 3..], small.rgb[..384 * 3]);
}

#[test]
fn settings_may_be_nested_missing_or_null() -> Outcome {
    let default = ImageProcessor::default();
    assert_eq!(ImageProcessor::from_json(&json!({}))?, default);
    assert_eq!(
        ImageProcessor::from_json(&json!({"size": null, "do_resize": null, "image_mean": null}))?,
        default
    );
    let nested = json!({"image_processor": {"size": {"height": 224, "width": 224}}, "num_query_tokens": 32});
    let flat = json!({"size": 224, "resample": 3, "rescale_factor": 1.0 / 255.0});
    assert_eq!(ImageProcessor::from_json(&nested)?, ImageProcessor::from_json(&flat)?);
    assert_ne!(ImageProcessor::from_json(&flat)?, default);
    Ok(())
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let message = |settings: Value| {
        ImageProcessor::from_json(&settings)
            .map_err(|error| error.to_string())
            .err()
    };
    for (key, value) in [
        ("size", json!({"longest_edge": 9})),
        ("size", json!(0)),
        ("size", json!({"height": 20})),
        ("size", json!(100_000_000)),
        ("resample", json!(6)),
        ("image_mean", json!([0.5, 0.5])),
        ("image_std", json!([0.5, 0.0, 0.5])),
        ("rescale_factor", json!("1/255")),
        ("do_resize", json!("yes")),
        ("do_center_crop", json!(true)),
    ] {
        let message = message(json!({ key: value })).unwrap_or_default();
        assert!(message.contains(key), "{key}: {message:?}");
    }
    assert!(message(json!([])).is_some());
}
