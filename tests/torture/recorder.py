"""What a daemon and its servers take over hours: memory, descriptors, threads,
connections, and the tables' sizes, as rows of a CSV."""

import csv
import pathlib
import threading
import time

import psycopg2
import redis

EVERY_S = 5
TABLES_EVERY_S = 60

# Rows of these come and go: their size is what vacuum leaves.
STEADY_TABLES = ("public.user_wallets", "public.user_status", "saathii_tasks.leadership",
                 "saathii_tasks.instance", "saathii_tasks.share")
# These are history: what matters is what a row takes.
GROWING_TABLES = ("public.user_calls", "public.user_transactions", "saathii_tasks.call_charge",
                  "saathii_tasks.call_settlement", "saathii_tasks.job_run")

# Below it a page that is half empty says more than a row.
ENOUGH_ROWS = 1000

COLUMNS = ("at_s", "what", "which", "value")


def memory_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)  # it is ending


def entries(path):
    return sum(1 for _ in pathlib.Path(path).iterdir())


class Recorder:
    """A thread that samples a world until stop(); what is away is left out."""

    def __init__(self, world, file):
        self.world = world
        self.began = time.monotonic()
        self.file = open(file, "w", encoding="ascii", newline="")
        self.rows = csv.writer(self.file)
        self.rows.writerow(COLUMNS)
        self.tables_at = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.ended.set()
        self.thread.join(60)
        self.file.close()

    def _run(self):
        while not self.ended.wait(EVERY_S):
            for sample in (self._daemons, self._redis, self._postgres):
                try:
                    sample()
                except (OSError, psycopg2.Error, redis.RedisError):
                    continue
            self.file.flush()

    def _write(self, what, which, value):
        self.rows.writerow((round(time.monotonic() - self.began, 1), what, which, value))

    def _daemons(self):
        for instance in self.world.instances:
            process = instance.process
            if process is None or process.poll() is not None:
                continue
            # Each start is a line of its own.
            which = f"{instance.name}.{instance.starts}"
            try:
                sample = (("memory", memory_kib(process.pid)),
                          ("descriptors", entries(f"/proc/{process.pid}/fd")),
                          ("threads", entries(f"/proc/{process.pid}/task")))
            except OSError:
                continue
            for what, value in sample:
                self._write(what, which, value)

    def _redis(self):
        client = redis.Redis(unix_socket_path=str(self.world.redis.path), socket_timeout=2)
        self._write("connections", "redis", client.info("clients")["connected_clients"] - 1)
        self._write("redis memory", "redis", client.info("memory")["used_memory"] // 1024)
        client.close()

    def _postgres(self):
        connection = psycopg2.connect(self.world.database, application_name="recorder",
                                      connect_timeout=2, options="-c statement_timeout=5000")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'saathiid'")
                self._write("connections", "postgres", cursor.fetchone()[0])
                if time.monotonic() - self.tables_at >= TABLES_EVERY_S:
                    self._tables(cursor)
                    self.tables_at = time.monotonic()
        finally:
            connection.close()

    def _tables(self, cursor):
        for table in STEADY_TABLES:
            cursor.execute("SELECT pg_total_relation_size(%s::regclass) / 1024", (table,))
            self._write("table", table, cursor.fetchone()[0])
        for table in GROWING_TABLES:
            cursor.execute(f"SELECT pg_total_relation_size(%s::regclass), count(*) FROM {table}",
                           (table,))
            size, rows = cursor.fetchone()
            if rows >= ENOUGH_ROWS:
                self._write("bytes a row", table, round(size / rows))
                self._write("rows", table, rows)
