"""A crowd of visitors at Glimpse, and at a Gradio demo of the same model, in turns on one machine.

    make bench-gradio
    .venv-gradio/bin/python benches/crowd.py --visitors 16 --seconds 20 --rounds 4

Each visitor puts in a picture that nobody has put in before, asks about it, reads the answer to its
end as it streams, and does so again. Then a few pictures go round, as examples do. Both servers get
the same pictures, questions and number of tokens, with the calls that their own pages make. First
Glimpse is started a few times to see how long that takes. Then the Gradio demo is tried in two
dtypes, with one thread and with one for each core, and with three numbers of answers at the same
time; the best of these is what Glimpse is compared with. Every round starts both anew. What came of
it is printed and written to benches/results/gradio-demo-model.md. The visitors share the machine's
cores with the servers. Linux.
"""

import argparse
import io
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from PIL import Image, ImageOps

from serving import (HOST, JSON, MULTIPART, ROOT, GlimpseVisitor, Refused, Server, Visitor, form, free_port, glimpse_server,
                     processor, secret)

QUESTIONS = [
    "How many things are in the picture?",
    "What is on the left?",
    "What color is the circle?",
    "Is there a cat in the picture?",
    "What is in the picture?",
]
CORES = os.cpu_count()
# Pictures that go round.
KNOWN = 8
# How the Gradio demo may be run: dtype, threads, answers at the same time.
WAYS = [f"{dtype}:{threads}:{n}" for dtype in ("f32", "bf16") for threads in sorted({1, CORES}) for n in (1, 2, 4)]
# The share of the cores that went elsewhere: what a figure is worth on a machine that is shared.
OTHERS = "cores taken by others, %"
OF_SERVER = ["peak memory, MB", "start to open port, ms", "start to ready, ms", OTHERS]
PACKAGES = ["gradio", "transformers", "torch"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/glimpse")
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20, help="of a round, at each of the two")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--ways", nargs="+", default=WAYS, help="to run the demo, as dtype:threads:answers at once")
    parser.add_argument("--trial", type=float, default=8, help="seconds of each way to run the Gradio demo")
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=3000, help="a round ends where they are used up")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--note", help="a sentence for the results, such as who else used the machine")
    return parser.parse_args()


def pictures(count, seed):
    """JPEG files of 640 by 480 pixels, no two alike: parts of the page's examples."""
    examples = [Image.open(path).convert("RGB") for path in sorted((ROOT / "public/examples").glob("*.png"))]
    files = set()
    for number in itertools.count():
        if len(files) == count:
            return sorted(files)
        rng = random.Random(f"{seed} {number}")
        whole = rng.choice(examples)
        width, height = (round(side * rng.uniform(0.6, 1)) for side in whole.size)
        left, top = rng.randint(0, whole.width - width), rng.randint(0, whole.height - height)
        part = whole.crop((left, top, left + width, top + height)).resize((640, 480))
        file = io.BytesIO()
        (ImageOps.mirror(part) if rng.random() < 0.5 else part).save(file, "JPEG", quality=90)
        files.add(file.getvalue())


class GradioVisitor(Visitor):
    """Makes the calls of Gradio's page."""

    def __init__(self, port, tokens):
        super().__init__(port)
        functions = json.load(self.call("GET", "/config"))["dependencies"]
        self.function = next(function["id"] for function in functions if function["api_name"] == "answer")

    def put_in(self, file):
        return json.load(self.call("POST", "/gradio_api/upload", form(file, field="files"), MULTIPART))[0]

    def ask(self, path, question):
        """The answer so far, again and again as it grows."""
        session = secret()
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, question]
        request = {"data": data, "fn_index": self.function, "session_hash": session}
        self.call("POST", "/gradio_api/queue/join", json.dumps(request), JSON).read()
        text, is_over = "", False
        for line in self.call("GET", f"/gradio_api/queue/data?session_hash={session}"):
            event = json.loads(line[len(b"data: "):]) if line.startswith(b"data: ") else {}
            output = event.get("output") or {}
            if event.get("msg") == "process_generating" and output.get("data"):
                text = grown(text, output["data"][0])
                if text:
                    yield text
            if event.get("msg") == "process_completed":
                is_over = event["success"]
        if not is_over:
            raise Refused("an answer was not completed")


