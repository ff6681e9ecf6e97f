//! What several tests need: a small checkpoint made on the spot, and the program itself.
#![allow(dead_code)] // each test file uses its part

pub mod memory;
pub mod page;
pub mod ports;
pub mod script;
pub mod site;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use glimpse::engine::{ClientKey, Instruction, Submission};
use glimpse::generation::GenerationOptions;
use glimpse::processor::Picture;
use tempfile::TempDir;

use ports::Port;

/// A client's question about a picture of one pixel.
pub fn submission(client: u128) -> Submission {
    Submission {
        client: ClientKey::from(client),
        network: None,
        deadline: None,
        picture: Arc::new(Picture {
            width: 1,
            height: 1,
            rgb: vec![1, 2, 3],
        }),
        instruction: Instruction::question(client.to_string()),
        options: GenerationOptions::default(),
        stop_strings: Vec::new(),
    }
}

/// The program under test.
pub fn glimpse() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glimpse"));
    // As `make run` may leave them: empty is unset.
    command
        .env("GLIMPSE_MODEL", "")
        .env("GLIMPSE_DEVICE", "")
        .env("GLIMPSE_LOG", "error");
    command
}

/// Runs `glimpse ask` with these arguments.
pub fn ask<const N: usize>(arguments: [&str; N]) -> Output {
    glimpse()
        .arg("ask")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A small picture in a folder of its own.
pub struct PictureFile {
    folder: TempDir,
    name: PathBuf,
}

impl PictureFile {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let name = folder.path().join("red.png");
        std::fs::write(&name, png([200, 0, 0])).expect("the folder is ours");
        Self { folder, name }
    }

    pub fn path(&self) -> &str {
        self.name.to_str().expect("temporary folders have plain names")
    }

    /// Writes another file beside it, and gives its path.
    pub fn beside(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("the folder is ours");
        path.to_str().expect("temporary folders have plain names").to_string()
    }
}

/// A PNG of 40 × 30 pixels of one colour.
pub fn png(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 40, 30);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("it is written to memory");
    writer
        .write_image_data(&colour.repeat(40 * 30))
        .expect("the size is right");
    drop(writer);
    bytes
}

/// A correct checkpoint with made-up weights that never says an end token, so that an answer
/// is as long as it may be.
pub struct TinyCheckpoint {
    pub folder: TempDir,
    tensors: HashMap<String, Tensor>,
}

const HIDDEN: usize = 32;
/// The special tokens, and one a byte.
const VOCAB: usize = 3 + 256;
pub const POSITIONS: usize = 8192;

impl TinyCheckpoint {
    pub fn new() -> Self {
        let checkpoint = Self {
            folder: tempfile::tempdir().expect("there is a folder for tests"),
            tensors: tensors(),
        };
        checkpoint.write("config.json", &config());
        checkpoint.write("preprocessor_config.json", r#"{"size": {"height": 16, "width": 16}}"#);
        checkpoint.write("tokenizer.json", &tokenizer());
        checkpoint.save(|_| {});
        checkpoint
    }

    pub fn path(&self) -> &str {
        self.folder.path().to_str().expect("temporary folders have plain names")
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).expect("the folder is ours");
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.path().join(file)).expect("it is there");
    }

    /// Leaves the model this many positions, of [`POSITIONS`].
    pub fn shorten(&self, positions: usize) {
        let config = config().replace(&POSITIONS.to_string(), &positions.to_string());
        self.write("config.json", &config);
        self.save(|tensors| {
            let name = "language_model.model.decoder.embed_positions.weight";
            let fewer = tensors[name].narrow(0, 0, positions + 2).expect("it has more");
            // A slice is saved as the whole that it is a part of, were it not copied.
            let fewer = fewer.force_contiguous().expect("there is room for it");
            tensors.insert(name.to_string(), fewer);
        });
    }

    /// Writes `model.safetensors` after a change to the tensors.
    pub fn save(&self, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
        let mut tensors = self.tensors.clone();
        change(&mut tensors);
        let file = self.folder.path().join("model.safetensors");
        candle_core::safetensors::save(&tensors, file).expect("the folder is ours");
    }
}

