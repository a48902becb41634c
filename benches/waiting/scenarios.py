"""The scenarios. Each returns what it saw as one line; its name and its aim are in `SCENARIOS`.

Spans in the code and in the results are those of real time. In scaled time, all of them are shorter by one factor.
"""

import math
import signal
import statistics
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from gateway import PATH, Answer, Gateway, send, share, together
from upstream import REQUESTS, Upstream

WINDOW = 60
# How long the upstream takes to answer.
DELAY = 0.2
FIRST = 588882000000000000


class TimeScale:
    """How many times faster than in reality all spans pass."""

    def __init__(self, factor):
        self.factor = factor

    def span(self, seconds):
        """For the configuration."""
        return f"{round(seconds * 1000 / self.factor)}ms"

    def wait(self, seconds):
        """For a request, in whole seconds."""
        return f"wait={max(1, round(seconds / self.factor))}"

    def sleep(self, seconds):
        time.sleep(max(0, seconds) / self.factor)

    def real(self, span):
        return span * self.factor


@dataclass
class Run:
    """What a scenario works with, and what it leaves for the picture."""

    program: str
    time: TimeScale
    folder: Path
    upstream: Upstream = None
    picture: dict = field(default_factory=dict)

    def gateway(self, unknown=(), **settings):
        scale = self.time.factor
        self.upstream = Upstream(WINDOW / scale, 5 * WINDOW / scale, DELAY / scale, unknown)
        return Gateway(self.program, self.upstream, self.time, self.folder, **settings)

    def since(self, begin, end=None):
        return self.time.real((end or time.monotonic()) - begin)


# One caller


def loop(run):
    """A plain loop of 40 calls."""
    with run.gateway() as gateway:
        begin = time.monotonic()
        answers = [share(gateway.port, FIRST + number) for number in range(40)]
        return f"{statuses(answers)} in {run.since(begin):.0f} s"


def pool(run):
    return thread_pool(run, {})


def impatient_pool(run):
    return thread_pool(run, {"Prefer": "wait=0"})


def thread_pool(run, headers):
    """A pool of 20 that sends 300 plain requests."""
    with run.gateway() as gateway:
        url = f"http://127.0.0.1:{gateway.port}{PATH}"
        call = lambda number: put(requests, url, FIRST + number, headers)
        begin, numbers = time.monotonic(), iter(range(300))
        threads = together([lambda: [call(number) for number in numbers]] * 20)
        answers, seconds = [answer for answers in threads for answer in answers], run.since(begin)
    text = f"{succeeded(answers)} x 200, {refused(answers)} x 429 in {seconds:.0f} s"
    times = [run.time.real(int(answer.headers["Retry-After"])) for answer in answers if answer.status_code == 429]
    return text + (f"; Retry-After {spread(times)}" if times else "")


def spread(times):
    return f"{min(times):.0f} to {max(times):.0f} s, {len(set(times))} different"


# A batch and a portal


def lone_batch(run):
    with run.gateway() as gateway:
        begin = time.monotonic()
        answers = batch(run, gateway)
        return f"{succeeded(answers)} of 300 in {run.since(begin):.0f} s"


def batch_then_portal(run):
    """The portal comes when the batch has used the whole first window."""
    return batch_and_portal(run, portal_before=-2.5)


def portal_then_batch(run):
    return batch_and_portal(run, portal_before=1.5 * WINDOW)


def batch_and_portal(run, portal_before):
    with run.gateway(callers={"batch": 1, "portal": 10}) as gateway:
        begin = time.monotonic() + max(0, portal_before) / run.time.factor
        portal = Portal(run, gateway, begin - portal_before / run.time.factor)
        run.time.sleep(portal_before)
        answers = batch(run, gateway, "batch")
        portal.end()
    arrivals = [(run.since(begin, at), is_portals(numbers)) for at, numbers in run.upstream.arrivals if at >= begin]
    end = max(at for at, portals in arrivals if not portals)
    used = sum(portals for at, portals in arrivals if at < end)
    # The last of so many calls cannot arrive earlier.
    necessary = (len(answers) + used - 1) // REQUESTS * WINDOW
    calls = [(run.since(begin, call.asked), run.since(begin, call.answered)) for call in portal.served()]
    run.picture = {
        "batch": [round(at, 1) for at, portals in arrivals if not portals],
        "portal": [(round(first, 1), round(last, 1)) for first, last in calls if first >= 0],
    }
    during = lambda begins, ends: [last - first for first, last in calls if begins <= first < ends]
    text = f"portal waits {percentiles(during(WINDOW, end))}"
    text += f", in the first minute up to {max(during(0, WINDOW), default=math.nan):.1f} s"
    text += f", {portal.refused()} x 429" if portal.refused() else ""
    return (
        f"{text}; batch {succeeded(answers)} of 300 in {end:.0f} s, {used} calls of the portal make {necessary} s "
        f"necessary ({end / necessary - 1:+.0%})"
    )


