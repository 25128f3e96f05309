#!/usr/bin/python3
"""Recounts, from the tables alone, every invariant that saathiid owes.

Reads wallets, transactions, calls, statuses and badges, saathiid's ledger and the
API's own log (schema `demo`), in one snapshot, and computes everything again in
Python: nothing here is shared with the jobs. Prints each invariant with what was
looked at and what is wrong; exits with 1 if anything is.

Run it when the daemon has stopped, or at least when nothing is behind.
"""

import argparse
import datetime
import sys

import psycopg2
import redis

from recount_charges import check_charges, check_minutes
from recount_endings import check_drops, check_settlements
from recount_facts import Facts, Options
from recount_presence import check_busy, check_redis
from recount_report import TITLES, Finding, print_json, print_report
from recount_tables import Tables
from recount_wallets import check_coins_spent, check_wallets


def recount(tables, options, redis_client=None):
    """A finding for each invariant; without a client none for Redis."""
    facts = Facts(tables, options)
    findings = {number: Finding(number) for number in TITLES}
    for check in (check_charges, check_minutes, check_wallets, check_coins_spent, check_drops,
                  check_settlements, check_busy):
        check(facts, findings)
    if redis_client is None:
        del findings[10]
    else:
        check_redis(facts, findings, redis_client)
    return list(findings.values())


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--redis-url", help="without it Redis is not looked at")
    parser.add_argument("--audio", type=int, default=10, help="coins a minute")
    parser.add_argument("--video", type=int, default=60, help="coins a minute")
    parser.add_argument("--minute", type=float, default=60, metavar="SECONDS",
                        help="the increment by which calls are billed")
    parser.add_argument("--timezone", default="Asia/Kolkata", help="of the business day")
    parser.add_argument("--busy-grace", type=float, default=75, metavar="SECONDS",
                        help="busy without a call is wrong after this long")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments=None):
    given = parse_arguments(arguments)
    options = Options(rates={"audio": given.audio, "video": given.video},
                      timezone=given.timezone,
                      minute=datetime.timedelta(seconds=given.minute),
                      busy_grace=datetime.timedelta(seconds=given.busy_grace))
    connection = psycopg2.connect(given.database_url, application_name="recount")
    tables = Tables(connection)
    connection.close()
    client = redis.Redis.from_url(given.redis_url, decode_responses=True, socket_timeout=10) \
        if given.redis_url else None
    findings = recount(tables, options, client)
    if given.json:
        print_json(findings, sys.stdout)
    else:
        print_report(tables, findings, sys.stdout)
    return 1 if any(finding.violations for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
