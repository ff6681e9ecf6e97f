"""Golden checkpoints of BLIP: tiny random models of many shapes, laid out as on the hub in one way or
another, and what the reference answers with them.

The first eight write captions (`BlipForConditionalGeneration`), the next eight answer questions
(`BlipForQuestionAnswering`), the last eight compare texts with pictures
(`BlipForImageTextRetrieval`). Facts about the reference that the files here depend on, read in its
source and confirmed by making them:

- What begins an answer is `text_config.bos_token_id`, what ends it `text_config.sep_token_id`;
  `generation_config.json` plays no part. The length counts both, and a caption's beginning.
- A caption's text is tokenized to `[CLS] … [SEP]`, its first id replaced and its last cut off.
- A text without `num_attention_heads` has 8 heads.
- Of two names of the head's bias `decoder.bias` is the one that is added; a stored head that
  differs from the token table is a head of its own.
- `BertTokenizer` takes the vocabulary of `tokenizer.json` alone, or `vocab.txt`.
- Log-probabilities here are of the unmodified distribution: `output_logits`, not `output_scores`.
"""

import io
import json
import random
import warnings
from pathlib import Path

import torch
import transformers
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from checkpoints import checksum, compact, draw_pictures, edit, fill, sample
from decoding import BEAMS, DRAWN, GREEDY, SMALLEST_MARGIN, Decoder, Margins

NEW_TOKENS = 12
LEAST_ANSWERS = 28  # of 36
LARGEST_ROUNDING = 4e-5  # of the reference's own logits in f32, by those in f64
CLASSES = [BlipForConditionalGeneration, BlipForQuestionAnswering, BlipForImageTextRetrieval]
TASKS = ["captions", "questions", "matching"]
EACH = 8

GRIDS = [(32, 8), (48, 16), (72, 24), (50, 14), (96, 32), (64, 16), (33, 8), (90, 30)]
CORPUS = [
    "a picture of a red circle beside a blue square. two cats are lying on a couch.",
    "how many dogs are in the picture? what colour is the ball? a small dog on the beach, with a ball.",
    "abcdef. it's a sunny day! is it left of the triangle? yes, the green one is. a woman and her dog, sitting.",
]
TEXTS = {
    "captions": [None, "a picture of", "A  Small dog,"],
    "questions": ["how many dogs are in the picture?", "What colour is it?", "déjà vu: 犬 it's 3½ o'clock\n\tthe"],
    "matching": ["a picture of two cats.", "A woman and her dog sitting in a beach", "blue", "it's 犬!"],
}


