"""The eight example pictures of the page: scenes of other seeds, picked by eye, each with a question."""

import json
import os
import random

import numpy as np
from PIL import Image

import questions
import scenes

# Seed, width, height, number of things, kind of question.
EXAMPLES = [
    (18, 480, 360, 4, "caption"),
    (101, 360, 480, 3, "relation"),
    (208, 480, 320, 5, "count kind"),
    (310, 480, 480, 4, "colour"),
    (411, 400, 480, 3, "what"),
    (506, 480, 300, 4, "side"),
    (612, 480, 400, 3, "exists"),
    (703, 480, 360, 6, "count all"),
]


def example(seed, width, height, count, kind):
    """The scene, and its question with the answer (tidy: as most people would type it)."""
    rng = random.Random(f"example {seed}")
    scene = scenes.invent(rng, count, count, (width, height))
    pair = questions.ask(rng, scene, kind)
    while pair and pair[0] and not tidy(pair[0]):
        pair = questions.ask(rng, scene, kind)
    return scene, pair


def tidy(question):
    """Plainly worded, one capital, a question mark."""
    plain = question.startswith(("What is", "What color", "What colour", "How many", "Is there"))
    return plain and question[1:] == question[1:].lower() and question.endswith("?")


# Of each picture, drawn at twice its size, what the small one shows: left, top and width in its pixels, two thirds as
# high as wide, chosen by eye so that what is asked about is seen. What lies outside is ground.
CROPS = [
    (0, 60, 960),
    (-158, 130, 900),
    (0, 0, 960),
    (0, 230, 960),
    (-270, 68, 1338),
    (30, 0, 900),
    (0, 70, 960),
    (0, 20, 960),
]

# Pixels of a small picture: twice those of the page.
SMALL = (384, 256)


def write_examples(folder):
    """Writes the pictures, small ones of them, and `examples.json`."""
    os.makedirs(folder, exist_ok=True)
    rows = []
    for number, (spec, crop) in enumerate(zip(EXAMPLES, CROPS), 1):
        scene, (question, answer) = example(*spec)
        name, small = f"{number}.png", f"{number}.webp"
        # For screens of two pixels a point.
        scene.width, scene.height = 2 * scene.width, 2 * scene.height
        picture = scenes.draw(scene)
        picture.quantize(256, dither=0).save(os.path.join(folder, name), optimize=True)
        small_one(picture, *crop).save(os.path.join(folder, small), quality=80, method=6)
        rows.append(dict(file=name, small=small, question=question, answer=answer, alt=alt(scene)))
    with open(os.path.join(folder, "examples.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=2)
        file.write("\n")


def small_one(picture, left, top, width):
    """A part of a picture, with its ground drawn on where it ends."""
    height = width * SMALL[1] // SMALL[0]
    right, bottom = left + width - picture.width, top + height - picture.height
    margins = [max(0, margin) for margin in (-top, bottom, -left, right)]
    ground = np.pad(np.asarray(picture), (margins[:2], margins[2:], (0, 0)), mode="edge")
    left, top = left + margins[2], top + margins[0]
    part = Image.fromarray(ground).crop((left, top, left + width, top + height))
    return part.resize(SMALL, Image.LANCZOS)


def alt(scene):
    text = questions.caption(scene)
    return f"A drawn picture of {text}."
