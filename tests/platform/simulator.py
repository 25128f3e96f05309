"""What happens on the sample platform by people's doing, while saathiid does the rest.

Each step() does what has become due since the last one: heartbeats, calls that
start, callers who top up, calls that end.
"""

import datetime
import random

import psycopg2
import redis

from platform_api import Refused

HEARTBEAT_SECONDS = 20
STEP_LIMIT = 20  # of each kind of action in one step


class Simulator:
    def __init__(self, api, sample, live_calls=110, seed=2):
        self.api = api
        self.sample = sample
        self.live_calls = live_calls
        self.random = random.Random(seed)
        self.next_heartbeat = {}
        self.next_action = 0.0
        self.started = self.ended = self.topped_up = 0

    def step(self, now):
        """`now` is a steady clock, in seconds. Returns an error's text, or None."""
        try:
            self._heartbeats(now)
            if now >= self.next_action:
                self.next_action = now + self.random.uniform(0.3, 1.2)
                self._people_act()
        except (psycopg2.Error, redis.RedisError, OSError) as error:
            if self.api.connection.closed:
                raise
            self.api.connection.rollback()
            return str(error).strip()
        return None

    def _heartbeats(self, now):
        if not self.next_heartbeat:
            people = set(self.sample.callers + self.sample.listeners)
            people |= {self.sample.asha, self.sample.ravi, self.sample.meera}
            self.next_heartbeat = {
                user_id: now + self.random.uniform(0, HEARTBEAT_SECONDS)
                for user_id in sorted(people - self.sample.silent)}
        due = [user_id for user_id, at in self.next_heartbeat.items() if at <= now]
        for user_id in due:
            self.next_heartbeat[user_id] = now + HEARTBEAT_SECONDS
        self.api.heartbeat(due)

    def _people_act(self):
        calls = self._ongoing()
        self._top_up(calls)
        if len(calls) < self.live_calls:
            self._start(min(3, self.live_calls - len(calls)))
        # A call lasts some minutes; those of the story end by themselves.
        ending = [call for call in calls if call["call_id"] not in self.sample.untouchable
                  and self.random.random() < 0.003]
        for call in ending[:STEP_LIMIT]:
            try:
                self.api.end_call(call["call_id"],
                                  "dropped" if self.random.random() < 0.05 else "completed")
                self.ended += 1
            except Refused:
                pass

    def _ongoing(self):
        with self.api.connection, self.api.connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.call_id, c.user_id, c.call_type, c.start_time, c.coins_spent,"
                " coalesce(w.balance_coins, 0), now()"
                " FROM public.user_calls c LEFT JOIN public.user_wallets w USING (user_id)"
                " WHERE c.status = 'ongoing' ORDER BY c.call_id")
            names = ("call_id", "user_id", "call_type", "start_time", "coins_spent", "balance",
                     "now")
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def _top_up(self, calls):
        for call in calls:
            rate = self.api.rates[call["call_type"]]
            if call["balance"] >= rate:
                continue
            paid_until = call["start_time"] + datetime.timedelta(
                minutes=call["coins_spent"] // rate)
            left_seconds = (paid_until - call["now"]).total_seconds()
            is_asha = call["user_id"] == self.sample.asha
            if is_asha and 0 < left_seconds < 25:
                self._pay(call["user_id"], 50)
            elif not is_asha and call["user_id"] != self.sample.ravi and (
                    call["user_id"] not in self.sample.silent and self.random.random() < 0.01):
                self._pay(call["user_id"], self.random.choice([50, 100, 200]) * rate // 10)

    def _pay(self, user_id, coins):
        self.api.top_up(user_id, coins)
        self.topped_up += 1

    def _start(self, count):
        with self.api.connection, self.api.connection.cursor() as cursor:
            cursor.execute("SELECT user_id FROM public.user_status WHERE NOT is_busy")
            idle = {row[0] for row in cursor.fetchall()} - self.sample.silent
        callers = [user_id for user_id in self.sample.callers if user_id in idle]
        listeners = [user_id for user_id in self.sample.listeners if user_id in idle]
        count = min(count, len(callers), len(listeners))
        for caller, listener in zip(self.random.sample(callers, count),
                                    self.random.sample(listeners, count)):
            try:
                self.api.start_call(caller, listener,
                                    self.random.choice(["audio", "audio", "video"]))
                self.started += 1
            except Refused:
                # Nearly every caller who has run out buys again some day.
                self._pay(caller, 10 * self.random.randint(5, 60))
