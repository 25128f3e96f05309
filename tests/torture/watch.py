"""Looks, while people go on, at what no recount afterwards can see: whether Redis ever
tells of coins that PostgreSQL has not taken. A moment of it is a
read that fell between the two; what lasts is a projection that runs ahead."""

import threading
import time

import psycopg2
import redis

EVERY_S = 0.1
LASTING_S = 1.0


class Watch:
    def __init__(self, world):
        self.world = world
        self.ended = threading.Event()
        self.ahead_since = {}
        self.violations = []
        self.looks = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.ended.set()
        self.thread.join(30)

    def _run(self):
        connection = None
        while not self.ended.wait(EVERY_S):
            try:
                connection = connection or self._connect()
                self._look(connection)
                self.looks += 1
            except (OSError, psycopg2.Error, redis.RedisError):
                # A server is away: nothing is known, and so nothing lasts.
                self.ahead_since.clear()
                if connection is not None:
                    connection.close()
                connection = None

    def _connect(self):
        connection = psycopg2.connect(self.world.database, application_name="watch",
                                      connect_timeout=2,
                                      options="-c statement_timeout=2000")
        connection.autocommit = True
        return connection

    def _look(self, connection):
        client = redis.Redis(unix_socket_path=str(self.world.redis.path), decode_responses=True,
                             socket_timeout=2)
        keys = client.keys("call:*")
        shown = {int(key[5:]): int(coins) for key, coins in
                 zip(keys, (client.hget(key, "coins_spent") for key in keys)) if coins}
        client.close()
        # Afterwards, so that PostgreSQL is never behind for having been read first.
        with connection.cursor() as cursor:
            cursor.execute("SELECT call_id, coalesce(coins_spent, 0) FROM user_calls"
                           " WHERE status = 'ongoing'")
            taken = dict(cursor.fetchall())
        now = time.monotonic()
        ahead = {call for call, coins in shown.items() if call in taken and coins > taken[call]}
        self.ahead_since = {call: self.ahead_since.get(call, now) for call in ahead}
        for call, since in self.ahead_since.items():
            if now - since > LASTING_S:
                self.violations.append(f"Redis told {shown[call]} coins of call {call} when"
                                       f" PostgreSQL had taken {taken[call]}")
                self.ahead_since[call] = float("inf")
