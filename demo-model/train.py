"""Trains the demo model: `python train.py --minutes 90`. Stops and goes on where it was with the same command.

Progress is printed and kept in `log.txt` of the work folder; every five minutes the model answers
held-out scenes, and the checkpoint (weights, optimiser, clock) is saved.
"""

import argparse
import multiprocessing
import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer

import easy
import questions
import scenes
from model import (BOS, MEAN, PATCH, PICTURE, QUERIES, STD, Helpers, answer_logits, answer_loss, end_token, export, eye_losses,
                   make_model, make_tokenizer, reported, see)
from run import Run

MEAN_T, STD_T = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
EASY_SHARE = 0.12
MOST = 6  # things in a scene
BORDER = 0.025  # how close to a cell's border a centre is on either side of it, as a fraction of the picture


# ---------------------------------------------------------------- one example


def picture_labels(scene):
    """What every patch shows (kind and colour as numbers, 0 is "nothing"), and what things there are.

    A thing may be reported by any of its `thing_cells` (-1: none): a centre close to a border between
    cells may be read as lying on either side. `thing_offsets` say where it lies, seen from each of them.
    """
    side = PICTURE // PATCH
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres, centres)
    patch_kind, patch_colour = np.zeros((2, side, side), np.int64)
    thing_kind, thing_colour = np.zeros((2, MOST), np.int64)
    thing_cells = np.full((MOST, 4), -1, np.int64)
    thing_offsets = np.zeros((MOST, 4, 2), np.float32)
    for i, (thing, cells) in enumerate(zip(scene.things, possible_cells(scene))):
        kind = scenes.KINDS.index(thing.kind) + 1
        colour = list(scenes.COLOURS).index(thing.colour) + 1 if thing.colour else 0
        inside = ((x - thing.x) / thing.w) ** 2 + ((y - thing.y) / thing.h) ** 2 < 0.42**2
        patch_kind[inside], patch_colour[inside] = kind, colour
        thing_kind[i], thing_colour[i] = kind, colour
        thing_cells[i, : len(cells)] = cells
        for j, cell in enumerate(cells):
            row, column = divmod(cell, scenes.GRID)
            thing_offsets[i, j] = (thing.x * scenes.GRID - column - 0.5, thing.y * scenes.GRID - row - 0.5)
    return dict(patch_kind=patch_kind.ravel(), patch_colour=patch_colour.ravel(), thing_kind=thing_kind,
                thing_colour=thing_colour, thing_cells=thing_cells, thing_offsets=thing_offsets)


def possible_cells(scene):
    """For each thing the cells within `BORDER` of its centre, its own first; no cell is given to two things."""
    taken = {scenes.cell_of(thing) for thing in scene.things}
    possible = []
    for thing in scene.things:
        near = [scenes.cell_at(thing.x + dx, thing.y + dy) for dx in (-BORDER, 0, BORDER) for dy in (-BORDER, 0, BORDER)]
        others = [cell for cell in dict.fromkeys(near) if cell not in taken]
        possible.append([scenes.cell_of(thing), *others])
        taken.update(others)
    return possible


class Writer:
    """Writes questions and answers as token segments with the tokens wanted after each position."""

    def __init__(self, tokenizer):
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.end = end_token(tokenizer)

    def segment(self, turns):
        """`</s>Question: q1 Answer: a1 Question: q2 Answer: a2`: (ids, wanted); wanted is -1 where no answer is."""
        ids, wanted = [BOS], [-1]
        for question, answer in turns:
            prompt = self.encode((" " if len(ids) > 1 else "") + f"Question: {question} Answer:") if question else []
            reply = self.encode(answer if not question else " " + answer)
            ids += prompt + reply
            wanted += [-1] * (len(prompt) + len(reply))
            start = len(ids) - len(reply) - 1
            wanted[start : start + len(reply) + 1] = reply + [self.end]
        return ids, wanted

    def pack(self, segments):
        ids, wanted, number, position = [], [], [], []
        for i, (words, answers) in enumerate(segments, 1):
            ids += words
            wanted += answers
            number += [i] * len(words)
            position += range(len(words))
        return dict(ids=ids, wanted=wanted, segments=number, positions=position)


