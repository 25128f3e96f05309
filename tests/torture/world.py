"""The stage of a campaign: servers, daemons that are started again like a service,
a proxy between each daemon and each server, and the platform's API."""

import datetime
import glob
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import psycopg2
import redis

from network import network
from people import People
from platform_api import PlatformApi, Refused
from proxy import Proxy
from support import CONTROL_PROGRAM, PROGRAM, SOURCE, Postgres, Redis, environment, wait_until

DISK_BYTES = 700 * 1024 * 1024
MINUTE_S = 3
STALE_S = 60
GRACE_S = 10
LEASE_S = 2
AUDIT_PATIENCE_S = 120
RATES = {"audio": 10, "video": 60}

CONFIG = """
[postgres]
url = "{database}"
connect_timeout = "2s"
statement_timeout = "5s"
lock_timeout = "1s"
tcp_user_timeout = "3s"
[redis]
url = "{redis}"
[service]
instance = "{instance}"
lease = "{lease}s"
drain_timeout = "2s"
[rates]
increment = "{minute}s"
[jobs.coin_deduction]
every = "1s"
timeout = "8s"
stale_after = "{stale}s"
share_above = 10
batch_size = {batch_size}
retry_backoff = "100ms"
retry_backoff_cap = "500ms"
[jobs.presence_cleanup]
every = "2s"
busy_grace = "10s"
[jobs.call_cleanup]
every = "3s"
timeout = "8s"
grace = "{grace}s"
stale_after = "{stale}s"
[jobs.badge_assignment]
every = "15s"
[jobs.log_rotation]
every = "10s"
folders = ["{logs}"]
"""


FAKETIME = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))


