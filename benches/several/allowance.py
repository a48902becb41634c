"""How much of a threshold eight gateways use, how long their callers wait, and what that costs on Redis.

    python3 benches/several/allowance.py [SECONDS_OF_A_WINDOW [WINDOWS [BUSY]]]

30 calls per window, 64 callers that always want more, up to 20 ms of delay each way, first on all eight gateways and
then on one. The whole allowance is 30 calls in each window. A slot is in use for a window after the answer, so a
round trip of each window is lost; the third figure counts it as used. Shares are means over all arrivals of the time
until the call 30 further on, so it does not matter when a run begins and ends.
"""

import sys
import time

from processes import Gateway, Load, Redis, Sandbox, until

WINDOW = int(sys.argv[1]) if len(sys.argv) > 1 else 2
WINDOWS = int(sys.argv[2]) if len(sys.argv) > 2 else 15
BUSY = [int(sys.argv[3])] if len(sys.argv) > 3 else [8, 1]
CALLERS, REQUESTS = 64, 30
# The sandbox's mean delay, both ways together.
ROUND_TRIP = 0.02


def measure(busy):
    redis = Redis()
    sandbox = Sandbox("--requests", REQUESTS, "--window", f"{WINDOW}s", "--lock", "60s", "--delay", "20ms")
    gateways = [Gateway(sandbox, redis.url(), REQUESTS, f"{WINDOW}s") for _ in range(8)]
    time.sleep(3)
    (scripts, microseconds), began = redis.scripts(), time.monotonic()
    time.sleep(10)
    heartbeats = (redis.scripts()[0] - scripts) / (time.monotonic() - began)
    each_takes = (redis.scripts()[1] - microseconds) / (redis.scripts()[0] - scripts)

    loads = [Load(gateway, CALLERS // busy) for gateway in gateways[:busy]]
    until(lambda: sandbox.accepted() >= 2 * REQUESTS, "two windows are used")
    for load in loads:
        load.took.clear()
    before, (scripts, microseconds), began = sandbox.accepted(), redis.scripts(), time.monotonic()
    time.sleep(WINDOW * WINDOWS)
    calls, took = sandbox.accepted() - before, time.monotonic() - began
    ran, microseconds = redis.scripts()[0] - scripts, redis.scripts()[1] - microseconds
    tally = sandbox.tally()
    arrivals = sandbox.arrivals()[-calls:]
    windows = (len(arrivals) - 1) // REQUESTS
    spans = [(last - first) / windows for first, last in zip(arrivals, arrivals[windows * REQUESTS :])]
    span = sum(spans) / len(spans)
    print(f"{busy} of 8 busy, {REQUESTS} per {WINDOW} s, {took:.1f} s: {calls} calls, 30 in {span:.3f} s, "
          f"{WINDOW / span:.1%} of the allowance, {(WINDOW + ROUND_TRIP) / span:.1%} with the round trip, "
          f"{tally['most_in_any_window']} most in any window, {tally['locks']} locks")
    print(f"  scripts: {heartbeats:.1f} a second when idle ({each_takes:.0f} us each); under load {ran}, {ran / calls:.2f} "
          f"per call, {(ran - heartbeats * took) / calls:.2f} without heartbeats; {microseconds / ran:.0f} us each")
    means = [sum(load.took) / len(load.took) for load in loads if load.took]
    longest = [max(load.took) for load in loads if load.took]
    overall = sum(means) / len(means)
    print(f"  mean wait per busy gateway: {min(means):.2f} to {max(means):.2f} s ({min(means) / overall - 1:+.0%} to "
          f"{max(means) / overall - 1:+.0%} of their mean), longest {min(longest):.2f} to {max(longest):.2f} s; calls "
          f"{min(len(load.took) for load in loads)} to {max(len(load.took) for load in loads)}", flush=True)
    for load in loads:
        load.ended = True
    for gateway in gateways:
        gateway.kill()


for number in BUSY:
    measure(number)
