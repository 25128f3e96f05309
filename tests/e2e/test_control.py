"""saathiid as its operator meets it: through saathiictl, on a bus of the test's own."""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import termios
import time
import unittest

import platform_data as platform
from support import (CONTROL_PROGRAM, PATIENCE_S, SOURCE, Bus, Case, environment, run,
                     unprivileged, wait_until)

CONFIG = """
[postgres]
url = "{database}"
connect_timeout = "2s"
max_sessions = 1
lock_timeout = "10m"
[redis]
url = "{redis}"
[control]
bus = "{bus}"
[rates]
audio = {audio_rate}
[jobs.coin_deduction]
every = "1h"
timeout = "10m"
run_at_start = false
[jobs.presence_cleanup]
every = "1h"
[jobs.call_cleanup]
every = "1h"
[jobs.badge_assignment]
at = "00:01"
[jobs.log_rotation]
at = "01:00"
folders = ["{logs}"]
"""
JOBS = ["presence_cleanup", "coin_deduction", "call_cleanup", "badge_assignment", "log_rotation"]


class Controlled(Case):
    """A daemon on a bus, whose jobs run when they are told to."""

    database = "control"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers()
        cls.bus = Bus(cls.folder)
        cls.addClassCleanup(cls.bus.stop)
        cls.bus.start()

    def setUp(self):
        self.url = self.postgres.create(self.database)
        self.redis.command("FLUSHALL")
        self.configure()
        done = run("--config", self.config, "--migrate")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.saathiid = self.daemon(self.config).ready()
        wait_until("saathiid to be on the bus", lambda: self.ctl("health").returncode != 3)

    def configure(self, audio_rate=10, more=""):
        self.config = self.write("saathiid.toml", CONFIG.format(
            database=self.url, redis=self.redis.url(), bus=self.bus.address(), logs=self.folder,
            audio_rate=audio_rate) + more)

    def ctl(self, *words, timeout=PATIENCE_S):
        return subprocess.run(
            [CONTROL_PROGRAM, *map(str, words)], text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=timeout, check=False, env=self.environment())

    def environment(self):
        return environment(SAATHIICTL_BUS=self.bus.address(), LC_ALL="C.UTF-8", PAGER="")

    def json(self, *words, code=0):
        done = self.ctl("--json=short", *words)
        self.assertEqual((done.returncode, done.stderr), (code, ""), done.stdout)
        return json.loads(done.stdout)

    def assert_refused(self, done, code, *fragments):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for fragment in fragments:
            self.assertIn(fragment, done.stderr)

    def query(self, sql):
        return self.postgres.query(sql, self.database)


