"""What leadership owes, from the tables: nothing bears a term that was over when it was
done, a term has one leader, and each tick has one outcome."""

import datetime

MOMENT = datetime.timedelta(microseconds=1)


def violations(connection, clocks_were_right=True):
    """Sentences; none if all is well. Ranges of ticks that never ran are what a clock
    believed to have passed: under clocks that were set they may overlap."""
    found = []
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT term, instance, since FROM saathii_tasks.leadership_term"
                       " ORDER BY term")
        terms = cursor.fetchall()
        for (term, _, since), (later, _, began) in zip(terms, terms[1:]):
            if later != term + 1 or began <= since:
                found.append(f"term {later} began at {began}, term {term} at {since}")
        over = {term: following[2] for (term, _, _), following in zip(terms, terms[1:])}
        known = {term for term, _, _ in terms}
        for what, sql in (
                ("the charge of call %s", "SELECT call_id, term, charged_at"
                 " FROM saathii_tasks.call_charge"),
                ("the settlement of call %s", "SELECT call_id, term, settled_at"
                 " FROM saathii_tasks.call_settlement")):
            cursor.execute(sql)
            for name, term, at in cursor.fetchall():
                if term not in known:
                    found.append(f"{what % name} at {at} is of term {term}, which nobody had")
                elif term in over and at >= over[term]:
                    found.append(f"{what % name} at {at} is of term {term},"
                                 f" which was over at {over[term]}")
        found += ticks_with_two_outcomes(cursor) if clocks_were_right else []
    return found


def ticks_with_two_outcomes(cursor):
    cursor.execute("SELECT job, scheduled_at, last_scheduled_at FROM saathii_tasks.job_run"
                   " WHERE ticks > 0 ORDER BY job, scheduled_at")
    latest = {}
    for job, first, last in cursor.fetchall():
        if first <= latest.get(job, first - MOMENT):
            yield f"a tick of {job} at {first} has two outcomes"
        latest[job] = last


def second_charge_is_possible(connection):
    """Whether the ledger takes a (call, minute) that it has; nothing is left of the try."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO saathii_tasks.call_charge"
                       " (call_id, minute, user_id, coins, minute_start, source)"
                       " SELECT call_id, minute, user_id, coins, minute_start, source"
                       " FROM saathii_tasks.call_charge LIMIT 1 ON CONFLICT DO NOTHING")
        taken = cursor.rowcount > 0
    connection.rollback()
    return taken
