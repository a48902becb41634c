"""How many exchanges a second one core of Redis carries, and how large a record is.

    python3 benches/several/script.py

Real gateways write the record. Then the last request of each, as MONITOR shows it, is repeated with growing numbers
on a copy of that record. The rate is per second of the server's CPU time, so other programs on the machine change it
little. The server stores nothing on disk.
"""

import json
import socket
import subprocess
import time

from processes import EXTRA_ROUTES, ROUTES, Gateway, Redis, Sandbox, fetch

SECONDS = 4


def requests(redis):
    """The last heartbeat of each member, and the hash of the script."""
    monitor = subprocess.run(
        ["timeout", "2.5", "redis-cli", "-p", str(redis.port), "MONITOR"], capture_output=True, text=True
    )
    found = {}
    for line in monitor.stdout.splitlines():
        words = line.split('" "')
        if "evalsha" not in words[0].lower():
            continue
        request = json.loads(words[4].replace('\\"', '"'))
        if request["op"] == "exchange" and request["deal"]:
            found[request["member"]] = request
            script, key, channel = words[1], words[3], words[5].rstrip('"')
    return list(found.values()), script, key, channel


def encode(*arguments):
    parts = [str(argument).encode() for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def repeat(redis, found, script, key, channel):
    """Exchanges per second of CPU time."""
    connection = socket.create_connection(("127.0.0.1", redis.port))
    replies = connection.makefile("rb")
    cpu = lambda: sum(float(redis.info("cpu")[name]) for name in ("used_cpu_user_main_thread", "used_cpu_sys_main_thread"))
    done, before, began = 0, cpu(), time.monotonic()
    while time.monotonic() - began < SECONDS:
        for request in found:
            request["number"] += 1000
        connection.sendall(b"".join(encode("EVALSHA", script, 1, key, json.dumps(one), channel) for one in found))
        for _ in found:
            length = int(replies.readline()[1:])
            reply = replies.read(length + 2)
            assert b'"status":"ok"' in reply, reply
            done += 1
    return done / (cpu() - before), len(reply)


def measure(routes):
    redis = Redis("--appendonly", "no")
    sandbox = Sandbox("--requests", 1000000, "--window", "1m", "--lenient")
    gateways = []
    for members in (1, 8, 20):
        while len(gateways) < members:
            gateways.append(Gateway(sandbox, redis.url(), more=EXTRA_ROUTES, with_dir=False))
            for route in range(routes):
                status, body = fetch(gateways[-1].port, f"/people/api/bench/{route}")
                assert status == 200, body
        time.sleep(5)
        found, script, key, channel = requests(redis)
        assert len(found) == members, len(found)
        redis.command("COPY", key, "copy", "REPLACE")
        size = len(json.dumps(found[0], separators=(",", ":")))
        rate, reply = repeat(redis, found, script, "copy", channel)
        stored, memory = redis.command("STRLEN", key), redis.command("MEMORY", "USAGE", key)
        print(f"{members} members, {routes} routes: {rate:.0f} exchanges a second of CPU, {1e6 / rate:.0f} us each; record "
              f"{stored} bytes ({memory} in memory), request {size}, reply {reply} bytes", flush=True)


for routes in (1, ROUTES):
    measure(routes)
