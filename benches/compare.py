"""Times Glimpse beside the reference, transformers, in one run on one machine.

    make bench                            the demo model, f32, on the CPU
    python benches/compare.py --random 2.7b --device cuda --dtype f16

Both get the same checkpoint, pictures, prompt, dtype and number of threads, and both
generate exactly as many tokens. Each part is timed `--runs` times after a warm-up, and
the medians and their ratio are printed and written to benches/results/.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "How many remotes are there?"
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
PARTS = ["image", "first token", "decode", "total"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "demo-model")
    parser.add_argument("--random", choices=["2.7b"], help="a full-size checkpoint with random weights instead")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/glimpse")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="f32", choices=DTYPES)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def pictures(folder, count):
    """Different pictures, so that nobody profits from having seen one before."""
    paths = []
    for index in range(count):
        path = folder / f"picture-{index}.png"
        pixels = torch.randint(0, 256, (480, 640, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        Image.fromarray(pixels.numpy()).save(path)
        paths.append(path)
    return paths


def reference(options, folder, paths):
    """Milliseconds of each part, one list entry a run."""
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=DTYPES[options.dtype])
    model = model.to(options.device).eval()
    load = (time.perf_counter() - start) * 1e3
    processor = BlipImageProcessorPil.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ids = [model.config.image_token_index] * model.config.num_query_tokens
    ids += tokenizer(f"Question: {QUESTION} Answer:").input_ids
    ids = torch.tensor([ids], device=options.device)
    runs = [timed(options, model, processor, ids, path) for path in paths]
    return load, runs[1:]


@torch.inference_mode()
def timed(options, model, processor, ids, path):
    def generate(pixels, tokens):
        return model.generate(pixel_values=pixels, input_ids=ids, max_new_tokens=tokens, min_new_tokens=tokens)

    def now():
        if options.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() * 1e3

    picture = Image.open(path).convert("RGB")
    start = now()
    pixels = processor(picture, return_tensors="pt").pixel_values.to(options.device, DTYPES[options.dtype])
    image_embeds = model.vision_model(pixels).last_hidden_state
    queries = model.query_tokens.expand(1, -1, -1)
    hidden = model.qformer(query_embeds=queries, encoder_hidden_states=image_embeds).last_hidden_state
    model.language_projection(hidden.to(image_embeds.dtype))
    image = now() - start
    # `generate` begins with the picture again, so its first token has the picture in it.
    start = now()
    generate(pixels, 1)
    first = now() - start
    start = now()
    generate(pixels, options.tokens)
    total = now() - start
    return {"image": image, "first token": first, "decode": total - first, "total": total}


def glimpse(options, folder, paths):
    lines = "".join(json.dumps({"picture": str(path), "question": QUESTION}) + "\n" for path in paths)
    count = str(options.tokens)
    command = [options.program, "ask", "--model", folder, "--device", options.device, "--dtype", options.dtype]
    command += ["--min-new-tokens", count, "--max-new-tokens", count, "--batch", "-"]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads)}
    output = subprocess.run(command, input=lines, capture_output=True, text=True, env=environment)
    if output.returncode:
        sys.exit(f"glimpse failed: {output.stderr}")
    runs = [json.loads(line)["timings_ms"] for line in output.stdout.splitlines()]
    for run in runs:
        run["first token"] = run["image"] + run["prefill"]
    return runs[0]["load"], runs[1:]


def random_checkpoint(folder, dtype):
    """The shape of a published checkpoint, with random weights, written without loading it."""
    command = ["cargo", "run", "--quiet", "--release", "--features", "ssr", "--example", "random-checkpoint", "--"]
    subprocess.run([*command, "--dtype", dtype, folder], check=True, cwd=ROOT)


def machine(options):
    if options.device != "cpu":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {options.threads} threads"


def report(options, name, theirs, ours):
    lines = [f"# {name}, {options.dtype}, {options.tokens} tokens, on {machine(options)}", ""]
    lines += [f"`python benches/compare.py {' '.join(sys.argv[1:])}`, medians of {options.runs} runs, milliseconds", ""]
    lines += ["| part | transformers | Glimpse | transformers / Glimpse |", "|---|---|---|---|"]
    rows = [("load", [theirs[0]], [ours[0]])]
    rows += [(part, [run[part] for run in theirs[1]], [run[part] for run in ours[1]]) for part in PARTS]
    for part, reference_ms, glimpse_ms in rows:
        a, b = statistics.median(reference_ms), statistics.median(glimpse_ms)
        lines.append(f"| {part} | {a:.1f} | {b:.1f} | {a / b:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        folder = options.model
        if options.random:
            folder = scratch / "checkpoint"
            print("making a full-size random checkpoint …", file=sys.stderr)
            random_checkpoint(folder, options.dtype)
        paths = pictures(scratch, options.runs + 1)
        theirs = reference(options, folder, paths)
        ours = glimpse(options, folder, paths)
    name = f"random {options.random}" if options.random else folder.name
    text = report(options, name, theirs, ours)
    print(text)
    file = f"{name}-{options.device}-{options.dtype}.md".replace(" ", "-")
    (ROOT / "benches/results" / file).write_text(text)


if __name__ == "__main__":
    main()
