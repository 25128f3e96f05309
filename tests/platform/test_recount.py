#!/usr/bin/python3
"""The recount must see every kind of wrong, and nothing wrong where all is right.

Needs SAATHII_TEST_DATABASE_URL and SAATHII_TEST_REDIS_URL: private servers, in
which a database of its own is made for each case and dropped again.
"""

import datetime
import os
import pathlib
import re
import unittest
import uuid
from decimal import Decimal

import psycopg2
import psycopg2.extensions

import platform_api
import recount
import sample
import simulator

ROOT = pathlib.Path(__file__).resolve().parents[2]
REDIS_DATABASE = 15
RATES = {"audio": 10, "video": 60}


def own_tables():
    """saathiid's tables, as its migration creates them."""
    text = (ROOT / "src/postgres/migrations.sql").read_text(encoding="utf-8")
    tables = re.search(r"^-- name: v1_tables\n(.*?)^-- name:", text, re.S | re.M).group(1)
    return "CREATE SCHEMA saathii_tasks;" + tables


def administer(statement):
    connection = psycopg2.connect(os.environ["SAATHII_TEST_DATABASE_URL"])
    connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


class RecountCase(unittest.TestCase):
    """A platform with one listener and two callers, and a hand that charges rightly."""

    def setUp(self):
        self.name = f"recount_{uuid.uuid4().hex[:12]}"
        administer(f"CREATE DATABASE {self.name}")
        self.addCleanup(administer, f"DROP DATABASE {self.name}")
        self.url = platform_api.altered_url(os.environ["SAATHII_TEST_DATABASE_URL"],
                                            database=self.name)
        redis_url = os.environ["SAATHII_TEST_REDIS_URL"]
        self.redis_url = f"{redis_url}?db={REDIS_DATABASE}" if redis_url.startswith("unix") \
            else f"{redis_url.rstrip('/')}/{REDIS_DATABASE}"
        self.connection = psycopg2.connect(self.url)
        self.addCleanup(self.connection.close)
        self.connection.autocommit = True
        self.execute(sample.SCHEMA_FILE.read_text(encoding="utf-8"))
        self.execute(own_tables())
        self.api = platform_api.PlatformApi(self.url, self.redis_url)
        self.addCleanup(self.api.close)
        self.api.redis.flushdb()
        self.addCleanup(self.api.redis.flushdb)

    def execute(self, statement, parameters=None):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def person(self, name, coins):
        user_id = self.execute("INSERT INTO users (username, dob, phone) VALUES (%s, '1990-1-1',"
                               " %s) RETURNING user_id", (name, name))[0][0]
        self.execute("INSERT INTO user_wallets (user_id, balance_coins) VALUES (%s, %s)",
                     (user_id, coins))
        self.execute("INSERT INTO user_status (user_id, is_online) VALUES (%s, true)", (user_id,))
        return user_id

    def call_since(self, caller, listener, seconds, call_type="audio"):
        """A call that began so long ago and of which the API has taken the first minute."""
        call_id = self.api.start_call(caller, listener, call_type)
        self.execute("UPDATE user_calls SET start_time = start_time - %s WHERE call_id = %s",
                     (datetime.timedelta(seconds=seconds), call_id))
        start = self.execute("SELECT start_time FROM user_calls WHERE call_id = %s",
                             (call_id,))[0][0]
        self.api.redis.hset(f"call:{call_id}", "start_time", int(start.timestamp()))
        self.execute("INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins,"
                     " minute_start, source) VALUES (%s, 1, %s, %s, %s, 'api')",
                     (call_id, caller, RATES[call_type], start))
        return call_id

    def charge(self, call_id, minute):
        user_id, call_type = self.execute(
            "SELECT user_id, call_type FROM user_calls WHERE call_id = %s", (call_id,))[0]
        coins = RATES[call_type]
        self.execute("UPDATE user_wallets SET balance_coins = balance_coins - %s"
                     " WHERE user_id = %s", (coins, user_id))
        self.execute("INSERT INTO user_transactions (wallet_id, tx_type, coins_change)"
                     " SELECT wallet_id, 'spend', %s FROM user_wallets WHERE user_id = %s",
                     (-coins, user_id))
        self.execute("UPDATE user_calls SET coins_spent = coins_spent + %s WHERE call_id = %s",
                     (coins, call_id))
        self.execute("INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins,"
                     " minute_start, source) SELECT call_id, %s, user_id, %s,"
                     " start_time + %s * interval '1 minute', 'saathiid' FROM user_calls"
                     " WHERE call_id = %s", (minute, coins, minute - 1, call_id))
        self.api.redis.hincrby(f"call:{call_id}", "coins_spent", coins)

    def settle(self, call_id, reason="balance", end=None):
        """Ends an audio call, now unless told, as saathiid would, at the basic rate."""
        end = end or self.execute("SELECT clock_timestamp()")[0][0]
        start, listener, caller, coins = self.execute(
            "SELECT start_time, listener_id, user_id, coins_spent FROM user_calls"
            " WHERE call_id = %s", (call_id,))[0]
        minutes = coins // RATES["audio"]
        seconds = int((end - start).total_seconds())
        self.execute("UPDATE user_calls SET status = 'dropped', end_time = %s,"
                     " duration_seconds = %s, duration_minutes = %s, listener_money_earned = %s"
                     " WHERE call_id = %s",
                     (end, seconds, max(1, seconds // 60), minutes, call_id))
        self.execute("UPDATE user_wallets SET withdrawable_money = withdrawable_money + %s"
                     " WHERE user_id = %s", (Decimal(minutes), listener))
        self.execute("INSERT INTO user_transactions (wallet_id, tx_type, money_change)"
                     " SELECT wallet_id, 'earn', %s FROM user_wallets WHERE user_id = %s",
                     (Decimal(minutes), listener))
        self.execute("INSERT INTO saathii_tasks.call_settlement (call_id, user_id, listener_id,"
                     " reason, end_time, minutes, coins, earned)"
                     " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                     (call_id, caller, listener, reason, end, minutes, coins, minutes))
        self.execute("UPDATE user_status SET is_busy = false, wait_time = NULL"
                     " WHERE user_id IN (%s, %s)", (caller, listener))
        self.api.redis.delete(f"call:{call_id}")

    def ran(self):
        self.execute("INSERT INTO saathii_tasks.job_run (job, scheduled_at, last_scheduled_at,"
                     " outcome, started_at, finished_at)"
                     " SELECT 'coin_deduction', now, now, 'succeeded', now, now"
                     " FROM clock_timestamp() AS now")

    def wrong(self):
        """The numbers of the invariants that do not hold."""
        connection = psycopg2.connect(self.url)
        tables = recount.Tables(connection)
        connection.close()
        findings = recount.recount(tables, recount.Options(), self.api.redis)
        self.texts = [text for finding in findings for text in finding.violations]
        return [finding.number for finding in findings if finding.violations]

    def scene(self):
        """An ongoing call in its third minute, and one that was dropped in its fourth."""
        self.asha, self.ravi = self.person("Asha", 100), self.person("Ravi", 30)
        self.meera, self.tara = self.person("Meera", 0), self.person("Tara", 0)
        self.api.record_openings()
        self.ongoing = self.call_since(self.asha, self.meera, 150)
        self.dropped = self.call_since(self.ravi, self.tara, 190)
        for call_id in (self.ongoing, self.dropped):
            self.charge(call_id, 2)
            self.charge(call_id, 3)
        self.settle(self.dropped)
        self.ran()
        # Both callers came with the API's first minute already on the log.
        self.execute("UPDATE demo.api_event SET at = at - interval '190 s' WHERE what = 'start'")


    def crashed(self):
        """A call of which the API took two minutes, and whose apps crashed in the first."""
        self.asha, self.meera = self.person("Asha", 100), self.person("Meera", 0)
        self.api.record_openings()
        call_id = self.call_since(self.asha, self.meera, 1200)
        for statement in (
                "UPDATE user_wallets SET balance_coins = balance_coins - 10 WHERE user_id = {asha}",
                "UPDATE user_transactions SET coins_change = -20 WHERE tx_type = 'spend'",
                "UPDATE user_calls SET coins_spent = 20",
                "UPDATE demo.api_event SET coins = 20, at = at - interval '1200 s'",
                "INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins,"
                " minute_start, source) SELECT call_id, 2, user_id, 10, start_time + interval"
                " '1 minute', 'api' FROM user_calls"):
            self.execute(statement.format(asha=self.asha))
        return call_id

    def give_back(self, call_id):
        """Everything of the call that starts after its first minute."""
        self.execute("UPDATE saathii_tasks.call_charge SET refunded_at = clock_timestamp()"
                     " WHERE call_id = %s AND minute > 1", (call_id,))
        self.execute("UPDATE user_calls SET coins_spent = 10 WHERE call_id = %s", (call_id,))
        self.execute("UPDATE user_wallets SET balance_coins = balance_coins + 10"
                     " WHERE user_id = %s", (self.asha,))
        self.execute("INSERT INTO user_transactions (wallet_id, tx_type, coins_change)"
                     " SELECT wallet_id, 'spend', 10 FROM user_wallets WHERE user_id = %s",
                     (self.asha,))
        self.settle(call_id, "stale", self.execute(
            "SELECT start_time FROM user_calls WHERE call_id = %s", (call_id,))[0][0])


class WhereAllIsRight(RecountCase):
    def test_nothing_is_found(self):
        self.scene()
        self.assertEqual([], self.wrong(), getattr(self, "texts", None))

    def test_the_whole_sample_without_a_daemon(self):
        people = sample.Loader(self.api).load(live_calls=30)
        acting = simulator.Simulator(self.api, people, live_calls=30)
        for step in range(20):
            self.assertIsNone(acting.step(step * 2.0))
        # Nobody clears the busy flags that are stuck in the sample.
        self.assertEqual([9], self.wrong(), getattr(self, "texts", None))

    def test_what_the_api_took_beyond_the_end_is_given_back(self):
        self.give_back(self.crashed())
        self.assertEqual([], self.wrong(), getattr(self, "texts", None))

    def test_a_call_that_the_api_ended_is_its_own(self):
        self.scene()
        self.api.end_call(self.ongoing)
        self.assertEqual([], self.wrong(), getattr(self, "texts", None))


class WhatIsWrong(RecountCase):
    """One wrong at a time, each with what it must be found as."""

    def found(self, *statements):
        self.scene()
        for statement in statements:
            self.execute(statement.format(ongoing=self.ongoing, dropped=self.dropped,
                                          asha=self.asha, meera=self.meera, tara=self.tara,
                                          ravi=self.ravi))
        return self.wrong()

    def test_a_charge_without_its_transaction(self):
        self.assertIn(1, self.found(
            "DELETE FROM user_transactions WHERE transaction_id = (SELECT max(transaction_id)"
            " FROM user_transactions WHERE tx_type = 'spend')"))

    def test_a_transaction_without_its_charge(self):
        self.assertEqual([1], self.found(
            "INSERT INTO user_transactions (wallet_id, tx_type, coins_change) SELECT wallet_id,"
            " 'spend', -10 FROM user_wallets WHERE user_id = {asha}",
            "UPDATE user_wallets SET balance_coins = balance_coins - 10 WHERE user_id = {asha}"))

    def test_what_the_api_took_and_is_only_said_to_be_given_back(self):
        self.give_back(self.crashed())
        self.execute("DELETE FROM user_transactions WHERE tx_type = 'spend' AND coins_change > 0")
        self.assertEqual([1, 3], self.wrong())

    def test_a_minute_at_another_price(self):
        self.assertIn(1, self.found("UPDATE saathii_tasks.call_charge SET coins = 11"
                                    " WHERE call_id = {ongoing} AND minute = 3"))

    def test_a_gap(self):
        self.assertIn(2, self.found("UPDATE saathii_tasks.call_charge SET minute = 4"
                                    " WHERE call_id = {ongoing} AND minute = 3"))

    def test_a_started_minute_that_is_not_charged(self):
        self.assertIn(2, self.found(
            "UPDATE user_calls SET start_time = start_time - interval '1 minute'"
            " WHERE call_id = {ongoing}",
            "UPDATE saathii_tasks.call_charge SET minute_start = minute_start - interval"
            " '1 minute' WHERE call_id = {ongoing}",
            "UPDATE demo.api_event SET at = at - interval '1 minute'"))

    def test_a_minute_charged_before_it_started(self):
        self.scene()
        self.charge(self.ongoing, 4)
        self.assertEqual([2], self.wrong())

    def test_a_wallet_that_does_not_add_up(self):
        self.assertEqual([3], self.found("UPDATE user_wallets SET balance_coins ="
                                         " balance_coins + 1 WHERE user_id = {asha}"))

    def test_rupees_that_do_not_add_up(self):
        self.assertEqual([3], self.found("UPDATE user_wallets SET withdrawable_money ="
                                         " withdrawable_money + 0.01 WHERE user_id = {tara}"))

    def test_coins_spent_that_differ(self):
        self.assertIn(4, self.found("UPDATE user_calls SET coins_spent = coins_spent + 10"
                                    " WHERE call_id = {ongoing}"))

    def test_a_balance_below_zero(self):
        self.assertIn(5, self.found("UPDATE user_wallets SET balance_coins = -5"
                                    " WHERE user_id = {ravi}"))

    def test_a_balance_that_was_below_zero_in_between(self):
        self.scene()
        self.execute("UPDATE user_wallets SET balance_coins = balance_coins - 10 + 500"
                     " WHERE user_id = %s", (self.ravi,))
        for tx_type, coins in (("spend", -10), ("purchase", 500)):
            self.execute("INSERT INTO user_transactions (wallet_id, tx_type, coins_change)"
                         " SELECT wallet_id, %s, %s FROM user_wallets WHERE user_id = %s",
                         (tx_type, coins, self.ravi))
        self.assertIn(5, self.wrong())

    def test_a_minute_after_the_end(self):
        self.assertIn(6, self.found("UPDATE user_calls SET end_time = start_time + interval"
                                    " '100 s' WHERE call_id = {dropped}"))

    def test_a_drop_of_a_caller_who_could_pay(self):
        self.scene()
        self.settle(self.ongoing)
        self.assertEqual([7], self.wrong())

    def test_a_drop_that_nobody_settled(self):
        found = self.found("UPDATE user_calls SET status = 'dropped', end_time = now()"
                           " WHERE call_id = {ongoing}")
        self.assertIn(7, found)
        self.assertIn(8, found)

    def test_earnings_that_are_wrong(self):
        self.assertIn(8, self.found("UPDATE saathii_tasks.call_settlement SET earned = 2.99"))

    def test_a_listener_who_was_credited_twice(self):
        self.assertEqual([8], self.found(
            "UPDATE user_wallets SET withdrawable_money = withdrawable_money + 3"
            " WHERE user_id = {tara}",
            "INSERT INTO user_transactions (wallet_id, tx_type, money_change) SELECT wallet_id,"
            " 'earn', 3 FROM user_wallets WHERE user_id = {tara}"))

    def test_a_settlement_of_a_call_that_goes_on(self):
        self.assertIn(8, self.found(
            "INSERT INTO saathii_tasks.call_settlement SELECT {ongoing}, user_id, listener_id,"
            " reason, end_time, minutes, coins, 0, settled_at"
            " FROM saathii_tasks.call_settlement"))

    def test_a_party_of_a_call_who_is_not_busy(self):
        self.assertEqual([9], self.found("UPDATE user_status SET is_busy = false"
                                         " WHERE user_id = {meera}"))

    def test_a_busy_flag_that_is_stuck(self):
        self.assertEqual([9], self.found(
            "INSERT INTO users (username, dob, phone) VALUES ('Kiran', '1990-1-1', '9')",
            "INSERT INTO user_status (user_id, is_busy, updated_at) SELECT user_id, true,"
            " now() - interval '5 minutes' FROM users WHERE username = 'Kiran'"))

    def test_a_key_of_a_call_that_has_ended(self):
        self.scene()
        self.api.redis.hset(f"call:{self.dropped}", "coins_spent", "30")
        self.assertEqual([10], self.wrong())

    def test_a_key_that_is_missing(self):
        self.scene()
        self.api.redis.delete(f"call:{self.ongoing}")
        self.assertEqual([10], self.wrong())

    def test_a_key_that_lives_for_ever(self):
        self.scene()
        self.api.redis.persist(f"call:{self.ongoing}")
        self.assertEqual([10], self.wrong())


if __name__ == "__main__":
    unittest.main()
