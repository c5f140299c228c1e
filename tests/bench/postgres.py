#!/usr/bin/env python3
"""Tidemill beside what PostgreSQL itself takes, in one run on one machine.

    postgres.py --data DIR [--tidemill BINARY] [--reps 3] [--only read,write,quiet,batch]

DIR holds d1 (638 thousand visits of 98 columns), as the generator of the other benchmarks writes it. A
server of its own is started in a temporary folder, as `postgres` where this is root, and spoken to
through its socket. Each figure is the median of the repetitions, which are taken in turn:

    read    all 98 columns of the visits, counted by person    COPY .. TO binary; connectorx, 2 connections
    write   a million rows of 6 columns: append, first load    COPY .. FROM binary; COPY into a temporary
            by merge, merge with 10 % changed; the whole run,  table and INSERT .. ON CONFLICT, of the
            and its sink alone, in one commit                  changed rows and of all
    quiet   a million rows of 6 columns, nothing changed       COPY .. TO binary
    batch   all visits read, their 14 thousand pairs in the    (none)
            table of the sink, of which 11,617 are brought up to date

What a peer does is a part of what a run does: it keeps no state, and its input lies ready in the
server's own format. Prints a table in Markdown.
"""
import argparse, contextlib, json, os, pwd, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = "/usr/lib/postgresql/15/bin"
SETTINGS = {
    "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
    "maintenance_work_mem": "512MB", "listen_addresses": "127.0.0.1",
}
ROWS, PERSONS = 1_000_000, 200_000
NARROW = "a_visit_id bigint, b_visit_id bigint, ssn text, overlap_min bigint, rate double precision, updated_at timestamp"
STALE = 11_617

CONNECTION = """
[pipeline]
name = "bench"
memory = "2GiB"

[connections.main]
type = "postgres"
host = "FOLDER"
port = 5499
user = "postgres"
database = "postgres"
"""
READ = """
[sources.visits]
type = "postgres"
connection = "main"
table = "visits"
id = ["visit_id"]

[transforms.by_ssn]
type = "batch-partition"
input = "visits"
by = "ssn"
cut = { prefix = 3 }

[transforms.counts]
type = "aggregate"
input = "by_ssn"
by = ["ssn"]
SET

[sinks.counted]
type = "parquet"
input = "counts"
path = "out"
key = ["ssn"]
"""
WRITE = """
[sources.rows]
type = "SOURCE"
FROM
id = ["a_visit_id"]

[transforms.by_ssn]
type = "batch-partition"
input = "rows"
by = "ssn"
cut = { prefix = 2 }

[sinks.table]
type = "postgres"
connection = "main"
input = "by_ssn"
table = "t"
key = ["a_visit_id"]
write = "HOW"
"""


