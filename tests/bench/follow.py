#!/usr/bin/env python3
"""How soon a change is committed by a run that follows, and what staying costs.

    follow.py [--tidemill BINARY] [--passes 1000] [--files 20] [--rows 5000]
    follow.py --kill-for SECONDS [--processes 2] ..

Files of a CSV source are written anew, one after the other, each when the pass for the one before is
told. Printed are the times from the change to its report (p50, p99), the memory (resident, MiB) after
each tenth of the passes and of a fresh start, the CPU time of ten idle seconds, and what `verify` says.

With --kill-for files are written at random for so long while one of the processes that follow is killed
at random moments, again and again; after each start the sinks are held against what `verify` finds.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

PIPELINE = """
[pipeline]
name = "follow"

[sources.stays]
type = "csv"
path = "in/*.csv"
id = ["id"]
types = { id = "int", a = "int", b = "int" }

[transforms.by_room]
type = "batch-partition"
input = "stays"
by = "room"

[transforms.pairs]
type = "conflict-join"
input = "by_room"
on = ["room"]
right_prefix = "o_"
overlap = { start = "a", end = "b", bounds = "[)" }

[sinks.out]
type = "sqlite"
input = "pairs"
path = "out.db"
table = "pairs"
key = ["id", "o_id"]
"""


class Following:
    """A process that follows."""

    def __init__(self, args, folder):
        command = [args.tidemill, "run", "p.toml", "--follow", "--every", "1ms", "--format", "json"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        self.first = self.passed()

    def passed(self):
        """The report of the next pass that did not fail."""
        for line in self.process.stdout:
            report = json.loads(line)
            if "error" not in report:
                return report
        sys.exit("the process ended")

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) // 1024

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.terminate()
        return self.process.wait()


def write(folder, number, rows):
    """Writes a file anew, at once as readers see it."""
    path = os.path.join(folder, "in", f"{number}")
    with open(path, "w") as file:
        file.write("id,room,a,b\n")
        for row in range(rows):
            start = random.randrange(1000)
            file.write(f"{number * 1000000 + row},r{random.randrange(20000)},{start},{start + 10}\n")
    os.rename(path, path + ".csv")


class Crew:
    """Processes that follow together."""

    def __init__(self, args, folder):
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(args.processes)]
        hosts, secret = os.path.join(folder, "hosts"), os.path.join(folder, "secret")
        with open(hosts, "w") as file:
            file.writelines(f"127.0.0.1:{each.getsockname()[1]}\n" for each in listening)
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("a secret of this benchmark")
        self.report = os.path.join(folder, "report.json")
        if os.path.exists(self.report):
            os.remove(self.report)
        self.processes = []
        for process, listener in enumerate(listening):
            command = [args.tidemill, "run", "p.toml", "--follow", "--every", "20ms", "--quiet"]
            if process == 0:
                command += ["--report", self.report]
            if args.processes > 1:
                command += ["--process", str(process), "--hosts", hosts, "--secret", secret]
                command += ["--listen-on-stdin"]
            quiet = {"stdin": listener, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.processes.append(subprocess.Popen(command, cwd=folder, **quiet))
            listener.close()

    def has_passed(self):
        return os.path.exists(self.report) and os.path.getsize(self.report) > 0

    def pass_once(self):
        while not self.has_passed():
            time.sleep(0.01)

    def end(self, process, how):
        """Sends a signal to a process, and gives what all end with."""
        self.processes[process].send_signal(how)
        return [each.wait(timeout=60) for each in self.processes]


def kill_for(args, folder):
    """Writes, kills and verifies; prints how often."""
    end = time.monotonic() + args.kill_for
    kills, changes, early = 0, 0, 0
    while time.monotonic() < end:
        crew = Crew(args, folder)
        if random.random() < 0.7:
            crew.pass_once()
        killed_at = time.monotonic() + random.uniform(0, 3)
        while time.monotonic() < killed_at:
            write(folder, random.randrange(args.files), random.randrange(args.rows))
            changes += 1
            time.sleep(random.uniform(0, 0.2))
        early += not crew.has_passed()
        crew.end(random.randrange(args.processes), signal.SIGKILL)
        kills += 1
        crew = Crew(args, folder)
        crew.pass_once()
        ended = crew.end(random.randrange(args.processes), signal.SIGTERM)
        verify = [args.tidemill, "verify", "p.toml", "--format", "json"]
        verified = subprocess.run(verify, cwd=folder, capture_output=True, text=True)
        if any(ended) or verified.returncode or json.loads(verified.stdout)["not_yet_run"]:
            sys.exit(f"kill {kills}: ended with {ended}\n{verified.stdout}{verified.stderr}")
    print(f"{changes} changes, {kills} kills, {early} of them before the first pass was done: verified after each")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tidemill", default=os.path.join(HERE, "../../target/release/tidemill"))
    parser.add_argument("--passes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--kill-for", type=float)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    args.tidemill = os.path.abspath(args.tidemill)
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        os.mkdir(os.path.join(folder, "in"))
        with open(os.path.join(folder, "p.toml"), "w") as file:
            file.write(PIPELINE)
        for number in range(args.files):
            write(folder, number, args.rows)
        if args.kill_for:
            return kill_for(args, folder)
        following = Following(args, folder)
        seconds = following.first["seconds"]["total"]
        print(f"first pass: {seconds:.3f} s, {following.resident()} MiB")
        times = []
        for number in range(args.passes):
            began = time.monotonic()
            write(folder, number % args.files, args.rows // (1 + number % 2 * 24))
            report = following.passed()
            times.append(time.monotonic() - began)
            if (number + 1) % max(args.passes // 10, 1) == 0:
                last = f"the last in {report['seconds']['total']:.3f} s, {report['keys']['open']} keys open"
                print(f"after {number + 1} passes: {following.resident()} MiB, {last}", flush=True)
        times.sort()
        half, most = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"from the change to its report: p50 {half:.3f} s, p99 {most:.3f} s")
        before = following.cpu()
        time.sleep(10)
        print(f"CPU of ten idle seconds: {following.cpu() - before:.2f} s")
        print(f"ended with {following.end()}")
        verified = subprocess.run([args.tidemill, "verify", "p.toml"], cwd=folder, capture_output=True, text=True)
        print(verified.stdout.strip())
        fresh = Following(args, folder)
        print(f"a fresh start: {fresh.resident()} MiB")
        fresh.end()


if __name__ == "__main__":
    main()
