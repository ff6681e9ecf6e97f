//! Every way of decoding gives the reference's answers, on every golden checkpoint.
//!
//! The files under `decoding/` are made by `make golden`, with transformers in f32 on the
//! CPU; `GLIMPSE_GOLDEN=DIR` tests another set (`make golden SEED=1 OUT=DIR`).
//!
//! What must hold: greedy decoding and beam search give the same tokens, sequence scores
//! and log-probabilities within 1e-3 (scores beyond 100 within a hundred-thousandth of
//! themselves, which is what f32 sums leave of them); what tokens are drawn from is the reference's
//! distribution within 1e-5 at every step; the same seed gives the same answer.

use std::path::Path;

use candle_core::Device;
use glimpse::cpu::{Isa, WeightFormat};
use glimpse::nn::{Kernels, Placement};

use super::AnyResult;
use super::golden::{Case, golden, names};
use crate::parity::device_by_env;

/// Where multiply and add round once, as the reference does.
const DISTRIBUTION_TOLERANCE: f32 = 1e-5;

/// The smallest T5s double a rounding so often that the reference's own show: with the root of a norm
/// in f64, nearer to exact numbers, they are off by 2e-5.
const T5_DISTRIBUTION_TOLERANCE: f32 = 2e-5;

/// The baseline of x86 has no fused multiply-add.
const UNFUSED_DISTRIBUTION_TOLERANCE: f32 = 4e-5;

/// With the kernels that suit the CPU, or that `GLIMPSE_KERNELS` names; or on the device of
/// `GLIMPSE_TEST_DEVICE`.
fn placement() -> AnyResult<Placement> {
    Ok(Placement::new(device_by_env()?, WeightFormat::F32)?)
}

#[test]
fn greedy_and_beam_search_answer_as_the_reference_does() -> AnyResult<()> {
    all_answer_as_the_reference_does(&placement()?)
}

/// What a GPU runs, on the CPU.
#[test]
fn candles_operations_answer_as_the_reference_does() -> AnyResult<()> {
    let placement = Placement::with_kernels(Device::Cpu, WeightFormat::F32, Kernels::Candle);
    all_answer_as_the_reference_does(&placement)
}

fn all_answer_as_the_reference_does(placement: &Placement) -> AnyResult<()> {
    let mut complaints = Vec::new();
    let (mut answers, mut checkpoints) = (0, 0);
    for name in names()? {
        let case = Case::open(&golden(), &name, placement)?;
        complaints.extend(case.check_answers()?.into_iter().map(|what| format!("{name}: {what}")));
        answers += case.golden.answers.len();
        checkpoints += 1;
    }
    let is_committed_set = golden() == Path::new("tests/golden");
    assert!(
        checkpoints >= if is_committed_set { 24 } else { 1 },
        "{checkpoints} checkpoints"
    );
    assert_eq!(answers, checkpoints * 8 * 4, "eight pictures, four settings");
    assert!(
        complaints.is_empty(),
        "{} of {answers}:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    Ok(())
}

#[test]
fn tokens_are_drawn_from_the_references_distribution() -> AnyResult<()> {
    let is_fused = Isa::current().name() != "baseline" || cfg!(target_arch = "aarch64");
    for name in names()? {
        let case = Case::open(&golden(), &name, &placement()?)?;
        let is_t5 = !case.model.reads_in_parts();
        let tolerance = match (is_fused, is_t5) {
            (false, _) => UNFUSED_DISTRIBUTION_TOLERANCE,
            (true, true) => T5_DISTRIBUTION_TOLERANCE,
            (true, false) => DISTRIBUTION_TOLERANCE,
        };
        let worst = case.check_distribution()?;
        let options = &case.golden.drawn.options;
        assert!(worst <= tolerance, "{name} {options:?}: off by {worst:e}");
    }
    Ok(())
}
