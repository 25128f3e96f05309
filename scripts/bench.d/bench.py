#!/usr/bin/python3
"""Measures the rows of scripts/bench on servers that are there, prints and writes them."""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import sys
import time
import traceback

import auditing
import databases
import living
from charging import FIRST_MOMENT, SEEN, START, Charging
from figures import progress
from program import Program


@dataclasses.dataclass(frozen=True)
class Sizes:
    main_calls: int = 100_000
    scaling: tuple = (10_000, 100_000, 500_000)
    runs: int = 5
    idle_runs: int = 15
    loop_seconds: int = 20
    latency_calls: int = 100_000
    latency_seconds: int = 120
    idle_seconds: int = 60
    starts: int = 10
    punctual_seconds: int = 60
    audit_charges: int = 10_000_000
    audit_runs: int = 2


QUICK = Sizes(main_calls=5_000, scaling=(1_000, 5_000, 10_000), runs=2, idle_runs=4,
              loop_seconds=3, latency_calls=5_000, latency_seconds=15, idle_seconds=10, starts=3,
              punctual_seconds=10, audit_charges=100_000, audit_runs=1)


class Bench:
    """What the measurements share."""

    def __init__(self, given):
        self.sizes = QUICK if given.quick else Sizes()
        self.pgbench = given.pgbench
        self.control = given.control
        self.here = databases.HERE
        self.program = Program(given.program, given.dir, given.redis_url)
        self.server = databases.Server(self.program, given.database_url, self.program.config)
        self.templates = set()

    def loaded(self, calls):
        """The name of a database with so many calls that nobody has charged yet."""
        name = f"loaded_{calls}"
        if calls not in self.templates:
            progress(f"loading {calls:,} calls")
            self.server.create_loaded(name, calls, START, "0", SEEN,
                                      own_clock=FIRST_MOMENT).settle_down()
            self.templates.add(calls)
        return name

    def unload(self, calls):
        self.templates.discard(calls)
        self.server.drop(f"loaded_{calls}")

    def rows(self):
        """In the table's order; quiet ones first, while the machine is."""
        charging = Charging(self)
        return {
            "floor": charging.floor,
            "loop": charging.loop,
            "scaling": charging.scaling,
            "none_due": charging.none_due,
            "catch_up": charging.catch_up,
            "second": charging.second,
            "latency": lambda: living.latency(self),
            "idle": lambda: living.idle(self),
            "memory": charging.memory_growth,
            "bytes": charging.bytes_a_charge,
            "ready": lambda: living.ready(self),
            "punctual": lambda: living.punctual(self),
            "audit": lambda: auditing.audit(self),
        }

    def machine(self):
        setting = self.server.maintenance().value
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes",
                 "shared_buffers", "max_wal_size", "checkpoint_timeout", "random_page_cost",
                 "wal_sync_method")
        model = "unknown"
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
        return {"cores": os.cpu_count(), "cpu": model, "kernel": platform.release(),
                "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
                "load_average": os.getloadavg()[0],
                "postgres": {name: setting(f"SHOW {name}") for name in names}}


def draw(figures, failures, quick):
    heads = ("what", "measured", "rival", "ratio", "target", "met")
    table = [heads] + [
        (figure.what, figure.measured, figure.rival or "-",
         f"{figure.ratio:.2f} x" if figure.ratio is not None else "-", figure.target,
         "yes" if figure.met else "NO") for figure in figures]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
             for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [f"{row}: not measured: {reason}" for row, reason in failures.items()]
    if quick:
        lines.insert(0, "QUICK: smaller sizes and shorter times than the targets speak of.")
    return "\n".join(lines)


def measure(bench, wanted):
    figures, failures = [], {}
    for row, take in bench.rows().items():
        if row not in wanted:
            continue
        try:
            figures.append(take())
            progress(f"{figures[-1].what}: {figures[-1].measured}")
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            failures[row] = str(error)
    return figures, failures


def parse():
    parser = argparse.ArgumentParser(description="Measures saathiid on servers that are there.")
    parser.add_argument("--program", required=True, help="saathiid")
    parser.add_argument("--control", required=True, help="saathiictl")
    parser.add_argument("--pgbench", required=True)
    parser.add_argument("--database-url", required=True, help="as the owner")
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--dir", required=True, help="an empty folder to work in")
    parser.add_argument("--json", required=True)
    parser.add_argument("--only", help="rows, with commas between")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    return parser, given


def main():
    parser, given = parse()
    bench = Bench(given)
    known = list(bench.rows())
    wanted = given.only.split(",") if given.only else known
    unknown = [row for row in wanted if row not in known]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(known)}")
    began = time.time()
    machine = bench.machine()
    try:
        figures, failures = measure(bench, wanted)
    finally:
        bench.server.close()
    print(draw(figures, failures, given.quick))
    document = {"quick": given.quick, "began_at": int(began),
                "seconds": round(time.time() - began), "machine": machine,
                "sizes": dataclasses.asdict(bench.sizes),
                "rows": [dataclasses.asdict(figure) for figure in figures],
                "failed": failures}
    path = pathlib.Path(given.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"Took {document['seconds']} s, load average {machine['load_average']:.1f} before;"
          f" written to {path}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
