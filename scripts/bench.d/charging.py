"""Rows that charge many calls at once: floor, loop, scaling, none_due, memory."""

import json
import time

import psycopg2

import databases
from figures import Figure, median, progress, thousands
from program import Failed

START = "2026-01-05 10:00:00+00"
# Both parties of every call are seen all the time.
SEEN = "2026-01-05 11:00:00+00"
FIRST_MOMENT = "2026-01-05 10:00:30+00"
RUN_SECONDS = 300
DOWN_MINUTES = 10
JOBS = {"coin_deduction": {"every": "1s", "run_at_start": False}}
SELDOM_S = 15
SELDOM = {"coin_deduction": {"every": f"{SELDOM_S}s", "run_at_start": False}}


class ChargedCalls:
    """A daemon beside so many ongoing calls, whose time goes on when we say so:
    every minute that we let pass makes each call due exactly once."""

    def __init__(self, bench, name, calls):
        self.bench = bench
        self.calls = calls
        self.runs = []
        self.runs_seen = []
        self.database = bench.server.copy(bench.loaded(calls), name)

    def measure(self, daemon, timed=True, settled=True, before_minute=lambda: None):
        """Lets a minute pass, waits for the run that charges it."""
        if settled:
            self.database.settle_down()
        before_minute()
        before = self._bytes()
        self.database.advance(60)
        run = self._wait_for_run()
        run["charges_per_s"] = self.calls / run["seconds"]
        run["bytes"] = {what: (count - before[what]) / self.calls
                        for what, count in self._bytes().items()}
        if timed:
            self.runs.append(run)
        return run

    def _bytes(self):
        """Of the log so far, and of the tables that grow with every charge."""
        names = ("log", "call_charge", "user_transactions")
        return dict(zip(names, self.database.rows(
            "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn,"
            " pg_total_relation_size('saathii_tasks.call_charge'),"
            " pg_total_relation_size('public.user_transactions')")[0]))

    def catch_up(self, start, minutes):
        """Lets so many minutes pass while nobody charges; the seconds from `start`, which
        starts the daemon, to the end of the run that charges them all."""
        self.database.settle_down()
        self.database.advance(60 * minutes)
        began = time.time()
        with start():
            run = self._wait_for_run(minutes)
        return run["finished_at"] - began

    def _wait_for_run(self, minutes=1):
        known = len(self.runs_seen)
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            found = self.database.rows(
                "SELECT extract(epoch FROM finished_at - started_at)::float8, counts::text,"
                "       extract(epoch FROM finished_at)::float8"
                "  FROM saathii_tasks.job_run"
                " WHERE job = 'coin_deduction' AND (counts ->> 'minutes')::int > 0"
                " ORDER BY scheduled_at")
            if len(found) > known:
                self.runs_seen = found
                seconds, counts, finished_at = found[-1]
                counts = json.loads(counts)
                if counts["minutes"] != self.calls * minutes or counts["charged"] != self.calls:
                    raise Failed(f"a run charged {counts} of {self.calls} calls due {minutes} min")
                return {"seconds": seconds, "finished_at": finished_at}
            time.sleep(0.2)
        raise Failed(f"no run charged {self.calls} calls within {RUN_SECONDS} s")

    def rate(self):
        return median(run["charges_per_s"] for run in self.runs)


class Floor:
    """The same rows, by four statements on one connection, in one transaction."""

    def __init__(self, bench, calls):
        self.calls = calls
        self.minute = 1
        self.seconds = []
        self.database = bench.server.copy(bench.loaded(calls), "floor")
        self.connection = psycopg2.connect(self.database.owner_url)
        with self.connection.cursor() as cursor:
            cursor.execute(databases.SESSION)
            # What the API had taken: saathiid's first run writes it down, too.
            cursor.execute(
                "INSERT INTO saathii_tasks.call_charge"
                " (call_id, minute, user_id, coins, minute_start, source)"
                " SELECT call_id, 1, user_id, coins_spent, start_time, 'api'"
                "   FROM public.user_calls")
        self.connection.commit()

    def measure(self, timed=True):
        self.minute += 1
        self.database.settle_down()
        statements = databases.sql_file("floor.sql")
        began = time.monotonic()
        with self.connection.cursor() as cursor:
            cursor.execute(statements, {"minute": self.minute})
        self.connection.commit()
        if timed:
            self.seconds.append(time.monotonic() - began)
        charged = self.database.value(
            "SELECT count(*) FROM saathii_tasks.call_charge WHERE minute = %s", (self.minute,))
        if charged != self.calls:
            raise Failed(f"the floor charged {charged} of {self.calls} calls")

    def rate(self):
        return median(self.calls / seconds for seconds in self.seconds)

    def close(self):
        self.connection.close()


