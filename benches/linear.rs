//! Times the linear layer's product on this machine, in each format and in the shapes that
//! BLIP-2 OPT-2.7B has: `cargo bench --features ssr --bench linear`.
//!
//! Prints multiply-adds and weight bytes a second; the CPU should be idle. `GLIMPSE_ISA=avx2` and
//! the like times the kernels of another instruction set.

use std::time::Instant;

use candle_core::{Device, Tensor};
use glimpse::cpu::matrix::InMemory;
use glimpse::cpu::product::product;
use glimpse::cpu::{Isa, PackedMatrix, WeightFormat};

/// Rows, inputs and outputs, and where in the model.
const SHAPES: [(usize, usize, usize, &str); 6] = [
    (257, 1408, 6144, "vision fc1"),
    (257, 6144, 1408, "vision fc2"),
    (32, 768, 3072, "Q-Former intermediate"),
    (44, 2560, 10240, "OPT fc1, prefill"),
    (1, 2560, 10240, "OPT fc1, decode"),
    (1, 10240, 2560, "OPT fc2, decode"),
];

fn main() {
    println!("on {}", Isa::current().name());
    println!("{:24} {:6} {:>10} {:>10}", "layer", "format", "GFLOP/s", "GB/s");
    for (rows, inputs, outputs, name) in SHAPES {
        let x: Vec<f32> = (0..rows * inputs).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
        let weights: Vec<f32> = (0..inputs * outputs).map(|i| (i % 23) as f32 * 0.01 - 0.1).collect();
        for format in WeightFormat::ALL {
            let stored = InMemory {
                numbers: &weights,
                inputs,
            };
            let matrix = PackedMatrix::pack(&stored, format).expect("there is memory");
            report(name, format.name(), rows * inputs * outputs, matrix.bytes(), || {
                std::hint::black_box(product(&x, &matrix, None));
            });
        }
        let (x, weights) = (tensor(&x, rows, inputs), tensor(&weights, outputs, inputs));
        report(name, "candle", rows * inputs * outputs, inputs * outputs * 4, || {
            std::hint::black_box(
                weights
                    .t()
                    .and_then(|weights| x.matmul(&weights))
                    .expect("the shapes fit"),
            );
        });
    }
}

fn tensor(numbers: &[f32], rows: usize, columns: usize) -> Tensor {
    Tensor::from_slice(numbers, (rows, columns), &Device::Cpu).expect("as many numbers as the shape has")
}

/// The best of many runs.
fn report(name: &str, format: &str, multiplications: usize, bytes: usize, mut run: impl FnMut()) {
    let seconds = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    let (flops, bytes) = (
        2.0 * multiplications as f64 / seconds / 1e9,
        bytes as f64 / seconds / 1e9,
    );
    println!("{name:24} {format:6} {flops:10.1} {bytes:10.1}");
}
