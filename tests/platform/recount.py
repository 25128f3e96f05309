#!/usr/bin/python3
"""Recounts, from the tables alone, every invariant that saathiid owes.

Reads wallets, transactions, calls, statuses and badges, saathiid's ledger and the
API's own log (schema `demo`), in one snapshot, and computes everything again in
Python: nothing here is shared with the jobs. Prints each invariant with what was
looked at and what is wrong; exits with 1 if anything is.

Run it when the daemon has stopped, or at least when nothing is behind.
"""

import argparse
import bisect
import collections
import dataclasses
import datetime
import json
import sys
import zoneinfo
from decimal import ROUND_FLOOR, Decimal

import psycopg2
import redis

from recount_tables import Tables

MINUTE = datetime.timedelta(minutes=1)
SHOWN_VIOLATIONS = 5

TITLES = {
    1: "each (call, minute) is charged at most once",
    2: "charged minutes have no gap and reach up to now, or to the end",
    3: "each wallet is its opening plus its transactions",
    4: "coins_spent of each call is the sum of its charges",
    5: "no balance was ever below 0",
    6: "no minute is charged that starts after the call's end",
    7: "a call was dropped only where a rule allows it",
    8: "one exact settlement for each call that saathiid ended",
    9: "busy is who has an ongoing call",
    10: "Redis says what PostgreSQL says",
}


@dataclasses.dataclass
class Options:
    rates: dict = dataclasses.field(default_factory=lambda: {"audio": 10, "video": 60})
    basic: dict = dataclasses.field(
        default_factory=lambda: {"audio": Decimal("1.00"), "video": Decimal("6.00")})
    timezone: str = "Asia/Kolkata"
    stale_after: datetime.timedelta = datetime.timedelta(minutes=10)
    overrun_grace: datetime.timedelta = datetime.timedelta(minutes=2)
    busy_grace: datetime.timedelta = datetime.timedelta(seconds=75)
    # Two programs' commits and clocks are compared: less than this is no difference.
    slack: datetime.timedelta = datetime.timedelta(seconds=5)


@dataclasses.dataclass
class Finding:
    number: int
    looked_at: str = ""
    violations: list = dataclasses.field(default_factory=list)

    def wrong(self, text):
        self.violations.append(text)


