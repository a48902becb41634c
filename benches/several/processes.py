"""The processes of a measurement: redis-server, the sandbox, gateways, and callers.

They listen on free ports, keep their files in one temporary folder, and end with the measurement. `ZOHO_GATEWAY`
names the program; the default is `target/release/zoho-gateway`.
"""

import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

PROGRAM = os.environ.get("ZOHO_GATEWAY", "target/release/zoho-gateway")
ROUTE = "people.lms.get-shared-users"
PATH = "/people/api/v1/courses/588882000000289003/share"

# Fifty more routes, for measurements that need many.
ROUTES = 50
EXTRA_ROUTES = "\n".join(
    f'[[extra_routes]]\nid = "people.bench.get-{n}"\npath = "/api/bench/{n}"\nrequests = 30' for n in range(ROUTES)
)

folder = Path(tempfile.mkdtemp(prefix="several-"))
children = []


def end_all():
    while children:
        child = children.pop()
        child.kill()
        child.wait()


@atexit.register
def leave():
    end_all()
    shutil.rmtree(folder, ignore_errors=True)


def spawn(*arguments, log="log"):
    with open(folder / log, "ab") as output:
        child = subprocess.Popen([str(argument) for argument in arguments], stdout=output, stderr=output)
    children.append(child)
    return child


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, what, seconds=300):
    """Waits, and returns how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(what)
        time.sleep(0.02)
    return time.monotonic() - began


def fetch(port, path, method="GET", headers={}):
    """The status and the body, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3700)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Redis:
    """A server; each write is on the disk before it is answered."""

    def __init__(self, *options):
        self.port, self.options = free_port(), options
        self.start()

    def start(self):
        self.data = folder / f"redis-{self.port}"
        self.data.mkdir(exist_ok=True)
        self.child = spawn(
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.data, "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0", *self.options,
            log="redis.log",
        )
        until(lambda: self.answers(), "redis-server answers")

    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def answers(self):
        return "PONG" in self.command("PING")

    def command(self, *arguments):
        output = subprocess.run(
            ["redis-cli", "-p", str(self.port), *map(str, arguments)], capture_output=True, text=True
        )
        return output.stdout.strip()

    def info(self, section):
        lines = self.command("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def scripts(self):
        """How many scripts have run, and how many microseconds they took."""
        stats = self.info("commandstats").get("cmdstat_evalsha", "calls=0,usec=0")
        fields = dict(field.split("=") for field in stats.split(","))
        return int(fields["calls"]), int(fields["usec"])

    def kill(self, empty=False):
        self.child.kill()
        self.child.wait()
        if empty:
            shutil.rmtree(self.data)


class Sandbox:
    """The strict upstream."""

    def __init__(self, *options):
        self.port = free_port()
        spawn(PROGRAM, "sandbox", "--listen", f"127.0.0.1:{self.port}", "--token-requests", 100000, *options)
        until(self.answers, "the sandbox answers")

    def answers(self):
        try:
            return self.stats() is not None
        except OSError:
            return False

    def stats(self):
        return json.loads(fetch(self.port, "/__sandbox/stats")[1])

    def tally(self):
        """What was counted for the one API that a measurement calls."""
        apis = list(self.stats()["apis"].values())
        return apis[0] if apis else {"accepted": 0, "locks": 0, "most_in_any_window": 0}

    def accepted(self):
        return self.tally()["accepted"]

    def arrivals(self):
        """When the last 5,000 calls arrived, in seconds since the sandbox's start."""
        return [call["at_ms"] / 1000 for call in json.loads(fetch(self.port, "/__sandbox/requests")[1])]


class Gateway:
    """A gateway with the account `main`, or with the accounts of these names."""

    count = 0

    def __init__(self, sandbox, redis=None, requests=30, window="2s", with_dir=True, state="", more="", accounts=("main",)):
        Gateway.count += 1
        self.name = f"gateway-{Gateway.count}"
        self.port, self.admin = free_port(), free_port()
        url = f"http://127.0.0.1:{sandbox.port}"
        text = f"""
            proxy.listen = "127.0.0.1:{self.port}"
            admin.listen = "127.0.0.1:{self.admin}"
            queue.max_wait = "1h"
            routes."{ROUTE}" = {{ requests = {requests}, window = "{window}", lock = "60s" }}
            {more}
            [state]
            dir = "{folder / self.name if with_dir else "none"}"
            {f'redis = "{redis}"' if redis else ""}
            when_empty = "fresh"
            {state}
        """
        for name in accounts:
            login = "1000.sandbox-refresh-token" if name == "main" else f"1000.sandbox.{name}"
            text += f"""
            [accounts.{name}]
            client_id = "1000.SANDBOX"
            client_secret = "sandbox-client-secret"
            refresh_token = "{login}"
            endpoints = {{ accounts = "{url}", people = "{url}", calendar = "{url}" }}
            """
        self.file = folder / f"{self.name}.toml"
        self.file.write_text(text)
        self.start()

    def start(self):
        self.child = spawn(PROGRAM, "run", "--config", self.file, log=f"{self.name}.log")
        until(self.is_ready, f"{self.name} is ready: {folder / self.name}.log", 30)

    def is_ready(self):
        if self.child.poll() is not None:
            raise RuntimeError((folder / f"{self.name}.log").read_text())
        try:
            return fetch(self.admin, "/readyz")[0] == 200
        except OSError:
            return False

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()

    def memory(self):
        """Its own memory in bytes (RssAnon)."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024


class Load:
    """Callers of a gateway, each of which sends one call after another; notes how long each answer took."""

    def __init__(self, gateway, callers):
        self.took, self.failures, self.ended = [], 0, False
        for _ in range(callers):
            threading.Thread(target=self.call, args=(gateway.port,), daemon=True).start()

    def call(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3700)
        while not self.ended:
            began = time.monotonic()
            try:
                connection.request("GET", PATH)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.took.append(time.monotonic() - began)
                    continue
            except (OSError, http.client.HTTPException):
                connection.close()
            self.failures += 1
            time.sleep(1)