class Looking(Controlled):
    def test_status(self):
        wait_until("PostgreSQL to have been asked", lambda: "● postgres up" in self.ctl().stdout)
        done = self.ctl()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        for fragment in ("saathiid 0.1.0: ", "Since:", str(self.config), *JOBS):
            self.assertIn(fragment, done.stdout)
        status = self.json("status")
        self.assertEqual([job["name"] for job in status["jobs"]], JOBS)
        self.assertEqual(status["time_zone"], "Asia/Kolkata")
        self.assertEqual({server["name"] for server in status["servers"]}, {"postgres", "redis"})
        self.assertEqual(self.ctl("jobs", "--names").stdout.split(), JOBS)

    def test_show_and_calendar(self):
        shown = self.ctl("show", "badge_assignment")
        self.assertIn("daily at 00:01 Asia/Kolkata", shown.stdout)
        job = wait_until("this instance to lead and coin_deduction to rest", lambda: next(
            (job for job in [self.json("show", "coin_deduction")] if job["state"] == "waiting"),
            None))
        self.assertEqual((job["kind"], job["paused"]), ("coin_deduction", False))
        ticks = self.json("calendar", "badge_assignment", "-n", "3")
        self.assertEqual([tick["scheduled_at"][10:] for tick in ticks], ["T18:31:00Z"] * 3)
        self.assertIn(" 00:01:00 IST ", self.ctl("calendar", "badge_assignment").stdout)
        self.assertEqual(len(self.json("calendar", "-n", "20")), 20)

    def test_history_of_a_job_of_each_host(self):
        self.ctl("run", "log_rotation", "--wait")
        runs = self.json("history", "log_rotation")
        self.assertEqual({run["job"] for run in runs}, {f"log_rotation@{socket.gethostname()}"})

    def test_what_there_is_not(self):
        self.assert_refused(self.ctl("show", "coin_deducton"), 1, 'no job "coin_deducton"',
                            'did you mean "coin_deduction"?')
        self.assert_refused(self.ctl("run", "xyzzy"), 1, 'no job "xyzzy"', "known jobs: ")
        self.assert_refused(self.ctl("call", "4711"), 1, "there is no call 4711")
        self.assert_refused(self.ctl("wallet", "4711"), 1, "user 4711 has no wallet")
        self.assert_refused(self.ctl("history", "--since", "soon"), 2, "--since 'soon'")

    def test_who_may_not(self):
        for words in (["run", "coin_deduction"], ["pause", "coin_deduction"], ["call", 7],
                      ["log-level", "debug"]):
            done = subprocess.run(
                [*unprivileged(), CONTROL_PROGRAM, *map(str, words)], text=True,
                capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False,
                env=self.environment(), cwd="/")
            self.assert_refused(done, 1, "saathiictl: you may not ", "next: again with sudo")
        self.assertEqual(subprocess.run(
            [*unprivileged(), CONTROL_PROGRAM, "jobs", "--names"], text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False, env=self.environment(),
            cwd="/").stdout.split(), JOBS)

    def test_a_completion_waits_for_nobody_for_long(self):
        self.saathiid.signal(signal.SIGSTOP)
        self.addCleanup(self.saathiid.signal, signal.SIGCONT)
        # Other commands have a minute.
        done = self.ctl("jobs", "--names", timeout=50)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "", ""))

    def test_a_pager_for_what_is_longer_than_the_terminal(self):
        def on_terminal(lines, *words):
            terminal, end = pty.openpty()
            with subprocess.Popen(
                    [CONTROL_PROGRAM, *words], stdin=end, stdout=end, stderr=end,
                    env={**self.environment(), "TERM": "xterm", "LINES": str(lines),
                         "SAATHIICTL_PAGER": "sed 's/^/paged: /'"}) as process:
                os.close(end)
                shown = ""
                # At its end a terminal gives an error.
                while part := self.part(terminal):
                    shown += part
                process.wait(PATIENCE_S)
            os.close(terminal)
            return shown

        self.assertEqual(on_terminal(5, "jobs").count("paged: "), 8)
        self.assertNotIn("paged: ", on_terminal(50, "jobs"))
        self.assertNotIn("paged: ", on_terminal(5, "jobs", "--no-pager"))

    def part(self, terminal):
        try:
            return os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            return ""

    def test_health_is_an_exit_code(self):
        wait_until("all to be well", lambda: self.ctl("health", "-q").returncode == 0)
        self.assertIn("ok", self.ctl("health").stdout)
        with open("/dev/full", "w", encoding="utf-8") as full:
            for words, code in ((["health"], 3), (["jobs"], 1)):
                done = subprocess.run([CONTROL_PROGRAM, *words], stdout=full, stderr=subprocess.PIPE,
                                      text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S,
                                      check=False, env=self.environment())
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn("not all of the answer could be written", done.stderr)
        self.redis.stop()
        self.addCleanup(self.redis.start)
        self.ctl("run", "coin_deduction", "--wait")
        wait_until("the loss of Redis to be told", lambda: self.ctl("health", "-q").returncode == 1)
        self.assertIn("redis", self.ctl("health").stdout)

    def test_receipt_and_wallet(self):
        platform.add_call(self.postgres, self.database, 7, 150, 15)
        self.assertEqual(self.ctl("run", "coin_deduction", "-w").returncode, 0)
        receipt = self.json("call", 7)
        self.assertEqual([(minute["source"], minute["coins"], minute["balance_before"],
                           minute["balance_after"]) for minute in receipt["minutes"]],
                         [("api", 10, None, None), ("saathiid", 10, 15, 5)])
        self.assertEqual(receipt["status"], "dropped")
        self.assertEqual(receipt["settlement"]["earned_rupees"], "2.00")
        told = self.ctl("call", 7)
        self.assertIn("2 minutes, 20 coins (10 by the API, 10 by saathiid)", told.stdout)
        self.assertIn("20 coins, as the call's row says", told.stdout)
        self.assertIn("the balance did not cover the next minute", told.stdout)
        wallet = self.json("wallet", 14)
        self.assertEqual((wallet["balance_coins"], wallet["ongoing_calls"]), (5, []))
        self.assertEqual([entry["coins"] for entry in wallet["entries"]], [-10])


