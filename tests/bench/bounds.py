#!/usr/bin/env python3
"""What is done at the same time, and what stays bounded.

    bounds.py fetch rows sink [--faults BINARY]
    bounds.py gzip [--tidemill BINARY] [--gigabytes 2]

fetch, rows, sink: ten files of persons of one prefix each, with little to read and many pairs to
compute, on one worker. Each read waits twice as long as a file is computed; or the sink does for the
rows of a file, each row its part of it; or for each commit, however many files it is of. The wall time
of the run is put against the sum of these waits, which it should not exceed by more than a tenth.
Commits are put together when they wait, so they wait less, and the first batch, which has to be read
and computed before, weighs more: for them the time from the first commit to the end of the last one is
told, too, by the trace. BINARY is the program with faults, whose only wrong turn here is to wait: `cargo build -p tests --bin
tidemill-with-faults`.

gzip: a CSV file of so many gigabytes as it lies packed on disk is made, read under `memory = "256MiB"`,
and removed. It takes minutes, and is done only when it is named.
"""
import argparse, base64, gzip, json, os, random, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FILES, PERSONS = 10, 30
VISITS = """
[pipeline]
name = "waits"

[sources.visits]
type = "parquet"
path = "data/*.parquet"

[transforms.by_ssn]
type = "batch-partition"
input = "visits"
by = "ssn"
cut = { prefix = 1 }

[transforms.overlaps]
type = "conflict-join"
input = "by_ssn"
on = ["ssn"]
overlap = { start = "start", end = "ends", bounds = "[)" }
right_prefix = "other_"

[transforms.pairs]
type = "aggregate"
input = "overlaps"
by = ["ssn"]
set = { pairs = "count(*)", shared = "sum(least(ends, other_ends) - greatest(start, other_start))" }

[sinks.table]
type = "sqlite"
input = "pairs"
path = "out/pairs.db"
table = "pairs"
key = ["ssn"]
"""
GZIP = """
[pipeline]
name = "gzip"
memory = "256MiB"

[sources.rows]
type = "csv"
path = "rows.csv.gz"
types = { ssn = "text", amount = "int", note = "text" }

[transforms.by_ssn]
type = "batch-partition"
input = "rows"
by = "ssn"
cut = { prefix = 2 }

[transforms.sums]
type = "aggregate"
input = "by_ssn"
by = ["ssn"]
set = { rows = "count(*)", amount = "sum(amount)" }

[sinks.files]
type = "parquet"
input = "sums"
path = "sums"
key = ["ssn"]
"""


def run(binary, folder, workers, fault="", trace=None):
    """Wall seconds, peak MiB and the report of a first run."""
    for made in ("out", "sums", ".tidemill"):
        shutil.rmtree(os.path.join(folder, made), ignore_errors=True)
    report = os.path.join(folder, "report.json")
    command = ["/usr/bin/time", "-f", "TIME %e %M", binary, "run", os.path.join(folder, "pipeline.toml")]
    command += ["--workers", str(workers), "--report", report, *(["--trace", trace] if trace else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, TIDEMILL_FAULT=fault))
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    _, wall, kib = [line for line in done.stderr.splitlines() if line.startswith("TIME ")][-1].split()
    return float(wall), int(kib) / 1024, json.load(open(report))


def visits(folder):
    """Ten files, in each the visits of some persons, of which all of one person overlap."""
    import pyarrow, pyarrow.parquet as parquet

    os.makedirs(os.path.join(folder, "data"))
    for file in range(FILES):
        rows = [(f"{file}-{person}", visit, visit, 1000 + visit) for person in range(PERSONS) for visit in range(80)]
        columns = dict(zip(("ssn", "visit", "start", "ends"), zip(*rows)))
        # One row group is one read, and so waits once.
        parquet.write_table(pyarrow.table({name: list(cells) for name, cells in columns.items()}), os.path.join(folder, "data", f"{file}.parquet"))
    open(os.path.join(folder, "pipeline.toml"), "w").write(VISITS)


def written(trace):
    """Seconds from the beginning of the first commit to the end of the last."""
    spans = [event for event in json.load(open(trace)) if event["ph"] == "X" and event["cat"] in ("apply", "stage", "commit")]
    return (max(span["ts"] + span["dur"] for span in spans) - min(span["ts"] for span in spans)) / 1e6


def waits(args, folder, kinds):
    visits(folder)
    wall, _, report = run(args.faults, folder, 1)
    compute = report["phases"]["compute"]["seconds"]
    wait = max(1, round(2 * compute / FILES * 1000))
    print(f"without waits: {wall:.2f} s, of which {compute:.2f} s computing; each wait is {wait} ms", flush=True)
    for kind in kinds:
        trace = os.path.join(folder, "trace.json")
        each = max(1, round(wait / PERSONS)) if kind == "rows" else wait
        wall, _, report = run(args.faults, folder, 1, f"slow-{kind}:{each}", trace)
        table = report["sinks"]["table"]
        count = {"fetch": FILES, "rows": table["inserted"], "sink": table["commits"]}[kind]
        alone = count * each / 1000
        print(f"slow {kind}: {wall:.2f} s, {count} waits of {alone:.2f} s together: {wall / alone:.2f}", flush=True)
        if kind == "sink":
            commits = written(trace)
            print(f"  from the first commit to the end of the last: {commits:.2f} s, {commits / alone:.2f}", flush=True)


def packed(args, folder):
    """Rows that do not pack well, a piece of them over and over: gzip allows pieces behind one another."""
    path, draw = os.path.join(folder, "rows.csv.gz"), random.Random(5)
    lines = (f"{draw.randrange(10**5):05},{draw.randrange(1000)},{base64.b64encode(draw.randbytes(60)).decode()}\n" for _ in range(500_000))
    piece = gzip.compress("".join(lines).encode(), 1)
    with open(path, "wb") as file:
        file.write(gzip.compress(b"ssn,amount,note\n"))
        while file.tell() < args.gigabytes * 1e9:
            file.write(piece)
    open(os.path.join(folder, "pipeline.toml"), "w").write(GZIP)
    size = os.path.getsize(path)
    wall, mib, report = run(args.tidemill, folder, 2)
    rows = report["sources"]["rows"]["rows"]
    print(f"gzip: {size / 1e9:.2f} GB packed, {rows} rows in {wall:.1f} s, {mib:.0f} MiB at most")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["fetch", "rows", "sink", "gzip"])
    parser.add_argument("--faults", default=os.path.join(HERE, "../../target/debug/tidemill-with-faults"))
    parser.add_argument("--tidemill", default=os.path.join(HERE, "../../target/release/tidemill"))
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--scratch")
    args = parser.parse_args()
    kinds = [kind for kind in args.what if kind != "gzip"]
    for work in [lambda folder: waits(args, folder, kinds)] * bool(kinds) + [lambda folder: packed(args, folder)] * ("gzip" in args.what):
        with tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=args.scratch) as folder:
            work(folder)


if __name__ == "__main__":
    main()
