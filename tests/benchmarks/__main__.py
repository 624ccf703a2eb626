"""Measure and print: `python -m tests.benchmarks [figure ...] [--quick] [--peers celery huey dramatiq] [--json]`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from dataclasses import replace

import psutil

import litequeue
from tests.benchmarks.figures import FIGURES, QUICK, TINY, Sizes
from tests.benchmarks.peers import PEERS, available, measure_peers
from tests.benchmarks.table import HEADER, Figure, as_json


def main() -> int:
    """Returns the exit code: 0 even where a figure is not reached, since machines differ; --strict makes it 1."""
    options = parse_options()
    sizes = {"full": Sizes(), "quick": QUICK, "tiny": TINY}[options.size]
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds)

    say = (lambda text: print(text, file=sys.stderr)) if options.json else print
    say(describe_machine())
    peers = options.peers if options.peers is not None else [name for name in PEERS if available(name)]
    theirs = measure_peers(peers, sizes, options.figures)
    say(HEADER)

    measured: list[Figure] = []
    for name in options.figures or FIGURES:
        busy = psutil.cpu_percent(interval=0.3)  # of other programs: a figure measured beside them says little
        for figure in FIGURES[name](sizes):
            beside = {peer: values[figure.name] for peer, values in theirs.items() if figure.name in values}
            note = "; ".join(filter(None, (figure.note, f"others took {busy:.0f} %" if busy > 10 else "")))
            measured.append(replace(figure, peers=beside, note=note))
            say(measured[-1].line())
    if options.json:
        print(as_json(measured))
    return 1 if options.strict and any(figure.reached is False for figure in measured) else 0


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure litequeue's figures.")
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"which ones ({', '.join(FIGURES)}); default: all")
    parser.add_argument(
        "--size", choices=["full", "quick", "tiny"], default="full", help="how much of everything (full)"
    )
    parser.add_argument("--rounds", type=int, help="how often each is taken; the median counts")
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="peer",
        help=f"measure these beside ({', '.join(PEERS)}); default: those installed",
    )
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a figure is not reached")
    options = parser.parse_args()
    for kind, chosen, known in (("figure", options.figures, FIGURES), ("peer", options.peers or [], PEERS)):
        for name in chosen:
            if name not in known:
                parser.error(f"there is no {kind} {name!r}; there are: {', '.join(known)}")
    return options


def describe_machine() -> str:
    """What the figures were measured on."""
    import apsw

    folder = tempfile.gettempdir()
    disks = [disk for disk in psutil.disk_partitions(all=True) if os.path.realpath(folder).startswith(disk.mountpoint)]
    system = max(disks, key=lambda disk: len(disk.mountpoint)).fstype if disks else "unknown"
    warning = "; FULL means nothing here, set TMPDIR to a disk" if system == "tmpfs" else ""
    return (
        f"litequeue {litequeue.__version__}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()},"
        f" {os.cpu_count()} cores, files in {folder} ({system}{warning})"
    )


if __name__ == "__main__":
    sys.exit(main())
