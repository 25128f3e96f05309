"""The row about saathiictl audit: how fast it recounts, and in how much memory."""

import json
import os
import time

from figures import Figure, median, progress
from program import Failed

# What calls of the history have on average, as history.sql draws them.
CHARGES_IN_CALL = 7.79
CALLS_OF_USER = 10
MOST_MIB = 64

# The same rows, read once and added up: what no audit can be faster than.
RIVAL = ("SELECT sum(coins) FROM saathii_tasks.call_charge",
         "SELECT sum(coins_change) FROM public.user_transactions",
         "SELECT sum(coins_spent) FROM public.user_calls")


def run(bench, config):
    """Its report, how long it took, and its peak of memory in MiB."""
    out = bench.program.folder / "audit.json"
    program = str(bench.control)
    with open(out, "wb") as file:
        began = time.monotonic()
        pid = os.posix_spawn(
            program, [program, "audit", "--config", str(config), "--json=short"],
            bench.program.environment(), file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), 1)])
        _, status, usage = os.wait4(pid, 0)
        took = time.monotonic() - began
    report = json.loads(out.read_text(encoding="utf-8") or "{}")
    wrong = [each["name"] for each in report.get("invariants", []) if each["result"] != "holds"]
    if os.waitstatus_to_exitcode(status) != 0 or wrong:
        raise Failed(f"the audit of good books ended with {status}: {wrong or 'no report'}")
    return report, took, usage.ru_maxrss / 1024


def read_once(database):
    began = time.monotonic()
    for statement in RIVAL:
        database.value(statement)
    return time.monotonic() - began


def audit(bench):
    calls = int(bench.sizes.audit_charges / CHARGES_IN_CALL)
    progress(f"making the books of {calls:,} calls")
    database = bench.server.create("books")
    with database.transaction() as cursor:
        with open(bench.here / "history.sql", encoding="utf-8") as history:
            cursor.execute(history.read(), {"calls": calls, "users": max(calls // CALLS_OF_USER, 1)})
    database.settle_down()
    config = bench.program.config(database.url, {})
    times, peaks, rivals, report = [], [], [], {}
    for _ in range(bench.sizes.audit_runs):
        rivals.append(read_once(database))
        report, took, peak = run(bench, config)
        times.append(took)
        peaks.append(peak)
        progress(f"audited in {took:.1f} s, {peak:.1f} MiB; read once in {rivals[-1]:.1f} s")
    bench.server.drop("books")
    looked_at = report["looked_at"]
    took, rival = median(times), median(rivals)
    rows = sum(looked_at.values())
    return Figure("audit", f"saathiictl audit of {looked_at['charges']:,} charges"
                  f" ({rows:,} rows in all)",
                  f"{took:.0f} s, {looked_at['charges'] / took:,.0f} charges/s,"
                  f" {max(peaks):.0f} MiB",
                  f"{rival:.1f} s to read the rows once", took / rival,
                  f"<= {MOST_MIB} MiB", max(peaks) <= MOST_MIB,
                  {"seconds": times, "peak_mib": peaks, "rival_seconds": rivals,
                   "looked_at": looked_at})