class Portal:
    """Calls every 5 s from `begin` on, each call in a thread, because people do not wait for each other."""

    def __init__(self, run, gateway, begin):
        self.run, self.gateway, self.begin = run, gateway, begin
        self.answers, self.ended = [], threading.Event()
        self.clock = threading.Thread(target=self.tick, daemon=True)
        self.clock.start()

    def tick(self):
        calls = 0
        while not self.ended.wait(max(0, self.begin + calls * 5 / self.run.time.factor - time.monotonic())):
            threading.Thread(target=self.call, args=(calls,), daemon=True).start()
            calls += 1

    def call(self, number):
        prefer = self.run.time.wait(WINDOW)
        try:
            self.answers.append(share(self.gateway.port, 2 * FIRST + number, prefer, "portal"))
        except (OSError, HTTPException):
            if not self.ended.is_set():
                raise

    def end(self):
        self.ended.set()
        self.clock.join()

    def served(self):
        return sorted((answer for answer in self.answers if answer.status == 200), key=lambda answer: answer.asked)

    def refused(self):
        return sum(answer.status == 429 for answer in self.answers)


def is_portals(numbers):
    return all(int(number) >= 2 * FIRST for number in numbers)


def batch(run, gateway, caller=None):
    """300 patient calls at once."""
    return together([lambda number=number: patient(run, gateway, FIRST + number, caller) for number in range(300)])


def patient(run, gateway, number, caller):
    """A call that waits for 15 minutes. Next to a portal the batch needs more, so it comes back when it is told to."""
    for _ in range(20):
        answer = share(gateway.port, number, run.time.wait(900), caller)
        if answer.status != 429:
            break
        time.sleep(answer.retry_after())
    return answer


# Clients that repeat


def retries(run, headers, different=True, keys={}):
    """30 clients with 10 calls each, all at once: ten times the allowance."""
    with run.gateway(callers=keys) as gateway:
        url = f"http://127.0.0.1:{gateway.port}{PATH}"
        begin, clients = time.monotonic(), [retrying(key) for key in keys or [None] * 30]
        calls = range(10 * len(clients))
        answers = together(
            [lambda call=call: put(clients[call % 30], url, FIRST + different * call, headers) for call in calls]
        )
        seconds = run.since(begin)
    tries = [len(answer.raw.retries.history) for answer in answers if isinstance(answer, requests.Response)]
    optimum = (len(answers) - 1) // REQUESTS * WINDOW
    ratio = f" ({seconds / optimum:.2f} of the optimum)" if succeeded(answers) == len(answers) else ""
    text = f"{succeeded(answers)} of {len(answers)} in {seconds:.0f} s{ratio}"
    return f"{text}, at most {max(tries, default=0)} repetitions"


def retrying(key):
    """A session as its author would write it."""
    session = requests.Session()
    session.headers.update({"Authorization": f"Bearer {key}"} if key else {})
    session.mount("http://", HTTPAdapter(max_retries=Retry(total=5, status_forcelist=[429, 503])))
    return session


def put(client, url, number, headers):
    return client.put(url, data={"erecnosList": f"[{number}]"}, headers=headers, timeout=3700)


def impatient_equal(run):
    return retries(run, {"Prefer": "wait=0"}, different=False)


def impatient_different(run):
    return retries(run, {"Prefer": "wait=0"})


def impatient_callers(run):
    return retries(run, {"Prefer": "wait=0"}, keys={f"client-{number}": 1 for number in range(30)})


def plain_equal(run):
    return retries(run, {}, different=False)


def plain_different(run):
    return retries(run, {})


# A restart


def terminated(run):
    return restart(run, signal.SIGTERM)


def killed(run):
    return restart(run, signal.SIGKILL)


def restart(run, how):
    """20 calls wait for a slot when the gateway ends; it starts again at once."""
    with run.gateway() as gateway:
        together([lambda number=number: share(gateway.port, FIRST + number) for number in range(REQUESTS)])
        numbers = [2 * FIRST + number for number in range(20)]
        calls = [lambda number=number: job(run, gateway, number) for number in numbers]
        *ends, started = together([*calls, lambda: stop_and_start(run, gateway, how)])
        if started is not True:
            raise started
    executed = [sum(str(number) in names for _, names in run.upstream.arrivals) for number in numbers]
    counts = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    return f"{counts}; sent once: {executed.count(1)}, more often: {sum(count > 1 for count in executed)}"


def stop_and_start(run, gateway, how):
    run.time.sleep(10)
    gateway.stop(how)
    gateway.start()
    return True


