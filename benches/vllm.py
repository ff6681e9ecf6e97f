"""Glimpse and vLLM as servers of one checkpoint, in turns on one machine.

    make bench-vllm VLLM=path/to/vllm     the shape of OPT-2.7B with random weights
    python benches/vllm.py --vllm path/to/vllm --model DIR --pairs bf16:q8_0 bf16:bf16

Both get the same checkpoint, pictures, questions and number of tokens over HTTP, and both stream.
First one visitor asks about pictures that nobody has put in before, and then about the same again;
then a crowd does, everybody about a picture of his own. A pair is vLLM's dtype and Glimpse's. vLLM is
asked greedily, with the template and the begin token that BLIP-2 needs and its own defaults lack.
Medians, and vLLM's beside Glimpse's, are printed and written to benches/results/.

vLLM for CPUs is not among what this project installs: see its documentation.
"""

import argparse
import base64
import io
import json
import os
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from compare import random_checkpoint
from serving import HOST, JSON, ROOT, GlimpseVisitor, Refused, Server, Visitor, free_port, glimpse_server, instruction_set, processor

QUESTIONS = ["How many remotes are there?", "What colour is the sofa?"]
# The prompt as it is sent; vLLM's own template for BLIP-2 knows questions only.
TEMPLATE = '{%- for message in messages -%}{{- message["content"] -}}{%- endfor -%}'
VLLM_DTYPES = {"bf16": "bfloat16", "f32": "float32", "f16": "float16"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", help="its command; without it Glimpse is measured alone")
    parser.add_argument("--model", type=Path, help="a checkpoint; random weights in the shape of OPT-2.7B without it")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/glimpse")
    parser.add_argument("--pairs", nargs="+", default=["bf16:q8_0", "bf16:bf16"], help="vLLM's dtype and Glimpse's")
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--alone", type=int, default=3, help="pictures of one visitor")
    parser.add_argument("--rounds", type=int, default=1, help="of the crowd")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def pictures(count, seed):
    """PNG files of 640 by 480 pixels, no two alike."""
    files = []
    for index in range(count):
        file = io.BytesIO()
        noise = random.Random(f"{seed} {index}").randbytes(64 * 48 * 3)
        Image.frombytes("RGB", (64, 48), noise).resize((640, 480)).save(file, "PNG")
        files.append(file.getvalue())
    return files


class VllmVisitor(Visitor):
    """A client of vLLM's chat completions."""

    def __init__(self, port, tokens):
        super().__init__(port)
        self.tokens = tokens
        self.model = json.load(self.call("GET", "/v1/models"))["data"][0]["id"]

    def put_in(self, file):
        return "data:image/png;base64," + base64.b64encode(file).decode()

    def ask(self, picture, question):
        """Something for each token."""
        content = [{"type": "image_url", "image_url": {"url": picture}}]
        content += [{"type": "text", "text": f"Question: {question} Answer:"}]
        body = {"model": self.model, "stream": True, "temperature": 0, "add_special_tokens": True, "return_token_ids": True}
        # Not min_tokens too: it masks the end tokens of the tokenizer, which may lie outside the vocabulary.
        body |= {"max_tokens": self.tokens, "ignore_eos": True}
        body |= {"messages": [{"role": "user", "content": content}]}
        reason = None
        for line in self.call("POST", "/v1/chat/completions", json.dumps(body), JSON):
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[len(b"data: "):])
            if "choices" not in event:
                raise Refused(f"an answer ended with {event}")
            for choice in event["choices"]:
                yield from choice.get("token_ids") or []
                reason = choice.get("finish_reason") or reason
        if reason is None:
            raise Refused("an answer was cut off")


def request(visitor, file, question):
    """Seconds to the first token and to the end, and the number of tokens."""
    began, first, count = time.perf_counter(), None, 0
    for _ in visitor.ask(visitor.put_in(file), question):
        first = first or time.perf_counter() - began
        count += 1
    return first, time.perf_counter() - began, count


def one_visitor(kind, server, options, files):
    """First tokens of new and of known pictures, and a further token's time."""
    visitor = kind(server.port, options.tokens)
    new, known = ([request(visitor, file, question) for file in files] for question in QUESTIONS)
    further = [(whole - first) / (count - 1) for first, whole, count in new + known]
    return {
        "first token, new picture, ms": 1e3 * statistics.median(first for first, _, _ in new),
        "first token, known picture, ms": 1e3 * statistics.median(first for first, _, _ in known),
        "a further token, ms": 1e3 * statistics.median(further),
        "one visitor, new pictures, tokens/s": rate(new, sum(whole for _, whole, _ in new)),
        "one visitor, known pictures, tokens/s": rate(known, sum(whole for _, whole, _ in known)),
    }


