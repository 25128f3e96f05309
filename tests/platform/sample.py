#!/usr/bin/python3
"""Loads the sample platform: people, wallets, live calls and what goes wrong with them.

Everything is made relative to the database's clock, so that the sample is always
"now": calls begun in the last minutes, callers about to run out, crashed apps,
stuck busy flags, a day of talk yesterday, and old logs in a folder.
"""

import dataclasses
import datetime
import os
import pathlib
import random
import time
import zoneinfo

import psycopg2.extras

from platform_api import REDIS_TTL_SECONDS, call_hash, call_key

SCHEMA_FILE = pathlib.Path(__file__).with_name("schema.sql")

WOMEN = ("Priya Kavya Ananya Diya Isha Lakshmi Nisha Pooja Radha Sneha Tara Uma Vidya"
         " Zoya Leela Gauri Rekha Sunita Maya Anjali Deepa Geeta Hema Jaya Kiran Lata Mala Neha"
         " Padma Rani Sita Usha Veena Chitra Bhavna Kamala Nandini Swati").split()
MEN = ("Arjun Dev Kabir Rohan Vikram Amit Sunil Rajesh Manoj Sanjay Vivek Nikhil Rahul Karan"
       " Suresh Ganesh Mohan Gopal Hari Imran Joseph Kartik Lalit Mahesh Naveen Om Pranav Ramesh"
       " Siddharth Tarun Uday Varun Yash Ajay Bharat Chetan Dinesh Farhan Girish").split()


@dataclasses.dataclass
class Sample:
    """Who is who."""

    asha: int = 0  # tops up in time
    ravi: int = 0  # runs out
    meera: int = 0  # earns by Ravi's call
    callers: list = dataclasses.field(default_factory=list)
    listeners: list = dataclasses.field(default_factory=list)
    silent: set = dataclasses.field(default_factory=set)  # their apps have crashed
    untouchable: set = dataclasses.field(default_factory=set)  # calls that the API leaves alone