def job(run, gateway, number):
    """How a call ends that is a job, or, where the gateway has none, one that waits."""
    try:
        answer = share(gateway.port, number, "respond-async")
        if answer.status == 429:
            answer = share(gateway.port, number, run.time.wait(900))
    except OSError:
        return "lost"
    if answer.status != 202:
        return "done" if answers_for(answer, number) else "refused"
    return follow(run, gateway, answer.headers["Location"], number)


def follow(run, gateway, location, number):
    """Asks for a job until it is over, for five minutes at most."""
    begin, state = time.monotonic(), "lost"
    while run.since(begin) < 5 * WINDOW:
        run.time.sleep(2)
        try:
            state = send(gateway.port, "GET", location).json().get("state", "lost")
            if state == "done":
                answer = send(gateway.port, "GET", f"{location}/answer")
                return "done" if answers_for(answer, number) else "done with a wrong answer"
        except OSError:
            continue
        if state in ("failed", "unknown"):
            return state
    return f"still {state}"


# Shares that travel together


def merged(run):
    """1,500 calls of three callers at once, each with one person."""
    people, callers = range(FIRST, FIRST + 1500), ["one", "two", "three"]
    unknown = {str(FIRST + 700), str(FIRST + 1300)}
    settings = {"unknown": unknown, "callers": dict.fromkeys(callers, 1)}
    gateway = run.gateway(route='merge = { parameter = "erecnosList", max = 50 }', **settings)
    note = ""
    if not gateway.accepts_its_configuration():
        gateway, note = run.gateway(**settings), "no `merge`; "
    with gateway:
        prefer, begin = run.time.wait(3600), time.monotonic()
        calls = [lambda number=number: share(gateway.port, number, prefer, callers[number % 3]) for number in people]
        answers, seconds = together(calls), run.since(begin)
    shared = len(set(run.upstream.shared))
    others = {str(number): answer for number, answer in zip(people, answers) if not answers_for(answer, number)}
    whose = "the unknown" if others.keys() == unknown else "not only the unknown"
    return (
        f"{note}{len(answers) - len(others)} right answers, {statuses(others.values()) or 'no refusals'} ({whose}) in "
        f"{seconds:.0f} s ({seconds / WINDOW:.1f} windows); {len(run.upstream.arrivals)} calls to Zoho, "
        f"{shared} people have the course"
    )


def answers_for(answer, number):
    """Whether this is Zoho's answer for this person alone."""
    if not isinstance(answer, Answer) or answer.status != 200:
        return False
    return [user["erecno"] for user in answer.json().get("sharedUsers", [])] == [str(number)]


# What answers say


def status(answer):
    return getattr(answer, "status", getattr(answer, "status_code", type(answer).__name__))


def succeeded(answers):
    return sum(status(answer) == 200 for answer in answers)


def refused(answers):
    return sum(status(answer) == 429 for answer in answers)


def statuses(answers):
    found = [status(answer) for answer in answers]
    return ", ".join(f"{found.count(each)} x {each}" for each in sorted(set(found), key=str))


def percentiles(waits):
    if len(waits) < 2:
        return "none"
    p50, p95 = statistics.median(waits), statistics.quantiles(waits, n=20, method="inclusive")[-1]
    return f"p50 {p50:.1f}, p95 {p95:.1f}, max {max(waits):.1f} s"


# The function, what it is, what the gateway should reach, and the seconds after which it is given up.
SCENARIOS = {
    function.__name__: (function, what, aim, bound)
    for function, what, aim, bound in (
        (loop, "a plain loop of 40 calls", "40 x 200", 300),
        (pool, "a pool of 20, 300 plain calls", "no 429", 900),
        (impatient_pool, "the same with `wait=0`", "Retry-After differs", 300),
        (lone_batch, "a batch of 300 alone", "540 s", 900),
        (batch_then_portal, "the batch, then a portal", "p95 3 s, max 6 s; at most +12 %", 1800),
        (portal_then_batch, "the portal, then the batch", "the same", 1800),
        (impatient_equal, "30 clients with `Retry`, 300 equal calls, `wait=0`", "300, at most 1.15", 1500),
        (impatient_different, "the same, different calls", "300, at most 1.15", 1500),
        (impatient_callers, "the same, each client with its own key", "300, at most 1.15", 1500),
        (plain_equal, "the same, equal calls, no header", "300, at most 1.15", 1500),
        (plain_different, "the same, different calls, no header", "300, at most 1.15", 1500),
        (terminated, "SIGTERM with 20 jobs", "20 done", 600),
        (killed, "kill -9 with 20 jobs", "20 done", 600),
        (merged, "1,500 single shares, 2 unknown people", "1,498 and 2 in 2 windows", 3600),
    )
}
