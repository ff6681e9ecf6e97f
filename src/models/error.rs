//! Why there is no model.

use std::io::ErrorKind;

use super::device::DeviceError;
use super::dtype::UnsupportedDtype;
use super::fit::TooLarge;
use crate::blip::config::ConfigError as BlipConfigError;
use crate::blip2::config::ConfigError;
use crate::checkpoint::CheckpointError;
use crate::nn::kernels::KernelsError;
use crate::processor::{ProcessorError, TextError};

/// Why there is no model; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Dtype(#[from] UnsupportedDtype),
    #[error(transparent)]
    Kernels(#[from] KernelsError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    BlipConfig(#[from] BlipConfigError),
    #[error(
        "config.json names the class `{0}`, and Glimpse runs BlipForConditionalGeneration, BlipForQuestionAnswering, BlipForImageTextRetrieval, Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval and InstructBlipForConditionalGeneration. Choose a checkpoint of one of those."
    )]
    UnknownClass(String),
    #[error("The checkpoint {name} is no {wanted}. Name another one.")]
    NotThisModel { name: String, wanted: &'static str },
    #[error(transparent)]
    Picture(#[from] ProcessorError),
    #[error(
        "The picture processor's configuration makes pictures of {found}, and config.json asks for {side} x {side}. The files do not belong together: download them again."
    )]
    PictureSize { found: String, side: usize },
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    TooLarge(Box<TooLarge>),
    #[error(
        "There is not enough memory for the weights of the checkpoint {checkpoint} ({reason}). Use a smaller --dtype, as `glimpse models` lists them, or end other programs."
    )]
    OutOfMemory { checkpoint: String, reason: String },
    #[error(
        "The GPU failed while the weights of the checkpoint {checkpoint} were brought there: {reason}. Check its driver (`nvidia-smi`) and who else uses it, or use --device cpu."
    )]
    Gpu { checkpoint: String, reason: String },
    #[error(
        "The weights of the checkpoint {checkpoint} cannot be read: {reason}. Check the files' permissions and the disk."
    )]
    Unreadable { checkpoint: String, reason: String },
    #[error(
        "The weights of the checkpoint {checkpoint} cannot be taken: {reason}. The files are sound as far as their headers tell, so this is a fault of Glimpse: report it with this sentence."
    )]
    Unexpected { checkpoint: String, reason: String },
}

impl LoadError {
    /// What went wrong while a network took its tensors, in a sentence with the advice that
    /// helps against that.
    pub(super) fn of_weights(checkpoint: &str, error: candle_core::Error) -> Self {
        use candle_core::Error as E;
        let checkpoint = checkpoint.to_owned();
        match error {
            E::CannotFindTensor { path } => CheckpointError::MissingTensor {
                checkpoint,
                tensor: path,
            }
            .into(),
            E::UnexpectedShape { msg, expected, got } => CheckpointError::WrongShape {
                checkpoint,
                tensor: msg,
                expected: format!("{:?}", expected.dims()),
                found: format!("{:?}", got.dims()),
            }
            .into(),
            E::WithBacktrace { inner, .. } | E::Context { inner, .. } | E::WithPath { inner, .. } => {
                Self::of_weights(&checkpoint, *inner)
            }
            E::Io(error) => match error.kind() {
                ErrorKind::OutOfMemory => Self::OutOfMemory {
                    checkpoint,
                    reason: error.to_string(),
                },
                _ => Self::Unreadable {
                    checkpoint,
                    reason: error.to_string(),
                },
            },
            error @ (E::Cuda(_) | E::Metal(_)) => {
                let reason = first_line(&error);
                match reason.to_ascii_lowercase().replace('_', " ").contains("out of memory") {
                    true => Self::OutOfMemory { checkpoint, reason },
                    false => Self::Gpu { checkpoint, reason },
                }
            }
            other => Self::Unexpected {
                checkpoint,
                reason: first_line(&other),
            },
        }
    }
}

/// A backtrace may follow, which the sentence does without.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use candle_core::{Error, Shape};

    use super::*;

    fn said(error: Error) -> String {
        LoadError::of_weights("mine", error.bt()).to_string()
    }

    #[test]
    fn the_advice_fits_the_reason_and_sound_files_are_not_downloaded_again() {
        let memory = said(Error::Io(ErrorKind::OutOfMemory.into()));
        assert!(
            memory.contains("not enough memory") && memory.contains("--dtype"),
            "{memory}"
        );
        let gpu = said(Error::Cuda("CUDA_ERROR_OUT_OF_MEMORY".into()));
        assert!(gpu.contains("not enough memory") && gpu.contains("CUDA_ERROR"), "{gpu}");
        let driver = said(Error::Cuda("CUDA_ERROR_ILLEGAL_ADDRESS".into()));
        assert!(
            driver.contains("--device cpu") && driver.contains("ILLEGAL_ADDRESS"),
            "{driver}"
        );
        let disk = said(Error::Io(ErrorKind::PermissionDenied.into()));
        assert!(disk.contains("permission"), "{disk}");
        let fault = said(Error::Msg("no such op\nand a backtrace".into()));
        assert!(
            fault.contains("no such op") && fault.contains("report") && !fault.contains("backtrace"),
            "{fault}"
        );
        for sentence in [memory, gpu, driver, disk, fault] {
            assert!(
                sentence.contains("mine") && !sentence.to_lowercase().contains("download"),
                "{sentence}"
            );
        }
        let shape = said(Error::UnexpectedShape {
            msg: "query_tokens".into(),
            expected: Shape::from((1, 2)),
            got: Shape::from((1, 3)),
        });
        assert!(
            shape.contains("query_tokens") && shape.contains("[1, 3]") && shape.contains("again"),
            "{shape}"
        );
    }
}
