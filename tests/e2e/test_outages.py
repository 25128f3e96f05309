"""Servers that are down, go away, or stop answering."""

import os
import pathlib
import signal
import unittest

import platform_data as platform
from network import network_or_skip
from support import CONFIG, SOURCE, Case, Postgres, run, wait_until

DATABASE = "outages"


class Outages(Case):
    """Servers of each test's own, because it breaks them."""

    make_postgres = Postgres

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers(cls.make_postgres)
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


class NetworkLost(Outages):
    """A daemon on another machine, whose packets go nowhere."""

    @classmethod
    def make_postgres(cls, folder):
        cls.network = network_or_skip()
        cls.addClassCleanup(cls.network.close)
        postgres = Postgres(folder)
        postgres.options = ["-c", f"listen_addresses={cls.network.address}"]
        with (postgres.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        return postgres

    def sessions(self):
        return int(self.query("SELECT count(*) FROM pg_stat_activity"
                              " WHERE application_name = 'saathiid'")[0][0])

    def test_both_sides_give_up_what_the_other_has_lost(self):
        self.add_call()
        from_there = self.config.read_text().replace(
            self.url, f"postgresql://postgres@{self.network.address}/{DATABASE}").replace(
            "[redis]", 'tcp_user_timeout = "1s"\n[redis]')
        daemon = self.daemon(self.write("there.toml", from_there),
                             inside=self.network.inside()).ready()
        self.wait_until_caught_up()
        notice = daemon.notices.length()
        self.network.vanish()
        daemon.notices.wait_for("^STATUS=.*postgres down for ", after=notice)
        daemon.notices.wait_for("^WATCHDOG=1$", times=6, after=notice)
        self.wait_until_log_files_go()
        # They would hold locks, and connections that others may need.
        wait_until("the server to have ended the lost sessions", lambda: self.sessions() == 0)
        self.network.come_back()
        self.make_call_older(600)
        self.wait_until_caught_up()
        self.finish(daemon)


class StandbyLost(Outages):
    """A COMMIT that waits for a synchronous standby which is not there."""

    WAITING = ("SELECT count(*) FROM pg_stat_activity"
               " WHERE usename = 'saathiid' AND wait_event = 'SyncRep'")

    def setUp(self):
        super().setUp()
        # As the daemon's role, so that its waiting commits can be told from ours.
        self.postgres.query((SOURCE / "deploy/saathiid-role.sql").read_text(), DATABASE)
        config = self.config.read_text()
        config = config.replace("user=postgres", "user=saathiid")
        self.hasty = self.write("hasty.toml", config.replace(
            "[redis]", 'statement_timeout = "1s"\ntcp_user_timeout = "1s"\n[redis]'))

    def query(self, sql):
        return super().query("SET synchronous_commit = local; " + sql)

    def set_standby(self, names):
        self.query(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.query("SELECT pg_reload_conf()")
        wait_until("the server to have read it", lambda: self.query(
            "SELECT 1 WHERE current_setting('synchronous_standby_names') = '" + names + "'"))

    def waiting(self):
        return int(self.query(self.WAITING)[0][0])

    def test_nothing_is_lost_doubled_or_taken_for_done(self):
        self.add_call()
        daemon = self.daemon(self.hasty).ready()
        self.wait_until_caught_up()
        balance = self.query("SELECT balance_coins FROM user_wallets WHERE user_id = 2")
        self.set_standby("nobody")
        self.make_call_older(600)
        # statement_timeout does not end the wait: the cancelled COMMIT would be
        # one that only this server has. The run's own time limit ends the session.
        wait_until("a commit to wait for longer than statement_timeout", lambda: self.query(
            "SELECT 1 FROM pg_stat_activity WHERE usename = 'saathiid' AND wait_event = 'SyncRep'"
            " AND query_start < clock_timestamp() - interval '2 s'"))
        daemon.notices.wait_for("^STATUS=.*postgres down for ")
        daemon.log.wait_for("postgres acknowledges nothing: commits of saathiid have waited for a synchronous standby for more than 1s: see"
                            " pg_stat_replication")
        # No session is opened any more that could only wait, too.
        line = daemon.log.length()
        most = self.waiting()
        self.wait_until_log_files_go()
        daemon.notices.wait_for("^WATCHDOG=1$", times=8, after=daemon.notices.length())
        self.assertLessEqual(self.waiting(), max(most, 8))
        self.assertEqual(daemon.log.count("[Cc]ancel"), 0)
        self.assertEqual(self.query("SELECT balance_coins FROM user_wallets WHERE user_id = 2"),
                         balance)
        self.set_standby("")
        self.wait_until_caught_up()
        daemon.log.wait_for("postgres is back after", after=line)
        self.assertEqual(self.waiting(), 0)
        self.finish(daemon)


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