def rate(answers, seconds):
    return sum(count for *_, count in answers) / seconds


def crowd(kind, server, options, files):
    """Tokens a second of all together, each asking about a picture of his own, new and then known."""
    visitors = [kind(server.port, options.tokens) for _ in files]
    figures = {}
    with ThreadPoolExecutor(len(files)) as pool:
        for known, question in zip(("new", "known"), QUESTIONS):
            began = time.perf_counter()
            answers = list(pool.map(request, visitors, files, [question] * len(files)))
            figures[f"{len(files)} visitors, {known} pictures, tokens/s"] = rate(answers, time.perf_counter() - began)
            first = statistics.median(first for first, *_ in answers)
            figures[f"{len(files)} visitors, {known} pictures, first token, ms"] = 1e3 * first
    return figures


def measure(kind, server, options):
    """All figures of a server that has just been started."""
    with server:
        files = pictures(1 + options.alone + options.rounds * options.visitors, options.seed)
        one_visitor(kind, server, options, files[:1])
        figures = one_visitor(kind, server, options, files[1:1 + options.alone])
        of_rounds = []
        for round in range(options.rounds):
            start = 1 + options.alone + round * options.visitors
            of_rounds.append(crowd(kind, server, options, files[start:start + options.visitors]))
        figures |= {name: statistics.median(figures[name] for figures in of_rounds) for name in of_rounds[0]}
        for known in ("new", "known"):
            together = figures[f"{options.visitors} visitors, {known} pictures, tokens/s"]
            alone = figures[f"one visitor, {known} pictures, tokens/s"]
            figures[f"{options.visitors} visitors beside one, {known} pictures"] = together / alone
        figures |= {"peak memory, MB": memory(server.process.pid)}
        # What was measured is not lost where something behind it fails.
        print(json.dumps(figures), file=sys.stderr, flush=True)
        return figures


def memory(pid):
    """Megabytes that a process and those it started have had resident at most."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1e3
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return own + sum(memory(child) for file in children for child in file.read_text().split())


def vllm(options, scratch, folder, dtype):
    port = free_port()
    template = scratch / "template.jinja"
    template.write_text(TEMPLATE)
    command = [options.vllm, "serve", folder, "--port", port, "--host", HOST, "--dtype", VLLM_DTYPES[dtype]]
    command += ["--chat-template", template, "--max-model-len", 512, "--max-num-seqs", max(16, options.visitors)]
    # Its trials of as many pictures and tokens as there could be take minutes where bf16 is slow.
    command += ["--skip-mm-profiling", "--max-num-batched-tokens", 512]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "3", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1",
                   "OMP_NUM_THREADS": str(options.threads), "VLLM_NO_USAGE_STATS": "1"}
    return Server(command, port, "/health", scratch / "vllm.log", environment, patience=1200)


def table(options, theirs, ours):
    lines = ["| | vLLM | Glimpse | Glimpse is better, times |", "|---|---|---|---|"]
    for name, value in ours.items():
        other = theirs.get(name)
        is_rate = name.endswith(("tokens/s", "pictures"))
        ratio = None if other is None else value / other if is_rate else other / value
        lines.append(f"| {name} | {readable(other)} | {readable(value)} | {readable(ratio)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def readable(value):
    return "" if value is None else f"{value:.2f}" if value < 20 else f"{value:.0f}"


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        folder, name = options.model, options.model and options.model.resolve().name
        if folder is None:
            print("writing a checkpoint with random weights …", file=sys.stderr)
            folder, name = scratch / "checkpoint", "random-blip2-opt-2.7b"
            random_checkpoint("Salesforce/blip2-opt-2.7b", "bf16", folder)
        text = [f"# {name} behind vLLM and Glimpse, {options.tokens} tokens, on {processor()}, {options.threads} threads", ""]
        theirs = {}
        for pair in options.pairs:
            their_dtype, dtype = pair.split(":")
            if options.vllm and their_dtype not in theirs:
                print(f"vLLM in {their_dtype} …", file=sys.stderr)
                theirs[their_dtype] = measure(VllmVisitor, vllm(options, scratch, folder, their_dtype), options)
            print(f"Glimpse in {dtype} …", file=sys.stderr)
            server = glimpse_server(options.program, scratch, options.visitors, "--model", folder, "--dtype", dtype,
                                    "--threads", options.threads)
            ours = measure(GlimpseVisitor, server, options)
            text += [f"## vLLM in {their_dtype}, Glimpse in {dtype}", "", table(options, theirs.get(their_dtype, {}), ours), ""]
            print("\n".join(text[-3:]), flush=True)
    file = f"vllm-{name}-{instruction_set()}.md".replace(" ", "-")
    (ROOT / "benches/results" / file).write_text("\n".join(text))


if __name__ == "__main__":
    main()