def turns_for(rng, scene, pairs, count):
    """What is asked about one picture: a list of segments, each one turn or (a fifth) two or three."""
    segments = []
    for _ in range(count):
        length = rng.choice([2, 3]) if rng.random() < 0.2 else 1
        turns = []
        for _ in range(length):
            if pairs and (scene is None or rng.random() < 0.85):
                turns.append(rng.choice(pairs))
            else:
                turns.append(questions.ask_any(rng, scene)[1:])
        # The caption is for no text at all, so it never stands among other turns.
        told = [t for t in turns if t[0]]
        segments.append(told if len(turns) > 1 and told else turns[:1])
    return segments


def load_easy():
    return [(np.asarray(picture.resize((PICTURE, PICTURE), 3)), scene, pairs)
            for picture, scene, pairs in ((*easy.as_scene(p, q), q) for p, q in easy.load("train")) if scene]


# ---------------------------------------------------------------- batches


def draw_batches(out, most, size, seed, tokenizer_text, asked):
    """The worker: draws pictures and writes questions about them, for ever. `most` is how many things there may be."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    writer = Writer(Tokenizer.from_str(tokenizer_text))
    easy_pictures = load_easy()
    shown = []  # the last drawn pictures: each is shown twice, with other questions
    while True:
        fresh = []
        for _ in range(size):
            if rng.random() < EASY_SHARE:
                fresh.append(rng.choice(easy_pictures))
            elif len(shown) > 3000 and rng.random() < 0.5:
                fresh.append(shown.pop(rng.randrange(1500)))
            else:
                scene = scenes.invent(rng, max(1, int(rng.uniform(0.7, 1) * most.value + 0.5)))
                picture = scenes.maybe_jpeg(rng, scenes.draw(scene)).resize((PICTURE, PICTURE), 3)
                fresh.append((np.asarray(picture), scene, None))
                shown.append(fresh[-1])
        out.put(collate([(p, picture_labels(s), writer.pack([writer.segment(t) for t in turns_for(rng, s, q, asked)]))
                         for p, s, q in fresh]))


def word_batches(out, size, seed, tokenizer_text, asked):
    """A second worker: scenes that are never drawn, for the language model alone."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    writer = Writer(Tokenizer.from_str(tokenizer_text))
    nothing = np.zeros((1, 1, 3), np.uint8)
    while True:
        drawn = [scenes.invent(rng) for _ in range(size)]
        out.put(collate([(nothing, picture_labels(s), writer.pack([writer.segment(t) for t in turns_for(rng, s, None, asked)]))
                         for s in drawn]))


def collate(rows):
    batch = {"pixels": np.stack([r[0] for r in rows])}
    for name in rows[0][1]:
        batch[name] = np.stack([r[1][name] for r in rows])
    length = max(len(r[2]["ids"]) for r in rows)
    for name, fill in (("ids", 1), ("wanted", -1), ("segments", 99), ("positions", 0)):
        batch[name] = np.full((len(rows), length), fill, np.int64)
        for row, (_, _, text) in zip(batch[name], rows):
            row[: len(text[name])] = text[name]
    return batch


def to_tensors(batch):
    batch = {name: torch.from_numpy(array) for name, array in batch.items()}
    batch["pixels"] = (batch["pixels"].permute(0, 3, 1, 2).float() / 255 - MEAN_T) / STD_T
    return batch


# ---------------------------------------------------------------- held-out check


def held_out(writer, count=400):
    """Scenes of seeds that training never uses, one question of each kind a scene where possible."""
    rows = []
    for i in range(count):
        rng = random.Random(f"held out {i}")
        scene = scenes.invent(rng)
        picture = np.asarray(scenes.draw(scene).resize((PICTURE, PICTURE), 3))
        asked = [(kind, questions.ask(rng, scene, kind)) for kind in questions.ASK]
        rows.append((picture, scene, [(kind, pair) for kind, pair in asked if pair]))
    return rows


