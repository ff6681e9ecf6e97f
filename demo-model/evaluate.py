"""Measures the demo models on pictures they have never seen, and prints a table per kind of question or text.

    python evaluate.py scenes --glimpse ../target/release/glimpse
    python evaluate.py easy-vqa --glimpse ../target/release/glimpse
    python evaluate.py captions --glimpse ../target/release/glimpse    # captioner/
    python evaluate.py matches --glimpse ../target/release/glimpse     # matcher/
    python evaluate.py scenes --reference        # transformers instead of Glimpse

Writes the pictures and `questions.jsonl` to a folder, asks all questions in one batch, and counts
the answers that are exactly right. Scene seeds begin with "test", which training never uses.
"""

import argparse
import itertools
import json
import os
import random
import subprocess

import captions
import questions
import scenes

HERE = os.path.dirname(os.path.abspath(__file__))


def drawn(folder, count, seed, invent, label=""):
    """`count` scenes as files, each with the numbers that it was drawn by."""
    for i in range(count):
        rng = random.Random(f"test {label}{label and ' '}{seed} {i}")
        scene = invent(rng)
        path = os.path.join(folder, f"{label}{label and '-'}{i}.png")
        scenes.draw(scene).save(path)
        yield path, rng, scene


def scene_rows(folder, count, seed):
    """`count` scenes, one question of every kind that the scene allows."""
    for path, rng, scene in drawn(folder, count, seed, scenes.invent):
        for kind in questions.ASK:
            pair = questions.ask(rng, scene, kind)
            if pair:
                yield dict(picture=path, question=pair[0], right=pair[1], kind=kind, things=len(scene.things))


def easy_rows(limit):
    """easy-VQA's own test split, grouped by kind of answer."""
    import easy

    for path, pairs in list(easy.load("test"))[:limit]:
        for question, right in pairs:
            kind = "yes/no" if right in ("yes", "no") else "shape" if right in scenes.SHAPES else "colour"
            yield dict(picture=path, question=question, right=right, kind=kind, things=1)


def caption_rows(folder, count, seed):
    """`count` scenes of the captions' world, each to be described."""
    for path, _, scene in captioned(folder, count, seed):
        yield dict(picture=path, question="", right=captions.caption(scene), kind="caption", things=len(scene.things))


def match_rows(folder, count, seed):
    """`count` scenes, each with its caption, one with a mistake of each kind, and that of another scene."""
    for path, rng, scene in captioned(folder, count, seed):
        truth, things = captions.facts_of(scene), len(scene.things)
        texts = {"the right text": truth, "another scene's text": captions.facts_of(captions.invent(rng))}
        texts |= {f"wrong: {way}": change(rng, dict(truth.counts), truth.ground) for way, change in captions.CHANGE.items()}
        for kind, text in texts.items():
            if text:
                right = "fits" if text == truth else "does not fit"
                yield dict(picture=path, question=captions.write(text), right=right, things=things,
                           kind="the right text" if right == "fits" else kind)


def captioned(folder, count, seed):
    return drawn(folder, count, seed, captions.invent, "caption")


def match_glimpse(rows, program, model):
    """Verdicts by `glimpse match`, a picture after the other with all its texts."""
    verdicts = []
    for picture, texts in by_picture(rows):
        command = [program, "match", "--model", model, "--json", picture]
        for text in texts:
            command += ["--text", text]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        verdicts += [verdict(score["match"]) for score in json.loads(line)["scores"]]
    return verdicts


