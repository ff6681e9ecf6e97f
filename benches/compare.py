"""Times Glimpse beside the reference, transformers, in one run on one machine.

    make bench                            the demo model, then the shape of OPT-2.7B with random weights
    python benches/compare.py --random Salesforce/blip2-opt-2.7b --device cuda --pairs f16:f16

Both get the same checkpoint, pictures, prompts and number of threads, and both generate
exactly as many tokens. A pair is the reference's dtype and Glimpse's; the reference is measured
once in each of its dtypes and in each of the ways asked for: `eager`, as people call it, and
`compiled`, with a static cache and, on a GPU, torch.compile. Two questions are asked about each
picture. Medians, and the ratios' medians and spread, are printed and written to benches/results/.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from serving import ROOT, instruction_set, processor

QUESTIONS = ["How many remotes are there?", "What colour is the sofa?"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "demo-model")
    parser.add_argument("--random", metavar="ID", help="random weights in the shape of a published checkpoint instead")
    parser.add_argument("--checkpoint-writer", type=Path, metavar="PROGRAM",
                        help="the example random-checkpoint, where it is built already")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/glimpse")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--pairs", nargs="+", default=["f32:f32"], help="the reference's dtype and Glimpse's")
    parser.add_argument("--reference", nargs="+", choices=["eager", "compiled"], default=["eager"], metavar="WAY")
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--runs", type=int, default=7, help="pictures, after one to warm up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def pictures(folder, count):
    """Different pictures, so that nobody profits from having seen one before."""
    paths = []
    for index in range(count):
        path = folder / f"picture-{index}.png"
        Image.frombytes("RGB", (640, 480), random.Random(index).randbytes(640 * 480 * 3)).save(path)
        paths.append(str(path))
    return paths


def measure(command, text, threads):
    """Runs a program to its end: the JSON lines it printed, and its peak memory in megabytes.

    The peak is never less than this script's own, which is why it does not import torch.
    """
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        given.write(text)
        given.seek(0)
        process = subprocess.Popen([str(part) for part in command], stdin=given, stdout=printed, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            sys.exit(f"{command[0]} failed: {said.read()}")
        printed.seek(0)
        return [json.loads(line) for line in printed], usage.ru_maxrss / 1e3


def reference(options, folder, dtype, way, paths):
    """Loading, answers in pairs (first and second question), and memory."""
    command = [sys.executable, ROOT / "benches/reference.py", folder, "--device", options.device, "--dtype", dtype]
    command += ["--compiled"] if way == "compiled" else []
    command += ["--threads", options.threads, "--tokens", options.tokens, "--questions", *QUESTIONS, "--pictures", *paths]
    (load, *answers), memory = measure(command, "", options.threads)
    return {**load, "memory": memory, "answers": in_pairs(answers)}


def glimpse(options, folder, dtype, paths):
    lines = [json.dumps({"picture": path, "question": question}) + "\n" for path in paths for question in QUESTIONS]
    command = [options.program, "ask", "--model", folder, "--device", options.device, "--dtype", dtype, "--batch", "-"]
    command += ["--min-new-tokens", options.tokens, "--max-new-tokens", options.tokens]
    answers, memory = measure(command, "".join(lines), options.threads)
    parts = [answer["timings_ms"] for answer in answers]
    for part in parts:
        part["token"] = part["decode"] / max(1, options.tokens - 1)
        part["answer"] = part["total"]
    return {"load": parts[0]["load"], "memory": memory, "answers": in_pairs(parts)}


def in_pairs(answers):
    return list(zip(answers[::2], answers[1::2]))


def rows(side):
    """(name, numbers) of each line of the table."""
    yield "load, ms", [side["load"]]
    yield "peak memory, MB", [side["memory"]]
    for name, question, part in [("picture", 0, "image"), ("prefill", 0, "prefill"), ("a further token", 0, "token"),
                                 ("first answer", 0, "answer"), ("second answer about the picture", 1, "answer")]:
        yield f"{name}, ms", [pair[question][part] for pair in side["answers"][1:]]


def table(theirs_dtype, ours_dtype, theirs, ours):
    """`theirs` has the reference's measurements by way."""
    lines = [f"## transformers in {theirs_dtype}, Glimpse in {ours_dtype}", ""]
    names = [f"transformers, {way}" if len(theirs) > 1 else "transformers" for way in theirs]
    columns = ["", *names, "Glimpse", *(part for name in names for part in (f"{name} / Glimpse", "spread"))]
    lines += [f"| {' | '.join(columns)} |".replace("|  |", "| |"), "|---" * len(columns) + "|"]
    for (name, ours_values), *theirs_rows in zip(rows(ours), *map(rows, theirs.values())):
        cells = [f"{statistics.median(values):.1f}" for values in (*(values for _, values in theirs_rows), ours_values)]
        for _, values in theirs_rows:
            ratios = [a / b for a, b in zip(values, ours_values)]
            cells += [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else ""]
        lines.append(f"| {name} | {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join([*lines, ""])


def random_checkpoint(program, model, dtype, folder):
    """The shape of a published checkpoint, with random weights, written without loading it."""
    build = ["cargo", "run", "--quiet", "--release", "--features", "ssr", "--example", "random-checkpoint", "--"]
    command = [program.resolve()] if program else build
    subprocess.run([*command, "--model", model, "--dtype", dtype, folder], check=True, cwd=ROOT)


def machine(options, device):
    if options.device != "cpu":
        return device
    return f"{processor()}, {options.threads} threads"


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        folder, name = options.model, options.model.name
        if options.random:
            folder, name = scratch / "checkpoint", "random " + options.random.split("/")[-1]
            print("writing a checkpoint with random weights …", file=sys.stderr)
            # A GPU is not measured in f32: half the bytes to write and to read.
            random_checkpoint(options.checkpoint_writer, options.random, "f32" if options.device == "cpu" else "f16", folder)
        paths = pictures(scratch, options.runs + 1)
        text = [f"`python benches/compare.py {' '.join(sys.argv[1:])}`, medians of {options.runs} pictures", ""]
        measured = {}
        for pair in options.pairs:
            theirs_dtype, ours_dtype = pair.split(":")
            print(f"{pair} …", file=sys.stderr)
            if theirs_dtype not in measured:
                measured[theirs_dtype] = {
                    way: reference(options, folder, theirs_dtype, way, paths) for way in options.reference
                }
            theirs = measured[theirs_dtype]
            ours = glimpse(options, folder, ours_dtype, paths)
            text.append(table(theirs_dtype, ours_dtype, theirs, ours))
            print(text[-1], flush=True)
            # Behind each pair: whoever has no time for the next keeps those that were measured.
            device = theirs[options.reference[0]]["device"]
            title = f"# {name}, {options.tokens} tokens, on {machine(options, device)}\n"
            place = instruction_set() if options.device == "cpu" else device
            file = ROOT / "benches/results" / f"{name}-{place}.md".replace(" ", "-")
            file.write_text("\n".join([title, *text]))


if __name__ == "__main__":
    main()
