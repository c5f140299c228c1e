#!/usr/bin/env python3
"""What a second process brings: the overlap of visits by one process and by two, a worker each.

    processes.py --data DIR [--tidemill BINARY] [--reps 3]

DIR is a folder of visits-*.parquet, of which each holds the persons of one prefix. A process has
threads that read and one that commits beside its workers, so it takes more than a core where it finds
one: the cases are run on all cores, and with each process on a core of its own. They are taken in
turn; printed are wall time, CPU time of each process and rows that crossed between them, and the
ratios of the walls.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# Processes, workers of each, and whether each has a core of its own.
CASES = {
    "1 process, 1 worker": (1, 1, False),
    "2 processes, 1 worker each": (2, 1, False),
    "1 process, 2 workers": (1, 2, False),
    "1 process, 1 worker, on one core": (1, 1, True),
    "2 processes, 1 worker each, a core each": (2, 1, True),
}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def commands(args, folder, processes, workers, pinned):
    """The command of each process."""
    hosts, secret = os.path.join(folder, "hosts"), os.path.join(folder, "secret")
    with open(hosts, "w") as file:
        file.writelines(f"127.0.0.1:{port}\n" for port in free_ports(processes))
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("a secret of this benchmark")
    for process in range(processes):
        command = [args.tidemill, "run", "p.toml", "--workers", str(workers)]
        command += ["--report", "report.json"] if process == 0 else []
        if processes > 1:
            command += ["--process", str(process), "--hosts", hosts, "--secret", secret]
        yield ["taskset", "-c", str(process), *command] if pinned else command


def once(args, folder, case):
    """Wall time, CPU time of each process, and rows that crossed."""
    for made in ("out", ".tidemill"):
        shutil.rmtree(os.path.join(folder, made), ignore_errors=True)
    began, running = time.monotonic(), []
    for command in commands(args, folder, *case):
        said = tempfile.TemporaryFile("w+")
        running.append((subprocess.Popen(command, cwd=folder, stdout=said, stderr=said), said))
    cpu = []
    for process, said in running:
        _, status, used = os.wait4(process.pid, 0)
        cpu.append(used.ru_utime + used.ru_stime)
        if status:
            said.seek(0)
            sys.exit(f"{process.args}: {os.waitstatus_to_exitcode(status)}\n{said.read()}")
    wall = time.monotonic() - began
    with open(os.path.join(folder, "report.json")) as report:
        sources = json.load(report)["sources"].values()
    return wall, cpu, sum(source["crossed"] for source in sources)


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
            for name, case in CASES.items():
                taken[name].append(once(args, folder, case))
    walls = {}
    for name, times in taken.items():
        walls[name] = statistics.median(wall for wall, _, _ in times)
        each = [statistics.median(cpu) for cpu in zip(*(cpu for _, cpu, _ in times))]
        cpu = " + ".join(f"{seconds:.2f}" for seconds in each)
        print(f"{name}: {walls[name]:.2f} s wall, {cpu} s CPU, {times[0][2]} rows crossed")
    one, two, _, one_core, two_cores = walls.values()
    print(f"a second process: {one / two:.2f} x as fast; on a core each: {one_core / two_cores:.2f} x")


if __name__ == "__main__":
    main()
