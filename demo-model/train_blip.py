"""Trains the small captioner and matcher: `python train_blip.py --minutes 60`. Stops and goes on with the same command.

One step teaches both, as BLIP's pre-training does (Li et al. 2022): a picture is seen once, the decoder
writes its caption, the encoder judges texts against it and compares texts and pictures without reading
one in the other. The vision tower is the same; the two text towers share nothing.
"""

import argparse
import math
import multiprocessing
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

import captions
import scenes
from blip import (CLS, DEC, PAD, SEP, Helpers, caption_logits, compare, encode, export, eye_loss, make_models,
                  normalise, pixel_values, read_pairs)
from model import PATCH, PICTURE
from run import Run

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTH = 28  # tokens of a text that is judged, and of a caption
WRONG = 2  # made-up wrong texts a picture; one of another picture joins them
CENTRE = 0.8  # how far around a thing's centre patches are told of it, in patches


# ---------------------------------------------------------------- one example


def picture_labels(scene):
    """What each patch shows (0 is nothing), how near each name's centres are to it, their number, and whether the ground is bright."""
    side = PICTURE // PATCH
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres, centres)
    name = np.zeros((side, side), np.int64)
    near = np.zeros((len(captions.NAMES), side, side), np.float16)
    many = np.zeros(len(captions.NAMES), np.float32)
    for thing in scene.things:
        number = captions.NAMES.index(captions.name_of(thing))
        name[((x - thing.x) / thing.w) ** 2 + ((y - thing.y) / thing.h) ** 2 < 0.42**2] = number + 1
        many[number] += 1
        away = ((x - thing.x) ** 2 + (y - thing.y) ** 2) * side**2
        near[number] = np.maximum(near[number], np.exp(-away / (2 * CENTRE**2)))
    bright = np.float32(captions.ground_of(scene.ground) == "bright")
    return dict(patch_name=name.ravel(), centre=near.reshape(len(near), -1).T, number=many, ground=bright)


def judged(rng, fact, truth):
    """A text's ids, and for each whether it is right for the picture (1), wrong (0), or says nothing alone (-1).

    The label of [SEP] tells whether the text names all there is.
    """
    there = dict(truth.counts)
    prefix = encode(captions.PREFIX) if rng.random() < 0.5 else []
    ids, right = [CLS, *prefix], [-1] * (1 + len(prefix))
    commas = rng.random() < 0.8
    for phrase in captions.phrases(fact):
        if phrase == "," and not commas:
            continue
        words = encode(phrase)
        label = -1
        if phrase.endswith(" ground"):
            label = int(fact.ground == truth.ground)
        elif phrase not in (",", "and", "on"):
            name, number = captions.read_phrase(phrase)
            label = int(there.get(name) == number)
        ids += words
        right += [label] * len(words)
    complete = int(set(there) <= {name for name, _ in fact.counts})
    return ids + [SEP], right + [complete]


def nonsense(rng):
    """Words of no language."""
    words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 5))) for _ in range(rng.randint(1, 4))]
    ids = encode(" ".join(words))
    return [CLS, *ids, SEP], [-1, *[0] * len(ids), 0]


def wrong_text(rng, truth):
    """A text that does not fit: mostly one with a single mistake."""
    dice = rng.random()
    if dice < 0.03:
        return nonsense(rng)
    if dice < 0.15:
        fact = captions.facts_of(captions.invent(rng))
        if fact != truth:
            return judged(rng, fact, truth)
    ways = ("left out", "added", "count") if dice < 0.35 else ("colour", "count", "kind", "ground")
    return judged(rng, captions.changed(rng, truth, ways)[0], truth)


def written(fact, begun):
    """A caption's ids, and for each place the token wanted next (PAD: none): not those of a beginning that is given."""
    given = [DEC, *encode(captions.PREFIX)] if begun else [DEC]
    words = encode(" ".join(captions.phrases(fact)))
    return given + words, [PAD] * (len(given) - 1) + words + [SEP]


