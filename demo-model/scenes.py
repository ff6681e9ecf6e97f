"""Drawn scenes for the demo model: one to six things on a plain or patterned ground.

A `Scene` says what is where; `draw` turns it into a picture. Everything comes from one
`random.Random`, so a seed always gives the same scene.

    python scenes.py --examples ../public/examples    # the eight example pictures
    python scenes.py --sheet sheet.png                # a look at forty scenes
"""

import argparse
import glob
import io
import math
import os
import random
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Kinds of emoji (Noto Color Emoji, SIL Open Font Licence 1.1): name -> (plural, character).
# Chosen to look clearly different from one another at about twenty pixels.
EMOJI = {
    "cat": ("cats", "🐱"), "dog": ("dogs", "🐶"), "panda": ("pandas", "🐼"),
    "lion": ("lions", "🦁"), "pig": ("pigs", "🐷"), "frog": ("frogs", "🐸"),
    "penguin": ("penguins", "🐧"), "owl": ("owls", "🦉"), "butterfly": ("butterflies", "🦋"),
    "bee": ("bees", "🐝"), "turtle": ("turtles", "🐢"), "fish": ("fish", "🐟"),
    "octopus": ("octopuses", "🐙"), "snail": ("snails", "🐌"), "elephant": ("elephants", "🐘"),
    "apple": ("apples", "🍎"), "banana": ("bananas", "🍌"), "pineapple": ("pineapples", "🍍"),
    "carrot": ("carrots", "🥕"), "pizza": ("pizzas", "🍕"), "burger": ("burgers", "🍔"),
    "donut": ("donuts", "🍩"), "car": ("cars", "🚗"), "bus": ("buses", "🚌"),
    "bicycle": ("bicycles", "🚲"), "airplane": ("airplanes", "✈"), "rocket": ("rockets", "🚀"),
    "boat": ("boats", "⛵"), "house": ("houses", "🏠"), "tree": ("trees", "🌳"),
    "flower": ("flowers", "🌷"), "mushroom": ("mushrooms", "🍄"), "cactus": ("cacti", "🌵"),
    "moon": ("moons", "🌙"), "guitar": ("guitars", "🎸"), "clock": ("clocks", "🕒"),
    "umbrella": ("umbrellas", "☂"), "crown": ("crowns", "👑"), "heart": ("hearts", "❤"),
    "hat": ("hats", "🎩"), "robot": ("robots", "🤖"), "ball": ("balls", "⚽"),
}
SHAPES = {"circle": "circles", "triangle": "triangles", "rectangle": "rectangles", "star": "stars"}
KINDS = list(EMOJI) + list(SHAPES)

# Each colour has a few tones; the first ones are those of easy-VQA where it has the colour.
COLOURS = {
    "red": [(255, 0, 0), (220, 30, 40)],
    "green": [(0, 255, 0), (40, 170, 60), (0, 140, 30)],
    "blue": [(0, 0, 255), (40, 80, 220), (60, 130, 250)],
    "yellow": [(255, 255, 0), (250, 215, 30)],
    "black": [(0, 0, 0), (25, 25, 28)],
    "gray": [(128, 128, 128), (150, 150, 152)],
    "teal": [(0, 128, 128), (0, 140, 135)],
    "brown": [(165, 42, 42), (130, 75, 35)],
    "orange": [(255, 140, 0), (250, 125, 30)],
    "purple": [(150, 40, 200), (120, 30, 160)],
}

# Emoji whose colour everybody would name the same way.
PLAIN_COLOUR = {
    "apple": "red", "car": "red", "heart": "red", "carrot": "orange", "banana": "yellow",
    "moon": "yellow", "frog": "green", "cactus": "green", "fish": "blue", "elephant": "gray",
    "hat": "black",
}

# No two things have their centre in the same cell of this grid (one query token each).
GRID = 5
SPRITE = 128
ANGLES = range(-15, 16, 3)


@dataclass
class Thing:
    """One thing: its centre and size as fractions of the picture's width and height."""

    kind: str
    colour: str | None
    x: float
    y: float
    w: float
    h: float
    angle: int = 0
    rgb: tuple | None = None
    points: list = field(default_factory=list)


@dataclass
class Scene:
    width: int
    height: int
    ground: dict
    things: list


def cell_of(thing):
    """The grid cell that holds the thing's centre, row by row from the top left."""
    return cell_at(thing.x, thing.y)


def cell_at(x, y):
    """The grid cell that holds a point; points outside the picture belong to its nearest cell."""
    column, row = (max(0, min(GRID - 1, int(along * GRID))) for along in (x, y))
    return row * GRID + column


# ---------------------------------------------------------------- inventing a scene


def invent(rng, most=6, fewest=1, size=None, ground=None):
    """Invents a scene of `fewest` to `most` things; `size` fixes width and height, `ground` the ground."""
    width, height = size or picture_size(rng)
    ground = ground or invent_ground(rng)
    count = rng.randint(fewest, most)
    things = []
    while len(things) < count:
        things = place_things(rng, count, width, height, ground)
    return Scene(width, height, ground, things)


