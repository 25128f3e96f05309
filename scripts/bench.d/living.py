"""Rows about the daemon at its daily life: latency, idle, ready, punctual."""

import time

from figures import Figure, median, percentile, progress
from program import message_bus


def latency(bench):
    calls, seconds = bench.sizes.latency_calls, bench.sizes.latency_seconds
    progress(f"{calls:,} calls started at random moments, every second, {seconds} s")
    database = bench.server.create_loaded("latency", calls, "now", "1 minute", "now")
    database.settle_down()
    jobs = {"coin_deduction": {"every": "1s"}}
    with bench.program.daemon(bench.program.config(database.url, jobs)):
        time.sleep(seconds)
        until = database.value("SELECT now()")
    caught_up = database.value(
        "SELECT min(finished_at) FROM saathii_tasks.job_run"
        " WHERE job = 'coin_deduction' AND outcome = 'succeeded'")
    late = [row[0] for row in database.rows(
        "SELECT extract(epoch FROM charged_at - minute_start)::float8"
        "  FROM saathii_tasks.call_charge"
        " WHERE source = 'saathiid' AND minute_start > %s AND minute_start < %s",
        (caught_up, until))]
    # A minute that nobody charged must not make the figure look better.
    due = database.value(
        "SELECT count(*) FROM public.user_calls"
        " CROSS JOIN LATERAL generate_series(start_time, %s, interval '1 minute') AS began"
        " WHERE began > %s AND began < %s - interval '3 seconds'", (until, caught_up, until))
    bench.server.drop("latency")
    if len(late) < due:
        raise RuntimeError(f"only {len(late)} of {due} started minutes were charged")
    p50, p99, most = percentile(late, 0.5), percentile(late, 0.99), max(late)
    return Figure("latency", f"{calls:,} calls, every second: charged after a minute's start",
                  f"p99 {p99:.2f} s (p50 {p50:.2f}, max {most:.2f})", "", None, "p99 <= 1.5 s",
                  p99 <= 1.5,
                  {"p50_s": p50, "p99_s": p99, "max_s": most, "charges": len(late)})


def default_jobs(bench, **changes):
    logs = bench.program.folder / "logs"
    logs.mkdir(exist_ok=True)
    jobs = {"presence_cleanup": {"every": "5m"}, "coin_deduction": {"every": "1m"},
            "call_cleanup": {"every": "10m"}, "badge_assignment": {"at": "00:01"},
            "log_rotation": {"at": "01:00", "folders": [str(logs)]}}
    return {**jobs, **changes}


def idle(bench):
    seconds = bench.sizes.idle_seconds
    progress(f"idle for {seconds} s")
    database = bench.server.create("idle")
    jobs = default_jobs(bench)
    with (message_bus(bench.program.folder) as bus,
          bench.program.daemon(bench.program.config(database.url, jobs, bus=bus)) as daemon):
        time.sleep(5)  # what runs at the start has run
        before, began = daemon.threads(), time.monotonic()
        time.sleep(seconds)
        after, took = daemon.threads(), time.monotonic() - began
        rss = daemon.memory_kib("VmRSS") / 1024
        runs = database.value(
            "SELECT count(*) FROM saathii_tasks.job_run WHERE finished_at > now() - %s"
            " * interval '1 second'", (took,))
    # A thread that slept was woken; one that was displaced by a busy neighbour was not.
    slept, displaced, ran = (
        sum(counts[i] - before.get(thread, (0, 0, 0))[i] for thread, counts in after.items()) / took
        for i in range(3))
    busy = 100 * ran
    bench.server.drop("idle")
    return Figure("idle", f"idle for {seconds} s with all five jobs ({runs} runs)",
                  f"{rss:.1f} MB, {slept:.2f} wake-ups/s, {busy:.3f} % of a core", "", None,
                  "<= 16 MB, 0.5/s, 0.1 %", rss <= 16 and slept <= 0.5 and busy <= 0.1,
                  {"rss_mb": rss, "wakeups_per_s": slept, "displaced_per_s": displaced,
                   "cpu_percent": busy, "threads": len(after), "runs": runs})


def ready(bench):
    progress("exec to READY")
    database = bench.server.create("ready")
    config = bench.program.config(database.url, default_jobs(bench))
    starts = []
    for _ in range(bench.sizes.starts):
        with bench.program.daemon(config) as daemon:
            starts.append(daemon.ready_seconds)
    bench.server.drop("ready")
    typical = median(starts)
    return Figure("ready", f"exec to READY, median of {len(starts)}", f"{typical * 1e3:.1f} ms",
                  "", None, "<= 100 ms", typical <= 0.1, {"seconds": starts})


def punctual(bench):
    seconds = bench.sizes.punctual_seconds
    progress(f"ticks every second for {seconds} s")
    database = bench.server.create("punctual")
    jobs = default_jobs(bench, presence_cleanup={"every": "1s"})
    with bench.program.daemon(bench.program.config(database.url, jobs)):
        time.sleep(seconds + 2)
    # The first tick has a session to open.
    late = [row[0] for row in database.rows(
        "SELECT extract(epoch FROM started_at - scheduled_at)::float8 FROM saathii_tasks.job_run"
        " WHERE job = 'presence_cleanup' AND outcome = 'succeeded' AND started_at IS NOT NULL"
        " ORDER BY scheduled_at OFFSET 1")]
    bench.server.drop("punctual")
    if len(late) < seconds / 2:
        raise RuntimeError(f"only {len(late)} ticks in {seconds} s")
    p99 = percentile(late, 0.99)
    return Figure("punctual", f"start of a tick after its moment, {len(late)} idle ticks",
                  f"p99 {p99 * 1e3:.2f} ms (p50 {percentile(late, 0.5) * 1e3:.2f})", "", None,
                  "p99 <= 10 ms", p99 <= 0.01,
                  {"p50_s": percentile(late, 0.5), "p99_s": p99, "max_s": max(late)})
