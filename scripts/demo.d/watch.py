"""Reads what saathiid did, from its tables, and puts it into words.

Watch.poll() returns a State for the screen and the events since the last poll.
"""

import collections
import dataclasses
import datetime
import json

import psycopg2
import redis

# How far back a poll looks again: a charge is stamped before it is committed.
OVERLAP = datetime.timedelta(seconds=30)
SINGLE_CHARGES = 4  # told one by one in a poll; the others in one line
REMEMBERED = 20_000
RUPEE = "\u20b9"

MONEY_SQL = """
SELECT (SELECT coalesce(sum(coins), 0) FROM demo.opening),
       (SELECT coalesce(sum(coins), 0) FROM demo.api_event WHERE what = 'top_up'),
       (SELECT coalesce(sum(coins), 0) FROM demo.api_event WHERE what = 'start'),
       (SELECT coalesce(sum(coins), 0) FROM saathii_tasks.call_charge WHERE source = 'saathiid'),
       (SELECT coalesce(sum(coins), 0) FROM saathii_tasks.call_charge
         WHERE refunded_at IS NOT NULL),
       (SELECT coalesce(sum(balance_coins), 0) FROM public.user_wallets),
       (SELECT count(*) FROM saathii_tasks.call_charge WHERE source = 'saathiid'),
       (SELECT coalesce(sum(coins), 0) FROM saathii_tasks.call_charge
         WHERE source = 'saathiid' AND charged_at > clock_timestamp() - interval '60 s'),
       (SELECT coalesce(sum(earned), 0) FROM saathii_tasks.call_settlement),
       (SELECT count(*) FROM saathii_tasks.call_settlement),
       (SELECT count(*) FROM demo.api_event WHERE what = 'end'),
       (SELECT count(*) FROM demo.api_event WHERE what = 'start')
"""

FLOW_SQL = """
SELECT floor(date_part('epoch', clock_timestamp() - charged_at) / 5)::int, sum(coins)
  FROM saathii_tasks.call_charge
 WHERE source = 'saathiid' AND charged_at > clock_timestamp() - interval '300 s'
 GROUP BY 1
"""

CALLS_SQL = """
SELECT c.call_id, u.username, l.username, c.call_type,
       floor(date_part('epoch', clock_timestamp() - c.start_time))::bigint,
       coalesce(c.coins_spent, 0), coalesce(w.balance_coins, 0),
       date_part('epoch', clock_timestamp() - least(su.last_seen, sl.last_seen))::bigint,
       date_part('epoch', clock_timestamp() - greatest(su.last_seen, sl.last_seen))::bigint
  FROM public.user_calls c
  JOIN public.users u ON u.user_id = c.user_id
  JOIN public.users l ON l.user_id = c.listener_id
  LEFT JOIN public.user_wallets w ON w.user_id = c.user_id
  LEFT JOIN public.user_status su ON su.user_id = c.user_id
  LEFT JOIN public.user_status sl ON sl.user_id = c.listener_id
 WHERE c.status = 'ongoing'
"""

RUNS_SQL = """
SELECT DISTINCT ON (job) job, scheduled_at, outcome, reason, started_at, finished_at, counts
  FROM saathii_tasks.job_run
 ORDER BY job, scheduled_at DESC
"""


@dataclasses.dataclass
class Call:
    call_id: int
    caller: str
    listener: str
    call_type: str
    seconds: int
    coins: int
    balance: int
    seconds_unseen: int  # the one of the two who was seen last
    rate: int

    @property
    def minutes_left(self):
        return self.balance // self.rate


@dataclasses.dataclass
class Run:
    job: str
    scheduled_at: datetime.datetime
    outcome: str
    reason: str
    started_at: datetime.datetime
    finished_at: datetime.datetime
    counts: dict

    @property
    def milliseconds(self):
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds() * 1000


@dataclasses.dataclass
class State:
    now: datetime.datetime
    opening: int
    bought: int
    first_minutes: int
    charged: int
    given_back: int
    in_wallets: int
    charges: int
    last_minute: int
    earned: object
    settlements: int
    api_ends: int
    api_starts: int
    flow: list  # coins charged per 5 s, oldest first
    calls: list
    runs: dict
    online: int
    published: int

    @property
    def adds_up(self):
        return self.in_wallets == (self.opening + self.bought - self.first_minutes - self.charged
                                   + self.given_back)


@dataclasses.dataclass(frozen=True)
class Event:
    at: datetime.datetime
    kind: str  # charge, warning, drop, ghost, job, api
    text: str


