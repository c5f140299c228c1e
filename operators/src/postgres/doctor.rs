//! What keeps a server from its own speed, and the line that mends it. Everything is read, and nothing
//! changed.
//!
//! ```text
//! uses: tables, and by which columns rows are found --+
//!                                                     +--> findings, each with what to do
//! catalogs and counters of the server ----------------+
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use tokio_postgres::Row;

use super::{PostgresError, Server, Session};

/// A table of a connection, as a stage names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableOf<'a> {
    /// The name of the connection.
    pub connection: &'a str,
    /// Its schema, where one is named.
    pub schema: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

/// A table that a pipeline reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its schema; by the search path unless given.
    pub schema: Option<String>,
    /// Its name.
    pub table: String,
    /// By which columns rows are found, and for what, as in `the key of sink x`.
    pub finds: Vec<(Vec<String>, String)>,
    /// Whether rows are written.
    pub is_written: bool,
}

/// Something that is to be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is found.
    pub what: String,
    /// What mends it: a line of SQL, or of the pipeline file.
    pub mends: String,
}

/// Tables and indexes of fewer bytes are read whole as fast.
const SMALL: i64 = 1 << 20;

/// From how many bytes on it counts that half of a table or an index is empty.
const LARGE: i64 = 10 << 20;

/// Dead rows are told when they are more than this and a fifth of the live ones: then autovacuum, which
/// begins at a fifth when it is left as it is, does not keep up.
const DEAD: i64 = 10_000;

impl Server {
    /// Looks at the server and at these tables. `processes` is how many of them a run has, each with
    /// sessions of its own.
    ///
    /// # Errors
    /// When the server is not there, or does not show its catalogs.
    pub fn examine(&self, uses: &[Use], processes: usize) -> Result<Vec<Finding>, PostgresError> {
        let mut session = self.session()?;
        session.begin("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let writes = uses.iter().any(|it| it.is_written);
        let sessions = self.sessions() * processes;
        let mut findings = settings(&mut session, sessions, writes)?;
        for table in uses {
            findings.extend(of_table(&mut session, table)?);
        }
        session.roll_back()?;
        Ok(findings)
    }
}

/// What is amiss with the settings of the server, of the user and of the database.
fn settings(
    session: &mut Session,
    sessions: usize,
    writes: bool,
) -> Result<Vec<Finding>, PostgresError> {
    let sql = "SELECT current_setting('max_connections')::int8
          - current_setting('superuser_reserved_connections')::int8
          - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
             AND application_name <> current_setting('application_name')),
        (SELECT rolconnlimit::int8 FROM pg_roles WHERE rolname = current_user),
        (SELECT datconnlimit::int8 FROM pg_database WHERE datname = current_database()),
        current_setting('server_encoding'),
        pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
        current_setting('idle_in_transaction_session_timeout'),
        quote_ident(current_user), quote_ident(current_database())";
    let row = &session.query(sql, &[])?[0];
    let (user, database): (&str, &str) = (row.get(7), row.get(8));
    let mut findings = Vec::new();
    let sessions = i64::try_from(sessions).unwrap_or(i64::MAX);
    for (limit, of, alter) in [
        (row.get::<_, i64>(0), "server", String::new()),
        (
            row.get(1),
            "user",
            format!("ALTER ROLE {user} CONNECTION LIMIT {sessions};"),
        ),
        (
            row.get(2),
            "database",
            format!("ALTER DATABASE {database} CONNECTION LIMIT {sessions};"),
        ),
    ] {
        // Of a role or a database -1 stands for no limit.
        if limit >= sessions || (limit < 0 && of != "server") {
            continue;
        }
        let or = if alter.is_empty() {
            alter
        } else {
            format!(", or {alter}")
        };
        findings.push(Finding {
            what: format!(
                "a run takes up to {sessions} sessions, and the {of} has room for {}",
                limit.max(0)
            ),
            mends: format!("lower `max` in `pool`{or}"),
        });
    }
    findings.extend(manners(row, writes));
    Ok(findings)
}

