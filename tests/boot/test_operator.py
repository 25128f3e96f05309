"""An operator's life with the package, on a booted machine, in the order of the story."""

import base64
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import unittest

from machine import Machine

CONFIG = "/etc/saathii/saathiid.toml"
CALLS = 400
OPENING = 1000
CREDENTIALS = "/etc/saathii/credentials"

# A mail server that takes one mail and writes down who has said which password.
MAIL_SERVER = r"""
use strict; use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1:2525', Listen => 1, ReuseAddr => 1)
  or die;
system('systemd-notify', '--ready');
my $client = $server->accept; my $said = '';
my $say = sub { print $client "$_[0]\r\n"; $client->flush };
$say->('220 here');
while (my $line = <$client>) {
  $said .= $line;
  if ($line =~ /^EHLO/) { $say->("250-here\r\n250 AUTH PLAIN") }
  elsif ($line =~ /^AUTH PLAIN\s*$/) { $say->('334 ') }
  elsif ($line =~ /^DATA/) { $say->('354 go on') }
  elsif ($line =~ /^\.\r/) { $say->('250 taken') }
  elsif ($line =~ /^QUIT/) { $say->('221 bye'); last }
  elsif ($line =~ /^(MAIL|RCPT)/) { $say->('250 well') }
  elsif ($line =~ /^(AUTH|[A-Za-z0-9+\/=]{8,}\r)/ && $said !~ /^DATA/m) { $say->('235 in') }
}
open(my $out, '>', '/run/mail-said') or die; print $out $said; close $out;
"""


def readme(name):
    """The block of commands of the README that is marked with this name."""
    source = pathlib.Path(os.environ["SAATHII_BOOT_SOURCE"]) / "README.md"
    found = re.findall(rf"^<!-- operator: {name} -->\n```sh\n(.*?)^```", source.read_text(),
                       re.MULTILINE | re.DOTALL)
    assert len(found) == 1, name
    return found[0]


def commands(block):
    """Each of a block that has one a line."""
    return [line.split("#")[0].rstrip() for line in block.splitlines()]


