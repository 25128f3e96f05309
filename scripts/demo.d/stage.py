#!/usr/bin/python3
"""The demo: loads the sample, runs saathiid as its least-privileged role and the
simulator beside it, shows what happens, and recounts everything at the end.

scripts/demo calls it with private servers that are thrown away afterwards.
"""

import argparse
import collections
import contextlib
import datetime
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "platform"))

# pylint: disable=wrong-import-position
import psycopg2  # noqa: E402

import recount  # noqa: E402
import screen  # noqa: E402
from platform_api import PlatformApi, altered_url  # noqa: E402
from sample import Loader, write_logs  # noqa: E402
from simulator import Simulator  # noqa: E402
from watch import Watch  # noqa: E402

# A person wants to see something within seconds: the same jobs, more often.
EVERY_SECONDS = {"presence_cleanup": 10, "coin_deduction": 5, "call_cleanup": 15,
                 "badge_assignment": None, "log_rotation": None}
DRAIN_SECONDS = 25
FRAME_SECONDS = 0.5
PLAIN_STATUS_SECONDS = 5

TIMEZONE = "Asia/Kolkata"

CONFIG = """\
# The demo's configuration; config/saathiid.toml explains every key.
timezone = "{timezone}"

[postgres]
url = "{database_url}"

[redis]
url = "{redis_url}"

[jobs.presence_cleanup]
every = "10s"
run_at_start = true

[jobs.coin_deduction]
every = "5s"
run_at_start = true

[jobs.call_cleanup]
every = "15s"

[jobs.badge_assignment]
at = "00:01"
run_at_start = true

[jobs.log_rotation]
at = "01:00"
run_at_start = true
folders = ["{logs}"]
"""


# A line of the daemon's log: when, how grave, what, and fields for machines.
LOG_LINE = re.compile(r"(?P<at>\d{4}-\d\d-\d\dT\S+)Z (?P<level>\w+) (?P<text>.*?)"
                      r"(?: [A-Z][A-Z_]*=\S*)*$")


class Failed(Exception):
    """The demo cannot go on; the text says why."""


def readable(line):
    match = LOG_LINE.match(line)
    if not match:
        return line
    at = datetime.datetime.fromisoformat(match["at"] + "+00:00").astimezone()
    level = "" if match["level"] == "info" else f"{match['level']}: "
    return f"{at:%H:%M:%S} {level}{match['text']}"


class Daemon:
    """saathiid in the foreground, as a child; this program is its service manager."""

    def __init__(self, program, config, folder):
        self.lines = collections.deque(maxlen=200)
        self.status = "starting"
        self.ready = False
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify.sock"))
        self.notify.setblocking(False)
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "JOURNAL_STREAM")}
        environment["NOTIFY_SOCKET"] = str(folder / "notify.sock")
        # In a session of its own: Ctrl-C is for us, who then ask it to drain.
        # It ends with us even if we are killed.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", str(program), "--config", str(config)],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(readable(line.rstrip()))

    def listen(self):
        """Takes in what it has told its service manager."""
        while True:
            try:
                message = self.notify.recv(4096).decode(errors="replace")
            except BlockingIOError:
                return
            for line in message.splitlines():
                name, _, value = line.partition("=")
                if name == "STATUS":
                    self.status = value
                elif name == "READY":
                    self.ready = True

    def stop(self):
        """Drains it; True if it ended by itself and well."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(2)
        self.notify.close()
        return self.process.returncode == 0


class Simulation:
    """The simulator on a thread and connections of its own."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.stopping = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopping.wait(0.2):
                self.error = self.simulator.step(time.monotonic())
        except Exception as error:  # pylint: disable=broad-except
            self.error = str(error)

    def stop(self):
        self.stopping.set()
        self.thread.join(10)


