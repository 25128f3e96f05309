"""saathiid as a process: run to its end, or as the daemon whose manager we are."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import time

READY_SECONDS = 30
STOP_SECONDS = 60


class Failed(Exception):
    """A measurement could not be made; the text says why."""


class Program:
    def __init__(self, path, folder, redis_url):
        self.path = str(path)
        self.folder = pathlib.Path(folder)
        self.redis_url = redis_url
        self.configs = 0

    def config(self, database_url, jobs, instance="bench", level="warning", bus="none"):
        """A configuration with these tables under [jobs]; all others are off."""
        names = ("presence_cleanup", "coin_deduction", "call_cleanup", "badge_assignment",
                 "log_rotation")
        lines = [f'[postgres]\nurl = "{database_url}"', f'[redis]\nurl = "{self.redis_url}"',
                 f'[log]\nlevel = "{level}"', f'[service]\ninstance = "{instance}"',
                 f'[control]\nbus = "{bus}"']
        for name in names:
            keys = jobs.get(name, {"enabled": False})
            lines.append(f"[jobs.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        self.configs += 1
        path = self.folder / f"config-{self.configs}.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.chmod(0o600)
        return path

    def environment(self, **more):
        dropped = ("DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "JOURNAL_STREAM", "NOTIFY_SOCKET",
                   "WATCHDOG_USEC", "WATCHDOG_PID")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {**kept, **more}

    def run(self, options, config):
        """To the end; returns what it printed."""
        result = subprocess.run([self.path, "--config", str(config), *options], text=True,
                                env=self.environment(), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, check=False)
        if result.returncode != 0:
            raise Failed(f"saathiid {' '.join(options)} ended with {result.returncode}:"
                         f" {result.stderr.strip()}")
        return result.stdout

    @contextlib.contextmanager
    def daemon(self, config):
        daemon = Daemon(self, config)
        try:
            yield daemon
        finally:
            daemon.stop()


@contextlib.contextmanager
def message_bus(folder):
    """A private one; yields its address."""
    address = f"unix:path={folder}/bus"
    with subprocess.Popen(["dbus-daemon", "--session", f"--address={address}", "--nofork",
                           "--nopidfile", "--print-address"], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()  # once it listens
            yield address
        finally:
            process.terminate()


class Daemon:
    """Ready when made. Its log goes to a file beside the configuration."""

    def __init__(self, program, config):
        notify_path = str(pathlib.Path(config).with_suffix(".notify"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(notify_path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify_path)
        self.log = pathlib.Path(config).with_suffix(".log")
        # The watchdog's time is that of systemd/saathiid.service.
        environment = program.environment(NOTIFY_SOCKET=notify_path, WATCHDOG_USEC="60000000")
        with open(self.log, "wb") as log, open(os.devnull, "rb") as nothing:
            actions = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                       (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                       (os.POSIX_SPAWN_DUP2, log.fileno(), 2)]
            began = time.monotonic()
            self.pid = os.posix_spawn(program.path, [program.path, "--config", str(config)],
                                      environment, file_actions=actions)
        self.ended = False
        self.listener = None
        try:
            self._wait_for_ready(began + READY_SECONDS)
        except Failed:
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - began
        # A manager reads what it is told: the queue would be full after ten messages.
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        while self.notify.recv(4096):
            pass

    def _wait_for_ready(self, deadline):
        while True:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.notify], [], [], min(max(left, 0), 0.5))
            if readable and b"READY=1" in self.notify.recv(4096).split(b"\n"):
                return
            if left <= 0 or self._reap(os.WNOHANG):
                raise Failed("saathiid did not become ready: "
                             + self.log.read_text(errors="replace").strip()[-500:])

    def _reap(self, options):
        if not self.ended:
            pid, _ = os.waitpid(self.pid, options)
            self.ended = pid != 0
        return self.ended

    def send(self, number):
        os.kill(self.pid, number)

    def stop(self):
        """Asks it to drain; kills it if it does not."""
        deadline = time.monotonic() + STOP_SECONDS
        if not self._reap(os.WNOHANG):
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            while not self._reap(os.WNOHANG):
                if time.monotonic() > deadline:
                    self.send(signal.SIGKILL)
                    self._reap(0)
                    break
                time.sleep(0.01)
        if self.listener is not None:
            self.notify.shutdown(socket.SHUT_RDWR)
            self.listener.join()
        self.notify.close()

    @contextlib.contextmanager
    def held(self):
        """Stopped, so that it takes nothing from a rival."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def _status(self, path, name):
        for line in pathlib.Path(path).read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0])
        raise Failed(f"{path} has no {name}")

    def memory_kib(self, name):
        """VmRSS or VmHWM."""
        return self._status(f"/proc/{self.pid}/status", name)

    def forget_peak(self):
        """VmHWM begins again at VmRSS."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def threads(self):
        """For each thread: how often it slept, how often another took its place, and
        the seconds that it ran."""
        found = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[task.name] = (
                    self._status(task / "status", "voluntary_ctxt_switches"),
                    self._status(task / "status", "nonvoluntary_ctxt_switches"),
                    int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9)
        return found
