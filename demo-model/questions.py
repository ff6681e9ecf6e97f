"""Questions about drawn scenes, in many wordings, each with the one right answer.

A question is only asked where it is unambiguous by construction: "what is on the left" needs a
thing that is leftmost by a clear margin, "what colour is the star" needs a single star.
"""

import random
from collections import Counter

from scenes import COLOURS, EMOJI, KINDS, PLAIN_COLOUR, SHAPES

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six"]

# How far two centres must be apart (as a fraction of the picture) to be called left or right, above or below.
MARGIN = 0.1

WHAT = ["what is in the picture", "what is in the image", "what do you see", "what can you see",
        "what is shown", "what is shown in the picture", "what does the picture show",
        "what is in this picture", "what is in this image", "what is there", "what things are in the picture",
        "what are the things in the picture", "describe the picture", "describe the image", "what is this"]
COUNT_KIND = ["how many {s} are there", "how many {s} are in the picture", "how many {s} do you see",
              "how many {s} can you see", "how many {s}", "what is the number of {s}", "count the {s}",
              "how many {s} are in the image", "how many {s} are shown"]
COUNT_ALL = ["things", "objects", "items"]
EXISTS = ["is there {a}", "is there {a} in the picture", "is there {a} in the image", "do you see {a}",
          "can you see {a}", "does the picture show {a}", "is {a} in the picture", "does the image contain {a}"]
COLOUR = ["what {c} is the {k}", "what is the {c} of the {k}", "which {c} is the {k}",
          "what {c} does the {k} have", "the {k} is what {c}"]
PLACES = {
    "left": ["on the left", "at the left", "on the left side", "furthest left", "leftmost"],
    "right": ["on the right", "at the right", "on the right side", "furthest right", "rightmost"],
    "top": ["at the top", "on top", "at the very top", "highest", "topmost"],
    "bottom": ["at the bottom", "on the bottom", "at the very bottom", "lowest", "bottommost"],
}
PLACE = ["what is {p}", "what is {p} of the picture", "which thing is {p}", "what thing is {p}", "what do you see {p}"]
RELATIONS = {
    "left": ["left of the {k}", "to the left of the {k}", "on the left of the {k}"],
    "right": ["right of the {k}", "to the right of the {k}", "on the right of the {k}"],
    "top": ["above the {k}", "over the {k}", "higher than the {k}"],
    "bottom": ["below the {k}", "under the {k}", "lower than the {k}"],
}
RELATION = ["what is {r}", "which thing is {r}", "what thing is {r}", "what do you see {r}"]

# The kinds of question, and how often each is asked in training.
SHARES = {"caption": 3.5, "what": 3, "count kind": 4, "count all": 1.5, "exists": 2, "colour": 1.2,
          "side": 3.5, "relation": 3}


def article(name):
    return ("an " if name[0] in "aeiou" else "a ") + name


def name_of(thing):
    """A thing's full name: "cat", or "red star"."""
    return f"{thing.colour} {thing.kind}" if thing.colour else thing.kind


def plural_of(name):
    *colour, kind = name.split()
    plural = SHAPES[kind] if kind in SHAPES else EMOJI[kind][0]
    return " ".join([*colour, plural])


def caption(scene):
    """All there is, kinds in the order of the alphabet: "two cats, a dog and a red star"."""
    counts = Counter(name_of(t) for t in scene.things)
    order = sorted(counts, key=lambda name: (name.split()[-1], name))
    parts = [article(n) if counts[n] == 1 else f"{NUMBERS[counts[n]]} {plural_of(n)}" for n in order]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def say(rng, text):
    """The same words as different people type them: case, question mark."""
    if rng.random() < 0.65:
        text += "?"
    style = rng.random()
    if style < 0.55:
        return text[0].upper() + text[1:]
    return text.upper() if style > 0.95 else text


# ---------------------------------------------------------------- one function a kind of question


def ask_caption(rng, scene):
    return "", caption(scene)


def ask_what(rng, scene):
    return say(rng, rng.choice(WHAT)), caption(scene)


def matches(thing, name):
    """Whether a thing is called by a name: "star", "red star" and "red shape" all call a red star."""
    *colour, kind = name.split()
    right_kind = thing.kind == kind or (kind == "shape" and thing.kind in SHAPES)
    return right_kind and (not colour or thing.colour == colour[0])


def some_name(rng, scene, present):
    """A name to ask for; `present` says whether it should (usually) be in the picture."""
    thing = rng.choice(scene.things)
    if present:
        if thing.colour and rng.random() < 0.5:
            return name_of(thing) if rng.random() < 0.7 else f"{thing.colour} shape"
        return thing.kind
    if rng.random() < 0.7:
        return rng.choice(KINDS)
    # Hard cases: the right shape in another colour, the right colour on another shape.
    colour, kind = thing.colour or rng.choice(list(COLOURS)), thing.kind
    if kind not in SHAPES or rng.random() < 0.5:
        return f"{colour} {rng.choice([*SHAPES, 'shape'])}"
    return f"{rng.choice(list(COLOURS))} {kind}"


