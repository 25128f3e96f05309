"""saathiictl audit, on the books that saathiid keeps."""

import json
import os
import pty
import select
import signal
import subprocess
import unittest

import platform_data as platform
from support import CONFIG, CONTROL_PROGRAM, PATIENCE_S, Case, environment, run, wait_until

DATABASE = "audit"


class Audit(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers()

    def setUp(self):
        self.url = self.postgres.create(DATABASE)
        self.redis.command("FLUSHALL")
        self.config = self.configure()
        done = run("--config", self.config, "--migrate")
        self.assertEqual(done.returncode, 0, done.stderr)
        # Of a call that is long gone: saathiid is not new here.
        self.query("INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins,"
                   " minute_start, source, charged_at) VALUES (999, 1, 999, 10,"
                   " now() - interval '1 day', 'saathiid', now() - interval '1 day')")
        platform.add_call(self.postgres, DATABASE, 1, age_s=185, balance=1000)
        # What the API took for the first minute.
        self.query("INSERT INTO user_transactions (wallet_id, tx_type, coins_change)"
                   " SELECT wallet_id, 'spend', -10 FROM user_wallets WHERE user_id = 2")
        done = self.audit("--baseline", "--yes")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("1 had something before", done.stdout)
        done = run("--config", self.config, "--once", "coin_deduction")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def configure(self, more=""):
        text = CONFIG.format(database=self.url, redis=self.redis.url(), timeout="10s",
                             logs=self.folder)
        return self.write("saathiid.toml", text.replace("[redis]", more + "\n[redis]"))

    def query(self, sql):
        return self.postgres.query(sql, DATABASE)

    def command(self, *words):
        return [CONTROL_PROGRAM, "audit", "--config", str(self.config), *words]

    def audit(self, *words, **env):
        return subprocess.run(self.command(*words), text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False,
                              env=environment(**env))

    def report(self, *words, code):
        done = self.audit("--json=short", *words)
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        return json.loads(done.stdout)

    def end_early(self):
        """The API ends the call within its first minute, after all."""
        self.query("UPDATE user_calls SET status = 'completed', listener_money_earned = 1,"
                   " end_time = start_time + interval '59 seconds' WHERE call_id = 1;"
                   "UPDATE user_status SET is_busy = false")
        self.redis.command("DEL", "call:1")

    def test_what_saathiid_did_holds(self):
        report = self.report(code=0)
        self.assertEqual([each["result"] for each in report["invariants"]], ["holds"] * 10)
        self.assertEqual(report["result"], "holds")
        self.assertEqual(report["looked_at"]["calls"], 1)
        self.assertEqual(report["looked_at"]["charges"], 4)
        self.assertIsNotNone(report["baseline"])
        done = self.audit()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("nothing is violated", done.stdout)
        self.assertEqual(self.audit("--quiet").stdout, "")

    def test_a_violation_is_found_and_mended_once(self):
        self.end_early()
        report = self.report(code=1)
        violated = [each for each in report["invariants"] if each["result"] == "violated"]
        self.assertEqual([each["number"] for each in violated], [6])
        self.assertEqual(violated[0]["kinds"], {"after_end": 1})
        offender = violated[0]["offenders"][0]
        self.assertEqual((offender["call_id"], offender["user_id"]), (1, 2))
        done = self.audit()
        self.assertEqual(done.returncode, 1)
        self.assertIn("1 of 10 violated", done.stdout)

        before = self.query("SELECT count(*), sum(coins_change) FROM user_transactions")
        done = self.audit("--repair")
        self.assertEqual(done.returncode, 1)
        self.assertIn("3 repairs; 30 coins given back", done.stdout)
        self.assertIn("--yes", done.stderr)
        self.assertEqual(self.query("SELECT count(*), sum(coins_change) FROM user_transactions"),
                         before)

        report = self.report("--repair", "--yes", code=0)
        self.assertEqual([each["result"] for each in report["plan"]["repairs"]], ["done"] * 3)
        self.assertEqual(self.report(code=0)["result"], "holds")
        self.assertEqual(self.report("--repair", "--yes", code=0)["plan"]["repairs"], [])
        rows = self.query("SELECT balance_coins FROM user_wallets WHERE user_id = 2")
        self.assertEqual(rows, [["1000"]])

    def test_on_a_terminal_it_shows_how_far_it_is_and_asks(self):
        self.end_early()
        for answer, code, balance in (("n", 1, "970"), ("y", 0, "1000")):
            pid, terminal = pty.fork()
            if pid == 0:
                os.execve(CONTROL_PROGRAM, self.command("--no-pager", "--repair"),
                          environment(TERM="xterm", LC_ALL="C.UTF-8"))
            seen = self.read_until(terminal, "[y/N]")
            self.assertIn("\u2591", seen)
            self.assertLess(seen.index("30 coins given back"), seen.index("[y/N]"))
            os.write(terminal, answer.encode() + b"\n")
            self.read_until(terminal, None)
            os.close(terminal)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), code)
            rows = self.query("SELECT balance_coins FROM user_wallets WHERE user_id = 2")
            self.assertEqual(rows, [[balance]])

    def read_until(self, terminal, text):
        seen = b""
        while text is None or text.encode() not in seen:
            self.assertTrue(select.select([terminal], [], [], PATIENCE_S)[0], seen)
            try:
                part = os.read(terminal, 65536)
            except OSError:
                part = b""
            if not part:
                self.assertIsNone(text, seen)
                return seen.decode()
            seen += part
        return seen.decode()

    def test_what_cannot_be_checked_is_said(self):
        self.query("DELETE FROM saathii_tasks.audit_baseline")
        report = self.report("--grace=1s", code=0)
        self.assertEqual(report["invariants"][2]["result"], "not_checked")
        done = self.audit(REDIS_URL="unix:///nonexistent/redis.sock")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("2 not checked", done.stdout)
        self.assertIn("Redis cannot be asked", done.stdout)

    def test_a_reader_is_enough(self):
        self.query("DROP ROLE IF EXISTS auditor; CREATE ROLE auditor LOGIN;"
                   "GRANT USAGE ON SCHEMA public, saathii_tasks TO auditor;"
                   "GRANT SELECT ON ALL TABLES IN SCHEMA public, saathii_tasks TO auditor")
        url = self.url.replace("user=postgres", "user=auditor")
        self.assertEqual(self.audit(DATABASE_URL=url).returncode, 0)
        self.end_early()
        done = self.audit("--repair", "--yes", DATABASE_URL=url)
        self.assertEqual(done.returncode, 1)
        self.assertIn("permission denied", done.stdout)
        done = self.audit("--baseline", "--yes", DATABASE_URL=url)
        self.assertEqual(done.returncode, 4)
        self.assertIn("permission denied", done.stderr)
        self.query("DROP OWNED BY auditor; DROP ROLE auditor")

    def test_what_goes_wrong(self):
        secret = "postgresql://saathiid:hunter2@127.0.0.1:1/saathii"
        for words, env, code, told in (
                (["--limit", "0"], {}, 2, "--limit"),
                (["--grace", "soon"], {}, 2, "no length of time"),
                (["--since", "soon"], {}, 2, "is not a time"),
                (["--repair", "--baseline"], {}, 2, "--baseline"),
                ([], {"DATABASE_URL": secret}, 3, "cannot be reached"),
                (["--baseline"], {}, 1, "--yes")):
            done = self.audit(*words, **env)
            self.assertEqual(done.returncode, code, (words, done.stderr))
            self.assertIn(told, done.stderr)
            self.assertNotIn("hunter2", done.stderr + done.stdout)
            self.assertEqual(done.stdout, "")
        self.config = self.write("bad.toml", "[postgres]\nulr = 1\n")
        done = self.audit()
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"bad.toml:2:1: .*\n(.*\n)*saathiictl: .* cannot be used")

    def test_ctrl_c_breaks_it_off(self):
        self.config = self.configure('lock_timeout = "5m"')
        holder = subprocess.Popen(
            ["psql", "-X", "-q", "-d", self.postgres.url(DATABASE)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True)
        self.addCleanup(holder.wait, PATIENCE_S)
        self.addCleanup(holder.stdin.close)
        holder.stdin.write("BEGIN; LOCK TABLE user_status IN ACCESS EXCLUSIVE MODE;\n")
        holder.stdin.flush()
        wait_until("the lock", lambda: self.query(
            "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
            " AND relation = 'user_status'::regclass"))
        audit = subprocess.Popen(self.command(), text=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=environment())
        waits = ("SELECT pid FROM pg_stat_activity WHERE application_name = 'saathiictl audit'"
                 " AND wait_event_type = 'Lock'")
        wait_until("the audit to wait", lambda: self.query(waits))
        audit.send_signal(signal.SIGINT)
        out, err = audit.communicate(timeout=PATIENCE_S)
        self.assertEqual((audit.returncode, out), (130, ""))
        self.assertIn("broken off; nothing was written", err)


if __name__ == "__main__":
    unittest.main()
