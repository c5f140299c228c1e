//! A table as the server has it.

use super::kind::Declared;
use crate::postgres::{PostgresError, Session};

/// What the server has under the name of a table.
pub(super) struct Found {
    /// `table`, or what else it is.
    pub(super) is: &'static str,
    pub(super) columns: Vec<FoundColumn>,
    /// The columns of each unique index that holds for all rows at once, and tells texts by their
    /// characters.
    unique: Vec<Vec<String>>,
    /// Whether it is one table, and no trigger, rule or policy may leave out a row without a word.
    pub(super) is_plain: bool,
}

pub(super) struct FoundColumn {
    pub(super) name: String,
    pub(super) declared: Declared,
    /// The server computes it, and takes no value.
    pub(super) computed: bool,
}

/// The schema that a table lies in, or would be made in: the one that is named, else that of the
/// search path. `None` when the search path has none.
pub(super) fn schema(
    session: &mut Session,
    schema: Option<&str>,
    table: &str,
) -> Result<Option<String>, PostgresError> {
    if let Some(schema) = schema {
        return Ok(Some(schema.to_owned()));
    }
    let sql = "SELECT coalesce((SELECT nspname::text
                                FROM pg_catalog.pg_class AS class
                                JOIN pg_catalog.pg_namespace AS schema
                                  ON schema.oid = class.relnamespace
                                WHERE class.oid = to_regclass(quote_ident($1))),
                               current_schema()::text)";
    Ok(session.query(sql, &[&table])?[0].get(0))
}

/// Whether there is a table of a name.
pub(super) fn is_there(
    session: &mut Session,
    schema: &str,
    table: &str,
) -> Result<bool, PostgresError> {
    let sql = "SELECT to_regclass(quote_ident($1) || '.' || quote_ident($2)) IS NOT NULL";
    Ok(session.query(sql, &[&schema, &table])?[0].get(0))
}

impl Found {
    /// What is there under a name; `None` when nothing.
    pub(super) fn read(
        session: &mut Session,
        schema: &str,
        table: &str,
    ) -> Result<Option<Found>, PostgresError> {
        let rows = session.query(TABLE, &[&schema, &table])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let oid: u32 = row.get("oid");
        let unique = session.query(UNIQUE, &[&oid])?;
        let columns = session.query(COLUMNS, &[&oid])?;
        let column = |row: &tokio_postgres::Row| FoundColumn {
            name: row.get("name"),
            declared: Declared {
                written: row.get("written"),
                base: row.get("base"),
                narrowed: row.get("narrowed"),
                is_enum: row.get("is_enum"),
            },
            computed: row.get("computed"),
        };
        Ok(Some(Found {
            is: match row.get::<_, &str>("kind") {
                "r" | "p" => "table",
                "v" => "view",
                "m" => "materialized view",
                "f" => "foreign table",
                _ => "relation of another kind",
            },
            columns: columns.iter().map(column).collect(),
            unique: unique.iter().map(|row| row.get(0)).collect(),
            is_plain: row.get("is_plain"),
        }))
    }

    /// The column of a name.
    pub(super) fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether a unique index has exactly these columns.
    pub(super) fn is_unique(&self, key: &[&str]) -> bool {
        self.unique.iter().any(|columns| {
            let has = |name: &&str| columns.iter().any(|column| column == name);
            columns.len() == key.len() && key.iter().all(has)
        })
    }
}

/// A trigger before a row can leave it out.
const TABLE: &str = "
    SELECT class.oid, class.relkind::text AS kind,
           class.relkind = 'r' AND NOT class.relhasrules AND NOT class.relrowsecurity
           AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_trigger
               WHERE tgrelid = class.oid AND tgenabled <> 'D' AND tgtype & 3 = 3
           ) AS is_plain
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS schema ON schema.oid = class.relnamespace
    WHERE schema.nspname = $1 AND class.relname = $2
      AND class.relkind IN ('r', 'p', 'v', 'm', 'f')";

/// A domain is told by its base, and is narrower than it.
const COLUMNS: &str = "
    SELECT attname::text AS name,
           format_type(atttypid, atttypmod) AS written,
           coalesce(base.typname, type.typname)::text AS base,
           base.oid IS NOT NULL OR atttypmod <> -1 AS narrowed,
           coalesce(base.typtype, type.typtype) = 'e' AS is_enum,
           attgenerated <> '' OR attidentity = 'a' AS computed
    FROM pg_catalog.pg_attribute
    JOIN pg_catalog.pg_type AS type ON type.oid = atttypid
    LEFT JOIN pg_catalog.pg_type AS base ON type.typtype = 'd' AND base.oid = type.typbasetype
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum";

/// A collation that is not deterministic takes ids for equal that are not.
const UNIQUE: &str = "
    SELECT array_agg(attname::text)
    FROM pg_catalog.pg_index AS index
    CROSS JOIN LATERAL unnest(indkey::int2[]) WITH ORDINALITY AS part (attnum, at)
    JOIN pg_catalog.pg_attribute AS attribute
      ON attrelid = indrelid AND attribute.attnum = part.attnum
    LEFT JOIN pg_catalog.pg_collation AS texts ON texts.oid = attcollation
    WHERE indrelid = $1 AND indisunique AND indisvalid AND indimmediate
      AND indpred IS NULL AND indexprs IS NULL AND part.at <= indnkeyatts
    GROUP BY indexrelid
    HAVING bool_and(coalesce(collisdeterministic, true))";
