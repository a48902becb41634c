"""What callers experience while they wait: the scenarios of docs/benchmarks.md, as a Markdown table.

    python3 benches/waiting/run.py [--program PATH] [--real] [--before FILE] [NAME ...]

It needs Python's requests. In scaled time, the default, a minute takes six seconds, and the figures are converted to
real time. `Retry-After` has whole seconds, so its rounding weighs ten times as much there. `--real` takes twenty minutes.
Each scenario has a gateway, an upstream and a folder of its own, and is given up after a bounded time.
"""

import argparse
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import threading
from pathlib import Path

from scenarios import SCENARIOS, Run, TimeScale

# A process may take this many seconds more for its start and end.
START = 90


def main():
    options = arguments()
    chosen = [(name, options.program, 1 if options.real else options.scale) for name in options.names or SCENARIOS]
    before = json.loads(options.before.read_text()) if options.before else {}
    found = {}
    columns = ["before", "now"] if before else ["found"]
    print_row("scenario", "aim", *columns, "most in a window", "in a lock")
    print_row(*["---"] * (4 + len(columns)))
    with multiprocessing.Pool(len(chosen) if options.real else options.jobs, maxtasksperchild=1) as pool:
        for name, result in pool.imap(measure, chosen, chunksize=1):
            found[name] = result
            earlier = [before[name]["found"] if name in before else ""] if before else []
            _, what, aim, _ = SCENARIOS[name]
            print_row(what, aim, *earlier, result["found"], result["most"], result["in_lock"])
    if options.json:
        lines = [f"{json.dumps(name)}: {json.dumps(result)}" for name, result in found.items()]
        options.json.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/zoho-gateway", help="the gateway to measure")
    parser.add_argument("--real", action="store_true", help="real time, all scenarios at once")
    parser.add_argument("--scale", type=float, default=10, help="how many times faster than in reality")
    parser.add_argument("--jobs", type=int, default=3, help="how many scenarios run at once in scaled time")
    parser.add_argument("--json", type=Path, help="a file for the figures and the data of the picture")
    parser.add_argument("--before", type=Path, help="such a file of an earlier program, for one more column")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    options = parser.parse_args()
    unknown = set(options.names) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return options


def measure(chosen):
    """One scenario, in a process of its own. Its gateway ends with it, whatever happens."""
    name, program, factor = chosen
    function, _, _, bound = SCENARIOS[name]
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.alarm(int(bound / factor) + START)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    threading.stack_size(256 * 1024)
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder:
        run = Run(program, TimeScale(factor), Path(folder))
        try:
            found = function(run)
        except Exception as error:
            found = f"failed: {error}".replace("\n", " ")
    signal.alarm(0)
    upstream = run.upstream
    most, in_lock = (upstream.most, upstream.in_lock) if upstream else ("", "")
    return name, {"found": found, "most": most, "in_lock": in_lock, "picture": run.picture}


def give_up(*_):
    raise TimeoutError("given up")


def print_row(*cells):
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