def picture_size(rng):
    """Many sizes and aspect ratios; most are small, because they are drawn faster."""
    long_side = rng.randint(100, 320) if rng.random() < 0.85 else rng.randint(320, 640)
    short_side = round(long_side * rng.uniform(0.65, 1.0))
    return (long_side, short_side) if rng.random() < 0.6 else (short_side, long_side)


# The size of a thing, as a fraction of the square root of the picture's area, by the number of things.
SIZES = {1: (0.22, 0.6), 2: (0.22, 0.45), 3: (0.22, 0.38), 4: (0.22, 0.34), 5: (0.22, 0.31), 6: (0.22, 0.29)}


def place_things(rng, count, width, height, ground):
    """Places things one by one; gives up early (and returns fewer) when the picture is full."""
    things = []
    kinds = pick_kinds(rng, count)
    for kind, colour in kinds:
        for _ in range(30):
            thing = propose(rng, kind, colour, count, width, height, ground)
            if thing and all(apart(thing, other) for other in things):
                things.append(thing)
                break
        else:
            break
    return things


def pick_kinds(rng, count):
    """Kinds for a scene: about a third are repeats, so that there is something to count."""
    chosen = []
    for _ in range(count):
        if chosen and rng.random() < 0.35:
            kind, colour = rng.choice(chosen)
            if colour and rng.random() < 0.4:  # the same shape in another colour
                colour = rng.choice(list(COLOURS))
        elif rng.random() < 0.3:
            kind, colour = rng.choice(list(SHAPES)), rng.choice(list(COLOURS))
        else:
            kind, colour = rng.choice(list(EMOJI)), None
        chosen.append((kind, colour))
    return chosen


def propose(rng, kind, colour, count, width, height, ground):
    """One random place, size and look for a thing, or None if the ground would hide it."""
    side = rng.uniform(*SIZES[count]) * math.sqrt(width * height)
    w, h = side / width, side / height
    if max(w, h) > 0.95:
        return None
    rgb = shade(rng, colour) if colour else emoji_mean(kind)
    if any(distance(rgb, g) < (110 if colour else 60) for g in ground["colours"]):
        return None
    x, y = rng.uniform(w / 2, 1 - w / 2), rng.uniform(h / 2, 1 - h / 2)
    points = outline(rng, kind) if colour else []
    return Thing(kind, colour, x, y, w, h, rng.choice(ANGLES), rgb, points)


def apart(a, b):
    """True if two things neither overlap nor share a grid cell."""
    beside = abs(a.x - b.x) > 0.49 * (a.w + b.w)
    above = abs(a.y - b.y) > 0.49 * (a.h + b.h)
    return (beside or above) and cell_of(a) != cell_of(b)


def shade(rng, colour):
    """One of the colour's tones, slightly varied."""
    tone = rng.choice(COLOURS[colour])
    return tuple(max(0, min(255, c + rng.randint(-10, 10))) for c in tone)


def distance(a, b):
    return math.dist(a, b)


def outline(rng, kind):
    """The outline of a shape in a unit square, turned a little; a circle is a many-sided polygon."""
    turn = math.radians(rng.uniform(-15, 15))
    if kind == "circle":
        corners = regular(40, 0.48)
    elif kind == "triangle":
        corners = [(0, -0.46), (0.46, 0.42), (-0.46, 0.42)]
    elif kind == "star":
        outer, inner = regular(5, 0.5), regular(5, 0.21, math.pi / 5)
        corners = [p for pair in zip(outer, inner) for p in pair]
    else:
        long, short = 0.45, rng.uniform(0.18, 0.45)
        a, b = (long, short) if rng.random() < 0.5 else (short, long)
        corners = [(-a, -b), (a, -b), (a, b), (-a, b)]
    cos, sin = math.cos(turn), math.sin(turn)
    corners = [(x * cos - y * sin, x * sin + y * cos) for x, y in corners]
    # Turned corners may leave the square, and would be cut off.
    fit = min(1, 0.5 / max(abs(c) for corner in corners for c in corner))
    return [(0.5 + x * fit, 0.5 + y * fit) for x, y in corners]


