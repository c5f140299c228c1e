#!/usr/bin/env python3
"""Tidemill beside DuckDB on overlapping visits, in one run on one machine.

    run.py --data DIR --peers PEERS.PY [--tidemill BINARY] [--reps 3] [--only NAME]

DIR holds d1, d10 (visits of 1 and 10 batches), dN-c010 and dN-c001 (the same after a change of 1 % and
0.1 % of the keys), as the generator beside PEERS.PY writes them. Each figure is the median of the
repetitions. The rows that tidemill writes are compared with those of the peer by a hash over every
column; a difference ends the run with an error. Prints a table in Markdown.
"""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
HASH_OF = {}  # (task, data) -> what DuckDB found


def timed(command, cwd=None):
    """Wall seconds and peak MiB of a command that must succeed."""
    done = subprocess.run(["/usr/bin/time", "-f", "TIME %e %M", *command], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    _, wall, kib = [line for line in done.stderr.splitlines() if line.startswith("TIME ")][-1].split()
    return float(wall), int(kib) / 1024


class Pipeline:
    """A scratch folder with a pipeline, whose data can be exchanged."""

    def __init__(self, args, toml, batches, version=False):
        self.args, self.batches = args, batches
        self.folder = tempfile.mkdtemp(prefix="tidemill-bench-", dir=args.scratch)
        self.file = os.path.join(self.folder, "pipeline.toml")
        text = open(os.path.join(HERE, toml)).read()
        if version:
            text = text.replace('id = ["visit_id"]', 'id = ["visit_id"]\nversion = ["updated_at"]')
        open(self.file, "w").write(text)
        self.use(f"d{batches}")

    def use(self, data):
        link = os.path.join(self.folder, "data")
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(os.path.join(self.args.data, data), link)
        self.data = data

    def run(self):
        return timed([self.args.tidemill, "run", self.file, "--workers", "2"])

    def forget(self):
        for made in ("out", ".tidemill"):
            shutil.rmtree(os.path.join(self.folder, made), ignore_errors=True)

    def check(self, peers, task):
        """The rows are those of the peer."""
        ours = peers.verify(os.path.join(self.folder, "out", "**", "*.parquet"))
        key = (task, self.data)
        if HASH_OF.setdefault(key, ours) != ours:
            sys.exit(f"{key}: tidemill wrote {ours}, the peer {HASH_OF[key]}")


def peer(args, peers, task, batches, mode="full", share="010"):
    command = [sys.executable, args.peers, "--rows-batches", str(batches), "--task", task, "--engine", "duckdb:day"]
    command += ["--mode", mode, "--share", share, "--reps", str(args.reps), "--json", "/dev/stderr"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, BENCH_DATA=args.data, BENCH_THREADS="2"))
    row = json.loads([line for line in done.stderr.splitlines() if line.startswith("{")][-1])
    data = f"d{batches}" if mode == "full" else f"d{batches}-c{share}"
    HASH_OF[(task, data)] = (row["pairs"], row["idsum"], row["hash"])
    return row["wall"], row["rss"]


def median(runs):
    return tuple(statistics.median(values) for values in zip(*runs))


def shuffled(args, batches):
    """The same rows in another order, in other files."""
    folder = os.path.join(args.data, f"d{batches}-shuffled")
    if not os.path.exists(folder):
        import glob, numpy, pyarrow.parquet as parquet
        os.makedirs(folder)
        for file in glob.glob(os.path.join(args.data, f"d{batches}", "visits-*.parquet")):
            table = parquet.read_table(file)
            order = numpy.random.default_rng(5).permutation(table.num_rows)
            parquet.write_table(table.take(order), os.path.join(folder, os.path.basename(file)), compression="zstd", row_group_size=122_880)
    return os.path.basename(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--tidemill", default=os.path.join(HERE, "../../target/release/tidemill"))
    parser.add_argument("--scratch", default=None)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    args.data, args.tidemill = os.path.abspath(args.data), os.path.abspath(args.tidemill)
    sys.path.insert(0, os.path.dirname(os.path.abspath(args.peers)))
    import peers

    print("| case | tidemill | DuckDB | ratio | MiB | DuckDB MiB |\n|---|---:|---:|---:|---:|---:|", flush=True)

    def row(name, ours, theirs):
        print(f"| {name} | {ours[0]:.2f} s | {theirs[0]:.2f} s | {ours[0] / theirs[0]:.2f} | {ours[1]:.0f} | {theirs[1]:.0f} |", flush=True)

    for toml, task, batches in (("overlap.toml", "overlap", 1), ("overlap.toml", "overlap", 10), ("overlap_wide.toml", "overlap-wide", 1)):
        if args.only not in f"{task} {batches}":
            continue
        first = peer(args, peers, task, batches)
        pipeline = Pipeline(args, toml, batches)
        runs = []
        for _ in range(args.reps):
            pipeline.forget()
            runs.append(pipeline.run())
        pipeline.check(peers, task)
        row(f"{task}, {batches} x 638k rows: first run", median(runs), first)
        for version in (False, True):
            name = ", with `version`" if version else ""
            pipeline = Pipeline(args, toml, batches, version)
            pipeline.run()
            runs = []
            for turn in range(args.reps):
                pipeline.use(shuffled(args, batches) if turn % 2 == 0 else f"d{batches}")
                runs.append(pipeline.run())
            row(f"nothing changed, rows in another order{name}", median(runs), first)
            for share, percent in (("001", "0.1 %"), ("010", "1 %")):
                rerun = peer(args, peers, task, batches, "rerun", share)
                runs = []
                for _ in range(args.reps):
                    pipeline.use(f"d{batches}")
                    pipeline.run()
                    pipeline.use(f"d{batches}-c{share}/snap")
                    runs.append(pipeline.run())
                    pipeline.data = f"d{batches}-c{share}"
                    pipeline.check(peers, task)
                row(f"{percent} of the keys changed{name}", median(runs), rerun)


if __name__ == "__main__":
    main()
