"""Golden checkpoints of InstructBLIP, with LLaMA (which Vicuna is) and with T5 as the language model.

Facts about the reference that the files here depend on, read in its source and confirmed by making
them:

- The text goes to both tokenizers unchanged: there is no "Question: … Answer:".
- The Q-Former's `embeddings.layernorm` norms queries and text together; its text counts positions
  from 0. Only the queries' rows go on to the language model.
- `BertTokenizer` takes the vocabulary alone from `tokenizer.json`.
- As with BLIP-2, the end tokens are those of `text_config`, and `generation_config.json` plays no part.
- LLaMA's config may name fewer heads of keys and values than of queries, and heads of another size
  than the width divided by their number.
"""

import json
from collections import Counter

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AddedToken,
    BertTokenizer,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    LlamaTokenizer,
)

import checkpoints
import half
from checkpoints import CORPUS, OPT_CHECKPOINTS, QUESTION, RAW, Reference, Shape, edit, fill, sample
from t5 import T5Shape

LLAMA_CHECKPOINTS = 8
T5_CHECKPOINTS = 4
COUNT = LLAMA_CHECKPOINTS + T5_CHECKPOINTS
LARGEST_ROUNDING = 8e-5
CAPTION = "Write a short description for the image."
MORE_WORDS = [CAPTION, QUESTION, RAW]


class Instructed:
    """What all InstructBLIPs have: a Q-Former that reads, and a tokenizer for it."""

    vision_class, qformer_class = InstructBlipVisionConfig, InstructBlipQFormerConfig

    def qformer(self, dice):
        settings = super().qformer(dice)
        return settings | {"max_position_embeddings": [64, 40, 512, 80][self.number % 4], "pad_token_id": 0}

    def build(self, dice, generator, words, vocabulary):
        self.qformer_words = bert_tokenizer(dice, lower=self.number % 4 != 3)
        config = InstructBlipConfig(
            vision_config=InstructBlipVisionConfig(**self.vision(dice)).to_dict(),
            qformer_config=InstructBlipQFormerConfig(**self.qformer(dice), vocab_size=len(self.qformer_words)).to_dict(),
            text_config=self.text_config(dice, vocabulary),
            num_query_tokens=self.query_tokens,
            image_token_index=words.convert_tokens_to_ids("<image>"),
        )
        model = InstructBlipForConditionalGeneration(config).eval()
        with torch.no_grad():
            fill(model, self, generator)
            model.tie_weights()
        return model

    def processor(self, words, dice):
        return InstructBlipProcessor(
            checkpoints.image_processor(self, dice), words, self.qformer_words, num_query_tokens=self.query_tokens
        )

    def open(self, folder):
        return InstructedReference(folder)

    def doubt(self, folder, result):
        """Some random models, of T5 above all, double a rounding so often that the reference in f32 is far
        from itself in f64: what is near to it then says nothing."""
        exact, rounded = (half.logits(folder, result, dtype) for dtype in (torch.float64, torch.float32))
        largest = max(steps.abs().max() for steps in exact)
        worst = max((a - b).abs().max() for a, b in zip(exact, rounded)) / largest
        return f"f32 is off by {worst:.1e}" if worst > LARGEST_ROUNDING else None


