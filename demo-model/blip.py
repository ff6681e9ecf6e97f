"""The small BLIP: a captioner and a matcher, their tokenizer and folders, and how training runs their parts.

Both are transformers' own classes, `BlipForConditionalGeneration` and `BlipForImageTextRetrieval`,
with the eyes of the demo model: the first layers of its vision tower, less half of their neurons.
"""

import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import Blip2Config, Blip2VisionModel, BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval

import captions
from model import MEAN, PATCH, PICTURE, STD, WIDTH, dump, write

HERE = os.path.dirname(os.path.abspath(__file__))
LAYERS, NEURONS = 4, 320  # of the vision tower; the demo model's has 6 and 640
TEXT_WIDTH, TEXT_LAYERS = 128, 3
SHARED = 64  # the width in which pictures and texts are compared
LONGEST = 160  # tokens of a text

# As in bert-base-uncased: the special tokens keep their numbers, with unused ones between.
PAD, UNKNOWN, CLS, SEP, MASK = 0, 100, 101, 102, 103


# ---------------------------------------------------------------- tokenizer


def vocabulary():
    """BERT's wordpieces of the captions' words, and letters and signs to spell any other word with."""
    special = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    signs = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    letters = list("0123456789abcdefghijklmnopqrstuvwxyz")
    words = [word for word in captions.all_words() if word not in letters]
    return [*special, *signs, *letters, *words, *("##" + letter for letter in letters)]


WORDS = vocabulary()
IDS = {word: number for number, word in enumerate(WORDS)}
# Behind the vocabulary, as in Salesforce's checkpoints: only the model's table knows them.
DEC, ENC = len(WORDS), len(WORDS) + 1


def make_tokenizer():
    tokenizer = Tokenizer(models.WordPiece(IDS, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)])
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


def encode(words):
    """The ids of words of the captions' language, without special tokens; other words are spelled."""
    ids = []
    for word in words.split():
        ids += [IDS[word]] if word in IDS else [IDS[letter if i == 0 else "##" + letter] for i, letter in enumerate(word)]
    return ids


# ---------------------------------------------------------------- models


def make_config():
    text = dict(vocab_size=len(WORDS) + 2, hidden_size=TEXT_WIDTH, intermediate_size=2 * TEXT_WIDTH,
                projection_dim=TEXT_WIDTH, num_hidden_layers=TEXT_LAYERS, num_attention_heads=4,
                max_position_embeddings=LONGEST, bos_token_id=DEC, sep_token_id=SEP, pad_token_id=PAD,
                initializer_range=0.06)
    # The LayerNorm of BLIP-2, from whose tower the weights come.
    vision = dict(hidden_size=WIDTH, intermediate_size=NEURONS, num_hidden_layers=LAYERS, num_attention_heads=5,
                  image_size=PICTURE, patch_size=PATCH, layer_norm_eps=1e-6, initializer_range=0.02)
    return BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=SHARED, projection_dim=SHARED)


def make_models(pictures):
    """The two models before training, which have one vision tower. `pictures` are pixel values to choose neurons by."""
    config = make_config()
    captioner, matcher = BlipForConditionalGeneration(config), BlipForImageTextRetrieval(config)
    captioner.vision_model.load_state_dict(demo_eyes(pictures))
    matcher.vision_model = captioner.vision_model
    return captioner, matcher


def demo_vision():
    """The whole vision tower of the demo model."""
    config = Blip2Config.from_pretrained(HERE)
    tower = Blip2VisionModel(config.vision_config)
    weights = load_file(os.path.join(HERE, "model.safetensors"))
    prefix = "vision_model."
    tower.load_state_dict({n.removeprefix(prefix): w.float() for n, w in weights.items() if n.startswith(prefix)})
    return tower.eval()


@torch.no_grad()
def demo_eyes(pictures):
    """The first layers of the demo model's vision tower, with the neurons that add most on these pictures.

    What those that are left out added is made up for by the others, as well as a linear map can (least squares).
    """
    tower = demo_vision()
    active, added = {}, {}
    for i, layer in enumerate(tower.encoder.layers[:LAYERS]):
        def look(module, inputs, output, i=i):
            active[i], added[i] = inputs[0].flatten(0, 1), output.flatten(0, 1)
        layer.mlp.fc2.register_forward_hook(look)
    tower(pixel_values=pictures)
    weights = {n: w for n, w in tower.state_dict().items()
               if not n.startswith("encoder.layers.") or int(n.split(".")[2]) < LAYERS}
    for i in range(LAYERS):
        mlp = f"encoder.layers.{i}.mlp."
        kept = (active[i].abs().mean(0) * weights[mlp + "fc2.weight"].norm(dim=0)).topk(NEURONS).indices
        for name in ("fc1.weight", "fc1.bias"):
            weights[mlp + name] = weights[mlp + name][kept]
        ones = torch.ones(len(active[i]), 1)
        fitted = torch.linalg.lstsq(torch.cat([active[i][:, kept], ones], dim=1), added[i]).solution
        weights[mlp + "fc2.weight"], weights[mlp + "fc2.bias"] = fitted[:-1].T.contiguous(), fitted[-1]
    return weights


class Helpers(nn.Module):
    """Heads that teach during training and are thrown away afterwards, since a drawn scene's contents are known:
    what each patch shows, where the things' centres are, how many there are of each, and which words of a text are wrong."""

    def __init__(self):
        super().__init__()
        self.patch_name = nn.Linear(WIDTH, len(captions.NAMES) + 1)
        self.centre = nn.Linear(WIDTH, len(captions.NAMES))
        self.ground = nn.Linear(WIDTH, 1)
        self.word = nn.Linear(TEXT_WIDTH, 1)
        self.number = nn.Linear(WIDTH, len(captions.NAMES))
        self.temperature = nn.Parameter(torch.tensor(2.66))
        nn.init.constant_(self.centre.bias, -5.0)


