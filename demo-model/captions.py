"""The captions' language: what the small captioner writes and the small matcher judges.

    two cats, a dog and a red star on a bright ground

A caption says all there is and how bright the ground is, so a program can decide whether it is
right: `read` turns a text into its facts, which are compared with those of the scene.
"""

import re
from collections import Counter
from dataclasses import dataclass

import questions
import scenes
from questions import NUMBERS, article, name_of, plural_of
from scenes import COLOURS, EMOJI, SHAPES

MOST = 4  # things in a picture
PREFIX = "a picture of"
GROUNDS = ("bright", "dark")
# The mean of a ground's pixels, 0 to 255: below and above this nobody disputes the word.
DARK, BRIGHT = 170, 200

NAMES = [*EMOJI, *(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)]
KNOWN = {name: (name, 1) for name in NAMES} | {plural_of(name): (name, 2) for name in NAMES}
KNOWN["fish"] = ("fish", 0)  # the same for one and for many


@dataclass(frozen=True)
class Facts:
    """What a picture shows, or what a text says that it shows: how many of each name, and the ground."""

    counts: tuple  # of (name, number), in the order of the alphabet
    ground: str


def facts(counts, ground):
    order = sorted(counts, key=lambda name: (name.split()[-1], name))
    return Facts(tuple((name, counts[name]) for name in order), ground)


def facts_of(scene):
    return facts(Counter(name_of(thing) for thing in scene.things), ground_of(scene.ground))


def ground_of(ground):
    """How a ground is called, or None where it is between bright and dark."""
    mean = sum(sum(colour) for colour in ground["colours"]) / 6
    return "bright" if mean > BRIGHT else "dark" if mean < DARK else None


def invent(rng, most=MOST, size=None):
    """A scene of one to `most` things whose ground has a name; two in five grounds are dark."""
    wanted = "dark" if rng.random() < 0.4 else "bright"
    ground = scenes.invent_ground(rng)
    while ground_of(ground) != wanted:
        ground = scenes.invent_ground(rng)
    return scenes.invent(rng, most, size=size, ground=ground)


# ---------------------------------------------------------------- writing and reading


def phrases(fact):
    """The caption in pieces: one for each name, one for the ground, and the words between."""
    said = [article(name) if number == 1 else f"{NUMBERS[number]} {plural_of(name)}" for name, number in fact.counts]
    pieces = []
    for i, phrase in enumerate(said):
        if i:
            pieces.append("and" if i == len(said) - 1 else ",")
        pieces.append(phrase)
    return [*pieces, "on", f"a {fact.ground} ground"]


def write(fact):
    """The caption: "two cats, a dog and a red star on a bright ground"."""
    return " ".join(phrases(fact)).replace(" ,", ",")


def caption(scene):
    return write(facts_of(scene))


def read(text):
    """The facts that a text states, with or without "a picture of"; None where it is no caption of this language."""
    match = re.fullmatch(rf"(.+) on a ({'|'.join(GROUNDS)}) ground", words_of(text))
    if not match:
        return None
    counts = {}
    for phrase in re.split(r" , | and ", match[1]):
        named = read_phrase(phrase)
        if not named or named[0] in counts:
            return None
        counts[named[0]] = named[1]
    return facts(counts, match[2])


def words_of(text):
    """The words and commas of a text, without "a picture of"."""
    return " ".join(re.findall(r"[a-z]+|,", text.lower())).removeprefix(PREFIX + " ")


def read_phrase(phrase):
    """The name and number of "a cat" or "two red stars"; None for anything else, "a cats" too."""
    number, _, noun = phrase.partition(" ")
    count = 1 if number in ("a", "an") else NUMBERS.index(number) if number in NUMBERS else 0
    name, form = KNOWN.get(noun, (None, 0))
    if not name or not count or form and (form == 1) != (count == 1):
        return None
    return name, count


# ---------------------------------------------------------------- texts that do not fit


def changed(rng, fact, ways=("colour", "count", "kind", "ground")):
    """The facts with one of them wrong, and in which way; a way that the facts do not allow is not taken."""
    for way in rng.sample(ways, len(ways)):
        wrong = CHANGE[way](rng, dict(fact.counts), fact.ground)
        if wrong and wrong != fact:
            return wrong, way
    raise ValueError(f"none of {ways} can be changed in {write(fact)!r}")


def renamed(counts, old, new, ground):
    """The facts with one name in the place of another, unless it is there already."""
    if not new or new in counts:
        return None
    return facts({new if name == old else name: number for name, number in counts.items()}, ground)


def change_colour(rng, counts, ground):
    shapes = [name for name in counts if " " in name]
    if not shapes:
        return None
    old = rng.choice(shapes)
    other = [name for name in shapes if name.split()[0] != old.split()[0]]
    # A colour of another thing in the picture is the harder mistake.
    colour = rng.choice(other).split()[0] if other and rng.random() < 0.5 else rng.choice(list(COLOURS))
    return renamed(counts, old, f"{colour} {old.split()[1]}", ground)


def change_kind(rng, counts, ground):
    old = rng.choice(list(counts))
    return renamed(counts, old, rng.choice([n for n in NAMES if (" " in n) == (" " in old)]), ground)


def change_count(rng, counts, ground):
    name = rng.choice(list(counts))
    near = [n for n in (counts[name] - 1, counts[name] + 1) if 1 <= n <= MOST]
    number = rng.choice(near if rng.random() < 0.7 else [n for n in range(1, MOST + 1) if n != counts[name]])
    return facts({**counts, name: number}, ground)


def change_ground(rng, counts, ground):
    return facts(counts, GROUNDS[1 - GROUNDS.index(ground)])


def leave_out(rng, counts, ground):
    if len(counts) < 2:
        return None
    gone = rng.choice(list(counts))
    return facts({name: number for name, number in counts.items() if name != gone}, ground)


def add(rng, counts, ground):
    return facts({rng.choice([n for n in NAMES if n not in counts]): 1, **counts}, ground) if len(counts) < MOST else None


CHANGE = {"colour": change_colour, "count": change_count, "kind": change_kind, "ground": change_ground,
          "left out": leave_out, "added": add}


def all_words():
    """Every word of the language."""
    names = {word for name in NAMES for word in (name + " " + plural_of(name)).split()}
    return sorted(names | set(NUMBERS) | set(GROUNDS) | set(PREFIX.split()) | {"an", "and", "on", "ground"})


def _check():
    """What is written is read again, and a changed text says something else."""
    import random

    for i in range(300):
        rng = random.Random(i)
        scene = invent(rng)
        fact = facts_of(scene)
        assert write(fact).startswith(questions.caption(scene)), "things are listed as the demo model lists them"
        assert read(write(fact)) == fact == read(f"A picture of {write(fact)}."), write(fact)
        for way in CHANGE:
            wrong = CHANGE[way](rng, dict(fact.counts), fact.ground)
            assert wrong is None or read(write(wrong)) == wrong, (way, write(wrong))
    assert read("a cats on a bright ground") is read("a dog") is None


if __name__ == "__main__":
    _check()
