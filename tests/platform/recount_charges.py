"""Invariants 1, 2 and 6: what was charged, for which minutes, and what was given back."""

import bisect
import collections
import datetime


def check_charges(facts, findings):
    once, after_end = findings[1], findings[6]
    charged = collections.defaultdict(collections.Counter)
    given_back = collections.Counter()
    count = 0
    for call_id, rows in facts.tables.charges.items():
        minutes = collections.Counter(row.minute for row in rows)
        for minute, times in minutes.items():
            if times > 1:
                once.wrong(f"call {call_id}: minute {minute} is charged {times} times")
        call = facts.tables.calls.get(call_id)
        for row in rows:
            count += 1
            if row.source == "saathiid":
                charged[row.user_id][row.coins] += 1
            # Whoever had taken them: what the API took beyond the end comes back too.
            if row.refunded_at is not None:
                given_back[row.user_id] += row.coins
            if call is None:
                continue
            if row.source == "saathiid" and row.coins != facts.options.rates[call.call_type]:
                once.wrong(f"call {call_id}: minute {row.minute} cost {row.coins} coins")
            if row.refunded_at is None and call.end and row.minute_start > call.end:
                after_end.wrong(f"call {call_id}: minute {row.minute} started at"
                                f" {row.minute_start}, after the end at {call.end}")
    for call_id, event in facts.api_end.items():
        call = facts.tables.calls.get(call_id)
        if call is not None and call.coins != event.coins:
            after_end.wrong(f"call {call_id}: had cost {event.coins} coins when the API ended"
                            f" it, and costs {call.coins} now")
    for event in facts.api_start.values():
        charged[event.user_id][event.coins] += 1
    check_spends(facts, once, charged, given_back)
    once.looked_at = f"{count:,} charges and their transactions"
    after_end.looked_at = f"{count:,} charges"


def check_spends(facts, finding, charged, given_back):
    """Each charge has its own transaction, and no transaction lacks a charge."""
    for wallet in facts.tables.wallets:
        spends = [row for row in facts.tables.transactions[wallet.wallet_id]
                  if row.tx_type == "spend"]
        taken = collections.Counter(-row.coins for row in spends if row.coins < 0)
        returned = sum(row.coins for row in spends if row.coins > 0)
        if taken != charged[wallet.user_id]:
            finding.wrong(f"user {wallet.user_id}: spent {dict(taken)} (coins: times) but"
                          f" charged {dict(charged[wallet.user_id])}")
        if returned != given_back[wallet.user_id]:
            finding.wrong(f"user {wallet.user_id}: {returned} coins came back, the ledger"
                          f" says {given_back[wallet.user_id]}")


def check_minutes(facts, findings):
    finding = findings[2]
    for call in facts.tables.calls.values():
        rows = facts.tables.charges.get(call.call_id, [])
        if not facts.was_watched(call):
            continue
        kept = [row.minute for row in rows if row.refunded_at is None]
        back = [row.minute for row in rows if row.refunded_at is not None]
        if kept + back != list(range(1, len(rows) + 1)):
            finding.wrong(f"call {call.call_id}: minutes {kept}, given back {back}")
        for row in rows:
            if row.minute_start != call.start + (row.minute - 1) * facts.options.minute:
                finding.wrong(f"call {call.call_id}: minute {row.minute} is said to start at"
                              f" {row.minute_start}")
        check_reach(facts, finding, call)
    finding.looked_at = f"{sum(map(facts.was_watched, facts.tables.calls.values())):,} calls"


def check_reach(facts, finding, call):
    """Neither more minutes than started nor fewer than saathiid could see."""
    paid = facts.paid_minutes(call)
    until = call.end or facts.tables.now
    if paid > max(1, facts.started(call, until)):
        finding.wrong(f"call {call.call_id}: {paid} minutes paid, only"
                      f" {facts.started(call, until)} started")
    settlement = facts.settlement.get(call.call_id)
    if settlement and call.call_id not in facts.api_end:
        due = facts.started(call, until)
        # A minute that begins at the very end may be charged or not.
        if (until - call.start) % facts.options.minute == datetime.timedelta(0) and due > 1:
            due -= 1
        if paid < due and not facts.could_not_pay(call, settlement.settled_at):
            finding.wrong(f"call {call.call_id}: {paid} of {due} minutes paid, and the caller"
                          " could have paid more")
        return
    seen = until - facts.options.slack if call.end else until
    index = bisect.bisect_right(facts.tables.charging_runs, (seen, seen))
    if index == 0:
        return
    _, run = facts.tables.charging_runs[index - 1]
    # A call is not charged while nobody is there; cleanup then ends it as of before.
    if facts.appeared(call) > run - facts.options.slack or facts.was_stale(call, run):
        return
    if paid < facts.started(call, run):
        finding.wrong(f"call {call.call_id}: {paid} minutes paid, but"
                      f" {facts.started(call, run)} had started at the last run")