/// What is amiss with how the server takes what it is asked.
fn manners(row: &Row, writes: bool) -> Vec<Finding> {
    let user: &str = row.get(7);
    let mut findings = Vec::new();
    let encoding: &str = row.get(3);
    if encoding != "UTF8" {
        findings.push(Finding {
            what: format!("the database is encoded in {encoding}, which has not all characters"),
            mends: "make it anew with ENCODING 'UTF8'".to_owned(),
        });
    }
    if writes && row.get(4) {
        findings.push(Finding {
            what: "the server is a standby, and nothing can be written there".to_owned(),
            mends: "name several hosts, and `?target_session_attrs=read-write` in `url`".to_owned(),
        });
    } else if writes && row.get(5) {
        findings.push(Finding {
            what: "transactions of this user only read".to_owned(),
            mends: format!("ALTER ROLE {user} SET default_transaction_read_only = off;"),
        });
    }
    let timeout: &str = row.get(6);
    if timeout != "0" {
        findings.push(Finding {
            what: format!(
                "a snapshot that is held for more than {timeout} is lost, and the run with it"
            ),
            mends: format!("ALTER ROLE {user} SET idle_in_transaction_session_timeout = 0;"),
        });
    }
    findings
}

/// What is known of a table.
struct Table<'a> {
    session: &'a mut Session,
    number: u32,
    /// As it is written in SQL.
    name: String,
    bytes: i64,
}

/// An index, as far as it serves.
struct Index {
    name: String,
    /// Its columns in order; nothing for an expression.
    columns: Vec<String>,
    is_valid: bool,
    is_partial: bool,
    bytes: i64,
    /// How many bytes it would have if it were made anew, where that can be told.
    anew: Option<i64>,
}

fn of_table(session: &mut Session, used: &Use) -> Result<Vec<Finding>, PostgresError> {
    let sql = "SELECT c.oid, c.oid::regclass::text, pg_table_size(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = $1 AND c.relkind IN ('r', 'm', 'p')
          AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2 END";
    let rows = session.query(sql, &[&used.table, &used.schema])?;
    // A table that is not there yet is made by the run; of a view there is nothing to say.
    let Some(row) = rows.first() else {
        return Ok(Vec::new());
    };
    let mut table = Table {
        number: row.get(0),
        name: row.get(1),
        bytes: row.get(2),
        session,
    };
    let indexes = table.indexes()?;
    let mut findings = table.missing(&indexes, &used.finds)?;
    findings.extend(table.rows()?);
    findings.extend(indexes.iter().filter_map(Index::worn));
    Ok(findings)
}

