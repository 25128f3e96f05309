#!/usr/bin/python3
"""Lets the servers below saathiid fail over while people call, and recounts.

The world of the torture campaign, on a PostgreSQL with a synchronous standby, by a
URL with both hosts, and on a Redis with sentinels. In a round each way to lose a
primary happens once; then nobody acts, the jobs do what is due, and all ten
invariants are recounted on what is the primary then. What is measured is the time
without charging: from the last charge that was made before the fault and survived
it to the first one after.
"""

import argparse
import pathlib
import random
import signal
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
for folder in ("e2e", "platform", "torture"):
    sys.path.insert(0, str(HERE.parent / folder))

import psycopg2  # noqa: E402
from campaign import check, conduct  # noqa: E402
from platform_api import PlatformApi  # noqa: E402
from servers import Pair, SentinelRedis  # noqa: E402
from support import wait_until  # noqa: E402
from world import RATES, Instance, World  # noqa: E402

PROJECTED_AT = "saathiid:calls_projected_at"
AWAKE_S = 4


class DirectInstance(Instance):
    """A saathiid that is told of all hosts, with nothing in between."""

    def open_ways(self):
        return (self.world.postgres.url("torture", "saathiid"), self.world.redis.url())

    def close_ways(self):
        pass


class FailoverWorld(World):
    make_instance = DirectInstance
    make_postgres = Pair
    make_redis = SentinelRedis

    def api(self):
        return PlatformApi(self.database, None, RATES["audio"], RATES["video"],
                           redis_client=self.redis.platform_client())

    def redis_client(self):
        return self.redis.master.client()

    def charges(self, node, what):
        """A moment out of the ledger that this server has."""
        with psycopg2.connect(node.url("torture")) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT extract(epoch FROM {what})::float8"
                           " FROM saathii_tasks.call_charge WHERE source = 'saathiid'")
            return cursor.fetchone()[0]

    def wait_for_charge(self, node, after):
        return wait_until("a charge after the failover", lambda: self.charges(
            node, f"min(charged_at) FILTER (WHERE charged_at > to_timestamp({after!r}))"))

    def wait_for_load(self):
        """Calls are charged, and Redis is whole, before the next fault."""
        self.wait_for_charge(self.postgres.primary, time.time())
        with self.redis_client() as client:
            wait_until("Redis to be whole", lambda: client.get(PROJECTED_AT))


def lose_primary(world, rng, lose):
    """Returns what was measured; the old primary is gone then, and a standby again."""
    old = world.postgres.primary
    lose(old)
    lost_at = time.time()
    time.sleep(rng.uniform(0, 1))  # what decides to promote takes its time
    world.people.hang_up()
    world.postgres.promote()
    promoted_at = time.time()
    return old, lost_at, promoted_at


def measured(world, lost_at, promoted_at):
    new = world.postgres.primary
    first = world.wait_for_charge(new, lost_at)
    last = world.charges(new, f"max(charged_at) FILTER (WHERE charged_at < to_timestamp({lost_at!r}))")
    return {"gap_s": first - last, "after_promotion_s": max(0, first - promoted_at)}


def rejoin(world, old):
    world.people.hang_up()
    world.postgres.join(old)


def kill_postgres(world, rng):
    old, lost_at, promoted_at = lose_primary(world, rng, lambda node: node.kill())
    times = measured(world, lost_at, promoted_at)
    rejoin(world, old)
    return times


def freeze_postgres(world, rng):
    """Its kernel still takes connections, and answers nothing; nobody fences it."""
    old, lost_at, promoted_at = lose_primary(world, rng, lambda node: node.stall())
    times = measured(world, lost_at, promoted_at)
    old.kill()
    rejoin(world, old)
    return times


def wake_postgres(world, rng):
    """The old primary comes back and believes to be one still, until it is fenced."""
    old, lost_at, _ = lose_primary(world, rng, lambda node: node.stall())
    old.go_on()
    time.sleep(AWAKE_S)
    seen = world.charges(old, f"max(charged_at) FILTER (WHERE charged_at > to_timestamp({lost_at!r}))")
    if seen is not None:
        raise AssertionError("a charge was committed on a primary that had lost its standby")
    old.kill()
    fenced_at = time.time()
    times = measured(world, lost_at, fenced_at)
    rejoin(world, old)
    return times