class Watch:
    def __init__(self, database_url, redis_url, rates):
        self.rates = rates
        self.connection = psycopg2.connect(database_url, application_name="demo view")
        self.connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        self.redis = redis.Redis.from_url(redis_url, decode_responses=True, socket_timeout=2)
        self.channels = self.redis.pubsub(ignore_subscribe_messages=True)
        self.channels.subscribe("call_events", "status_updates")
        self.published = 0
        self.seen = collections.OrderedDict()
        self.names = {}
        self.last_event_id = 0
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT user_id, username FROM public.users")
            self.names.update(cursor.fetchall())
            cursor.execute("SELECT clock_timestamp()")
            self.since = cursor.fetchone()[0]

    def close(self):
        self.connection.close()
        self.channels.close()
        self.redis.close()

    def poll(self):
        with self.connection, self.connection.cursor() as cursor:
            state = self._state(cursor)
            events = (self._api_events(cursor) + self._charges(cursor)
                      + self._settlements(cursor) + self._runs(cursor) + self._warnings(state))
        self.since = state.now
        state.published = self.published
        return state, sorted(events, key=lambda event: event.at)

    def _state(self, cursor):
        cursor.execute("SELECT clock_timestamp()")
        now = cursor.fetchone()[0]
        cursor.execute(MONEY_SQL)
        money = cursor.fetchone()
        cursor.execute(FLOW_SQL)
        flow = [0] * 60
        for slot, coins in cursor.fetchall():
            if 0 <= slot < len(flow):
                flow[-1 - slot] = int(coins)
        cursor.execute(CALLS_SQL)
        calls = [Call(*row[:7], row[8] or 0, self.rates[row[3]]) for row in cursor.fetchall()]
        cursor.execute(RUNS_SQL)
        runs = {row[0]: Run(*row) for row in cursor.fetchall()}
        cursor.execute("SELECT count(*) FROM public.user_status WHERE is_online")
        online = cursor.fetchone()[0]
        return State(now, *money, flow, calls, runs, online, 0)

    def _is_new(self, key):
        if key in self.seen:
            return False
        self.seen[key] = True
        while len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)
        return True

    def _name(self, user_id):
        return self.names.get(user_id, f"user {user_id}")

    # What the API did

    def _api_events(self, cursor):
        cursor.execute(
            "SELECT e.event_id, e.at, e.what, e.user_id, e.coins, e.money, c.user_id,"
            " c.listener_id, c.call_type, c.duration_minutes, e.detail"
            " FROM demo.api_event e LEFT JOIN public.user_calls c USING (call_id)"
            " WHERE e.at > %s AND e.what <> 'heartbeat' ORDER BY e.event_id",
            (self.since - OVERLAP,))
        events = []
        for (event_id, at, what, user_id, coins, money, caller, listener, call_type, minutes,
             _) in cursor.fetchall():
            if not self._is_new(("api", event_id)):
                continue
            if what == "start":
                text = f"{self._name(caller)} calls {self._name(listener)} ({call_type})"
            elif what == "top_up":
                text = f"{self._name(user_id)} buys {coins} coins"
            else:
                text = (f"{self._name(caller)} hangs up after {minutes} min;"
                        f" {self._name(listener)} earns {RUPEE} {money}")
            events.append(Event(at, "api", text))
        return events

    # What saathiid did

    def _charges(self, cursor):
        cursor.execute(
            "SELECT h.call_id, h.minute, h.user_id, h.coins, h.balance_after, h.charged_at,"
            " h.refunded_at, c.call_type FROM saathii_tasks.call_charge h"
            " LEFT JOIN public.user_calls c USING (call_id)"
            " WHERE h.source = 'saathiid' AND (h.charged_at > %s OR h.refunded_at > %s)"
            " ORDER BY h.call_id, h.minute", (self.since - OVERLAP, self.since - OVERLAP))
        charged, returned = collections.defaultdict(list), collections.defaultdict(list)
        for row in cursor.fetchall():
            if self._is_new(("charge", row[0], row[1])):
                charged[row[0]].append(row)
            if row[6] is not None and self._is_new(("refund", row[0], row[1])):
                returned[row[0]].append(row)
        events = [self._given_back(call_id, rows) for call_id, rows in returned.items()]
        # The poorest are the story; all others are a number.
        told = sorted(charged.values(), key=lambda rows: (
            rows[-1][4] // self.rates.get(rows[-1][7], 1), rows[-1][0]))
        single = len(told) if len(told) <= SINGLE_CHARGES + 1 else SINGLE_CHARGES
        for rows in told[:single]:
            events.append(self._charged(rows))
        others = told[single:]
        if others:
            minutes = sum(map(len, others))
            coins = sum(row[3] for rows in others for row in rows)
            events.append(Event(max(rows[-1][5] for rows in others), "charge",
                                f"and {minutes} more minutes of {len(others)} calls:"
                                f" {coins:,} coins"))
        return events

    def _charged(self, rows):
        _, minute, user_id, _, balance, at, _, call_type = rows[-1]
        minutes = f"minute {minute}" if len(rows) == 1 else f"minutes {rows[0][1]}-{minute}"
        return Event(at, "charge",
                     f"{self._name(user_id)} ({call_type}) pays {minutes}:"
                     f" {sum(row[3] for row in rows)} coins, {balance} left")

    def _given_back(self, call_id, rows):
        return Event(rows[-1][6], "ghost",
                     f"call {call_id} had ended before: {self._name(rows[0][2])} gets"
                     f" {sum(row[3] for row in rows)} coins of {len(rows)} minutes back")

    def _settlements(self, cursor):
        cursor.execute(
            "SELECT call_id, user_id, listener_id, reason, end_time, minutes, earned, settled_at"
            " FROM saathii_tasks.call_settlement WHERE settled_at > %s ORDER BY settled_at",
            (self.since - OVERLAP,))
        events = []
        for call_id, caller, listener, reason, end, minutes, earned, at in cursor.fetchall():
            if not self._is_new(("settlement", call_id)):
                continue
            who, pays = self._name(caller), f"{self._name(listener)} earns {RUPEE} {earned}"
            if reason == "balance":
                events.append(Event(at, "drop", f"{who} ran out after minute {minutes}: dropped;"
                                    f" {pays}"))
            else:
                is_today = end.astimezone().date() == at.astimezone().date()
                when = f"{end.astimezone():{'%H:%M:%S' if is_today else '%d %b %H:%M'}}"
                events.append(Event(at, "ghost", f"ghost call {call_id} of {who} ended as of {when}"
                                    f" ({reason.replace('_', ' ')}); {pays}"))
        return events

    def _runs(self, cursor):
        """Runs of the jobs whose doings no other table tells, and what went wrong."""
        cursor.execute(
            "SELECT job, scheduled_at, outcome, reason, counts, recorded_at, ticks"
            " FROM saathii_tasks.job_run WHERE recorded_at > %s ORDER BY recorded_at",
            (self.since - OVERLAP,))
        events = []
        for job, scheduled_at, outcome, reason, counts, at, ticks in cursor.fetchall():
            if not self._is_new(("run", job, scheduled_at, outcome)):
                continue
            if outcome != "succeeded":
                times = f"{ticks} ticks " if ticks > 1 else ""
                events.append(Event(at, "warning", f"{job}: {times}{outcome} ({reason})"))
            else:
                text = self._told(job, counts)
                if text:
                    events.append(Event(at, "job", text))
        return events

    @staticmethod
    def _told(job, counts):
        """What a run did, where no table of its own tells it; None for nothing."""
        did = []
        if job == "presence_cleanup":
            if counts.get("offline"):
                did.append(f"{counts['offline']} people gone offline")
            if counts.get("busy_cleared"):
                did.append(f"{counts['busy_cleared']} stuck busy flags cleared")
            return ", ".join(did)
        if job in ("coin_deduction", "call_cleanup"):
            return None
        did = ", ".join(f"{count:,} {name.replace('_', ' ')}"
                        for name, count in counts.items() if count)
        if job == "badge_assignment":
            return f"badges given: {did}"
        if job == "log_rotation":
            return f"old log files: {did}"
        return f"{job}: {did}"

    def _warnings(self, state):
        """What was published: low balances are told, the rest is counted."""
        warned = []
        for _ in range(5000):
            try:
                message = self.channels.get_message(timeout=0)
            except redis.RedisError:
                break
            if message is None:
                break
            self.published += 1
            if message["channel"] != "call_events":
                continue
            data = json.loads(message["data"])
            if "low" in str(data.get("type", "")):
                warned.append(self._name(data.get("user_id")))
        events = [Event(state.now, "warning", f"{name} is told: this is the last minute")
                  for name in warned[:SINGLE_CHARGES]]
        if len(warned) > SINGLE_CHARGES:
            events.append(Event(state.now, "warning",
                                f"and {len(warned) - SINGLE_CHARGES} more callers are told"))
        return events