class Doing(Controlled):
    def test_run_and_history(self):
        done = self.ctl("run", "coin_deduction", "--wait")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, "^● coin_deduction succeeded in .*: 0 calls charged")
        told = self.json("run", "call_cleanup", "--wait")
        self.assertEqual((told["job"], told["outcome"]), ("call_cleanup", "succeeded"))
        wait_until("both outcomes to be recorded", lambda: len(self.json("history")) == 2)
        history = self.json("history")
        self.assertEqual({run["job"] for run in history}, {"coin_deduction", "call_cleanup"})
        self.assertIn(told["run_id"], {run["run_id"] for run in history})
        self.assertEqual(self.json("history", "--outcome", "failed"), [])
        self.assertEqual(len(self.json("history", "coin_deduction", "--since", "1h")), 1)
        self.assertIn("1 outcome, newest first", self.ctl("history", "call_cleanup").stdout)

    def test_run_as_if_at_a_moment(self):
        platform.add_call(self.postgres, self.database, 7, 10, 100)
        self.query("INSERT INTO user_roles (user_id, role) VALUES (15, 'listener')")
        told = self.json("run", "badge_assignment", "--at", "2026-01-15", "-w")
        self.assertEqual(told["outcome"], "succeeded")
        self.assertEqual(self.query("SELECT listener_id, date FROM listener_badges"),
                         [["15", "2026-01-15"]])

    def test_a_run_that_fails(self):
        platform.add_call(self.postgres, self.database, 7, 10, 100)
        self.query("INSERT INTO user_roles (user_id, role) VALUES (15, 'listener');"
                   "ALTER TABLE listener_badges RENAME TO elsewhere")
        self.configure(more='[jobs.badges_too]\nkind = "badge_assignment"\nat = "00:01"\n'
                            "retries = 0\n")
        self.assertEqual(self.ctl("reload").returncode, 0)
        done = self.ctl("run", "badges_too", "--wait", "-q")
        self.assertEqual(done.returncode, 4, done.stdout)
        self.assertRegex(done.stdout, "× badges_too failed.*listener_badges")
        self.assertIn("failed", self.ctl("show", "badges_too").stdout)

    def test_pause_and_resume(self):
        done = self.ctl("pause", "coin_deduction", "call_cleanup")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(self.json("show", "coin_deduction")["paused"])
        self.assertIn("Paused: ○ coin_deduction by ", self.ctl("status").stdout)
        self.assertIn("call_cleanup is paused", self.ctl("calendar", "call_cleanup").stdout)
        self.assertEqual(self.ctl("run", "coin_deduction", "-w").returncode, 0)
        self.assertEqual(self.ctl("resume", "coin_deduction", "call_cleanup").returncode, 0)
        self.assertFalse(self.json("show", "coin_deduction")["paused"])
        self.assert_refused(self.ctl("pause", "coin_deduction", "xyzzy"), 1, 'no job "xyzzy"')
        self.assertTrue(self.json("show", "coin_deduction")["paused"])

    def test_reload(self):
        self.assertIn("nothing has changed", self.ctl("reload").stdout)
        self.configure(audio_rate=20)
        done = self.ctl("reload")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("took effect  rates.audio", done.stdout)
        self.configure(audio_rate=0, more="[jobs.coin_deducton]\n")
        done = self.ctl("reload")
        self.assert_refused(done, 1, f"{self.config}:", "rates.audio", "coin_deducton",
                            "the reload was refused", "next: ")
        self.assertEqual(done.stdout, "")
        self.assertEqual([job["name"] for job in self.json("jobs")], JOBS)

    def test_log_level(self):
        self.assertEqual(self.ctl("log-level").stdout, "info\n")
        self.assertEqual(self.ctl("log-level", "debug").returncode, 0)
        self.assertEqual(self.json("log-level"), {"log_level": "debug"})