def match_reference(rows, model_folder):
    """Verdicts by transformers, in f32, a text after the other."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, BlipForImageTextRetrieval

    processor = AutoProcessor.from_pretrained(model_folder, backend="pil")
    model = BlipForImageTextRetrieval.from_pretrained(model_folder, dtype=torch.float32).eval()
    verdicts = []
    for picture, texts in by_picture(rows):
        pixels = processor.image_processor(Image.open(picture).convert("RGB"), return_tensors="pt")["pixel_values"]
        for text in texts:
            with torch.inference_mode():
                scores = model(pixel_values=pixels, **processor.tokenizer(text, return_tensors="pt")).itm_score
            verdicts.append(verdict(scores.softmax(-1)[0, 1].item()))
    return verdicts


def verdict(probability):
    return "fits" if probability >= 0.5 else "does not fit"


def by_picture(rows):
    for picture, group in itertools.groupby(rows, key=lambda row: row["picture"]):
        yield picture, [row["question"] for row in group]


def ask_glimpse(rows, folder, program, model):
    """All answers by `glimpse ask --batch`."""
    batch = os.path.join(folder, "questions.jsonl")
    with open(batch, "w", encoding="utf-8") as file:
        for row in rows:
            line = dict(picture=row["picture"])
            if row["question"]:  # no question at all asks for a caption
                line["question"] = row["question"]
            file.write(json.dumps(line) + "\n")
    command = [program, "ask", "--model", model, "--max-new-tokens", "48", "--batch", batch]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(line)["answer"] for line in lines if line.strip()]


def ask_reference(rows, model_folder):
    """All answers by transformers, in f32, with the PIL picture processor and greedy decoding."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, Blip2ForConditionalGeneration

    processor = AutoProcessor.from_pretrained(model_folder, backend="pil")
    model = Blip2ForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).eval()
    texts = [encode(processor, row) for row in rows]
    # Questions of the same length go together: no padding, hence the same numbers as one by one.
    order = sorted(range(len(rows)), key=lambda i: len(texts[i]))
    answers = [None] * len(rows)
    while order:
        group = [i for i in order[:64] if len(texts[i]) == len(texts[order[0]])]
        order = order[len(group):]
        pictures = [Image.open(rows[i]["picture"]).convert("RGB") for i in group]
        pixels = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        image = [model.config.image_token_index] * model.config.num_query_tokens
        ids = torch.tensor([image + texts[i] for i in group])
        with torch.inference_mode():
            out = model.generate(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids),
                                 max_new_tokens=48, do_sample=False)
        for i, tokens in zip(group, out):
            answers[i] = processor.tokenizer.decode(tokens[ids.shape[1]:], skip_special_tokens=True)
    return answers


def caption_reference(rows, model_folder):
    """All captions by transformers, in f32, with the PIL picture processor and greedy decoding."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, BlipForConditionalGeneration

    processor = AutoProcessor.from_pretrained(model_folder, backend="pil")
    model = BlipForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).eval()
    answers = []
    for start in range(0, len(rows), 50):
        pictures = [Image.open(row["picture"]).convert("RGB") for row in rows[start : start + 50]]
        pixels = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            out = model.generate(pixel_values=pixels, max_new_tokens=48, do_sample=False)
        answers += [processor.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in out]
    return answers


def encode(processor, row):
    text = f"Question: {row['question']} Answer:" if row["question"] else ""
    return processor.tokenizer(text)["input_ids"]


def table(rows, answers):
    """Prints what share is right, kind by kind, and returns the wrong rows."""
    if len(rows) != len(answers):
        raise SystemExit(f"{len(rows)} questions, but {len(answers)} answers")
    counts, wrong = {}, []
    for row, answer in zip(rows, answers):
        good = answer.strip() == row["right"]
        for key in (row["kind"], f"{row['things']} thing(s)", "all"):
            right, total = counts.get(key, (0, 0))
            counts[key] = (right + good, total + 1)
        if not good:
            wrong.append({**row, "answer": answer.strip()})
    for key in sorted(counts, key=lambda k: (k == "all", k[0].isdigit(), k)):
        right, total = counts[key]
        print(f"| {key} | {100 * right / total:.1f} % | {right} of {total} |")
    return wrong


# What is asked, the folder of the model that answers, and how transformers answers.
KINDS = {"scenes": (scene_rows, "", ask_reference),
         "easy-vqa": (lambda folder, count, seed: easy_rows(count), "", ask_reference),
         "captions": (caption_rows, "captioner", caption_reference),
         "matches": (match_rows, "matcher", match_reference)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(KINDS))
    parser.add_argument("--model", help="checkpoint folder")
    parser.add_argument("--glimpse", default=os.path.join(HERE, "../target/release/glimpse"), help="the program")
    parser.add_argument("--reference", action="store_true", help="ask transformers instead of Glimpse")
    parser.add_argument("--folder", default="evaluation", help="where pictures and questions are written")
    parser.add_argument("--count", type=int, default=1000, help="how many scenes (or easy-VQA pictures)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wrong", type=int, default=10, help="how many wrong answers to show")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    folder = os.path.abspath(args.folder)
    make_rows, own_folder, reference = KINDS[args.what]
    model = args.model or os.path.join(HERE, own_folder)
    rows = list(make_rows(folder, args.count, args.seed))
    if args.reference:
        answers = reference(rows, model)
    elif args.what == "matches":
        answers = match_glimpse(rows, args.glimpse, model)
    else:
        answers = ask_glimpse(rows, folder, args.glimpse, model)
    for row in table(rows, answers)[: args.wrong]:
        print(f"{os.path.basename(row['picture'])}: {row['question']!r} -> {row['answer']!r}, right is {row['right']!r}")


if __name__ == "__main__":
    main()
