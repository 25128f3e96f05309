"""Invariants 7 and 8: why calls were dropped, and what their settlements paid."""

import collections
import datetime
import zoneinfo
from decimal import ROUND_FLOOR, Decimal


def check_drops(facts, findings):
    finding = findings[7]
    reasons = collections.Counter()
    for call in facts.tables.calls.values():
        if call.status != "dropped" or not facts.was_watched(call):
            continue
        if call.call_id in facts.api_end:
            reasons["by the API"] += 1
            continue
        settlement = facts.settlement.get(call.call_id)
        rule = rule_for(facts, call, settlement) if settlement and call.end else None
        if rule is None:
            reason = settlement.reason if settlement else "no settlement"
            finding.wrong(f"call {call.call_id} was dropped ({reason}) and no rule allows it")
        else:
            reasons[rule] += 1
    finding.looked_at = ", ".join(f"{count} {rule}" for rule, count in sorted(reasons.items()))


def rule_for(facts, call, settlement):
    """The first rule under which saathiid may drop the call; none: it may not."""
    moment = settlement.settled_at
    paid = facts.paid_minutes(call)
    if call.end > call.start and paid < facts.started(call, call.end) and (
            facts.could_not_pay(call, moment)):
        return "could not pay"
    if facts.was_stale(call, moment):
        ended_when_seen = abs(call.end - facts.last_seen(call, moment)) <= facts.options.slack
        return "app crashed" if ended_when_seen else None
    affordable = min(facts.balances_near(call.user_id, moment)) // (
        facts.options.rates[call.call_type])
    if call.start + (paid + affordable) * facts.options.minute + facts.options.overrun_grace <= (
            moment + facts.options.slack):
        return "overran"
    return None


def check_settlements(facts, findings):
    finding = findings[8]
    earned = collections.defaultdict(collections.Counter)
    both = 0
    for event in facts.api_end.values():
        earned[event.user_id][event.money] += 1
    for row in facts.tables.settlements:
        earned[row.listener_id][row.earned] += 1
        call = facts.tables.calls.get(row.call_id)
        if call is None:
            continue
        if row.call_id in facts.api_end:
            both += 1
        elif call.end is None:
            finding.wrong(f"call {call.call_id} was settled and has no end")
        else:
            check_settlement(facts, finding, call, row)
    for call in facts.tables.calls.values():
        if facts.was_watched(call) and call.status != "ongoing" and (
                call.call_id not in facts.settlement and call.call_id not in facts.api_end):
            finding.wrong(f"call {call.call_id} has ended and nobody settled it")
    for wallet in facts.tables.wallets:
        got = collections.Counter(row.money for row in
                                  facts.tables.transactions[wallet.wallet_id]
                                  if row.tx_type == "earn" and row.money != 0)
        owed = earned[wallet.user_id]
        owed.pop(Decimal(0), None)
        if got != owed:
            finding.wrong(f"listener {wallet.user_id}: was credited {money(got)},"
                          f" had earned {money(owed)}")
    if both:
        finding.notes.append(f"{both} calls were ended by saathiid and, at the same instant and"
                          " without a look, by the API")
    finding.looked_at = f"{len(facts.tables.settlements):,} settlements"


def money(counter):
    return ", ".join(f"{times} x {amount}" for amount, times in sorted(counter.items()))


def check_settlement(facts, finding, call, row):
    paid = facts.kept(call.call_id)
    if not paid:
        minutes = range(1, facts.paid_minutes(call) + 1)
        starts = [call.start + (minute - 1) * facts.options.minute for minute in minutes]
    else:
        starts = [charge.minute_start for charge in paid if charge.source != "waived"]
    seconds = (call.end - call.start) // datetime.timedelta(seconds=1)
    wrong = []
    if call.status != "dropped" or call.end != row.end:
        wrong.append(f"the call is {call.status}, end {call.end}, settled for {row.end}")
    if call.end < call.start or call.end > row.settled_at + facts.options.slack:
        wrong.append(f"end {call.end} is not within the call")
    if (call.seconds, call.minutes) != (seconds, max(1, seconds // 60)):
        wrong.append(f"durations {call.seconds} s and {call.minutes} min for {seconds} s")
    if (row.minutes, row.coins) != (len(starts), call.coins):
        wrong.append(f"settled {row.minutes} min and {row.coins} coins, paid"
                     f" {len(starts)} min and {call.coins} coins")
    allowed = earnings(facts, call, starts, row.settled_at)
    if row.earned not in allowed:
        wrong.append(f"earned {row.earned}, should be {' or '.join(map(str, allowed))}")
    if call.earned != int(row.earned.to_integral_value(ROUND_FLOOR)):
        wrong.append(f"listener_money_earned {call.earned} for {row.earned}")
    for text in wrong:
        finding.wrong(f"call {call.call_id}: {text}")


def earnings(facts, call, starts, settled_at):
    """Possible sums: two where a badge was given in the very moment of settling."""
    zone = zoneinfo.ZoneInfo(facts.options.timezone)
    before, after = Decimal(0), Decimal(0)
    for start in starts:
        basic = facts.options.basic[call.call_type]
        badge = facts.tables.badges.get((call.listener_id, start.astimezone(zone).date()))
        if badge is None:
            before, after = before + basic, after + basic
            continue
        rate = badge[0] if call.call_type == "audio" else badge[1]
        changed = badge[2]
        before += basic if changed > settled_at - facts.options.slack else rate
        after += basic if changed > settled_at + facts.options.slack else rate
    return sorted({before, after})
