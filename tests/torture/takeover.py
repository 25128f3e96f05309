#!/usr/bin/python3
"""How long nobody leads: the leader of two saathiid is killed, or stands still, again and
again, with the lease that is the default. From the signal to the next term."""

import argparse
import json
import pathlib
import random
import signal
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE.parent / "e2e", HERE.parent / "platform"):
    sys.path.insert(0, str(folder))

import world as stage  # noqa: E402
from support import wait_until  # noqa: E402

LEASE_S = 10


def next_term(world, after):
    connection = world.connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM min(since))::float8"
                           " FROM saathii_tasks.leadership_term WHERE since > to_timestamp(%s)",
                           (after,))
            return cursor.fetchone()[0]
    finally:
        connection.close()


def take_over(world, number, rng):
    """Seconds from the signal to the leader until another one led."""
    name = wait_until("somebody to lead", world.leader)
    leader = next(instance for instance in world.instances if instance.name == name)
    # Not always right after a renewal.
    time.sleep(rng.uniform(0.5, LEASE_S / 2))
    at = time.time()
    leader.signal(number)
    led = wait_until("another to lead", lambda: next_term(world, at))
    if number == signal.SIGSTOP:
        leader.signal(signal.SIGCONT)
    time.sleep(1)
    return led - at


def figures(seconds):
    ordered = sorted(seconds)
    return {"times": len(ordered), "p50_s": round(statistics.median(ordered), 2),
            "p99_s": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=20, metavar="N", help="of each")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stage.LEASE_S = LEASE_S
    rng = random.Random(1)
    world = stage.World()
    try:
        world.start(2, 1, 20)
        told = {"lease_s": LEASE_S}
        for what, number in (("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)):
            told[what] = figures([take_over(world, number, rng) for _ in range(given.times)])
            print(json.dumps(told), flush=True)
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        world.stop()
        world.remove()


if __name__ == "__main__":
    sys.exit(main())
