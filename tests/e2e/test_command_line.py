"""What an operator meets on the command line: exit codes and messages."""

import json
import unittest

from support import SOURCE, Case, run

GOOD = """
[postgres]
url = "postgresql://daemon:hunter2@/saathii?host=/nonexistent"
[redis]
url = "unix:///nonexistent/redis.sock"
[jobs.log_rotation]
at = "01:00"
folders = ["{logs}"]
"""


class CommandLine(Case):
    def config(self, text=GOOD):
        return self.write("saathiid.toml", text.replace("{logs}", self.folder))

    def assert_usage(self, done, *fragments):
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("see saathiid --help", done.stderr)
        for fragment in fragments:
            self.assertIn(fragment, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_help_and_version(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--config", "--check-config", "--print-config", "--migrate", "--once",
                     "--test-alert", "--at", "--json", "--version", "DATABASE_URL"):
            self.assertIn(word, done.stdout)
        done = run("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^saathiid \d+\.\d+\.\d+\n$")

    def test_bad_usage(self):
        self.assert_usage(run("--frobnicate"), "--frobnicate")
        self.assert_usage(run("--config"), "--config")
        self.assert_usage(run("coin_deduction"), "coin_deduction", "--once")
        self.assert_usage(run("--json"), "--json needs --once")
        self.assert_usage(run("--at", "2026-11-22"), "--at needs --once")
        self.assert_usage(run("--migrate", "--check-config"), "only one of")

    def test_unknown_job_and_bad_time(self):
        config = self.config()
        self.assert_usage(run("--config", config, "--once", "coin_deducton"),
                          'no job "coin_deducton"', 'did you mean "coin_deduction"?')
        done = run("--config", config, "--once", "log_rotation", "xyzzy")
        self.assert_usage(done, 'no job "xyzzy"; known jobs: presence_cleanup, coin_deduction', "log_rotation")
        self.assert_usage(run("--config", config, "--once", "--at", "tomorrow"), "tomorrow")

    def test_check_config(self):
        done = run("--config", self.config(), "--check-config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("valid", done.stdout)
        done = run("--config", SOURCE / "config/saathiid.toml", "--check-config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_bad_configuration_names_each_error_with_its_place(self):
        config = self.write("bad.toml", '[jobs.coin_deduction]\nevery = "0s"\n'
                            'retires = 3\n[rates]\naudio = "ten"\n')
        for action in (["--check-config"], ["--once"], ["--migrate"], ["--print-config"], []):
            done = run("--config", config, *action)
            self.assertEqual(done.returncode, 78, action)
            self.assertEqual(done.stdout, "")
            for place in (f"{config}:2:", f"{config}:3:", f"{config}:5:"):
                self.assertIn(place, done.stderr)
            self.assertIn("retries", done.stderr)

    def test_missing_configuration(self):
        done = run("--config", f"{self.folder}/none.toml", "--check-config")
        self.assertEqual(done.returncode, 78)
        self.assertIn("none.toml", done.stderr)

    def test_print_config_reads_back_and_shows_no_secret(self):
        done = run("--config", self.config(), "--print-config", LOG_LEVEL="debug",
                   REDIS_URL="redis://:sesame@cache.example:7000/2")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for secret in ("hunter2", "sesame"):
            self.assertNotIn(secret, done.stdout)
        self.assertIn("cache.example:7000", done.stdout)
        self.assertIn('level = "debug"', done.stdout)
        printed = self.write("printed.toml", done.stdout)
        done = run("--config", printed, "--check-config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_once_without_servers(self):
        config = self.config()
        done = run("--config", config, "--once", "--json", "log_rotation", "coin_deduction")
        self.assertEqual(done.returncode, 1)
        outcomes = {line["job"]: line for line in json.loads(done.stdout)}
        self.assertEqual(outcomes["log_rotation"]["outcome"], "succeeded")
        self.assertEqual(outcomes["coin_deduction"]["outcome"], "failed")
        for line in outcomes.values():
            self.assertEqual(list(line), ["job", "outcome", "summary", "counts", "duration_us",
                                          "at"])
        self.assertNotIn("hunter2", done.stdout + done.stderr)
        done = run("--config", config, "--once", "log_rotation")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^log_rotation +succeeded ")

    def test_migrate_without_a_server(self):
        done = run("--config", self.config(), "--migrate")
        self.assertEqual(done.returncode, 1)
        self.assertIn("PostgreSQL cannot be reached", done.stderr)
        self.assertIn("DATABASE_URL", done.stderr)
        self.assertNotIn("hunter2", done.stderr)


if __name__ == "__main__":
    unittest.main()
