//! Goal: rows that the stages before the gate leave out are left out by the server.
//!
//! Method: a pipeline whose table goes through a window of days, another name, a status and a lookup
//! runs while days pass and rows change; its sink is compared with what a run from nothing yields, the
//! rows that were read with those in the window, and what was asked for with the server's log.

use tests::harness::{Database, Outcome, Scratch};

use super::planned;

const PIPELINE: &str = r#"
[pipeline]
name = "way"
state_dir = "output/state"

[params]
status = "void"

[connections.main]
type = "postgres"
url = "URL"

[sources.visits]
type       = "postgres"
connection = "main"
table      = "visits"
id         = ["visit"]

[sources.offices]
type       = "postgres"
connection = "main"
table      = "offices"

[transforms.in_window]
type  = "filter"
input = "visits"
when  = "day between current_date - interval '2 days' and current_date"

[transforms.renamed]
type   = "select"
input  = "in_window"
rename = { office = "place", state = "status" }

[transforms.copied]
type  = "derive"
input = "renamed"
set   = { now_state = "state" }

[transforms.live]
type  = "filter"
input = "copied"
when  = "now_state <> $status or office in (1, 2)"

[transforms.with_office]
type  = "lookup"
left  = "live"
right = "offices"
on    = { office = "id" }
columns = { office_name = "name" }

[transforms.open]
type  = "filter"
input = "with_office"
when  = "visit > 5"

[transforms.by_ssn]
type  = "batch-partition"
input = "open"
by    = "ssn"

[sinks.table]
type  = "sqlite"
input = "by_ssn"
path  = "output/visits.db"
table = "visits"
key   = ["visit"]
"#;

/// Ten visits on each of twelve days, one of them for each person.
const TABLES: &str = "
    create table offices (id int primary key, name text);
    insert into offices values (1, 'Albany'), (2, 'Troy'), (3, 'Utica');
    create table visits (visit int8 primary key, ssn text, day date, place int, status text);
    insert into visits
    select n, 'p' || n % 10, '2026-01-10'::date + (n / 10)::int, n % 3 + 1,
        case n % 4 when 0 then 'void' when 1 then null else 'done' end
    from generate_series(0, 119) n;";

/// What the stages before the lookup keep on a day.
fn kept(database: &Database, day: &str) -> u64 {
    let count = format!(
        "select count(*) from visits where day between '{day}'::date - 2 and '{day}'::date \
         and (status <> 'void' or place in (1, 2))"
    );
    database.sql(&count).trim().parse().unwrap()
}

fn folder(database: &Database) -> Scratch {
    super::folder(database, PIPELINE, TABLES)
}

fn on(scratch: &mut Scratch, day: &str) -> Outcome {
    scratch.now = format!("{day}T06:00:00Z");
    scratch.run()
}

#[test]
fn rows_outside_of_the_window_are_not_sent() {
    let database = Database::create();
    let mut scratch = folder(&database);
    database.log_statements();
    let ran = on(&mut scratch, "2026-01-15").exits(0);
    assert_eq!(
        ran.number("/sources/visits/rows"),
        kept(&database, "2026-01-15")
    );
    let log = database.log().join("\n");
    let asked = r#"from "public"."visits" where "day" >= '2026-01-13'::date and "day" <= '2026-01-15'::date and ("status" collate "C" <> 'void' collate "C" or ("place" = '1'::int8 or "place" = '2'::int8))"#;
    assert!(log.contains(asked), "{log}");

    // A day goes out of the window, and another one comes in: all persons have visits on both.
    let ran = on(&mut scratch, "2026-01-16").exits(0);
    assert_eq!(ran.number("/keys/open"), 10);
    scratch.verify().exits(0);
    assert_eq!(
        on(&mut scratch, "2026-01-16").exits(0).number("/keys/open"),
        0
    );
    // Outside of the window nothing matters; a row that comes into it does, and one that leaves it.
    for (change, open) in [
        (
            "update visits set status = 'new' where day = '2026-01-10'",
            0,
        ),
        ("update visits set day = '2026-01-16' where visit = 7", 1),
        (
            "update visits set day = '2027-01-16' where visit in (61, 64)",
            2,
        ),
        (
            "update visits set status = 'void', place = 3 where visit = 62",
            1,
        ),
        ("delete from visits where visit in (63, 1)", 1),
    ] {
        database.sql(change);
        let ran = on(&mut scratch, "2026-01-16").exits(0);
        assert_eq!(ran.number("/keys/open"), open, "{change}");
        scratch.verify().exits(0);
    }
    let anew = scratch.never_ran();
    anew.run().exits(0);
    assert_eq!(anew.tables(), scratch.tables());
}

#[test]
fn several_processes_leave_out_the_same() {
    let database = Database::create();
    let mut scratch = folder(&database);
    on(&mut scratch, "2026-01-15").exits(0);
    let together = scratch.never_ran();
    let mut launch = together.command(&["launch", "-n", "2"]);
    let ran = Outcome::of(&mut launch).exits(0);
    assert_eq!(
        ran.number("/sources/visits/rows"),
        kept(&database, "2026-01-15")
    );
    assert_eq!(together.tables(), scratch.tables());
}

#[test]
fn the_plan_names_the_first_stage_that_the_server_does_not_do() {
    let database = Database::create();
    let scratch = folder(&database);
    let said = planned(&scratch);
    // A lookup that leaves nothing out may yet have an error to tell.
    let asked = r#"and ("visit" > '5'::int8 or ("place") in (select "id" from "public"."offices" group by "id" having count(*) > 1))"#;
    assert!(said.contains(asked), "{said}");
    assert!(!said.contains("the first stage that is not asked for"));
    let more = "[sources.more]\ntype = \"postgres\"\nconnection = \"main\"\ntable = \"visits\"\n\
                where = \"visit < 0\"\n[transforms.both]\ntype = \"union\"\ninputs = [\"more\", \"visits\"]\n";
    scratch.edit("pipeline.toml", "input = \"visits\"", "input = \"both\"");
    scratch.edit(
        "pipeline.toml",
        "[sources.offices]",
        &format!("{more}\n[sources.offices]"),
    );
    let said = planned(&scratch);
    assert_eq!(
        said.matches(r#""day" >= '2026-01-13'::date"#).count(),
        2,
        "{said}"
    );
    scratch.edit(
        "pipeline.toml",
        "in (1, 2)\"",
        "in (1, 2) and ssn like 'p%'\"",
    );
    let said = planned(&scratch);
    let first = "  the first stage that is not asked for: live, now_state != void OR (office = 1 OR office = 2) AND ssn LIKE p%\n";
    assert!(said.contains(first), "{said}");
    scratch.edit(
        "pipeline.toml",
        "now_state = \"state\"",
        "now_state = \"upper(state)\"",
    );
    let said = planned(&scratch);
    let first = "  the first stage that is not asked for: copied, it makes values\n";
    assert!(said.contains(first), "{said}");
}
