//! The bodies of the fuzz targets, on golden files with seeded mutations: the same bytes on
//! every machine, and as many as take a second or two.

use std::error::Error;
use std::path::Path;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[path = "../../fuzz/bodies.rs"]
mod bodies;

type Outcome = Result<(), Box<dyn Error>>;

/// The golden files of a folder whose name ends so.
fn golden(folder: &str, ending: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in Path::new("tests/golden").join(folder).read_dir()? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            names.push(path);
        }
    }
    // The folder's order is the file system's.
    names.sort();
    let files: Vec<Vec<u8>> = names.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    assert!(!files.is_empty(), "no golden file ends with {ending}");
    Ok(files)
}

/// Numbers at which programs go wrong.
const ODD_NUMBERS: [u32; 12] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
];

/// Changes a few places of a file.
fn mutate(file: &mut Vec<u8>, files: &[Vec<u8>], random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..=4) {
        if file.is_empty() {
            return;
        }
        // Heads are where the numbers are.
        let end = if random.random() {
            file.len()
        } else {
            file.len().min(128)
        };
        let at = random.random_range(0..end);
        let length = random.random_range(1..=16).min(file.len() - at);
        match random.random_range(0..7) {
            0 => file[at] ^= 1 << random.random_range(0..8),
            1 => file[at] = random.random(),
            2 => {
                let number = ODD_NUMBERS.choose(random).copied().unwrap_or_default();
                let bytes = if random.random() {
                    number.to_le_bytes()
                } else {
                    number.to_be_bytes()
                };
                for (place, byte) in file[at..].iter_mut().zip(bytes) {
                    *place = byte;
                }
            }
            3 => file.truncate(at),
            4 => drop(file.drain(at..at + length)),
            5 => {
                let again = file[at..at + length].to_vec();
                file.splice(at..at, again);
            }
            _ => {
                let Some(other) = files.choose(random) else { return };
                let from = random.random_range(0..other.len());
                let piece = &other[from..(from + length).min(other.len())];
                file.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// Runs `body` on every file, and on so many mutations of them.
fn run(seed: u64, files: &[Vec<u8>], mutations: usize, body: fn(&[u8])) {
    files.iter().for_each(|file| body(file));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..mutations {
        let mut file = files.choose(&mut random).cloned().unwrap_or_default();
        mutate(&mut file, files, &mut random);
        body(&file);
    }
}

#[test]
fn bmp() -> Outcome {
    run(1, &golden("pictures", ".bmp")?, 20_000, bodies::bmp);
    Ok(())
}

#[test]
fn tiff() -> Outcome {
    run(2, &golden("pictures", ".tif")?, 20_000, bodies::tiff);
    Ok(())
}

#[test]
fn webp() -> Outcome {
    let files = golden("pictures", ".webp")?;
    let small: Vec<_> = files.into_iter().filter(|file| file.len() < 20_000).collect();
    run(3, &small, 10_000, bodies::webp);
    Ok(())
}

#[test]
fn exif() -> Outcome {
    let mut files = golden("pictures", ".tif")?;
    for file in golden("pictures", ".jpg")? {
        let at = file.windows(6).position(|name| name == b"Exif\0\0");
        files.extend(at.map(|at| file[at + 6..].to_vec()));
    }
    files.push(b"<rdf:Description tiff:Orientation=\"8\"/><tiff:Orientation>6".to_vec());
    run(4, &files, 50_000, bodies::exif);
    Ok(())
}

#[test]
fn multipart() {
    let form = b"\x05pre\r\n--boundary\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n\
        \xff\xd8\r\n--bound\r\n--boundary \t\r\nContent-Disposition: form-data; name=\"question\"\r\n\r\n\
        what?\r\n--boundary--\r\nrest";
    run(5, &[form.to_vec()], 50_000, bodies::multipart);
}

#[test]
fn ndjson() {
    let stream = "\x03{\"event\":\"queued\",\"position\":1}\n{\"event\":\"started\",\"num_beams\":5}\n\
        {\"event\":\"token\",\"text\":\"ein Käse 🧀\"}\n\n{\"event\":\"heartbeat\"}\n\
        {\"event\":\"done\",\"finish_reason\":\"length\",\"timings_ms\":{\"load\":0.0,\"image\":1.5,\"prefill\":2.0,\
        \"decode\":3.0,\"total\":1e3},\"prompt_tokens\":3,\"generated_tokens\":4,\"prompt\":\"\"}\n\
        {\"event\":\"error\",\"kind\":\"internal\",\"message\":\"m\"}\n";
    run(6, &[stream.as_bytes().to_vec()], 50_000, bodies::ndjson);
}

#[test]
fn config() -> Outcome {
    let mut files = Vec::new();
    for checkpoint in ["00", "01", "02", "03"] {
        files.extend(golden(&format!("checkpoints/{checkpoint}"), "config.json")?);
    }
    run(7, &files, 5_000, bodies::config);
    Ok(())
}
