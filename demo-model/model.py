"""The small BLIP-2: its config, tokenizer and folder, and how training runs its parts.

The model is transformers' own `Blip2ForConditionalGeneration`. Training calls the parts by hand
so that a picture is encoded once and several questions are asked about it.
"""

import json
import math
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import Blip2Config, Blip2ForConditionalGeneration

from questions import all_words
from scenes import COLOURS, GRID, KINDS

PICTURE, PATCH, WIDTH = 120, 12, 160
QUERIES = GRID * GRID
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
PAD, BOS = 1, 2
VOCABULARY = 900


# ---------------------------------------------------------------- tokenizer


def make_tokenizer():
    """A byte-level BPE with OPT's conventions: `<s>` 0, `<pad>` 1, `</s>` 2 (put in front), `<unk>` 3."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(all_words() + easy_words(), trainer)
    tokenizer.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", BOS)])
    return tokenizer


def easy_words():
    import easy

    return [f"Question: {q} Answer: {a}" for _, pairs in list(easy.load("train"))[:300] for q, a in pairs]


def end_token(tokenizer):
    """A line break ends an answer, as in the real BLIP-2 OPT."""
    return tokenizer.token_to_id("Ċ")


# ---------------------------------------------------------------- model


def make_config(tokenizer):
    end = end_token(tokenizer)
    size = tokenizer.get_vocab_size()
    return Blip2Config(
        vision_config=dict(hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=6,
                           num_attention_heads=5, image_size=PICTURE, patch_size=PATCH,
                           initializer_range=0.02),
        qformer_config=dict(hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=3,
                            num_attention_heads=5, encoder_hidden_size=WIDTH, cross_attention_frequency=1,
                            vocab_size=size, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        text_config=dict(model_type="opt", hidden_size=WIDTH, word_embed_proj_dim=WIDTH, ffn_dim=4 * WIDTH,
                         num_hidden_layers=4, num_attention_heads=5, vocab_size=size,
                         max_position_embeddings=512, dropout=0.0, attention_dropout=0.0,
                         pad_token_id=PAD, bos_token_id=BOS, eos_token_id=end),
        num_query_tokens=QUERIES, image_token_index=tokenizer.token_to_id("<image>"),
        tie_word_embeddings=True)


def make_model(tokenizer):
    model = Blip2ForConditionalGeneration(make_config(tokenizer))
    # On the CPU the plain attention has a much faster backward pass than the fused one.
    model.set_attn_implementation("eager")
    prepare(model)
    return model


@torch.no_grad()
def prepare(model):
    """A better start than the library's: every query token begins by looking at its own grid cell.

    Patches and query tokens get the same code of places (transformers starts query tokens at zero,
    all alike), and the cross-attentions compare codes of places.
    """
    for part in [*model.qformer.modules(), model.language_projection]:
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.06)
    model.vision_model.embeddings.position_embedding[:, 1:] = place_codes(PICTURE // PATCH)
    model.query_tokens[0] = place_codes(GRID)
    same = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    for layer in model.qformer.encoder.layer:
        attention = layer.crossattention.attention
        attention.query.weight.copy_(same * 1.4)
        attention.key.weight.copy_(same * 1.4)


def place_codes(side):
    """Sines and cosines of the centres of a side x side grid; near places have similar codes."""
    centres = (torch.arange(side) + 0.5) / side
    waves = centres[:, None] * torch.linspace(0.5, 24, WIDTH // 4)
    axis = torch.cat([waves.sin(), waves.cos()], dim=1)
    rows = axis[:, None].expand(-1, side, -1)
    columns = axis[None].expand(side, -1, -1)
    return torch.cat([columns, rows], dim=-1).reshape(side * side, WIDTH)


class Helpers(nn.Module):
    """Heads that teach the eyes during training and are thrown away afterwards.

    Scenes are drawn, so what every patch and every grid cell shows is known. `oracle` turns that
    knowledge into perfect picture tokens, from which the language model learns to answer while
    the eyes are still learning to see.
    """

    def __init__(self):
        super().__init__()
        self.patch_kind = nn.Linear(WIDTH, len(KINDS) + 1)
        self.patch_colour = nn.Linear(WIDTH, len(COLOURS) + 1)
        self.cell_kind = nn.Linear(WIDTH, len(KINDS) + 1)
        self.cell_colour = nn.Linear(WIDTH, len(COLOURS) + 1)
        self.cell_offset = nn.Linear(WIDTH, 2)
        self.kind = nn.Embedding(len(KINDS) + 1, WIDTH)
        self.colour = nn.Embedding(len(COLOURS) + 1, WIDTH)
        self.place = nn.Embedding(QUERIES, WIDTH)
        self.offset = nn.Linear(2, WIDTH, bias=False)
        for part in (self.kind, self.colour, self.place, self.offset):
            nn.init.normal_(part.weight, std=0.3)
        self.add_axes()

    @torch.no_grad()
    def add_axes(self):
        """Gives the oracle one direction for "right" and one for "down", the same in every cell.

        "What is on the left" is then the end of an axis, which is far easier to learn than an order of 25 codes.
        """
        axes = torch.randn(2, WIDTH) * 0.8
        centres = (torch.arange(GRID) + 0.5) / GRID - 0.5
        rows, columns = torch.meshgrid(centres, centres, indexing="ij")
        self.place.weight += torch.stack([columns.flatten(), rows.flatten()], dim=1) @ axes
        self.offset.weight += 1.3 / GRID * axes.T  # `oracle` weighs the place of a thing by 1.3

    @torch.no_grad()
    def surest(self, queries, batch):
        """For each cell that may report a thing, how much surer it is of the thing than of nothing.

        Training each thing's surest cell, whichever it is, teaches neighbours to agree on one of them
        (a set loss as in DETR, Carion et al. 2020); a fixed choice would punish both for half a pixel.
        """
        logits = self.cell_kind(queries).float()
        cells = batch["thing_cells"].clamp(min=0).flatten(1)
        kinds = batch["thing_kind"].repeat_interleave(4, dim=1)
        rows = torch.arange(len(cells))[:, None]
        return (logits[rows, cells, kinds] - logits[rows, cells, 0]).view(batch["thing_cells"].shape)

    def oracle(self, batch):
        where = self.place.weight * (batch["cell_kind"] > 0).unsqueeze(-1) + self.place.weight * 0.3
        return (self.kind(batch["cell_kind"]) + self.colour(batch["cell_colour"]) + where
                + self.offset(batch["cell_offset"]))


def reported(batch, score):
    """What each grid cell shows when every thing is reported by the possible cell of the highest score."""
    choice = score.masked_fill(batch["thing_cells"] < 0, -math.inf).argmax(-1, keepdim=True)
    cells = batch["thing_cells"].gather(-1, choice).squeeze(-1)
    cells = torch.where(batch["thing_kind"] > 0, cells, QUERIES)  # a place that is cut off again
    empty = torch.zeros(len(cells), QUERIES + 1, dtype=torch.long)
    offsets = batch["thing_offsets"].gather(2, choice.unsqueeze(-1).expand(-1, -1, 1, 2)).squeeze(2)
    nowhere = torch.zeros(len(cells), QUERIES + 1, 2)
    return dict(cell_kind=empty.scatter(1, cells, batch["thing_kind"])[:, :QUERIES],
                cell_colour=empty.scatter(1, cells, batch["thing_colour"])[:, :QUERIES],
                cell_offset=nowhere.scatter(1, cells.unsqueeze(-1).expand(-1, -1, 2), offsets)[:, :QUERIES])


def see(model, pixels):
    """Vision tower and Q-Former: patch features, query outputs, and the language model's picture tokens."""
    patches = model.vision_model(pixel_values=pixels).last_hidden_state
    queries = model.query_tokens.expand(pixels.shape[0], -1, -1)
    queries = model.qformer(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
    return patches, queries, model.language_projection(queries)


def eye_losses(helpers, patches, queries, batch):
    """How well patches and queries know what they show. Patches and cells outside a thing count less."""

    def cross(head, features, wanted, empty):
        loss = F.cross_entropy(head(features).flatten(0, 1).float(), wanted.flatten(), reduction="none")
        weight = torch.where(wanted.flatten() > 0, 1.0, empty)
        return (loss * weight).sum() / weight.sum()

    patches = patches[:, 1:]  # without the class token
    patch = cross(helpers.patch_kind, patches, batch["patch_kind"], 0.3)
    patch = patch + cross(helpers.patch_colour, patches, batch["patch_colour"], 0.3)
    cell = cross(helpers.cell_kind, queries, batch["cell_kind"], 1.0)
    cell = cell + cross(helpers.cell_colour, queries, batch["cell_colour"], 0.5)
    there = batch["cell_kind"] > 0
    offset = F.smooth_l1_loss(helpers.cell_offset(queries)[there], batch["cell_offset"][there])
    return patch, cell, offset


def answer_logits(model, picture_tokens, batch):
    """Logits at every position where an answer token is wanted. Each question is its own segment after the picture tokens:

        [picture tokens] [</s> question answer] [</s> question answer] ...

    A segment sees the picture and itself, and its positions go on right after the picture's, so
    that it is what the model will see in `generate`.
    """
    decoder = model.language_model.model.decoder
    words = decoder.embed_tokens(batch["ids"])
    inputs = torch.cat([picture_tokens, words], dim=1)
    count, length = inputs.shape[:2]
    segments = torch.cat([torch.zeros(count, QUERIES, dtype=torch.long), batch["segments"]], dim=1)
    positions = torch.cat([torch.arange(QUERIES).expand(count, -1), batch["positions"] + QUERIES], dim=1)
    same = segments[:, :, None] == segments[:, None, :]
    open_ = (same | (segments == 0)[:, None, :]) & torch.ones(length, length, dtype=torch.bool).tril()
    mask = torch.zeros(open_.shape).masked_fill(~open_, -1e9)
    hidden = decoder(inputs_embeds=inputs, attention_mask=mask[:, None], position_ids=positions,
                     use_cache=False).last_hidden_state[:, QUERIES:]
    return model.language_model.lm_head(hidden[batch["wanted"] >= 0])


def answer_loss(model, picture_tokens, batch):
    """The mean loss of all answer tokens, and the share of them that is right."""
    logits = answer_logits(model, picture_tokens, batch)
    wanted = batch["wanted"][batch["wanted"] >= 0]
    return F.cross_entropy(logits.float(), wanted), (logits.argmax(-1) == wanted).float().mean()


# ---------------------------------------------------------------- the folder that ships


def export(weights, tokenizer, folder):
    """Writes the checkpoint folder as Salesforce's are laid out, weights in f16. Each file appears at once."""
    os.makedirs(folder, exist_ok=True)
    end = end_token(tokenizer)
    config = make_config(tokenizer).to_dict()
    config.update(architectures=["Blip2ForConditionalGeneration"], torch_dtype="float32")
    config.pop("dtype", None)
    pixels = dict(image_processor_type="BlipImageProcessor", do_convert_rgb=True, do_resize=True,
                  do_rescale=True, do_normalize=True, resample=3, rescale_factor=0.00392156862745098,
                  size=dict(height=PICTURE, width=PICTURE), image_mean=MEAN, image_std=STD,
                  processor_class="Blip2Processor")
    words = dict(tokenizer_class="GPT2Tokenizer", add_bos_token=True, add_prefix_space=False,
                 bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>",
                 model_max_length=512, processor_class="Blip2Processor",
                 added_tokens_decoder={
                     str(tokenizer.token_to_id(t)): dict(content=t, lstrip=False, normalized=False, rstrip=False,
                                                         single_word=False, special=True)
                     for t in ("<s>", "<pad>", "</s>", "<unk>", "<image>")})
    generation = dict(bos_token_id=BOS, eos_token_id=end, pad_token_id=PAD, max_new_tokens=48)
    processor = dict(num_query_tokens=QUERIES, processor_class="Blip2Processor")
    for name, content in (("config.json", config), ("preprocessor_config.json", pixels),
                          ("processor_config.json", processor), ("tokenizer_config.json", words),
                          ("generation_config.json", generation)):
        write(folder, name, lambda path, c=content: dump(c, path))
    write(folder, "tokenizer.json", lambda path: tokenizer.save(path))
    halves = {n: w.detach().half().contiguous() for n, w in weights.items() if n != "language_model.lm_head.weight"}
    write(folder, "model.safetensors", lambda path: save_file(halves, path, metadata={"format": "pt"}))


def dump(content, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, default=str)
        file.write("\n")


def write(folder, name, save):
    """Saves under a temporary name, then renames: a reader never sees half a file."""
    temporary = os.path.join(folder, f".{name}.new")
    save(temporary)
    os.chmod(temporary, 0o644)
    os.replace(temporary, os.path.join(folder, name))