def regular(corners, radius, turn=0.0):
    angles = [2 * math.pi * i / corners - math.pi / 2 + turn for i in range(corners)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def invent_ground(rng):
    """A ground: a pattern and two colours that are close to each other."""
    if rng.random() < 0.8:  # pale
        base = tuple(rng.randint(205, 255) for _ in range(3))
    else:  # of middle brightness, never strong
        grey = rng.randint(60, 190)
        base = tuple(grey + rng.randint(-25, 25) for _ in range(3))
    other = tuple(max(0, min(255, c + rng.randint(-22, 22))) for c in base)
    pattern = rng.choice(["plain", "plain", "gradient", "stripes", "dots", "checks", "noise"])
    return {"pattern": pattern, "colours": (base, other), "step": rng.uniform(0.06, 0.2),
            "angle": rng.uniform(0, math.pi), "seed": rng.randint(0, 2**31)}


# ---------------------------------------------------------------- drawing


def draw(scene):
    """Draws a scene as an RGB picture."""
    picture = Image.fromarray(draw_ground(scene))
    for thing in scene.things:
        w = max(4, round(thing.w * scene.width))
        h = max(4, round(thing.h * scene.height))
        left, top = round(thing.x * scene.width - w / 2), round(thing.y * scene.height - h / 2)
        if thing.colour:
            picture.paste(thing.rgb, (left, top), shape_mask(thing, w, h))
        else:
            sprite = emoji_sprite(thing.kind, thing.angle).resize((w, h), Image.BILINEAR)
            picture.paste(sprite, (left, top), sprite)
    return picture


def draw_ground(scene):
    """The ground as an array: a mask between 0 and 1 mixes the two colours."""
    g, width, height = scene.ground, scene.width, scene.height
    one, two = (np.array(c, np.float32) for c in g["colours"])
    if g["pattern"] == "plain":
        return np.full((height, width, 3), one, np.uint8)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(width, height)
    along = x * math.cos(g["angle"]) + y * math.sin(g["angle"])
    step = g["step"]
    if g["pattern"] == "gradient":
        mask = (along - along.min()) / max(1e-6, float(np.ptp(along)))
    elif g["pattern"] == "stripes":
        mask = (along / step % 1 < 0.5).astype(np.float32)
    elif g["pattern"] == "checks":
        mask = ((x // step + y // step) % 2).astype(np.float32)
    elif g["pattern"] == "dots":
        mask = ((x % step - step / 2) ** 2 + (y % step - step / 2) ** 2 < step**2 / 14).astype(np.float32)
    else:
        mask = np.random.default_rng(g["seed"]).random((height, width), np.float32)
    return (one + (two - one) * mask[..., None]).astype(np.uint8)


def shape_mask(thing, w, h):
    """A smooth mask of a shape: drawn large, then scaled down."""
    large = Image.new("L", (SPRITE, SPRITE))
    ImageDraw.Draw(large).polygon([(x * SPRITE, y * SPRITE) for x, y in thing.points], fill=255)
    return large.resize((w, h), Image.BILINEAR)


@lru_cache
def font():
    """Noto Color Emoji: GLIMPSE_EMOJI_FONT, or wherever the system keeps it."""
    places = [os.environ.get("GLIMPSE_EMOJI_FONT", "")]
    places += glob.glob("/usr/share/fonts/**/NotoColorEmoji.ttf", recursive=True)
    path = next((p for p in places if p and os.path.exists(p)), None)
    if not path:
        raise SystemExit("NotoColorEmoji.ttf is missing: install fonts-noto-color-emoji "
                         "or set GLIMPSE_EMOJI_FONT to the file")
    return ImageFont.truetype(path, 109)  # the only size the font's bitmaps have


@lru_cache(maxsize=None)
def emoji_sprite(kind, angle=0):
    """An emoji turned by `angle` degrees, in the middle of the smallest square that holds it."""
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((10, 10), EMOJI[kind][1], font=font(), embedded_color=True)
    canvas = canvas.rotate(angle, Image.BICUBIC, expand=True)
    glyph = canvas.crop(canvas.getbbox())
    side = max(glyph.size)
    square = Image.new("RGBA", (side, side))
    square.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    return square.resize((SPRITE, SPRITE), Image.BICUBIC)


@lru_cache(maxsize=None)
def emoji_mean(kind):
    """The mean colour of an emoji's opaque pixels."""
    pixels = np.asarray(emoji_sprite(kind)).reshape(-1, 4)
    return tuple(int(c) for c in pixels[pixels[:, 3] > 128][:, :3].mean(axis=0))


def maybe_jpeg(rng, picture):
    """Sometimes sends the picture through JPEG, as many pictures of visitors come."""
    if rng.random() > 0.3:
        return picture
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=rng.randint(60, 95))
    return Image.open(buffer).convert("RGB")


# ---------------------------------------------------------------- command line


def sheet(path):
    """A look at forty scenes."""
    page = Image.new("RGB", (8 * 164, 5 * 164), "white")
    for i in range(40):
        picture = draw(invent(random.Random(i)))
        picture.thumbnail((160, 160))
        page.paste(picture, (i % 8 * 164, i // 8 * 164))
    page.save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", metavar="DIR", help="write the example pictures")
    parser.add_argument("--sheet", metavar="FILE", help="write a look at forty scenes")
    args = parser.parse_args()
    if args.sheet:
        sheet(args.sheet)
    if args.examples:
        from examples import write_examples

        write_examples(args.examples)
