"""Golden checkpoints: tiny random BLIP-2 models of many shapes, laid out as on
the hub, and what the reference answers with them.

The reference is `Blip2ForConditionalGeneration` of transformers in f32 on the
CPU, with the Pillow backend of the picture processor. Facts about it that the
files here depend on, read in its source and confirmed by making them:

- Generation is the language model's: `language_model.generate` has a generation
  configuration of its own, made from `text_config` (end tokens, begin token).
  The checkpoint's `generation_config.json` is loaded onto the outer model and
  plays no part; some folders here have one that would end answers early.
- `eos_token_id` may be a list: each of its tokens ends the answer. The end
  token is part of the generated ids, and of their count.
- Without a text the processor returns pixel values only; `generate` then makes
  the prompt: picture tokens, and `text_config.bos_token_id`. With a text it is
  picture tokens, then the tokenized text, which begins with the tokenizer's
  own `</s>`.
- Where neither limit is given, 20 new tokens are generated, fewer only where
  `max_position_embeddings` is nearer. An explicit `max_new_tokens` that goes
  beyond the last position is an IndexError.
- Log-probabilities here are of the unmodified distribution: `output_logits`,
  not `output_scores`.
"""

import io
import json
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pictures import Maker

OPT_CHECKPOINTS = 24
NEW_TOKENS = 16
SMALLEST_MARGIN = 1e-3

# Picture sizes and patches; no two checkpoints of a family have the same pair.
GRIDS = [
    (32, 8), (224, 14), (48, 16), (364, 14), (56, 14), (50, 14), (64, 16), (70, 14), (84, 14), (140, 14), (98, 14), (112, 16),
    (126, 14), (128, 32), (96, 32), (154, 22), (160, 16), (196, 28), (182, 14), (210, 14), (224, 16), (252, 28), (280, 14), (336, 24),
]  # fmt: skip

CORPUS = [
    "Question: what is in the picture? Answer: a red circle beside a blue square.",
    "Question: how many cats are there? Answer: two cats are lying on a couch.",
    "a photo of a small dog on the beach, with a ball; it's a sunny day.\nthe end",
    "Is it left of the triangle? Yes, the green one is. What colour is that? Über 12 Äpfel, ça va, 猫と犬.",
]
QUESTION = "what colour is the ball?"
RAW = "déjà vu: 犬 🐈, it's 3½ o'clock\n\tthe"