class Recount:
    def __init__(self, tables, options):
        self.tables = tables
        self.options = options
        self.findings = {number: Finding(number) for number in TITLES}
        self.notes = []
        self.settlement = {row.call_id: row for row in tables.settlements}
        self.wallet_of = {wallet.user_id: wallet for wallet in tables.wallets}
        self.api_start = {}
        self.api_end = {}
        self.heartbeats = collections.defaultdict(list)
        for event in tables.events:
            if event.what == "start":
                self.api_start[event.call_id] = event
            elif event.what == "end":
                self.api_end[event.call_id] = event
            elif event.what == "heartbeat":
                self.heartbeats[event.user_id].append(event.at)

    def run(self, redis_client=None):
        self.check_charges()
        self.check_minutes()
        self.check_wallets()
        self.check_coins_spent()
        self.check_drops()
        self.check_settlements()
        self.check_busy()
        if redis_client is None:
            del self.findings[10]
        else:
            self.check_redis(redis_client)
        return list(self.findings.values())

    # What a call has paid, and what it should have.

    def kept(self, call_id):
        return [row for row in self.tables.charges.get(call_id, []) if row.refunded_at is None]

    def api_coins(self, call_id):
        """What the API took for the call; nothing if no log tells."""
        if call_id in self.api_start:
            return self.api_start[call_id].coins
        return self.tables.opening_calls.get(call_id)

    def paid_minutes(self, call):
        if call.call_id in self.tables.charges:
            return len(self.kept(call.call_id))
        paid = call.coins // self.options.rates[call.call_type]
        return max(paid, 1) if call.coins > 0 else 0

    @staticmethod
    def started(call, moment):
        return max(0, (moment - call.start) // MINUTE + 1)

    def balances_near(self, user_id, moment):
        """Every balance that the wallet had around the moment."""
        wallet = self.wallet_of.get(user_id)
        if wallet is None:
            return [0]
        opening = self.tables.openings.get(wallet.wallet_id)
        balance = opening.coins if opening else 0
        near = []
        for row in self.tables.transactions[wallet.wallet_id]:
            if row.created_at > moment + self.options.slack:
                break
            if row.created_at >= moment - self.options.slack:
                near.append(balance)
            balance += row.coins
        return near + [balance]

    def could_not_pay(self, call, moment):
        return min(self.balances_near(call.user_id, moment)) < self.options.rates[call.call_type]

    # The invariants.

    def check_charges(self):
        once, after_end = self.findings[1], self.findings[6]
        charged = collections.defaultdict(collections.Counter)
        given_back = collections.Counter()
        count = 0
        for call_id, rows in self.tables.charges.items():
            minutes = collections.Counter(row.minute for row in rows)
            for minute, times in minutes.items():
                if times > 1:
                    once.wrong(f"call {call_id}: minute {minute} is charged {times} times")
            call = self.tables.calls.get(call_id)
            for row in rows:
                count += 1
                if row.source == "saathiid":
                    charged[row.user_id][row.coins] += 1
                    if row.refunded_at is not None:
                        given_back[row.user_id] += row.coins
                if call is None:
                    continue
                if row.source == "saathiid" and row.coins != self.options.rates[call.call_type]:
                    once.wrong(f"call {call_id}: minute {row.minute} cost {row.coins} coins")
                if row.refunded_at is None and call.end and row.minute_start > call.end:
                    after_end.wrong(f"call {call_id}: minute {row.minute} started at"
                                    f" {row.minute_start}, after the end at {call.end}")
        for event in self.api_start.values():
            charged[event.user_id][event.coins] += 1
        self.check_spends(once, charged, given_back)
        once.looked_at = f"{count:,} charges and their transactions"
        after_end.looked_at = f"{count:,} charges"

    def check_spends(self, finding, charged, given_back):
        """Each charge has its own transaction, and no transaction lacks a charge."""
        for wallet in self.tables.wallets:
            spends = [row for row in self.tables.transactions[wallet.wallet_id]
                      if row.tx_type == "spend"]
            taken = collections.Counter(-row.coins for row in spends if row.coins < 0)
            returned = sum(row.coins for row in spends if row.coins > 0)
            if taken != charged[wallet.user_id]:
                finding.wrong(f"user {wallet.user_id}: spent {dict(taken)} (coins: times) but"
                              f" charged {dict(charged[wallet.user_id])}")
            if returned != given_back[wallet.user_id]:
                finding.wrong(f"user {wallet.user_id}: {returned} coins came back, the ledger"
                              f" says {given_back[wallet.user_id]}")

    def check_minutes(self):
        finding = self.findings[2]
        for call in self.tables.calls.values():
            rows = self.tables.charges.get(call.call_id, [])
            if not self.was_watched(call):
                continue
            kept = [row.minute for row in rows if row.refunded_at is None]
            back = [row.minute for row in rows if row.refunded_at is not None]
            if kept + back != list(range(1, len(rows) + 1)):
                finding.wrong(f"call {call.call_id}: minutes {kept}, given back {back}")
            for row in rows:
                if row.minute_start != call.start + (row.minute - 1) * MINUTE:
                    finding.wrong(f"call {call.call_id}: minute {row.minute} is said to start at"
                                  f" {row.minute_start}")
            self.check_reach(finding, call)
        finding.looked_at = f"{sum(map(self.was_watched, self.tables.calls.values())):,} calls"

    def check_reach(self, finding, call):
        """Neither more minutes than started nor fewer than saathiid could see."""
        paid = self.paid_minutes(call)
        until = call.end or self.tables.now
        if paid > max(1, self.started(call, until)):
            finding.wrong(f"call {call.call_id}: {paid} minutes paid, only"
                          f" {self.started(call, until)} started")
        settlement = self.settlement.get(call.call_id)
        if settlement and call.call_id not in self.api_end:
            due = self.started(call, until)
            # A minute that begins at the very end may be charged or not.
            if (until - call.start) % MINUTE == datetime.timedelta(0) and due > 1:
                due -= 1
            if paid < due and not self.could_not_pay(call, settlement.settled_at):
                finding.wrong(f"call {call.call_id}: {paid} of {due} minutes paid, and the caller"
                              " could have paid more")
            return
        seen = until - self.options.slack if call.end else until
        index = bisect.bisect_right(self.tables.charging_runs, seen)
        if index == 0:
            return
        run = self.tables.charging_runs[index - 1]
        # A call is not charged while nobody is there; cleanup then ends it as of before.
        if self.appeared(call) > run - self.options.slack or self.was_stale(call, run):
            return
        if paid < self.started(call, run):
            finding.wrong(f"call {call.call_id}: {paid} minutes paid, but"
                          f" {self.started(call, run)} had started at the last run")

    def was_watched(self, call):
        return (call.call_id in self.tables.opening_calls or call.call_id in self.api_start
                or call.call_id in self.tables.charges)

    def appeared(self, call):
        event = self.api_start.get(call.call_id)
        return event.at if event else call.start

    def check_wallets(self):
        sums, never_below = self.findings[3], self.findings[5]
        count = 0
        for wallet in self.tables.wallets:
            opening = self.tables.openings.get(wallet.wallet_id)
            coins, money = (opening.coins, opening.money) if opening else (0, Decimal(0))
            for row in self.tables.transactions[wallet.wallet_id]:
                count += 1
                coins += row.coins
                money += row.money
                if coins < 0:
                    never_below.wrong(f"user {wallet.user_id}: {coins} coins after transaction"
                                      f" {row.transaction_id}")
            if wallet.coins < 0 or wallet.money < 0:
                never_below.wrong(f"user {wallet.user_id}: {wallet.coins} coins,"
                                  f" {wallet.money} rupees")
            if coins != wallet.coins or money != wallet.money:
                sums.wrong(f"user {wallet.user_id}: wallet says {wallet.coins} coins and"
                           f" {wallet.money} rupees, transactions {coins} and {money}")
        sums.looked_at = f"{len(self.tables.wallets):,} wallets, {count:,} transactions"
        never_below.looked_at = f"{len(self.tables.wallets):,} wallets at every step"

    def check_coins_spent(self):
        finding = self.findings[4]
        count = 0
        for call in self.tables.calls.values():
            taken = self.api_coins(call.call_id)
            if taken is None and call.call_id not in self.tables.charges:
                continue
            count += 1
            if call.call_id not in self.tables.charges:
                if call.coins != taken:
                    finding.wrong(f"call {call.call_id}: {call.coins} coins, but only the API"
                                  f" charged it: {taken}")
                continue
            rows = self.kept(call.call_id)
            if call.coins != sum(row.coins for row in rows):
                finding.wrong(f"call {call.call_id}: {call.coins} coins, its charges are"
                              f" {sum(row.coins for row in rows)}")
            first = sum(row.coins for row in self.tables.charges[call.call_id]
                        if row.source == "api")
            if taken is not None and first != taken:
                finding.wrong(f"call {call.call_id}: the API took {taken} coins, the ledger has"
                              f" {first} of its")
        finding.looked_at = f"{count:,} calls"

    def check_drops(self):
        finding = self.findings[7]
        reasons = collections.Counter()
        for call in self.tables.calls.values():
            if call.status != "dropped" or not self.was_watched(call):
                continue
            if call.call_id in self.api_end:
                reasons["by the API"] += 1
                continue
            settlement = self.settlement.get(call.call_id)
            rule = self.rule_for(call, settlement) if settlement and call.end else None
            if rule is None:
                reason = settlement.reason if settlement else "no settlement"
                finding.wrong(f"call {call.call_id} was dropped ({reason}) and no rule allows it")
            else:
                reasons[rule] += 1
        finding.looked_at = ", ".join(f"{count} {rule}" for rule, count in sorted(reasons.items()))

    def rule_for(self, call, settlement):
        """The first rule under which saathiid may drop the call; none: it may not."""
        moment = settlement.settled_at
        paid = self.paid_minutes(call)
        if call.end > call.start and paid < self.started(call, call.end) and (
                self.could_not_pay(call, moment)):
            return "could not pay"
        if self.was_stale(call, moment):
            ended_when_seen = abs(call.end - self.last_seen(call, moment)) <= self.options.slack
            return "app crashed" if ended_when_seen else None
        affordable = min(self.balances_near(call.user_id, moment)) // (
            self.options.rates[call.call_type])
        if call.start + (paid + affordable) * MINUTE + self.options.overrun_grace <= (
                moment + self.options.slack):
            return "overran"
        return None

    def last_seen(self, call, moment):
        """When either party was last seen before the moment; the start at the earliest."""
        seen = call.start
        for user_id in (call.user_id, call.listener_id):
            beats = self.heartbeats.get(user_id, [])
            index = bisect.bisect_right(beats, moment - self.options.slack)
            if index:
                seen = max(seen, beats[index - 1])
        return seen

    def was_stale(self, call, moment):
        return self.last_seen(call, moment) < (
            moment - self.options.stale_after + self.options.slack)

    def check_settlements(self):
        finding = self.findings[8]
        earned = collections.defaultdict(collections.Counter)
        both = 0
        for event in self.api_end.values():
            earned[event.user_id][event.money] += 1
        for row in self.tables.settlements:
            earned[row.listener_id][row.earned] += 1
            call = self.tables.calls.get(row.call_id)
            if call is None:
                continue
            if row.call_id in self.api_end:
                both += 1
            elif call.end is None:
                finding.wrong(f"call {call.call_id} was settled and has no end")
            else:
                self.check_settlement(finding, call, row)
        for call in self.tables.calls.values():
            if self.was_watched(call) and call.status != "ongoing" and (
                    call.call_id not in self.settlement and call.call_id not in self.api_end):
                finding.wrong(f"call {call.call_id} has ended and nobody settled it")
        for wallet in self.tables.wallets:
            got = collections.Counter(row.money for row in
                                      self.tables.transactions[wallet.wallet_id]
                                      if row.tx_type == "earn" and row.money != 0)
            owed = earned[wallet.user_id]
            owed.pop(Decimal(0), None)
            if got != owed:
                finding.wrong(f"listener {wallet.user_id}: was credited {self.money(got)},"
                              f" had earned {self.money(owed)}")
        if both:
            self.notes.append(f"{both} calls were ended by saathiid and, at the same instant and"
                              " without a look, by the API")
        finding.looked_at = f"{len(self.tables.settlements):,} settlements"

    @staticmethod
    def money(counter):
        return ", ".join(f"{times} x {amount}" for amount, times in sorted(counter.items()))

    def check_settlement(self, finding, call, row):
        paid = self.kept(call.call_id)
        if not paid:
            minutes = range(1, self.paid_minutes(call) + 1)
            starts = [call.start + (minute - 1) * MINUTE for minute in minutes]
        else:
            starts = [charge.minute_start for charge in paid if charge.source != "waived"]
        seconds = (call.end - call.start) // datetime.timedelta(seconds=1)
        wrong = []
        if call.status != "dropped" or call.end != row.end:
            wrong.append(f"the call is {call.status}, end {call.end}, settled for {row.end}")
        if call.end < call.start or call.end > row.settled_at + self.options.slack:
            wrong.append(f"end {call.end} is not within the call")
        if (call.seconds, call.minutes) != (seconds, max(1, seconds // 60)):
            wrong.append(f"durations {call.seconds} s and {call.minutes} min for {seconds} s")
        if (row.minutes, row.coins) != (len(starts), call.coins):
            wrong.append(f"settled {row.minutes} min and {row.coins} coins, paid"
                         f" {len(starts)} min and {call.coins} coins")
        allowed = self.earnings(call, starts, row.settled_at)
        if row.earned not in allowed:
            wrong.append(f"earned {row.earned}, should be {' or '.join(map(str, allowed))}")
        if call.earned != int(row.earned.to_integral_value(ROUND_FLOOR)):
            wrong.append(f"listener_money_earned {call.earned} for {row.earned}")
        for text in wrong:
            finding.wrong(f"call {call.call_id}: {text}")

    def earnings(self, call, starts, settled_at):
        """Possible sums: two where a badge was given in the very moment of settling."""
        zone = zoneinfo.ZoneInfo(self.options.timezone)
        before, after = Decimal(0), Decimal(0)
        for start in starts:
            basic = self.options.basic[call.call_type]
            badge = self.tables.badges.get((call.listener_id, start.astimezone(zone).date()))
            if badge is None:
                before, after = before + basic, after + basic
                continue
            rate = badge[0] if call.call_type == "audio" else badge[1]
            changed = badge[2]
            before += basic if changed > settled_at - self.options.slack else rate
            after += basic if changed > settled_at + self.options.slack else rate
        return sorted({before, after})

    def check_busy(self):
        finding = self.findings[9]
        ongoing = collections.Counter()
        last_end = {}
        for call in self.tables.calls.values():
            for user_id in (call.user_id, call.listener_id):
                if call.status == "ongoing":
                    ongoing[user_id] += 1
                elif call.end and call.end > last_end.get(user_id, call.start):
                    last_end[user_id] = call.end
        ended_by_api = {user_id for event in self.api_end.values()
                        if event.call_id in self.tables.calls
                        for user_id in self.tables.calls[event.call_id][1:3]}
        for status in self.tables.statuses:
            if status.is_busy and not ongoing[status.user_id]:
                # A heartbeat renews updated_at: it counts only where no call ever ended.
                since = last_end.get(status.user_id, status.updated_at)
                if self.tables.now - since > self.options.busy_grace:
                    finding.wrong(f"user {status.user_id} is busy without a call since {since}")
            # The API clears busy when it ends one of several calls: that is its own.
            if not status.is_busy and ongoing[status.user_id] and (
                    status.user_id not in ended_by_api):
                finding.wrong(f"user {status.user_id} has an ongoing call and is not busy")
        finding.looked_at = (f"{sum(status.is_busy for status in self.tables.statuses):,} busy of"
                             f" {len(self.tables.statuses):,} users")

    def check_redis(self, client):
        finding = self.findings[10]
        keys = {key for key in client.scan_iter(match="call:*", count=1000)}
        ongoing = [call for call in self.tables.calls.values() if call.status == "ongoing"]
        for key in sorted(keys - {f"call:{call.call_id}" for call in ongoing}):
            finding.wrong(f"{key} is there, its call is not ongoing")
        with client.pipeline(transaction=False) as pipe:
            for call in ongoing:
                pipe.hgetall(f"call:{call.call_id}")
                pipe.ttl(f"call:{call.call_id}")
            replies = pipe.execute()
        for call, found, ttl in zip(ongoing, replies[::2], replies[1::2]):
            expected = {"user_id": str(call.user_id), "listener_id": str(call.listener_id),
                        "call_type": call.call_type, "coins_spent": str(call.coins)}
            told = {name: found.get(name) for name in expected}
            # Whole seconds, rounded one way or the other.
            start = float(found.get("start_time", 0))
            if told != expected or abs(start - call.start.timestamp()) >= 1:
                finding.wrong(f"call:{call.call_id} says {found}, PostgreSQL {expected}")
            elif not 0 < ttl <= 7200:
                finding.wrong(f"call:{call.call_id} lives for {ttl} s")
        finding.looked_at = f"{len(keys):,} call keys, {len(ongoing):,} ongoing calls"


def print_report(recount, findings, out):
    tables = recount.tables
    charges = sum(map(len, tables.charges.values()))
    print(f"Recount: {len(tables.calls):,} calls, {charges:,} ledger rows,"
          f" {len(tables.settlements):,} settlements, {len(tables.wallets):,} wallets", file=out)
    for finding in findings:
        verdict = f"{len(finding.violations)} WRONG" if finding.violations else "holds"
        print(f"  {finding.number:>2}  {TITLES[finding.number]:<64} {verdict:<8}"
              f" {finding.looked_at}", file=out)
        for text in finding.violations[:SHOWN_VIOLATIONS]:
            print(f"        - {text}", file=out)
        more = len(finding.violations) - SHOWN_VIOLATIONS
        if more > 0:
            print(f"        - and {more} more", file=out)
    for note in recount.notes:
        print(f"      note: {note}", file=out)
    wrong = sum(bool(finding.violations) for finding in findings)
    print("Verdict: every invariant holds." if wrong == 0
          else f"Verdict: {wrong} of {len(findings)} invariants do NOT hold.", file=out)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--redis-url", help="without it Redis is not looked at")
    parser.add_argument("--audio", type=int, default=10, help="coins a minute")
    parser.add_argument("--video", type=int, default=60, help="coins a minute")
    parser.add_argument("--timezone", default="Asia/Kolkata", help="of the business day")
    parser.add_argument("--busy-grace", type=float, default=75, metavar="SECONDS",
                        help="busy without a call is wrong after this long")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments=None):
    given = parse_arguments(arguments)
    options = Options(rates={"audio": given.audio, "video": given.video},
                      timezone=given.timezone,
                      busy_grace=datetime.timedelta(seconds=given.busy_grace))
    connection = psycopg2.connect(given.database_url, application_name="recount")
    recount = Recount(Tables(connection), options)
    connection.close()
    client = redis.Redis.from_url(given.redis_url, decode_responses=True, socket_timeout=10) \
        if given.redis_url else None
    findings = recount.run(client)
    if given.json:
        print(json.dumps([{"invariant": finding.number, "title": TITLES[finding.number],
                           "looked_at": finding.looked_at, "violations": finding.violations}
                          for finding in findings]))
    else:
        print_report(recount, findings, sys.stdout)
    return 1 if any(finding.violations for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
