#!/usr/bin/python3
"""Hours of a campaign, with one saathiid that nothing kills: whether what it takes of
memory, descriptors, threads, connections and disk stays what it was. Writes samples
(soak.csv), a picture (soak.png) and a summary (soak.json)."""

import argparse
import collections
import csv
import json
import pathlib
import signal
import statistics
import sys
import time

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as pyplot  # noqa: E402

from campaign import Campaign, conduct, parse_arguments, summary  # noqa: E402
from recorder import Recorder  # noqa: E402
from world import MINUTE_S, World  # noqa: E402

SPARED = "d1"
PAUSE_S = 8
ROUND_FAULTS = 20

PANELS = (("memory", "resident memory, MiB", 1 / 1024), ("descriptors", "open descriptors", 1),
          ("threads", "threads", 1), ("connections", "connections of saathiid", 1),
          ("table", "tables of a constant number of rows, KiB", 1),
          ("bytes a row", "tables of history, bytes a row", 1))


class Soak(Campaign):
    """Rounds that no daemon has to be stopped for."""

    def pause(self):
        time.sleep(self.random.uniform(0, 2 * PAUSE_S))

    def calm(self, world):
        world.calm(halt=False)


def samples(file):
    """what -> which -> [(second, value)]"""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(file, encoding="ascii", newline="") as rows:
        for row in csv.DictReader(rows):
            found[row["what"]][row["which"]].append((float(row["at_s"]), float(row["value"])))
    return found


def draw(found, file, title):
    figure, axes = pyplot.subplots(3, 2, figsize=(14, 12), sharex=True)
    for axis, (what, label, scale) in zip(axes.flat, PANELS):
        for which, line in sorted(found[what].items()):
            own = {}
            if what in ("memory", "descriptors", "threads"):
                spared = which.startswith(SPARED + ".")
                own = {"color": "tab:blue" if spared else "tab:orange",
                       "label": f"{SPARED}, never killed" if spared else None}
            axis.plot([at / 60 for at, _ in line], [value * scale for _, value in line],
                      **{"label": which.partition(".")[2] or which, "linewidth": 1, **own})
        axis.set_title(label)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize="small", loc="lower right")
    for axis in axes[-1]:
        axis.set_xlabel("minutes")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(file, dpi=90)
    pyplot.close(figure)


def trend(line):
    """The level after the first quarter, which is for warming up, the level at the end,
    and the most there ever was."""
    values = [value for _, value in line]
    quarter = max(len(values) // 4, 1)
    return {"after_a_quarter": statistics.median(values[quarter:2 * quarter] or values),
            "at_the_end": statistics.median(values[-quarter:]), "most": max(values)}


def trends(found):
    told = {}
    for what, lines in found.items():
        for which, line in lines.items():
            if which.startswith("d") and not which.startswith(SPARED + "."):
                continue
            told[f"{what}: {which}"] = trend(line)
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":", maxsplit=1)[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for what is written")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked.folder.mkdir(parents=True, exist_ok=True)
    given = parse_arguments(["--seed", asked.seed, "--minutes", str(asked.hours * 60),
                             "--round", str(ROUND_FAULTS)])
    soak = Soak(given)
    world = World()

    def play():
        world.spared.add(SPARED)
        world.start(given.daemons, given.seed, given.calls)
        recorder = Recorder(world, asked.folder / "soak.csv")
        try:
            wrong = soak.run(world)
        finally:
            recorder.stop()
        found = samples(asked.folder / "soak.csv")
        told = {**summary(soak, world, wrong), "hours": asked.hours,
                "hours_of_calls": round(asked.hours * 60 / MINUTE_S, 1), "trends": trends(found)}
        draw(found, asked.folder / "soak.png",
             f"{sum(soak.done.values())} faults in {asked.hours:g} h, which are"
             f" {told['hours_of_calls']:g} h of calls; {told['charges']} charges")
        (asked.folder / "soak.json").write_text(json.dumps(told, indent=2) + "\n",
                                                encoding="utf-8")
        return wrong, told

    return conduct(world, play)


if __name__ == "__main__":
    sys.exit(main())
