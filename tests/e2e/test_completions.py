"""Completions of saathiictl, in the shells themselves, beside a saathiictl that
knows two jobs and notes how it was called."""

import os
import pty
import select
import shutil
import subprocess
import time
import unittest

from support import PATIENCE_S, SOURCE, Case

COMPLETIONS = SOURCE / "deploy/completions"
FAKE = """#!/bin/sh
echo "$@" >>"{folder}/calls"
printf '%s\\n' coin_deduction call_cleanup
"""
COMMANDS = ["status", "jobs", "show", "history", "run", "pause", "resume", "reload", "health",
            "log-level", "calendar", "call", "wallet", "audit"]


class Completions(Case):
    def setUp(self):
        fake = self.write("saathiictl", FAKE.replace("{folder}", self.folder))
        fake.chmod(0o755)
        self.write("calls", "")
        self.environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}",
                            "HOME": self.folder, "TERM": "dumb"}

    def calls(self):
        with open(f"{self.folder}/calls", encoding="utf-8") as calls:
            return calls.read().splitlines()

    def bash(self, *words):
        """What bash offers for the last word; "=" is a word of its own, as in bash."""
        done = subprocess.run(
            ["bash", "--norc", "-c",
             'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
             '_saathiictl; printf "%s\\n" "${COMPREPLY[@]}"',
             "bash", str(COMPLETIONS / "saathiictl.bash"), "saathiictl", *words],
            env=self.environment, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def fish(self, line):
        done = subprocess.run(
            ["fish", "--no-config", "-c",
             f"source {COMPLETIONS}/saathiictl.fish; complete -C '{line}'"],
            env=self.environment, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [offer.split("\t")[0] for offer in done.stdout.splitlines()]

    def test_bash_commands(self):
        self.assertCountEqual(self.bash(""), COMMANDS)
        self.assertEqual(self.bash("re"), ["resume", "reload"])
        self.assertEqual(self.bash("--json", "=", "short", "heal"), ["health"])
        self.assertEqual(self.calls(), [])

    def test_bash_jobs(self):
        self.assertEqual(self.bash("run", ""), ["coin_deduction", "call_cleanup"])
        self.assertEqual(self.bash("show", "coin"), ["coin_deduction"])
        self.assertEqual(self.bash("pause", "coin_deduction", "ca"), ["call_cleanup"])
        self.assertEqual(self.bash("run", "coin_deduction", ""), [])
        self.assertEqual(self.bash("--bus", "=", "session", "run", "ca"), ["call_cleanup"])
        self.assertEqual(self.bash("--bus", "session", "run", "ca"), ["call_cleanup"])
        self.assertEqual(self.calls()[-1], "--bus=session jobs --names")

    def test_bash_values(self):
        self.assertEqual(self.bash("--json", "=", ""), ["short", "pretty", "off"])
        self.assertEqual(self.bash("--json", "=", "pr"), ["pretty"])
        self.assertEqual(self.bash("--json", "="), ["short", "pretty", "off"])
        self.assertEqual(self.bash("history", "--outcome", "t"), ["timed_out"])
        self.assertEqual(self.bash("history", "--outcome", "failed", "coin"), ["coin_deduction"])
        self.assertEqual(self.bash("log-level", "d"), ["debug"])
        self.assertEqual(self.bash("run", "--w"), ["--wait"])
        self.assertEqual(self.bash("call", ""), [])
        self.assertEqual(self.bash("audit", "--re"), ["--repair"])
        self.assertEqual(self.bash("--json", "=", "short", "audit", "--gr"), ["--grace"])

    def test_bash_knows_what_the_program_knows(self):
        program = os.environ.get("SAATHIICTL_BIN")
        if not program:
            self.skipTest("SAATHIICTL_BIN is not set")
        for command in ["", *COMMANDS]:
            words = [command] if command else []
            text = subprocess.run([program, *words, "--help"], text=True, capture_output=True,
                                  check=True).stdout
            options = {word.strip(",") for line in text.splitlines() if line.startswith("  -")
                       for word in line.split("  ")[1].replace(",", " ").split()
                       if word.startswith("--")}
            self.assertTrue(options)
            self.assertLessEqual(options, set(self.bash(*words, "--")), command)

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish(self):
        offered = self.fish("saathiictl ")
        self.assertLessEqual(set(COMMANDS), set(offered))
        self.assertEqual(self.fish("saathiictl run c"), ["call_cleanup", "coin_deduction"])
        self.assertEqual(self.fish("saathiictl --bus=session pause coin"), ["coin_deduction"])
        self.assertEqual(self.calls()[-1], "--bus=session jobs --names")
        self.assertEqual(self.fish("saathiictl history --outcome t"), ["timed_out"])
        self.assertEqual(self.fish("saathiictl log-level d"), ["debug"])

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self):
        shell = Zsh(self.environment, self.folder)
        self.addCleanup(shell.close)
        self.assertEqual(shell.complete("saathiictl log-le"), "saathiictl log-level ")
        self.assertEqual(shell.complete("saathiictl run coin"), "saathiictl run coin_deduction ")
        self.assertEqual(shell.complete("saathiictl pause coin_deduction cal"),
                         "saathiictl pause coin_deduction call_cleanup ")
        self.assertEqual(shell.complete("saathiictl history --outcome=tim"),
                         "saathiictl history --outcome=timed_out ")
        self.assertEqual(shell.complete("saathiictl --bus=session show cal"),
                         "saathiictl --bus=session show call_cleanup ")
        self.assertIn("--bus=session jobs --names", self.calls())


class Zsh:
    """A zsh on a terminal, asked for completions as by the Tab key."""

    def __init__(self, environment, folder):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
        self.seen = ""
        self.count = 0
        # Ctrl-X Tab puts the line, once completed, between two marks.
        self.send(f"PS1=''; unsetopt zle_bracketed_paste; fpath=({COMPLETIONS} $fpath); "
                  f"autoload -Uz compinit; compinit -u -d {folder}/dump; "
                  "tell() { zle expand-or-complete; print -r -- \"<$BUFFER>\" "
                  f">>{folder}/completed; BUFFER=''; zle -I; print done-$((++n)); }}; "
                  "zle -N tell; bindkey '^X^X' tell; n=0; print rea''dy\n")
        self.completed = f"{folder}/completed"
        self.wait_for("ready")

    def send(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, text):
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            if not select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"waited in vain for {text!r} in {self.seen!r}")
            self.seen += os.read(self.terminal, 65536).decode(errors="replace")

    def complete(self, line):
        self.count += 1
        self.send(line + "\x18\x18")
        self.wait_for(f"done-{self.count}")
        with open(self.completed, encoding="utf-8") as completed:
            return completed.read().splitlines()[-1][1:-1]

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


if __name__ == "__main__":
    unittest.main()
