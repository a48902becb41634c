"""How long a call takes that does not have to wait, with each kind of ledger.

    python3 benches/several/latency.py [ROUNDS]

One caller sends 300 calls to each gateway in turn. Beside each gateway with Redis an idle one holds half of the
slots. The second table has a call whose only slot is held by the other gateway, idle.
"""

import http.client
import statistics
import sys
import time

from processes import PATH, Gateway, Redis, Sandbox, fetch

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def send(port, calls):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        connection.request("GET", PATH)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, answer.status
    connection.close()
    return took


def pair(sandbox, requests, **settings):
    """Two gateways of one ledger; the first is called."""
    redis = Redis()
    gateways = [Gateway(sandbox, redis.url(), requests, "1s", **settings) for _ in range(2)]
    for gateway in gateways:
        send(gateway.port, 1)
        time.sleep(1.5)
    return gateways


def row(name, took):
    took = sorted(took)
    print(f"{name}: p50 {statistics.median(took):.2f} ms, p99 {took[len(took) * 99 // 100]:.2f} ms of {len(took)}")


sandbox = Sandbox("--requests", 1000000, "--window", "1s")
gateways = {
    "state.dir": Gateway(sandbox, None, 100000, "1s"),
    "state.dir and state.redis": pair(sandbox, 100000)[0],
    "state.redis, dir = \"none\"": pair(sandbox, 100000, with_dir=False)[0],
}
fetch(gateways["state.dir"].port, PATH)
took = {name: [] for name in gateways}
for _ in range(ROUNDS):
    for name, gateway in gateways.items():
        took[name] += send(gateway.port, 300)
for name, times in took.items():
    row(name, times)

one, other = pair(sandbox, 1, with_dir=False)
times = []
for _ in range(2 * ROUNDS):
    for gateway in (one, other):
        time.sleep(2.5)
        times += send(gateway.port, 1)
row("a slot that the other gateway holds", times)
