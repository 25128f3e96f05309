"""/health and /metrics of a daemon at work, and what operators hang on them."""

import http.client
import json
import pathlib
import re
import signal
import socket
import sys
import unittest

import platform_data as platform
from support import CONFIG, Case, SOURCE, run, wait_until

sys.path.insert(0, str(SOURCE / "tests/deploy"))
import queries  # noqa: E402

DATABASE = "http"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Http(Case):
    """A daemon that runs every job at its start, and serves on a Unix socket."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers()
        cls.socket = pathlib.Path(cls.folder) / "http.sock"
        cls.config = pathlib.Path(cls.folder) / "saathiid.toml"

    def setUp(self):
        self.url = self.postgres.create(DATABASE)
        self.redis.command("FLUSHALL")
        self.configure(f"unix:{self.socket}")
        done = run("--config", self.config, "--migrate")
        self.assertEqual(done.returncode, 0, done.stderr)

    def configure(self, listen, health=""):
        text = CONFIG.format(database=self.url, redis=self.redis.url(), timeout="3s",
                             logs=self.folder)
        self.config.write_text(text.replace("enabled = false", "run_at_start = true") +
                               f'[http]\nlisten = "{listen}"\n[health]\n{health}\n')

    def ask(self, page, connection=None, method="GET"):
        own = None if connection else UnixConnection(self.socket)
        try:
            (connection or own).request(method, page)
            answer = (connection or own).getresponse()
            return answer.status, answer.read().decode()
        finally:
            if own:
                own.close()

    def metrics(self):
        status, text = self.ask("/metrics")
        self.assertEqual(status, 200)
        return text

    def value(self, series, text=None):
        """Of the series, written as it stands there; None: it is not there."""
        for line in (text or self.metrics()).splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def succeeded(self, job):
        return self.value(f'saathiid_job_ticks_total{{job_name="{job}",outcome="succeeded"}}')


class Exposition(Http):
    def metrics_of_a_daemon_at_work(self):
        # Where all of a disk should be free, there is a finding to show.
        self.configure(f"unix:{self.socket}", "disk_free_degraded = 100")
        platform.add_call(self.postgres, DATABASE, 1, age_s=200, balance=1000)
        platform.add_call(self.postgres, DATABASE, 2, age_s=200, balance=25)
        daemon = self.daemon(self.config).ready()
        platform.wait_until_caught_up(self.postgres, DATABASE, 1)
        wait_until("a success of every job", lambda: all(
            self.succeeded(job) for job in ("presence_cleanup", "coin_deduction", "call_cleanup",
                                            "badge_assignment", "log_rotation")))
        wait_until("a look at the disk", lambda: "saathiid_health_finding" in self.metrics())
        wait_until("the call to end that is not paid for",
                   lambda: self.value('saathiid_calls_dropped_total{job_name="coin_deduction",'
                                      'reason="balance"}') == 1)
        return daemon, self.metrics()

    def test_every_rule_and_panel_asks_for_what_is_there(self):
        daemon, text = self.metrics_of_a_daemon_at_work()
        self.assertEqual(queries.problems(text), [])
        self.assertEqual(queries.undocumented(text), ([], []))
        if queries.has_promtool():
            self.assertEqual(queries.promtool_problems(text), [])
        self.assertEqual(daemon.stop(), 0)

    def test_a_query_for_what_is_not_there_is_found(self):
        _, text = self.metrics_of_a_daemon_at_work()
        for change, wrong in (
                (("saathiid_users_online", "saathiid_people_online"),
                 "People: there is no metric saathiid_users_online"),
                (('state="stuck"', 'state="hung"'),
                 "SaathiidJobStuck: no series of saathiid_job_state matches"),
                (('reason="', 'cause="'), "Calls ended, by reason: no label reason to group by"),
                (('folder="', 'path="'), "saathiid.rules.yml: no label folder to show")):
            problems = queries.problems(text.replace(*change))
            self.assertTrue(any(problem.startswith(wrong) for problem in problems),
                            (wrong, problems))
            if queries.has_promtool() and not wrong.startswith(("Calls", "saathiid.rules")):
                self.assertNotEqual(queries.promtool_problems(text.replace(*change)), [])

    def test_money_in_metrics_is_money_in_the_tables(self):
        daemon, _ = self.metrics_of_a_daemon_at_work()
        self.postgres.query("UPDATE user_calls SET status = 'completed' WHERE call_id = 1",
                            DATABASE)
        wait_until("a run after the last call ended", lambda: self.value(
            'saathiid_calls_held{job_name="coin_deduction"}') == 0)

        def of_tables(sql):
            return float(self.postgres.query(sql, DATABASE)[0][0])

        charges = "saathii_tasks.call_charge WHERE source = 'saathiid'"
        for metric, sql in (
                ("saathiid_charges_total", f"SELECT count(*) FROM {charges}"),
                ("saathiid_coins_charged_total", f"SELECT sum(coins) FROM {charges}"),
                ("saathiid_earnings_rupees_total",
                 "SELECT sum(earned) FROM saathii_tasks.call_settlement")):
            series = f'{metric}{{job_name="coin_deduction"}}'
            wait_until(f"{series} to be what the tables say",
                       lambda m=series, q=sql: self.value(m) == of_tables(q))
            self.assertGreater(self.value(series), 0)
        self.assertEqual(daemon.stop(), 0)

    def test_pages_tell_no_password(self):
        secret = "s3cret-p4ssword"
        self.url = self.url.replace("user=postgres", f"user=postgres&password={secret}")
        self.configure(f"unix:{self.socket}")
        daemon = self.daemon(self.config).ready()
        wait_until("a run", lambda: self.succeeded("coin_deduction"))
        self.postgres.stop()
        wait_until("health to know it", lambda: self.ask("/health")[1].count("down since"))
        self.assertNotIn(secret, self.ask("/health")[1] + self.metrics())
        self.postgres.start()
        self.assertEqual(daemon.stop(), 0)


class Health(Http):
    def health(self):
        status, text = self.ask("/health")
        return status, json.loads(text)

    def check(self, name):
        return next(check for check in self.health()[1]["checks"] if check["check"] == name)

    def test_a_lost_database_is_degraded_then_failing_then_over(self):
        self.configure(f"unix:{self.socket}", 'postgres_down_after = "1s"')
        daemon = self.daemon(self.config).ready()
        wait_until("health to be ok", lambda: self.health()[1]["level"] == "ok")
        self.assertEqual(self.health()[0], 200)
        self.assertEqual(self.ask("/health", method="HEAD"), (200, ""))
        self.postgres.stop()
        wait_until("health to fail", lambda: self.health()[0] == 503)
        self.assertEqual(self.health()[1]["level"], "failing")
        self.assertEqual(self.check("postgres")["state"], "down")
        self.assertRegex(self.check("postgres")["message"], "^down since ")
        self.assertEqual(self.value('saathiid_server_up{server="postgres"}'), 0)
        self.assertEqual(self.value('saathiid_health_status{level="failing"}'), 1)
        self.postgres.start()
        wait_until("health to be ok again", lambda: self.health()[1]["level"] == "ok")
        self.assertEqual(self.value('saathiid_server_up{server="postgres"}'), 1)
        self.assertEqual(daemon.stop(), 0)

    def test_a_lost_cache_is_degraded_and_served_with_200(self):
        daemon = self.daemon(self.config).ready()
        wait_until("health to be ok", lambda: self.health()[1]["level"] == "ok")
        self.redis.stop()
        wait_until("health to be degraded", lambda: self.health()[1]["level"] == "degraded")
        self.assertEqual(self.health()[0], 200)
        self.assertEqual(self.check("redis")["level"], "degraded")
        self.redis.start()
        wait_until("health to be ok again", lambda: self.health()[1]["level"] == "ok")
        self.assertEqual(daemon.stop(), 0)


class Listening(Http):
    def test_a_port_in_use_stops_no_charging(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            self.configure(f"127.0.0.1:{port}")
            platform.add_call(self.postgres, DATABASE, 1, age_s=200, balance=1000)
            daemon = self.daemon(self.config).ready()
            daemon.log.wait_for(f"cannot listen on 127.0.0.1:{port}.*Address already in use")
            platform.wait_until_caught_up(self.postgres, DATABASE, 1)
        daemon.log.wait_for(f"listening on 127.0.0.1:{port}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.addCleanup(connection.close)
        self.assertEqual(self.ask("/health", connection)[0], 200)
        self.assertEqual(self.ask("/", connection)[0], 200)
        self.assertEqual(self.ask("/none", connection)[0], 404)
        # An idle client does not hold up the end.
        self.assertEqual(daemon.stop(), 0)

    def test_a_reload_moves_it(self):
        daemon = self.daemon(self.config).ready()
        wait_until("an answer", lambda: self.ask("/health"))
        before = self.socket
        self.socket = before.with_name("other.sock")
        self.addCleanup(setattr, self, "socket", before)
        self.configure(f"unix:{self.socket}")
        daemon.signal(signal.SIGHUP)
        daemon.log.wait_for("reloaded; now in force: http.listen")
        self.assertEqual(self.ask("/health")[0], 200)
        self.assertFalse(before.exists())
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(self.socket.exists())

    def test_a_killed_daemon_leaves_nothing_in_the_way(self):
        for _ in range(2):
            daemon = self.daemon(self.config).ready()
            self.assertEqual(self.ask("/health")[0], 200)
            daemon.process.kill()
            daemon.wait()
            self.assertTrue(self.socket.exists())

    def test_an_address_of_others_is_refused(self):
        self.configure("0.0.0.0:9464")
        done = run("--config", self.config, "--check-config")
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, re.escape(str(self.config)) +
                         r":\d+:\d+: http.listen: .*not a loopback address.*reverse proxy")

    def test_off_is_off(self):
        self.configure("")
        daemon = self.daemon(self.config).ready()
        daemon.notices.wait_for("^STATUS=.*postgres up")
        self.assertEqual(daemon.log.count("http:"), 0)
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
