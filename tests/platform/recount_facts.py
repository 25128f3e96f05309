"""What the tables say of a call, a wallet or a user, for the checks to agree on."""

import bisect
import collections
import dataclasses
import datetime
from decimal import Decimal


@dataclasses.dataclass
class Options:
    rates: dict = dataclasses.field(default_factory=lambda: {"audio": 10, "video": 60})
    basic: dict = dataclasses.field(
        default_factory=lambda: {"audio": Decimal("1.00"), "video": Decimal("6.00")})
    timezone: str = "Asia/Kolkata"
    # What a "minute" is: the increment by which calls are billed.
    minute: datetime.timedelta = datetime.timedelta(minutes=1)
    stale_after: datetime.timedelta = datetime.timedelta(minutes=10)
    overrun_grace: datetime.timedelta = datetime.timedelta(minutes=2)
    busy_grace: datetime.timedelta = datetime.timedelta(seconds=75)
    # Two programs' commits and clocks are compared: less than this is no difference.
    slack: datetime.timedelta = datetime.timedelta(seconds=5)


class Facts:
    def __init__(self, tables, options):
        self.tables = tables
        self.options = options
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

    def started(self, call, moment):
        return max(0, (moment - call.start) // self.options.minute + 1)

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

    def was_watched(self, call):
        return (call.call_id in self.tables.opening_calls or call.call_id in self.api_start
                or call.call_id in self.tables.charges)

    def appeared(self, call):
        event = self.api_start.get(call.call_id)
        return event.at if event else call.start

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
