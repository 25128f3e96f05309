#!/usr/bin/python3
"""An independent opinion on when a trigger's next tick is.

Usage: oracle.py SEED COUNT

Prints COUNT random cases, one a line, tab-separated: the rule's kind (cron, at,
every), its text, the zone, a moment and the first tick after it, both in
microseconds since the Unix epoch, or "none".

croniter walks the zoneless wall clock, zoneinfo maps it to moments: a time that
DST skips is the first moment after the gap, one that occurs twice its first.
"""

import random
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

# Odd gaps and overlaps: half an hour, a whole skipped day, at midnight, around
# Ramadan, odd offsets, and none at all.
ZONES = [
    "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "Europe/Moscow",
    "Europe/Istanbul", "America/New_York", "America/Los_Angeles", "America/St_Johns",
    "America/Sao_Paulo", "America/Havana", "America/Caracas", "America/Santiago",
    "America/Asuncion", "America/Nuuk", "America/Scoresbysund", "Atlantic/Azores",
    "Africa/Casablanca", "Africa/Cairo", "Africa/Lagos", "Africa/Monrovia", "Asia/Kolkata",
    "Asia/Kathmandu", "Asia/Tehran", "Asia/Beirut", "Asia/Amman", "Asia/Gaza", "Asia/Pyongyang",
    "Asia/Tokyo", "Asia/Manila", "Australia/Lord_Howe", "Australia/Sydney", "Australia/Adelaide",
    "Antarctica/Troll", "Antarctica/Casey", "Pacific/Apia", "Pacific/Chatham",
    "Pacific/Kwajalein", "Pacific/Kiritimati", "Pacific/Norfolk", "UTC",
]

# Beyond 2037 a tzdata file holds rules instead of transitions, which the date
# library (GCC 12) does not read.
FIRST_YEAR, LAST_YEAR = 1972, 2036

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_moment(local, zone):
    """The moment at which a clock first shows `local`, or the end of its gap."""
    before = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if before.astimezone(zone).replace(tzinfo=None) == local:
        return before
    low, high = local.replace(tzinfo=zone, fold=1).astimezone(UTC), before
    offset_after = high.astimezone(zone).utcoffset()
    while high - low > SECOND:
        middle = low + (high - low) // (2 * SECOND) * SECOND
        if middle.astimezone(zone).utcoffset() == offset_after:
            high = middle
        else:
            low = middle
    return high


def transitions(zone, year):
    """The moments in `year` at which the zone's offset changes."""
    found = []
    day = datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        low, high = day, day + timedelta(days=1)
        offset_after = high.astimezone(zone).utcoffset()
        if low.astimezone(zone).utcoffset() != offset_after:
            while high - low > SECOND:
                middle = low + (high - low) // (2 * SECOND) * SECOND
                if middle.astimezone(zone).utcoffset() == offset_after:
                    high = middle
                else:
                    low = middle
            found.append(high)
        day += timedelta(days=1)
    return found


def random_moment(rng, zone):
    year = rng.randint(FIRST_YEAR, LAST_YEAR)
    kind = rng.random()
    moment = None
    if kind < 0.5:
        changes = transitions(zone, year)
        if changes:
            moment = rng.choice(changes) + timedelta(seconds=rng.randint(-10000, 10000))
            if rng.random() < 0.2:
                moment = rng.choice(changes) + timedelta(seconds=rng.randint(-1, 1))
    elif kind < 0.7:
        month = rng.randint(1, 12)
        month_end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone).astimezone(UTC)
        moment = month_end + timedelta(seconds=rng.randint(-90000, 90000))
    if moment is None:
        moment = datetime(year, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randint(0, 366 * 86400))
    if rng.random() < 0.2:
        moment += timedelta(microseconds=rng.randint(0, 999999))
    return moment


def random_item(rng, low, high, names):
    def text(value):
        if names and rng.random() < 0.4:
            name = names[(value - low) % len(names)]
            return rng.choice([name, name.upper(), name.capitalize()])
        return str(value)

    kind = rng.random()
    if kind < 0.5:
        return text(rng.randint(low, high))
    first = rng.randint(low, high)
    last = rng.randint(first, high)
    step = f"/{rng.randint(1, high)}" if kind > 0.8 else ""
    # croniter takes a range that ends where it began, with a step, for the
    # whole field.
    if first == last:
        return text(first)
    return f"{text(first)}-{text(last)}{step}"


