//! Times the linear layer's product on this machine, in each format and in the shapes that
//! BLIP-2 OPT-2.7B has: `cargo bench --features ssr --bench linear`, with `-- q8_0` and the like
//! in some formats only.
//!
//! Prints multiply-adds and weight bytes a second, and for rows of tokens how many times a
//! single row's time they take; the CPU should be idle. `GLIMPSE_ISA=avx2` and the like times the
//! kernels of another instruction set, `RAYON_NUM_THREADS` fewer cores.

use std::time::Instant;

use candle_core::{Device, Tensor};
use glimpse::cpu::matrix::InMemory;
use glimpse::cpu::product::{Rows, product_of};
use glimpse::cpu::{Isa, PackedMatrix, WeightFormat};

/// Rows, inputs and outputs, and where in the model.
const PROMPTS: [(usize, usize, usize, &str); 6] = [
    (257, 1408, 6144, "vision fc1"),
    (257, 6144, 1408, "vision fc2"),
    (32, 768, 3072, "Q-Former intermediate"),
    (40, 2560, 10240, "OPT fc1, prefill"),
    (40, 10240, 2560, "OPT fc2, prefill"),
    (11, 2560, 10240, "OPT fc1, question"),
];

/// Inputs and outputs, and where in the model.
const TOKENS: [(usize, usize, &str); 2] = [(2560, 10240, "OPT fc1, decode"), (10240, 2560, "OPT fc2, decode")];

/// Rows of tokens.
const COUNTS: [usize; 8] = [1, 2, 3, 4, 5, 8, 16, 32];

/// Bytes of weights that no cache holds: a decoding step finds none of its weights there.
const BEYOND_CACHES: usize = 1 << 28;

fn main() {
    let wanted: Vec<WeightFormat> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let formats = if wanted.is_empty() {
        WeightFormat::ALL.to_vec()
    } else {
        wanted
    };
    println!("on {}", Isa::current().name());
    println!(
        "{:24} {:>4} {:6} {:>10} {:>10}",
        "layer", "rows", "format", "GFLOP/s", "GB/s"
    );
    for (rows, inputs, outputs, name) in PROMPTS {
        time_prompt(rows, inputs, outputs, name, &formats);
    }
    for (inputs, outputs, name) in TOKENS {
        for &format in &formats {
            time_tokens(inputs, outputs, name, format);
        }
    }
}

fn time_prompt(rows: usize, inputs: usize, outputs: usize, name: &str, formats: &[WeightFormat]) {
    let (x, weights) = (inputs_of(rows * inputs), weights_of(inputs * outputs));
    let multiplications = rows * inputs * outputs;
    for &format in formats {
        let matrix = pack(&weights, inputs, format);
        let seconds = best(|| drop(std::hint::black_box(product_of(Rows::Prompt, &x, &matrix, None))));
        report(name, rows, format.name(), multiplications, matrix.bytes(), seconds);
        println!();
    }
    let (x, weights) = (tensor(&x, rows, inputs), tensor(&weights, outputs, inputs));
    let seconds = best(|| {
        let product = weights.t().and_then(|weights| x.matmul(&weights));
        std::hint::black_box(product.expect("the shapes fit"));
    });
    report(name, rows, "candle", multiplications, inputs * outputs * 4, seconds);
    println!();
}

/// All numbers of rows by turns, each time with another matrix, so that weights come from memory.
fn time_tokens(inputs: usize, outputs: usize, name: &str, format: WeightFormat) {
    let weights = weights_of(inputs * outputs);
    let mut matrices = vec![pack(&weights, inputs, format)];
    let bytes = matrices[0].bytes();
    matrices.resize_with((BEYOND_CACHES / bytes).max(2), || pack(&weights, inputs, format));
    let mut matrices = matrices.iter().cycle();
    let x = inputs_of(COUNTS[COUNTS.len() - 1] * inputs);
    let mut least = [f64::INFINITY; COUNTS.len()];
    for _ in 0..RUNS {
        for (rows, least) in COUNTS.into_iter().zip(&mut least) {
            let matrix = matrices.next().expect("a cycle has no end");
            let seconds = timed(|| {
                drop(std::hint::black_box(product_of(
                    Rows::Tokens,
                    &x[..rows * inputs],
                    matrix,
                    None,
                )))
            });
            *least = least.min(seconds);
        }
    }
    for (rows, seconds) in COUNTS.into_iter().zip(least) {
        report(name, rows, format.name(), rows * inputs * outputs, bytes, seconds);
        println!("   {:5.2} times one row", seconds / least[0]);
    }
}

fn inputs_of(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect()
}

fn weights_of(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 23) as f32 * 0.01 - 0.1).collect()
}

fn pack(numbers: &[f32], inputs: usize, format: WeightFormat) -> PackedMatrix {
    PackedMatrix::pack(&InMemory { numbers, inputs }, format).expect("there is memory")
}

fn tensor(numbers: &[f32], rows: usize, columns: usize) -> Tensor {
    Tensor::from_slice(numbers, (rows, columns), &Device::Cpu).expect("as many numbers as the shape has")
}

/// How often each product is run.
const RUNS: usize = 15;

/// The best of many runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    (0..RUNS).map(|_| timed(&mut run)).fold(f64::INFINITY, f64::min)
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// A line without its end.
fn report(name: &str, rows: usize, format: &str, multiplications: usize, bytes: usize, seconds: f64) {
    let (flops, bytes) = (
        2.0 * multiplications as f64 / seconds / 1e9,
        bytes as f64 / seconds / 1e9,
    );
    print!("{name:24} {rows:4} {format:6} {flops:10.1} {bytes:10.1}");
}
