"""Draws one minute of a batch and a portal: the portal's calls from begin to answer, and all calls to Zoho.

    python3 benches/waiting/picture.py LABEL=FILE [LABEL=FILE ...] > docs/waiting.svg

Each file is one that `run.py --json FILE` wrote; each gets a panel.
"""

import json
import statistics
import sys
from collections import Counter
from pathlib import Path

SCENARIO = "batch_then_portal"
# The third minute. In the first, the batch is alone when it takes all slots.
BEGIN, END = 120, 180

LEFT, WIDTH, MARGIN, HEIGHT = 40, 720, 16, 350
ROW, ROWS, BLOCK = 5, 24, 4
WAITS, CALLS, AXIS = 50, 190, 316

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .axis { stroke: #8c959f } .small { font-size: 11px } .title { font-weight: 600 }
    .batch { fill: #2f81f7 } .portal { fill: #d9730d } .wait { stroke: #d9730d; stroke-width: 2 }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .portal { fill: #f0883e } .wait { stroke: #f0883e } }
"""


def x(seconds):
    return round(LEFT + (seconds - BEGIN) * (WIDTH - LEFT - MARGIN) / (END - BEGIN), 1)


def panel(label, data):
    waits = [(first, last) for first, last in data["portal"] if last > BEGIN and first < END]
    asked = [last - first for first, last in waits if BEGIN <= first]
    title = f"{label}: the portal waits {statistics.median(asked):.1f} s (median), at most {max(asked):.1f} s"
    yield text(LEFT, 20, title, "title")
    yield text(LEFT, WAITS - 10, "the portal's calls, from begin to answer", "small")
    for row, (first, last) in enumerate(waits):
        yield from wait(WAITS + row % ROWS * ROW, first, last)
    yield text(LEFT, CALLS - 6, "calls to Zoho in each second: of the batch (blue) and of the portal (orange)", "small")
    arrivals = [(at, "batch") for at in data["batch"]] + [(last, "portal") for _, last in waits]
    yield from blocks([(int(at), kind) for at, kind in arrivals if BEGIN <= at < END])
    yield from axis()


def blocks(arrivals):
    """One for each call, those of one second on top of each other, the batch below."""
    heights = Counter()
    for second, kind in sorted(arrivals, key=lambda arrival: arrival[1]):
        heights[second] += 1
        top = AXIS - heights[second] * BLOCK
        yield f'<rect class="{kind}" x="{x(second) + 2:.1f}" y="{top}" width="7" height="{BLOCK - 1}"/>'


def wait(y, first, last):
    """A line that ends at the border if the call does."""
    yield f'<line class="wait" x1="{x(max(first, BEGIN))}" y1="{y}" x2="{x(min(last, END))}" y2="{y}"/>'
    if last < END:
        yield f'<circle class="portal" cx="{x(last)}" cy="{y}" r="3"/>'


def axis():
    yield f'<line class="axis" x1="{LEFT}" y1="{AXIS}" x2="{WIDTH - MARGIN}" y2="{AXIS}"/>'
    for second in range(BEGIN, END + 1, 10):
        yield f'<line class="axis" x1="{x(second)}" y1="{AXIS}" x2="{x(second)}" y2="{AXIS + 4}"/>'
        yield text(x(second), AXIS + 18, f"{second - BEGIN} s", "small", ' text-anchor="middle"')
    for calls in (10, 20):
        yield text(LEFT - 6, AXIS - calls * BLOCK + 4, calls, "small", ' text-anchor="end"')


def text(left, top, words, kind, more=""):
    return f'<text class="{kind}" x="{left}" y="{top}"{more}>{words}</text>'


def main():
    panels = [argument.split("=", 1) for argument in sys.argv[1:]]
    size = WIDTH, HEIGHT * len(panels)
    view = f'viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}"'
    print(f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img">')
    print("<title>One minute of a batch of 300 and a portal that calls every five seconds</title>")
    print(f"<style>{STYLE}</style>")
    for place, (label, file) in enumerate(panels):
        print(f'<g transform="translate(0 {place * HEIGHT})">')
        print("\n".join(panel(label, json.loads(Path(file).read_text())[SCENARIO]["picture"])))
        print("</g>")
    print("</svg>")


main()
