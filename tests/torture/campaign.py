#!/usr/bin/python3
"""Bills calls under fire: faults at random, from a seed, and a recount after each round.

A real PostgreSQL, a real Redis, one or more saathiid, and people who call. A round is
a number of faults, one after the other, while people go on; then everything is there
again, nobody acts, the jobs do what is due, and all ten invariants are recounted from
the tables and the API's own log by code that the jobs do not share. The first
violation ends the campaign, and leaves its folder behind.
"""

import argparse
import collections
import datetime
import json
import pathlib
import random
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE.parent / "e2e", HERE.parent / "platform"):
    sys.path.insert(0, str(folder))

import leadership  # noqa: E402
from faults import FAULTS  # noqa: E402
from recount import recount  # noqa: E402
from recount_facts import Options  # noqa: E402
from recount_tables import Tables  # noqa: E402
from watch import Watch  # noqa: E402
from world import FAKETIME, GRACE_S, MINUTE_S, RATES, STALE_S, World  # noqa: E402


SHOWN_VIOLATIONS = 20
# Longer than anything takes to be made good, busy_grace above all; the daemons are at rest.
AUDIT_GRACE_S = 30


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--faults", default=",".join(FAULTS),
                        help="names, with commas: " + ", ".join(FAULTS))
    parser.add_argument("--daemons", type=int, default=2)
    parser.add_argument("--round", type=int, default=12, metavar="N", help="faults in a round")
    parser.add_argument("--every-fault", action="store_true",
                        help="a round is each fault once, in any order")
    parser.add_argument("--discard", action="store_true",
                        help="leave nothing behind, even after a violation")
    parser.add_argument("--calls", type=int, default=60, help="ongoing at once")
    given = parser.parse_args(arguments)
    given.faults = given.faults.split(",")
    if not FAKETIME and "clock" in given.faults:
        print("without the clock: libfaketime is not installed", flush=True)
        given.faults.remove("clock")
    unknown = [name for name in given.faults if name not in FAULTS]
    if unknown:
        parser.error(f"no fault {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    return given


def options():
    seconds = lambda length: datetime.timedelta(seconds=length)  # noqa: E731
    return Options(rates=dict(RATES), minute=seconds(MINUTE_S), stale_after=seconds(STALE_S),
                   overrun_grace=seconds(GRACE_S), timezone="Asia/Kolkata")


def audited(world):
    """What the program that operators have says is wrong, as sentences."""
    code, report, errors = world.audit("--json=short", "--grace", f"{AUDIT_GRACE_S}s")
    if code == 0:
        return []
    if code != 1:
        return [f"it ended with {code}: {errors.strip()}"]
    return [json.dumps(each) for each in json.loads(report)["invariants"]
            if each["result"] == "violated"]


def check(world, watch=None, clocks_were_right=True):
    """What is wrong, as (what was to hold, sentences), and the tables that were looked at."""
    connection = world.connect()
    tables = Tables(connection)
    connection.close()
    connection = world.connect()
    others = [("leadership", leadership.violations(connection, clocks_were_right))]
    if watch is not None:
        others.append(("Redis never ahead", list(watch.violations)))
    others.append(("saathiictl audit", audited(world)))
    if leadership.second_charge_is_possible(connection):
        others.append(("invariant 1", ["the ledger takes a second charge of a (call, minute)"]))
    connection.close()
    client = world.redis_client()
    findings = recount(tables, options(), client)
    client.close()
    wrong = [(f"invariant {finding.number}", finding.violations) for finding in findings]
    return [finding for finding in wrong + others if finding[1]], tables


class Campaign:
    def __init__(self, given):
        self.given = given
        self.random = random.Random(given.seed)
        self.done = collections.Counter()
        self.rounds = 0
        self.tables = None

    def run(self, world):
        """Returns the findings that are wrong: none, if all went well."""
        until = time.monotonic() + self.given.minutes * 60
        watch = Watch(world)
        try:
            return self.go_round(world, watch, until)
        finally:
            watch.stop()

    def faults_of_round(self):
        faults = self.given.faults
        if self.given.every_fault:
            return self.random.sample(faults, len(faults))
        return self.random.choices(faults, k=self.given.round)

    def go_round(self, world, watch, until):
        while True:
            for name in self.faults_of_round():
                FAULTS[name](world, self.random)
                self.done[name] += 1
                self.pause()
            self.calm(world)
            self.rounds += 1
            wrong, self.tables = check(world, watch, self.done["clock"] == 0)
            self.tell(world)
            if wrong or time.monotonic() >= until:
                return wrong
            world.go_on()

    def pause(self):
        time.sleep(self.random.uniform(0, 0.6))

    def calm(self, world):
        world.calm()

    def tell(self, world):
        charges = sum(map(len, self.tables.charges.values()))
        print(f"round {self.rounds}: {sum(self.done.values())} faults,"
              f" {len(self.tables.calls)} calls, {charges} charges,"
              f" {len(self.tables.settlements)} settlements,"
              f" {sum(instance.starts for instance in world.instances)} starts", flush=True)


def summary(campaign, world, wrong):
    return {
        "seed": campaign.given.seed,
        "rounds": campaign.rounds,
        "faults": dict(sorted(campaign.done.items())),
        "people": world.people.counts,
        "calls": len(campaign.tables.calls),
        "charges": sum(map(len, campaign.tables.charges.values())),
        "settlements": len(campaign.tables.settlements),
        "terms": world.terms(),
        "violations": {what: len(sentences) for what, sentences in wrong},
    }


def conduct(world, play, discard=False):
    """Plays to the end: `play` returns what is wrong, and a summary of it all. Returns the
    exit code. The world stays only if something was wrong, and is not to be discarded."""
    keep = True
    try:
        wrong, told = play()
        print(json.dumps(told), flush=True)
        for what, sentences in wrong:
            for text in sentences[:SHOWN_VIOLATIONS]:
                print(f"{what}: {text}")
        keep = bool(wrong) and not discard
        return 1 if wrong else 0
    except KeyboardInterrupt:
        keep = False
        return 130
    finally:
        world.stop()
        if keep:
            print(f"what is left is in {world.folder}", file=sys.stderr)
        else:
            world.remove()


def main(arguments=None):
    given = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    campaign = Campaign(given)
    world = World()

    def play():
        if not world.is_small_disk and "disk-full" in given.faults:
            print("without a full disk: no file system can be mounted here", flush=True)
            given.faults.remove("disk-full")
        world.start(given.daemons, given.seed, given.calls)
        if "network-down" in given.faults and not world.has_networks():
            print("without a link that is down: no network namespace can be made here",
                  flush=True)
            given.faults.remove("network-down")
        wrong = campaign.run(world)
        return wrong, summary(campaign, world, wrong)

    return conduct(world, play, given.discard)


if __name__ == "__main__":
    sys.exit(main())
