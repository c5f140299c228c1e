//! Servers are looked at, and what is said of them shows no password.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tests::harness::Database;

use super::*;

const PASSWORD: &str = "hunter2horse";

/// A pipeline with a connection to a database, as a user whom a file has the password of.
fn project(database: &Database, password: &str) -> Project {
    let (port, name) = (database.server().port(), database.name());
    let project = Project::new();
    let connection = format!(
        "{PIPELINE}\n[connections.main]\ntype = \"postgres\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         database = \"{name}\"\nuser = \"{name}_user\"\npassword = {{ file = \"password\" }}\n\
         pool = {{ max = 500 }}\n"
    );
    project.write("pipeline.toml", &connection);
    project.write("password", password);
    let path = project.path().join("password");
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    project
}

#[test]
fn what_is_to_be_mended_is_shown_with_what_mends_it() {
    let database = Database::create();
    let role = format!("{}_user", database.name());
    database.sql(&format!(
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE passworded"
    ));
    let right = project(&database, PASSWORD);
    let told = right.well("doctor pipeline.toml");
    let too_many = "main: a run takes up to 500 sessions, and the server has room for ";
    assert!(told.starts_with(too_many), "{told}");
    assert!(told.ends_with("\n    lower `max` in `pool`\n"), "{told}");
    let told = parsed(&right.well("doctor pipeline.toml --format json"));
    let mends = &told["connections"]["main"][0]["mends"];
    assert_eq!(mends, "lower `max` in `pool`");
    let wrong = project(&database, &format!("{PASSWORD}s"));
    let refused = wrong.tidemill("doctor pipeline.toml");
    assert_eq!(refused.code, 74, "{}", refused.err);
    let said = "connection `main` cannot be looked at";
    assert!(refused.err.contains(said), "{}", refused.err);
    assert!(refused.err.contains("password authentication failed"));
    for project in [&right, &wrong] {
        for words in [
            "validate pipeline.toml",
            "plan pipeline.toml --rows",
            "graph pipeline.toml",
            "run pipeline.toml -v",
            "verify pipeline.toml",
            "state inspect pipeline.toml",
            "doctor pipeline.toml",
        ] {
            for format in ["text", "json"] {
                let done = project.tidemill(&format!("{words} --format {format}"));
                let said = format!("{}{}", done.out, done.err);
                assert!(!said.contains("hunter2"), "{words}: {said}");
            }
        }
    }
}

const TABLES: &str = r#"
    CREATE TABLE bookings
        ("Booking" int PRIMARY KEY, "Person" text, note text, "Kind" text, hours float8);
    INSERT INTO bookings SELECT n, n / 3, repeat('x', 50), 'k', 1 FROM generate_series(1, 30000) n;
    CREATE TABLE known (booking bigint, person text);
    INSERT INTO known SELECT n, repeat('x', 50) FROM generate_series(1, 30000) n;
    CREATE TABLE log (booking bigint, person text, _epoch bigint, _diff bigint);
    INSERT INTO log SELECT n, repeat('x', 50), 1, 1 FROM generate_series(1, 30000) n"#;

const BOOKINGS: &str = r#"[pipeline]
name = "bookings"

[connections.main]
type = "postgres"
url  = "URL"

[sources.bookings]
type       = "postgres"
connection = "main"
table      = "bookings"
columns    = { booking = "Booking", person = "Person", kind = "Kind" }
where      = "note <> 'cancelled' and round(hours) > 2"

[transforms.kept]
type  = "filter"
input = "bookings"
when  = "kind = 'x'"

[transforms.by_person]
type  = "batch-partition"
input = "kept"
by    = "person"

[transforms.known]
type    = "select"
input   = "by_person"
columns = ["booking", "person"]

[sinks.known_table]
type       = "postgres"
connection = "main"
input      = "known"
table      = "public.known"
key        = ["booking"]

[sinks.log]
type       = "postgres"
connection = "main"
input      = "known"
table      = "log"
key        = ["booking"]
write      = "append"
"#;

#[test]
fn columns_by_which_a_pipeline_finds_rows_want_an_index() {
    let database = Database::create();
    database.sql(TABLES);
    database.sql("VACUUM (ANALYZE)");
    let project = Project::new();
    let pipeline = BOOKINGS.replace("URL", &database.url());
    project.write("pipeline.toml", &pipeline);
    // What the sink needs to be written at all is told with the file.
    database.sql("CREATE UNIQUE INDEX ON known (booking)");
    let told = project.well("doctor pipeline.toml");
    let wanted = [
        "by Person: open keys of source `bookings`",
        r#"CREATE INDEX CONCURRENTLY ON bookings ("Person");"#,
        "by note: `where` of source `bookings`",
        "CREATE INDEX CONCURRENTLY ON bookings (note);",
        "by Kind: what stages keep of source `bookings`",
        r#"CREATE INDEX CONCURRENTLY ON bookings ("Kind");"#,
    ];
    for line in wanted {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(
        !told.contains("ON known") && !told.contains("ON log"),
        "{told}"
    );
    // What the server is not asked for no index of it finds.
    assert!(!told.contains("hours"), "{told}");
    database.sql(
        r#"CREATE INDEX ON bookings ("Person"); CREATE INDEX ON bookings (note);
        CREATE INDEX ON bookings ("Kind")"#,
    );
    assert_eq!(
        project.well("doctor pipeline.toml"),
        "main: nothing is to be mended\n"
    );
}

#[test]
fn a_server_that_is_not_there_is_told_once() {
    let project = Project::new();
    let source = |name: &str| {
        format!("[sources.{name}]\ntype = \"postgres\"\nconnection = \"main\"\ntable = \"t\"\n\n")
    };
    let connection = "[connections.main]\ntype = \"postgres\"\nhost = \"/nowhere\"\n\n";
    let pipeline = format!(
        "[pipeline]\nname = \"p\"\n\n{connection}{}{}",
        source("a"),
        source("b")
    );
    project.write("pipeline.toml", &pipeline);
    let refused = project.tidemill("validate pipeline.toml");
    assert_eq!(refused.code, 78, "{}", refused.err);
    let told = refused.err.matches("cannot connect to main").count();
    assert_eq!(told, 1, "{}", refused.err);
}