class Shape:
    """The dimensions and habits of one checkpoint: its number sets what must be
    covered, the random generator sets the rest."""

    text_class = OPTConfig
    vision_class, qformer_class = Blip2VisionConfig, Blip2QFormerConfig

    def __init__(self, number, dice):
        self.number = number
        self.image_size, self.patch_size = GRIDS[number % len(GRIDS)]
        self.vision_heads, self.vision_width = self.heads(dice, [1, 2, 3, 5, 7])
        self.qformer_heads, self.qformer_width = self.heads(dice, [3, 1, 5, 2, 4])
        self.text_heads, self.text_width = self.heads(dice, [2, 7, 3, 1, 5])
        self.query_tokens = [1, 4, 7, 32, 48, 16, 3, 11][number % 8]
        self.frequency = 1 + number % 3
        self.stored = [torch.float32, torch.float16, torch.bfloat16][number // 3 % 3]
        self.head = ["tied", "untied", "tied and stored", "tied but another stored"][number % 4]
        self.sharded = number % 5 == 2
        self.legacy = number % 2 == 1  # the hub's older layout: preprocessor_config.json, keys left out
        self.ends = ["two", "one", "never"][number % 3]

    def heads(self, dice, choices):
        """A number of heads and a width of 14 to 28; heads may be of odd size."""
        heads = choices[self.number % len(choices)]
        return heads, heads * dice.randint(-(-14 // heads), 28 // heads)

    def vision(self, dice):
        return {
            "hidden_size": self.vision_width,
            "intermediate_size": dice.randint(16, 40),
            "num_hidden_layers": dice.randint(1, 3),
            "num_attention_heads": self.vision_heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "hidden_act": ["gelu", "gelu_new", "relu", "silu", "gelu"][self.number % 5],
            "layer_norm_eps": dice.choice([1e-6, 1e-5, 1e-3]),
            "qkv_bias": self.number % 4 != 3,
        }

    def qformer(self, dice):
        return {
            "hidden_size": self.qformer_width,
            "intermediate_size": dice.randint(16, 40),
            "num_hidden_layers": dice.randint(max(2, self.frequency), 4),
            "num_attention_heads": self.qformer_heads,
            "cross_attention_frequency": self.frequency,
            "hidden_act": ["gelu", "silu", "gelu", "relu", "gelu_new"][self.number % 5],
            "layer_norm_eps": dice.choice([1e-12, 1e-5]),
        }

    def text(self, dice, vocabulary):
        settings = {
            "vocab_size": vocabulary + dice.choice([0, 3, 20]),
            "hidden_size": self.text_width,
            "num_hidden_layers": dice.randint(1, 3),
            "num_attention_heads": self.text_heads,
            "ffn_dim": dice.randint(20, 48),
            "max_position_embeddings": 2048 if self.number == 8 else dice.randint(128, 160),
            "activation_function": ["relu", "gelu", "relu", "silu", "gelu_new"][self.number % 5],
            "do_layer_norm_before": self.number % 6 != 5,
            "enable_bias": self.number % 7 != 4,
            "layer_norm_elementwise_affine": self.number % 9 != 6,
            "tie_word_embeddings": self.head != "untied",
        }
        if self.number == 10:
            settings["_remove_final_layer_norm"] = True
        if self.number == 13:
            settings["bos_token_id"] = 0
        return settings

    def text_config(self, dice, vocabulary):
        return OPTConfig(**self.text(dice, vocabulary)).to_dict()

    def tokenizer(self, dice):
        return tokenizer(dice)

    def build(self, dice, generator, words, vocabulary):
        config = Blip2Config(
            vision_config=Blip2VisionConfig(**self.vision(dice)).to_dict(),
            qformer_config=Blip2QFormerConfig(**self.qformer(dice)).to_dict(),
            text_config=self.text_config(dice, vocabulary),
            num_query_tokens=self.query_tokens,
            image_token_index=words.convert_tokens_to_ids("<image>"),
        )
        model = Blip2ForConditionalGeneration(config).eval()
        with torch.no_grad():
            fill(model, self, generator)
            model.tie_weights()
        return model

    def processor(self, words, dice):
        return Blip2Processor(image_processor(self, dice), words, num_query_tokens=self.query_tokens)

    def open(self, folder):
        return Reference(folder)

    def doubt(self, folder, result):
        """Why the numbers themselves would make a poor test, if they would."""
        return None

    def scale_of(self, name):
        """The spread of a language model's tensor, where it is not left to `fill`."""
        return None

    def store_more(self, folder, model, generator):
        """Adds to the files what the library leaves out."""

    def token_table(self, model):
        return model.language_model.model.decoder.embed_tokens.weight.data


def tokenizer(dice):
    """Byte-level BPE with OPT's special tokens, `</s>` before every text, and `<image>` behind the vocabulary."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=dice.randint(275, 330), special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>"
    )
    fast.add_tokens([transformers.AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
    return fast


def image_processor(shape, dice):
    settings = {"size": {"height": shape.image_size, "width": shape.image_size}}
    if shape.number % 4 == 2:
        settings["image_mean"] = [round(dice.uniform(0.3, 0.6), 4) for _ in range(3)]
        settings["image_std"] = [round(dice.uniform(0.2, 0.4), 4) for _ in range(3)]
    return BlipImageProcessorPil(**settings)


def fill(model, shape, generator):
    """Weights that make every part matter: the library's own start values leave
    query tokens at zero and the vision model close to it."""

    def normal(parameter, scale, mean=0.0):
        parameter.data = mean + scale * torch.randn(parameter.shape, generator=generator)

    for name, parameter in model.named_parameters():
        if "norm" in name.lower():
            normal(parameter, 0.2, 1.0 if name.endswith("weight") else 0.0)
        elif name == "query_tokens":
            normal(parameter, 1.0)
        elif shape.scale_of(name) is not None:
            normal(parameter, shape.scale_of(name))
        elif "embed" in name and "patch_embedding" not in name:
            normal(parameter, 0.35)
        elif name.endswith("bias"):
            normal(parameter, 0.15)
        else:
            fan_in = parameter[0].numel()
            normal(parameter, 1.7 / fan_in**0.5)


# The folder ---------------------------------------------------------------------


def save(folder, shape, model, processor, generator):
    model.to(shape.stored).save_pretrained(folder, max_shard_size="60KB" if shape.sharded else "1GB")
    processor.save_pretrained(folder)
    if shape.head in ("tied and stored", "tied but another stored"):
        store_head(folder, shape.token_table(model), shape.head == "tied and stored", generator)
    shape.store_more(folder, model, generator)
    compact(folder / "tokenizer.json")
    edit(folder / "config.json", lambda config: set_ends(config, shape))
    if shape.legacy:
        split_processor(folder)
        edit(folder / "config.json", lambda config: leave_defaults_out(config, shape))


def store_head(folder, embedding, same, generator):
    """Adds a head to the file where the configuration says that it is tied."""
    other = torch.randn(embedding.shape, generator=generator).to(embedding.dtype) * 0.35
    store(folder, "language_model.lm_head.weight", embedding.clone() if same else other)


def store(folder, name, tensor):
    """Adds a tensor to the last file."""
    files = sorted(folder.glob("*.safetensors"))
    tensors = load_file(files[-1]) | {name: tensor}
    save_file(tensors, files[-1], metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        edit(index, lambda index: index["weight_map"].update({name: files[-1].name}))


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def compact(file):
    file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=False, separators=(",", ":")))


def set_ends(config, shape):
    if getattr(shape, "end_tokens", None) is not None:
        config["text_config"]["eos_token_id"] = shape.end_tokens


def split_processor(folder):
    """As the hub's folders are: the picture's settings in a file of their own,
    the size sometimes a single number."""
    file = folder / "processor_config.json"
    content = json.loads(file.read_text())
    settings = content.pop("image_processor")
    if settings["size"]["height"] % 3 == 0:
        settings["size"] = settings["size"]["height"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    file.write_text(json.dumps(content, indent=2) + "\n")


def leave_defaults_out(config, shape):
    """Drops what the classes would say anyway, as the hub's files do."""
    parts = {"vision_config": shape.vision_class, "qformer_config": shape.qformer_class, "text_config": shape.text_class}
    for name, kind in parts.items():
        default = kind().to_dict()
        kept = {key: value for key, value in config[name].items() if key == "model_type" or default.get(key, "") != value}
        if name == "qformer_config":
            kept.pop("encoder_hidden_size", None)
        if name == "text_config" and kept.get("word_embed_proj_dim", "") == kept.get("hidden_size"):
            kept.pop("word_embed_proj_dim")
        config[name] = kept
    if config["num_query_tokens"] == 32:
        config.pop("num_query_tokens")


def mislead(folder, shape, common):
    """A generation_config.json that would end every answer early, were it heeded."""
    if shape.number % 4 == 0:
        file = folder / "generation_config.json"
        content = json.loads(file.read_text()) | {"eos_token_id": common, "max_new_tokens": 3}
        file.write_text(json.dumps(content, indent=2) + "\n")


# What the reference computes ------------------------------------------------------


def checksum(values):
    """Sum of the values' bits, each times an odd number of its place, modulo 2^64."""
    bits = values.contiguous().numpy().reshape(-1).view(np.uint32).astype(np.uint64)
    places = np.arange(bits.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return str(int((bits * places).sum(dtype=np.uint64)))


def draw_pictures(folder, number, seed):
    make = Maker(1000 * seed + number)
    for name, options in (("picture-0.jpg", {"quality": 85}), ("picture-1.png", {})):
        width, height = make.random.randint(24, 60), make.random.randint(24, 60)
        Image.fromarray(make.scene(width, height, 3)).save(folder / name, **options)
    return ["picture-0.jpg", "picture-1.png"]


class Reference:
    """The saved folder, opened as anybody would open it."""

    model_class, processor_class = Blip2ForConditionalGeneration, Blip2Processor

    def __init__(self, folder):
        self.folder = folder
        self.model = self.model_class.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = self.processor_class.from_pretrained(folder, backend="pil")
        assert isinstance(self.processor.image_processor, BlipImageProcessorPil)

    def picture(self, name):
        image = ImageOps.exif_transpose(Image.open(io.BytesIO((self.folder / name).read_bytes())))
        return self.processor(images=image, return_tensors="pt"), image

    def text_of(self, prompt):
        """As the model is asked."""
        return {"question": f"Question: {prompt['text']} Answer:", "raw": prompt["text"], "caption": None}[prompt["kind"]]

    def parts(self, index, pixel_values, prompts):
        """What is kept of the parts before the language model, by name."""
        vision, queries, projected = self.hidden(pixel_values)
        first = {"image_embeds": sample(vision), "query_output": sample(queries)} if index == 0 else {}
        return first | {f"projected-{index}": sample(projected)}

    def hidden(self, pixel_values):
        """ViT output, Q-Former output, projected query tokens."""
        vision = self.model.vision_model(pixel_values).last_hidden_state
        queries = self.model.qformer(
            query_embeds=self.model.query_tokens.expand(1, -1, -1), encoder_hidden_states=vision
        ).last_hidden_state
        return vision, queries, self.model.language_projection(queries)

    def answer(self, image, prompt, least):
        text = self.text_of(prompt)
        inputs = self.processor(images=image, text=text, return_tensors="pt")
        limits = {"max_new_tokens": NEW_TOKENS} | ({"min_new_tokens": least} if least else {})
        result = self.model.generate(
            **inputs, **limits, do_sample=False, output_logits=True, output_scores=True, return_dict_in_generate=True
        )
        count = len(result.logits)
        ids = result.sequences[0].tolist()
        prompt_ids, token_ids = ids[:-count], ids[-count:]
        if self.model.language_model.config.is_encoder_decoder:
            # What stands before the answer is the decoder's start token alone.
            prompt_ids = inputs["input_ids"][0].tolist() if text else self.caption_ids()
        instruction = inputs.get("qformer_input_ids")
        more = {} if instruction is None else {"instruction_ids": instruction[0].tolist()}
        logprobs = [torch.log_softmax(step[0].double(), -1)[id].item() for step, id in zip(result.logits, token_ids)]
        best = torch.stack([step[0] for step in result.scores]).topk(2).values
        return {
            "kind": prompt["kind"],
            "prompt": prompt["text"],
            "min_new_tokens": least,
            "prompt_ids": prompt_ids,
            "token_ids": token_ids,
            "logprobs": logprobs,
            "text": self.processor.tokenizer.decode(token_ids, skip_special_tokens=True),
            "ended": token_ids[-1] in self.ends(),
            "margin": (best[:, 0] - best[:, 1]).min().item(),
        } | more, result.logits[0][0]

    def caption_ids(self):
        config = self.model.config
        return [config.image_token_index] * config.num_query_tokens + [config.text_config.bos_token_id]

    def ends(self):
        ends = self.model.config.text_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]


def expected(reference, names):
    """What the tests compare: a dictionary for JSON, and tensors."""
    prompts = [{"kind": "caption", "text": None}, {"kind": "question", "text": QUESTION}, {"kind": "raw", "text": RAW}]
    pictures, answers, tensors = [], [], {}
    with torch.inference_mode():
        for index, name in enumerate(names):
            inputs, image = reference.picture(name)
            pictures.append({"file": name, "checksum": checksum(inputs["pixel_values"])})
            tensors |= reference.parts(index, inputs["pixel_values"], prompts)
            for number, prompt in enumerate(prompts):
                answer, logits = reference.answer(image, prompt, 0)
                tensors[f"logits-{index}-{number}"] = logits.clone()
                answers.append({"picture": index, "logits": f"logits-{index}-{number}"} | answer)
            longer, _ = reference.answer(image, prompts[1], 9)
            answers.append({"picture": index} | longer)
    return {"pictures": pictures, "max_new_tokens": NEW_TOKENS, "answers": answers}, tensors


def sample(tensor, most=1024):
    """Every n-th value, with the whole shape beside it in the test's own count."""
    flat = tensor.reshape(-1)
    return flat[:: -(-flat.numel() // most)].clone()


def complaint(result):
    """Why a result would make a poor test, if it would."""
    answers = result["answers"]
    margin = min(answer["margin"] for answer in answers)
    if margin < SMALLEST_MARGIN:
        return f"smallest margin {margin:.1e}"
    if any(len(set(answer["token_ids"])) < 4 for answer in answers if not answer["ended"]):
        return "an answer repeats itself"
    texts = [tuple(answer["token_ids"]) for answer in answers if not answer["min_new_tokens"]]
    if len(set(texts)) < len(texts):
        return "two pictures or prompts have the same answer"
    return None


def choose_ends(shape, result, dice):
    """End tokens that some answers reach: found by letting the model run without any."""
    if shape.ends == "never":
        return None
    answers = [answer["token_ids"] for answer in result["answers"] if not answer["min_new_tokens"]]
    candidates = sorted({token for answer in answers for token in answer[3:10]})
    return dice.sample(candidates, 2) if shape.ends == "two" else dice.choice(candidates)


def shape_of(number, dice):
    """OPT's numbers come first, then T5's."""
    if number < OPT_CHECKPOINTS:
        return Shape(number, dice)
    from t5 import T5Shape

    return T5Shape(number, dice)


def attempt(folder, number, seed, try_number, shape_of):
    """One checkpoint and its expectations, or why they will not do."""
    dice = random.Random(f"{seed}-{number}-{try_number}")
    generator = torch.Generator().manual_seed(dice.getrandbits(32))
    # Some dimensions lead to nothing but repetition: after a while, others are taken.
    dimensions = f"{seed}-{number}-{try_number // 20}"
    shape = shape_of(number, random.Random(dimensions))
    words = shape.tokenizer(dice)
    model = shape.build(random.Random(dimensions), generator, words, len(words))
    processor = shape.processor(words, dice)
    shutil.rmtree(folder)
    folder.mkdir()
    save(folder, shape, model, processor, generator)
    names = draw_pictures(folder, number, seed)
    first, _ = expected(shape.open(folder), names)
    if reason := complaint(first):
        return reason
    shape.end_tokens = choose_ends(shape, first, dice)
    edit(folder / "config.json", lambda config: set_ends(config, shape))
    mislead(folder, shape, first["answers"][0]["token_ids"][1])
    result, tensors = expected(shape.open(folder), names)
    if shape.end_tokens is not None and not any(answer["ended"] for answer in result["answers"]):
        return "no answer ends"
    if reason := complaint(result) or shape.doubt(folder, result):
        return reason
    write_expected(folder, result, tensors)
    report(folder, shape, result)
    return None


def write_expected(folder, result, tensors):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")


def report(folder, shape, result):
    margins = [answer["margin"] for answer in result["answers"]]
    ended = sum(answer["ended"] for answer in result["answers"])
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    print(
        f"{folder.name}: {shape.image_size}/{shape.patch_size}, {shape.query_tokens} query tokens,"
        f" {str(shape.stored).removeprefix('torch.')}, head {shape.head}; smallest margin {min(margins):.4f},"
        f" {ended} of {len(margins)} answers ended, {size // 1000} kB",
        flush=True,
    )


def write(out: Path, seed: int, first: int, count: int, shape_of=shape_of):
    """Writes the folders from `first` to `count`; tries again where a result would test little."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for number in range(first, count):
        folder = out / f"{number:02}"
        folder.mkdir(parents=True, exist_ok=True)
        for try_number in range(200):
            reason = attempt(folder, number, seed, try_number, shape_of)
            if reason is None:
                break
            print(f"{folder.name}: again, {reason}", flush=True)
        else:
            raise SystemExit(f"no usable checkpoint {number} in 200 tries; choose another seed")
