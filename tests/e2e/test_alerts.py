"""Alerts as people get them: over TLS, from the daemon, and with dead servers."""

import base64
import contextlib
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import unittest

from support import CONFIG, PATIENCE_S, Case, Lines, run, wait_until

BASE = """
[postgres]
url = "postgresql:///saathii?host=/nonexistent"
connect_timeout = "1s"
[redis]
url = "unix:///nonexistent/redis.sock"
[jobs.log_rotation]
at = "01:00"
folders = ["{folder}"]
"""


class Server:
    """Listens on 127.0.0.1 and hands each connection to talk(file, context)."""

    def __init__(self, talk, context=None, tls=False):
        self.talk = talk
        self.context = context
        self.tls = tls
        self.connected = Lines()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            self.connected.add("connected")
            try:
                if self.tls:
                    connection = self.context.wrap_socket(connection, server_side=True)
                self.talk(connection)
            except (OSError, ValueError):
                pass  # the other side did not like us: the test looks at what it says
            finally:
                connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(PATIENCE_S)


class WebHook:
    """Keeps what is posted to it."""

    def __init__(self):
        self.posts = Lines()

    def talk(self, connection):
        with connection.makefile("rwb") as file:
            headers = []
            while (line := file.readline().strip()):
                headers.append(line.decode())
            length = next(int(h.split(":")[1]) for h in headers
                          if h.lower().startswith("content-length:"))
            self.posts.add(json.dumps({"headers": headers, "json": json.loads(file.read(length))}))
            file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            file.flush()

    def post(self, number):
        return json.loads(self.posts.lines[number])


class MailServer:
    """Wants STARTTLS and a password."""

    def __init__(self, context, password):
        self.context = context
        self.password = password
        self.mails = Lines()

    def talk(self, plain):
        with contextlib.ExitStack() as stack:
            self.converse(plain, stack)

    def converse(self, connection, stack):
        connection.sendall(b"220 ready\r\n")
        encrypted = False
        file = stack.enter_context(connection.makefile("rwb"))
        recipients = []
        while (line := file.readline().decode().strip()):
            word = line.split(" ")[0].upper()
            answer = "250 fine"
            if word == "EHLO":
                answer = "250-me\r\n250 AUTH PLAIN" if encrypted else "250-me\r\n250 STARTTLS"
            elif word == "STARTTLS":
                connection.sendall(b"220 go on\r\n")
                connection = stack.enter_context(
                    self.context.wrap_socket(connection, server_side=True))
                file = stack.enter_context(connection.makefile("rwb"))
                encrypted = True
                continue
            elif line == "AUTH PLAIN":
                connection.sendall(b"334 \r\n")
                given = base64.b64decode(file.readline()).decode().split("\0")
                good = given[1:] == ["saathiid", self.password]
                answer = "235 welcome" if good else "535 no"
            elif word == "RCPT":
                recipients.append(line)
            elif word == "DATA":
                connection.sendall(b"354 go on\r\n")
                text = []
                while (part := file.readline().decode().rstrip("\r\n")) != ".":
                    text.append(part)
                self.mails.add(json.dumps({"to": recipients, "text": text}))
            elif word == "QUIT":
                answer = "221 bye"
            connection.sendall(answer.encode() + b"\r\n")


class Alerting(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certificate = f"{cls.folder}/cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-keyout", f"{cls.folder}/key.pem", "-out", cls.certificate, "-days", "2",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True)
        cls.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.context.load_cert_chain(cls.certificate, f"{cls.folder}/key.pem")

    def server(self, talk, **options):
        server = Server(talk, context=self.context, **options)
        self.addCleanup(server.close)
        return server

    def config(self, alerts):
        return self.write("saathiid.toml", BASE.replace("{folder}", self.folder) + alerts)

    def try_alerts(self, config, *words):
        return run("--config", config, "--test-alert", *words, no_proxy="127.0.0.1")