@torch.inference_mode()
def check(model, writer, rows):
    """Share of answers all of whose tokens are the likeliest (which is greedy decoding's answer)."""
    right, total = {}, {}
    for start in range(0, len(rows), 50):
        part = rows[start : start + 50]
        batch = to_tensors(collate([(p, picture_labels(s), writer.pack([writer.segment([pair]) for _, pair in asked]))
                                    for p, s, asked in part]))
        tokens = see(model, batch["pixels"])[2]
        good = answers_right(model, tokens, batch)
        for i, (_, _, asked) in enumerate(part):
            for j, (kind, _) in enumerate(asked, 1):
                mine = (batch["segments"][i] == j) & (batch["wanted"][i] >= 0)
                right[kind] = right.get(kind, 0) + bool(good[i][mine].all())
                total[kind] = total.get(kind, 0) + 1
    return {kind: right[kind] / total[kind] for kind in total}


def answers_right(model, tokens, batch):
    """For every position, whether the likeliest next token is the wanted one."""
    wanted = batch["wanted"] >= 0
    good = torch.zeros_like(wanted)
    good[wanted] = answer_logits(model, tokens, batch).argmax(-1) == batch["wanted"][wanted]
    return good


# ---------------------------------------------------------------- training


def make_optimisers(model, helpers, peak):
    """Muon for the matrices inside the layers (it learns from fewer pictures than AdamW), AdamW for the rest."""
    inner = ("vision_model.encoder.layers", "qformer.encoder.layer", "decoder.layers")
    named = list(model.named_parameters())
    matrices = [p for n, p in named if p.dim() == 2 and any(i in n for i in inner)]
    taken = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in taken] + list(helpers.parameters())
    muon = torch.optim.Muon(matrices, lr=peak, weight_decay=0.03, momentum=0.95, ns_steps=5,
                            adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    muon.param_groups[0]["peak"], adam.param_groups[0]["peak"] = 2 * peak, peak
    return muon, adam


def step(model, helpers, batch, done, texts):
    """All losses of one batch. The language model first reads the oracle's tokens, later more and more its own eyes'."""
    patches, queries, tokens = see(model, batch["pixels"])
    batch = batch | reported(batch, helpers.surest(queries, batch))
    patch, cell, offset = eye_losses(helpers, patches, queries, batch)
    oracle = helpers.oracle(batch)
    alike = (tokens - oracle.detach()).pow(2).mean()
    own = min(1, max(0, (done - 0.35) / 0.25))
    eyes = 1.0 if done < 0.7 else 0.5
    loss = eyes * (0.5 * patch + cell + 2 * offset) + (1.0 if done < 0.7 else 0.2) * alike
    some = slice(0, texts)
    use_own = (torch.rand(texts) < own).view(-1, 1, 1)
    read = torch.where(use_own, tokens[some], oracle[some])
    words, right = answer_loss(model, read, {n: v[some] for n, v in batch.items()})
    seen = queries.detach()
    there = batch["cell_kind"] > 0
    cells = ((helpers.cell_kind(seen).argmax(-1) == batch["cell_kind"]) & (helpers.cell_colour(seen).argmax(-1) == batch["cell_colour"]))
    figures = dict(patch=patch, cell=cell, offset=offset, alike=alike, words=words, right=right,
                   things=cells[there].float().mean(), empty=cells[~there].float().mean())
    return loss + words, {n: float(v.detach()) for n, v in figures.items()}


def word_step(model, helpers, batch):
    """The language model alone, on the oracle's tokens with as much noise as the eyes still have."""
    with torch.no_grad():
        batch = batch | reported(batch, torch.rand(batch["thing_cells"].shape))
        tokens = helpers.oracle(batch)
        tokens = tokens + 0.15 * torch.randn_like(tokens)
    return answer_loss(model, tokens, batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=90, help="training time; the learning rate is zero at its end")
    parser.add_argument("--work", default="work", help="folder of checkpoints and log")
    parser.add_argument("--out", default=".", help="folder the model is exported to, every twenty minutes")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    parser.add_argument("--asked", type=int, default=5, help="questions a picture")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="highest learning rate")
    parser.add_argument("--word-steps", type=int, default=0,
                        help="after each step, this many steps of the language model alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bench", type=int, default=0, help="only run this many steps and print their speed")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    Trainer(args).run()


