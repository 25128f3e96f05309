"""The daemon towards its service manager and its own schema."""

import pathlib
import signal
import socket
import threading
import unittest

import platform_data as platform
from support import CONFIG, Case, run, wait_until


class Served(Case):
    """A database of its own for each test, with the schema made."""

    database = "service"
    migrated = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers()

    def setUp(self):
        url = self.postgres.create(self.database)
        self.redis.command("FLUSHALL")
        self.config = self.write("saathiid.toml", self.config_text(url))
        if self.migrated:
            done = run("--config", self.config, "--migrate")
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def config_text(self, url):
        return CONFIG.format(database=url, redis=self.redis.url(), timeout="1m", logs=self.folder)

    def query(self, sql):
        return self.postgres.query(sql, self.database)


class Schema(Served):
    migrated = False

    def schema_is_newer(self):
        run("--config", self.config, "--migrate")
        self.query("INSERT INTO saathii_tasks.schema_version VALUES (99, 'from the future')")

    def test_migrate_twice(self):
        first = run("--config", self.config, "--migrate")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("migrated: version 1", first.stdout)
        second = run("--config", self.config, "--migrate")
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertIn("nothing to do", second.stdout)

    def test_newer_schema_is_refused(self):
        self.schema_is_newer()
        for action in ("--migrate", "--once"):
            done = run("--config", self.config, action)
            self.assertEqual(done.returncode, 1, action)
            self.assertIn("version 99", done.stderr)
        daemon = self.daemon(self.config)
        self.assertEqual(daemon.wait(), 1)
        daemon.log.wait_for("version 99.*install the newer saathiid")

    def test_missing_schema_keeps_the_daemon_up_until_it_is_made(self):
        platform.add_call(self.postgres, self.database, 1, age_s=200, balance=1000)
        daemon = self.daemon(self.config).ready()
        daemon.log.wait_for("schema saathii_tasks is missing.*--migrate")
        done = run("--config", self.config, "--migrate")
        self.assertEqual(done.returncode, 0, done.stderr)
        platform.wait_until_caught_up(self.postgres, self.database, 1)
        wait_until("outcomes in the run ledger",
                   lambda: self.query("SELECT 1 FROM saathii_tasks.job_run LIMIT 1"))
        self.assertEqual(daemon.stop(), 0)

    def test_migrate_at_start(self):
        platform.add_call(self.postgres, self.database, 1, age_s=200, balance=1000)
        self.config.write_text(
            self.config.read_text().replace("[postgres]", "[postgres]\nmigrate_at_start = true"))
        daemon = self.daemon(self.config).ready()
        daemon.log.wait_for("migrated: version 1")
        platform.wait_until_caught_up(self.postgres, self.database, 1)
        self.assertEqual(daemon.stop(), 0)


class Notify(Served):
    def test_ready_status_watchdog_stopping(self):
        platform.add_call(self.postgres, self.database, 1, age_s=200, balance=1000)
        daemon = self.daemon(self.config, watchdog_us=200_000)
        daemon.notices.wait_for("^READY=1$")
        self.assertEqual(daemon.notices.count("^READY=1$"), 1)
        daemon.notices.wait_for(
            r"^STATUS=2 jobs; 1 call.* charged.* at \d\d:\d\d:\d\d in .*; postgres up; redis up$")
        daemon.notices.wait_for("^WATCHDOG=1$", times=3)
        daemon.signal(signal.SIGHUP)
        daemon.log.wait_for("reloaded: nothing has changed")
        daemon.notices.wait_for("^RELOADING=1$")
        daemon.notices.wait_for("^READY=1$", times=2)
        daemon.signal(signal.SIGTERM)
        daemon.notices.wait_for("^STOPPING=1$")
        self.assertEqual(daemon.wait(), 0)
        platform.recount(self, self.postgres, self.database, {2: 1000})

    def test_reload_takes_all_of_a_file_or_nothing(self):
        platform.add_call(self.postgres, self.database, 1, age_s=200, balance=1000)
        daemon = self.daemon(self.config, watchdog_us=200_000).ready()
        text = self.config.read_text()
        self.config.write_text(text + "[rates]\nvide = 1\n")
        daemon.signal(signal.SIGHUP)
        daemon.log.wait_for(r"saathiid.toml:\d+:1: unknown key \"vide\"")
        daemon.log.wait_for("reload refused: 1 error")
        daemon.notices.wait_for("^READY=1$", times=2)
        self.config.write_text(text + "[rates]\naudio = 11\n")
        daemon.signal(signal.SIGHUP)
        daemon.log.wait_for("reloaded; now in force: rates.audio")
        daemon.notices.wait_for("^READY=1$", times=3)
        self.assertEqual(daemon.notices.count("^RELOADING=1$"), 2)
        wait_until("the new rate", lambda: ["audio", "11"] in self.query(
            "SELECT call_type, coins FROM saathii_tasks.coin_rate"))
        self.assertEqual(daemon.stop(), 0)
        platform.recount(self, self.postgres, self.database, {2: 1000})

    def test_log_files_have_every_line_up_to_the_end(self):
        files = pathlib.Path(self.folder) / "job-logs"
        files.mkdir()
        self.config.write_text(self.config.read_text() + f'\n[log]\nfiles = "{files}"\n')
        daemon = self.daemon(self.config).ready()
        wait_until("outcomes in the run ledger",
                   lambda: self.query("SELECT 1 FROM saathii_tasks.job_run LIMIT 1"))
        self.assertEqual(daemon.stop(), 0)
        lines = [line for file in files.iterdir() for line in file.read_text().splitlines()]
        self.assertRegex((files / "saathiid.log").read_text().splitlines()[-1], " info stopped$")
        self.assertEqual(len(lines), daemon.log.length())

    def test_a_long_drain_asks_the_manager_for_its_time(self):
        self.config.write_text(self.config.read_text()
                               .replace('drain_timeout = "10s"', 'drain_timeout = "10m"'))
        daemon = self.daemon(self.config).ready()
        self.assertEqual(daemon.stop(), 0)
        daemon.notices.wait_for(r"^EXTEND_TIMEOUT_USEC=6\d{8}$")

    def test_sigint_stops_too(self):
        daemon = self.daemon(self.config).ready()
        daemon.signal(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)
        daemon.notices.wait_for("^STOPPING=1$")

    def test_bad_configuration_never_gets_ready(self):
        daemon = self.daemon(self.write("bad.toml", "nonsense = 1\n"))
        self.assertEqual(daemon.wait(), 78)
        self.assertEqual(daemon.notices.length(), 0)

    def test_each_tick_has_one_outcome_over_a_restart(self):
        for _ in range(2):
            daemon = self.daemon(self.config).ready()
            before = len(self.query("SELECT 1 FROM saathii_tasks.job_run"))
            wait_until("more outcomes", lambda: len(
                self.query("SELECT 1 FROM saathii_tasks.job_run")) >= before + 5)
            self.assertEqual(daemon.stop(), 0)
        rows = self.query(
            "SELECT job, count(*) FILTER (WHERE scheduled_at = date_trunc('second', scheduled_at)),"
            " extract(epoch FROM max(last_scheduled_at) - min(scheduled_at) FILTER "
            "(WHERE scheduled_at = date_trunc('second', scheduled_at)))::int + 1, sum(ticks) "
            "FROM saathii_tasks.job_run GROUP BY job ORDER BY job")
        # What each host does has the host's name.
        self.assertEqual([row[0] for row in rows],
                         ["coin_deduction", f"log_rotation@{socket.gethostname()}"])
        for job, whole_seconds, span, _ in rows:
            self.assertEqual(whole_seconds, span, job)


