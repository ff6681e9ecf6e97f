//! How long loading takes, beside reading the files and converting the numbers by themselves:
//! `cargo bench --features ssr --bench loading -- --model DIR --dtype q8_0`.
//!
//! Loading should take no longer than 1.3 times the two together. Files that do not fit
//! beside the model in the system's cache are read from the disk each time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use clap::Parser;
use glimpse::cpu::matrix::InMemory;
use glimpse::cpu::{PackedMatrix, WeightFormat};
use glimpse::models::Checkpoint;
use glimpse::models::inventory::{Kind, inventory};
use glimpse::nn::Placement;

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Arguments {
    /// A checkpoint folder
    #[arg(long)]
    model: PathBuf,
    #[arg(long, default_value = "q8_0")]
    dtype: String,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> AnyResult<()> {
    let arguments = Arguments::parse();
    let weights: WeightFormat = arguments.dtype.parse().map_err(|()| "no such dtype")?;
    let reading = timed(|| read(&arguments.model))?;
    let conversion = convert(&arguments.model, weights)?;
    let loading = timed(|| {
        let checkpoint = Checkpoint::open(&arguments.model)?;
        checkpoint.load(&Placement::new(Device::Cpu, weights)?)?;
        Ok(())
    })?;
    let [reading, conversion, loading] = [reading, conversion, loading].map(|time| time.as_secs_f64());
    let ratio = loading / (reading + conversion);
    println!(
        "{}: reading {reading:.1} s, converting {conversion:.1} s, loading {loading:.1} s: {ratio:.2} times both",
        weights.name()
    );
    Ok(())
}

fn timed(work: impl FnOnce() -> AnyResult<()>) -> AnyResult<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Reads the weight files from front to back.
fn read(folder: &Path) -> AnyResult<()> {
    let mut buffer = vec![0; 1 << 20];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let mut file = std::fs::File::open(path)?;
            while file.read(&mut buffer)? > 0 {}
        }
    }
    Ok(())
}

/// The time to convert all matrices, each from the program's own memory.
fn convert(folder: &Path, weights: WeightFormat) -> AnyResult<Duration> {
    let checkpoint = Checkpoint::open(folder)?;
    let tensors = checkpoint.tensors();
    let (mut packed, mut time) = (Vec::new(), Duration::ZERO);
    for tensor in inventory(checkpoint.config(), checkpoint.has_head()) {
        if tensor.kind == Kind::Vector {
            continue;
        }
        let stored = tensors.matrix(&tensor.name, &tensor.shape.into())?;
        let numbers = stored.read(0..stored.outputs(), &mut Vec::new()).to_vec();
        stored.done_with(0..stored.outputs());
        let matrix = InMemory {
            numbers: &numbers,
            inputs: stored.inputs(),
        };
        let start = Instant::now();
        packed.push(PackedMatrix::pack(&matrix, weights)?);
        time += start.elapsed();
    }
    Ok(time)
}