def once(bench, database, calls):
    """The same run by `saathiid --once`: a new process, which also makes sure of
    every call's hash in Redis, as the daemon does when it starts."""
    database.settle_down()
    database.advance(60)
    config = bench.program.config(database.url, {"coin_deduction": {"every": "1m"}})
    began = time.monotonic()
    outcome = json.loads(bench.program.run(["--once", "coin_deduction", "--json"], config))[0]
    seconds = time.monotonic() - began
    if outcome["counts"]["charged"] != calls:
        raise Failed(f"--once charged {outcome['counts']} of {calls} calls")
    return {"seconds": outcome["duration_us"] / 1e6, "wall_seconds": seconds}


def count_seconds(database, rounds, between):
    """How long a plain count of the ongoing calls takes, five times a round."""
    connection = psycopg2.connect(database.url)
    connection.autocommit = True
    took = []
    with connection.cursor() as cursor:
        cursor.execute(databases.SESSION)
        for _ in range(rounds):
            between()
            for _ in range(5):
                began = time.monotonic()
                cursor.execute("SELECT count(*) FROM public.user_calls WHERE status = 'ongoing'")
                cursor.fetchall()
                took.append(time.monotonic() - began)
    connection.close()
    return took


def wait_for_a_tick():
    """One of SELDOM: until the next one both instances see that the other is there, whose
    last sign of life is a minute old by the clock that we have set."""
    time.sleep(SELDOM_S - time.time() % SELDOM_S + 0.5)


def wait_between_ticks():
    """Ticks are at whole seconds: the count has the time in between."""
    time.sleep((1.4 - time.time() % 1) % 1 + 0.2)


def idle_runs(database, rounds):
    """Runs that find nothing, and between them a plain count of the same calls."""
    began = database.value("SELECT now()")
    counts = count_seconds(database, rounds, wait_between_ticks)
    time.sleep(1.5)  # until the ledger has the last of them
    runs = [row[0] for row in database.rows(
        "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM saathii_tasks.job_run"
        " WHERE job = 'coin_deduction' AND outcome = 'succeeded' AND started_at > %s"
        "   AND (counts ->> 'charged')::int = 0", (began,))]
    if len(runs) < rounds // 2:
        raise Failed(f"only {len(runs)} runs without a due call were seen")
    return {"run_seconds": median(runs), "count_seconds": median(counts), "runs": len(runs)}


def none_due(bench, database):
    """With the tables as a charging run leaves them, which between two minutes they
    are, and again when no row is left that a vacuum could help to count."""
    database.execute("ANALYZE")
    found = idle_runs(database, bench.sizes.idle_runs)
    database.settle_down()
    return {**found, "after_vacuum": idle_runs(database, bench.sizes.idle_runs)}


