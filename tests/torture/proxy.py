"""What stands between a daemon and its servers, and can cut in at an exact point.

A proxy passes bytes on, in both directions, until it is told otherwise: to hold
them back (a network that swallows), to refuse (one that is gone), or to call
somebody at a point of the conversation, once: before a BEGIN or a COMMIT goes on,
when its answer has come and has not been passed on, before anything goes on. Then
the conversation is cut there, or held until it is let go.
"""

import asyncio
import enum
import os
import socket
import threading

# Of what it accepts over a network: it gives up who is silent, as a server's kernel does.
KEEPALIVE = {socket.TCP_KEEPIDLE: 3, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 2,
             socket.TCP_USER_TIMEOUT: 5000}


class Point(enum.Enum):
    BEFORE_BEGIN = "before a transaction"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after the commit is sent, before its reply"
    BEFORE_REQUEST = "between commit and Redis"


class Proxy:
    """Listens at `path`, or on a free `port` of `address`, and connects to `target`: a Unix
    socket, as `path` is. A thread of its own."""

    def __init__(self, target, path=None, address=None):
        self.path = path and str(path)
        self.address = address
        self.port = None
        self.target = str(target)
        self.loop = asyncio.new_event_loop()
        self.open = None
        self.refuses = False
        self.pairs = set()
        self.trap = None  # (point, how often to let it pass, what to call, whether to cut)
        self.sprung = threading.Event()
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        started.wait()

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.open = asyncio.Event()
        self.open.set()
        if self.path:
            listening = asyncio.start_unix_server(self._serve, path=self.path)
        else:
            listening = asyncio.start_server(self._serve, self.address, 0)
        self.server = self.loop.run_until_complete(listening)
        if self.path:
            os.chmod(self.path, 0o777)
        else:
            self.port = self.server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    def close(self):
        def end():
            self.server.close()
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.call_soon(self.loop.stop)

        self.loop.call_soon_threadsafe(end)
        self.thread.join(10)

    # What the campaign tells it, from any thread.

    def hold(self):
        self.loop.call_soon_threadsafe(lambda: self.open.clear())

    def let_go(self):
        self.loop.call_soon_threadsafe(lambda: self.open.set())

    def refuse(self, refuses):
        self.refuses = refuses
        if refuses:
            self.cut()

    def cut(self):
        def close_all():
            for writer in list(self.pairs):
                writer.transport.abort()

        self.loop.call_soon_threadsafe(close_all)

    def set_trap(self, point, passes, call, cut=True):
        """Without a cut all conversations are held from there, until let_go()."""
        self.sprung.clear()
        self.trap = (point, passes, call, cut)

    def clear_trap(self):
        self.trap = None

    # Within the loop.

    def _springs(self, point):
        """Whether the trap is set for this point, it is its turn, and it cuts."""
        if self.trap is None or self.trap[0] is not point:
            return False
        _, passes, call, cut = self.trap
        if passes > 0:
            self.trap = (point, passes - 1, call, cut)
            return False
        self.trap = None
        if not cut:
            self.open.clear()
        call()
        self.sprung.set()
        return cut

    async def _serve(self, reader, writer):
        if self.refuses:
            writer.transport.abort()
            return
        if not self.path:
            accepted = writer.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE.items():
                accepted.setsockopt(socket.IPPROTO_TCP, option, value)
        try:
            to_reader, to_writer = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()
            return
        conversation = Conversation(self)
        self.pairs |= {writer, to_writer}
        try:
            await asyncio.gather(conversation.pump(reader, to_writer, conversation.asked),
                                 conversation.pump(to_reader, writer, conversation.answered))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.pairs -= {writer, to_writer}
            for each in (writer, to_writer):
                each.transport.abort()


class Conversation:
    def __init__(self, proxy):
        self.proxy = proxy
        self.commit_is_sent = False

    async def pump(self, reader, writer, look):
        while data := await reader.read(65536):
            if look(data):
                raise OSError("cut")
            await self.proxy.open.wait()
            writer.write(data)
            await writer.drain()
        raise OSError("ended")

    def asked(self, data):
        if self.proxy._springs(Point.BEFORE_REQUEST):
            return True
        if b"BEGIN\x00" in data:
            return self.proxy._springs(Point.BEFORE_BEGIN)
        if b"COMMIT\x00" not in data:
            return False
        self.commit_is_sent = True
        return self.proxy._springs(Point.BEFORE_COMMIT)

    def answered(self, _data):
        if not self.commit_is_sent:
            return False
        self.commit_is_sent = False
        return self.proxy._springs(Point.AFTER_COMMIT)