class Server:
    """A server in a folder, and psql."""

    def __init__(self, folder):
        self.folder = folder
        self.owner = "postgres" if os.geteuid() == 0 else None
        if self.owner:
            shutil.chown(folder, self.owner)
        self.program("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", self.data)
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
            file.write(f"port = 5499\nunix_socket_directories = '{folder}'\n")
        self.program("pg_ctl", "start", "-w", "-D", self.data, "-l", os.path.join(folder, "log"))

    @property
    def data(self):
        return os.path.join(self.folder, "data")

    def program(self, name, *args):
        user = {"user": self.owner, "group": pwd.getpwnam(self.owner).pw_gid} if self.owner else {}
        command = [os.path.join(PROGRAMS, name), *args]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **user)

    def stop(self):
        self.program("pg_ctl", "stop", "-m", "immediate", "-D", self.data)

    def psql(self, *commands):
        """Runs commands, and gives what they print."""
        command = [os.path.join(PROGRAMS, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", "set client_min_messages = warning"]
        command += ["-h", self.folder, "-p", "5499", "-U", "postgres"]
        for each in commands:
            command += ["-c", each]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def discard(self, query):
        """What the server itself takes to send rows."""
        self.psql(f"\\copy ({query}) to '/dev/null' (format binary)")

    def vacuum(self, table):
        self.psql(f"vacuum analyze {table}", "checkpoint")


class Pipeline:
    """A scratch folder with a pipeline."""

    def __init__(self, args, server, text):
        self.args, self.folder = args, tempfile.mkdtemp(prefix="pipeline-", dir=args.scratch)
        self.report = os.path.join(self.folder, "report.json")
        self.write(text.replace("FOLDER", server.folder))

    def write(self, text):
        self.text = text
        with open(os.path.join(self.folder, "pipeline.toml"), "w") as file:
            file.write(text)

    def run(self, *more):
        """Wall time of a run that must succeed."""
        command = [self.args.tidemill, "run", "pipeline.toml", "--workers", "2", "--report", self.report, *more]
        began = time.monotonic()
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        took = time.monotonic() - began
        if done.returncode != 0:
            sys.exit(f"{self.text}\n{done.stdout}{done.stderr}")
        return took

    def told(self):
        with open(self.report) as file:
            return json.load(file)

    def reading(self):
        """From the first row that is asked for until the last one is at the gate, in a run with `--trace`."""
        with open(os.path.join(self.folder, "trace.json")) as file:
            spans = [span for span in json.load(file) if span.get("cat") in ("fetch", "way")]
        return (max(span["ts"] + span["dur"] for span in spans) - min(span["ts"] for span in spans)) / 1e6

    def writing(self):
        """How long the sink was written and committed, in a run with `--trace`."""
        with open(os.path.join(self.folder, "trace.json")) as file:
            spans = [span for span in json.load(file) if span.get("cat") in ("apply", "commit")]
        return sum(span["dur"] for span in spans) / 1e6

    def forget(self):
        for made in ("out", ".tidemill"):
            shutil.rmtree(os.path.join(self.folder, made), ignore_errors=True)


def timed(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began


def in_turn(reps, cases):
    """The median of each case; a case is what is measured, and what is done before it."""
    taken = {name: [] for name in cases}
    for _ in range(reps):
        for name, (before, measured) in cases.items():
            if before:
                before()
            took = measured()
            taken[name].append(took if took is not None else 0)
    return {name: statistics.median(each) for name, each in taken.items()}


def row(name, ours, theirs, target=""):
    print(f"| {name} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} | {target} |", flush=True)


def visits(args, server):
    """The table of visits, if it is not there."""
    import glob, pyarrow.parquet as parquet, psycopg

    if server.psql("select to_regclass('visits')").strip():
        return
    table = parquet.read_table(sorted(glob.glob(os.path.join(args.data, "d1", "visits-*.parquet"))))
    fill(server, "visits", table, "visit_id")


def fill(server, name, table, key=None):
    """Makes a table of these rows, through CSV."""
    import pyarrow, pyarrow.csv as csv

    kinds = {"int64": "bigint", "string": "text", "double": "double precision", "bool": "boolean", "date32[day]": "date", "timestamp[us]": "timestamp"}
    columns = ", ".join(f'"{field.name}" {kinds[str(field.type)]}' for field in table.schema)
    keyed = f", primary key ({key})" if key else ""
    with tempfile.NamedTemporaryFile(suffix=".csv", dir=server.folder) as file:
        csv.write_csv(table, file.name, csv.WriteOptions(include_header=False))
        server.psql(f"create table {name} ({columns}{keyed})", f"\\copy {name} from '{file.name}' csv")
    server.vacuum(name)


def read(args, server):
    import connectorx, psycopg

    visits(args, server)
    names = server.psql("select attname from pg_attribute where attrelid = 'visits'::regclass and attnum > 0").split()
    counts = "\n".join(f'set.n_{name} = "count({name})"' for name in names if name != "ssn")
    pipeline = Pipeline(args, server, CONNECTION + READ.replace("SET", counts))
    uri = f"postgresql://postgres@127.0.0.1:5499/postgres?sslmode=disable"
    fetched = []

    def run():
        took = pipeline.run("--trace", "trace.json")
        fetched.append(pipeline.reading())
        return took

    def arrow():
        connectorx.read_sql(uri, "select * from visits", partition_on="visit_id", partition_num=2, return_type="arrow")

    copy = "select * from visits"
    half = "select * from visits where visit_id % 2 = "
    both = lambda: [each.wait() for each in [subprocess.Popen(server_copy(server, half + f"{odd}")) for odd in (0, 1)]]
    taken = in_turn(args.reps, {
        "ours": (pipeline.forget, run),
        "copy": (None, lambda: timed(lambda: server.discard(copy))),
        "two": (None, lambda: timed(both)),
        "connectorx": (None, lambda: timed(arrow)),
    })
    reading = statistics.median(fetched)
    row("98 columns read to the gate, on 2 connections: beside COPY binary", reading, taken["copy"], "1.11")
    row("— beside two COPYs, of a half each", reading, taken["two"])
    row("— beside connectorx, 2 connections", reading, taken["connectorx"], "< 1")
    row("— the whole run, which counts them by person, beside COPY binary", taken["ours"], taken["copy"])


def server_copy(server, query):
    command = [os.path.join(PROGRAMS, "psql"), "-X", "-q", "-h", server.folder, "-p", "5499", "-U", "postgres"]
    return command + ["-c", f"\\copy ({query}) to '/dev/null' (format binary)"]


def narrow(server, args):
    """A million rows as Parquet, the same with 10 % changed, and both as the server writes them."""
    import numpy, pyarrow, pyarrow.parquet as parquet

    draw = numpy.random.default_rng(3)
    table = pyarrow.table({
        "a_visit_id": numpy.arange(ROWS),
        "b_visit_id": draw.integers(0, 1 << 40, ROWS),
        "ssn": pyarrow.array((draw.integers(0, PERSONS, ROWS) * 4_999 + 100_000_000).astype(str)),
        "overlap_min": draw.integers(1, 300, ROWS),
        "rate": numpy.round(draw.random(ROWS) * 50, 2),
        "updated_at": pyarrow.array(draw.integers(1704067200, 1770000000, ROWS) * 1_000_000, pyarrow.timestamp("us")),
    })
    minutes = table["overlap_min"].to_numpy() + (numpy.arange(ROWS) % 10 == 3)
    changed = table.set_column(3, "overlap_min", pyarrow.array(minutes))
    for name, rows in (("all", table), ("changed", changed)):
        os.makedirs(os.path.join(args.scratch, name), exist_ok=True)
        parquet.write_table(rows, os.path.join(args.scratch, name, "rows.parquet"), compression="zstd")
        fill(server, f"lies_{name}", rows)
    server.psql(f"\\copy lies_all to '{args.scratch}/all.bin' (format binary)")
    entries = "select *, 1::bigint, 1::bigint from lies_all"
    server.psql(f"\\copy ({entries}) to '{args.scratch}/entries.bin' (format binary)")
    server.psql(f"\\copy lies_changed to '{args.scratch}/found.bin' (format binary)")
    server.psql(f"\\copy (select * from lies_changed where a_visit_id % 10 = 3) to '{args.scratch}/changed.bin' (format binary)")


def merged(server, file, which=""):
    """COPY into a temporary table, and one statement, as one would write it by hand."""
    columns = ["b_visit_id", "ssn", "overlap_min", "rate", "updated_at"]
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns)
    if which == "where they differ":
        sides = [", ".join(f"{side}.{name}" for name in columns) for side in ("t", "excluded")]
        sets += f" where ({sides[0]}) is distinct from ({sides[1]})"
    server.psql(
        "begin",
        "create temp table s (like t) on commit drop",
        f"\\copy s from '{file}' (format binary)",
        f"insert into t select * from s on conflict (a_visit_id) do update set {sets}",
        "commit",
    )


def write(args, server):
    narrow(server, args)
    source = f'path = "{args.scratch}/now/*.parquet"'
    text = CONNECTION + WRITE.replace("SOURCE", "parquet").replace("FROM", source)
    now = os.path.join(args.scratch, "now")

    def use(name):
        if os.path.lexists(now):
            os.remove(now)
        os.symlink(os.path.join(args.scratch, name), now)

    def table(columns=None):
        use("all")
        server.psql("drop table if exists t, _tidemill_fence", *([f"create table t ({columns})"] if columns else []), "checkpoint")

    keyed = NARROW.replace("a_visit_id bigint", "a_visit_id bigint primary key")
    append = Pipeline(args, server, text.replace("HOW", "append"))
    merge = Pipeline(args, server, text.replace("HOW", "merge"))

    # All in one batch, so that nothing is evaluated while the sink is written.
    whole = text.replace("cut = { prefix = 2 }\n", "")
    append_once = Pipeline(args, server, whole.replace("HOW", "append"))
    merge_once = Pipeline(args, server, whole.replace("HOW", "merge"))

    def fresh(pipeline):
        table()
        pipeline.forget()

    def filled(pipeline):
        fresh(pipeline)
        pipeline.run()
        server.vacuum("t")
        use("changed")

    def sink_alone(pipeline):
        pipeline.run("--trace", "trace.json")
        return pipeline.writing()

    def filled_by_hand():
        table(keyed)
        server.psql(f"\\copy t from '{args.scratch}/all.bin' (format binary)")
        server.vacuum("t")

    copy = lambda: server.psql(f"\\copy t from '{args.scratch}/all.bin' (format binary)")
    logged = lambda: server.psql(f"\\copy t from '{args.scratch}/entries.bin' (format binary)")
    taken = in_turn(args.reps, {
        "append": (lambda: fresh(append), append.run),
        "copy": (lambda: table(keyed), lambda: timed(copy)),
        "copy of entries": (lambda: table(NARROW + ", _epoch bigint, _diff bigint"), lambda: timed(logged)),
        "load": (lambda: fresh(merge), merge.run),
        "load by hand": (lambda: table(keyed), lambda: timed(lambda: merged(server, f"{args.scratch}/all.bin"))),
        "merge": (lambda: filled(merge), merge.run),
        "append, sink": (lambda: fresh(append_once), lambda: sink_alone(append_once)),
        "load, sink": (lambda: fresh(merge_once), lambda: sink_alone(merge_once)),
        "merge, sink": (lambda: filled(merge_once), lambda: sink_alone(merge_once)),
        "merge by hand": (filled_by_hand, lambda: timed(lambda: merged(server, f"{args.scratch}/changed.bin"))),
        "merge of what differs": (filled_by_hand, lambda: timed(lambda: merged(server, f"{args.scratch}/changed.bin", "where they differ"))),
        "found by hand": (filled_by_hand, lambda: timed(lambda: merged(server, f"{args.scratch}/found.bin", "where they differ"))),
    })
    for name, peer, what in (("append", "copy", "append 1 M rows: beside COPY binary"), ("load", "load by hand", "first load by merge: beside temporary table and ON CONFLICT"), ("merge", "merge by hand", "merge, 10 % of the rows changed: beside the same of these rows")):
        row(what, taken[name], taken[peer])
        row("— its sink alone, in one commit", taken[f"{name}, sink"], taken[peer], "1.11")
    row("merge, its sink alone: beside the same of these rows, which leaves equal ones alone as it does", taken["merge, sink"], taken["merge of what differs"], "1.11")
    row("append, its sink alone: beside COPY binary of the entries of its log, which has no key", taken["append, sink"], taken["copy of entries"], "1.11")
    row("merge, 10 % of the rows changed: beside the same of all rows, which finds those that differ", taken["merge"], taken["found by hand"], "1.11")


def quiet(args, server):
    if not server.psql("select to_regclass('lies_all')").strip():
        narrow(server, args)
    quiet = {}
    for name, more in (("nothing changed, 1 M rows", ""), ("—, with `version`", '\nversion = ["updated_at"]'), ("—, digests by the server", '\ndigest = "server"')):
        text = CONNECTION + WRITE.replace("SOURCE", "postgres").replace("FROM", 'connection = "main"\ntable = "lies_all"' + more).replace("HOW", "merge")
        table = f"t{len(quiet)}"
        text = text.replace('name = "bench"', f'name = "{table}"').replace('table = "t"', f'table = "{table}"')
        pipeline = Pipeline(args, server, text)
        pipeline.run()
        quiet[name] = pipeline
    cases = {name: (None, pipeline.run) for name, pipeline in quiet.items()}
    cases["copy"] = (None, lambda: timed(lambda: server.discard("select * from lies_all")))
    taken = in_turn(args.reps, cases)
    for name in quiet:
        row(f"{name}: beside COPY binary", taken[name], taken["copy"], "0.6")


def batch(args, server):
    """The visits of one batch, and a table with a part of their pairs, most of them stale."""
    visits(args, server)
    with open(os.path.join(HERE, "overlap_wide.toml")) as file:
        overlap = file.read()
    stages = overlap[overlap.index("[transforms.by_ssn]"):overlap.index("[sinks.conflicts]")]
    source = READ[:READ.index("[transforms")]
    sink = '[sinks.conflicts]\ntype = "postgres"\nconnection = "main"\ninput = "chosen"\ntable = "TABLE"\nkey = ["ssn", "a_visit_id", "b_visit_id"]\nwrite = "HOW"\n'
    text = CONNECTION + source + stages + sink
    every = Pipeline(args, server, text.replace("TABLE", "pairs").replace("HOW", "merge"))
    first = every.run()
    pairs = int(server.psql("select count(*) from pairs"))
    text = text.replace('name = "bench"', 'name = "batch"').replace("TABLE", "conflictvisitmaps")
    ours = Pipeline(args, server, text.replace("HOW", "update-only"))

    def stale():
        ours.forget()
        server.psql(
            "drop table if exists conflictvisitmaps",
            "delete from _tidemill_fence where pipeline = 'batch'",
            "create table conflictvisitmaps (like pairs including all)",
            f"insert into conflictvisitmaps select * from pairs",
            f"update conflictvisitmaps set overlap_min = -1 where ctid in (select ctid from conflictvisitmaps order by hashint8(b_visit_id) limit {STALE})",
        )
        server.vacuum("conflictvisitmaps")

    def run():
        took = ours.run()
        wrong = server.psql("select count(*) from conflictvisitmaps c join pairs p using (ssn, a_visit_id, b_visit_id) where c.* is distinct from p.*")
        if int(wrong) != 0:
            sys.exit(f"{wrong} rows of the batch are not up to date")
        return took

    taken = in_turn(args.reps, {"ours": (stale, run), "copy": (None, lambda: timed(lambda: server.discard("select * from visits")))})
    told = ours.told()["sinks"]["conflicts"]
    row(f"one batch: its visits read, {pairs:,} pairs found, {told['updated']:,} brought up to date: beside COPY of the visits", taken["ours"], taken["copy"])
    row(f"— all {pairs:,} pairs written into an empty table", first, taken["copy"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--tidemill", default=os.path.join(HERE, "../../target/release/tidemill"))
    parser.add_argument("--scratch", default=None)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--only", default="read,write,quiet,batch")
    args = parser.parse_args()
    args.data, args.tidemill = os.path.abspath(args.data), os.path.abspath(args.tidemill)
    args.scratch = tempfile.mkdtemp(prefix="tidemill-bench-", dir=args.scratch)
    os.chmod(args.scratch, 0o755)
    folder = os.path.join(args.scratch, "server")
    os.mkdir(folder)
    server = Server(folder)
    print("| case | tidemill | peer | ratio | target |\n|---|---:|---:|---:|---:|", flush=True)
    try:
        for name in args.only.split(","):
            {"read": read, "write": write, "quiet": quiet, "batch": batch}[name](args, server)
    finally:
        server.stop()
        shutil.rmtree(args.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
