#!/usr/bin/env python3
"""What a second process brings: the overlap of visits by one process and by two, a worker each.

    processes.py --data DIR [--tidemill BINARY] [--reps 3]

DIR is a folder of visits-*.parquet, of which each holds the persons of one prefix. The cases are taken
in turn; printed are wall time and CPU time of all processes, and the ratio of the walls.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {
    "1 process, 1 worker": ["run", "p.toml", "--workers", "1"],
    "2 processes, 1 worker each": ["launch", "-n", "2", "p.toml", "--workers", "1"],
    "1 process, 2 workers": ["run", "p.toml", "--workers", "2"],
}


def once(args, folder, arguments):
    for made in ("out", ".tidemill"):
        shutil.rmtree(os.path.join(folder, made), ignore_errors=True)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([args.tidemill, *arguments], cwd=folder, capture_output=True, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--tidemill", default=os.path.join(HERE, "../../target/release/tidemill"))
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--scratch")
    args = parser.parse_args()
    args.tidemill = os.path.abspath(args.tidemill)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=args.scratch) as folder:
        shutil.copy(os.path.join(HERE, "overlap.toml"), os.path.join(folder, "p.toml"))
        os.symlink(os.path.abspath(args.data), os.path.join(folder, "data"))
        taken = {name: [] for name in CASES}
        for _ in range(args.reps):
            for name, arguments in CASES.items():
                taken[name].append(once(args, folder, arguments))
    walls = {}
    for name, times in taken.items():
        walls[name] = statistics.median(wall for wall, _ in times)
        cpu = statistics.median(cpu for _, cpu in times)
        print(f"{name}: {walls[name]:.2f} s wall, {cpu:.2f} s CPU")
    one, two, _ = walls.values()
    print(f"a second process: {one / two:.2f} x as fast")


if __name__ == "__main__":
    main()
