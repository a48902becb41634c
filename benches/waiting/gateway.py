"""A gateway process in front of the upstream, and calls to it."""

import hashlib
import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

ROUTE = "people.lms.share-course"
PATH = "/people/api/v1/courses/588882000000289003/share"

# One at a time: 1,500 connections in one moment look like an attack to the system, and it resets some.
connecting = threading.Lock()


class Gateway:
    """Runs `program`. `route` has more fields of the one route that is called, `callers` weights by name."""

    def __init__(self, program, upstream, time_scale, folder, route="", callers={}):
        self.program, self.folder = program, folder
        self.port, self.admin = free_port(), free_port()
        self.file, self.log = folder / "gateway.toml", folder / "gateway.log"
        self.file.write_text(f"""
            proxy.listen = "127.0.0.1:{self.port}"
            proxy.drain = "{time_scale.span(30)}"
            admin.listen = "127.0.0.1:{self.admin}"
            queue.max_wait = "{time_scale.span(default_max_wait(program))}"
            state.dir = "{folder / 'state'}"
            state.when_empty = "fresh"

            [routes."{ROUTE}"]
            window = "{time_scale.span(60)}"
            lock = "{time_scale.span(300)}"
            {route}

            [accounts.main]
            client_id = "1000.ABC"
            client_secret = "secret"
            refresh_token = "1000.refresh"
            endpoints = {{ accounts = "{upstream.url}", people = "{upstream.url}", calendar = "{upstream.url}" }}
        """ + "".join(f"""
            [callers.{name}]
            key_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"
            accounts = ["main"]
            allow = ["people.lms.*"]
            weight = {weight}
        """ for name, weight in callers.items()))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def accepts_its_configuration(self):
        check = [self.program, "check", "--config", self.file]
        return subprocess.run(check, capture_output=True, timeout=60).returncode == 0

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen([self.program, "run", "--config", self.file], stdout=log, stderr=log)
        ends = time.monotonic() + 60
        while not self.is_ready():
            if self.child.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"the gateway does not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def is_ready(self):
        try:
            return send(self.admin, "GET", "/readyz").status == 200
        except OSError:
            return False

    def stop(self, how):
        self.child.send_signal(how)
        self.child.wait()


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    asked: float
    answered: float

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def retry_after(self):
        return int(self.headers.get("Retry-After", 0))


def share(port, number, prefer=None, caller=None):
    """Shares the course with one person. The key of a caller is its name."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if prefer:
        headers["Prefer"] = prefer
    if caller:
        headers["Authorization"] = f"Bearer {caller}"
    return send(port, "PUT", PATH, headers, urlencode({"erecnosList": f"[{number}]"}))


def send(port, method, target, headers={}, body=None):
    """Sends one request on a connection of its own. A target may be a URL; its host does not matter."""
    target = urlsplit(target)._replace(scheme="", netloc="").geturl()
    asked = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3700)
    try:
        with connecting:
            connection.connect()
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read(), asked, time.monotonic())
    finally:
        connection.close()


def together(calls):
    """Makes all calls at once, each in a thread, and returns their results; of one that fails, its error."""
    results = [None] * len(calls)

    def make(place, call):
        try:
            results[place] = call()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=make, args=each, daemon=True) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def default_max_wait(program):
    """Seconds, by the program's own schema, so that a run in scaled time scales the default too."""
    schema = json.loads(subprocess.run([program, "schema"], capture_output=True, check=True, timeout=60).stdout)
    default = schema["properties"]["queue"]["properties"]["max_wait"]["default"]
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    number = default.rstrip("msh")
    return float(number) * units[default[len(number) :]]