class Loader:
    def __init__(self, api, seed=1, timezone="Asia/Kolkata"):
        self.api = api
        self.random = random.Random(seed)
        self.timezone = zoneinfo.ZoneInfo(timezone)
        self.sample = Sample()
        self.user_count = 0
        self.calls = []  # rows of user_calls
        self.statuses = {}  # by user id
        self.wallets = {}

    def load(self, live_calls=110):
        connection = self.api.connection
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('public.users') IS NULL, now()")
            is_empty, self.now = cursor.fetchone()
            if is_empty:
                cursor.execute(SCHEMA_FILE.read_text(encoding="utf-8"))
            self._people(cursor, live_calls)
            self._named_calls()
            self._live_calls(live_calls)
            self._two_calls_on_one_wallet()
            self._ghosts()
            self._stuck_and_absent()
            self._yesterday(cursor)
            self._write(cursor)
        self._write_redis()
        self.api.record_openings()
        return self.sample

    # People

    def _people(self, cursor, live_calls):
        spare = 60
        for _ in range(live_calls + spare):
            self.sample.callers.append(self._person(cursor, "customer", MEN))
        for _ in range(live_calls + spare):
            self.sample.listeners.append(self._person(cursor, "listener", WOMEN))
        self.sample.asha = self._person(cursor, "customer", ["Asha"])
        self.sample.ravi = self._person(cursor, "customer", ["Ravi"])
        self.sample.meera = self._person(cursor, "listener", ["Meera"])
        self.idle_callers = list(self.sample.callers)
        self.idle_listeners = list(self.sample.listeners)
        self.random.shuffle(self.idle_callers)
        self.random.shuffle(self.idle_listeners)

    def _person(self, cursor, role, names):
        self.user_count += 1
        name = names[0]
        if len(names) > 1:
            name = f"{self.random.choice(names)[:7]}{self.user_count}"
        cursor.execute(
            "INSERT INTO public.users (username, sex, dob, phone, preferred_language)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING user_id",
            (name, "female" if names is WOMEN or name in ("Asha", "Meera") else "male",
             datetime.date(self.random.randint(1970, 2004), 1, 1),
             f"+9198{self.user_count:08d}", self.random.choice(["Hindi", "Tamil", "Telugu"])))
        user_id = cursor.fetchone()[0]
        cursor.execute("INSERT INTO public.user_roles (user_id, role) VALUES (%s, %s)",
                       (user_id, role))
        self.wallets[user_id] = 0 if role == "listener" else self.random.randint(3, 60) * 10
        self.statuses[user_id] = [True, self._ago(self.random.uniform(0, 20)), False, None]
        return user_id

    def _ago(self, seconds):
        return self.now - datetime.timedelta(seconds=seconds)

    # Calls that go on. A wallet is given what it holds after the first minute.

    def _ongoing(self, caller, listener, call_type, seconds_ago, balance):
        rate = self.api.rates[call_type]
        self.wallets[caller] = balance
        wait_time = (balance + rate) // rate
        for user_id in (caller, listener):
            self.statuses[user_id][0] = True
            self.statuses[user_id][2:] = [True, wait_time]
        self.calls.append((caller, listener, call_type, self._ago(seconds_ago), None, None, None,
                           rate, 0, "ongoing"))
        return len(self.calls) - 1

    def _named_calls(self):
        self.named = [
            # The third minute, in 20 s, is Asha's last; she tops up during it.
            self._ongoing(self.sample.asha, self.idle_listeners.pop(), "audio", 100, 20),
            # Ravi has paid all he can; his fifth minute begins in 40 s.
            self._ongoing(self.sample.ravi, self.sample.meera, "audio", 200, 30),
        ]

    def _live_calls(self, count):
        for number in range(count):
            call_type = "video" if number % 3 == 0 else "audio"
            rate = self.api.rates[call_type]
            seconds_ago = self.random.uniform(1, 420)
            unpaid = int(seconds_ago // 60)
            # One in five is about to run out.
            left = (self.random.randint(0, 1) if number % 5 == 0
                    else self.random.randint(3, 40))
            self._ongoing(self.idle_callers.pop(), self.idle_listeners.pop(), call_type,
                          seconds_ago, (unpaid + left) * rate + self.random.randint(0, rate - 1))

    def _two_calls_on_one_wallet(self):
        caller = self.idle_callers.pop()
        self.named.append(self._ongoing(caller, self.idle_listeners.pop(), "audio", 70, 300))
        self.named.append(self._ongoing(caller, self.idle_listeners.pop(), "video", 40, 300))

    def _ghosts(self):
        """Both apps crashed. Seconds since the start and since one was last seen, coins."""
        self.ghosts = []
        for since_start, since_seen, coins in (
                (1500, 720, 900), (1260, 660, 5000), (2400, 840, 240), (960, 780, 700),
                (1800, 1000, 3000), (1330, 640, 2000), (3 * 86400, 3 * 86400 - 600, 400),
                # These two are given up while the demo runs: minutes go back.
                (900, 575, 800), (1000, 555, 900)):
            caller, listener = self.idle_callers.pop(), self.idle_listeners.pop()
            self.ghosts.append(self._ongoing(caller, listener, "audio", since_start, coins))
            for user_id, later in ((caller, 0), (listener, 45)):
                self.statuses[user_id][1] = self._ago(since_seen + later)
                self.sample.silent.add(user_id)

    def _stuck_and_absent(self):
        # Their calls ended, but the API died before it cleared who was busy.
        for _ in range(4):
            caller, listener = self.idle_callers.pop(), self.idle_listeners.pop()
            seconds_ago = self.random.uniform(150, 900)
            self.calls.append((caller, listener, "audio", self._ago(seconds_ago + 61),
                               self._ago(seconds_ago), 61, 1, 10, 1, "completed"))
            for user_id in (caller, listener):
                self.statuses[user_id][2:] = [True, self.random.randint(2, 9)]
        for people in (self.idle_callers, self.idle_listeners):
            self.statuses[people.pop()][2:] = [True, 0]
            for _ in range(6):
                user_id = people.pop()
                self.statuses[user_id][1] = self._ago(self.random.uniform(330, 1800))
                self.sample.silent.add(user_id)

    # What has been

    def _yesterday(self, cursor):
        cursor.execute("SELECT (now() AT TIME ZONE %s)::date", (str(self.timezone),))
        day = cursor.fetchone()[0] - datetime.timedelta(days=1)
        midnight = datetime.datetime.combine(day, datetime.time(), self.timezone)
        for number, listener in enumerate([self.sample.meera] + self.sample.listeners[:70]):
            start = midnight + datetime.timedelta(minutes=self.random.randint(0, 90))
            hours = 6.5 if number == 0 else self.random.uniform(0, 11)
            talked_minutes = 0
            while talked_minutes < hours * 60:
                minutes = self.random.randint(20, 110)
                end = start + datetime.timedelta(minutes=minutes)
                status = "dropped" if self.random.random() < 0.1 else "completed"
                self.calls.append((self.random.choice(self.sample.callers), listener, "audio",
                                   start, end, minutes * 60, minutes, minutes * 10, minutes,
                                   status))
                start = end + datetime.timedelta(minutes=self.random.randint(1, 15))
                talked_minutes += minutes

    # Writing

    def _write(self, cursor):
        insert = psycopg2.extras.execute_values
        insert(cursor, "INSERT INTO public.user_wallets (user_id, balance_coins) VALUES %s",
               sorted(self.wallets.items()))
        insert(cursor, "INSERT INTO public.user_status (user_id, is_online, last_seen, is_busy,"
                       " wait_time) VALUES %s",
               [(user_id, *row) for user_id, row in sorted(self.statuses.items())])
        ids = insert(cursor, "INSERT INTO public.user_calls (user_id, listener_id, call_type,"
                             " start_time, end_time, duration_seconds, duration_minutes,"
                             " coins_spent, listener_money_earned, status) VALUES %s"
                             " RETURNING call_id", self.calls, fetch=True)
        self.call_ids = [row[0] for row in ids]
        self.sample.untouchable = {self.call_ids[index] for index in self.named + self.ghosts}

    def _write_redis(self):
        with self.api.redis.pipeline(transaction=False) as pipe:
            for call_id, call in zip(self.call_ids, self.calls):
                if call[9] == "ongoing":
                    caller, listener, call_type, start = call[:4]
                    key = call_key(call_id)
                    pipe.hset(key, mapping=call_hash(caller, listener, call_type, start, call[7]))
                    pipe.expire(key, REDIS_TTL_SECONDS)
            pipe.execute()


def write_logs(folder):
    """Old and new logs, and what rotation must leave alone. Returns how many are old."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time()
    ages_days = {"api.log": 0, "worker.log": 2}
    ages_days.update({f"api-{days}.log": days for days in range(8, 20)})
    ages_days["notes.txt"] = 60
    for name, days in ages_days.items():
        path = folder / name
        path.write_text(f"{name}: a line of the platform\n" * 200, encoding="utf-8")
        os.utime(path, (now - days * 86400, now - days * 86400))
    (folder / "elsewhere.log").symlink_to("/etc/hostname")
    return sum(days > 7 for name, days in ages_days.items() if name.endswith(".log"))