@contextlib.contextmanager
def full_screen():
    """Another screen, no cursor, keys read at once and not echoed; then all as before."""
    keys = sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if keys else None
    try:
        if keys:
            tty.setcbreak(sys.stdin)
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[?7l")
        sys.stdout.flush()
        yield
    finally:
        sys.stdout.write("\x1b[?7h\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        if keys:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def next_in(state):
    """Seconds to each job's next tick, None where it is not soon."""
    now = state.now.timestamp()
    return {job: None if every is None else every - now % every
            for job, every in EVERY_SECONDS.items()}


class Show:
    def __init__(self, daemon, watch, stop, seconds):
        self.daemon = daemon
        self.watch = watch
        self.stop = stop
        self.seconds = seconds
        self.events = collections.deque(maxlen=500)
        self.began = time.monotonic()
        self.log_shown = 0

    def elapsed(self):
        return time.monotonic() - self.began

    def over(self):
        return (self.stop.is_set() or self.daemon.process.poll() is not None
                or (self.seconds is not None and self.elapsed() >= self.seconds))

    def run(self):
        if sys.stdout.isatty():
            with full_screen():
                self._frames()
        else:
            self._lines()

    def _frames(self):
        colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        while not self.over():
            self.daemon.listen()
            state, events = self.watch.poll()
            self.events.extend(events)
            lines = screen.draw(state, self.events, self.daemon.lines, self.daemon.status,
                                self.elapsed(), next_in(state), colour,
                                os.get_terminal_size(sys.stdout.fileno()))
            sys.stdout.write("\x1b[H" + "\r\n".join(lines) + "\x1b[J")
            sys.stdout.flush()
            self._wait_for_key()

    def _wait_for_key(self):
        if not sys.stdin.isatty():
            self.stop.wait(FRAME_SECONDS)
            return
        import select  # pylint: disable=import-outside-toplevel
        readable, _, _ = select.select([sys.stdin], [], [], FRAME_SECONDS)
        if readable and os.read(sys.stdin.fileno(), 64).lower().find(b"q") >= 0:
            self.stop.set()

    def _lines(self):
        next_status = 0.0
        while not self.over():
            self.daemon.listen()
            state, events = self.watch.poll()
            for event in events:
                print(f"{event.at.astimezone():%H:%M:%S}  {event.text}")
            self._print_log()
            if self.elapsed() >= next_status:
                next_status += PLAIN_STATUS_SECONDS
                print(f"{state.now.astimezone():%H:%M:%S}  -- {len(state.calls)} calls,"
                      f" {state.charged:,} coins charged in {state.charges:,} minutes,"
                      f" {state.in_wallets:,} in wallets"
                      f" ({'adds up' if state.adds_up else 'DOES NOT ADD UP'}),"
                      f" {state.settlements} calls ended, \u20b9 {state.earned} settled"
                      f" -- {self.daemon.status}")
            sys.stdout.flush()
            self.stop.wait(FRAME_SECONDS)
        self._print_log()

    def _print_log(self):
        lines = list(self.daemon.lines)
        for line in lines[self.log_shown:]:
            print(f"          saathiid: {line}")
        self.log_shown = len(lines) if len(lines) < self.daemon.lines.maxlen else 0


def run_to_end(command, environment, what):
    result = subprocess.run(command, env={**os.environ, **environment}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                            check=False)
    if result.returncode != 0:
        raise Failed(f"{what} failed ({result.returncode}):\n{result.stdout}")


def prepare(given, folder):
    """Sample, migration, role and configuration."""
    api = PlatformApi(given.database_url, given.redis_url)
    sample = Loader(api).load()
    logs = folder / "logs"
    write_logs(logs)
    config = folder / "saathiid.toml"
    text = CONFIG.format(timezone=TIMEZONE, redis_url=given.redis_url, logs=logs,
                         database_url=altered_url(given.database_url, user="saathiid"))
    config.write_text(text, encoding="utf-8")
    config.chmod(0o600)
    run_to_end([given.program, "--config", config, "--migrate"],
               {"DATABASE_URL": given.database_url}, "saathiid --migrate")
    with contextlib.closing(psycopg2.connect(given.database_url)) as connection:
        with connection, connection.cursor() as cursor:
            role = (ROOT / "deploy" / "saathiid-role.sql").read_text(encoding="utf-8")
            # But for psql's own command.
            cursor.execute(role.partition("\\set ON_ERROR_STOP on\n")[2])
    return api, sample, config


def charge_what_is_due(database_url, stop_at):
    """Waits, boundedly, until a run of coin_deduction has begun after the last act."""
    deadline = time.monotonic() + 3 * EVERY_SECONDS["coin_deduction"]
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute(
                    "SELECT count(*) FROM saathii_tasks.job_run WHERE job = 'coin_deduction'"
                    " AND outcome = 'succeeded' AND started_at > to_timestamp(%s)", (stop_at,))
                if cursor.fetchone()[0]:
                    return
                time.sleep(0.2)


def finish(given, show, daemon, drained):
    ended = "drained" if drained else f"ended with {daemon.process.returncode}"
    print(f"After {show.elapsed():.0f} s saathiid was asked to stop and {ended}.\n", flush=True)
    verdict = recount.main(["--database-url", given.database_url,
                            "--redis-url", given.redis_url])
    return verdict if drained else 1


def play(given, stop):
    folder = pathlib.Path(given.dir)
    print("Loading the sample platform and migrating ...", flush=True)
    api, sample, config = prepare(given, folder)
    with contextlib.closing(api):
        watch = Watch(given.database_url, given.redis_url, api.rates)
        daemon = Daemon(given.program, config, folder)
        simulation = None
        try:
            show = Show(daemon, watch, stop, given.seconds)
            simulation = Simulation(Simulator(api, sample))
            show.run()
            ended_early = daemon.process.poll() is not None
            simulation.stop()
            if not ended_early:
                print("Letting the last started minutes be charged ...", flush=True)
                charge_what_is_due(given.database_url, time.time())
        finally:
            drained = daemon.stop()
            if simulation is not None:
                simulation.stop()
            watch.close()
        if ended_early:
            print("\n".join(list(daemon.lines)[-20:]), file=sys.stderr)
            raise Failed(f"saathiid ended by itself, with {daemon.process.returncode}")
        if simulation.error:
            print(f"The simulator's last trouble: {simulation.error}")
        return finish(given, show, daemon, drained)


def main():
    parser = argparse.ArgumentParser(description="Runs the demo on servers that are there.")
    parser.add_argument("--program", required=True, help="saathiid")
    parser.add_argument("--database-url", required=True, help="as the owner")
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--dir", required=True, help="an empty folder to work in")
    parser.add_argument("--seconds", type=float, help="how long; without it, until Ctrl-C")
    given = parser.parse_args()
    # Everything is told in the platform's time.
    os.environ["TZ"] = TIMEZONE
    time.tzset()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        return play(given, stop)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
