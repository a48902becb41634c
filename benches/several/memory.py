"""The memory of many accounts and routes, in the gateway and on Redis, and what idle accounts cost there.

    python3 benches/several/memory.py [ACCOUNTS]

Each of 50 routes is called once on each account, through a gateway without Redis and through two with it, one after
the other. Then nobody calls any more.
"""

import http.client
import os
import sys
import time
from pathlib import Path

from processes import EXTRA_ROUTES, ROUTES, Gateway, Redis, Sandbox

ACCOUNTS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
NAMES = [f"a{n}" for n in range(ACCOUNTS)]
MIB = 1024 * 1024


def start(redis=None):
    sandbox = Sandbox("--requests", 1000000, "--window", "1m", "--lenient")
    return Gateway(sandbox, redis and redis.url(), more=EXTRA_ROUTES, accounts=NAMES)


def call_all(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    for name in NAMES:
        for route in range(ROUTES):
            connection.request("GET", f"/people/api/bench/{route}", headers={"gateway-account": name})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
    connection.close()


def processor(child):
    fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def per_thousand(size):
    return f"{size * 1000 / ACCOUNTS / MIB:.0f} MiB per 1,000 accounts x {ROUTES} routes"


def fill(gateway, name):
    """Returns its memory before."""
    time.sleep(5)
    before = gateway.memory()
    call_all(gateway)
    time.sleep(15)
    after = gateway.memory()
    print(f"{name}: {before / MIB:.0f} MiB, then {after / MIB:.0f} MiB: {per_thousand(after - before)}", flush=True)


def idle(redis, gateways):
    """What heartbeats cost while nobody calls."""
    seconds = 20
    (scripts, microseconds), server = redis.scripts(), processor(redis.child)
    own = [processor(gateway.child) for gateway in gateways]
    time.sleep(seconds)
    ran, took = redis.scripts()[0] - scripts, redis.scripts()[1] - microseconds
    busy = [(processor(gateway.child) - before) / seconds for gateway, before in zip(gateways, own)]
    print(f"  idle: {ran / seconds:.0f} scripts a second of {took / max(ran, 1):.0f} us each; processor time of Redis "
          f"{(processor(redis.child) - server) / seconds:.1%}, of the gateways {', '.join(f'{part:.1%}' for part in busy)}")
    used = sum(int(redis.command("MEMORY", "USAGE", key)) for key in redis.command("KEYS", "*:ledger").split())
    print(f"  on Redis: records {used / MIB:.2f} MiB: {per_thousand(used)}", flush=True)


fill(start(), "state.dir alone")
redis = Redis("--appendonly", "no")
gateways = []
for name in ("with Redis, the first", "with Redis, the second"):
    gateways.append(start(redis))
    fill(gateways[-1], name)
    idle(redis, gateways)