class Trainer(Run):
    def __init__(self, args):
        torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        self.tokenizer = make_tokenizer()
        self.writer = Writer(self.tokenizer)
        self.model, self.helpers = make_model(self.tokenizer), Helpers()
        average = {n: p.detach().clone() for n, p in self.model.state_dict().items()}
        super().__init__(args, dict(model=self.model, helpers=self.helpers),
                         make_optimisers(self.model, self.helpers, args.rate), average, warm_up=0.02)

    def start_worker(self):
        context = multiprocessing.get_context("spawn")
        self.most = context.Value("d", 2.0)
        self.batches = context.Queue(6)
        # A resumed run must not draw the same scenes again.
        seed = f"train {self.args.seed} {self.steps}"
        worker = context.Process(target=draw_batches, daemon=True, args=(
            self.batches, self.most, self.args.batch, seed, self.tokenizer.to_str(), self.args.asked))
        worker.start()
        self.words = context.Queue(6)
        if self.args.word_steps:
            context.Process(target=word_batches, daemon=True, args=(
                self.words, 16, "words " + seed, self.tokenizer.to_str(), self.args.asked)).start()

    def run(self):
        self.start_worker()
        rows = held_out(self.writer)
        self.say(f"{sum(p.numel() for p in self.model.parameters()) / 1e6:.2f} M parameters, {self.tokenizer.get_vocab_size()} tokens")
        end = self.args.minutes * 60
        checked = exported = self.seconds
        if self.steps == 0 and not self.args.bench:  # others can build against the layout at once
            export(self.average, self.tokenizer, self.args.out)
        last, figures = time.time(), []
        while self.seconds < end:
            self.most.value = min(6.0, 2 + 4 * self.seconds / end / 0.2)
            figures.append(self.train_once(self.batches.get(), self.seconds / end))
            for _ in range(self.args.word_steps):
                figures[-1].update(self.train_words(self.words.get()))
            last = self.pass_time(last)
            if self.args.bench and self.steps >= self.args.bench:
                self.say(f"{self.seconds / self.steps:.3f} s a step")
                return
            if self.steps % 25 == 0:
                self.report(figures[-25:])
            if self.seconds - checked > 300:
                checked = self.seconds
                self.save()
                self.check(rows)
            if self.seconds - exported > 1200:
                exported = self.seconds
                export(self.average, self.tokenizer, self.args.out)
        self.save()
        self.check(rows)
        export(self.average, self.tokenizer, self.args.out)

    def train_once(self, batch, done):
        self.set_rates(done)
        # Seeing is learnt before answering: at first only some of the pictures are asked about.
        texts = int(self.args.batch * (0.4 if done < 0.35 else 1.0))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.bf16):
            loss, figures = step(self.model, self.helpers, to_tensors(batch), done, texts)
        self.learn(loss)
        self.steps += 1
        return figures

    def train_words(self, batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.bf16):
            loss, right = word_step(self.model, self.helpers, to_tensors(batch))
        self.learn(loss)
        return dict(oracle_words=float(loss.detach()), oracle_right=float(right))

    def learn(self, loss):
        super().learn(loss)
        self.follow()

    @torch.no_grad()
    def follow(self):
        """A moving average of the weights: it answers better than the last step's weights."""
        keep = min(0.998, 1 - 5 / (self.steps + 5))
        mine = [p for p in self.model.state_dict().values()]
        torch._foreach_lerp_(list(self.average.values()), mine, 1 - keep)

    def check(self, rows):
        own = {n: p.clone() for n, p in self.model.state_dict().items()}
        self.model.load_state_dict({n: p.half().float() for n, p in self.average.items()})
        shares = check(self.model, self.writer, rows)
        self.model.load_state_dict(own)
        self.say("held out: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in shares.items())
                 + f"; mean {100 * np.mean(list(shares.values())):.1f}")


if __name__ == "__main__":
    main()
