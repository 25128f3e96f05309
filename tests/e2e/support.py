"""Drives the built program (SAATHIID_BIN) against servers of the test's own.

Whatever a test waits for, it waits until it happens; PATIENCE_S only ends a
test that would otherwise hang.
"""

import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SAATHIID_BIN", "saathiid")
CONTROL_PROGRAM = os.environ.get("SAATHIICTL_BIN", "saathiictl")
PATIENCE_S = 90
POLL_S = 0.02


def wait_until(what, condition):
    """Returns the first true value of condition()."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_S} s in vain for: {what}")
        time.sleep(POLL_S)


def postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if found:
        return os.path.dirname(found[-1])
    program = shutil.which("initdb")
    if program is None:
        raise unittest.SkipTest("no PostgreSQL server program is installed")
    return os.path.dirname(os.path.realpath(program))


def unprivileged():
    """What to put before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
                "--clear-groups"]
    raise unittest.SkipTest("no account to run PostgreSQL as")


def children_of(pid):
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = pathlib.Path(stat).read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.split("/")[2]))
    return found


class Postgres:
    """A private cluster on a Unix socket."""

    options = ["-c", "listen_addresses="]

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / "pg"
        self.folder.mkdir()
        self.data = self.folder / "data"
        self.process = None
        self.stopped = []
        if os.geteuid() == 0:
            owner = next(a for a in unprivileged() if a.startswith("--reuid=")).split("=")[1]
            os.chown(self.folder, int(owner), -1)
        self.initialize()

    def initialize(self):
        subprocess.run(
            unprivileged() + [f"{postgres_bin()}/initdb", "-D", str(self.data), "-U", "postgres",
                              "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/")

    def url(self, database="postgres"):
        return f"postgresql:///{database}?host={self.folder}&user=postgres"

    def start(self):
        # The server ends with this test, even one that is killed.
        with (self.folder.parent / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                unprivileged() + ["setpriv", "--pdeathsig", "INT", f"{postgres_bin()}/postgres",
                                  "-D", str(self.data), "-k", str(self.folder),
                                  "-c", "fsync=off", "-c", "max_connections=50", *self.options],
                stdout=subprocess.DEVNULL, stderr=log, cwd="/", start_new_session=True)
        wait_until("PostgreSQL to answer", self.answers)

    def answers(self):
        return subprocess.run([f"{postgres_bin()}/pg_isready", "-q", "-h", str(self.folder)],
                              check=False).returncode == 0

    def stop(self, how=signal.SIGINT):
        if self.process is None:
            return
        self.go_on()
        self.process.send_signal(how)
        self.process.wait(PATIENCE_S)
        self.process = None

    def stall(self):
        """Every process of the server stops, with its sockets open."""
        os.kill(self.process.pid, signal.SIGSTOP)
        self.stopped = [self.process.pid] + children_of(self.process.pid)
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in reversed(self.stopped):
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        self.stopped = []

    def create(self, database):
        self.query(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.query(f"CREATE DATABASE {database}")
        schema = (SOURCE / "tests/platform/schema.sql").read_text()
        self.query(schema, database)
        return self.url(database)

    def query(self, sql, database="postgres"):
        """Rows of texts, as psql shows them."""
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d",
             self.url(database), "-f", "-"],
            input=sql, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"psql: {done.stderr}\n{sql}")
        return [line.split("\t") for line in done.stdout.splitlines()]


class Redis:
    """A private Redis on a Unix socket, which keeps nothing on disk."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "redis.sock"
        self.process = None

    def url(self):
        return f"unix://{self.path}"

    def start(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "redis-server", "--port", "0", "--unixsocket",
             str(self.path), "--save", "", "--appendonly", "no", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL, start_new_session=True)
        wait_until("Redis to answer", self.answers)

    def answers(self):
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None

    def command(self, *words):
        return subprocess.run(["redis-cli", "-s", str(self.path), *words], text=True,
                              capture_output=True, check=False).stdout.strip()


class Bus:
    """A private message bus, on which everybody may do everything."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "bus"
        self.config = pathlib.Path(folder) / "bus.conf"
        self.config.write_text(f"""<busconfig>
  <type>session</type>
  <listen>{self.address()}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
""")
        self.process = None

    def address(self):
        return f"unix:path={self.path}"

    def start(self):
        with self.config.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "dbus-daemon", f"--config-file={self.config}",
                 "--nofork", "--nopidfile"], stderr=log, start_new_session=True)
        wait_until("the bus to listen", self.answers)

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(str(self.path))
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            self.process = None