def example(rng, scene, picture):
    truth = captions.facts_of(scene)
    texts = [judged(rng, truth, truth), *(wrong_text(rng, truth) for _ in range(WRONG))]
    caption, wanted = written(truth, rng.random() < 0.5)
    return dict(pixels=np.asarray(picture), caption=padded(caption, PAD), wanted=padded(wanted, PAD),
                texts=np.stack([padded(ids, PAD) for ids, _ in texts]),
                words=np.stack([padded(right, -1) for _, right in texts]),
                # Two pictures of the same contents: the text of one is right for the other.
                same=np.int64(hash(truth)), **picture_labels(scene))


def padded(row, fill):
    return np.array((row + [fill] * LENGTH)[:LENGTH], np.int64)


# ---------------------------------------------------------------- batches


def draw_batches(out, most, size, seed):
    """The worker: draws pictures and writes texts about them, for ever. `most` is how many things there may be."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    shown = []  # the last pictures: each is shown twice, with other wrong texts
    while True:
        rows = []
        for _ in range(size):
            if len(shown) > 1000 and rng.random() < 0.5:
                scene, picture = shown.pop(rng.randrange(500))
            else:
                scene = captions.invent(rng, int(most.value + rng.random()))
                picture = scenes.maybe_jpeg(rng, scenes.draw(scene)).resize((PICTURE, PICTURE), 3)
                shown.append((scene, picture))
            rows.append(example(rng, scene, picture))
        out.put(trimmed({name: np.stack([row[name] for row in rows]) for name in rows[0]}))


def trimmed(batch):
    """The batch without the places that are padding in every text."""
    for names in (("caption", "wanted"), ("texts", "words")):
        longest = int((batch[names[0]] != PAD).any(tuple(range(batch[names[0]].ndim - 1))).sum())
        batch |= {name: batch[name][..., :longest] for name in names}
    return batch


def to_tensors(batch):
    batch = {name: torch.from_numpy(array) for name, array in batch.items()}
    return batch | dict(pixels=normalise(batch["pixels"]), centre=batch["centre"].float())


# ---------------------------------------------------------------- training


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) in f32: torch's own computes in bf16, which is slow on CPUs without it."""

    def __init__(self, groups, momentum=0.95, weight_decay=0.03):
        super().__init__(groups, dict(lr=0.0, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(mean, group["momentum"]))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))


