"""A machine for tests: a Debian root, booted by systemd-nspawn, with a real systemd."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

BOOT_S = 120
COMMAND_S = 120
WAIT_S = 120


class Machine:
    """Boots a copy of a pristine root; only its loopback is its network."""

    def __init__(self, root, work):
        self.root = pathlib.Path(work) / "root"
        self.console = open(pathlib.Path(work) / "console", "wb")
        subprocess.run(["cp", "-a", "--reflink=auto", str(root), str(self.root)], check=True)
        self.nspawn = None
        self.leader = None

    def boot(self, source):
        self.nspawn = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "-D", str(self.root),
             f"--machine=saathii-boot-{os.getpid()}", "--register=no", "--keep-unit",
             "--private-network", "--timezone=off", "--link-journal=no", "--console=pipe",
             f"--bind-ro={source}:/src", "--boot"],
            stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console)
        self.wait_until("the leader", lambda: self._find_leader() is not None, BOOT_S)
        self.wait_until("the system to be up", lambda: self.run(
            "systemctl", "is-system-running", check=False).stdout.strip() in
            ("running", "degraded"), BOOT_S)

    def _find_leader(self):
        if self.nspawn.poll() is not None:
            raise AssertionError("systemd-nspawn ended; see the console")
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        with contextlib.suppress(OSError):
            self.leader = next(iter(children.read_text().split()), None)
        return self.leader

    def shut_down(self):
        """Ends what was booted, however far it had got."""
        if self.nspawn is not None:
            if self.leader is not None:
                with contextlib.suppress(Exception):
                    self.run("systemctl", "poweroff", "--no-block", check=False, timeout=10)
            try:
                self.nspawn.wait(60)
            except subprocess.TimeoutExpired:
                self.nspawn.send_signal(signal.SIGTERM)
                self.nspawn.send_signal(signal.SIGTERM)
                try:
                    self.nspawn.wait(15)
                except subprocess.TimeoutExpired:
                    self.nspawn.kill()
                    self.nspawn.wait()
        self.console.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, *words, check=True, stdin=None, timeout=COMMAND_S):
        """A command as root in the machine."""
        # A deadline inside as well: nsenter's end is not that of what it started.
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "env", "-i",
             "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
             "timeout", "-k", "5", str(timeout), *words],
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, text=True,
            capture_output=True, check=False, timeout=timeout + 20)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit code {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def shell(self, script, **options):
        return self.run("/bin/bash", "-c", script, **options)

    def operate(self, block, user="asha", stdin="", **options):
        """What stands in the README's block of that name, in the shell of a user who may
        say sudo, and whose PATH is an ordinary one. No terminal: stdin is what is typed."""
        as_user = ("setsid", "--wait", "runuser", "-u", "asha", "--", "env",
                   "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/asha")
        shell = ("/bin/bash", "-e", "-c", "cd /home/asha; " + block)
        if user != "asha":
            shell = ("sudo", "-u", user, *shell[:3], block)
        return self.run(*as_user, *shell, stdin=stdin, **options)

    def put(self, path, text):
        """A file in the machine, as root would write it, keeping rights that it has."""
        self.run("tee", path, stdin=text)

    def read(self, path):
        return self.run("cat", path).stdout

    def sql(self, text, database="saathii"):
        """Rows of texts, as the owner of the platform's tables."""
        done = self.run("runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-A", "-t", "-F",
                        "\t", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-", stdin=text)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def unit(self, name, unit="saathiid"):
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, *matches):
        done = self.run("journalctl", "-o", "json", "--no-pager", "-u", "saathiid", *matches)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait_until(self, what, holds, limit_s=WAIT_S):
        """Asks again and again; the limit only ends a test that would hang."""
        until = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > until:
                raise AssertionError(f"waited {limit_s} s for {what}")
            time.sleep(0.2)