class TestAlert(Alerting):
    def test_each_way_is_tried_and_told(self):
        hook = WebHook()
        mail = MailServer(self.context, "hunter2")
        web = self.server(hook.talk, tls=True)
        smtp = self.server(mail.talk)
        token = self.write("token", "s3cret\n")
        password = self.write("password", "hunter2\n")
        for secret in (token, password):
            secret.chmod(0o600)
        config = self.config(f"""
[alerts]
ca_file = "{self.certificate}"
[alerts.command]
run = ["/bin/sh", "-c", "cat > $1", "sh", "{self.folder}/got"]
[alerts.webhook]
url = "https://127.0.0.1:{web.port}/hooks/T0pSecret"
token_file = "{token}"
[alerts.mail]
smtp = "smtp://127.0.0.1:{smtp.port}"
from = "saathiid@example.org"
to = ["ops@example.org", "night@example.org"]
user = "saathiid"
password_file = "{password}"
""")
        done = self.try_alerts(config)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for way in ("command", "webhook", "mail"):
            self.assertRegex(done.stdout, rf"(?m)^{way} +sent ")
        got = json.loads(pathlib.Path(f"{self.folder}/got").read_text())
        self.assertEqual(got["event"], "test")
        post = hook.post(0)
        self.assertEqual(post["json"]["event"], "test")
        self.assertIn("Authorization: Bearer s3cret", post["headers"])
        sent = json.loads(mail.mails.lines[0])
        self.assertEqual(sent["to"], ["RCPT TO:<ops@example.org>", "RCPT TO:<night@example.org>"])
        self.assertIn("Auto-Submitted: auto-generated", sent["text"])
        self.assertTrue(any(line.startswith("Subject: [saathiid@") for line in sent["text"]))

        done = self.try_alerts(config, "webhook")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(done.stdout.count("\n"), 1)

        password.write_text("wrong\n")
        done = self.try_alerts(config, "mail")
        self.assertEqual(done.returncode, 1)
        self.assertIn("refuses the user or the password (535 no)", done.stdout)
        printed = run("--config", config, "--print-config").stdout
        for secret in ("T0pSecret", "s3cret", "hunter2", "wrong"):
            self.assertNotIn(secret, printed + done.stdout + done.stderr)

    def test_a_certificate_that_nobody_vouches_for_is_not_trusted(self):
        hook = WebHook()
        web = self.server(hook.talk, tls=True)
        mail = MailServer(self.context, "hunter2")
        smtp = self.server(mail.talk)
        config = self.config(f"""
[alerts.webhook]
url = "https://127.0.0.1:{web.port}/hooks/T0pSecret"
[alerts.mail]
smtp = "smtp://127.0.0.1:{smtp.port}"
from = "saathiid@example.org"
to = ["ops@example.org"]
""")
        done = self.try_alerts(config)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(len([line for line in done.stdout.splitlines()
                              if "failed" in line and "certificate" in line]), 2, done.stdout)
        self.assertNotIn("T0pSecret", done.stdout + done.stderr)
        self.assertEqual(hook.posts.length() + mail.mails.length(), 0)

    def test_usage(self):
        done = self.try_alerts(self.config(""))
        self.assertEqual(done.returncode, 1)
        self.assertIn("no alert is ever sent: no way for them to go is configured", done.stderr)
        done = self.try_alerts(self.config(""), "mail")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no alert is ever sent by mail: it is not configured", done.stderr)
        done = self.try_alerts(self.config(""), "pigeon")
        self.assertEqual(done.returncode, 2)
        self.assertIn("pigeon", done.stderr)


class Serving(Alerting):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_servers()

    def serve(self, alerts, logs=None, **environment):
        database = self.postgres.create("saathii")
        config = self.write("serve.toml", CONFIG.format(
            database=database, redis=self.redis.url(), timeout="10s",
            logs=logs or self.folder) + alerts)
        self.assertEqual(run("--config", config, "--migrate").returncode, 0)
        return self.daemon(config, env={"no_proxy": "127.0.0.1", **environment}).ready()

    def test_a_failure_and_its_end_are_told_while_a_mail_server_is_dead(self):
        hook = WebHook()
        web = self.server(hook.talk, tls=True)
        # Takes connections and never says a word.
        dead = self.server(lambda connection: connection.recv(1))
        daemon = self.serve(f"""
[alerts]
on = ["failed", "recovered"]
jobs = ["coin_deduction"]
ca_file = "{self.certificate}"
[alerts.webhook]
url = "https://127.0.0.1:{web.port}/"
[alerts.mail]
smtp = "smtp://127.0.0.1:{dead.port}"
starttls = "none"
from = "saathiid@example.org"
to = ["ops@example.org"]
timeout = "10m"
""")
        daemon.log.wait_for("coin_deduction")
        self.postgres.query("ALTER TABLE user_calls RENAME TO gone", "saathii")
        hook.posts.wait_for('"event": "opened"')
        dead.connected.wait_for("connected")
        self.postgres.query("ALTER TABLE gone RENAME TO user_calls", "saathii")
        hook.posts.wait_for('"event": "recovered"')
        posts = [hook.post(i)["json"] for i in range(2)]
        self.assertEqual([post["job"] for post in posts], ["coin_deduction"] * 2)
        self.assertEqual(posts[0]["alerts"], posts[1]["alerts"])
        self.assertIn("user_calls", posts[0]["reason"])
        daemon.log.wait_for(r"alert sent by webhook: .*CHANNEL=webhook ATTEMPTS=1 "
                            r"JOB=coin_deduction RUN_ID=")
        # The mail server still has not answered, and does not hold up the end.
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.log.count("alert not sent by mail: "), 2)

    def test_a_restart_forgets_nothing_that_was_told(self):
        hook = WebHook()
        web = self.server(hook.talk)
        state = pathlib.Path(self.folder) / "state"
        state.mkdir()
        kept = state / "alerts.json"
        since = "2026-11-22T11:00:00Z"
        kept.write_text(json.dumps([
            {"subject": "coin_deduction", "kind": kind, "id": f"{kind}.1", "since": since}
            for kind in ("missed", "stuck")]))
        daemon = self.serve(f"""
[alerts]
[alerts.webhook]
url = "http://127.0.0.1:{web.port}/"
""", STATE_DIRECTORY=str(state))
        hook.posts.wait_for("stuck.1")
        hook.posts.wait_for("missed.1")
        self.assertEqual({hook.post(i)["json"]["event"] for i in range(2)}, {"recovered"})
        self.postgres.query("ALTER TABLE user_calls RENAME TO gone", "saathii")
        hook.posts.wait_for('"event": "opened"')
        wait_until("the alert in the file",
                   lambda: [each["kind"] for each in json.loads(kept.read_text())] == ["failed"])
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(json.loads(kept.read_text())[0]["subject"], "coin_deduction")


if __name__ == "__main__":
    unittest.main()
