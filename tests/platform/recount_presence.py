"""Invariants 9 and 10: who is busy, and what Redis shows."""

import collections


def check_busy(facts, findings):
    finding = findings[9]
    ongoing = collections.Counter()
    last_end = {}
    for call in facts.tables.calls.values():
        for user_id in (call.user_id, call.listener_id):
            if call.status == "ongoing":
                ongoing[user_id] += 1
            elif call.end and call.end > last_end.get(user_id, call.start):
                last_end[user_id] = call.end
    ended_by_api = {user_id for event in facts.api_end.values()
                    if event.call_id in facts.tables.calls
                    for user_id in facts.tables.calls[event.call_id][1:3]}
    for status in facts.tables.statuses:
        if status.is_busy and not ongoing[status.user_id]:
            # A heartbeat renews updated_at: it counts only where no call ever ended.
            since = last_end.get(status.user_id, status.updated_at)
            if facts.tables.now - since > facts.options.busy_grace:
                finding.wrong(f"user {status.user_id} is busy without a call since {since}")
        # The API clears busy when it ends one of several calls: that is its own.
        if not status.is_busy and ongoing[status.user_id] and (
                status.user_id not in ended_by_api):
            finding.wrong(f"user {status.user_id} has an ongoing call and is not busy")
    finding.looked_at = (f"{sum(status.is_busy for status in facts.tables.statuses):,} busy of"
                         f" {len(facts.tables.statuses):,} users")


def check_redis(facts, findings, client):
    finding = findings[10]
    keys = {key for key in client.scan_iter(match="call:*", count=1000)}
    ongoing = [call for call in facts.tables.calls.values() if call.status == "ongoing"]
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