def grown(text, change):
    """A text as Gradio sends it: whole at first, then what is to be done to the one before."""
    if isinstance(change, str):
        return change
    for what, _, value in change:
        text = text + value if what == "append" else value
    return text


def request(visitor, number, files):
    """Moments when somebody began, asked, saw the first of the answer and its end; number and answer."""
    began = time.perf_counter()
    picture = visitor.put_in(files[number])
    asked, first, text = time.perf_counter(), None, ""
    for text in visitor.ask(picture, QUESTIONS[number % len(QUESTIONS)]):
        first = first or time.perf_counter()
    return began, asked, first, time.perf_counter(), number, text.strip()


def visit(kind, server, options, files, seconds):
    """What a crowd saw of a server, behind one question of each visitor that is not counted."""
    numbers = itertools.count()
    visitors = [kind(server.port, options.tokens) for _ in range(options.visitors)]
    with ThreadPoolExecutor(options.visitors) as pool:
        list(pool.map(lambda visitor: request(visitor, next(numbers), files), visitors))
        before, began = computed(server), time.perf_counter()

        def come(visitor):
            # Who waited for the others finds his connection closed; it is opened anew.
            visitor.connection.close()
            seen = []
            while time.perf_counter() < began + seconds and (number := next(numbers)) < len(files):
                seen.append(request(visitor, number, files))
            return seen

        seen = list(itertools.chain.from_iterable(pool.map(come, visitors)))
    own, others = (after - first for first, after in zip(before, computed(server)))
    return summary(server, seen, began, seconds, own, others)


def both_visits(kind, server, options, files):
    """What a crowd saw of a server with new pictures, and then with a few that go round."""
    known = files[:KNOWN] * (len(files) // KNOWN * 10)
    new, answers = visit(kind, server, options, files, options.seconds)
    again, _ = visit(kind, server, options, known, options.seconds)
    again = {f"{name}, known pictures": again[name] for name in again if name not in OF_SERVER}
    return {name: new[name] for name in new if name not in OF_SERVER} | again | {name: new[name] for name in OF_SERVER}, answers


def computed(server):
    """Seconds that cores have computed for the server, and for neither it nor the visitors."""
    tick = os.sysconf("SC_CLK_TCK")
    everything = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle = everything[3] + everything[4]
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = sum(map(int, fields[11:13])) / tick
    return own, (sum(everything) - idle) / tick - own - sum(os.times()[:2])


def summary(server, seen, began, seconds, own, others):
    """The figures of a round, and the answers by the pictures' numbers."""
    over = max(end for *_, end, _, _ in seen)
    counted = min(began + seconds, over)
    of_question = [first - asked for _, asked, first, *_ in seen]
    of_picture = [first - start for start, _, first, *_ in seen]
    whole = [end - start for start, _, _, end, *_ in seen]
    figures = {"requests a second": sum(end <= counted for *_, end, _, _ in seen) / (counted - began)}
    for name, times in [("question to first token", of_question), ("picture to first token", of_picture),
                        ("picture to end of answer", whole)]:
        figures[f"{name}, median, ms"] = 1e3 * statistics.median(times)
        figures[f"{name}, p95, ms"] = 1e3 * statistics.quantiles(times, n=20)[-1]
    figures |= {
        "computed for a request, ms": 1e3 * own / len(seen),
        "peak memory, MB": server.peak_memory(),
        "start to open port, ms": 1e3 * server.opened,
        "start to ready, ms": 1e3 * server.served,
        OTHERS: 100 * others / (over - began) / CORES,
    }
    return figures, {number: answer for *_, number, answer in seen}


def glimpse(options, scratch):
    return glimpse_server(options.program, scratch, options.visitors, "--threads", CORES)


def gradio(options, scratch, way):
    port, (dtype, threads, at_once) = free_port(), way.split(":")
    command = [sys.executable, ROOT / "benches/gradio_demo.py", "--port", port, "--dtype", dtype]
    command += ["--concurrency", at_once, "--tokens", options.tokens, "--threads", threads]
    # It asks no other machine while it is timed.
    outside = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(scratch / "gradio")}
    return Server(command, port, "/config", scratch / "gradio.log", outside)