impl Table<'_> {
    fn indexes(&mut self) -> Result<Vec<Index>, PostgresError> {
        // A row of a leaf is its head, its pointer and its cells; leaves are filled to nine tenths.
        let sql = "SELECT x.indexrelid::regclass::text, x.indisvalid, x.indpred IS NOT NULL,
              pg_relation_size(x.indexrelid),
              array(SELECT coalesce(a.attname::text, '') FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(n, at)
                    LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n AND k.n > 0
                    WHERE k.at <= x.indnkeyatts ORDER BY k.at),
              CASE WHEN m.amname = 'btree' AND i.reltuples > 0 AND NOT 0 = ANY (x.indkey::int2[]) THEN
                (i.reltuples * (12 + 8 * ceil((SELECT sum((1 - s.null_frac) * s.avg_width)
                    FROM unnest(x.indkey::int2[]) k(n)
                    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n
                    JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname
                     AND s.attname = a.attname) / 8)) / 0.9)::int8 END
            FROM pg_index x
            JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
            JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
            WHERE x.indrelid = $1 ORDER BY 1";
        let rows = self.session.query(sql, &[&self.number])?;
        Ok(rows
            .iter()
            .map(|row| Index {
                name: row.get(0),
                is_valid: row.get(1),
                is_partial: row.get(2),
                bytes: row.get(3),
                columns: row.get(4),
                anew: row.get(5),
            })
            .collect())
    }

    /// Columns by which rows are found without the help of an index.
    fn missing(
        &mut self,
        indexes: &[Index],
        finds: &[(Vec<String>, String)],
    ) -> Result<Vec<Finding>, PostgresError> {
        // The same columns may be wanted by several.
        let mut wanted: BTreeMap<&[String], Vec<&str>> = BTreeMap::new();
        for (columns, why) in finds {
            wanted.entry(columns).or_default().push(why);
        }
        let mut findings = Vec::new();
        for (columns, why) in wanted {
            if self.bytes < SMALL || indexes.iter().any(|index| index.finds(columns)) {
                continue;
            }
            let sql = "SELECT format('CREATE INDEX CONCURRENTLY ON %s (%s);', $1::oid::regclass,
                (SELECT string_agg(quote_ident(c), ', ' ORDER BY at)
                 FROM unnest($2::text[]) WITH ORDINALITY c(c, at)))";
            let made = self.session.query(sql, &[&self.number, &columns])?;
            let (name, columns, why) = (&self.name, columns.join(", "), why.join(", "));
            findings.push(Finding {
                what: format!("no index finds rows of {name} by {columns}: {why}"),
                mends: made[0].get(0),
            });
        }
        Ok(findings)
    }

    /// Rows that are dead, unknown, or far between.
    fn rows(&mut self) -> Result<Vec<Finding>, PostgresError> {
        let sql = "SELECT pg_stat_get_live_tuples($1), pg_stat_get_dead_tuples($1),
              c.reltuples < 0 AND NOT EXISTS (SELECT FROM pg_stats s
                WHERE s.schemaname = n.nspname AND s.tablename = c.relname),
              pg_relation_size(c.oid),
              (c.reltuples * (28 + 8 * ceil((SELECT sum((1 - s.null_frac) * s.avg_width) FROM pg_stats s
                WHERE s.schemaname = n.nspname AND s.tablename = c.relname) / 8)))::int8
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
        let row = &self.session.query(sql, &[&self.number])?[0];
        let (live, dead): (i64, i64) = (row.get(0), row.get(1));
        let (bytes, anew): (i64, Option<i64>) = (row.get(3), row.get(4));
        let name = &self.name;
        if dead > DEAD && dead > live / 5 {
            return Ok(vec![Finding {
                what: format!("{name} has {dead} dead rows beside {live} live ones"),
                mends: format!("VACUUM (ANALYZE) {name};"),
            }]);
        }
        if self.bytes >= SMALL && row.get(2) {
            return Ok(vec![Finding {
                what: format!("the server knows nothing of the values in {name}"),
                mends: format!("ANALYZE {name};"),
            }]);
        }
        let loose = anew
            .filter(|anew| is_loose(bytes, *anew))
            .map(|anew| Finding {
                what: format!(
                    "{name} takes {} for about {} of rows",
                    Size(bytes),
                    Size(anew)
                ),
                mends: format!("VACUUM FULL {name}; -- nobody else can use it meanwhile"),
            });
        Ok(loose.into_iter().collect())
    }
}

impl Index {
    /// Whether it finds rows by these columns: it begins with them, in whatever order.
    fn finds(&self, columns: &[String]) -> bool {
        let wanted: BTreeSet<&String> = columns.iter().collect();
        let begins: BTreeSet<&String> = self.columns.iter().take(wanted.len()).collect();
        self.is_valid && !self.is_partial && begins == wanted
    }

    fn worn(&self) -> Option<Finding> {
        let name = &self.name;
        if !self.is_valid {
            return Some(Finding {
                what: format!(
                    "{name} is left of a CREATE INDEX CONCURRENTLY that failed: it is kept up and finds nothing"
                ),
                mends: format!("DROP INDEX CONCURRENTLY {name};"),
            });
        }
        let anew = self.anew.filter(|anew| is_loose(self.bytes, *anew))?;
        Some(Finding {
            what: format!(
                "{name} takes {}, and made anew about {}",
                Size(self.bytes),
                Size(anew)
            ),
            mends: format!("REINDEX INDEX CONCURRENTLY {name};"),
        })
    }
}

/// Whether more than half is empty, and it is worth the work.
fn is_loose(bytes: i64, anew: i64) -> bool {
    bytes > LARGE && bytes / 2 > anew
}

/// Bytes, for people.
struct Size(i64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0 >> 20)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.mends)
    }
}
