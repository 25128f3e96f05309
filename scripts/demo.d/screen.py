"""Draws one State as a screenful of lines, for any width and height."""

import re

SPARKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ANSI = re.compile(r"\x1b\[[0-9;]*m")

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34",
         "magenta": "35", "cyan": "36", "bar": "48;5;24;97", "title": "1;36"}
KIND_STYLES = {"charge": "green", "warning": "yellow", "drop": "red", "ghost": "magenta",
               "job": "cyan", "api": "dim"}


CALLS_WIDTH = 63  # of the table of calls without its cells cut


class Painter:
    def __init__(self, colour):
        self.colour = colour

    def __call__(self, style, text):
        if not self.colour or style not in CODES:
            return text
        return f"\x1b[{CODES[style]}m{text}\x1b[0m"


def visible(text):
    return len(ANSI.sub("", text))


def fit(text, width):
    """Exactly `width` columns: padded, or cut with the colours ended."""
    missing = width - visible(text)
    if missing >= 0:
        return text + " " * missing
    out, columns = [], 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", text):
        if ANSI.fullmatch(part):
            out.append(part)
            continue
        room = max(0, width - 1 - columns)
        out.append(part[:room])
        columns += len(part[:room])
    return "".join(out) + "\u2026" + ("\x1b[0m" if "\x1b[" in text else "")


def sparkline(values, width):
    """The highest value may go over the top, so that one burst does not flatten the rest."""
    values = values[-width:]
    top = max(sorted(values)[-2:-1] + [1])
    return "".join(SPARKS[0] if value == 0 else SPARKS[min(8, 1 + (value * 7) // top)]
                   for value in values)


def clock(seconds):
    seconds = int(seconds)
    if seconds >= 86400:
        return f"{seconds // 86400}d {seconds % 86400 // 3600:02}h"
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return f"{seconds // 60:02}:{seconds % 60:02}"


def draw(state, events, log, status, elapsed_seconds, next_in, colour, size):
    """Lines for a terminal of `size` (columns, lines); newest events and log last."""
    columns, rows = size
    width, height = max(columns, 60), max(rows, 20)
    paint = Painter(colour)
    lines = [header(paint, state, status, elapsed_seconds, width), ""]
    lines += jobs(paint, state, next_in, width)
    lines += [""] + coins(paint, state, width) + [""]
    log_rows = 4 if height >= 34 else 2
    footer = [""] + [paint("title", " DAEMON'S LOG")] + [
        " " + paint("dim", line) for line in list(log)[-log_rows:]]
    footer += [""] * (log_rows - len(list(log)[-log_rows:]))
    footer.append(paint("dim", " q or Ctrl-C ends the demo; an independent recount then checks"
                               " every invariant."))
    room = height - len(lines) - len(footer)
    if width >= 110:
        left = max(CALLS_WIDTH, width * 45 // 100)
        table = calls(paint, state, left, room)
        feed = event_feed(paint, events, width - left - 1, room)
        lines += [fit(a, left) + " " + b for a, b in zip(table, feed)]
    else:
        upper = max(4, room // 2 - 1)
        lines += calls(paint, state, width, upper)
        lines += event_feed(paint, events, width, room - upper)
    lines += footer
    return [fit(line, columns) for line in lines[:rows]]


def header(paint, state, status, elapsed_seconds, width):
    left = " saathiid  "
    right = f" {state.now.astimezone():%H:%M:%S}   {clock(elapsed_seconds)} on "
    middle = fit(status, max(0, width - len(left) - len(right)))
    return paint("bar", left + middle + right)


def jobs(paint, state, next_in, width):
    lines = [paint("title", f" {'JOB':<18}{'LAST RUN':<10}{'OUTCOME':<11}{'TOOK':>8}"
                            f"{'NEXT':>9}   WHAT IT DID")]
    for job, seconds in next_in.items():
        run = state.runs.get(job)
        upcoming = clock(seconds) if seconds is not None else "-"
        if run is None:
            lines.append(f" {job:<18}{'-':<10}{'':<11}{'':>8}{upcoming:>9}")
            continue
        style = "green" if run.outcome == "succeeded" else "red"
        took = "" if run.milliseconds is None else f"{run.milliseconds:.0f} ms"
        did = run.reason or ", ".join(f"{name.replace('_', ' ')} {count:,}"
                                      for name, count in run.counts.items() if count)
        lines.append(f" {paint('bold', f'{job:<18}')}{run.scheduled_at.astimezone():%H:%M:%S}  "
                     f"{paint(style, f'{run.outcome:<11}')}{took:>8}{upcoming:>9}   {did}")
    return [fit(line, width) for line in lines]


def coins(paint, state, width):
    ongoing = len(state.calls)
    video = sum(call.call_type == "video" for call in state.calls)
    spark = sparkline(state.flow, max(10, min(60, width - 58)))
    verdict = paint("green", "adds up") if state.adds_up else paint("red", "DOES NOT ADD UP")
    return [
        paint("title", " COINS"),
        f" {state.last_minute:>9,} charged in the last minute   {paint('green', spark)}"
        + paint("dim", "  per 5 s"),
        f" {state.charged:>9,} charged in {state.charges:,} minutes, {state.given_back:,} given"
        f" back;  {state.settlements:,} calls ended, \u20b9 {state.earned:,} settled",
        f" {state.in_wallets:>9,} in wallets = {state.opening:,} opening + {state.bought:,} bought"
        f" - {state.first_minutes:,} by the API - {state.charged:,} + {state.given_back:,}  "
        + verdict,
        f" {ongoing:>9,} calls ({ongoing - video} audio, {video} video), {state.online} people"
        f" online;  by the API: {state.api_starts} begun, {state.api_ends} ended;"
        f"  {state.published:,} messages",
    ]


def calls(paint, state, width, rows):
    """The calls nearest to their end first, then the longest."""
    lines = [paint("title", fit(f"{'CALL':>6} {'CALLER':<11}{'LISTENER':<11}{'TYPE':<5}"
                                f"{'MIN':>4}{'COINS':>6}{'LEFT':>6}", width))]
    ranked = sorted(state.calls, key=lambda call: (
        call.seconds_unseen < 300, call.minutes_left, -call.seconds))
    for call in ranked[:max(0, rows - 1)]:
        note, style = f"{call.minutes_left} min", ""
        if call.seconds_unseen > 300:
            note, style = f"ghost {clock(call.seconds_unseen)}", "magenta"
        elif call.minutes_left == 0:
            note, style = f"{60 - call.seconds % 60} s", "red"
        elif call.minutes_left == 1:
            style = "yellow"
        lines.append(paint(style, fit(
            f"{call.call_id:>6} {call.caller:<11}{call.listener:<11}{call.call_type:<5}"
            f"{call.seconds // 60 + 1:>4}{call.coins:>6}{call.balance:>6}  {note}", width)))
    return lines + [""] * (rows - len(lines))


def event_feed(paint, events, width, rows):
    lines = [paint("title", fit(" WHAT HAPPENS", width))]
    for event in list(events)[-max(0, rows - 1):]:
        lines.append(fit(f" {paint('dim', f'{event.at.astimezone():%H:%M:%S}')} "
                         + paint(KIND_STYLES[event.kind], event.text), width))
    return lines + [""] * (rows - len(lines))