fn config() -> String {
    serde_json::json!({
        "model_type": "blip-2",
        "num_query_tokens": 2,
        "image_token_index": 2,
        "vision_config": {"hidden_size": HIDDEN, "intermediate_size": 40, "num_hidden_layers": 1,
                          "num_attention_heads": 2, "image_size": 16, "patch_size": 8},
        "qformer_config": {"hidden_size": HIDDEN, "intermediate_size": 40, "num_hidden_layers": 1,
                           "num_attention_heads": 2},
        "text_config": {"model_type": "opt", "hidden_size": HIDDEN, "ffn_dim": 40, "num_hidden_layers": 1,
                        "num_attention_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": POSITIONS,
                        "word_embed_proj_dim": HIDDEN, "bos_token_id": 0, "eos_token_id": null}
    })
    .to_string()
}

/// One token a byte, and the special ones in front.
fn tokenizer() -> String {
    let mut vocab = serde_json::Map::new();
    for token in ["</s>", "<pad>", "<image>"] {
        vocab.insert(token.into(), vocab.len().into());
    }
    // GPT-2 writes printable bytes as themselves and the others from U+0100 on.
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 0x100;
    for byte in 0..=255u32 {
        let code = if printable(byte) { byte } else { next };
        next += u32::from(!printable(byte));
        let letter = char::from_u32(code).expect("all of these are characters");
        vocab.insert(letter.to_string(), vocab.len().into());
    }
    let special = |id: u32, content: &str| {
        serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false, "special": true})
    };
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(0, "</s>"), special(1, "<pad>"), special(2, "<image>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [0], "tokens": ["</s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []}
    })
    .to_string()
}

/// Numbers from -0.7 to 0.7 that look random, and are the same in every run.
fn numbers(name: &str, count: usize) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(1u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut state = seed;
    let mut next = || {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 * 1.4 - 0.7
    };
    (0..count).map(|_| next()).collect()
}

