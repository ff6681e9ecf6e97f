//! Writes a checkpoint of any size with random weights, to measure with.
//!
//!     cargo run --release --features ssr --example random-checkpoint -- DIR
//!     … --model Salesforce/blip2-opt-6.7b --dtype bf16 DIR
//!     … --config config.json DIR
//!
//! The weights go to the disk as they are made, in shards as the hub's are; nothing is held
//! in memory. The same arguments give the same bytes.

mod write;

use std::path::PathBuf;

use clap::Parser;
use glimpse::models::known;
use write::NumberFormat;

#[derive(Parser)]
struct Arguments {
    /// The published checkpoint whose shape it gets
    #[arg(long, default_value = "Salesforce/blip2-opt-2.7b", conflicts_with = "config")]
    model: String,

    /// A config.json with another shape
    #[arg(long)]
    config: Option<PathBuf>,

    /// How the numbers are stored: f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    dtype: NumberFormat,

    /// Bytes of a shard, at most
    #[arg(long, default_value_t = 5_000_000_000)]
    shard_bytes: u64,

    /// The folder to write to
    folder: PathBuf,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let config = match &arguments.config {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => {
            let known = known().into_iter().find(|known| known.id == arguments.model);
            known
                .ok_or("This is no published checkpoint; `glimpse models` lists them.")?
                .json
        }
    };
    let bytes = write::checkpoint(&config, arguments.dtype, arguments.shard_bytes, &arguments.folder)?;
    println!("{} GB in {}", bytes as f64 / 1e9, arguments.folder.display());
    Ok(())
}