def clock_environment(file):
    """For a process whose wall clock is set by a file; without libfaketime it is true."""
    if not FAKETIME:
        return {}
    return {"LD_PRELOAD": FAKETIME[0], "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}


class Instance:
    """One saathiid behind proxies of its own, and beyond a network of its own where there can
    be one. What ends is started again."""

    def __init__(self, world, number):
        self.world = world
        self.name = f"d{number}"
        self.folder = world.folder / self.name
        self.folder.mkdir(mode=0o755)
        self.config = self.folder / "saathiid.toml"
        self.network = None
        self.urls = self.open_ways()
        self.write_config()
        self.log = (world.folder / f"saathiid-{number}.log").open("a")
        self.wanted = True
        self.may_run = threading.Event()
        self.may_run.set()
        self.starts = 0
        self.clock = self.folder / "clock"
        self.set_clock(0)
        self.env = clock_environment(self.clock)
        self.process = None
        self.lock = threading.Lock()
        self.supervisor = threading.Thread(target=self._supervise, daemon=True)
        self.supervisor.start()

    def open_ways(self):
        """Proxies to the servers; returns the URLs of PostgreSQL and Redis."""
        postgres, redis_path = self.world.postgres.folder / ".s.PGSQL.5432", self.world.redis.path
        self.network = network()
        if self.network is not None:
            address = self.network.address
            self.postgres = Proxy(postgres, address=address)
            self.redis = Proxy(redis_path, address=address)
            return (f"postgresql://saathiid@{address}:{self.postgres.port}/torture",
                    f"redis://{address}:{self.redis.port}")
        (self.folder / "pg").mkdir(mode=0o755)
        self.postgres = Proxy(postgres, path=self.folder / "pg/.s.PGSQL.5432")
        self.redis = Proxy(redis_path, path=self.folder / "redis.sock")
        return (f"postgresql:///torture?host={self.folder}/pg&user=saathiid",
                f"unix://{self.folder}/redis.sock")

    def close_ways(self):
        self.postgres.close()
        self.redis.close()
        if self.network is not None:
            self.network.close()

    def write_config(self, batch_size=5000):
        self.config.write_text(self.world.configuration(*self.urls, batch_size,
                                                          self.name))

    def set_clock(self, ahead_s):
        """What its clock is ahead of the true time, in seconds; at once."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}\n")
        fresh.rename(self.clock)

    def _supervise(self):
        while True:
            self.may_run.wait()
            if not self.wanted:
                return
            inside = self.network.inside() if self.network is not None else []
            with self.lock:
                # It ends with the campaign, even one that is killed.
                self.process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *inside, PROGRAM, "--config",
                     str(self.config)],
                    stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                    env=environment(**self.env))
                self.starts += 1
            self.process.wait()
            time.sleep(0.2)

    def signal(self, number):
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(number)

    def halt(self):
        """Stops it as an operator does; returns its exit code."""
        self.may_run.clear()
        self.signal(signal.SIGTERM)
        return self.process.wait(60)

    def stop(self):
        self.wanted = False
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self.may_run.set()
        self.supervisor.join(60)
        self.signal(signal.SIGKILL)
        self.close_ways()
        self.log.close()


class World:
    """Owns everything; stop() leaves nothing behind."""

    make_instance = Instance
    make_postgres = Postgres
    make_redis = Redis

    def __init__(self):
        # Short, because a socket's path must fit in 107 bytes.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="saathii-t-", dir="/tmp"))
        self.is_small_disk = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "torture", str(self.folder)],
            check=False, capture_output=True).returncode == 0
        self.folder.chmod(0o755)
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.instances = []
        self.spared = set()  # names of instances that no fault may end
        self.people = None
        self.postgres = self.make_postgres(self.folder)
        self.redis = self.make_redis(self.folder)

    def start(self, daemons, seed, live_calls):
        self.postgres.start()
        self.redis.start()
        self.database = self.postgres.create("torture")
        self.migrate()
        self.people = People(self.api, seed, live_calls)
        self.people.prepare()
        code, _, errors = self.audit("--baseline", "--yes")
        if code != 0:
            raise RuntimeError(f"no baseline for the audit: {errors}")
        for number in range(1, daemons + 1):
            self.instances.append(self.make_instance(self, number))
        self.people.start()

    def has_networks(self):
        return all(instance.network is not None for instance in self.instances)

    def configuration(self, database, redis_url, batch_size, instance="owner"):
        return CONFIG.format(database=database, redis=redis_url, minute=MINUTE_S, stale=STALE_S,
                             grace=GRACE_S, batch_size=batch_size, logs=self.logs,
                             instance=instance, lease=LEASE_S)

    def leader(self):
        """The name of the instance that leads, or None."""
        try:
            connection = self.connect()
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT name FROM saathii_tasks.instance"
                               " JOIN saathii_tasks.leadership ON holder = id")
                row = cursor.fetchone()
            connection.close()
            return row and row[0]
        except psycopg2.Error:
            return None

    def migrate(self):
        config = self.folder / "owner.toml"
        config.write_text(self.configuration(self.database, self.redis.url(), batch_size=1))
        subprocess.run([PROGRAM, "--config", str(config), "--migrate"], check=True,
                       env=environment(), stdout=subprocess.DEVNULL)
        self.postgres.query((SOURCE / "deploy/saathiid-role.sql").read_text(), "torture")

    def audit(self, *words):
        """What `saathiictl audit` says, as the exit code, its report in JSON and its errors."""
        done = subprocess.run(
            [CONTROL_PROGRAM, "audit", "--config", str(self.folder / "owner.toml"), *words],
            check=False, text=True, capture_output=True, stdin=subprocess.DEVNULL,
            timeout=AUDIT_PATIENCE_S, env=environment())
        return done.returncode, done.stdout, done.stderr

    def api(self):
        """A connection of the platform's own, past every proxy."""
        return PlatformApi(self.database, self.redis.url(), RATES["audio"], RATES["video"])

    def redis_client(self):
        return redis.Redis(unix_socket_path=str(self.redis.path), decode_responses=True,
                           socket_timeout=10)

    def connect(self):
        return psycopg2.connect(self.database, application_name="campaign")

    def terms(self):
        """How many terms of leadership there were."""
        connection = self.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM saathii_tasks.leadership_term")
            count = cursor.fetchone()[0]
        connection.close()
        return count

    def runs_since(self, moment):
        """How many runs of each job that charges or ends began after the moment, and succeeded."""
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT job, count(*) FROM saathii_tasks.job_run WHERE outcome = 'succeeded'"
                    # Of a daemon whose clock is right: one that was ahead has began later, too.
                    " AND started_at > %s AND abs(extract(epoch FROM recorded_at - finished_at)) < 5"
                    " AND job IN ('coin_deduction', 'call_cleanup', 'presence_cleanup')"
                    " GROUP BY job", (moment,))
                return dict(cursor.fetchall())
        finally:
            connection.close()

    def now(self):
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT clock_timestamp()")
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def calm(self, halt=True):
        """Nobody acts any more; the jobs do all that is due, and the daemons stop. Where
        they may not be halted, every call is ended first, so that nothing comes due."""
        self.people.pause()
        if not halt:
            self.end_calls()
        for instance in self.instances:
            instance.set_clock(0)
        began = self.now()

        def settled():
            runs = self.runs_since(began)
            return (runs.get("coin_deduction", 0) >= 3 and runs.get("call_cleanup", 0) >= 2
                    and runs.get("presence_cleanup", 0) >= 1)

        wait_until("the jobs to have done what is due", settled)
        # A deleted user's call leaves its hash behind, which is looked for now and then.
        wait_until("Redis to have been searched", lambda: self.searched_since(began))
        if halt:
            for instance in self.instances:
                instance.halt()

    def searched_since(self, moment):
        client = self.redis_client()
        text = client.get("saathiid:calls_projected_at")
        client.close()
        return text is not None and datetime.datetime.fromisoformat(text) > moment

    def end_calls(self):
        api = self.api()
        try:
            with api.connection, api.connection.cursor() as cursor:
                cursor.execute("SELECT call_id FROM user_calls WHERE status = 'ongoing'")
                ongoing = [row[0] for row in cursor.fetchall()]
            for call_id in ongoing:
                try:
                    api.end_call(call_id, "completed")
                except Refused:
                    pass  # saathiid was quicker
        finally:
            api.close()

    def go_on(self):
        for instance in self.instances:
            instance.may_run.set()
        self.people.go_on()

    def stop(self):
        if self.people is not None:
            self.people.stop()
        for instance in self.instances:
            instance.stop()
        self.postgres.stop(signal.SIGQUIT)
        self.redis.stop()

    def remove(self):
        if self.is_small_disk:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