class Operator(unittest.TestCase):
    """Each test goes on where the one before it left the machine."""

    machine: Machine
    broken = False

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="saathii-boot-", dir=os.environ.get(
            "SAATHII_BOOT_WORK"))
        cls.machine = Machine(os.environ["SAATHII_BOOT_ROOT"], cls.work.name)
        packages = cls.machine.root / "packages/build/package"
        packages.mkdir(parents=True)
        for name, place in (("SAATHII_BOOT_DEB", packages / "saathiid_0.deb"),
                            ("SAATHII_BOOT_NEWER_DEB", cls.machine.root / "packages/newer.deb")):
            place.write_bytes(pathlib.Path(os.environ[name]).read_bytes())
        try:
            cls.machine.boot(os.environ["SAATHII_BOOT_SOURCE"])
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.machine.shut_down()
        cls.work.cleanup()

    def setUp(self):
        if Operator.broken and "SAATHII_BOOT_GO_ON" not in os.environ:
            self.fail("what came before it failed")

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            Operator.broken = True
            print(self.machine.run("journalctl", "--no-pager", "-n", "40", "-o", "short-precise",
                                   check=False).stdout)

    def ctl(self, *words, **options):
        return self.machine.run("saathiictl", "--no-pager", *words, **options)

    def sql(self, text):
        return self.machine.sql(text)

    def is_active(self):
        return self.machine.unit("ActiveState") == "active"

    def charged_up_to_now(self):
        return self.sql("""
          SELECT count(*) FROM user_calls c WHERE status = 'ongoing' AND
            (SELECT count(*) FROM saathii_tasks.call_charge h WHERE h.call_id = c.call_id)
            < floor(extract(epoch FROM now() - start_time) / 60)::int + 1""") == [["0"]]

    def start_calls(self, first):
        """Calls that the API began two minutes ago, whose parties are there."""
        self.sql(f"""
          INSERT INTO users (user_id, username, dob, phone) SELECT id, 'u' || id, '1990-01-01', id
            FROM generate_series({2 * first}, {2 * (first + CALLS) - 1}) id;
          INSERT INTO user_wallets (user_id, balance_coins) SELECT id, {OPENING}
            FROM generate_series({2 * first}, {2 * (first + CALLS) - 1}) id;
          INSERT INTO user_status (user_id, is_online, is_busy, wait_time, last_seen)
            SELECT id, true, true, 101, now() + interval '1 hour'
            FROM generate_series({2 * first}, {2 * (first + CALLS) - 1}) id;
          INSERT INTO user_calls (call_id, user_id, listener_id, call_type, start_time,
                                  coins_spent)
            SELECT id, 2 * id, 2 * id + 1, 'audio', now() - interval '130 s', 10
            FROM generate_series({first}, {first + CALLS - 1}) id;""")

    def assert_charged_exactly(self):
        """Once, without gaps, and wallets and calls agree with the ledger."""
        self.assertEqual(self.sql(f"""
          SELECT 'minutes of call ' || call_id FROM saathii_tasks.call_charge
            GROUP BY call_id HAVING max(minute) <> count(*) OR min(minute) <> 1
          UNION ALL
          SELECT 'coins of call ' || c.call_id FROM user_calls c
            WHERE c.coins_spent <> (SELECT sum(coins) FROM saathii_tasks.call_charge h
                                     WHERE h.call_id = c.call_id)
          UNION ALL
          SELECT 'wallet of ' || w.user_id FROM user_wallets w
            JOIN user_calls c ON c.user_id = w.user_id
            WHERE w.balance_coins <> {OPENING} - (
              SELECT coalesce(sum(coins), 0) FROM saathii_tasks.call_charge h
               WHERE h.call_id = c.call_id AND source = 'saathiid')
          UNION ALL
          SELECT 'transactions of ' || w.user_id FROM user_wallets w
            JOIN user_calls c ON c.user_id = w.user_id
            WHERE w.balance_coins <> {OPENING} + (
              SELECT coalesce(sum(coins_change), 0) FROM user_transactions t
               WHERE t.wallet_id = w.wallet_id)"""), [])

    # Install

    def test_01_install(self):
        self.machine.run("useradd", "--create-home", "asha")
        self.machine.shell("echo 'asha ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/asha")
        done = self.machine.operate("cd /packages; " + readme("install"))
        self.assertIn("systemctl enable --now saathiid", done.stdout)
        self.assertEqual(self.machine.run("stat", "-c", "%U %G %a", CONFIG).stdout.split(),
                         ["root", "saathiid", "640"])
        self.assertEqual(self.machine.unit("ActiveState"), "inactive")
        self.machine.run("id", "saathiid")

    def test_02_prepare_the_database(self):
        self.machine.sql("CREATE DATABASE saathii", "postgres")
        self.sql(self.machine.read("/src/tests/platform/schema.sql"))
        # Who may not make roles is told so, and nothing more is tried.
        self.machine.sql("CREATE ROLE weak", "postgres")
        done = self.machine.operate(
            "psql -X -v ON_ERROR_STOP=0 -c 'SET ROLE weak' "
            "-f /usr/share/saathiid/saathiid-role.sql", user="postgres", check=False)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertRegex(done.stderr, "ERROR: .*permission denied to create role")
        self.assertEqual(done.stderr.count("ERROR"), 1, done.stderr)
        self.machine.sql("DROP ROLE weak", "postgres")
        # Twice, as after an upgrade.
        for _ in range(2):
            self.machine.operate(readme("database"), user="postgres", stdin="p%w\np%w\n")
        self.machine.operate(readme("password"), stdin="p%w\n")
        self.assertEqual(self.machine.read(f"{CREDENTIALS}/postgres.password"), "p%w\n")
        text = self.machine.read(CONFIG)
        url = 'url = "postgresql://saathiid@/saathii?host=/run/postgresql"'
        self.assertIn(url, text)
        text = text.replace(url, 'url = "postgresql://saathiid@127.0.0.1/saathii"')
        self.machine.put(CONFIG, text.replace('[jobs.coin_deduction]\nevery = "1m"',
                                              '[jobs.coin_deduction]\nevery = "1s"'))
        # So that the watchdog acts within the test.
        self.machine.run("mkdir", "-p", "/etc/systemd/system/saathiid.service.d")
        self.machine.put("/etc/systemd/system/saathiid.service.d/test.conf",
                         "[Service]\nWatchdogSec=10\nRestartSec=100ms\n")
        self.machine.run("systemctl", "daemon-reload")

    # Start and look

    def test_03_start(self):
        # Among them those that the README names.
        self.start_calls(4700)
        began = time.monotonic()
        done = self.machine.operate(readme("start"))
        print(f"      check, print, enable and start: {time.monotonic() - began:.2f} s")
        self.assertIn(f"{CONFIG} is valid: 5 jobs", done.stdout)
        self.assertTrue(self.is_active())
        self.machine.wait_until("the charges", self.charged_up_to_now)
        self.assert_charged_exactly()

    def test_04_status(self):
        self.machine.wait_until("health", lambda: self.ctl("health", check=False).returncode == 0)
        shown = self.ctl("status").stdout
        for word in ("coin_deduction", "badge_assignment", "postgres", "redis", "ok"):
            self.assertIn(word, shown)
        status = self.machine.unit("StatusText")
        self.assertRegex(status, "^5 jobs; .*postgres up; redis up")
        jobs = json.loads(self.ctl("jobs", "--json=short").stdout)
        self.assertEqual(len(jobs), 5)

    def test_04_what_the_readme_shows(self):
        for command in commands(readme("look")):
            done = self.machine.operate(command)
            self.assertEqual(done.stderr, "", command)
        for command in commands(readme("act")) + commands(readme("journal")):
            self.machine.operate(command)
        self.machine.wait_until("health", lambda: self.ctl("health", check=False).returncode == 0)
        jobs = json.loads(self.ctl("jobs", "--json=short").stdout)
        self.assertEqual([job for job in jobs if job.get("paused")], [])

    def test_05_sandbox(self):
        done = self.machine.run("systemd-analyze", "security", "saathiid", "--threshold=11",
                                "--no-pager", check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        print("      " + done.stdout.strip().splitlines()[-1])

    def test_06_anybody_may_read_and_only_root_may_act(self):
        anybody = ("runuser", "-u", "nobody", "--", "saathiictl", "--no-pager")
        self.machine.run(*anybody, "status")
        for words in (("run", "log_rotation"), ("pause", "log_rotation"), ("reload",),
                      ("call", "1")):
            done = self.machine.run(*anybody, *words, check=False)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn("not allowed", done.stderr.lower() + done.stdout.lower(), words)

    # Reload

    def test_07_edit_with_an_error_and_reload(self):
        text = self.machine.read(CONFIG)
        self.machine.put(CONFIG, text + "\n[rates]\naudoi = 11\n")
        done = self.machine.run("systemctl", "reload", "saathiid", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(self.is_active())
        done = self.ctl("reload", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"saathiid\.toml:\d+:\d+: ")
        self.machine.put(CONFIG, text)

    def test_08_edit_and_reload(self):
        text = self.machine.read(CONFIG)
        self.machine.put(CONFIG, text.replace("\naudio = 10\n", "\naudio = 11\n")
                         .replace('drain_timeout = "20s"', 'drain_timeout = "21s"'))
        done = self.ctl("reload")
        self.assertIn("rates.audio", done.stdout)
        self.assertIn("service.drain_timeout", done.stdout)
        self.machine.put(CONFIG, text)
        took = []
        for _ in range(20):
            began = time.monotonic()
            self.machine.run("systemctl", "reload", "saathiid")
            took.append(time.monotonic() - began)
        took.sort()
        print(f"      systemctl reload, 5 jobs: median {took[10] * 1000:.0f} ms, "
              f"longest {took[-1] * 1000:.0f} ms (with nsenter)")
        self.assertTrue(self.is_active())

    # Run, pause, journal

    def test_09_run_and_history(self):
        done = self.ctl("run", "log_rotation", "--wait")
        self.assertIn("succeeded", done.stdout + done.stderr)
        runs = json.loads(self.ctl("history", "log_rotation", "--json=short").stdout)
        run_id = runs[0]["run_id"]
        lines = self.machine.journal(f"RUN_ID={run_id}")
        self.assertTrue(any(line.get("JOB") == "log_rotation" for line in lines))
        self.assertEqual(self.ctl("run", "no_such_job", check=False).returncode, 1)

    def test_10_pause_holds_over_a_restart(self):
        self.ctl("pause", "coin_deduction")
        self.machine.run("systemctl", "restart", "saathiid")
        self.assertIn("Paused", self.ctl("show", "coin_deduction").stdout)
        self.assertEqual(self.ctl("health", check=False).returncode, 1)
        self.machine.wait_until("a skipped tick", lambda: self.sql(
            "SELECT count(*) > 0 FROM saathii_tasks.job_run WHERE job = 'coin_deduction' "
            "AND outcome = 'skipped' AND reason LIKE 'the job was paused by %'") == [["t"]])
        self.ctl("resume", "coin_deduction")
        self.machine.wait_until("health", lambda: self.ctl("health", check=False).returncode == 0)

    def test_11_journal_and_catalog(self):
        lines = self.machine.journal("JOB=coin_deduction")
        self.assertTrue(any("RUN_ID" in line and "SCHEDULED_AT" in line for line in lines))
        self.assertTrue(any("MESSAGE_ID" in line for line in lines))
        explained = self.machine.run("journalctl", "-x", "-u", "saathiid", "--no-pager",
                                     "JOB=coin_deduction").stdout
        self.assertRegex(explained, "Defined-By: saathiid\n")
        self.assertIn("saathiictl", explained)

    def test_12_receipt(self):
        shown = self.ctl("call", "4712").stdout
        self.assertIn("audio", shown)
        self.assertIn(f"{OPENING:,}", shown)
        self.assertIn("4712", self.ctl("wallet", "9424").stdout)

    def test_12_alerts(self):
        """By mail, with the password that root alone can read, as the daemon's user."""
        text = self.machine.read(CONFIG)
        for key, value in (("smtp", "smtp://127.0.0.1:2525"), ("starttls", "none"),
                           ("from", "saathiid@here"), ("user", "me")):
            text, found = re.subn(rf'^{key} = "[a-z]*"', f'{key} = "{value}"', text,
                                  flags=re.MULTILINE)
            self.assertEqual(found, 1, key)
        before = self.machine.read(CONFIG)
        self.machine.put(CONFIG, text.replace("\nto = []", '\nto = ["ops@here"]'))
        self.machine.put(f"{CREDENTIALS}/smtp.password", "s3cret\n")
        self.machine.put("/root/mail.pl", MAIL_SERVER)
        self.machine.run("systemd-run", "--unit=mail", "-p", "Type=notify", "-p",
                         "NotifyAccess=all", "perl", "/root/mail.pl")
        done = self.machine.operate(readme("alerts"))
        self.assertRegex(done.stdout, r"(?m)^mail +sent ")
        self.machine.wait_until("the mail", lambda: self.machine.run(
            "test", "-s", "/run/mail-said", check=False).returncode == 0)
        said = self.machine.read("/run/mail-said")
        self.assertIn(base64.b64encode(b"\0me\0s3cret").decode(), said)
        self.assertIn("RCPT TO:<ops@here>", said)
        self.machine.put(CONFIG, before)

    # What goes wrong

    def test_13_kill(self):
        self.machine.run("systemctl", "kill", "-s", "KILL", "saathiid")
        self.machine.wait_until("a restart", lambda: self.machine.unit("NRestarts") == "1"
                                and self.is_active())
        self.machine.wait_until("the charges", self.charged_up_to_now)
        self.assert_charged_exactly()

    def test_14_watchdog(self):
        before = self.machine.unit("MainPID")
        self.machine.run("systemctl", "kill", "-s", "STOP", "saathiid")
        self.machine.wait_until("the watchdog", lambda: self.machine.unit("NRestarts") == "2"
                                and self.is_active())
        self.assertNotEqual(self.machine.unit("MainPID"), before)

    def test_15_postgres_gone_for_longer_than_the_watchdog(self):
        pid = self.machine.unit("MainPID")
        self.machine.run("systemctl", "stop", "postgresql")
        self.machine.wait_until("health", lambda: self.ctl("health", check=False).returncode == 1)
        self.assertIn("postgres", self.ctl("health", check=False).stdout)
        # Twice the watchdog's time by the machine's own clock.
        self.machine.run("sleep", "20")
        self.assertEqual(self.machine.unit("MainPID"), pid)
        self.machine.run("systemctl", "start", "postgresql")
        self.machine.wait_until("health", lambda: self.ctl("health", check=False).returncode == 0)
        self.machine.wait_until("the charges", self.charged_up_to_now)
        self.assert_charged_exactly()

    def test_16_bad_configuration_is_not_restarted(self):
        text = self.machine.read(CONFIG)
        self.machine.put(CONFIG, text + "\n[rates]\naudoi = 11\n")
        self.machine.run("systemctl", "restart", "saathiid", check=False)
        self.assertEqual(self.machine.unit("ActiveState"), "failed")
        self.assertEqual(self.machine.unit("ExecMainStatus"), "78")
        self.machine.put(CONFIG, text)
        self.machine.run("systemctl", "start", "saathiid")

    # Upgrade and leave

    def test_17_upgrade_in_mid_charge(self):
        self.start_calls(1000)
        began = time.monotonic()
        self.machine.run("dpkg", "-i", "/packages/newer.deb")
        print(f"      upgrade: {time.monotonic() - began:.1f} s")
        self.assertTrue(self.is_active())
        self.assertIn("+newer", self.machine.run("dpkg-query", "-W", "saathiid").stdout)
        self.machine.wait_until("the charges", self.charged_up_to_now)
        self.assert_charged_exactly()

    def test_18_idle_figures(self):
        pid = self.machine.unit("MainPID")
        status = self.machine.read(f"/proc/{pid}/status")
        rss = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"      resident: {int(rss) / 1024:.1f} MB (after {2 * CALLS} calls)")

    def test_19_stop_waits_as_long_as_the_configuration_says(self):
        """Beyond the unit's limit, for a run that waits."""
        self.machine.run("systemctl", "stop", "saathiid")
        text = self.machine.read(CONFIG)
        self.machine.put(CONFIG, text.replace('drain_timeout = "20s"', 'drain_timeout = "5m"'))
        self.machine.put("/etc/systemd/system/saathiid.service.d/stop.conf",
                         "[Service]\nTimeoutStopSec=2\n")
        self.machine.run("systemctl", "daemon-reload")
        self.start_calls(6000)
        self.machine.run("systemd-run", "--unit=holder", "--uid=postgres", "psql", "-X", "-d",
                         "saathii", "-c", "BEGIN; LOCK TABLE user_wallets IN EXCLUSIVE MODE; "
                         "SELECT pg_sleep(3600)")
        self.machine.wait_until("the lock", lambda: self.sql(
            "SELECT count(*) FROM pg_locks WHERE relation = 'user_wallets'::regclass "
            "AND mode = 'ExclusiveLock' AND granted") == [["1"]])
        self.machine.run("systemctl", "start", "saathiid")
        self.machine.wait_until("a run that waits", lambda: self.sql(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'saathiid' "
            "AND wait_event_type = 'Lock'") == [["t"]])
        pid = self.machine.unit("MainPID")
        self.machine.run("systemctl", "stop", "--no-block", "saathiid")
        self.machine.wait_until("the stop", lambda: "waiting for coin_deduction"
                                in self.machine.unit("StatusText"))
        # Twice the unit's limit by the machine's own clock.
        self.machine.run("sleep", "4")
        self.assertEqual(self.machine.unit("ActiveState"), "deactivating")
        self.assertEqual(self.machine.unit("MainPID"), pid)
        self.machine.run("systemctl", "kill", "holder")
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE query LIKE '%pg_sleep(3600)' AND pid <> pg_backend_pid()")
        self.machine.wait_until("the end",
                                lambda: self.machine.unit("ActiveState") == "inactive")
        self.assertEqual(self.machine.unit("Result"), "success")
        self.assert_charged_exactly()
        done = self.ctl("health", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("systemctl", done.stderr)

    def test_20_remove_and_install_again(self):
        self.machine.run("systemctl", "start", "saathiid")
        self.machine.run("dpkg", "-r", "saathiid")
        self.assertEqual(self.machine.unit("ActiveState"), "inactive")
        self.machine.run("test", "-e", CONFIG)
        # Whatever has taken its place would charge beside it after a boot.
        self.machine.run("dpkg", "-i", "/packages/newer.deb")
        self.assertEqual(self.machine.run("systemctl", "is-enabled", "saathiid",
                                          check=False).stdout, "disabled\n")
        self.assertEqual(self.machine.unit("ActiveState"), "inactive")

    def test_21_purge(self):
        self.machine.put("/etc/saathii/somebody-elses", "")
        done = self.machine.run("dpkg", "-P", "saathiid")
        self.assertEqual(self.machine.shell("find /etc/saathii").stdout.split(),
                         ["/etc/saathii", "/etc/saathii/somebody-elses"])
        for path in ("/var/lib/saathiid", "/usr/bin/saathiictl"):
            self.assertNotEqual(self.machine.run("test", "-e", path, check=False).returncode, 0,
                                path)
        self.assertNotEqual(self.sql("SELECT count(*) FROM saathii_tasks.call_charge"), [["0"]])
        statements = re.findall(r"^ +(DROP .*;)$", done.stdout, re.MULTILINE)
        self.assertEqual(len(statements), 5, done.stdout)
        self.sql("\n".join(statements))
        self.assertEqual(self.sql(
            "SELECT relname FROM pg_class WHERE relname LIKE '%saathii%' UNION "
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%saathii%' UNION "
            "SELECT rolname FROM pg_roles WHERE rolname LIKE '%saathii%'"), [])


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    total = program.result
    bad = len(total.failures) + len(total.errors)
    print(f"{total.testsRun - bad} passed, {bad} failed")
    sys.exit(bad != 0)
