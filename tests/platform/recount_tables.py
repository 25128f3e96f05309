"""What the recount reads: every table that matters, in one snapshot."""

import collections
from decimal import Decimal

Call = collections.namedtuple(
    "Call", "call_id user_id listener_id call_type start end seconds minutes coins earned status")
Charge = collections.namedtuple(
    "Charge", "call_id minute user_id coins minute_start source charged_at refunded_at")
Settlement = collections.namedtuple(
    "Settlement", "call_id user_id listener_id reason end minutes coins earned settled_at")
Wallet = collections.namedtuple("Wallet", "wallet_id user_id coins money")
Transaction = collections.namedtuple(
    "Transaction", "transaction_id wallet_id tx_type coins money created_at")
Opening = collections.namedtuple("Opening", "wallet_id coins money last_transaction_id")
Event = collections.namedtuple("Event", "at what call_id user_id coins money detail")
Status = collections.namedtuple("Status", "user_id is_busy updated_at")


class Tables:
    """Everything that is needed, read in one snapshot."""

    def __init__(self, connection):
        connection.rollback()
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection, connection.cursor() as cursor:
            self._read(cursor)

    def _read(self, cursor):
        def rows(make, sql):
            cursor.execute(sql)
            return [make(*row) for row in cursor.fetchall()]

        self.now = rows(lambda now: now, "SELECT clock_timestamp()")[0]
        calls = rows(Call, "SELECT call_id, user_id, listener_id, call_type, start_time, end_time,"
                           " duration_seconds, duration_minutes, coalesce(coins_spent, 0),"
                           " listener_money_earned, status FROM public.user_calls")
        self.calls = {call.call_id: call for call in calls}
        self.charges = collections.defaultdict(list)
        for charge in rows(Charge, "SELECT call_id, minute, user_id, coins, minute_start,"
                                   " source::text, charged_at, refunded_at"
                                   " FROM saathii_tasks.call_charge ORDER BY call_id, minute"):
            self.charges[charge.call_id].append(charge)
        self.settlements = rows(
            Settlement, "SELECT call_id, user_id, listener_id, reason, end_time, minutes, coins,"
                        " earned, settled_at FROM saathii_tasks.call_settlement ORDER BY call_id")
        self.wallets = rows(Wallet, "SELECT wallet_id, user_id, coalesce(balance_coins, 0),"
                                    " coalesce(withdrawable_money, 0) FROM public.user_wallets")
        self.openings = {opening.wallet_id: opening for opening in rows(
            Opening, "SELECT wallet_id, coins, money, last_transaction_id FROM demo.opening")}
        # Transactions of one wallet are made under its row's lock: ids tell their order.
        self.transactions = collections.defaultdict(list)
        for row in rows(Transaction, "SELECT transaction_id, wallet_id, tx_type,"
                                     " coalesce(coins_change, 0), coalesce(money_change, 0),"
                                     " created_at FROM public.user_transactions"
                                     " ORDER BY transaction_id"):
            opening = self.openings.get(row.wallet_id)
            if opening is None or row.transaction_id > opening.last_transaction_id:
                self.transactions[row.wallet_id].append(row)
        self.opening_calls = dict(rows(lambda *row: row,
                                       "SELECT call_id, coins_spent FROM demo.opening_call"))
        self.events = rows(Event, "SELECT at, what, call_id, user_id, coins, money, detail"
                                  " FROM demo.api_event ORDER BY event_id")
        self.statuses = rows(Status, "SELECT user_id, coalesce(is_busy, false), updated_at"
                                     " FROM public.user_status")
        self.badges = {(listener, date): (Decimal(audio), Decimal(video), changed)
                       for listener, date, audio, video, changed in rows(
                           lambda *row: row,
                           "SELECT listener_id, date, audio_rate_per_minute,"
                           " video_rate_per_minute, greatest(created_at, updated_at)"
                           " FROM public.listener_badges")}
        # (finished, started): what a run had not come to yet when a call ended, it owes nobody.
        # By the server's clock, of which the daemon's may be ahead; what is far off is not believed.
        self.charging_runs = rows(
            lambda *run: run,
            "SELECT least(finished_at, recorded_at),"
            " least(started_at, recorded_at - (finished_at - started_at))"
            " FROM saathii_tasks.job_run"
            " WHERE job = 'coin_deduction' AND outcome = 'succeeded' AND started_at IS NOT NULL"
            " AND abs(extract(epoch FROM recorded_at - finished_at)) < 5"
            " ORDER BY 1")
