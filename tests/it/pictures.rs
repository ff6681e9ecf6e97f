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
    assert_eq!(
        error(b"\0\0\0\x18ftypheic\0\0\0\0"),
        Some(PictureError::OtherFormat { name: "a HEIC picture" })
    );
    assert_eq!(
        error(b"\0\0\0\x18ftypavif\0\0\0\0"),
        Some(PictureError::OtherFormat {
            name: "an AVIF picture"
        })
    );
    assert_eq!(
        error(b"II*\0\x08\0\0\0"),
        Some(PictureError::OtherFormat { name: "a TIFF picture" })
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
