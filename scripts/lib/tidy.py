"""clang-tidy over every source of src and tests: tidy.py CHECKOUT CACHE

Needs the release preset, built: its commands, and the headers that it makes.
Prints the findings; the exit code is 0 if there are none. A file that passed is
not looked at again until something that clang-tidy read has changed: CACHE keeps
the names of what was read, and one digest of it all. Only passes are kept.
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

FILE_LIMIT = 300  # seconds for one file
WHOLE_LIMIT = 1800  # seconds in all; what passed until then is kept for the next time
KEPT = 30 * 86400  # seconds that a pass is kept after its last use

ROOT = pathlib.Path(sys.argv[1]).resolve()
CACHE = pathlib.Path(sys.argv[2])
BUILD = ROOT / "build/release"
STARTED = time.monotonic()


def digest(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@functools.lru_cache(maxsize=None)
def content(path):
    """The hash of a file, named from the checkout or by a whole path."""
    try:
        return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
    except OSError:
        return "none"


def options():
    version = subprocess.run(
        ["clang-tidy", "--version"], capture_output=True, text=True, check=True
    ).stdout
    # Warnings are the compiler's own business: GCC decides them.
    chosen = ["-p", str(BUILD), "--quiet", "--extra-arg=-Wno-unknown-warning-option"]
    if "version 14." in version:
        # It has coroutines, but not the macro that says so, which libstdc++ asks for.
        chosen.append("--extra-arg=-D__cpp_impl_coroutine=201902L")
    # Names on stderr each file that is read, its depth in dots before it.
    chosen.append("--extra-arg=-H")
    return version, chosen


def sources():
    """Each source with the command that compiles it, as if the checkout were at "."."""
    entries = json.loads((BUILD / "compile_commands.json").read_text())
    commands = {os.path.realpath(entry["file"]): entry["command"] for entry in entries}
    # The fuzz targets are clang's own: no other preset has them.
    fuzz = ROOT / "tests/fuzz"
    found = sorted(
        path
        for room in ("src", "tests")
        for path in (ROOT / room).rglob("*.cpp")
        if fuzz not in path.parents
    )
    unknown = [str(path) for path in found if str(path) not in commands]
    if unknown:
        sys.exit("not in build/release, run scripts/test first: " + " ".join(unknown))
    return {
        str(path.relative_to(ROOT)): commands[str(path)].replace(str(ROOT), ".") for path in found
    }


def passed_before(entry):
    try:
        kept = json.loads(entry.read_text())
        if kept["digest"] != digest(*map(content, kept["read"])):
            return False
        os.utime(entry)
        return True
    except (OSError, ValueError, KeyError):
        return False


def keep(entry, started, read):
    try:
        # What was saved while clang-tidy ran is perhaps not what it read.
        if any(os.stat(ROOT / path).st_mtime >= started for path in read):
            return
        new = entry.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"read": read, "digest": digest(*map(content, read))}))
        new.replace(entry)
    except OSError as error:
        print(f"{entry}: {error}", file=sys.stderr)  # it will be looked at again, no more


class Tidy:
    def __init__(self):
        self.version, self.options = options()
        self.configs = [content(path) for path in (".clang-tidy", "tests/.clang-tidy")]
        self.running = set()

    def entry(self, source, command):
        asked = digest(self.version, self.options[2:], self.configs, source, command)
        return CACHE / digest(asked, content(source))

    def stop(self, *_):
        for process in list(self.running):
            process.kill()
        os._exit(130)

    def check(self, source, entry):
        """What clang-tidy has to say of a source; nothing if it is clean."""
        started = time.time()
        left = min(FILE_LIMIT, WHOLE_LIMIT - (time.monotonic() - STARTED))
        if left <= 0:
            return f"{source}: not looked at, the {WHOLE_LIMIT} s are over\n"
        process = subprocess.Popen(
            ["clang-tidy", *self.options, source],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.running.add(process)
        try:
            findings, remarks = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"{source}: did not end within {left:.0f} s\n"
        finally:
            self.running.discard(process)
        if process.returncode != 0:
            return findings + re.sub(r"(?m)^(\.+ |\d+ warnings).*\n", "", remarks)
        read = set(re.findall(r"(?m)^\.+ (.*)$", remarks)) | {str(ROOT / source)}
        keep(entry, started, sorted(path.removeprefix(f"{ROOT}/") for path in read))
        return ""


def main():
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.iterdir():
        if old.stat().st_mtime < time.time() - KEPT:
            old.unlink(missing_ok=True)
    tidy = Tidy()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, tidy.stop)
    entries = {source: tidy.entry(source, command) for source, command in sources().items()}
    changed = {source: entry for source, entry in entries.items() if not passed_before(entry)}
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for findings in pool.map(tidy.check, changed.keys(), changed.values()):
            bad += findings != ""
            print(findings, end="", flush=True)
    print(f"{len(entries)} files, {len(changed)} looked at, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
