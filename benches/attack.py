"""Strangers who want to bring a server down: what it holds, and whether others are served.

    python benches/attack.py [--connections 50] [--seconds 60] [--memory 512MB] [--only KIND ...]

Starts a server of its own on a free port of this machine, with the model in it, and looks at it
before, while so many connections attack it in every way below at once, and after. Exit status 1
if it held more than its budget, its model and 200 MB, or if a decent visitor was not answered.
Attackers share the machine's cores with the server.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib

from serving import EDGE, HOST, VISITOR, form, free_port, processor, secret

# What may be held beside budget and model.
ROOM = 200e6


# Pictures.

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, row):
    """A PNG whose rows of RGB come from a function of y."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0" + row(y)) for y in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def photo():
    """About what a visitor has: 800 by 600 pixels that do not pack well."""
    return png(800, 600, lambda y: bytes((x * x + y * y * 3 + x * y) % 251 for x in range(800 * 3)))


def flat(width, height):
    row = bytes(width * 3)
    return png(width, height, lambda _: row)


def many_scans(side=10_000, scans=99):
    """A grey progressive JPEG, each scan of which makes a decoder go over the whole picture."""
    def segment(marker, data):
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    def table(kind, symbol):
        # One symbol, of one bit.
        return segment(0xC4, bytes([kind, 1] + [0] * 15 + [symbol]))

    blocks = (-(-side // 8)) ** 2
    longest = (1 << 15) - 1
    # The end of a band of so many blocks: a bit for the symbol, fourteen for the rest.
    bits = ("0" + "1" * 14) * (blocks // longest + 1)
    bits += "1" * (-len(bits) % 8)
    ends = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    picture = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    picture += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    picture += table(0x00, 0x00) + table(0x10, 0xE0)
    picture += segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    picture += (segment(0xDA, b"\1\1\0\1\x3f\0") + ends) * (scans - 1)
    return picture + b"\xff\xd9"


# HTTP, as a visitor and as an attacker speak it.

def head(path, length, content_type=f"multipart/form-data; boundary={EDGE}", visitor=None):
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"{VISITOR}: {visitor or secret()}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join(lines + ["", ""]).encode()


def call(port, path, body, content_type, visitor=None, patience=120):
    """Status and whole body of an answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=patience)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type, VISITOR: visitor or secret()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def upload(port, file, visitor=None):
    return call(port, "/api/page/upload", form(file), f"multipart/form-data; boundary={EDGE}", visitor)


def question(conversation, **settings):
    request = {"conversation": conversation, "question": "how many circles are there?", **settings}
    return json.dumps({"request": request}).encode()


def ask(port, conversation, visitor):
    body = question(conversation, max_new_tokens=10)
    status, lines = call(port, "/api/page/ask", body, "application/json", visitor)
    events = [json.loads(line) for line in lines.splitlines() if line] if status == 200 else []
    return status, bool(events) and events[-1].get("event") == "done"


# The ways to attack. Each does one round on one connection; `over` is set at the end.

def send(port, data, hold=0.0, over=None):
    """Sends, waits for a while, and hangs up."""
    with socket.create_connection((HOST, port), timeout=5) as stream:
        stream.sendall(data)
        if over:
            over.wait(hold)
        else:
            time.sleep(hold)


def large_pictures(port, over, kit):
    """10,000 by 9,999 pixels, hung up after 0.15 s"""
    body = form(kit["large"])
    send(port, head("/api/page/upload", len(body)) + body, 0.15)


def kept_pictures(port, over, kit):
    """10,000 by 9,999 pixels, waited for"""
    upload(port, kit["large"])


def slow_uploads(port, over, kit):
    """31 MB of a picture at once, then a byte a second"""
    with socket.create_connection((HOST, port), timeout=5) as stream:
        stream.sendall(head("/api/page/upload", 32_000_000) + form(b"", end=False))
        stream.settimeout(5)
        stream.sendall(bytes(31_000_000))
        while not over.wait(1):
            stream.sendall(b"\0")


def part_heads(port, over, kit):
    """the head of a part that does not end, of 450 MB"""
    with socket.create_connection((HOST, port), timeout=5) as stream:
        stream.sendall(head("/api/page/upload", 450_000_000) + f"--{EDGE}\r\nX: ".encode())
        while not over.is_set():
            stream.sendall(b"x" * 100_000)


def questions(port, over, kit):
    """a question with ten beams, hung up"""
    body = question(kit["conversation"], num_beams=10, max_new_tokens=200)
    send(port, head("/api/page/ask", len(body), "application/json", kit["visitor"]) + body, 0.1)


def scans(port, over, kit):
    """a JPEG of 100 megapixels in 99 scans"""
    upload(port, kit["scans"])


def tiny_pictures(port, over, kit):
    """8 by 8 pixels, as often as it goes"""
    upload(port, kit["tiny"])


def idle(port, over, kit):
    """a connection that asked once, and is kept"""
    with socket.create_connection((HOST, port), timeout=5) as stream:
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream.settimeout(60)
        while not over.is_set() and stream.recv(4096):
            pass


def trickles(port, over, kit):
    """a body of one byte a second"""
    with socket.create_connection((HOST, port), timeout=5) as stream:
        stream.sendall(head("/ask", 100_000) + form(b"", end=False))
        while not over.wait(1):
            stream.sendall(b"\0")


def deaf(port, over, kit):
    """pages that are asked for and not read"""
    with socket.create_connection((HOST, port), timeout=5) as stream:
        while not over.is_set():
            stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)


KINDS = [large_pictures, kept_pictures, slow_uploads, part_heads, questions, scans, tiny_pictures, idle, trickles, deaf]


def attack(port, kinds, connections, over, kit):
    rounds = {kind.__name__: 0 for kind in kinds}

    def attacker(kind):
        while not over.is_set():
            try:
                kind(port, over, kit)
            except (OSError, http.client.HTTPException):
                # Thrown out; it comes again.
                time.sleep(0.02)
            rounds[kind.__name__] += 1

    threads = [threading.Thread(target=attacker, args=[kinds[n % len(kinds)]], daemon=True) for n in range(connections)]
    for thread in threads:
        thread.start()
    return rounds


# Those who look, each a process of its own, so that attackers do not hold them up.

def watch_health(port, results):
    """Milliseconds that /healthz takes on a connection of its own, ten times a second."""
    while True:
        began = time.perf_counter()
        try:
            with socket.create_connection((HOST, port), timeout=30) as stream:
                stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                well = stream.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            well = False
        results.put(("health", time.time(), well, 1000 * (time.perf_counter() - began)))
        time.sleep(0.1)


def visit(port, results):
    """A decent visitor: puts in a picture, asks, and comes again after two seconds."""
    picture, visitor = photo(), secret()
    while True:
        began, well, conversation = time.perf_counter(), False, None
        try:
            status, answer = upload(port, picture, visitor)
            if status == 200:
                conversation = json.loads(answer)["id"]
                status, well = ask(port, conversation, visitor)
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        results.put(("visit", time.time(), well, 1000 * (time.perf_counter() - began), status))
        time.sleep(2)


def memory(pid):
    """Resident bytes, mapped files left out: those are the model's, and the system's to drop."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return sum(1024 * int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))


def bytes_of(text):
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9}
    return int(float(text[:-2]) * units[text[-2:].upper()])


def start(options, port):
    command = [options.binary, "serve", "--addr", f"{HOST}:{port}", "--max-picture-memory", options.memory]
    environment = {**os.environ, "GLIMPSE_LOG": "error"}
    server = subprocess.Popen(command + options.serve, env=environment, stdin=subprocess.DEVNULL)
    for _ in range(600):
        try:
            with socket.create_connection((HOST, port), timeout=1) as stream:
                stream.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if stream.recv(4096).startswith(b"HTTP/1.1 200"):
                    return server
        except OSError:
            pass
        time.sleep(0.1)
    server.kill()
    sys.exit("the server is not ready after a minute")


def phase(name, seconds, pid, results):
    """What was seen in so many seconds."""
    end, peak, seen = time.time() + seconds, 0, []
    while time.time() < end:
        peak = max(peak, memory(pid))
        time.sleep(0.02)
    while not results.empty():
        seen.append(results.get())
    health = [(well, ms) for kind, _, well, ms, *_ in seen if kind == "health"]
    visits = [(well, ms, status) for kind, _, well, ms, *status in seen if kind == "visit"]
    return {
        "phase": name,
        "memory": peak,
        "health": max((ms for _, ms in health), default=float("nan")),
        "healthy": sum(well for well, _ in health),
        "asked": len(health),
        "over100": sum(ms > 100 for _, ms in health),
        "answered": sum(well for well, *_ in visits),
        "visits": len(visits),
        "slowest": max((ms for _, ms, _ in visits), default=float("nan")),
        "statuses": sorted({str(status[0]) for well, _, status in visits if not well}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/glimpse")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--memory", default="512MB", help="the server's --max-picture-memory")
    parser.add_argument("--only", nargs="+", choices=[kind.__name__ for kind in KINDS], help="ways to attack")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="further arguments of the server")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if not options.only or kind.__name__ in options.only]

    port = free_port()
    kit = {"visitor": secret(), "large": flat(10_000, 9_999), "scans": many_scans(), "tiny": flat(8, 8)}
    server = start(options, port)
    results = multiprocessing.Queue()
    watchers = [multiprocessing.Process(target=watcher, args=(port, results), daemon=True) for watcher in (watch_health, visit)]
    try:
        kit["conversation"] = json.loads(upload(port, kit["tiny"], kit["visitor"])[1])["id"]
        for watcher in watchers:
            watcher.start()
        over = threading.Event()
        before = phase("before", 6, server.pid, results)
        rounds = attack(port, kinds, options.connections, over, kit)
        during = phase("during", options.seconds, server.pid, results)
        over.set()
        after = phase("after", 10, server.pid, results)
        alive = server.poll() is None
    finally:
        for watcher in watchers:
            watcher.kill()
        server.kill()

    print(f"{options.connections} connections for {options.seconds:.0f} s, budget {options.memory}, on {processor()}, {len(os.sched_getaffinity(0))} threads\n")
    print("| | memory at most, MB | /healthz at worst, ms | over 100 ms | visitors answered | the slowest, ms |")
    print("|---|---|---|---|---|---|")
    for row in (before, during, after):
        print("| {phase} | {0:.0f} | {health:.0f} | {over100} of {asked} | {answered} of {visits} | {slowest:.0f} |".format(row["memory"] / 1e6, **row))
    print("\n| attack | rounds |\n|---|---|")
    for kind in kinds:
        print(f"| {kind.__doc__} | {rounds[kind.__name__]} |")
    refused = during["statuses"] + after["statuses"]
    if refused:
        print("\nvisitors who were not answered got", ", ".join(refused))
    most = bytes_of(options.memory) + before["memory"] + ROOM
    faults = []
    if not alive:
        faults.append("the server is gone")
    if during["memory"] > most:
        faults.append(f"it held {during['memory'] / 1e6:.0f} MB, and {most / 1e6:.0f} were allowed")
    if during["answered"] < during["visits"]:
        faults.append("a decent visitor was not answered")
    if faults:
        sys.exit("; ".join(faults))


if __name__ == "__main__":
    main()