class Waiting(Controlled):
    """While a run is waited for that cannot end: somebody holds a row's lock."""

    def setUp(self):
        super().setUp()
        platform.add_call(self.postgres, self.database, 7, 150, 1000)
        self.lock = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-d", self.url], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.release)
        self.lock.stdin.write("BEGIN; LOCK TABLE user_wallets; SELECT 'locked';\n")
        self.lock.stdin.flush()
        self.assertEqual(self.lock.stdout.readline(), "locked\n")

    def release(self):
        if self.lock.poll() is None:
            self.lock.communicate("ROLLBACK;\n", PATIENCE_S)

    def wait_for_run(self):
        """Starts `run --wait`, and returns once the run has begun."""
        waiting = subprocess.Popen(
            [CONTROL_PROGRAM, "run", "coin_deduction", "--wait"], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.environment())
        self.addCleanup(lambda: waiting.poll() is not None or waiting.kill())
        wait_until("the run to begin",
                   lambda: self.json("show", "coin_deduction")["state"] != "waiting")
        return waiting

    def test_the_run_in_progress_is_told(self):
        waiting = self.wait_for_run()
        self.assertRegex(self.ctl("status").stdout, r"coin_deduction .* (running|retrying) ")
        self.assertRegex(self.ctl("show", "coin_deduction").stdout, r"run [0-9a-f-]{36} of ")
        self.assert_refused(self.twice(), 1, "saathiictl: ", "next: ")
        self.release()
        self.assertEqual(waiting.wait(PATIENCE_S), 0, waiting.communicate())
        waiting.communicate()

    def twice(self):
        """The first waits behind the run in progress, so the second is one too many."""
        self.assertEqual(self.ctl("run", "coin_deduction").returncode, 0)
        return self.ctl("run", "coin_deduction")

    def test_ctrl_c_ends_the_waiting_alone(self):
        waiting = self.wait_for_run()
        waiting.send_signal(signal.SIGINT)
        _, told = waiting.communicate(timeout=PATIENCE_S)
        self.assertEqual(waiting.returncode, 130)
        self.assertIn("the run goes on", told)
        self.assertNotEqual(self.json("show", "coin_deduction")["state"], "waiting")

    def test_the_daemon_goes(self):
        waiting = self.wait_for_run()
        self.saathiid.process.kill()
        _, told = waiting.communicate(timeout=PATIENCE_S)
        self.assertEqual(waiting.returncode, 3)
        self.assertIn("left the bus", told)

    def test_who_looks_needs_no_session_of_the_jobs(self):
        waiting = self.wait_for_run()
        self.assertEqual(self.json("history", "coin_deduction"), [])
        self.release()
        self.assertEqual(waiting.wait(PATIENCE_S), 0, waiting.communicate())
        waiting.communicate()

    def test_a_pause_is_kept_however_many_look(self):
        self.lock.stdin.write("LOCK TABLE saathii_tasks.job_run; SELECT 'locked';\n")
        self.lock.stdin.flush()
        self.assertEqual(self.lock.stdout.readline(), "locked\n")
        looking = []
        for _ in range(24):
            process = subprocess.Popen(
                [CONTROL_PROGRAM, "history"], text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment())
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            looking.append(process)
        wait_until("the queue of those who look to be full",
                   lambda: any(process.poll() == 1 for process in looking))
        done = self.ctl("pause", "coin_deduction")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_progress_on_a_terminal(self):
        terminal, end = pty.openpty()
        self.addCleanup(os.close, terminal)
        waiting = subprocess.Popen([CONTROL_PROGRAM, "run", "coin_deduction", "-w"],
                                   stdin=end, stdout=end, stderr=end,
                                   env={**self.environment(), "TERM": "xterm", "COLUMNS": "80"})
        os.close(end)
        self.addCleanup(lambda: waiting.poll() is not None or waiting.kill())
        seen = self.read_until(terminal, r"coin_deduction (running|retrying) for ")
        self.assertIn("\x1b[K", seen)
        self.release()
        self.read_until(terminal, "succeeded.* in ")
        self.assertEqual(waiting.wait(PATIENCE_S), 0)

    def test_progress_fits_the_terminal_that_shows_it(self):
        terminal, end = pty.openpty()
        self.addCleanup(os.close, terminal)
        lines, columns = 24, 24
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        env = {**self.environment(), "TERM": "xterm"}
        env.pop("COLUMNS", None)
        waiting = subprocess.Popen([CONTROL_PROGRAM, "run", "coin_deduction", "-w"], env=env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end)
        os.close(end)
        self.addCleanup(waiting.communicate)
        self.addCleanup(self.release)
        self.read_until(terminal, r"coin_deduction [^\r\n]{1,8}…")

    def read_until(self, terminal, pattern):
        seen = ""
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, seen):
            if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"waited in vain for /{pattern}/ in {seen!r}")
            seen += os.read(terminal, 65536).decode(errors="replace")
        return seen


