"""Servers that fail over: a PostgreSQL with a synchronous streaming standby, and a
Redis with a replica and three sentinels. All on ports of 127.0.0.1."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

import redis
import redis.sentinel

from support import PATIENCE_S, Postgres, children_of, postgres_bin, unprivileged, wait_until

SENTINELS = 3
MASTER_NAME = "themaster"
DOWN_AFTER_MS = 1000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Node(Postgres):
    """One server of a pair; its data comes from initdb or from the other one."""

    def __init__(self, folder, is_first):
        self.is_first = is_first
        folder.mkdir(mode=0o755)
        self.port = free_port()
        # Small, because both are in one memory's worth of disk.
        self.options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}",
                        "-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB"]
        super().__init__(folder)

    def initialize(self):
        if self.is_first:
            super().initialize()

    def url(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def answers(self):
        return subprocess.run([f"{postgres_bin()}/pg_isready", "-q", "-h", "127.0.0.1", "-p",
                               str(self.port)], check=False).returncode == 0

    def kill(self):
        """As a host that loses its power: no process of it does anything more."""
        self.stall()
        for pid in self.stopped:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in self.stopped:
            wait_until("a process of PostgreSQL to be gone", lambda pid=pid: not is_alive(pid))
        self.process.wait(PATIENCE_S)
        self.process = None
        self.stopped = []

    def stall(self):
        super().stall()
        # A backend that the postmaster was starting meanwhile.
        for pid in set(children_of(self.process.pid)) - set(self.stopped):
            os.kill(pid, signal.SIGSTOP)
            self.stopped.append(pid)


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


class Pair:
    """Two servers, of which one takes writes: what it commits the other has, too,
    unless `synchronous` was set to false."""

    synchronous = True

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.nodes = [Node(folder / "n1", True), Node(folder / "n2", False)]
        self.primary, self.standby = self.nodes

    def url(self, database="postgres", user="postgres"):
        """Always in the same order: after a failover the first host is the lost one."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://{user}@{hosts}/{database}?target_session_attrs=read-write"

    def create(self, database):
        self.primary.create(database)
        return self.url(database) + "&connect_timeout=2"

    def query(self, sql, database="postgres"):
        return self.primary.query(sql, database)

    def start(self):
        self.primary.start()
        self.join(self.standby)

    def stop(self, how=signal.SIGINT):
        for node in self.nodes:
            node.stop(how)

    def join(self, node):
        """Makes the node a standby of the primary, and has commits wait for it."""
        shutil.rmtree(node.data, ignore_errors=True)
        subprocess.run(
            unprivileged() + [f"{postgres_bin()}/pg_basebackup", "-h", "127.0.0.1", "-p",
                              str(self.primary.port), "-U", "postgres", "-D", str(node.data),
                              "-R", "-X", "stream", "-c", "fast", "--no-sync"],
            check=True, cwd="/", timeout=PATIENCE_S)
        # Once promoted it has no standby of its own until the other one is back.
        with (node.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("synchronous_standby_names = ''\n")
        node.start()
        self.standby = node
        if self.synchronous:
            self.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.query("SELECT pg_reload_conf()")
        state = "sync" if self.synchronous else "async"
        wait_until("the standby to follow", lambda: self.query(
            f"SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{state}'"))

    def promote(self):
        """What a manager of the cluster does; returns the server that was the primary."""
        assert self.standby.query("SELECT pg_promote(true, 60)") == [["t"]]
        old = self.primary
        self.primary, self.standby = self.standby, old
        return old


class RedisNode:
    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.port = free_port()
        self.process = None

    def start(self, *words):
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "redis-server", *words, "--port",
                 str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)],
                stdout=log, stderr=log, start_new_session=True)
        wait_until(f"{self.name} to answer", self.answers)

    def start_data(self, *words):
        self.start("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *words)

    def start_sentinel(self, config):
        self.start(str(config), "--sentinel")

    def client(self):
        return redis.Redis("127.0.0.1", self.port, decode_responses=True, socket_timeout=10)

    def answers(self):
        try:
            with self.client() as client:
                return client.ping()
        except redis.RedisError:
            return False

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None


class SentinelRedis:
    """A master, its replica, and sentinels that promote it."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.folder = folder
        self.nodes = [RedisNode(folder, "redis-1"), RedisNode(folder, "redis-2")]
        self.sentinels = [RedisNode(folder, f"sentinel-{i}") for i in range(1, SENTINELS + 1)]
        self.master, self.replica = self.nodes

    def url(self):
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER_NAME}"

    def platform_client(self):
        """As the platform's API finds its Redis."""
        places = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        return redis.sentinel.Sentinel(places, socket_timeout=1).master_for(
            MASTER_NAME, socket_timeout=2, decode_responses=True)

    def start(self):
        self.master.start_data()
        self.follow()
        for sentinel in self.sentinels:
            config = self.folder / f"{sentinel.name}.conf"
            config.write_text(
                f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {MASTER_NAME} 5000\n")
            sentinel.start_sentinel(config)
        wait_until("the sentinels to know each other and the replica", self.is_watched)

    def is_watched(self):
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                about = client.sentinel_master(MASTER_NAME)
                if about["num-other-sentinels"] != SENTINELS - 1 or about["num-slaves"] < 1:
                    return False
        return True

    def follow(self):
        """Starts the replica, empty, and waits until it has all that the master has."""
        self.replica.start_data("--replicaof", "127.0.0.1", str(self.master.port))
        with self.replica.client() as client:
            wait_until("the replica to follow", lambda: client.info("replication").get(
                "master_link_status") == "up")

    def names_new(self, sentinel):
        with sentinel.client() as client:
            place = client.sentinel_get_master_addr_by_name(MASTER_NAME)
        return place is not None and place[1] == self.replica.port

    def wait_for_switch(self):
        wait_until("the sentinels to promote the replica", lambda: all(
            self.names_new(sentinel) for sentinel in self.sentinels))
        self.master, self.replica = self.replica, self.master

    def stop(self):
        for node in (*self.sentinels, *self.nodes):
            node.kill()