def lose_master(world, lose):
    with world.redis_client() as client:
        before = client.get(PROJECTED_AT)
    old = world.redis.master
    lose(old)
    lost_at = time.time()
    world.people.hang_up()
    world.redis.wait_for_switch()
    switched_at = time.time()
    with world.redis_client() as client:
        wait_until("Redis to be made whole", lambda: client.get(PROJECTED_AT) != before)
    whole_at = time.time()
    old.kill()
    world.redis.follow()
    return {"gap_s": whole_at - lost_at, "after_promotion_s": max(0, whole_at - switched_at)}


def kill_redis(world, _rng):
    return lose_master(world, lambda node: node.kill())


def freeze_redis(world, _rng):
    return lose_master(world, lambda node: node.freeze())


FAULTS = {
    "postgres-kill": kill_postgres,
    "postgres-freeze": freeze_postgres,
    "postgres-wake": wake_postgres,
    "redis-kill": kill_redis,
    "redis-freeze": freeze_redis,
}


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--daemons", type=int, default=1)
    parser.add_argument("--calls", type=int, default=60, help="ongoing at once")
    parser.add_argument("--faults", default=",".join(FAULTS),
                        help="names, with commas: " + ", ".join(FAULTS))
    parser.add_argument("--asynchronous", action="store_true",
                        help="commits do not wait for the standby: the last ones get lost")
    given = parser.parse_args(arguments)
    given.faults = given.faults.split(",")
    if given.asynchronous and "postgres-wake" in given.faults:
        given.faults.remove("postgres-wake")  # two primaries, and nothing to tell them apart
    unknown = [name for name in given.faults if name not in FAULTS]
    if unknown or given.rounds < 1:
        parser.error(f"no fault {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    return given


class Rounds:
    def __init__(self, given):
        self.given = given
        self.random = random.Random(given.seed)
        self.times = {name: [] for name in given.faults}
        self.charges = 0

    def run(self, world):
        """Returns the findings that are wrong: none, if all went well."""
        for number in range(1, self.given.rounds + 1):
            for name in self.random.sample(self.given.faults, len(self.given.faults)):
                world.wait_for_load()
                times = FAULTS[name](world, self.random)
                self.times[name].append(times)
                print(f"  {name}: {times['gap_s']:.1f} s, of them"
                      f" {times['after_promotion_s']:.1f} s with a new primary", flush=True)
            world.calm()
            wrong, tables = check(world)
            violations = sum(len(sentences) for _, sentences in wrong)
            self.charges = sum(map(len, tables.charges.values()))
            print(f"round {number}: {len(tables.calls)} calls, {self.charges} charges,"
                  f" {len(tables.settlements)} settlements,"
                  f" {violations} violations", flush=True)
            if wrong or number == self.given.rounds:
                return wrong
            world.go_on()

    def summary(self, world, wrong):
        def figures(name, which):
            values = [times[which] for times in self.times[name]]
            return {"p50_s": round(statistics.median(values), 2), "longest_s": round(max(values), 2)}

        return {"synchronous": world.postgres.synchronous, "rounds": self.given.rounds, "seed": self.given.seed, "charges": self.charges,
                "people": world.people.counts,
                "violations": {what: len(sentences) for what, sentences in wrong},
                "without": {name: {"times": len(self.times[name]), "gap": figures(name, "gap_s"),
                                   "of_it_after_promotion": figures(name, "after_promotion_s")}
                            for name in self.given.faults if self.times[name]}}


def main(arguments=None):
    given = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rounds = Rounds(given)
    world = FailoverWorld()
    world.postgres.synchronous = not given.asynchronous

    def play():
        world.start(given.daemons, given.seed, given.calls)
        wrong = rounds.run(world)
        return wrong, rounds.summary(world, wrong)

    return conduct(world, play)


if __name__ == "__main__":
    sys.exit(main())
