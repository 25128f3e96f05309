"""The platform's API under load: callers who start, top up, end and vanish, without
ever asking saathiid. What cannot be done because a server is away is let be, as an
app's request would be."""

import os
import random
import socket
import threading
import time

import psycopg2
import redis

from platform_api import Refused

CALLERS = 120
LISTENERS = 100
HEARTBEAT_S = 5
STEP_S = 0.05


class People:
    """A thread of its own; what it does depends on the seed, when on the machine."""

    def __init__(self, connect, seed, live_calls):
        self.connect = connect
        self.random = random.Random(seed)
        self.live_calls = live_calls
        self.api = None
        self.acting = threading.Event()
        self.resting = threading.Event()
        self.ended = False
        self.to_end = 0  # calls that are to end at once
        self.rushed = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.silent = set()  # apps that crashed, until their call is over
        self.next_heartbeat = {}
        self.counts = dict.fromkeys(
            ("started", "ended", "topped up", "vanished", "deleted", "refused", "failed"), 0)

    def prepare(self):
        self.api = self.connect()
        with self.api.connection, self.api.connection.cursor() as cursor:
            for user_id in range(1, CALLERS + LISTENERS + 1):
                self._add_user(cursor, user_id)
        self.api.record_openings()

    def _add_user(self, cursor, user_id):
        cursor.execute(
            "INSERT INTO users (user_id, username, dob, phone) VALUES (%s, %s, '1990-01-01', %s)",
            (user_id, f"u{user_id}", str(user_id)))
        role = "customer" if user_id <= CALLERS else "listener"
        cursor.execute("INSERT INTO user_roles (user_id, role) VALUES (%s, %s)", (user_id, role))
        cursor.execute("INSERT INTO user_status (user_id, is_online, last_seen)"
                       " VALUES (%s, true, now())", (user_id,))
        # Some listeners have no wallet: settling makes one.
        if user_id <= CALLERS or user_id % 5 != 0:
            coins = self.random.choice([0, 10, 35, 60, 100, 200, 600])
            cursor.execute("INSERT INTO user_wallets (user_id, balance_coins) VALUES (%s, %s)",
                           (user_id, coins if user_id <= CALLERS else 0))

    def start(self):
        self.acting.set()
        self.thread.start()

    def pause(self):
        """Returns once nothing of theirs is in progress."""
        self.resting.clear()
        self.acting.clear()
        self.resting.wait()

    def go_on(self):
        self.acting.set()

    def stop(self):
        self.ended = True
        if self.thread.is_alive():
            self.thread.join(60)
        if self.api is not None:
            self.api.close()

    def rush(self, calls, patience_s):
        """Some calls end at once. Returns when they have, or somebody holds one for longer
        than the patience: the rest end later."""
        self.rushed.clear()
        self.to_end = calls
        self.rushed.wait(patience_s)

    def hang_up(self):
        """As an app's server whose requests take too long: any thread may end its waits."""
        api = self.api
        if api is None:
            return
        try:
            api.redis.connection_pool.disconnect()
            with socket.socket(fileno=os.dup(api.connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg2.Error, redis.RedisError):
            pass  # it has ended by itself

    def _run(self):
        while not self.ended:
            # Those who are there stay there: heartbeats go on in a pause.
            self._attempt(self._heartbeats)
            if self.acting.is_set():
                self._attempt(self._act)
            else:
                self.resting.set()
            time.sleep(STEP_S)

    def _attempt(self, do):
        try:
            if self.api is None:
                self.api = self.connect()
            do()
        except Refused:
            self.counts["refused"] += 1
        except redis.RedisError:
            self.counts["failed"] += 1
        except (psycopg2.Error, OSError):
            self.counts["failed"] += 1
            self._reconnect()

    def _reconnect(self):
        try:
            if self.api is not None:
                self.api.close()
        except (psycopg2.Error, OSError):
            pass
        self.api = None

    def _heartbeats(self):
        now = time.monotonic()
        for user_id in range(1, CALLERS + LISTENERS + 1):
            if user_id not in self.silent and self.next_heartbeat.get(user_id, 0) <= now:
                self.next_heartbeat[user_id] = now + HEARTBEAT_S * self.random.uniform(0.7, 1)
                self.api.heartbeat([user_id])

    def _act(self):
        calls = self._ongoing()
        if self.to_end > 0:
            ending, self.to_end = min(self.to_end, len(calls)), 0
            for call in self.random.sample(calls, ending):
                self._end(call[0])
            self.rushed.set()
            return
        busy = {user_id for call in calls for user_id in call[1:3]}
        self.silent &= busy
        if len(calls) < self.live_calls:
            for _ in range(3):
                self._start(busy)
        if calls:
            call_id, caller, listener, balance = self.random.choice(calls)
            dice = self.random.random()
            if dice < 0.12:
                self._end(call_id)
            elif dice < 0.14:
                self.silent |= {caller, listener}
                self.counts["vanished"] += 1
            elif dice < 0.40 and balance < 60:
                self._top_up(caller)
        if self.random.random() < 0.002:
            self._delete(self.random.randint(1, CALLERS + LISTENERS))

    def _ongoing(self):
        with self.api.connection, self.api.connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.call_id, c.user_id, c.listener_id, coalesce(w.balance_coins, 0)"
                " FROM user_calls c LEFT JOIN user_wallets w USING (user_id)"
                " WHERE c.status = 'ongoing' ORDER BY c.call_id")
            return cursor.fetchall()

    def _start(self, busy):
        caller = self.random.randint(1, CALLERS)
        listener = self.random.randint(CALLERS + 1, CALLERS + LISTENERS)
        if listener in busy or listener in self.silent or caller in self.silent:
            return
        try:
            self.api.start_call(caller, listener, self.random.choice(["audio", "audio", "video"]))
            self.counts["started"] += 1
            busy |= {caller, listener}
        except Refused:
            self.counts["refused"] += 1
            if caller not in busy:
                self._top_up(caller)
        except psycopg2.errors.ForeignKeyViolation:
            self.api.connection.rollback()  # a user who was deleted

    def _end(self, call_id):
        try:
            self.api.end_call(call_id, self.random.choice(["completed", "completed", "dropped"]))
            self.counts["ended"] += 1
        except Refused:
            self.counts["refused"] += 1

    def _top_up(self, user_id):
        self.api.top_up(user_id, self.random.choice([20, 50, 120, 300]))
        self.counts["topped up"] += 1

    def _delete(self, user_id):
        """With everything of theirs; somebody new takes the id, which the log keeps apart."""
        with self.api.connection, self.api.connection.cursor() as cursor:
            cursor.execute("DELETE FROM users WHERE user_id = %s", (user_id,))
            self.counts["deleted"] += cursor.rowcount
