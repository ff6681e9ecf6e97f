"""CapFilt where right and wrong are known: drawn pairs with wrong texts among them, cleaned by `glimpse capfilt`.

    make capfilt-demo                    # 2,000 pairs, three in ten of them wrong
    python capfilt_demo.py --seed 7      # other pairs

Prints how many of the wrong texts were found and how many of the right ones were lost. Then a tiny
captioner is trained from nothing three times, on the noisy pairs, on those that the filter kept, and on
what CapFilt made of them (kept and synthetic texts), and asked about pictures that it has not seen.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import captions
import scenes

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "benches"))
NEAR = ("colour", "count", "kind", "ground")
FOUND, LOST = 0.95, 0.05  # what is promised
WARM_UP = 0.03  # of a tiny captioner's steps


# ---------------------------------------------------------------- pairs


def draw_pairs(folder, count, share, seed):
    """Draws the pictures, writes `pairs.jsonl`, and returns what is known of each pair.

    Half of the wrong texts are captions of other scenes, half have one mistake.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"capfilt {seed}")
    wrong = set(rng.sample(range(count), round(share * count)))
    pairs = []
    for number in range(count):
        scene = captions.invent(rng)
        truth = captions.facts_of(scene)
        text, way = truth, None
        if number in wrong:
            text, way = wrong_text(rng, truth)
        image = f"pictures/{number:05}.jpg"
        scenes.draw(scene).save(folder / image, quality=90)
        pairs.append(dict(id=number, image=image, caption=captions.write(text), truth=truth, way=way))
    with open(folder / "pairs.jsonl", "w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps({key: pair[key] for key in ("image", "caption", "id")}) + "\n")
    return pairs


def wrong_text(rng, truth):
    if rng.random() < 0.5:
        return captions.changed(rng, truth, NEAR)
    while True:
        other = captions.facts_of(captions.invent(rng))
        if other != truth:
            return other, "another scene's"


# ---------------------------------------------------------------- cleaning


def clean(args, folder):
    """Runs `glimpse capfilt` on the pairs, or goes on with it; returns its rows by the pairs' ids."""
    out = folder / "clean"
    command = [args.glimpse, "capfilt", "--input", folder / "pairs.jsonl", "--output", out,
               "--captioner", HERE / "captioner", "--filter", HERE / "matcher",
               "--n", "1", "--seed", str(args.seed), "--policy", "paper"]
    subprocess.run([str(part) for part in command], check=True)
    rows = {}
    for path in sorted(out.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "texts" in row:
                rows[row["id"]] = row
    return rows


def kept(row, origin):
    return [text["text"] for text in row["texts"] if text["from"] == origin]


def judge(pairs, rows):
    """Prints and returns what became of the web's and the synthetic texts."""
    web = Counter()
    synthetic = Counter()
    for pair in pairs:
        row = rows[pair["id"]]
        web[pair["way"], bool(kept(row, "web"))] += 1
        passed = kept(row, "synthetic")
        for text in row["synthetic"]:
            synthetic[captions.read(text["text"]) == pair["truth"], text["text"] in passed] += 1
    wrong = sum(n for (way, _), n in web.items() if way)
    found = sum(n for (way, stays), n in web.items() if way and not stays)
    right, lost = web[None, True] + web[None, False], web[None, False]
    lines = ["| texts of the web | number | dropped |", "|---|---|---|",
             f"| right | {right} | {share(lost, right)} |", f"| wrong | {wrong} | {share(found, wrong)} |"]
    for way in sorted({way for way, _ in web if way}):
        number = web[way, True] + web[way, False]
        lines.append(f"| – {way} {'wrong' if way in NEAR else 'caption'} | {number} | {share(web[way, False], number)} |")
    made = sum(synthetic.values())
    good, passed = synthetic[True, True] + synthetic[True, False], synthetic[True, True] + synthetic[False, True]
    lines += ["", f"Synthetic texts: {made}, of which {share(good, made)} are right; the filter drops {share(made - passed, made)} "
              f"and of those that stay {share(synthetic[True, True], passed)} are right."]
    bars = [f"wrong texts found: {share(found, wrong)} ({verdict(found >= FOUND * wrong)}: at least {FOUND:.0%} is promised)",
            f"right texts lost: {share(lost, right)} ({verdict(lost <= LOST * right)}: at most {LOST:.0%} is promised)"]
    return lines, bars


def share(part, whole):
    return f"{100 * part / max(1, whole):.1f} %"


def verdict(good):
    return "held" if good else "NOT HELD"


# ---------------------------------------------------------------- the tiny captioner


def data_sets(pairs, rows):
    """Lists of (number of the picture, text) to train on."""
    return {
        "noisy": [(i, pair["caption"]) for i, pair in enumerate(pairs)],
        "filtered": [(i, text) for i, pair in enumerate(pairs) for text in kept(rows[pair["id"]], "web")],
        "CapFilt": [(i, text["text"]) for i, pair in enumerate(pairs) for text in rows[pair["id"]]["texts"]],
    }


def demo_eyes(pictures):
    """What the demo model's vision tower and Q-Former, which stay as they are, see: [pictures, 25, width]."""
    import torch
    from transformers import Blip2ForConditionalGeneration

    from blip import pixel_values

    model = Blip2ForConditionalGeneration.from_pretrained(HERE, dtype=torch.float32).eval()
    seen = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 50):
            patches = model.vision_model(pixel_values=pixel_values(pictures[start : start + 50])).last_hidden_state
            queries = model.query_tokens.expand(len(patches), -1, -1)
            seen.append(model.qformer(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state)
    return torch.cat(seen).clone()


def train(rows, eyes, steps, seed, size=32, peak=1.2e-3):
    """A decoder of the small BLIP's shape, trained from nothing on (picture, text) rows."""
    import torch
    import torch.nn.functional as F
    from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

    from blip import DEC, PAD, SEP, encode, make_config
    from run import rate
    from train_blip import make_optimisers, padded

    torch.manual_seed(seed)
    rng = random.Random(f"train {seed}")
    decoder = BlipTextLMHeadModel(make_config().text_config)
    optimisers = make_optimisers(list(decoder.named_parameters()), peak)
    pictures = torch.tensor([picture for picture, _ in rows])
    words = [encode(captions.words_of(text)) for _, text in rows]
    given = torch.stack([torch.from_numpy(padded([DEC, *row], PAD)) for row in words])
    wanted = torch.stack([torch.from_numpy(padded([*row, SEP], PAD)) for row in words])
    order = []
    for number in range(steps):
        if len(order) < size:
            order = rng.sample(range(len(rows)), len(rows))
        picked, order = order[:size], order[size:]
        for group in (g for o in optimisers for g in o.param_groups):
            group["lr"] = rate(number / steps, group["peak"], WARM_UP)
        logits = decoder(input_ids=given[picked], encoder_hidden_states=eyes[pictures[picked]], use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), wanted[picked].flatten(), ignore_index=PAD)
        decoder.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
    return decoder.eval()


def captions_right(decoder, eyes, truths):
    """The share of captions that are wholly right, and of what is there (how many of which name, and the ground) that is told."""
    from blip import generate

    exact = told = there = 0
    for text, truth in zip(generate(decoder, eyes), truths):
        said = captions.read(text)
        exact += said == truth
        there += len(truth.counts) + 1
        if said:
            told += len(set(said.counts) & set(truth.counts)) + (said.ground == truth.ground)
    return exact / len(truths), told / there


def compare(args, pairs, rows, folder):
    """Trains on each of the three sets for as many steps, and returns a table."""
    import torch
    from PIL import Image

    torch.set_num_threads(args.threads)
    eyes = demo_eyes([Image.open(folder / pair["image"]) for pair in pairs])
    unseen = [captions.invent(random.Random(f"capfilt unseen {args.seed} {i}")) for i in range(args.unseen)]
    truths = [captions.facts_of(scene) for scene in unseen]
    unseen = demo_eyes([scenes.draw(scene) for scene in unseen])
    lines = ["| trained on | texts | of them right | captions right | things and grounds told |", "|---|---|---|---|---|"]
    exact = {}
    for name, texts in data_sets(pairs, rows).items():
        good = sum(captions.read(text) == pairs[i]["truth"] for i, text in texts)
        results = [captions_right(train(texts, eyes, args.steps, run), unseen, truths) for run in range(args.runs)]
        exact[name] = sum(r for r, _ in results) / args.runs
        told = sum(t for _, t in results) / args.runs
        lines.append(f"| {name} | {len(texts)} | {share(good, len(texts))} | {100 * exact[name]:.1f} % | {100 * told:.1f} % |")
        print(lines[-1], flush=True)
    holds = exact["CapFilt"] > exact["filtered"] > exact["noisy"]
    return lines, f"captions right: CapFilt > filtered > noisy {'holds' if holds else 'does NOT hold'} here"


# ---------------------------------------------------------------- the run


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--wrong", type=float, default=0.3, help="share of wrong texts")
    parser.add_argument("--glimpse", default=HERE.parent / "target/release/glimpse", help="the program")
    parser.add_argument("--work", type=Path, default=HERE.parent / "target/capfilt-demo", help="folder of pairs and rows")
    parser.add_argument("--results", type=Path, help="also write what came of it to this file")
    parser.add_argument("--steps", type=int, default=400, help="of training each tiny captioner; 0 trains none")
    parser.add_argument("--runs", type=int, default=1, help="trainings on each set, whose mean is told")
    parser.add_argument("--unseen", type=int, default=300, help="pictures that the tiny captioners are asked about")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    folder = args.work / f"seed-{args.seed}"
    print(f"drawing {args.pairs} pairs into {folder}", flush=True)
    pairs = draw_pairs(folder, args.pairs, args.wrong, args.seed)
    rows = clean(args, folder)
    lines, bars = judge(pairs, rows)
    lines += ["", *(f"- {bar}" for bar in bars)]
    print("\n".join(lines), flush=True)
    if args.steps:
        table, verdict_line = compare(args, pairs, rows, folder)
        lines += ["", *table, "", f"- {verdict_line}"]
        print(f"- {verdict_line}")
    if args.results:
        write_results(args, lines)


def write_results(args, lines):
    from serving import processor

    head = [f"# CapFilt on drawn pairs, on {processor()}, {os.cpu_count()} threads", "",
            f"`python demo-model/capfilt_demo.py --seed {args.seed} --pairs {args.pairs} --wrong {args.wrong} "
            f"--steps {args.steps} --runs {args.runs} --unseen {args.unseen}`", ""]
    args.results.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
