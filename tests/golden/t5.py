"""Golden checkpoints with T5 as their language model.

Facts about the reference that the files here depend on, read in its source and confirmed by
making them:

- `T5Config` computes `dense_act_fn`, `is_gated_act` and `scale_decoder_outputs` itself, and
  keys of these names in config.json win. The hub's files say `gated-gelu`, which would be the
  approximate GELU, and `"dense_act_fn": "gelu"`.
- `tie_word_embeddings: false` only says that the outputs are not scaled. Tables and head are
  tied to `shared` wherever the file holds none of their own that differ.
- The prompt goes to the encoder. The rules of generation see the decoder's ids: its start
  token, and the answer so far. Without a `decoder_start_token_id` it is `bos_token_id`.
"""

import io
import math
import tempfile
from collections import Counter

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import AddedToken, T5Config, T5Tokenizer

from checkpoints import CORPUS, OPT_CHECKPOINTS, Shape, edit, store

SPECIAL = ["<pad>", "</s>", "<unk>"]
EXTRA_IDS = 5


class T5Shape(Shape):
    """As the hub's in the first, and odd in one way or another in the others."""

    text_class = T5Config

    def __init__(self, number, dice):
        super().__init__(number, dice)
        self.index = number - OPT_CHECKPOINTS
        self.query_tokens = [32, 4, 7, 1, 48, 16, 3, 11][self.index % 8]
        self.head = ["untied", "tied", "tied", "tied but another stored", "tied and stored", "untied", "tied", "untied"][
            self.index % 8
        ]
        self.scaled = self.index % 8 in (1, 3, 5)
        # None, the same as the shared one as older files have them, or the decoder's differs.
        self.tables = [None, "same", None, None, "different", None, None, None][self.index % 8]
        self.legacy = self.index % 2 == 0
        self.d_kv = [8, 5, 16, 3, 7, 11, 4, 9][self.index % 8]
        self.buckets = [(32, 128), (8, 20), (7, 10), (32, 128), (16, 30), (4, 3), (20, 64), (32, 128)][self.index % 8]
        self.feed_forward = ["hub", "relu", "gated-gelu", "gated-silu", "hub", "gelu", "hub", "gated-relu"][self.index % 8]

    def text(self, dice, vocabulary):
        settings = {
            "vocab_size": vocabulary + dice.choice([0, 3, 20]),
            "d_model": dice.randint(14, 24),
            "d_kv": self.d_kv,
            "d_ff": dice.randint(20, 48),
            "num_layers": dice.randint(1, 3),
            "num_heads": [4, 2, 1, 5, 3, 2, 6, 3][self.index % 8],
            "relative_attention_num_buckets": self.buckets[0],
            "relative_attention_max_distance": self.buckets[1],
            "layer_norm_epsilon": dice.choice([1e-6, 1e-5, 1e-3]),
            "feed_forward_proj": self.feed_forward,
            "tie_word_embeddings": self.scaled,
            "bos_token_id": 1,
            "decoder_start_token_id": 0,
        }
        if self.index % 3 == 1:
            # No more than the encoder has: the reference's cache is as deep as that.
            settings |= {"num_layers": 3, "num_decoder_layers": dice.randint(1, 2)}
        if self.feed_forward == "hub":
            settings |= {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"}
        if self.index == 3:
            settings["bos_token_id"] = 7
            del settings["decoder_start_token_id"]
        return settings

    def text_config(self, dice, vocabulary):
        return T5Config(**self.text(dice, vocabulary)).to_dict()

    def scale_of(self, name):
        if not name.startswith("language_model."):
            return None
        if name.endswith("shared.weight"):
            return 0.3  # a head that is tied says the last token again where this is large
        if "relative_attention_bias" in name:
            return 1.0
        if name.endswith("EncDecAttention.o.weight"):
            return 0.15  # what is the same at every step must not drown what is not
        if name.endswith("Attention.q.weight"):
            return 0.5  # scores are not scaled down by the heads' size
        return None

    def token_table(self, model):
        return model.language_model.shared.weight.data

    def tokenizer(self, dice):
        return tokenizer(dice)

    def store_more(self, folder, model, generator):
        table = self.token_table(model)
        if self.head == "untied":
            head = 0.4 * torch.randn(table.shape, generator=generator)
            store(folder, "language_model.lm_head.weight", head.to(table.dtype))
        if self.tables is not None:
            store(folder, "language_model.encoder.embed_tokens.weight", table.clone())
            other = torch.randn(table.shape, generator=generator).to(table.dtype)
            other = table.clone() if self.tables == "same" else other
            store(folder, "language_model.decoder.embed_tokens.weight", other)
        if self.legacy:
            edit(folder / "config.json", self.as_on_the_hub)

    def as_on_the_hub(self, config):
        """Older files have no `scale_decoder_outputs`, and `tie_word_embeddings` as it was."""
        text = config["text_config"]
        del text["scale_decoder_outputs"], text["is_gated_act"]
        text["tie_word_embeddings"] = self.scaled
        if self.feed_forward != "hub":
            del text["dense_act_fn"]


def charsmap():
    """A small normaliser in SentencePiece's own format; T5's own maps most of Unicode."""
    rules = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00a0": " ", "\t": " ", "\n": " ", "\u00e9": "e", "\ufb01": "fi"}
    code = lambda text: " ".join(f"{ord(letter):X}" for letter in text)
    lines = [f"{code(source)}\t{code(target)}\n" for source, target in sorted(rules.items())]
    written = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(lines)
        file.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS), model_writer=written, vocab_size=200, character_coverage=1.0,
            hard_vocab_limit=False, normalization_rule_tsv=file.name, minloglevel=2,
        )  # fmt: skip
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(written.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def pieces(most):
    """Letters, and the texts within words that come most often, with the logarithm of how often."""
    words = [f"\u2581{word}" for text in CORPUS for word in text.split()]
    counts = Counter(word[i:j] for word in words for i in range(len(word)) for j in range(i + 1, min(len(word), i + 7) + 1))
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    longer = sorted((text for text in counts if len(text) > 1 and counts[text] > 1), key=lambda text: (-counts[text], text))
    total = counts.total()
    return [(text, round(math.log(max(counts[text], 0.5) / total), 4)) for text in (letters + longer)[:most]]


def tokenizer(dice):
    """T5's: Unigram behind a normaliser, spaces as U+2581, `</s>` after every text, and extra
    ids behind the vocabulary."""
    vocabulary = [(name, 0.0) for name in SPECIAL] + pieces(dice.randint(180, 260))
    vocabulary += [(f"<extra_id_{number}>", 0.0) for number in reversed(range(EXTRA_IDS))]
    words = T5Tokenizer(vocab=vocabulary, _spm_precompiled_charsmap=charsmap(), extra_ids=EXTRA_IDS)
    words.add_tokens([AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
    return words