class LlamaShape(Instructed, Shape):
    text_class = LlamaConfig

    def __init__(self, number, dice):
        super().__init__(number, dice)
        self.key_value_heads = [None, 1, None, 2, 1, None, 2, 3][number % 8]
        self.text_heads = [2, 3, 5, 4, 2, 1, 6, 3][number % 8]
        self.head_dim = [None, 6, 4, None, 10, None, 2, 8][number % 8]
        # Heads are of an even size, since their numbers are turned in pairs.
        step = self.text_heads if self.head_dim else 2 * self.text_heads
        self.text_width = step * dice.randint(-(-14 // step), 24 // step)

    def text(self, dice, vocabulary):
        settings = {
            "vocab_size": vocabulary + dice.choice([0, 3, 20]),
            "hidden_size": self.text_width,
            "num_hidden_layers": dice.randint(1, 3),
            "num_attention_heads": self.text_heads,
            "intermediate_size": dice.randint(20, 48),
            "max_position_embeddings": 2048 if self.number == 2 else dice.randint(128, 160),
            "hidden_act": ["silu", "gelu", "silu", "relu"][self.number % 4],
            "rms_norm_eps": dice.choice([1e-6, 1e-5, 1e-3]),
            "attention_bias": self.number % 4 == 2,
            "mlp_bias": self.number % 8 == 5,
            "tie_word_embeddings": self.head != "untied",
            "bos_token_id": 0,
            "eos_token_id": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": [10000.0, 500.0, 1e6][self.number % 3]},
        }
        if self.key_value_heads:
            settings["num_key_value_heads"] = self.key_value_heads
        if self.head_dim:
            settings["head_dim"] = self.head_dim
        return settings

    def text_config(self, dice, vocabulary):
        return LlamaConfig(**self.text(dice, vocabulary)).to_dict()

    def tokenizer(self, dice):
        return llama_tokenizer(dice)

    def token_table(self, model):
        return model.language_model.model.embed_tokens.weight.data

    def store_more(self, folder, model, generator):
        if self.legacy:
            edit(folder / "config.json", as_transformers_4)
            edit(folder / "tokenizer.json", lambda content: as_older_tokenizer(content, self.number))


class InstructedT5Shape(Instructed, T5Shape):
    pass


def as_transformers_4(config):
    """`rope_theta` by itself, and what the hub's files have beside it."""
    text = config["text_config"]
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    text["rope_scaling"] = None
    text["max_sequence_length"] = 2048


def as_older_tokenizer(content, number):
    """Older files of LLaMA's tokenizer have a normaliser that puts a space in front."""
    content["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    }
    content["pre_tokenizer"] = None


def llama_tokenizer(dice):
    """BPE whose unknown letters are bytes, spaces as U+2581; `</s>` before every text, as in InstructBLIP's files."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="first", split=True)
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789\u2581.,:;?!'") | {l for l in CORPUS[1] if l != " "})
    trainer = trainers.BpeTrainer(
        vocab_size=dice.randint(330, 390), special_tokens=special, initial_alphabet=letters, limit_alphabet=len(letters),
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator(CORPUS, trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    words = LlamaTokenizer(
        vocab=model["vocab"], merges=merges, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<unk>",
        add_bos_token=True,
    )  # fmt: skip
    words.add_tokens([AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
    return words


def bert_tokenizer(dice, lower=True):
    """Words and letters of the corpus, whole and as pieces, in the order of how often they come."""
    texts = [text.lower() if lower else text for text in CORPUS + MORE_WORDS[:2]]
    words = Counter(word for text in texts for word in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text) for word in [word[0]])
    letters = sorted({letter for word in words for letter in word if letter.isascii()})
    common = sorted(words, key=lambda word: (-words[word], word))[: dice.randint(10, 40)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokens += ["##ing", "##er", "##s"] + [word for word in common if len(word) > 1]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lower, bos_token="[DEC]")


class InstructedReference(Reference):
    model_class, processor_class = InstructBlipForConditionalGeneration, InstructBlipProcessor

    def text_of(self, prompt):
        return CAPTION if prompt["kind"] == "caption" else prompt["text"]

    def parts(self, index, pixel_values, prompts):
        """The picture's rows depend on what is asked: one of each for every prompt."""
        kept = {}
        for number, prompt in enumerate(prompts):
            words = self.processor.qformer_tokenizer(
                self.text_of(prompt), return_tensors="pt", return_token_type_ids=False
            )
            found = self.model.get_image_features(pixel_values, words["input_ids"], words["attention_mask"], return_dict=True)
            if index == 0 and number == 0:
                kept["image_embeds"] = sample(found.vision_outputs[0])
            if index == 0:
                queries = found.qformer_outputs[0][:, : self.model.config.num_query_tokens]
                kept[f"query_output-{number}"] = sample(queries)
            kept[f"projected-{index}-{number}"] = sample(found.pooler_output)
        return kept


def shape_of(number, dice):
    """LLaMA's numbers come first, then T5's."""
    if number < LLAMA_CHECKPOINTS:
        return LlamaShape(number, dice)
    return InstructedT5Shape(number - LLAMA_CHECKPOINTS + OPT_CHECKPOINTS, dice)
