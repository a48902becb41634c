"""How long it takes until three gateways use the whole threshold again.

    python3 benches/several/recovery.py [NAME ...]

30 calls in 2 s, 24 callers on each gateway, lease and timeout as they are by default. For each event it prints the
longest time without any arrival, how many slots no live gateway could use after 10 s (`/status` shows them), when
that was over, and what share of the allowance was used until then and afterwards.
"""

import json
import signal
import sys
import threading
import time
from contextlib import contextmanager

from processes import ROUTE, Gateway, Load, Redis, Sandbox, end_all, fetch, folder, free_port, spawn, until

REQUESTS, WINDOW = 30, 2


class Measurement:
    """Three gateways under load."""

    def __init__(self, redis=None, url=None, with_dir=True, state=""):
        self.redis = redis or Redis()
        self.sandbox = Sandbox("--requests", REQUESTS, "--window", f"{WINDOW}s", "--lock", "60s", "--delay", "20ms")
        url = url or self.redis.url()
        self.gateways = [
            Gateway(self.sandbox, url, REQUESTS, f"{WINDOW}s", with_dir=with_dir, state=state) for _ in range(3)
        ]
        self.loads = [Load(gateway, 24) for gateway in self.gateways]
        until(lambda: self.sandbox.accepted() >= 4 * REQUESTS, "four windows are used")
        time.sleep(2)

    @contextmanager
    def event(self, name, seconds=100):
        """Runs the block, and reports what happens from its begin until so long after its end."""
        began, event, withheld = time.monotonic(), self.sandbox.arrivals()[-1], []
        over = threading.Event()
        watch = threading.Thread(target=self.watch, args=(began, withheld, over))
        watch.start()
        yield
        time.sleep(seconds)
        over.set()
        watch.join()
        arrivals = [at - event for at in self.sandbox.arrivals() if at >= event]
        gaps = [(second - first, second) for first, second in zip(arrivals, arrivals[1:])]
        longest, resumed = max(gaps)
        # Right after the event, the record is behind.
        later = next(slots for at, slots in withheld if at > 10)
        full = max([at for at, slots in withheld if slots > 0] + [resumed if longest > 1.2 * WINDOW else 0])
        share = lambda begin, end: sum(begin < at <= end for at in arrivals) * WINDOW / REQUESTS / (end - begin)
        before = f", {share(0, full):.0%} used until then" if full > WINDOW else ""
        tally = self.sandbox.tally()
        print(f"{name}: longest gap {longest:.1f} s; {later} slots withheld after 10 s; whole threshold after {full:.1f} s"
              f"{before}, {share(full, arrivals[-1]):.0%} afterwards; failed calls "
              f"{[load.failures for load in self.loads]}; {tally['most_in_any_window']} most in any window, "
              f"{tally['locks']} locks", flush=True)

    def watch(self, began, withheld, over):
        """Notes how many slots of the route no live gateway may use, by the record."""
        of_route = lambda entries, key: sum(entry[key] for entry in entries if entry["limit"] == ROUTE)
        while not over.wait(0.3):
            try:
                record = json.loads(fetch(self.gateways[0].admin, "/status")[1])["shared"][0]["record"]
            except OSError:
                continue
            if record is None:
                continue
            silent = [member["holds"] for member in record["members"] if member["state"] != "live"]
            slots = of_route(record["shut"], "slots") + sum(of_route(holds, "held") for holds in silent)
            withheld.append((time.monotonic() - began, slots))


def killed():
    run = Measurement(with_dir=False)
    with run.event("kill -9 of one of three, not restarted"):
        run.gateways[2].kill()


def restarted():
    run = Measurement(with_dir=False)
    with run.event('kill -9 of one of three, restarted at once, dir = "none"'):
        run.gateways[2].kill()
        run.gateways[2].start()


def restarted_with_dir():
    run = Measurement()
    with run.event("kill -9 of one of three, restarted at once with its dir", 40):
        run.gateways[2].kill()
        run.gateways[2].start()


def stopped():
    run = Measurement()
    with run.event("clean stop of one of three", 30):
        run.gateways[2].stop()


def redis_with_data():
    run = Measurement()
    with run.event("Redis killed and restarted with its data"):
        run.redis.kill()
        run.redis.start()


def redis_empty():
    run = Measurement()
    with run.event("Redis killed and restarted empty"):
        run.redis.kill(empty=True)
        run.redis.start()


def redis_frozen():
    run = Measurement()
    with run.event("Redis frozen for 20 s", 40):
        run.redis.child.send_signal(signal.SIGSTOP)
        time.sleep(20)
        run.redis.child.send_signal(signal.SIGCONT)


def sentinel():
    """A master with two replicas; three Sentinels notice after a second that it is away."""
    master = Redis()
    replicas = [Redis("--replicaof", f"127.0.0.1 {master.port}") for _ in range(2)]
    until(lambda: master.command("INFO", "replication").count("state=online") == 2, "the replicas are connected")
    ports = [free_port() for _ in range(3)]
    for port in ports:
        place = folder / f"sentinel-{port}"
        place.mkdir()
        (place / "conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {place}\nsentinel monitor main 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 6000\n"
        )
        spawn("redis-server", place / "conf", "--sentinel", log="sentinel.log")
    time.sleep(12)
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    run = Measurement(master, f"redis-sentinel://{addresses}/main", state="replicas = 2")
    with run.event("the master is killed, Sentinel's down-after is 1 s"):
        master.kill()
    assert any(replica.command("ROLE").startswith("master") for replica in replicas)


MEASUREMENTS = {
    function.__name__: function
    for function in (
        killed, restarted, restarted_with_dir, stopped, redis_with_data, redis_empty, redis_frozen, sentinel
    )
}

for name in sys.argv[1:] or MEASUREMENTS:
    MEASUREMENTS[name]()
    end_all()
