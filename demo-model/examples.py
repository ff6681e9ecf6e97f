"""The eight example pictures of the page: scenes of other seeds, picked by eye, each with a question."""

import json
import os
import random

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


def write_examples(folder):
    """Writes the pictures and `examples.json`."""
    os.makedirs(folder, exist_ok=True)
    rows = []
    for number, spec in enumerate(EXAMPLES, 1):
        scene, (question, answer) = example(*spec)
        name = f"{number}.png"
        picture = scenes.draw(scene)
        picture.quantize(256, dither=0).save(os.path.join(folder, name), optimize=True)
        rows.append(dict(file=name, question=question, answer=answer, alt=alt(scene)))
    with open(os.path.join(folder, "examples.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=2)
        file.write("\n")


def alt(scene):
    text = questions.caption(scene)
    return f"A drawn picture of {text}."
