"""A network that can be lost: a namespace, and one link between it and this machine."""

import os
import subprocess
import threading
import unittest

from support import wait_until


class Network:
    """Ends with this process, even one that is killed: nothing of it has a name elsewhere."""

    made = 0
    counter = threading.Lock()

    def __init__(self):
        with Network.counter:
            Network.made += 1
            number = Network.made
        pid = os.getpid()
        # Of this process alone among those that test on this machine.
        place = f"10.{64 + pid // 256 % 64}.{pid % 256}.{4 * number}"
        base, last = place.rsplit(".", 1)
        self.address = f"{base}.{int(last) + 1}"  # of this machine, as seen from within
        self.link = f"sa{pid}-{number}"
        self.holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net",
                                        "sleep", "infinity"], stderr=subprocess.DEVNULL)
        try:
            wait_until("a namespace", self._is_apart)
            self._ip("link", "add", self.link, "type", "veth", "peer", "name", "way", "netns",
                     str(self.holder.pid))
            self._ip("address", "add", f"{self.address}/30", "dev", self.link)
            self._ip("address", "add", f"{base}.{int(last) + 2}/30", "dev", "way", within=True)
            self._ip("link", "set", "way", "up", within=True)
            self.come_back()
        except BaseException:
            self.close()
            raise

    def _is_apart(self):
        if self.holder.poll() is not None:
            raise OSError("no namespace can be made here")
        own = os.readlink("/proc/self/ns/net")
        return os.readlink(f"/proc/{self.holder.pid}/ns/net") != own

    def _ip(self, *words, within=False):
        subprocess.run([*(self.inside() if within else ()), "ip", *words], check=True,
                       capture_output=True)

    def inside(self):
        """What to put before a command that is to run in it."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def vanish(self):
        """Nothing passes any more, and nobody is told."""
        self._ip("link", "set", self.link, "down")

    def come_back(self):
        self._ip("link", "set", self.link, "up")

    def close(self):
        self.holder.kill()
        self.holder.wait()


def network():
    """None where there can be none: that takes root, and iproute2."""
    if os.geteuid() != 0:
        return None
    try:
        return Network()
    except (OSError, subprocess.CalledProcessError):
        return None


def network_or_skip():
    found = network()
    if found is None:
        raise unittest.SkipTest("no network namespace can be made here")
    return found
