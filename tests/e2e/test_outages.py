"""Servers that are down, go away, or stop answering."""

import os
import pathlib
import signal
import unittest

import platform_data as platform
from support import CONFIG, Case, run, wait_until

DATABASE = "outages"


class Outages(Case):
    """Servers of each test's own, because it breaks them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers()
        cls.url = cls.postgres.create(DATABASE)
        cls.config = pathlib.Path(cls.folder) / "saathiid.toml"
        cls.config.write_text(CONFIG.format(
            database=cls.url, redis=cls.redis.url(), timeout="3s", logs=cls.folder))
        done = run("--config", cls.config, "--migrate")
        assert done.returncode == 0, done.stderr

    def query(self, sql):
        return self.postgres.query(sql, DATABASE)

    def add_call(self, age_s=200, balance=1000):
        platform.add_call(self.postgres, DATABASE, 1, age_s=age_s, balance=balance)

    def wait_until_caught_up(self):
        platform.wait_until_caught_up(self.postgres, DATABASE, 1)

    def make_call_older(self, seconds):
        """As if so much time had passed."""
        self.query(f"UPDATE user_calls SET start_time = start_time - interval '{seconds} s'")
        self.query("UPDATE saathii_tasks.call_charge "
                   f"SET minute_start = minute_start - interval '{seconds} s'")

    def finish(self, daemon, balance=1000):
        self.assertEqual(daemon.stop(), 0)
        platform.recount(self, self.postgres, DATABASE, {2: balance})
        self.assertEqual(self.query("SELECT status FROM user_calls"), [["ongoing"]])

    def wait_until_log_files_go(self):
        """log_rotation needs no server."""
        path = self.write("old.log", "x")
        os.utime(path, (1, 1))
        wait_until("log_rotation to delete an old file", lambda: not path.exists())


class ServersDownAtStart(Outages):
    def test_it_starts_waits_and_catches_up(self):
        self.add_call()
        self.postgres.stop()
        self.redis.stop()
        daemon = self.daemon(self.config).ready()
        daemon.notices.wait_for("^STATUS=.*postgres down for ")
        self.wait_until_log_files_go()
        daemon.notices.wait_for("^WATCHDOG=1$", times=4)
        self.assertIsNone(daemon.process.poll())
        self.assertEqual(daemon.log.count("postgres is down"), 1)
        self.postgres.start()
        self.redis.start()
        self.wait_until_caught_up()
        daemon.notices.wait_for("^STATUS=.*postgres up; redis up$")
        self.assertLessEqual(daemon.log.count("redis is down"), 1)
        self.finish(daemon)


class PostgresLost(Outages):
    def test_a_server_that_is_shut_down_and_comes_back(self):
        self.add_call()
        daemon = self.daemon(self.config).ready()
        self.wait_until_caught_up()
        for how in (signal.SIGINT, signal.SIGQUIT):
            line, notice = daemon.log.length(), daemon.notices.length()
            self.postgres.stop(how)
            daemon.notices.wait_for("^STATUS=.*postgres down for ", after=notice)
            daemon.notices.wait_for("^WATCHDOG=1$", times=4, after=daemon.notices.length())
            self.wait_until_log_files_go()
            self.postgres.start()
            self.make_call_older(600)
            self.wait_until_caught_up()
            daemon.log.wait_for("postgres is back after", after=line)
        self.assertEqual(daemon.log.count("postgres is down"), 2)
        self.finish(daemon)

    def test_outcomes_of_the_outage_reach_the_ledger(self):
        daemon = self.daemon(self.config).ready()
        wait_until("an outcome", lambda: self.query(
            "SELECT 1 FROM saathii_tasks.job_run WHERE outcome = 'succeeded'"))
        notice = daemon.notices.length()
        self.postgres.stop()
        daemon.notices.wait_for("^STATUS=.*postgres down for ", after=notice)
        self.wait_until_log_files_go()
        self.postgres.start()
        wait_until("failed ticks in the ledger", lambda: self.query(
            "SELECT 1 FROM saathii_tasks.job_run "
            "WHERE job = 'coin_deduction' AND outcome = 'failed'"))
        self.assertEqual(daemon.stop(), 0)


class PostgresStalled(Outages):
    def test_a_server_that_stops_in_mid_run(self):
        self.add_call()
        daemon = self.daemon(self.config).ready()
        self.wait_until_caught_up()
        notice = daemon.notices.length()
        self.postgres.stall()
        daemon.notices.wait_for("^STATUS=.*postgres down for ", after=notice)
        daemon.notices.wait_for("^WATCHDOG=1$", times=6, after=notice)
        self.wait_until_log_files_go()
        self.postgres.go_on()
        self.make_call_older(600)
        self.wait_until_caught_up()
        self.assertLessEqual(daemon.log.count("postgres is down"), 2)
        self.finish(daemon)

    def test_shutdown_does_not_wait_for_it(self):
        daemon = self.daemon(self.config).ready()
        daemon.notices.wait_for("^STATUS=.*postgres up")
        self.postgres.stall()
        daemon.notices.wait_for("^WATCHDOG=1$", times=4, after=daemon.notices.length())
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.postgres.go_on()


class RedisLost(Outages):
    def shown(self):
        return self.redis.command("HGET", "call:1", "coins_spent")

    def spent(self):
        return self.query("SELECT coins_spent FROM user_calls WHERE call_id = 1")[0][0]

    def test_charging_goes_on_and_redis_is_made_whole(self):
        self.add_call()
        daemon = self.daemon(self.config).ready()
        self.wait_until_caught_up()
        wait_until("Redis to show the call", lambda: self.shown() == self.spent())
        notice = daemon.notices.length()
        self.redis.stop()
        self.make_call_older(300)
        self.wait_until_caught_up()
        daemon.notices.wait_for("^STATUS=.*redis down for ", after=notice)
        self.assertEqual(daemon.log.count("redis is down"), 1)
        self.redis.start()
        wait_until("Redis to show the call again", lambda: self.shown() == self.spent())
        daemon.notices.wait_for("^STATUS=.*redis up", after=notice)
        self.finish(daemon)


if __name__ == "__main__":
    unittest.main()