class Shutdown(Served):
    def hold_wallet(self, user_id):
        """Locks a wallet's row in a session of its own until the event is set."""
        import subprocess  # pylint: disable=import-outside-toplevel
        session = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-d", self.postgres.url(self.database)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(session.stdout.close)
        self.addCleanup(session.wait)
        self.addCleanup(session.stdin.close)
        session.stdin.write("BEGIN; SELECT user_id FROM user_wallets "
                            f"WHERE user_id = {user_id} FOR UPDATE;\n")
        session.stdin.flush()
        self.assertEqual(session.stdout.readline().strip(), str(user_id))
        return session

    def wait_until_blocked(self):
        wait_until("saathiid to wait for a lock", lambda: self.query(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'saathiid' "
            "AND wait_event_type = 'Lock'"))

    def test_sigterm_lets_a_run_finish(self):
        platform.add_call(self.postgres, self.database, 1, age_s=200, balance=1000)
        holder = self.hold_wallet(2)
        daemon = self.daemon(self.config).ready()
        self.wait_until_blocked()
        daemon.signal(signal.SIGTERM)
        daemon.notices.wait_for("^STATUS=stopping, waiting for coin_deduction")
        holder.stdin.write("ROLLBACK;\n")
        holder.stdin.flush()
        self.assertEqual(daemon.wait(), 0)
        self.assertGreaterEqual(
            len(platform.charged_minutes(self.postgres, self.database, 1)), 4)
        platform.recount(self, self.postgres, self.database, {2: 1000})

    def test_a_run_that_outlasts_the_drain_leaves_nothing_half_done(self):
        self.config.write_text(self.config.read_text()
                               .replace('drain_timeout = "10s"', 'drain_timeout = "1s"'))
        platform.add_call(self.postgres, self.database, 1, age_s=200, balance=1000)
        platform.add_call(self.postgres, self.database, 2, age_s=200, balance=1000)
        holder = self.hold_wallet(4)
        daemon = self.daemon(self.config).ready()
        self.wait_until_blocked()
        self.assertEqual(daemon.stop(), 0)
        platform.recount(self, self.postgres, self.database, {2: 1000, 4: 1000})
        holder.stdin.write("ROLLBACK;\n")
        holder.stdin.flush()
        daemon = self.daemon(self.config).ready()
        for call_id in (1, 2):
            platform.wait_until_caught_up(self.postgres, self.database, call_id)
        self.assertEqual(daemon.stop(), 0)
        platform.recount(self, self.postgres, self.database, {2: 1000, 4: 1000})

    def test_killed_at_any_moment_charges_nothing_twice(self):
        opening = {}
        for call_id in range(1, 21):
            platform.add_call(self.postgres, self.database, call_id, age_s=60 * call_id,
                              balance=5000)
            opening[2 * call_id] = 5000
        for kill_after_s in (0.01, 0.03, 0.06, 0.1, 0.2):
            daemon = self.daemon(self.config)
            killer = threading.Timer(kill_after_s, daemon.process.kill)
            killer.start()
            daemon.wait()
            killer.join()
        daemon = self.daemon(self.config).ready()
        for call_id in range(1, 21):
            platform.wait_until_caught_up(self.postgres, self.database, call_id)
        self.assertEqual(daemon.stop(), 0)
        platform.recount(self, self.postgres, self.database, opening)


if __name__ == "__main__":
    unittest.main()
