//! What people take for a checkpoint although it is not one: named for what it is, before anything
//! is loaded.

use std::io::Read;
use std::path::Path;

use super::CheckpointError;
use super::lenient_json;
use super::ordinary_file;

/// How a pointer file of Git LFS begins.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Looks at a folder before its files are read.
///
/// # Errors
/// [`CheckpointError::Foreign`], with the way out.
pub fn check_folder(folder: &Path, checkpoint: &str) -> Result<(), CheckpointError> {
    let names = names(folder);
    if let Some(file) = names.iter().find(|name| is_pointer(&folder.join(name))) {
        let what = format!("has {file} as a Git LFS pointer, not the file itself");
        return Err(foreign(checkpoint, &what, "Run `git lfs pull` in its folder."));
    }
    check_names(&names, checkpoint)
}

/// The same of the names alone, as the hub lists them.
///
/// # Errors
/// [`CheckpointError::Foreign`], with the way out.
pub fn check_names(names: &[String], checkpoint: &str) -> Result<(), CheckpointError> {
    if names.iter().any(|name| name == "config.json") {
        return Ok(());
    }
    if names.iter().any(|name| name == "adapter_config.json") {
        return Err(foreign(
            checkpoint,
            "is an adapter (LoRA) without the model that it changes",
            ADAPTER,
        ));
    }
    if names.iter().any(|name| is_gguf(name)) {
        return Err(foreign(checkpoint, "holds GGUF files, which are llama.cpp's", GGUF));
    }
    Ok(())
}

fn foreign(checkpoint: &str, what: &str, advice: &str) -> CheckpointError {
    CheckpointError::Foreign {
        checkpoint: checkpoint.into(),
        what: what.into(),
        advice: advice.into(),
    }
}

const ADAPTER: &str = "Merge it into its model in Python with merge_and_unload() of peft, save that with save_pretrained, and name that folder.";

const GGUF: &str =
    "Use the model in Hugging Face's form, as `glimpse models` lists them; --dtype q4_k makes it as small.";

const QUANTISED: &str =
    "Use the model that it was made from, in f32, f16 or bf16; --dtype q8_0 or q4_k makes it as small.";

/// A name that ends as GGUF files do.
pub fn is_gguf(name: &str) -> bool {
    let ending = Path::new(name).extension();
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

/// What a single file is that was named in place of a folder; none where nothing is there.
pub fn of_file(text: &str) -> Option<CheckpointError> {
    let path = Path::new(text);
    if !path.exists() {
        return None;
    }
    if is_gguf(text) {
        return Some(foreign(text, "is a GGUF file, which is llama.cpp's", GGUF));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let advice = format!(
        "Name the folder that it lies in, {}.",
        folder.unwrap_or(Path::new(".")).display()
    );
    let what = "is a file, and a checkpoint is a folder with config.json, tokenizer.json and the weights";
    Some(foreign(text, what, &advice))
}

/// Refuses a config that says that its weights were quantised by another program.
pub fn check_config(json: &str, checkpoint: &str) -> Result<(), CheckpointError> {
    // What is no JSON is told by whoever reads it as a config.
    let Ok(config) = lenient_json::parse(json.as_bytes()) else {
        return Ok(());
    };
    let places = [
        &config["quantization_config"],
        &config["text_config"]["quantization_config"],
    ];
    match places.into_iter().find(|place| place.is_object()) {
        Some(place) => Err(quantised(place["quant_method"].as_str(), checkpoint)),
        None => Ok(()),
    }
}

/// Refuses weights that bitsandbytes wrote, which tell it by the names beside them.
pub fn check_tensors<'a>(mut names: impl Iterator<Item = &'a str>, checkpoint: &str) -> Result<(), CheckpointError> {
    let is_of_bitsandbytes = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or_default();
        matches!(last, "absmax" | "nested_absmax" | "quant_map" | "SCB") || name.contains(".quant_state.bitsandbytes")
    };
    if names.any(is_of_bitsandbytes) {
        return Err(quantised(Some("bitsandbytes"), checkpoint));
    }
    Ok(())
}

fn quantised(method: Option<&str>, checkpoint: &str) -> CheckpointError {
    CheckpointError::Foreign {
        checkpoint: checkpoint.into(),
        what: format!(
            "is quantised by {}, which Glimpse does not read",
            method.unwrap_or("another program")
        ),
        advice: QUANTISED.into(),
    }
}

/// The names of a folder's files; of one that cannot be listed none, which is told later.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Whether a file that a checkpoint is read from is a pointer of Git LFS.
fn is_pointer(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    if !(ending == "json" || ending == "safetensors" || ending == "bin") {
        return false;
    }
    let mut begin = Vec::new();
    let read = ordinary_file::open(path).and_then(|file| file.take(LFS.len() as u64).read_to_end(&mut begin));
    read.is_ok() && begin == LFS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("the folder is ours");
        }
        let outcome = check_folder(folder.path(), "mine");
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_no_checkpoint_is_named_with_the_way_out() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
        let lfs = said(&[("config.json", "{}"), ("model.safetensors", pointer)]);
        assert!(
            lfs.contains("model.safetensors") && lfs.contains("git lfs pull"),
            "{lfs}"
        );
        let lora = said(&[("adapter_config.json", "{}"), ("adapter_model.safetensors", "")]);
        assert!(lora.contains("LoRA") && lora.contains("merge_and_unload"), "{lora}");
        let gguf = said(&[("model-Q4_K.gguf", "GGUF")]);
        assert!(gguf.contains("GGUF") && gguf.contains("glimpse models"), "{gguf}");
        assert_eq!(said(&[("config.json", "{}"), ("model.safetensors", "numbers")]), "");
    }

    #[test]
    fn weights_that_others_quantised_are_named() {
        let config = r#"{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}}"#;
        let error = check_config(config, "mine").expect_err("it is quantised").to_string();
        assert!(error.contains("bitsandbytes") && error.contains("q4_k"), "{error}");
        assert!(check_config("{}", "mine").is_ok() && check_config("{", "mine").is_ok());
        let names = ["a.weight", "a.weight.absmax"];
        assert!(check_tensors(names.into_iter(), "mine").is_err());
        assert!(check_tensors(["a.weight", "b.bias"].into_iter(), "mine").is_ok());
    }
}