def orthogonal(matrix):
    """The nearest matrix with orthonormal rows or columns, about: five steps of Newton and Schulz."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


def make_optimisers(named, peak):
    """Muon for the matrices inside the text layers, AdamW for the rest; the eyes, which already see, learn slower."""
    eyes = [weight for name, weight in named if "vision_model" in name]
    matrices = [weight for name, weight in named if ".encoder.layer." in name and weight.dim() == 2]
    taken = {id(weight) for weight in eyes + matrices}
    rest = [weight for _, weight in named if id(weight) not in taken]
    adam = [dict(params=rest, peak=peak), dict(params=eyes, peak=0.5 * peak)]
    return (Muon([dict(params=matrices, peak=2 * peak)]),
            torch.optim.AdamW([group for group in adam if group["params"]], lr=0.0, betas=(0.9, 0.98), weight_decay=0.01))


def step(captioner, matcher, helpers, batch):
    """All losses of one batch."""
    patches = captioner.vision_model(pixel_values=batch["pixels"]).last_hidden_state
    eyes = eye_loss(helpers, patches, batch)
    wanted = batch["wanted"]
    logits = caption_logits(captioner, patches, batch["caption"])[wanted != PAD]
    write = F.cross_entropy(logits, wanted[wanted != PAD])
    contrast, others = contrast_loss(matcher, helpers, patches, batch)
    texts = torch.cat([batch["texts"], others[:, None]], dim=1)
    states = read_pairs(matcher, patches, texts)
    verdicts = matcher.itm_head(states[:, :, 0])
    match = match_loss(verdicts)
    words = word_loss(helpers, states[:, :-1], batch["words"])
    right = (verdicts.argmax(-1) == torch.tensor([1] + [0] * (WRONG + 1))).float().mean(0)
    figures = dict(eyes=eyes, write=write, contrast=contrast, match=match, words=words, right=right[0], found=right[1:-1].mean(),
                   other=right[-1], written=(logits.argmax(-1) == wanted[wanted != PAD]).float().mean())
    return 0.5 * eyes + write + match + words + 0.3 * contrast, {n: float(v.detach()) for n, v in figures.items()}


def match_loss(verdicts):
    """The first text of each picture is right, the others are wrong; both sides count alike."""
    right = F.cross_entropy(verdicts[:, 0], torch.ones(len(verdicts), dtype=torch.long))
    wrong = F.cross_entropy(verdicts[:, 1:].flatten(0, 1), torch.zeros(verdicts[:, 1:].shape[:2], dtype=torch.long).flatten())
    return (right + wrong) / 2


def word_loss(helpers, states, labels):
    """Whether the matcher knows which words of a text are wrong."""
    logits = helpers.word(states).squeeze(-1)[labels >= 0]
    wanted = labels[labels >= 0].float()
    # Most words of a text with one mistake are right.
    weight = torch.where(wanted > 0, 0.5, 1.0)
    return F.binary_cross_entropy_with_logits(logits, wanted, weight=weight)


def contrast_loss(matcher, helpers, patches, batch):
    """ITC within the batch, and for each picture a wrong text of another one: the likelier by ITC, the more often."""
    own = batch["texts"][:, 0]
    pictures, texts = compare(matcher, patches, own)
    scores = pictures @ texts.T * helpers.temperature.exp().clamp(max=100)
    same = batch["same"][:, None] == batch["same"][None]
    wanted = same.float() / same.float().sum(1, keepdim=True)
    loss = (F.cross_entropy(scores, wanted) + F.cross_entropy(scores.T, wanted)) / 2
    chances = scores.detach().masked_fill(same, -math.inf).softmax(-1)
    return loss, own[torch.multinomial(chances + 1e-6 * ~same, 1).squeeze(1)]


# ---------------------------------------------------------------- held-out check


def held_out(count=300):
    """Scenes of seeds that training never uses, each with its caption and one wrong text of each kind."""
    rows = []
    for i in range(count):
        rng = random.Random(f"held out caption {i}")
        scene = captions.invent(rng)
        truth = captions.facts_of(scene)
        texts = {"right": judged(rng, truth, truth)[0]}
        for way in captions.CHANGE:
            wrong = captions.CHANGE[way](rng, dict(truth.counts), truth.ground)
            if wrong and wrong != truth:
                texts[way] = judged(rng, wrong, truth)[0]
        other = captions.facts_of(captions.invent(rng))
        if other != truth:
            texts["other"] = judged(rng, other, truth)[0]
        rows.append((scenes.draw(scene), truth, texts))
    return rows


@torch.inference_mode()
def check(captioner, matcher, rows):
    """Share of captions all of whose tokens are the likeliest, and of texts that are judged rightly."""
    counts = {}

    def count(key, good):
        right, total = counts.get(key, (0, 0))
        counts[key] = (right + bool(good), total + 1)

    for start in range(0, len(rows), 50):
        part = rows[start : start + 50]
        patches = captioner.vision_model(pixel_values=pixel_values([picture for picture, _, _ in part])).last_hidden_state
        ids, wanted = (torch.from_numpy(np.stack([padded(row, PAD) for row in rows]))
                       for rows in zip(*(written(truth, i % 2 == 1) for i, (_, truth, _) in enumerate(part))))
        likeliest = caption_logits(captioner, patches, ids).argmax(-1)
        good = ((likeliest == wanted) | (wanted == PAD)).all(1)
        keys = [list(texts) for _, _, texts in part]
        most = max(map(len, keys))
        texts = torch.stack([torch.stack([torch.from_numpy(padded(row, PAD)) for row in (list(t.values()) + [[CLS, SEP]] * most)[:most]])
                             for _, _, t in part])
        fits = matcher.itm_head(read_pairs(matcher, patches, texts)[:, :, 0]).argmax(-1)
        for i, (_, truth, _) in enumerate(part):
            count("captions", good[i])
            count(f"captions of {sum(n for _, n in truth.counts)}", good[i])
            for j, key in enumerate(keys[i]):
                count(key, bool(fits[i, j]) == (key == "right"))
    return {key: right / total for key, (right, total) in counts.items()}


# ---------------------------------------------------------------- the run


class Trainer(Run):
    def __init__(self, args):
        torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        self.rows = held_out()
        self.captioner, self.matcher = make_models(pixel_values([picture for picture, _, _ in self.rows[:100]]))
        self.helpers = Helpers()
        self.models = torch.nn.ModuleDict(dict(captioner=self.captioner, matcher=self.matcher))
        named = [*self.models.named_parameters(), *self.helpers.named_parameters()]
        average = {n: w.detach().clone() for n, w in self.models.named_parameters()}
        super().__init__(args, dict(models=self.models, helpers=self.helpers), make_optimisers(named, args.rate), average,
                         warm_up=0.03)

    def start_worker(self):
        context = multiprocessing.get_context("spawn")
        self.most = context.Value("d", 2.0)
        self.batches = context.Queue(6)
        # A resumed run must not draw the same scenes again.
        seed = f"train caption {self.args.seed} {self.steps}"
        context.Process(target=draw_batches, daemon=True, args=(self.batches, self.most, self.args.batch, seed)).start()

    def run(self):
        self.start_worker()
        self.say(", ".join(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters"
                           for name, model in self.models.items()))
        end = self.args.minutes * 60
        checked, last, figures = self.seconds, time.time(), []
        while self.seconds < end:
            self.most.value = min(captions.MOST, 2 + 2 * self.seconds / end / 0.15)
            figures.append(self.train_once(self.batches.get(timeout=300), self.seconds / end))
            last = self.pass_time(last)
            if self.args.bench and self.steps >= self.args.bench:
                self.say(f"{self.seconds / self.steps:.3f} s a step")
                return
            if self.steps % 25 == 0:
                self.report(figures[-25:])
            if self.seconds - checked > 60 * self.args.every:
                checked = self.seconds
                self.finish()
        self.finish()

    def train_once(self, batch, done):
        self.set_rates(done)
        loss, figures = step(self.captioner, self.matcher, self.helpers, to_tensors(batch))
        self.learn(loss)
        self.steps += 1
        self.follow()
        return figures

    @torch.no_grad()
    def follow(self):
        """A moving average of the weights: it answers better than the last step's weights."""
        keep = min(0.995, 1 - 5 / (self.steps + 5))
        own = dict(self.models.named_parameters())
        torch._foreach_lerp_(list(self.average.values()), [own[n] for n in self.average], 1 - keep)

    def finish(self):
        """Keeps the state, checks the averaged weights and exports them."""
        self.save()
        own = {n: w.detach().clone() for n, w in self.models.named_parameters()}
        self.put({n: w.half().float() for n, w in self.average.items()})
        self.say("held out: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in check(self.captioner, self.matcher, self.rows).items()))
        export(self.captioner.state_dict(), "BlipForConditionalGeneration", os.path.join(self.args.out, "captioner"))
        export(self.matcher.state_dict(), "BlipForImageTextRetrieval", os.path.join(self.args.out, "matcher"))
        self.put(own)

    @torch.no_grad()
    def put(self, weights):
        for name, weight in self.models.named_parameters():
            weight.copy_(weights[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="training time; the learning rate is zero at its end")
    parser.add_argument("--every", type=float, default=5, help="minutes from one check and checkpoint to the next")
    parser.add_argument("--work", default="work-blip", help="folder of checkpoint and log")
    parser.add_argument("--out", default=HERE, help="folder that gets captioner/ and matcher/")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bench", type=int, default=0, help="only run this many steps and print their speed")
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()
