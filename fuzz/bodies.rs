//! What has to hold whatever bytes come: a function for each fuzz target.
//!
//! None may panic, and each checks what its callers rely on. They run on mutated golden files
//! in `tests/it/fuzz.rs`, and under libFuzzer in `fuzz_targets/`.

use glimpse::api::AnswerEvent;
use glimpse::models::ModelConfig;
use glimpse::processor::{Picture, PictureError, PictureLimits, orientation};
use glimpse::server::multipart::{FormError, FormLimits, Scanner};

/// The page's cutting of a stream into lines, which is not public.
#[path = "../src/app/actions/lines.rs"]
mod lines;

/// A BMP file.
pub fn bmp(bytes: &[u8]) {
    picture(b"BM", bytes);
}

/// A TIFF file of either byte order.
pub fn tiff(bytes: &[u8]) {
    let order: &[u8] = if bytes.first() == Some(&b'M') {
        b"MM\0*"
    } else {
        b"II*\0"
    };
    picture(order, bytes);
}

/// A WebP file.
pub fn webp(bytes: &[u8]) {
    picture(b"RIFF", bytes);
}

/// Any file that begins with `magic`, whatever its first bytes are.
fn picture(magic: &[u8], bytes: &[u8]) {
    let mut file = bytes.to_vec();
    let head = magic.len().min(file.len());
    file[..head].copy_from_slice(&magic[..head]);
    // Few pixels, so that it is quick.
    let limits = PictureLimits {
        max_pixels: 1 << 16,
        ..PictureLimits::default()
    };
    match Picture::decode(&file, &limits) {
        Ok(picture) => {
            assert_eq!(picture.rgb.len(), picture.width * picture.height * 3);
            let (width, height) = Picture::declared_size(&file).expect("what is decoded declares its size");
            let decoded = (picture.width as u64, picture.height as u64);
            assert!([(width, height), (height, width)].contains(&decoded));
            let bytes = Picture::decoding_bytes(&file).expect("and what it takes");
            assert!(bytes >= picture.rgb.len() as u64);
        }
        Err(PictureError::TooManyPixels { pixels, .. }) => assert!(pixels > limits.max_pixels),
        Err(error) => assert!(error.to_string().ends_with('.')),
    }
}

/// EXIF data, with and without their prefix, and XMP text.
pub fn exif(bytes: &[u8]) {
    let plain = orientation::of_metadata(Some(bytes), None);
    let prefixed = [b"Exif\0\0", bytes].concat();
    // Of two prefixes both are taken off, of three not.
    if !bytes.starts_with(b"Exif\0\0") {
        assert_eq!(plain, orientation::of_metadata(Some(&prefixed), None));
    }
    orientation::of_metadata(None, Some(bytes));
}

/// A form's body. The first byte says in pieces of which size it comes.
pub fn multipart(bytes: &[u8]) {
    let Some((&piece, form)) = bytes.split_first() else {
        return;
    };
    let limits = FormLimits {
        head_bytes: 200,
        parts: 4,
        field_bytes: 300,
    };
    let scan = |piece: usize| {
        let mut scanner = Scanner::new("boundary", limits);
        form.chunks(piece).try_for_each(|piece| {
            let incomplete = scanner.scan(piece)?;
            assert!(incomplete <= limits.head_bytes, "{incomplete} bytes are held");
            Ok::<_, FormError>(())
        })
    };
    assert_eq!(scan(usize::from(piece) + 1), scan(form.len().max(1)));
}

/// The stream of an answer. The first byte says in pieces of which size it comes.
pub fn ndjson(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else {
        return;
    };
    let cut = |piece: usize| {
        let mut lines = lines::Lines::default();
        let cut = stream.chunks(piece).flat_map(|piece| lines.push(piece));
        cut.collect::<Vec<_>>()
    };
    let whole = cut(stream.len().max(1));
    assert_eq!(cut(usize::from(piece) + 1), whole);
    for line in whole {
        if let Ok(event) = serde_json::from_slice::<AnswerEvent>(&line) {
            let written = serde_json::to_string(&event).expect("what was read can be written");
            assert!(!written.contains('\n'), "{written}");
        }
    }
}

/// A checkpoint's `config.json`.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ModelConfig::from_json(text) {
        Ok(config) => assert!(config.vision().num_positions() > 0),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
