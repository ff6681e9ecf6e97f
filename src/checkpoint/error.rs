//! What is wrong with a checkpoint's files.

use super::hub::HubError;

/// What is wrong with a checkpoint's files; each sentence names the file or tensor.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(
        "There is no folder {0}, and it is no hub id (owner/name or owner/name@revision) either. Name a folder with a checkpoint or an id, or leave --model out for the demo model."
    )]
    NoFolder(String),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("The checkpoint {checkpoint} has no {file}. Download the whole checkpoint.")]
    MissingFile { checkpoint: String, file: String },
    #[error("{file} cannot be read: {reason}. Check the file and its permissions.")]
    Unreadable { file: String, reason: String },
    #[error("{file} is damaged: {reason}. Download it again.")]
    Damaged { file: String, reason: String },
    #[error(
        "{file} is whole, but in the format of torch before 1.6, which Glimpse does not read. Save it anew in Python, with torch.save(torch.load(\"{file}\", map_location=\"cpu\"), \"{file}\")."
    )]
    OldFormat { file: String },
    #[error(
        "The checkpoint {checkpoint} has no tensor {tensor}, which its config.json asks for. Download the checkpoint again."
    )]
    MissingTensor { checkpoint: String, tensor: String },
    #[error(
        "The tensor {tensor} of the checkpoint {checkpoint} has the shape {found}, and its config.json asks for {expected}. The files do not belong together: download them again."
    )]
    WrongShape {
        checkpoint: String,
        tensor: String,
        expected: String,
        found: String,
    },
    #[error(
        "The tensor {tensor} of the checkpoint {checkpoint} holds {found} numbers, which are no weights that Glimpse reads. Use a checkpoint in f32, f16 or bf16."
    )]
    WrongNumbers {
        checkpoint: String,
        tensor: String,
        found: String,
    },
    #[error("{checkpoint} {what}. {advice}")]
    Foreign {
        checkpoint: String,
        what: String,
        advice: String,
    },
}
