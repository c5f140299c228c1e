#!/usr/bin/env python3
"""Many small files beside one large one: 500,000 rows of 10 columns, in 5,000 files and in one.

    files.py [--tidemill BINARY] [--reps 3] [--formats parquet,csv]

Each reader sums the rows up by key: tidemill by a first run on 2 workers, state and sink written; DuckDB
and pyarrow on 2 threads, in a process that has everything imported and answers once before. What many
files cost is the ratio of the two. Prints a table in Markdown.
"""
import argparse, os, random, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
FILES, ROWS_EACH, KEYS = 5000, 100, 2000
PIPELINE = """
[pipeline]
name = "files"

[sources.visits]
type = "FORMAT"
path = "PATH"
id = ["visit"]
TYPES

[transforms.by_ssn]
type = "batch-partition"
input = "visits"
by = "ssn"
cut = { prefix = 1 }

[transforms.sums]
type = "aggregate"
input = "by_ssn"
by = ["ssn"]

[transforms.sums.set]
visits = "count(visit)"
provider = "max(provider)"
name = "max(name)"
office = "max(office)"
minutes = "sum(minutes)"
units = "sum(units)"
rate = "max(rate)"
first = "min(started)"
last = "max(ended)"

[sinks.files]
type = "parquet"
input = "sums"
path = "out"
key = ["ssn"]
"""
TYPES = 'types = { ssn = "text", visit = "int", provider = "int", name = "text", office = "text", minutes = "int", units = "int", rate = "float", started = "timestamp", ended = "timestamp" }'
SUMS = """
select ssn, count(visit), max(provider), max(name), max(office), sum(minutes), sum(units), max(rate), min(started), max(ended)
from read_parquet('{}') group by ssn
"""


def rows():
    import pyarrow

    draw = random.Random(3)
    count = FILES * ROWS_EACH
    start = [1_700_000_000_000_000 + draw.randrange(10**9) * 60_000_000 % 31_536_000_000_000 for _ in range(count)]
    minutes = [draw.choice([60, 90, 120, 180, 240]) for _ in range(count)]
    stamp = lambda values: pyarrow.array(values, pyarrow.timestamp("us"))
    return pyarrow.table({
        "visit": list(range(count)),
        "ssn": [f"{draw.randrange(KEYS) * 499_979 % 10**9:09}" for _ in range(count)],
        "provider": [draw.randrange(400) for _ in range(count)],
        "name": [f"provider {draw.randrange(400)}" for _ in range(count)],
        "office": [draw.choice(["north", "south", "east", "west"]) for _ in range(count)],
        "minutes": minutes,
        "units": [draw.randrange(40) for _ in range(count)],
        "rate": [draw.randrange(1000) / 8 for _ in range(count)],
        "started": stamp(start),
        "ended": stamp([at + span * 60_000_000 for at, span in zip(start, minutes)]),
    })


def write(folder, formats):
    import pyarrow.csv as csv, pyarrow.parquet as parquet

    table = rows()
    for format in formats:
        for name, files in (("one", 1), ("many", FILES)):
            data = os.path.join(folder, f"{format}-{name}")
            os.makedirs(data)
            each = table.num_rows // files
            for file in range(files):
                path, piece = os.path.join(data, f"{file:05}.{format}"), table.slice(file * each, each)
                if format == "csv":
                    csv.write_csv(piece, path)
                else:
                    parquet.write_table(piece, path, compression="zstd", row_group_size=122_880)


def tidemill(args, folder, format, name):
    """Wall seconds and peak MiB of a first run."""
    for made in ("out", ".tidemill"):
        shutil.rmtree(os.path.join(folder, made), ignore_errors=True)
    toml = PIPELINE.replace("FORMAT", format).replace("PATH", f"{format}-{name}/*.{format}")
    file = os.path.join(folder, "pipeline.toml")
    open(file, "w").write(toml.replace("TYPES", TYPES if format == "csv" else ""))
    command = ["/usr/bin/time", "-f", "TIME %e %M", args.tidemill, "run", file, "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    _, wall, kib = [line for line in done.stderr.splitlines() if line.startswith("TIME ")][-1].split()
    return float(wall), int(kib) / 1024


def duckdb(folder, name):
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    path = os.path.join(folder, f"parquet-{name}", "*.parquet")
    connection.execute(SUMS.format(path)).fetchall()
    began = time.monotonic()
    connection.execute(SUMS.format(path)).fetchall()
    return time.monotonic() - began, 0


def pyarrow(folder, name):
    import pyarrow, pyarrow.dataset as dataset

    pyarrow.set_cpu_count(2)
    pyarrow.set_io_thread_count(2)
    read = lambda: dataset.dataset(os.path.join(folder, f"parquet-{name}")).to_table().group_by("ssn").aggregate([("minutes", "sum"), ("visit", "count")])
    read()
    began = time.monotonic()
    read()
    return time.monotonic() - began, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidemill", default=os.path.join(HERE, "../../target/release/tidemill"))
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--formats", default="parquet,csv")
    parser.add_argument("--scratch")
    args = parser.parse_args()
    formats = args.formats.split(",")
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=args.scratch) as folder:
        write(folder, formats)
        median = lambda of: tuple(statistics.median(values) for values in zip(*[of() for _ in range(args.reps)]))
        print(f"| reader | one file | {FILES} files | ratio |\n|---|---:|---:|---:|", flush=True)
        readers = {f"tidemill, {format}": lambda name, format=format: tidemill(args, folder, format, name) for format in formats}
        if "parquet" in formats:
            readers |= {"DuckDB": lambda name: duckdb(folder, name), "pyarrow": lambda name: pyarrow(folder, name)}
        for reader, seconds in readers.items():
            one, many = (median(lambda: seconds(name)) for name in ("one", "many"))
            print(f"| {reader} | {one[0]:.2f} s | {many[0]:.2f} s | {many[0] / one[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
