"""A small, strict upstream: Zoho's accounts server and the share of a course.

It counts arrivals in exact sliding windows, locks after one too many, and answers in Zoho's shape. It shares no code
with the gateway or its sandbox.
"""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

REQUESTS = 30
TOKEN = {
    "access_token": "1000.token",
    "scope": "ZOHOPEOPLE.training.ALL",
    "api_domain": "https://www.zohoapis.com",
    "token_type": "Bearer",
    "expires_in": 3600,
}


class Upstream:
    """Listens on a free port. `unknown` are the numbers of people whom it does not know."""

    def __init__(self, window, lock, delay=0, unknown=()):
        self.window, self.lock, self.delay, self.unknown = window, lock, delay, set(unknown)
        # When each call arrived, and the numbers that it names.
        self.arrivals = []
        self.most, self.in_lock, self.shared = 0, 0, []
        self.recent, self.locked_until, self.mutex = deque(), 0, threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.upstream = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def share(self, numbers):
        """The status and the body for a call that arrives now."""
        with self.mutex:
            if self.is_refused(numbers):
                return 429, refusal(7209, "API access blocked since threshold limit exceeded")
            if not numbers or self.unknown.intersection(numbers):
                return 400, refusal(7204, "Invalid parameter value/input parameter missing")
            self.shared += numbers
        return 200, {"sharedUsers": [user(number) for number in numbers], "code": "200", "message": "success"}

    def is_refused(self, numbers):
        """Counts the arrival. A call that is refused counts like any other."""
        now = time.monotonic()
        self.arrivals.append((now, numbers))
        self.recent.append(now)
        while now - self.recent[0] >= self.window:
            self.recent.popleft()
        self.most = max(self.most, len(self.recent))
        if now < self.locked_until:
            self.in_lock += 1
            return True
        if len(self.recent) > REQUESTS:
            self.locked_until = now + self.lock
            return True
        return False


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """A gateway that is killed resets its connections."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together; otherwise the body waits for an acknowledgement of the head.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        self.parameters()
        self.answer(200, TOKEN)

    def do_PUT(self):
        upstream = self.server.upstream
        try:
            numbers = [str(number) for number in json.loads(self.parameters()["erecnosList"][0])]
        except (KeyError, ValueError, TypeError):
            numbers = []
        status, body = upstream.share(numbers)
        time.sleep(upstream.delay)
        self.answer(status, body)

    def parameters(self):
        """Those of the query and of the form."""
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        return parse_qs(urlsplit(self.path).query) | parse_qs(form)

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def refusal(code, message):
    return {"response": {"message": "Error occurred", "errors": {"code": code, "message": message}, "status": 1}}


def user(number):
    return {"erecno": number, "displayName": f"Employee {number}", "emailId": f"employee-{number}@example.com"}