def eye_loss(helpers, patches, batch):
    """How well the patches know what they show and how near a thing's centre is, and the class token the ground and the numbers.

    An attention's mean over the patches of a kind does not tell how many things they are: the class token counts them.
    """
    names = F.cross_entropy(helpers.patch_name(patches[:, 1:]).flatten(0, 1), batch["patch_name"].flatten(), reduction="none")
    weight = torch.where(batch["patch_name"].flatten() > 0, 1.0, 0.3)
    things = batch["centre"].sum().clamp(min=1)
    centre = F.binary_cross_entropy_with_logits(helpers.centre(patches[:, 1:]), batch["centre"], reduction="sum") / things
    ground = F.binary_cross_entropy_with_logits(helpers.ground(patches[:, 0]).squeeze(-1), batch["ground"])
    number = (helpers.number(patches[:, 0]) - batch["number"]).pow(2).sum() / batch["number"].sum()
    return (names * weight).sum() / weight.sum() + centre + 0.3 * ground + 2 * number


def caption_logits(captioner, patches, ids):
    """Logits of the next token at every place of captions [pictures, tokens] that begin with [DEC].

    Padding stands at the end, where a causal decoder's other tokens do not see it.
    """
    return captioner.text_decoder(input_ids=ids, encoder_hidden_states=patches, use_cache=False).logits


def read_pairs(matcher, patches, ids):
    """The matcher's states for several texts a picture: ids [pictures, texts, tokens] -> [pictures, texts, tokens, width].

    The texts of a picture stand one behind the other and do not see each other: what the
    cross-attention reads of a picture is then computed once.
    """
    count, texts, length = ids.shape
    number = torch.arange(texts).repeat_interleave(length)
    seen = (number[:, None] == number[None]) & (ids.flatten(1) != PAD)[:, None]
    mask = torch.zeros(seen.shape).masked_fill(~seen, -1e9)[:, None]
    positions = torch.arange(length).repeat(texts).expand(count, -1)
    states = matcher.text_encoder(input_ids=ids.flatten(1), attention_mask=mask, position_ids=positions,
                                  encoder_hidden_states=patches).last_hidden_state
    return states.view(count, texts, length, -1)


def compare(matcher, patches, ids):
    """Unit vectors of pictures and of texts [texts, tokens], whose products are the cosines."""
    states = matcher.text_encoder(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state
    return (F.normalize(matcher.vision_proj(patches[:, 0]), dim=-1), F.normalize(matcher.text_proj(states[:, 0]), dim=-1))


# ---------------------------------------------------------------- the folders that ship


def export(weights, kind, folder):
    """Writes a checkpoint folder as Salesforce's are laid out, weights in f16. `kind` names the class."""
    os.makedirs(folder, exist_ok=True)
    config = make_config().to_dict()
    config.update(architectures=[kind], torch_dtype="float32")
    config.pop("dtype", None)
    pixels = dict(image_processor_type="BlipImageProcessor", do_convert_rgb=True, do_resize=True,
                  do_rescale=True, do_normalize=True, resample=3, rescale_factor=0.00392156862745098,
                  size=dict(height=PICTURE, width=PICTURE), image_mean=MEAN, image_std=STD,
                  processor_class="BlipProcessor")
    special = dict(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]")
    words = dict(tokenizer_class="BertTokenizer", do_lower_case=True, do_basic_tokenize=True, strip_accents=None,
                 tokenize_chinese_chars=True, never_split=None, model_max_length=LONGEST,
                 model_input_names=["input_ids", "attention_mask"], processor_class="BlipProcessor", **special)
    for name, content in (("config.json", config), ("preprocessor_config.json", pixels),
                          ("tokenizer_config.json", words), ("special_tokens_map.json", special)):
        write(folder, name, lambda path, c=content: dump(c, path))
    write(folder, "tokenizer.json", lambda path: make_tokenizer().save(path, pretty=False))
    write(folder, "vocab.txt", lambda path: write_lines(path, WORDS))
    # The head's matrix and bias are the word embeddings and `predictions.bias`, and are not written twice.
    halves = {n: w.detach().half().contiguous() for n, w in weights.items() if ".predictions.decoder." not in n}
    write(folder, "model.safetensors", lambda path: save_file(halves, path, metadata={"format": "pt"}))


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


# ---------------------------------------------------------------- use


def pixel_values(pictures):
    """Pixel values [pictures, 3, height, width] of PIL pictures, as the checkpoint's own processor makes them."""
    import numpy as np

    arrays = np.stack([np.asarray(picture.convert("RGB").resize((PICTURE, PICTURE), 3)) for picture in pictures])
    return normalise(torch.from_numpy(arrays))


def normalise(pixels):
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


@torch.inference_mode()
def generate(decoder, patches):
    """The likeliest captions, word for word: a text a picture."""
    ids = torch.full((len(patches), 1), DEC)
    done = torch.zeros(len(patches), dtype=torch.bool)
    while ids.shape[1] < 30 and not done.all():
        logits = decoder(input_ids=ids, encoder_hidden_states=patches, use_cache=False).logits[:, -1]
        following = torch.where(done, PAD, logits.argmax(-1))
        done = done | (following == SEP)
        ids = torch.cat([ids, following[:, None]], dim=1)
    tokenizer = make_tokenizer()
    return [tokenizer.decode(row[1:].tolist(), skip_special_tokens=True) for row in ids]


