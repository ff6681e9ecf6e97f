"""easy-VQA (https://github.com/vzhou842/easy-VQA, MIT licence): its pictures as scenes, and its questions."""

import json
import os
from collections import defaultdict

import easy_vqa
import numpy as np
from PIL import Image

from scenes import COLOURS, SHAPES, Scene, Thing

DATA = os.path.join(os.path.dirname(easy_vqa.__file__), "data")


def load(split):
    """Yields (picture path, [(question, answer), ...]) for "train" or "test"."""
    with open(os.path.join(DATA, split, "questions.json"), encoding="utf-8") as file:
        rows = json.load(file)
    questions = defaultdict(list)
    for question, answer, picture in rows:
        questions[picture].append((question, answer))
    for picture, pairs in sorted(questions.items()):
        yield os.path.join(DATA, split, "images", f"{picture}.png"), pairs


def facts(pairs):
    """Shape and colour of the one thing in the picture, as far as its questions tell."""
    kind = colour = None
    for question, answer in pairs:
        words = question.rstrip("?").split()
        if answer in SHAPES:
            kind = answer
        elif answer in COLOURS:
            colour = answer
        elif (answer == "yes") != ("not" in words or "no" in words):  # the picture has what is named
            kind = next((w for w in words if w in SHAPES), kind)
            colour = next((w for w in words if w in COLOURS), colour)
        # "what color is the circle", "what is the blue shape" name the other half.
        if answer in COLOURS:
            kind = next((w for w in words if w in SHAPES), kind)
        elif answer in SHAPES:
            colour = next((w for w in words if w in COLOURS), colour)
    return kind, colour


def as_scene(path, pairs):
    """The picture and its scene; None for the scene where the questions do not tell enough."""
    picture = Image.open(path).convert("RGB")
    kind, colour = facts(pairs)
    if not (kind and colour):
        return picture, None
    pixels = np.asarray(picture).astype(int)
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    rows, columns = np.nonzero(np.abs(pixels - ground).sum(axis=2) > 60)
    left, right = columns.min() / picture.width, (columns.max() + 1) / picture.width
    top, bottom = rows.min() / picture.height, (rows.max() + 1) / picture.height
    thing = Thing(kind, colour, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return picture, Scene(picture.width, picture.height, {}, [thing])
