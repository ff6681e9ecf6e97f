"""Writes the golden files: what the reference implementation computes.

Run it as `make golden`, or as

    python tests/golden/make.py [--seed N] [--out DIR] [--first N] [--count N] [SET …]

with torch, transformers, Pillow and safetensors installed. The files in the
repository are those of seed 0. With another seed and folder it makes another
set, and `GLIMPSE_GOLDEN=DIR` runs the tests against that.
"""

import argparse
import shutil
from pathlib import Path

SETS = ["pictures", "checkpoints", "instruct", "retrieval", "blip", "half", "decoding", "presets", "attention"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--first", type=int, default=0, help="the first checkpoint; those before it stay as they are")
    parser.add_argument("--count", type=int, help="how many checkpoints")
    parser.add_argument("sets", nargs="*", help=f"which sets: {', '.join(SETS)}; all if none is named")
    arguments = parser.parse_args()
    for name in arguments.sets or SETS:
        folder = arguments.out / name
        if name not in SETS:
            parser.error(f"there is no set called {name}")
        if name == "half":
            import half

            half.write(arguments.out)
            continue
        if name == "presets":
            import presets

            presets.write(arguments.out)
            continue
        if name == "attention":
            import attention

            attention.write(arguments.out)
            continue
        if arguments.first == 0:
            shutil.rmtree(folder, ignore_errors=True)
        if name == "pictures":
            import pictures

            pictures.write(folder, arguments.seed)
        elif name == "checkpoints":
            import checkpoints

            checkpoints.write(folder, arguments.seed, arguments.first, arguments.count or 32)
        elif name == "instruct":
            import checkpoints
            import instruct

            count = arguments.count or instruct.COUNT
            checkpoints.write(folder, arguments.seed, arguments.first, count, instruct.shape_of)
        elif name == "retrieval":
            import retrieval

            retrieval.write(folder, arguments.seed, arguments.first, arguments.count or retrieval.COUNT)
        elif name == "blip":
            import blip

            blip.write(folder, arguments.seed, arguments.first)
        else:
            import decoding

            decoding.write(folder, arguments.seed, arguments.first)


if __name__ == "__main__":
    main()
