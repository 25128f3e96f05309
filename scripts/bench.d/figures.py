"""What the measurements have in common: a row, and what to make of many numbers."""

import dataclasses
import statistics
import sys
import time


@dataclasses.dataclass
class Figure:
    """A row of the table. `ratio` is what the target speaks of where there is a
    rival, else the measured value is."""

    row: str
    what: str
    measured: str
    rival: str
    ratio: float | None
    target: str
    met: bool
    numbers: dict


def median(values):
    return statistics.median(values)


def percentile(values, share):
    """The smallest value that so many of them do not exceed."""
    ordered = sorted(values)
    rank = max(int(-(-len(ordered) * share // 1)), 1)
    return ordered[rank - 1]


def thousands(number):
    return f"{number:,.0f}"


def progress(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