class Charging:
    """Measures once what several rows tell of."""

    def __init__(self, bench):
        self.bench = bench
        self.results = {}
        self.floor_rate = None
        self.memory = None
        self.idle = None
        self.once = None

    def main(self):
        """The main size, the floor between its runs, then what else its daemon tells."""
        if self.floor_rate is not None:
            return
        bench, calls = self.bench, self.bench.sizes.main_calls
        progress(f"charging {calls:,} calls, the floor beside it")
        ours = ChargedCalls(bench, "ours", calls)
        floor = Floor(bench, calls)
        try:
            with bench.program.daemon(bench.program.config(ours.database.url, JOBS)) as daemon:
                ready_kib = daemon.memory_kib("VmRSS")
                ours.measure(daemon, timed=False)
                with daemon.held():
                    floor.measure(timed=False)
                growth = []
                for _ in range(bench.sizes.runs):
                    daemon.forget_peak()
                    before_kib = daemon.memory_kib("VmRSS")
                    ours.measure(daemon)
                    growth.append(daemon.memory_kib("VmHWM") - before_kib)
                    with daemon.held():
                        floor.measure()
                    progress(f"  {ours.runs[-1]['charges_per_s']:,.0f} charges/s,"
                             f" floor {calls / floor.seconds[-1]:,.0f}")
                self.memory = {"ready_kib": ready_kib, "peak_kib": daemon.memory_kib("VmHWM"),
                               "growth_kib": growth}
                progress("runs with none due")
                self.idle = none_due(bench, ours.database)
            self.once = once(bench, ours.database, calls)
        finally:
            floor.close()
        self.results[calls] = ours
        self.floor_rate = floor.rate()
        self.floor_seconds = floor.seconds
        bench.server.drop("floor")

    def of_size(self, calls):
        if calls == self.bench.sizes.main_calls:
            self.main()
        if calls not in self.results:
            progress(f"charging {calls:,} calls")
            ours = ChargedCalls(self.bench, "scaled", calls)
            with self.bench.program.daemon(
                    self.bench.program.config(ours.database.url, JOBS)) as daemon:
                ours.measure(daemon, timed=False)
                for _ in range(self.bench.sizes.runs):
                    run = ours.measure(daemon)
                    progress(f"  {run['charges_per_s']:,.0f} charges/s")
            self.results[calls] = ours
            self.bench.server.drop("scaled")
            self.bench.unload(calls)
        return self.results[calls]

    def floor(self):
        self.main()
        calls = self.bench.sizes.main_calls
        rate = self.results[calls].rate()
        ratio = rate / self.floor_rate
        return Figure(
            "floor", f"one run, {calls:,} calls each due a minute, to single statements",
            f"{thousands(rate)} charges/s", f"{thousands(self.floor_rate)} charges/s", ratio,
            ">= 1.5 x", ratio >= 1.5,
            {"charges_per_s": rate, "rival_charges_per_s": self.floor_rate,
             "run_seconds": [run["seconds"] for run in self.results[calls].runs],
             "rival_seconds": self.floor_seconds, "once": self.once})

    def loop(self):
        self.main()
        bench, calls = self.bench, self.bench.sizes.main_calls
        progress("one transaction a call, 8 connections")
        database = bench.server.copy(bench.loaded(calls), "loop")
        database.settle_down()
        tps = databases.pgbench(bench.pgbench, database, "per_call.pgbench", 8,
                                bench.sizes.loop_seconds, {"n": 0, "calls": calls})
        bench.server.drop("loop")
        rate = self.results[calls].rate()
        ratio = rate / tps
        return Figure("loop", "the same to a transaction a call, 8 connections",
                      f"{thousands(rate)} charges/s", f"{thousands(tps)} charges/s", ratio,
                      ">= 20 x", ratio >= 20,
                      {"charges_per_s": rate, "rival_charges_per_s": tps})

    def scaling(self):
        rates = {calls: self.of_size(calls).rate() for calls in self.bench.sizes.scaling}
        ratio = max(rates.values()) / min(rates.values())
        return Figure("scaling", "charges/s at " + ", ".join(f"{calls:,}" for calls in rates),
                      ", ".join(thousands(rate) for rate in rates.values()),
                      "each other", ratio, "<= 1.25 x", ratio <= 1.25,
                      {"charges_per_s": {str(calls): rate for calls, rate in rates.items()}})

    def catch_up(self):
        """As long as it takes from exec to the end of the run that charges everything,
        beside the floor's statements, once for each minute."""
        bench, calls = self.bench, self.bench.sizes.main_calls
        progress(f"{DOWN_MINUTES} minutes down with {calls:,} calls")
        ours = ChargedCalls(bench, "down", calls)
        config = bench.program.config(ours.database.url, JOBS)
        with bench.program.daemon(config) as daemon:
            ours.measure(daemon, timed=False)
        seconds = ours.catch_up(lambda: bench.program.daemon(config), DOWN_MINUTES)
        run_seconds = ours.runs_seen[-1][0]
        bench.server.drop("down")
        floor = Floor(bench, calls)
        try:
            floor.measure(timed=False)
            for _ in range(DOWN_MINUTES):
                floor.measure()
        finally:
            floor.close()
            bench.server.drop("floor")
        rival = sum(floor.seconds)
        return Figure(
            "catch_up", f"after {DOWN_MINUTES} min down, {calls:,} ongoing: exec to all charged,"
            " to single statements", f"{seconds:.1f} s", f"{rival:.1f} s", rival / seconds, "-",
            True, {"seconds": seconds, "run_seconds": run_seconds, "rival_seconds": floor.seconds,
                   "charges_per_s": calls * DOWN_MINUTES / run_seconds})

    def second(self):
        """With another instance that stands by and takes a share: on two cores it shows
        what sharing costs, not what it gains."""
        self.main()
        bench, calls = self.bench, self.bench.sizes.main_calls
        progress(f"charging {calls:,} calls, two instances")
        shared = ChargedCalls(bench, "shared", calls)
        config = bench.program.config(shared.database.url, SELDOM)
        beside = bench.program.config(shared.database.url, SELDOM, instance="second",
                                      level="debug")
        with bench.program.daemon(config) as daemon, bench.program.daemon(beside) as helper:
            shared.measure(daemon, timed=False)
            for _ in range(bench.sizes.runs):
                shared.measure(daemon, before_minute=wait_for_a_tick)
            helped = helper.log.read_text(errors="replace").count(": took a share")
        bench.server.drop("shared")
        if helped < bench.sizes.runs:
            raise Failed(f"the second instance helped in {helped} runs only")
        rate, alone = shared.rate(), self.results[calls].rate()
        return Figure("second", f"one run, {calls:,} calls, with a second instance, to one alone",
                      f"{thousands(rate)} charges/s", f"{thousands(alone)} charges/s",
                      rate / alone, "-", True,
                      {"charges_per_s": rate, "rival_charges_per_s": alone,
                       "run_seconds": [run["seconds"] for run in shared.runs]})

    def none_due(self):
        self.main()
        run, count = self.idle["run_seconds"], self.idle["count_seconds"]
        ratio = run / count
        calls = self.bench.sizes.main_calls
        return Figure("none_due", f"a run, {calls:,} ongoing and none due, to a count of them",
                      f"{run * 1e3:.1f} ms", f"{count * 1e3:.1f} ms", ratio, "<= 3 x", ratio <= 3,
                      self.idle)

    def bytes_a_charge(self):
        """Right after a checkpoint, which makes the log hold every page that is written
        whole, and without one."""
        bench, calls = self.bench, self.bench.sizes.main_calls
        progress(f"bytes of {calls:,} charges")
        ours = ChargedCalls(bench, "bytes", calls)
        with bench.program.daemon(bench.program.config(ours.database.url, JOBS)) as daemon:
            ours.measure(daemon, timed=False)
            found = {name: {what: float(count) for what, count in
                            ours.measure(daemon, settled=settled)["bytes"].items()}
                     for name, settled in (("after_checkpoint", True), ("without", False))}
        bench.server.drop("bytes")
        rows = found["without"]["call_charge"] + found["without"]["user_transactions"]
        return Figure("bytes", "bytes a charge: the log (after a checkpoint), rows that stay",
                      f"{found['without']['log']:,.0f} ({found['after_checkpoint']['log']:,.0f}),"
                      f" {rows:,.0f}", "", None, "-", True, found)

    def memory_growth(self):
        self.main()
        # From readiness, before it ever had a session or a call.
        growth = (self.memory["peak_kib"] - self.memory["ready_kib"]) / 1024
        calls = self.bench.sizes.main_calls
        return Figure("memory", f"growth of memory in the {calls:,}-call run", f"{growth:.1f} MB",
                      "", None, "<= 32 MB", growth <= 32, dict(self.memory))
