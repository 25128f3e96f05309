"""The platform's API as saathiid meets it: what it writes, when, and without asking.

Start, heartbeat, top-up and end of a call, each one transaction on PostgreSQL and
then what belongs to Redis. End takes no lock on the call's row, as the real one
takes none. The demo, the benchmark and the tests share this class.

What the API did is kept in schema `demo`, written in the same transactions, so
that a recount can tell what it did from what saathiid did.
"""

import datetime
import time
import urllib.parse
from decimal import Decimal

import psycopg2
import psycopg2.errors
import redis

REDIS_TTL_SECONDS = 7200
DEADLOCK_TRIES = 5

LOG_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS demo;
-- Each wallet as it was when watching began; later transactions have larger ids.
CREATE TABLE IF NOT EXISTS demo.opening (
  wallet_id           integer PRIMARY KEY,
  user_id             integer NOT NULL,
  coins               bigint NOT NULL,
  money               numeric(12,2) NOT NULL,
  last_transaction_id bigint NOT NULL
);
-- Calls that were ongoing when watching began.
CREATE TABLE IF NOT EXISTS demo.opening_call (
  call_id     integer PRIMARY KEY,
  coins_spent bigint NOT NULL
);
-- What the API did since.
CREATE TABLE IF NOT EXISTS demo.api_event (
  event_id  bigserial PRIMARY KEY,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  what      text NOT NULL CHECK (what IN ('start', 'heartbeat', 'top_up', 'end')),
  call_id   integer,
  user_id   integer,
  coins     bigint NOT NULL DEFAULT 0,
  money     numeric(12,2) NOT NULL DEFAULT 0,
  detail    text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS api_event_call ON demo.api_event (call_id);
CREATE INDEX IF NOT EXISTS api_event_user ON demo.api_event (user_id, at);
"""

# Opening balances hold what every earlier transaction did, so they are taken once,
# before saathiid first runs.
RECORD_OPENINGS = """
INSERT INTO demo.opening
  SELECT wallet_id, user_id, coalesce(balance_coins, 0), coalesce(withdrawable_money, 0),
         (SELECT coalesce(max(transaction_id), 0) FROM public.user_transactions)
    FROM public.user_wallets
  ON CONFLICT DO NOTHING;
INSERT INTO demo.opening_call
  SELECT call_id, coalesce(coins_spent, 0) FROM public.user_calls WHERE status = 'ongoing'
  ON CONFLICT DO NOTHING;
INSERT INTO demo.api_event (at, what, user_id)
  SELECT DISTINCT s.last_seen, 'heartbeat', s.user_id
    FROM public.user_status s
    JOIN public.user_calls c ON s.user_id IN (c.user_id, c.listener_id)
   WHERE c.status = 'ongoing' AND s.last_seen IS NOT NULL;
"""


class Refused(Exception):
    """The API does not start or end this call; the text says why."""


def altered_url(url, database=None, user=None):
    """The PostgreSQL URL with another database or user. The host is in its query."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    path = parts.path
    if database is not None:
        path = f"/{database}"
    if user is not None:
        query["user"] = user
    return (f"{parts.scheme}://{parts.netloc}{path}"
            f"?{urllib.parse.urlencode(query, safe='/')}")


def call_key(call_id):
    return f"call:{call_id}"


def call_hash(user_id, listener_id, call_type, start_time, coins_spent):
    """The fields of call:{id}, all strings."""
    return {
        "user_id": str(user_id),
        "listener_id": str(listener_id),
        "call_type": call_type,
        "start_time": str(int(start_time.timestamp())),
        "coins_spent": str(coins_spent),
    }


class PlatformApi:
    """One connection to each server; for one thread at a time."""

    def __init__(self, database_url, redis_url, audio_rate=10, video_rate=60):
        self.rates = {"audio": audio_rate, "video": video_rate}
        self.connection = psycopg2.connect(database_url, application_name="platform api")
        self.redis = redis.Redis.from_url(redis_url, decode_responses=True, socket_timeout=5)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(LOG_SCHEMA)
            cursor.execute("SET synchronous_commit = on")

    def close(self):
        self.connection.close()
        self.redis.close()

    def record_openings(self):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(RECORD_OPENINGS)

    def start_call(self, caller_id, listener_id, call_type):
        """Takes the first minute; returns the call's id, or raises Refused."""
        rate = self.rates[call_type]
        now = datetime.datetime.now(datetime.timezone.utc)

        def work(cursor):
            cursor.execute(
                "SELECT 1 FROM public.user_calls WHERE user_id = %s AND status = 'ongoing'",
                (caller_id,))
            if cursor.fetchone():
                raise Refused("the caller has an ongoing call")
            cursor.execute(
                "SELECT wallet_id, coalesce(balance_coins, 0) FROM public.user_wallets"
                " WHERE user_id = %s FOR UPDATE", (caller_id,))
            wallet = cursor.fetchone()
            if wallet is None or wallet[1] < rate:
                raise Refused("not one minute's coins")
            wallet_id, balance_before = wallet
            cursor.execute(
                "UPDATE public.user_wallets SET balance_coins = balance_coins - %s,"
                " updated_at = now() WHERE wallet_id = %s", (rate, wallet_id))
            cursor.execute(
                "INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change)"
                " VALUES (%s, 'spend', %s)", (wallet_id, -rate))
            cursor.execute(
                "INSERT INTO public.user_calls (user_id, listener_id, call_type, start_time,"
                " coins_spent, status) VALUES (%s, %s, %s, %s, %s, 'ongoing') RETURNING call_id",
                (caller_id, listener_id, call_type, now, rate))
            call_id = cursor.fetchone()[0]
            wait_time = balance_before // rate
            cursor.execute(
                "UPDATE public.user_status SET is_online = true, is_busy = true, wait_time = %s,"
                " updated_at = now() WHERE user_id = ANY(%s)",
                (wait_time, [caller_id, listener_id]))
            self._log(cursor, "start", call_id, caller_id, coins=rate,
                      detail=f"wait_time {wait_time}")
            return call_id

        call_id = self._transaction(work)
        key = call_key(call_id)
        with self.redis.pipeline() as pipe:
            pipe.hset(key, mapping=call_hash(caller_id, listener_id, call_type, now, rate))
            pipe.expire(key, REDIS_TTL_SECONDS)
            pipe.execute()
        return call_id

    def heartbeat(self, user_ids):
        """The apps of these users say that they live, each in a request of its own."""
        for user_id in user_ids:

            def work(cursor, user_id=user_id):
                cursor.execute(
                    "UPDATE public.user_status SET last_seen = now(), updated_at = now()"
                    " WHERE user_id = %s", (user_id,))
                self._log(cursor, "heartbeat", None, user_id)

            self._transaction(work)

    def top_up(self, user_id, coins):
        def work(cursor):
            cursor.execute(
                "UPDATE public.user_wallets SET balance_coins = coalesce(balance_coins, 0) + %s,"
                " updated_at = now() WHERE user_id = %s RETURNING wallet_id", (coins, user_id))
            wallet = cursor.fetchone()
            if wallet is None:
                raise Refused("no wallet")
            cursor.execute(
                "INSERT INTO public.user_transactions (wallet_id, tx_type, coins_change)"
                " VALUES (%s, 'purchase', %s)", (wallet[0], coins))
            self._log(cursor, "top_up", None, user_id, coins=coins)

        self._transaction(work)

    def end_call(self, call_id, status="completed"):
        """Ends and settles the call; raises Refused if it is not ongoing."""

        def work(cursor):
            cursor.execute(
                "SELECT user_id, listener_id, call_type, start_time, status"
                " FROM public.user_calls WHERE call_id = %s", (call_id,))
            call = cursor.fetchone()
            if call is None or call[4] != "ongoing":
                raise Refused("the call is not ongoing")
            caller_id, listener_id, call_type, start_time, _ = call
            end_time = datetime.datetime.now(datetime.timezone.utc)
            seconds = max(0, int((end_time - start_time).total_seconds()))
            minutes = max(1, seconds // 60)
            earned = minutes * self._listener_rate(cursor, listener_id, call_type)
            cursor.execute(
                "UPDATE public.user_calls SET end_time = %s, duration_seconds = %s,"
                " duration_minutes = %s, listener_money_earned = %s, status = %s,"
                " updated_at = now() WHERE call_id = %s RETURNING coalesce(coins_spent, 0)",
                (end_time, seconds, minutes, int(earned), status, call_id))
            cost = cursor.fetchone()[0]
            cursor.execute(
                "UPDATE public.user_wallets"
                " SET withdrawable_money = coalesce(withdrawable_money, 0) + %s,"
                " updated_at = now() WHERE user_id = %s RETURNING wallet_id",
                (earned, listener_id))
            wallet = cursor.fetchone()
            if wallet is None:
                earned = Decimal(0)
            else:
                cursor.execute(
                    "INSERT INTO public.user_transactions (wallet_id, tx_type, money_change)"
                    " VALUES (%s, 'earn', %s)", (wallet[0], earned))
            cursor.execute(
                "UPDATE public.user_status SET is_busy = false, wait_time = NULL,"
                " updated_at = now() WHERE user_id = ANY(%s)", ([caller_id, listener_id],))
            self._log(cursor, "end", call_id, listener_id, cost, earned, status)

        self._transaction(work)
        self.redis.delete(call_key(call_id))

    @staticmethod
    def _listener_rate(cursor, listener_id, call_type):
        """Rupees a minute by the newest badge; the basic rate without one."""
        cursor.execute(
            "SELECT audio_rate_per_minute, video_rate_per_minute FROM public.listener_badges"
            " WHERE listener_id = %s ORDER BY date DESC LIMIT 1", (listener_id,))
        audio, video = cursor.fetchone() or (Decimal("1.00"), Decimal("6.00"))
        return audio if call_type == "audio" else video

    @staticmethod
    def _log(cursor, what, call_id, user_id, coins=0, money=Decimal(0), detail=""):
        cursor.execute(
            "INSERT INTO demo.api_event (what, call_id, user_id, coins, money, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s)", (what, call_id, user_id, coins, money, detail))

    def _transaction(self, work):
        """Runs work(cursor) in one transaction; a deadlock's victim tries again."""
        for attempt in range(1, DEADLOCK_TRIES + 1):
            try:
                with self.connection, self.connection.cursor() as cursor:
                    return work(cursor)
            except (psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure):
                if attempt == DEADLOCK_TRIES:
                    raise
                time.sleep(0.02 * attempt)
        raise AssertionError("unreachable")