def ask_count_kind(rng, scene):
    # Prefer what is there more than once, so that all numbers are practised.
    names = [t.kind for t in scene.things]
    often = [n for n in names if names.count(n) > 1]
    if often and rng.random() < 0.6:
        name = rng.choice(often)
    else:
        name = some_name(rng, scene, rng.random() < 0.8)
    if name.endswith("shape"):
        name = rng.choice(list(SHAPES))
    number = sum(matches(t, name) for t in scene.things)
    return say(rng, rng.choice(COUNT_KIND).format(s=plural_of(name))), str(number)


def ask_count_all(rng, scene):
    text = rng.choice(COUNT_KIND).format(s=rng.choice(COUNT_ALL))
    return say(rng, text), str(len(scene.things))


def ask_exists(rng, scene):
    name = some_name(rng, scene, rng.random() < 0.5)
    there = any(matches(t, name) for t in scene.things)
    return say(rng, rng.choice(EXISTS).format(a=article(name))), "yes" if there else "no"


def ask_colour(rng, scene):
    kinds = [t.kind for t in scene.things]
    single = [t for t in scene.things if kinds.count(t.kind) == 1]
    answers = {t.kind: t.colour or PLAIN_COLOUR.get(t.kind) for t in single}
    kinds = [k for k in answers if answers[k]]
    shapes = [k for k in kinds if k in SHAPES]
    if not kinds:
        return None
    # What has to be seen is asked more often than what can be known.
    kind = rng.choice(shapes if shapes and rng.random() < 0.85 else kinds)
    text = rng.choice(COLOUR).format(c=rng.choice(["color", "colour"]), k=kind)
    return say(rng, text), answers[kind]


def along(thing, side):
    """How far a thing lies towards a side."""
    return {"left": -thing.x, "right": thing.x, "top": -thing.y, "bottom": thing.y}[side]


def ask_side(rng, scene):
    if len(scene.things) < 2:
        return None
    sides = list(PLACES)
    rng.shuffle(sides)
    for side in sides:
        order = sorted(scene.things, key=lambda t: along(t, side), reverse=True)
        if along(order[0], side) - along(order[1], side) > MARGIN:
            place = rng.choice(PLACES[side])
            text = rng.choice(PLACE).format(p=place)
            return say(rng, text), article(name_of(order[0]))
    return None


def ask_relation(rng, scene):
    kinds = [t.kind for t in scene.things]
    cases = []
    for anchor in scene.things:
        if kinds.count(anchor.kind) == 1:
            cases += [(anchor, side) for side in RELATIONS if only_one(scene, anchor, side)]
    if not cases:
        return None
    anchor, side = rng.choice(cases)
    name = name_of(anchor) if rng.random() < 0.4 else anchor.kind
    text = rng.choice(RELATION).format(r=rng.choice(RELATIONS[side]).format(k=name))
    return say(rng, text), article(name_of(only_one(scene, anchor, side)))


def only_one(scene, anchor, side):
    """The only thing on that side of the anchor, if there is exactly one and none is level with it."""
    gaps = [(along(t, side) - along(anchor, side), t) for t in scene.things if t is not anchor]
    if any(abs(gap) < MARGIN for gap, _ in gaps):
        return None
    there = [t for gap, t in gaps if gap > 0]
    return there[0] if len(there) == 1 else None


ASK = {"caption": ask_caption, "what": ask_what, "count kind": ask_count_kind, "count all": ask_count_all,
       "exists": ask_exists, "colour": ask_colour, "side": ask_side, "relation": ask_relation}


def ask(rng, scene, kind):
    """A question of a kind with its answer, or None where the scene allows none."""
    return ASK[kind](rng, scene)


def ask_any(rng, scene):
    """A question of a random kind: (kind, question, answer)."""
    while True:
        kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
        pair = ask(rng, scene, kind)
        if pair:
            return kind, *pair


def all_words():
    """Every wording with every name once: the text the tokenizer is made from."""
    rng = random.Random(0)
    lines = []
    names = [*KINDS, *(f"{c} {k}" for c in COLOURS for k in [*SHAPES, "shape"])]
    for name in names:
        plural = name + "s" if name.endswith("shape") else plural_of(name)
        lines += [t.format(s=plural) for t in COUNT_KIND] + [t.format(a=article(name)) for t in EXISTS]
        lines += [t.format(c=c, k=name) for t in COLOUR for c in ("color", "colour")]
        lines += [t.format(r=r.format(k=name)) for t in RELATION for rs in RELATIONS.values() for r in rs]
        lines += [f" {article(name)}, {number} {plural} and" for number in NUMBERS for _ in range(3)]
    lines += WHAT * 5 + [t.format(p=p) for t in PLACE for ps in PLACES.values() for p in ps] * 3
    lines += [t.format(s=s) for t in COUNT_KIND for s in COUNT_ALL] * 3
    return [f"Question: {say(rng, line.strip())} Answer: {line.strip()}" for line in lines for _ in range(2)]
