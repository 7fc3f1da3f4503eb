#!/usr/bin/env python3
"""Checks of the tree that a compiler does not make: style/check.py CHECK, one of the names below."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Who may include whom. A folder also sees its own headers; arrows point downward only.
SCHEDULER = ["scheduler/base", "scheduler/runtime", "scheduler/jobs"]
ALLOWED = {
    "scheduler/base": [],
    "scheduler/runtime": ["scheduler/base"],
    "scheduler/jobs": ["scheduler/base"],
    "daemon/store": [*SCHEDULER, "proto"],
    "daemon/stream": ["daemon/store", *SCHEDULER, "proto"],
    "daemon/worker": ["daemon/stream", "daemon/store", *SCHEDULER, "proto"],
    "daemon/handlers": ["daemon/worker", *SCHEDULER],
    "daemon/rpc": ["daemon/worker", "daemon/stream", "daemon/store", *SCHEDULER, "proto"],
    "daemon/admin": ["daemon/worker", "daemon/stream", "daemon/store", *SCHEDULER, "proto"],
    "daemon": ["daemon/admin", "daemon/rpc", "daemon/handlers", "daemon/worker", "daemon/stream", "daemon/store",
               *SCHEDULER, "proto"],
    "client": [*SCHEDULER, "proto"],
    "client/cli": ["client", *SCHEDULER, "proto"],
}
# Folders that serve any program: no protocol and no store reaches them.
PLAIN = SCHEDULER
FOREIGN = re.compile(r"<(grpc|grpcpp|google|hiredis|sqlite3|spdlog|openssl|CLI|nlohmann)[/.]")
PUBLIC = {"base": "scheduler/base", "runtime": "scheduler/runtime",
          "jobs": "scheduler/jobs", "store": "daemon/store",
          "stream": "daemon/stream", "worker": "daemon/worker", "client": "client", "proto": "proto", "v1": "proto"}
WHOLE = {"client.h": "client", "worker.h": "daemon"}  # include/weft: a library in one header
INCLUDE = re.compile(r'^#include ([<"])([^>"]+)[>"]', re.MULTILINE)

# Notes to oneself.
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|not implemented yet|/wor[k]/|\.\./share[d]")
LINES_MAX = 600


def tracked(*patterns):
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--", *patterns],
                            capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def folder_of(path):
    """The folder in ALLOWED that `path` belongs to; None for the rest of the tree."""
    folder = path.rpartition("/")[0]
    while folder and folder not in ALLOWED:
        folder = folder.rpartition("/")[0]
    return folder or None


def target_of(quote, name):
    """The folder an include of ours leads to; None for a foreign header."""
    if name.startswith("weft/"):
        parts = name.split("/")
        if len(parts) == 2 and parts[1] in WHOLE:
            return WHOLE[parts[1]]
        if len(parts) == 2 or parts[1] not in PUBLIC:
            return "unknown folder " + name
        return PUBLIC[parts[1]]
    if quote == '"':
        return folder_of(name) or name.partition("/")[0]
    return None


def check_includes():
    for path in tracked("*.h", "*.cc"):
        folder = folder_of(path)
        if folder is None:
            continue
        for quote, name in INCLUDE.findall(text_of(path)):
            target = target_of(quote, name)
            if target not in (None, folder, *ALLOWED[folder]):
                yield f"{path}: {folder} must not include {name}"
            if folder in PLAIN and FOREIGN.match(f"<{name}"):
                yield f"{path}: {folder} must not know of <{name}>"


def check_headers():
    for path in tracked("*.h", "*.cc"):
        text = text_of(path)
        if not re.match(r"// \S", text):
            yield f"{path}: begin with a comment that says why the file exists"
        if path.endswith(".h") and "\n#pragma once\n" not in text:
            yield f"{path}: #pragma once is missing"
        if text.count("\n") > LINES_MAX:
            yield f"{path}: {text.count(chr(10))} lines; split it, {LINES_MAX} is the most"


def check_words():
    for path in tracked(":!tests/style/check.py"):
        try:
            lines = text_of(path).splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                yield f"{path}:{number}: {line.strip()}"


def check_format():
    files = tracked("*.h", "*.cc")
    result = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *files], cwd=ROOT,
                            capture_output=True, text=True)
    if result.returncode != 0:
        yield result.stderr
        yield "format with: clang-format-19 -i FILE"


def check_readme():
    """Each block of README.md after <!-- from FILE --> is a marked part of that compiled file."""
    readme = text_of("README.md")
    blocks = re.findall(r"<!-- from (\S+) -->\n```cpp\n(.*?)```", readme, re.DOTALL)
    if not blocks:
        yield "README.md: no block with <!-- from FILE -->"
    for path, block in blocks:
        part = re.search(r"// README begin\n(.*?)// README end", text_of(path), re.DOTALL)
        if part is None or part.group(1) != block:
            yield f"README.md: the block from {path} differs from the file"
    for path in re.findall(r"`((?:scheduler|daemon|client|proto|deploy|tests)/[\w./-]+)`", readme):
        if not (ROOT / path).exists():
            yield f"README.md names {path}, which does not exist"


CHECKS = {"includes": check_includes, "headers": check_headers, "words": check_words,
          "format": check_format, "readme": check_readme}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in CHECKS:
        sys.exit("usage: check.py " + "|".join(CHECKS))
    faults = list(CHECKS[sys.argv[1]]())
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


main()
