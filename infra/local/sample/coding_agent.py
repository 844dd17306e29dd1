"""Stands in for an AI coding agent: takes some seconds, says what it does, and does it.

It works on the sample project in the folder it is started in: runs the project's tests, repairs
the one mistake that is there, and tells in Markdown what it found. The task's prompt is on standard
input. A line that starts with `$BEMATIC_LINE_PREFIX` and a space tells the agent's host about the
work; every other line is output.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PACE = 0.5  # seconds between two steps, so that a person can follow
MISTAKE = "self._passwords.get(email) == password"
REPAIR = "self._passwords.get(email.strip().lower()) == password"


def tell(**what):
    print(os.environ["BEMATIC_LINE_PREFIX"], json.dumps(what), flush=True)


def step(text, kind="tool_use"):
    tell(step=text, type=kind)
    time.sleep(PACE)


def say(text):
    for line in text.splitlines():
        print(line, flush=True)
        time.sleep(PACE / 10)


def run_tests():
    done = subprocess.run(
        [sys.executable, "-B", "-m", "unittest"], capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stderr.strip().splitlines()


def main():
    prompt = sys.stdin.read().strip()
    tell(progress=5, message="Looking around")
    step("Understanding the task: " + prompt[:80], kind="thinking")
    files = sorted(Path().glob("*.py"))
    say("I'll start with an overview of the project.\n")
    for file in files:
        step(f"Reading {file}")
        say(f"- `{file}`: {len(file.read_text().splitlines())} lines")
    tell(progress=35, message="Running the tests")
    step("Running python -m unittest")
    passed, report = run_tests()
    say("\n```\n" + "\n".join(report[-6:]) + "\n```\n")
    changed = []
    login = Path("login.py")
    if not passed and MISTAKE in login.read_text():
        step("An email is stored in lower case, but looked up as it was typed", kind="thinking")
        tell(progress=60, message="Repairing login.py")
        step("Editing login.py")
        login.write_text(login.read_text().replace(MISTAKE, REPAIR))
        changed.append("login.py")
        say(f"**Found it:** the lookup misses what `register` stores.\n\n```python\n{REPAIR}\n```\n")
        tell(progress=80, message="Running the tests again")
        step("Running python -m unittest")
        passed, report = run_tests()
    verdict = report[0] if passed else "; ".join(report[-1:])
    lines = [
        "## " + ("Done" if passed else "Not done"),
        f"All tests pass ({report[-3] if len(report) > 2 else verdict})."
        if passed
        else "The tests still fail.",
        f"Changed: {', '.join(f'`{name}`' for name in changed)}"
        if changed
        else "Nothing had to change.",
    ]
    say("\n\n".join(lines))
    tell(
        result="\n\n".join(lines),
        filesChanged=changed,
        commandsRun=["python -m unittest"],
        model="sample",
        inputTokens=1200,
        outputTokens=300,
        estimatedCost=0.01,
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