class Unreachable(Case):
    """Nobody is there to answer."""

    def ctl(self, *words, **env):
        return subprocess.run([CONTROL_PROGRAM, *words], text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False,
                              env=environment(**env))

    def test_no_daemon(self):
        bus = Bus(self.folder)
        self.addCleanup(bus.stop)
        bus.start()
        for words in ([], ["health"], ["run", "coin_deduction", "-w"]):
            done = self.ctl(*words, SAATHIICTL_BUS=bus.address())
            self.assertEqual(done.returncode, 3)
            self.assertIn("saathiid is not running, or not on the bus", done.stderr)
            self.assertIn("next: systemctl status saathiid", done.stderr)
        done = self.ctl("--bus", bus.address(), "jobs", "--names")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "", ""))

    def test_no_bus(self):
        nowhere = f"unix:path={self.folder}/nowhere"
        done = self.ctl("--bus", nowhere)
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"the bus cannot be reached ({nowhere})", done.stderr)
        done = self.ctl("health", DBUS_SYSTEM_BUS_ADDRESS=nowhere)
        self.assertEqual(done.returncode, 3)
        self.assertIn("next: systemctl status dbus", done.stderr)

    def test_what_the_documentation_tells_to_type_can_be_typed(self):
        texts = [SOURCE / "systemd/saathiid.catalog", *sorted((SOURCE / "deploy/man").glob("*.*"))]
        lines = {line for text in texts
                 for line in re.findall(r"^(?: {4}|\.Dl )(saathiictl(?: .*)?)$", text.read_text(),
                                        re.MULTILINE)}
        readme = (SOURCE / "README.md").read_text()
        for block in re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL):
            lines.update(re.findall(r"^saathiictl.*", block, re.MULTILINE))
        self.assertGreater(len(lines), 10)
        for line in sorted(lines - {"saathiictl --help"}):
            line = re.sub(r" *(\||\s#).*| {2,}.*", "", line)
            line = line.replace("@LAST_SCHEDULED_AT@", "2026-11-22T00:00:00Z")
            line = line.replace("@CALL_ID@", "4711")
            line = re.sub(r"@JOB@|\bJOB\b", "coin_deduction", line)
            with self.subTest(line):
                words = shlex.split(line)[1:]
                if "audit" in words:  # asks the database, and not the bus
                    words += ["--config", str(SOURCE / "config/saathiid.toml")]
                done = self.ctl("--bus", f"unix:path={self.folder}/nowhere", *words,
                                DATABASE_URL=f"postgresql:///saathii?host={self.folder}/nowhere")
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn("cannot be reached", done.stderr)

    def test_bad_usage(self):
        for words in (["statsu"], ["run"], ["history", "--outcome", "bad"], ["--json=long"]):
            done = self.ctl(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn("--help", done.stderr)
        self.assertEqual(self.ctl("health", "--nonsense").returncode, 3)


if __name__ == "__main__":
    unittest.main()