class Lines:
    """Lines that a thread collects and a test waits for."""

    def __init__(self):
        self.lines = []
        self.changed = threading.Condition()

    def add(self, line):
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def count(self, pattern):
        with self.changed:
            return sum(1 for line in self.lines if re.search(pattern, line))

    def wait_for(self, pattern, times=1, after=0):
        """The line number behind the match; lines up to `after` do not count."""
        deadline = time.monotonic() + PATIENCE_S
        with self.changed:
            while True:
                hits = [i for i, line in enumerate(self.lines) if i >= after
                        and re.search(pattern, line)]
                if len(hits) >= times:
                    return hits[times - 1] + 1
                rest = deadline - time.monotonic()
                if rest <= 0:
                    tail = "\n".join(self.lines[-20:])
                    raise AssertionError(f"waited in vain for {times} x /{pattern}/ in:\n{tail}")
                self.changed.wait(rest)

    def length(self):
        with self.changed:
            return len(self.lines)


class Daemon:
    """The program as its service manager runs it."""

    def __init__(self, folder, config, watchdog_us=1_000_000, env=None, inside=()):
        self.notices = Lines()  # one for each assignment, "STATUS=…"
        self.log = Lines()
        path = os.path.join(folder, f"notify-{time.monotonic_ns()}")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.process = subprocess.Popen(
            [*inside, PROGRAM, "--config", str(config)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=environment(NOTIFY_SOCKET=path, WATCHDOG_USEC=str(watchdog_us), **(env or {})))
        self.readers = [threading.Thread(target=self.read_notices, daemon=True),
                        threading.Thread(target=self.read_log, daemon=True)]
        for reader in self.readers:
            reader.start()

    def read_notices(self):
        while True:
            message = self.socket.recv(65536)
            if message == b"":
                return
            for line in message.decode().splitlines():
                self.notices.add(line)

    def read_log(self):
        for line in self.process.stderr:
            self.log.add(line.rstrip("\n"))

    def ready(self):
        self.notices.wait_for("^READY=1$")
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        code = self.process.wait(PATIENCE_S)
        self.readers[1].join(PATIENCE_S)
        return code

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self.readers[1].join(PATIENCE_S)
        self.process.stderr.close()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.readers[0].join(PATIENCE_S)
        self.socket.close()


def environment(**more):
    """The environment without what would override a test's configuration."""
    kept = {k: v for k, v in os.environ.items()
            if k not in ("DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "NOTIFY_SOCKET",
                         "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
            and not k.startswith("PG")}
    return {**kept, **more}


def run(*words, **env):
    """The program, to its end."""
    return subprocess.run([PROGRAM, *map(str, words)], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False,
                          env=environment(**env))


class Case(unittest.TestCase):
    """A test with a folder, and servers that are started when first asked for."""

    postgres = None
    redis = None

    @classmethod
    def setUpClass(cls):
        # Short, because a socket's path must fit in 107 bytes.
        cls.folder = tempfile.mkdtemp(prefix="saathii-e2e-", dir="/tmp")
        os.chmod(cls.folder, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

    @classmethod
    def start_servers(cls, make_postgres=Postgres):
        cls.postgres = make_postgres(cls.folder)
        cls.addClassCleanup(cls.postgres.stop)
        cls.postgres.start()
        cls.redis = Redis(cls.folder)
        cls.addClassCleanup(cls.redis.stop)
        cls.redis.start()

    def write(self, name, text):
        path = pathlib.Path(self.folder) / name
        path.write_text(text)
        return path

    def daemon(self, config, **options):
        daemon = Daemon(self.folder, config, **options)
        self.addCleanup(daemon.close)
        return daemon


CONFIG = """
[postgres]
url = "{database}"
connect_timeout = "2s"
[redis]
url = "{redis}"
[service]
drain_timeout = "10s"
[jobs.coin_deduction]
every = "1s"
timeout = "{timeout}"
retry_backoff = "100ms"
retry_backoff_cap = "500ms"
[jobs.presence_cleanup]
every = "5m"
enabled = false
[jobs.call_cleanup]
every = "10m"
enabled = false
[jobs.badge_assignment]
at = "00:01"
enabled = false
[jobs.log_rotation]
every = "1s"
folders = ["{logs}"]
"""
