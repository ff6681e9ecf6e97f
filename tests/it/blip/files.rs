//! Files as people have them.

use std::path::Path;

use candle_core::Device;
use glimpse::blip::config::Task;
use glimpse::models::{Checkpoint, Purpose};

use super::{AnyResult, folders};

/// A copy of a golden folder, to be changed.
fn copy(folder: &Path) -> AnyResult<tempfile::TempDir> {
    let copy = tempfile::tempdir()?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        std::fs::copy(&path, copy.path().join(path.file_name().ok_or("a name")?))?;
    }
    Ok(copy)
}

fn said(folder: &Path) -> String {
    let opened = Checkpoint::open(folder).and_then(|checkpoint| checkpoint.processor().map(|_| ()));
    opened.err().map(|error| error.to_string()).unwrap_or_default()
}

fn all() -> AnyResult<Vec<std::path::PathBuf>> {
    Ok([folders(Task::Caption)?, folders(Task::Question)?, folders(Task::Match)?].concat())
}

#[test]
fn the_committed_set_covers_what_it_should() -> AnyResult<()> {
    let (mut pickles, mut pickled_shards, mut shards, mut words, mut untidy) = (0, 0, 0, 0, 0);
    let (mut no_class, mut heads, mut heads_out) = (0, [0, 0], 0);
    for folder in all()? {
        let has = |file: &str| usize::from(folder.join(file).is_file());
        pickles += has("pytorch_model.bin");
        pickled_shards += has("pytorch_model.bin.index.json");
        shards += has("model.safetensors.index.json");
        words += has("vocab.txt");
        let json = std::fs::read_to_string(folder.join("config.json"))?;
        untidy += usize::from(serde_json::from_str::<serde_json::Value>(&json).is_err());
        no_class += usize::from(!json.contains("\"architectures\""));
        let checkpoint = Checkpoint::open(&folder)?;
        let config = checkpoint.config().blip().ok_or("it is BLIP")?;
        heads[usize::from(checkpoint.has_head())] += 1;
        heads_out += usize::from(config.text_config.num_attention_heads == 8);
        let purpose = match config.task() {
            Task::Caption => Purpose::Captions,
            Task::Question => Purpose::Answers,
            Task::Match => Purpose::Matching,
        };
        assert_eq!(checkpoint.config().purpose(), purpose);
    }
    assert!(
        pickles >= 6 && pickled_shards >= 3 && shards >= 3,
        "{pickles} {pickled_shards} {shards}"
    );
    assert!(
        words >= 6 && untidy >= 6 && no_class >= 6,
        "{words} {untidy} {no_class}"
    );
    assert!(
        heads[0] >= 6 && heads[1] >= 6 && heads_out >= 3,
        "{heads:?} {heads_out}"
    );
    Ok(())
}

#[test]
fn a_file_that_lacks_something_is_refused_by_name() -> AnyResult<()> {
    let (captions, questions) = (&folders(Task::Caption)?[0], &folders(Task::Question)?[0]);
    let folder = copy(captions)?;
    let file = folder.path().join("model.safetensors");
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu)?;
    for missing in [
        "text_decoder.cls.predictions.bias",
        "text_decoder.bert.encoder.layer.0.crossattention.self.key.weight",
        "vision_model.post_layernorm.bias",
    ] {
        let mut fewer = tensors.clone();
        assert!(fewer.remove(missing).is_some(), "{missing}");
        candle_core::safetensors::save(&fewer, &file)?;
        assert!(said(folder.path()).contains(missing), "{}", said(folder.path()));
    }
    // One of the bias's two names is enough.
    let mut other = tensors.clone();
    let bias = other.remove("text_decoder.cls.predictions.bias").ok_or("a bias")?;
    other.insert("text_decoder.cls.predictions.decoder.bias".into(), bias);
    candle_core::safetensors::save(&other, &file)?;
    assert_eq!(said(folder.path()), "");
    // A captioning file that is called a matching one.
    let folder = copy(captions)?;
    let config = std::fs::read_to_string(folder.path().join("config.json"))?;
    let config = config.replace("BlipForConditionalGeneration", "BlipForImageTextRetrieval");
    std::fs::write(folder.path().join("config.json"), config)?;
    assert!(said(folder.path()).contains("text_encoder."), "{}", said(folder.path()));
    let folder = copy(questions)?;
    std::fs::remove_file(folder.path().join("tokenizer.json"))?;
    assert!(
        said(folder.path()).contains("tokenizer.json"),
        "{}",
        said(folder.path())
    );
    std::fs::write(folder.path().join("vocab.txt"), "a\nb\n")?;
    assert!(said(folder.path()).contains("[CLS]"), "{}", said(folder.path()));
    Ok(())
}

#[test]
fn a_pickled_file_that_is_cut_or_made_up_is_named_and_runs_nothing() -> AnyResult<()> {
    let pickled = all()?
        .into_iter()
        .find(|folder| folder.join("pytorch_model.bin").is_file())
        .ok_or("a pickled one")?;
    let folder = copy(&pickled)?;
    let file = folder.path().join("pytorch_model.bin");
    let whole = std::fs::read(&file)?;
    for cut in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut])?;
        let error = said(folder.path());
        assert!(error.contains("pytorch_model.bin is damaged"), "cut at {cut}: {error}");
    }
    // Bytes of the list of tensors are others: whatever it says then, nothing panics through.
    let pickle = whole
        .windows(8)
        .position(|bytes| bytes == b"data.pkl")
        .ok_or("a list")?;
    for step in 0..120 {
        let mut other = whole.clone();
        let place = pickle + 60 + 7 * step;
        other[place] ^= 1 << (step % 8);
        std::fs::write(&file, &other)?;
        let _ = said(folder.path());
    }
    Ok(())
}

#[test]
fn a_model_of_another_kind_is_named() -> AnyResult<()> {
    let checkpoint = Checkpoint::open(&folders(Task::Caption)?[0])?;
    let placement = super::own();
    let error = checkpoint.load_blip2(&placement).err().ok_or("it is BLIP")?;
    assert!(error.to_string().contains("no BLIP-2"), "{error}");
    let demo = Checkpoint::demo()?;
    assert!(demo.load_blip(&placement).is_err());
    Ok(())
}