def random_field(rng, low, high, names=None, star=0.35, star_step=0.2):
    kind = rng.random()
    if kind < star:
        return "*"
    if kind < star + star_step:
        return f"*/{rng.randint(1, high)}"
    return ",".join(random_item(rng, low, high, names) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def random_cron(rng):
    """The fields second (or None), minute, hour, day, month, weekday."""
    second = None if rng.random() < 0.6 else random_field(rng, 0, 59, star=0.1)
    minute = random_field(rng, 0, 59)
    hour = random_field(rng, 0, 23)
    day = random_field(rng, 1, 31, star=0.5)
    month = random_field(rng, 1, 12, MONTHS, star=0.6)
    weekday = random_field(rng, 0, 6, WEEKDAYS, star=0.6)
    # Vixie cron counts "*/2" in a day field as unrestricted (a day must match
    # both fields); croniter counts it as restricted (either will do). So here
    # the other field is a plain star then.
    if day.startswith("*/"):
        weekday = "*"
    elif weekday.startswith("*/"):
        day = "*"
    return second, minute, hour, day, month, weekday


def croniter_is_wrong(walk, day, weekday):
    """Three forms on which croniter 1.3 does not do as Vixie cron does."""
    days, months, weekdays = walk.expanded[2:5]
    # In a month without the 29th to 31st it counts those into the next month,
    # and so passes over a 1st to 3rd that also match.
    if days != ["*"] and min(days) <= 3 and max(days) >= 29:
        return True
    # It finds no date at all where the day never comes in these months (31 June),
    # though a weekday that is given beside it does.
    longest = 31 if months == ["*"] else max([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][m - 1]
                                             for m in months)
    if days != ["*"] and weekdays != ["*"] and min(days) > longest:
        return True
    # A day field that lists every value, such as "0-6", is restricted to Vixie
    # cron and a star to croniter.
    return any(values == ["*"] and not text.startswith("*")
               for values, text in ((days, day), (weekdays, weekday)))


def cron_case(rng, zone_name):
    zone = ZoneInfo(zone_name)
    moment = random_moment(rng, zone)
    while True:
        second, *five = random_cron(rng)
        # croniter wants the second last.
        walk = croniter(" ".join(five + ([second] if second else [])),
                        moment.astimezone(zone).replace(tzinfo=None, fold=0))
        if not croniter_is_wrong(walk, five[2], five[4]):
            break
    text = " ".join(([second] if second else []) + five)
    try:
        while True:
            tick = to_moment(walk.get_next(datetime), zone)
            if tick > moment:
                return "cron", text, moment, micros(tick)
    except CroniterBadDateError:
        return "cron", text, moment, "none"


def at_case(rng, zone_name):
    zone = ZoneInfo(zone_name)
    moment = random_moment(rng, zone)
    seconds = rng.choice([rng.randint(0, 86399), rng.randint(0, 3 * 60) * 60, 60, 0])
    local_midnight = moment.astimezone(zone).replace(tzinfo=None, fold=0).replace(
        hour=0, minute=0, second=0, microsecond=0)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    if seconds % 60 or rng.random() < 0.3:
        text += f":{seconds % 60:02}"
    for day in range(-2, 4):
        tick = to_moment(local_midnight + timedelta(days=day, seconds=seconds), zone)
        if tick > moment:
            return "at", text, moment, micros(tick)
    raise AssertionError("no tick within three days")


def every_case(rng, zone_name):
    moment = random_moment(rng, ZoneInfo(zone_name))
    seconds = rng.choice([1, 7, 60, 90, 300, 3600, 86400, rng.randint(1, 100000)])
    interval = seconds * 10**6
    return "every", f"{seconds}s", moment, (micros(moment) // interval + 1) * interval


def main():
    rng = random.Random(int(sys.argv[1]))
    kinds = [cron_case] * 12 + [at_case] * 3 + [every_case]
    for i in range(int(sys.argv[2])):
        zone_name = rng.choice(ZONES)
        kind, text, moment, tick = kinds[i % len(kinds)](rng, zone_name)
        print(kind, text, zone_name, micros(moment), tick, sep="\t")


main()
