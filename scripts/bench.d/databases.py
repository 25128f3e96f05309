"""Databases of the benchmark's private server: loaded, copied, measured in."""

import contextlib
import pathlib
import subprocess
import urllib.parse

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent

# What saathiid sets for its own sessions; its rivals get the same.
SESSION = "SET jit = off; SET work_mem = '32MB'"

# In a database with a clock of ours, saathiid's T is what bench_clock.moment says:
# the one function is found before PostgreSQL's own by the role's search path.
CLOCK = """
CREATE SCHEMA bench_clock;
CREATE TABLE bench_clock.moment (at timestamptz NOT NULL);
INSERT INTO bench_clock.moment VALUES (%(start)s);
CREATE FUNCTION bench_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
  AS 'SELECT at FROM bench_clock.moment';
GRANT USAGE ON SCHEMA bench_clock TO saathiid;
GRANT SELECT ON bench_clock.moment TO saathiid;
"""


def altered_url(url, database=None, user=None):
    """The PostgreSQL URL with another database or user. The host is in its query."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    if user is not None:
        query["user"] = user
    path = parts.path if database is None else f"/{database}"
    return f"{parts.scheme}://{parts.netloc}{path}?{urllib.parse.urlencode(query, safe='/')}"


def sql_file(name):
    return (HERE / name).read_text(encoding="utf-8")


class Database:
    """One database and a connection to it as its owner, outside of any transaction."""

    def __init__(self, owner_url):
        self.owner_url = owner_url
        self.url = altered_url(owner_url, user="saathiid")
        self.connection = psycopg2.connect(owner_url)
        self.connection.autocommit = True

    def close(self):
        self.connection.close()

    def execute(self, text, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)

    def rows(self, text, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()

    def value(self, text, values=None):
        return self.rows(text, values)[0][0]

    @contextlib.contextmanager
    def transaction(self):
        """A cursor whose work is committed together."""
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")

    def settle_down(self):
        """Before something is timed: nothing left over for the server to do."""
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def advance(self, seconds):
        """Lets saathiid's time go on; only with a clock of ours."""
        self.execute("UPDATE bench_clock.moment SET at = at + %s * interval '1 second'",
                     (seconds,))


class Server:
    def __init__(self, program, database_url, config):
        self.program = program
        self.database_url = database_url
        self.config = config
        self.open = {}

    def maintenance(self):
        if "postgres" not in self.open:
            self.open["postgres"] = Database(self.database_url)
        return self.open["postgres"]

    def create(self, name):
        """Empty, with the platform's tables, saathiid's own and its role."""
        self.drop(name)
        self.maintenance().execute(f"CREATE DATABASE {name}")
        database = self._opened(name)
        database.execute((ROOT / "tests/platform/schema.sql").read_text(encoding="utf-8"))
        self.program.run(["--migrate"], self.config(database.owner_url, {}))
        role = (ROOT / "deploy/saathiid-role.sql").read_text(encoding="utf-8")
        # But for psql's own command.
        database.execute(role.partition("\\set ON_ERROR_STOP on\n")[2])
        return database

    def create_loaded(self, name, calls, start, spread, seen, own_clock=None):
        """With ongoing calls that began within `spread` before `start`."""
        database = self.create(name)
        with database.transaction() as cursor:
            cursor.execute(sql_file("load.sql"),
                           {"calls": calls, "start": start, "spread": spread, "seen": seen})
            if own_clock is not None:
                cursor.execute(CLOCK, {"start": own_clock})
        if own_clock is not None:
            self.set_search_path(name)
        return database

    def set_search_path(self, name):
        self.maintenance().execute(f"ALTER ROLE saathiid IN DATABASE {name}"
                                   " SET search_path = bench_clock, pg_catalog, public")

    def copy(self, source, name):
        """Block by block, so that both are laid out alike."""
        self.drop(name)
        self._closed(source)
        self.maintenance().execute(
            f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY file_copy")
        self.set_search_path(name)
        return self._opened(name)

    def drop(self, name):
        self._closed(name)
        self.maintenance().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self):
        for name in list(self.open):
            self._closed(name)

    def _opened(self, name):
        self.open[name] = Database(altered_url(self.database_url, database=name))
        return self.open[name]

    def _closed(self, name):
        database = self.open.pop(name, None)
        if database is not None:
            database.close()


def pgbench(command, database, script, clients, seconds, variables):
    """Transactions per second of a script, started by as many clients."""
    options = [f"--define={name}={value}" for name, value in variables.items()]
    result = subprocess.run(
        [command, "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=2",
         f"--time={seconds}", f"--file={HERE / script}", *options, database.owner_url],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    lines = dict(line.split(" = ", 1) for line in result.stdout.splitlines() if " = " in line)
    if result.returncode != 0 or "tps" not in lines:
        raise RuntimeError(f"pgbench failed: {(result.stderr.strip().splitlines() or ['no tps'])[0]}")
    return float(lines["tps"].split()[0])
