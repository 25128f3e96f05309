"""Checks deploy/Dockerfile and deploy/compose.yaml as far as that goes without a
container engine: containers.py ROOT. Prints what is wrong, and exits 1 then."""

import json
import pathlib
import re
import shlex
import subprocess
import sys

import yaml

KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
         "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
# What an image that runs for long needs in its last stage.
NEEDED = {"ENTRYPOINT", "HEALTHCHECK", "STOPSIGNAL", "USER"}


def shell_error(text):
    """What sh says of a script, if it cannot even be read."""
    done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
    return done.stderr.strip()


class Dockerfile:
    def __init__(self, root, path, report):
        self.root = root
        self.report = lambda line, text: report(f"{path.relative_to(root)}:{line}: {text}")
        self.stages = []  # the instructions of each
        self.names = []
        for line, word, rest in self.instructions(path.read_text()):
            self.check(line, word, rest)
        missing = NEEDED - set(self.stages[-1] if self.stages else [])
        if missing:
            self.report(1, f"the last stage has no {', '.join(sorted(missing))}")

    def instructions(self, text):
        joined, start = "", 0
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip().startswith("#") or not (line.strip() or joined):
                continue
            start = start if joined else number
            joined += line.rstrip("\\") if line.endswith("\\") else line
            if line.endswith("\\"):
                continue
            word, _, rest = joined.strip().partition(" ")
            yield start, word, rest.strip()
            joined = ""
        if joined:
            self.report(start, "the file ends within an instruction")

    def check(self, line, word, rest):
        if word not in KNOWN:
            self.report(line, f"unknown instruction {word}")
        if word == "FROM":
            self.check_from(line, rest)
        elif not self.stages:
            self.report(line, f"{word} comes before FROM")
        else:
            self.stages[-1].append(word)
        if word == "COPY":
            self.check_copy(line, rest)
        if word == "RUN" and shell_error(rest):
            self.report(line, f"sh cannot read it: {shell_error(rest)}")
        if word in ("ENTRYPOINT", "CMD"):
            self.check_words(line, rest)
        if word == "HEALTHCHECK":
            options, _, command = rest.partition("CMD ")
            if not all(re.fullmatch(r"--(interval|timeout|start-period|retries)=\w+", option)
                       for option in options.split()):
                self.report(line, f"options of HEALTHCHECK: {options}")
            self.check_words(line, command)

    def check_from(self, line, rest):
        words = rest.split()
        if ":" not in words[0] and words[0] not in self.names:
            self.report(line, f"{words[0]} has no tag")
        self.names.append(words[2] if len(words) == 3 and words[1] == "AS" else None)
        self.stages.append([])

    def check_copy(self, line, rest):
        words = shlex.split(rest)
        stages = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
        for stage in stages:
            if stage not in self.names[:-1]:
                self.report(line, f"there is no stage {stage} above")
        for source in [word for word in words if not word.startswith("--")][:-1]:
            if not stages and not (self.root / source).exists():
                self.report(line, f"there is no {source}")

    def check_words(self, line, text):
        try:
            words = json.loads(text)
        except ValueError:
            self.report(line, "its words are no JSON list, so that a shell would get the signals")
            return
        if words[:2] == ["bash", "-c"]:
            done = subprocess.run(["bash", "-n", "-c", words[2]], text=True, capture_output=True,
                                  check=False)
            if done.returncode != 0:
                self.report(line, done.stderr.strip())


class Compose:
    def __init__(self, root, path, report):
        self.folder = path.parent
        self.report = lambda service, text: report(
            f"{path.relative_to(root)}: {service}: {text}")
        self.file = yaml.safe_load(path.read_text())
        for name, service in self.file["services"].items():
            self.check(name, service)
        for name, secret in self.file.get("secrets", {}).items():
            if pathlib.Path(secret["file"]).parent != pathlib.Path("secrets"):
                self.report(name, "its file is not in secrets/, which is not kept in the source")

    def check(self, name, service):
        tag = service["image"].rpartition(":")[2]
        if tag in (service["image"], "latest"):
            self.report(name, f"its image {service['image']} has no tag of a version")
        for other, how in service.get("depends_on", {}).items():
            self.check_order(name, other, how["condition"])
        for secret in service.get("secrets", []):
            source = secret if isinstance(secret, str) else secret["source"]
            if source not in self.file["secrets"]:
                self.report(name, f"there is no secret {source}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (self.folder / source).exists():
                    self.report(name, f"there is no {source}")
            elif source not in self.file["volumes"]:
                self.report(name, f"there is no volume {source}")
        if "build" in service:
            context = self.folder / service["build"]["context"]
            if not (context / service["build"]["dockerfile"]).is_file():
                self.report(name, "its Dockerfile is not there")
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key and not key.endswith("_FILE"):
                self.report(name, f"{key} holds a password in the environment")
            if re.search(r"://[^/@]*:[^/@]*@", str(value)):
                self.report(name, f"{key} holds a password in a URL")
        self.check_scripts(name, service)

    def check_order(self, name, other, condition):
        services = self.file["services"]
        if other not in services:
            self.report(name, f"there is no service {other} to wait for")
        elif condition == "service_healthy" and "healthcheck" not in services[other]:
            self.report(name, f"{other} is never healthy: it has no healthcheck")
        elif condition == "service_completed_successfully" and (
                services[other].get("restart") != "no"):
            self.report(name, f"{other} never completes: it is restarted")

    def check_scripts(self, name, service):
        """`$` of a shell is written `$$`, or Compose takes it for its own."""
        texts = [service.get("command", []), service.get("healthcheck", {}).get("test", [])]
        for text in [str(word) for words in texts for word in words]:
            if re.search(r"(?<!\$)\$(?!\$)", text.replace("$$", "")):
                self.report(name, f"a single $ in: {text}")
            if ("\n" in text or " " in text) and shell_error(text.replace("$$", "$")):
                self.report(name, f"sh cannot read it: {shell_error(text.replace('$$', '$'))}")


def main():
    root = pathlib.Path(sys.argv[1])
    problems = []
    Dockerfile(root, root / "deploy/Dockerfile", problems.append)
    Compose(root, root / "deploy/compose.yaml", problems.append)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
