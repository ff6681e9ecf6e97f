"""What benchmarks share that start servers and ask them over HTTP."""

import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
EDGE = "edge"
# The header with the secret that says whose a conversation is.
VISITOR = "x-glimpse-visitor"
# Between two looks at a server that starts, in seconds.
LOOK = 0.002
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={EDGE}"}
JSON = {"Content-Type": "application/json"}


def about_processor(field):
    """What the system says of the first processor under that name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(field))
    except (OSError, StopIteration):
        return ""


def instruction_set():
    """What Glimpse multiplies with, as `GLIMPSE_ISA` names it."""
    can = set(about_processor("flags").split())
    levels = {"amx-bf16": {"amx_bf16"}, "avx512-bf16": {"avx512_bf16", "avx512vbmi"}, "avx512": {"avx512f"}, "avx2": {"avx2"}}
    best = next((level for level, flags in levels.items() if flags <= can), platform.machine())
    return os.environ.get("GLIMPSE_ISA") or best


def processor():
    """Name of the processor, and what it multiplies with: two of one name may differ in it."""
    name = about_processor("model name") or platform.processor() or platform.machine()
    return f"{name} with {instruction_set()}"


def secret():
    """What a page makes for its visitor."""
    return os.urandom(16).hex()


def form(file, end=True, field="picture"):
    """The body of an upload, as multipart/form-data between `EDGE`s."""
    head = f'--{EDGE}\r\nContent-Disposition: form-data; name="{field}"; filename="p"\r\n\r\n'
    return head.encode() + file + (f"\r\n--{EDGE}--\r\n".encode() if end else b"")


def free_port():
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


class Server:
    """A server of our own, from its start until `with` is left.

    `port` is where the command has it listen, `ready` the path that answers 200 once it serves;
    `opened` and `served` are the seconds until the port was open and until it was ready.
    """

    def __init__(self, command, port, ready, log, environment=None, patience=300):
        self.port = port
        self.log = Path(log)
        began = time.perf_counter()
        with self.log.open("w") as said:
            command = [str(part) for part in command]
            environment = {**os.environ, **(environment or {})}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
        try:
            self.opened = self.wait(self.is_open, began, patience)
            self.served = self.wait(lambda: self.answers(ready), began, patience)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait(self, is_so, began, patience):
        """Seconds since the beginning when something was so for the first time."""
        while not is_so():
            if self.process.poll() is not None or time.perf_counter() > began + patience:
                sys.exit(f"{self.process.args[0]} does not serve. It said: {self.log.read_text()}")
            time.sleep(LOOK)
        return time.perf_counter() - began

    def is_open(self):
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def answers(self, path):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def peak_memory(self):
        """Megabytes that were resident at most, mapped files included."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1e3

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Refused(Exception):
    """A server that does not answer as it should."""


# Seconds for which a connection is kept: less long than servers keep one that is silent.
KEEP = 4


class Visitor:
    """Somebody with a connection that is kept for a while."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection(HOST, port, timeout=120)
        self.secret = secret()
        self.latest = time.monotonic()

    def call(self, method, path, body=None, headers=None):
        """The response, its body yet to be read."""
        if time.monotonic() - self.latest > KEEP:
            # It connects again.
            self.connection.close()
        self.latest = time.monotonic()
        self.connection.request(method, path, body, {VISITOR: self.secret, **(headers or {})})
        response = self.connection.getresponse()
        if response.status != 200:
            raise Refused(f"{path}: {response.status} {response.read().decode(errors='replace')}")
        return response


class GlimpseVisitor(Visitor):
    """Makes the calls of Glimpse's page."""

    def __init__(self, port, tokens):
        super().__init__(port)
        self.settings = {"min_new_tokens": tokens, "max_new_tokens": tokens}

    def put_in(self, file):
        return json.load(self.call("POST", "/api/page/upload", form(file), MULTIPART))["id"]

    def ask(self, conversation, question):
        """The answer so far, again and again as it grows."""
        request = {"conversation": conversation, "question": question, **self.settings}
        text, event = "", {}
        for line in self.call("POST", "/api/page/ask", json.dumps({"request": request}), JSON):
            event = json.loads(line)
            if event["event"] == "token":
                text += event["text"]
                yield text
        if event.get("event") != "done":
            raise Refused(f"an answer ended with {event}")


def glimpse_server(program, scratch, visitors, *more):
    """A server of Glimpse whose limits for strangers do not hold a crowd of one address up."""
    port = free_port()
    most = str(10**6)
    command = [program, "serve", "--addr", f"{HOST}:{port}", "--data", tempfile.mkdtemp(dir=scratch)]
    command += ["--max-questions-per-minute", most, "--max-conversations", most, "--max-conversations-per-visitor", most]
    command += ["--max-waiting", 4 * visitors, "--max-waiting-per-visitor", visitors, *more]
    return Server(command, port, "/readyz", scratch / "glimpse.log")