def trials(options, scratch, files):
    """What each way to run the Gradio demo makes of a second of a core that others left to it: requests."""
    rates = {}
    for way in options.ways:
        with gradio(options, scratch, way) as server:
            figures, _ = visit(GradioVisitor, server, options, files, options.trial)
        rate, others = figures["requests a second"], figures[OTHERS]
        rates[way] = rate / (1 - others / 100) / CORES
        print(f"{described(way)}: {rate:.1f} requests a second, others took {others:.0f} %", file=sys.stderr)
    return rates


def described(way):
    dtype, threads, at_once = way.split(":")
    return f"Gradio in {dtype}, threads: {threads}, answers at the same time: {at_once}"


def rounds(options, scratch, files, best):
    """Figures of Glimpse and of Gradio, by round; how many answers are the same, and of how many."""
    ours, theirs, same, of = [], [], 0, 0
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds} …", file=sys.stderr)
        with glimpse(options, scratch) as server:
            figures, answers = both_visits(GlimpseVisitor, server, options, files)
            ours.append(figures)
        with gradio(options, scratch, best) as server:
            figures, others = both_visits(GradioVisitor, server, options, files)
            theirs.append(figures)
        both = answers.keys() & others.keys()
        same, of = same + sum(answers[number] == others[number] for number in both), of + len(both)
    return ours, theirs, same, of


def starts(options, scratch):
    """Milliseconds to the open port, and until it is ready, of each start."""
    times = []
    for _ in range(options.starts):
        with glimpse(options, scratch) as server:
            times.append((1e3 * server.opened, 1e3 * server.served))
    return list(zip(*times))


def readable(value):
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def spread(values):
    return f"{readable(min(values))} to {readable(max(values))}"


def table(ours, theirs):
    """A line for each figure: medians of both, and how many times as good ours is in the same round."""
    lines = ["| | Glimpse | Gradio | Glimpse is better, times | spread |", "|---|---|---|---|---|"]
    for name in ours[0]:
        columns = [[figures[name] for figures in side] for side in (ours, theirs)]
        cells = [readable(statistics.median(values)) for values in columns]
        ratios = [b / a for a, b in zip(*columns)]
        if name.startswith("requests a second"):
            ratios = [1 / ratio for ratio in ratios]
        cells += ["", ""] if name == OTHERS else [readable(statistics.median(ratios)), spread(ratios)]
        lines.append(f"| {name} | {' | '.join(cells)} |".replace("|  |  |", "| | |"))
    return lines


def report(options, rates, best, measured, started):
    ours, theirs, same, of = measured
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    given = [part for part in sys.argv[1:] if part not in ("--note", options.note)]
    command = " ".join(["python benches/crowd.py", *given])
    lines = [f"# demo-model beside a Gradio demo, {options.visitors} visitors, on {processor()}, {CORES} threads", ""]
    lines += [f"`{command}`, {options.tokens} tokens,"]
    lines += [f"medians of {options.rounds} rounds of {options.seconds:.0f} s; {versions}.", ""]
    lines += [options.note, ""] if options.note else []
    lines += [f"{described(best)}: its best of those below."]
    lines += [f"Of the answers to the same questions about the same pictures {same} of {of} are the same.", ""]
    lines += table(ours, theirs)
    lines += ["", "## Ways to run the Gradio demo", ""]
    lines += ["| dtype | threads | answers at the same time | requests for a second of a core that others left |", "|---|---|---|---|"]
    lines += [f"| {way.replace(':', ' | ')} | {rate:.1f} |" for way, rate in rates.items()]
    lines += ["", f"## {options.starts} starts of Glimpse, with nobody there", ""]
    lines += ["| | median, ms | spread |", "|---|---|---|"]
    for name, times in zip(["open port", "ready, `/readyz`"], started):
        lines.append(f"| {name} | {readable(statistics.median(times))} | {spread(times)} |")
    return "\n".join([*lines, ""])


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        print("drawing pictures …", file=sys.stderr)
        files = pictures(options.pictures, options.seed)
        started = starts(options, scratch)
        rates = trials(options, scratch, files)
        best = max(rates, key=rates.get)
        text = report(options, rates, best, rounds(options, scratch, files, best), started)
    print(text)
    (ROOT / "benches/results/gradio-demo-model.md").write_text(text)


if __name__ == "__main__":
    main()
