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
    // As torch wrote before version 1.6: nothing is wrong with it, and fetching it again would not help.
    for protocol in [2, 3] {
        let mut old = vec![0x80, protocol];
        old.extend(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00(X\x10");
        std::fs::write(&file, old)?;
        let error = said(folder.path());
        assert!(
            error.contains("pytorch_model.bin is whole") && error.contains("torch.save("),
            "{error}"
        );
        assert!(!error.contains("damaged") && !error.contains("ownload"), "{error}");
    }
    for other in [&b"\x80\x02}q\x00."[..], b"\x80"] {
        std::fs::write(&file, other)?;
        assert!(said(folder.path()).contains("pytorch_model.bin is damaged"));
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

/// A zip archive of files that are not packed, as `torch.save` writes one; its checksums are left out, since
/// nothing of it is unpacked.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let sizes = [0, content.len() as u32, content.len() as u32]
            .map(u32::to_le_bytes)
            .concat();
        let start = bytes.len() as u32;
        let names = [name.len() as u16, 0].map(u16::to_le_bytes).concat();
        bytes.extend(
            [
                b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0",
                &sizes[..],
                &names,
                name.as_bytes(),
                content,
            ]
            .concat(),
        );
        directory.extend([b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0", &sizes[..], &names, &[0; 10]].concat());
        directory.extend([&start.to_le_bytes(), name.as_bytes()].concat());
    }
    let counts = [files.len() as u16; 2].map(u16::to_le_bytes).concat();
    let places = [directory.len() as u32, bytes.len() as u32]
        .map(u32::to_le_bytes)
        .concat();
    [&bytes[..], &directory, b"PK\x05\x06\0\0\0\0", &counts, &places, &[0, 0]].concat()
}

#[test]
fn a_pickled_file_cannot_fill_the_memory_or_the_stack_or_be_read_the_wrong_way_round() -> AnyResult<()> {
    let pickled = all()?
        .into_iter()
        .find(|folder| folder.join("pytorch_model.bin").is_file());
    let folder = copy(&pickled.ok_or("a pickled one")?)?;
    let doubled = (0..60).flat_map(|index| [b'h', index, b'h', index, 0x86, b'q', index + 1]);
    let doubled: Vec<u8> = b"\x80\x02]q\x00".iter().copied().chain(doubled).chain(*b".").collect();
    let nested = [&b"\x80\x02)"[..], &b"\x85".repeat(300_000), b"."].concat();
    let system = b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00aR.";
    let cases: [(&[u8], &[u8], &str); 4] = [
        (&doubled, b"little", "more values"),
        (&nested, b"little", "too deep"),
        (system, b"little", "makes no sense"),
        (b"\x80\x02}.", b"big", "another order of bytes"),
    ];
    for (pickle, order, said_of_it) in cases {
        let file = archive(&[("archive/data.pkl", pickle), ("archive/byteorder", order)]);
        std::fs::write(folder.path().join("pytorch_model.bin"), file)?;
        let error = said(folder.path());
        assert!(
            error.contains("pytorch_model.bin is damaged") && error.contains(said_of_it),
            "{error}"
        );
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