fn tensors() -> HashMap<String, Tensor> {
    let mut all = HashMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        let tensor = Tensor::from_vec(numbers(name, shape.iter().product()), shape, &Device::Cpu);
        let tensor = tensor.expect("the numbers fill the shape");
        all.insert(name.to_string(), tensor);
    };
    let linear = |add: &mut dyn FnMut(&str, &[usize]), name: &str, inputs: usize, outputs: usize| {
        add(&format!("{name}.weight"), &[outputs, inputs]);
        add(&format!("{name}.bias"), &[outputs]);
    };
    let norm = |add: &mut dyn FnMut(&str, &[usize]), name: &str| {
        add(&format!("{name}.weight"), &[HIDDEN]);
        add(&format!("{name}.bias"), &[HIDDEN]);
    };
    add("vision_model.embeddings.class_embedding", &[1, 1, HIDDEN]);
    add("vision_model.embeddings.position_embedding", &[1, 5, HIDDEN]);
    add("vision_model.embeddings.patch_embedding.weight", &[HIDDEN, 3, 8, 8]);
    add("vision_model.embeddings.patch_embedding.bias", &[HIDDEN]);
    let layer = "vision_model.encoder.layers.0";
    linear(&mut add, &format!("{layer}.self_attn.qkv"), HIDDEN, 3 * HIDDEN);
    linear(&mut add, &format!("{layer}.self_attn.projection"), HIDDEN, HIDDEN);
    linear(&mut add, &format!("{layer}.mlp.fc1"), HIDDEN, 40);
    linear(&mut add, &format!("{layer}.mlp.fc2"), 40, HIDDEN);
    norm(&mut add, &format!("{layer}.layer_norm1"));
    norm(&mut add, &format!("{layer}.layer_norm2"));
    norm(&mut add, "vision_model.post_layernorm");
    add("query_tokens", &[1, 2, HIDDEN]);
    norm(&mut add, "qformer.layernorm");
    let layer = "qformer.encoder.layer.0";
    for part in ["attention", "crossattention"] {
        for projection in ["query", "key", "value"] {
            linear(
                &mut add,
                &format!("{layer}.{part}.attention.{projection}"),
                HIDDEN,
                HIDDEN,
            );
        }
        linear(&mut add, &format!("{layer}.{part}.output.dense"), HIDDEN, HIDDEN);
        norm(&mut add, &format!("{layer}.{part}.output.LayerNorm"));
    }
    linear(&mut add, &format!("{layer}.intermediate_query.dense"), HIDDEN, 40);
    linear(&mut add, &format!("{layer}.output_query.dense"), 40, HIDDEN);
    norm(&mut add, &format!("{layer}.output_query.LayerNorm"));
    linear(&mut add, "language_projection", HIDDEN, HIDDEN);
    let decoder = "language_model.model.decoder";
    add(&format!("{decoder}.embed_tokens.weight"), &[VOCAB, HIDDEN]);
    add(&format!("{decoder}.embed_positions.weight"), &[POSITIONS + 2, HIDDEN]);
    norm(&mut add, &format!("{decoder}.final_layer_norm"));
    let layer = format!("{decoder}.layers.0");
    for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
        linear(&mut add, &format!("{layer}.self_attn.{projection}"), HIDDEN, HIDDEN);
    }
    linear(&mut add, &format!("{layer}.fc1"), HIDDEN, 40);
    linear(&mut add, &format!("{layer}.fc2"), 40, HIDDEN);
    norm(&mut add, &format!("{layer}.self_attn_layer_norm"));
    norm(&mut add, &format!("{layer}.final_layer_norm"));
    all
}

/// A server of our own, ended when dropped.
pub struct Server {
    process: Child,
    pub address: String,
    _port: Port,
}

impl Server {
    /// Starts `glimpse serve` on a free port with these further arguments, and waits for it.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1", arguments)
    }

    /// Listens on this address of the machine.
    pub fn start_on(host: &str, arguments: &[&str]) -> Self {
        Self::start_as(glimpse(), host, arguments)
    }

    /// Starts the program as `program` has it, and waits until its model is loaded.
    pub fn start_as(program: Command, host: &str, arguments: &[&str]) -> Self {
        Self::spawn(program, host, arguments).when("readyz")
    }

    /// Starts the program as `program` has it.
    pub fn spawn(mut program: Command, host: &str, arguments: &[&str]) -> Self {
        let port = Port::reserve();
        let number = port.number;
        let process = program
            .args(["serve", "--addr", &format!("{host}:{number}")])
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        Self {
            process,
            address: format!("http://127.0.0.1:{number}"),
            _port: port,
        }
    }

    /// Waits until this of its addresses answers well.
    pub fn when(self, path: &str) -> Self {
        for _ in 0..1200 {
            if ureq::get(format!("{}/{path}", self.address)).call().is_ok() {
                return self;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("/{path} does not answer within a minute");
    }

    /// The exit status of a process that is about to end by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.wait().expect("it was started").code()
    }
}

#[cfg(target_os = "linux")]
impl Server {
    /// How many of the process's threads have a name that begins so.
    pub fn threads_named(&self, beginning: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the process runs");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with(beginning)).count()
    }

    /// The most memory that the process has had resident, mapped files included, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.expect("the kernel counts it") * 1024
    }
}

#[cfg(unix)]
impl Server {
    /// Sends a signal, such as TERM.
    pub fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal was not sent");
    }

    /// Sends SIGTERM, and says whether the process ended within this time.
    pub fn asked_to_end(&mut self, within: std::time::Duration) -> bool {
        self.signal("TERM");
        let deadline = std::time::Instant::now() + within;
        while std::time::Instant::now() < deadline {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