class Shape:
    """The dimensions and habits of one checkpoint: its number sets what must be covered, the random
    generator sets the rest."""

    def __init__(self, number, dice):
        self.number, self.index = number, number % EACH
        self.task = TASKS[number // EACH]
        self.image_size, self.patch_size = GRIDS[(self.index + number // EACH) % EACH]
        self.vision_heads, self.vision_width = self.heads(dice, [1, 2, 3, 5, 4, 7, 2, 3])
        self.text_heads, self.text_width = self.heads(dice, [2, 3, 1, 8, 5, 2, 4, 1])
        if self.task == "questions":
            self.vision_heads, self.vision_width = self.text_heads, self.text_width
        self.leaves_heads_out = self.index == 3  # where there are 8 of them
        self.stored = [torch.float32, torch.float16, torch.bfloat16][self.index // 2 % 3]
        self.head = ["tied", "same", "other", "other bias"][self.index % 4]
        self.files = ["one", "shards", "pickle", "one", "pickled shards", "pickle", "one", "old pickle"][self.index]
        self.legacy = self.index % 2 == 1  # the picture's settings in a file of their own, and the size a number
        self.names_class = self.index % 4 != 2
        self.words_alone = self.index % 4 == 1
        self.lower_case = self.index != 6

    def heads(self, dice, choices):
        heads = choices[self.index]
        return heads, heads * dice.randint(-(-12 // heads), 28 // heads)

    def vision(self, dice):
        return {
            "hidden_size": self.vision_width,
            "intermediate_size": dice.randint(16, 40),
            "num_hidden_layers": dice.randint(1, 3),
            "num_attention_heads": self.vision_heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "hidden_act": ["gelu", "gelu", "relu", "gelu_new"][self.index % 4],
            "layer_norm_eps": dice.choice([1e-6, 1e-5, 1e-3]),
        }

    def text(self, dice, vocabulary):
        return {
            "vocab_size": vocabulary + 2 + dice.choice([0, 3]),
            "hidden_size": self.text_width,
            "intermediate_size": dice.randint(16, 40),
            "num_hidden_layers": dice.randint(1, 3),
            "num_attention_heads": self.text_heads,
            "max_position_embeddings": dice.randint(40, 64),
            "hidden_act": ["gelu", "gelu", "gelu", "silu"][self.index % 4],
            "layer_norm_eps": dice.choice([1e-12, 1e-5]),
            "bos_token_id": vocabulary,
            "sep_token_id": vocabulary + 1,
            "pad_token_id": 0,
        }

    def scale_of(self, name):
        """So that what is looked at matters, and the last token does not drown all else."""
        if "crossattention.self" in name and name.endswith(("query.weight", "key.weight")):
            return 0.6
        if "crossattention.output.dense.weight" in name:
            return 0.6
        if "word_embeddings" in name:
            return 0.3
        if "text" in name and "position_embeddings" in name:
            return 0.6
        return None


def tokenizer(shape, dice):
    """WordPiece with BERT's special tokens; `[DEC]` stands behind its vocabulary, in the model alone."""
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer(lowercase=shape.lower_case)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=dice.randint(100, 140), special_tokens=special, show_progress=False)
    words.train_from_iterator(CORPUS, trainer)
    return BertTokenizer(vocab=words.get_vocab(), do_lower_case=shape.lower_case)


def build(shape, dice, generator, vocabulary):
    config = BlipConfig(
        vision_config=BlipVisionConfig(**shape.vision(dice)).to_dict(),
        text_config=BlipTextConfig(**shape.text(dice, vocabulary)).to_dict(),
        image_text_hidden_size=dice.randint(8, 24),
    )
    model = CLASSES[shape.number // EACH](config).eval()
    with torch.no_grad():
        fill(model, shape, generator)
        model.tie_weights()
    return model


def save(folder, shape, model, processor, generator):
    model.to(shape.stored).save_pretrained(folder, max_shard_size="40KB" if shape.files == "shards" else "1GB")
    processor.save_pretrained(folder)
    if shape.task != "matching":
        store_head(folder, shape, generator)
    if "pickle" in shape.files:
        pickle(folder, shape)
    compact(folder / "tokenizer.json")
    if shape.words_alone:
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(vocabulary, key=vocabulary.get)))
        (folder / "tokenizer.json").unlink()
    if shape.legacy:
        split_processor(folder)
    edit(folder / "config.json", lambda config: leave_out(config, shape))


def store_head(folder, shape, generator):
    """Adds the tensors that the library leaves out, and the older files hold."""
    file = sorted(folder.glob("*.safetensors"))[-1]
    everything = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
    table = everything["text_decoder.bert.embeddings.word_embeddings.weight"]
    bias = everything["text_decoder.cls.predictions.bias"]
    other = 0.4 * torch.randn(table.shape, generator=generator).to(table.dtype)
    another = 0.2 * torch.randn(bias.shape, generator=generator).to(bias.dtype)
    decoder = "text_decoder.cls.predictions.decoder"
    more = {
        "tied": {},
        "same": {f"{decoder}.weight": table.clone(), f"{decoder}.bias": bias.clone()},
        "other": {f"{decoder}.weight": other, "text_decoder.bert.embeddings.position_ids": torch.arange(40)[None]},
        "other bias": {f"{decoder}.bias": another},
    }[shape.head]
    save_file(load_file(file) | more, file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        edit(index, lambda index: index["weight_map"].update({name: file.name for name in more}))


def pickle(folder, shape):
    """As `torch.save` writes it; with what older files hold, and a matrix whose rows are its columns."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    file.unlink()
    name = next(name for name in tensors if name.endswith("mlp.fc1.weight"))
    tensors[name] = tensors[name].t().contiguous().t()
    if shape.files == "pickled shards":
        names = sorted(tensors)
        parts = [names[: len(names) // 2], names[len(names) // 2 :]]
        files = [f"pytorch_model-{part + 1:05}-of-00002.bin" for part in range(2)]
        for part, path in zip(parts, files):
            torch.save({name: tensors[name] for name in part}, folder / path)
        weight_map = {name: path for part, path in zip(parts, files) for name in part}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}) + "\n")
        return
    if shape.files == "old pickle":
        # A module's state, whose tensors share one storage where they can.
        flat = torch.cat([tensors[key].reshape(-1) for key in sorted(tensors)])
        start, state = 0, torch.nn.Module().state_dict()
        for key in sorted(tensors):
            count = tensors[key].numel()
            state[key] = flat[start : start + count].view(tensors[key].shape)
            start += count
        tensors = state
    torch.save(tensors, folder / "pytorch_model.bin")


def split_processor(folder):
    file = folder / "processor_config.json"
    settings = json.loads(file.read_text())["image_processor"]
    settings["size"] = settings["size"]["height"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    file.unlink()


def leave_out(config, shape):
    if not shape.names_class:
        config.pop("architectures")
    if shape.leaves_heads_out:
        config["text_config"].pop("num_attention_heads")
    config["text_config"].pop("encoder_hidden_size", None)


def make_untidy(folder, shape):
    """What the hub's files have, and the reference does not mind or was mended for."""
    if shape.index in (4, 7):
        config = (folder / "config.json").read_text().rstrip()
        assert config.endswith("}")
        (folder / "config.json").write_text(config[:-1].rstrip() + ",\n}\n")
        file = folder / "tokenizer_config.json"
        file.write_text(file.read_text().replace("{", '{\n  "do_lower_case": false,', 1))


# What the reference computes ------------------------------------------------------


class BlipReference(Decoder):
    """The saved folder, opened as anybody would open it."""

    def __init__(self, folder, shape, margins):
        self.folder, self.shape, self.margins = folder, shape, margins
        self.model = CLASSES[shape.number // EACH].from_pretrained(folder, dtype=torch.float32).eval()
        image = BlipImageProcessorPil.from_pretrained(folder)
        self.processor = BlipProcessor(image, BertTokenizer.from_pretrained(folder))

    def picture(self, name):
        image = ImageOps.exif_transpose(Image.open(io.BytesIO((self.folder / name).read_bytes())))
        return self.processor(images=image, return_tensors="pt")["pixel_values"], image

    def ids(self, text):
        return self.processor(text=text, return_tensors="pt")

    def generate(self, image, text, options):
        inputs = {"pixel_values": self.processor(images=image, return_tensors="pt")["pixel_values"]}
        if text is not None:
            inputs |= {key: self.ids(text)[key] for key in ("input_ids", "attention_mask")}
        self.margins.smallest = float("inf")
        self.margins.stop_strings = "stop_strings" in options
        more = {"tokenizer": self.processor.tokenizer} if "stop_strings" in options else {}
        result = self.model.generate(
            **inputs, **{"max_new_tokens": NEW_TOKENS, "do_sample": False} | options, **more,
            output_logits=True, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        return result, self.margins.smallest

    def rounding(self, names):
        """How far the reference's logits in f32 are from its own in f64: where rounding is made large on
        the way, another order of sums is as far."""
        exact = CLASSES[self.shape.number // EACH].from_pretrained(self.folder, dtype=torch.float64).eval()
        worst = 0.0
        for name in names:
            pixels, _ = self.picture(name)
            for text in TEXTS[self.shape.task]:
                ids = {} if text is None else {key: self.ids(text)[key] for key in ("input_ids", "attention_mask")}
                worst = max([worst, *self.distances(exact, pixels, ids)])
        return worst

    def distances(self, exact, pixels, ids):
        def copies():  # `generate` writes into its ids
            return {key: value.clone() for key, value in ids.items()}

        if self.shape.task == "matching":
            rounded, whole = self.model(pixel_values=pixels, **copies()), exact(pixel_values=pixels.double(), **copies())
            near = [(rounded.itm_score - whole.itm_score).abs().max().item()]
            rounded = self.model(pixel_values=pixels, **copies(), use_itm_head=False)
            whole = exact(pixel_values=pixels.double(), **copies(), use_itm_head=False)
            return near + [(rounded.itm_score - whole.itm_score).abs().max().item()]
        how = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        rounded = self.model.generate(pixel_values=pixels, **copies(), **how).logits
        whole = exact.generate(pixel_values=pixels.double(), **copies(), **how).logits
        return [(one - other).abs().max().item() for one, other in zip(rounded, whole)]

    def prompt_ids(self, text):
        start = self.model.config.text_config.bos_token_id
        if self.shape.task == "questions" or text is None:
            return [start]
        return [start] + self.ids(text)["input_ids"][0, 1:-1].tolist()

    def written(self, ids):
        if ids and ids[-1] == self.model.config.text_config.sep_token_id:
            ids = ids[:-1]
        return self.processor.tokenizer.decode(ids, skip_special_tokens=True)


def settings(number):
    """Greedy without a rule and with one, then beams."""
    return [{}, {"min_new_tokens": 6}, GREEDY[number % len(GREEDY)]] + [
        BEAMS[(3 * number + i) % len(BEAMS)] for i in range(3)
    ]


def answers_of(reference, picture, image, stop):
    found = []
    number = reference.shape.number
    for text_index, text in enumerate(TEXTS[reference.shape.task]):
        for index, options in enumerate(settings(number + text_index)):
            options = options | ({"stop_strings": stop} if "stop_strings" in options else {})
            sequences, margin = reference.answer(image, text, options)
            if margin < SMALLEST_MARGIN:
                continue  # f32 sums in another order may choose differently
            for sequence in sequences:
                sequence["text"] = reference.written(sequence["token_ids"])
            found.append({
                "picture": picture, "text": text, "options": options, "prompt_ids": reference.prompt_ids(text),
                "sequences": sequences, "margin": margin, "first_logits": f"logits-{picture}-{text_index}",
            })  # fmt: skip
    return found


def expected_answers(reference, names, seed):
    pictures, answers, tensors = [], [], {}
    texts = TEXTS[reference.shape.task]
    images = [reference.picture(name)[1] for name in names]
    stop = ["s"] if reference.shape.index % 2 else ["a", " the"]
    for index, name in enumerate(names):
        pixels, image = reference.picture(name)
        pictures.append({"file": name, "checksum": checksum(pixels)})
        states = reference.model.vision_model(pixels).last_hidden_state
        tensors[f"picture-{index}"] = sample(states)
        for text_index, text in enumerate(texts):
            tensors[f"logits-{index}-{text_index}"] = reference.generate(image, text, {})[0].logits[0][0].clone()
            if reference.shape.task == "questions":
                ids = reference.ids(text)
                question = reference.model.text_encoder(
                    input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], encoder_hidden_states=states,
                    return_dict=True, is_decoder=False,
                )  # fmt: skip
                tensors[f"question-{index}-{text_index}"] = sample(question.last_hidden_state)
        answers += answers_of(reference, index, image, stop)
    number = reference.shape.number
    options, text = DRAWN[number % len(DRAWN)], texts[number % len(texts)]
    for attempt in range(50):
        draw_seed = 1000 * seed + 50 * number + attempt
        ids, distribution, margin = reference.drawn(images[0], text, options, draw_seed)
        if margin >= SMALLEST_MARGIN:
            break
    else:
        return None
    tensors["distribution"] = distribution
    drawn = {"picture": 0, "text": text, "options": options, "token_ids": ids}
    return {"pictures": pictures, "max_new_tokens": NEW_TOKENS, "answers": answers, "drawn": drawn}, tensors


def expected_scores(reference, names):
    pictures, scores, tensors = [], [], {}
    for index, name in enumerate(names):
        pixels, _ = reference.picture(name)
        pictures.append({"file": name, "checksum": checksum(pixels)})
        tensors[f"picture-{index}"] = sample(reference.model.vision_model(pixels).last_hidden_state)
        for text in TEXTS["matching"]:
            inputs = {"pixel_values": pixels} | {key: reference.ids(text)[key] for key in ("input_ids", "attention_mask")}
            logits = reference.model(**inputs).itm_score[0]
            cosine = reference.model(**inputs, use_itm_head=False).itm_score[0, 0]
            scores.append({
                "picture": index, "text": text, "ids": inputs["input_ids"][0].tolist(), "logits": logits.tolist(),
                "match": logits.softmax(-1)[1].item(), "cosine": cosine.item(),
            })  # fmt: skip
    return {"pictures": pictures, "scores": scores}, tensors


def complaint(result, task):
    """Why a result would make a poor test, if it would."""
    if "scores" in result:
        matches = [score["match"] for score in result["scores"]]
        cosines = [score["cosine"] for score in result["scores"]]
        spread = min(max(values) - min(values) for values in (matches, cosines))
        return f"scores alike, {spread:.1e}" if spread < 0.05 else None
    answers = result["answers"]
    if len(answers) < LEAST_ANSWERS:
        return f"{len(answers)} answers with a margin"
    plain = [answer for answer in answers if not answer["options"]]
    different = {tuple(answer["sequences"][0]["token_ids"]) for answer in plain}
    # What answers look at is a few words, of which little comes through random weights.
    if len(different) < (2 if task == "questions" else 3):
        return f"{len(different)} different answers of {len(plain)}"
    if task == "captions" and sum(len(set(ids)) < 3 for ids in different if len(ids) == NEW_TOKENS) > len(different) // 2:
        return "answers repeat themselves"
    return None


def choose_end(shape, result, dice):
    """A token that some answers reach ends them; found by letting the model run without any."""
    if shape.index % 4 == 3:
        return None
    plain = [answer["sequences"][0]["token_ids"] for answer in result["answers"] if not answer["options"]]
    candidates = sorted({token for ids in plain for token in ids[2:10]})
    return dice.choice(candidates)


def compute(folder, shape, names, margins, seed):
    reference = BlipReference(folder, shape, margins)
    if shape.task == "matching":
        return expected_scores(reference, names)
    return expected_answers(reference, names, seed)


def attempt(folder, number, seed, try_number, margins):
    """One checkpoint and its expectations, or why they will not do."""
    dice = random.Random(f"blip-{seed}-{number}-{try_number}")
    generator = torch.Generator().manual_seed(dice.getrandbits(32))
    dimensions = f"blip-{seed}-{number}-{try_number // 20}"
    shape = Shape(number, random.Random(dimensions))
    words = tokenizer(shape, dice)
    model = build(shape, random.Random(dimensions), generator, len(words))
    size = {"height": shape.image_size, "width": shape.image_size}
    processor = BlipProcessor(BlipImageProcessorPil(size=size), words)
    for file in folder.glob("*"):
        file.unlink()
    save(folder, shape, model, processor, generator)
    names = draw_pictures(folder, 500 + number, seed)
    computed = compute(folder, shape, names, margins, seed)
    if computed is None or (reason := complaint(computed[0], shape.task)):
        return "no draw" if computed is None else reason
    if shape.task != "matching" and (end := choose_end(shape, computed[0], dice)) is not None:
        edit(folder / "config.json", lambda config: config["text_config"].update(sep_token_id=end))
        computed = compute(folder, shape, names, margins, seed)
        if computed is None:
            return "no draw"
        answers = computed[0]["answers"]
        if len(answers) < LEAST_ANSWERS:
            return f"{len(answers)} answers with a margin"
        if not any(answer["sequences"][0]["token_ids"][-1] == end for answer in answers):
            return "no answer ends"
    result, tensors = computed
    result["rounding"] = BlipReference(folder, shape, margins).rounding(names)
    if result["rounding"] > LARGEST_ROUNDING:
        return f"rounding of {result['rounding']:.1e}"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
    make_untidy(folder, shape)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"blip {folder.name}: {shape.task}, {shape.image_size}/{shape.patch_size}, {shape.files}, {size // 1000} kB", flush=True)
    return None


def write(out: Path, seed: int, first: int):
    """Writes the folders from `first` on; tries again where a result would test little."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    margins = Margins()
    with torch.inference_mode():
        for number in range(first, EACH * len(TASKS)):
            folder = out / f"{number:02}"
            folder.mkdir(parents=True, exist_ok=True)
            for try_number in range(200):
                reason = attempt(folder, number, seed, try_number, margins)
                if reason is None:
                    break
                print(f"blip {folder.name}: again, {reason}", flush=True)
            else:
                raise SystemExit(f"no usable checkpoint {number} in 200 tries; choose another seed")
