//! What is read of a database, and its columns: how each is selected, and as what it is read.

use std::collections::BTreeMap;

use tokio_postgres::types::{Kind, Type as Theirs};

use super::PostgresConfig;
use super::cells::Form;
use crate::postgres::{PostgresError, Session};
use crate::problem::{Part, Problem, suggest};
use crate::schema::Type;

/// What is read.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// What stands behind `from`.
    pub(super) from: String,
    /// Whether it may have pages, by which several sessions share it.
    pub(super) is_table: bool,
    /// Whether it is a table of which a reading takes a moment.
    pub(super) is_small: bool,
}

impl Rows {
    /// Those of a query.
    pub(super) fn of_query(query: &str) -> Rows {
        Rows {
            // A comment at the end of the query ends with its line.
            from: format!("(\n{}\n) as query", query.trim_end().trim_end_matches(';')),
            is_table: false,
            is_small: false,
        }
    }
}

/// How a column is read.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// What is selected for it.
    pub(super) select: String,
    pub(super) form: Form,
    pub(super) ty: Type,
    /// Its type in the database.
    pub(super) theirs: Theirs,
}

impl Column {
    /// The type that the server sends it as.
    pub(super) fn sent(&self) -> &Theirs {
        if self.select.ends_with(TEXTS) {
            &Theirs::TEXT_ARRAY
        } else if self.select.ends_with(TEXT) {
            &Theirs::TEXT
        } else {
            &self.theirs
        }
    }
}

/// Finds what is to be read.
pub(super) fn rows(session: &mut Session, config: &PostgresConfig) -> Result<Rows, Problem> {
    match (&config.table, &config.query) {
        (Some(table), None) => named(session, table),
        (None, Some(query)) => Ok(Rows::of_query(query)),
        (Some(_), Some(_)) => {
            let message = "one of `table` and `query` says what is read";
            Err(Problem::at(["query"], message).help("leave one of them out"))
        }
        (None, None) => {
            let message = "`table` or `query` is missing";
            Err(Problem::at(["type"], message)
                .label("what of the database is read?")
                .help("write `table = \"..\"`"))
        }
    }
}

/// The table of a name, with or without its schema. Names are as they are: no case is changed.
fn named(session: &mut Session, name: &str) -> Result<Rows, Problem> {
    let failed = |error: PostgresError| Problem::at(["table"], error.to_string());
    let (schema, table) = match name.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, name),
    };
    let found = session.query(FIND, &[&schema, &table]).map_err(failed)?;
    let Some(found) = found.first() else {
        return Err(missing(session, name).unwrap_or_else(failed));
    };
    let name = |at: usize| found.try_get::<_, String>(at);
    let is = |at: usize| found.try_get::<_, bool>(at);
    let get = || Ok((name(0)?, name(1)?, is(2)?, is(3)?, is(4)?));
    let (schema, table, is_table, is_small, may_read) =
        get().map_err(|error: tokio_postgres::Error| failed(error.into()))?;
    if !may_read {
        let message = format!("no column of `{schema}.{table}` may be read");
        return Err(Problem::at(["table"], message)
            .label("the connection's user has no right to")
            .help(format!(
                "grant select on {}.{} to it",
                quoted(&schema),
                quoted(&table)
            )));
    }
    Ok(Rows {
        from: format!("{}.{}", quoted(&schema), quoted(&table)),
        is_table,
        is_small,
    })
}

/// What is told where there is no table of this name.
fn missing(session: &mut Session, name: &str) -> Result<Problem, PostgresError> {
    let mut known = Vec::new();
    for row in session.query(ALL, &[])? {
        let (schema, table, is_visible): (String, String, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let is_short = is_visible && !name.contains('.');
        known.push(if is_short {
            table
        } else {
            format!("{schema}.{table}")
        });
    }
    let help = suggest(name, known.iter().map(String::as_str), "tables");
    let problem = Problem::at(["table"], format!("there is no table `{name}`"));
    Ok(problem
        .label("not a table or view of the database")
        .help(help))
}

/// A column, as the server describes it.
pub(super) struct Described {
    pub(super) name: String,
    theirs: Theirs,
    /// What is declared of the type: of a numeric, its digits.
    modifier: i32,
}

/// The columns of what is to be read, as `field` says.
pub(super) fn described(
    session: &mut Session,
    rows: &Rows,
    field: &'static str,
) -> Result<Vec<Described>, Problem> {
    let select = format!("select * from {}", rows.from);
    let described = session.prepare(&select);
    // That it is allowed, and can be planned, is looked at when it is explained.
    let described = described.and_then(|statement| {
        if !rows.is_table {
            session.execute(&format!("explain {select}"))?;
        }
        Ok(statement)
    });
    let described = described.map_err(|error| {
        let problem = Problem::at([field], error.to_string());
        // The query begins in a line of its own.
        let before = select.find('\n').map_or(0, |line| line + 1);
        match error.position().and_then(|at| place(&select, before, at)) {
            Some(part) if field != "table" => Problem { part, ..problem },
            _ => problem,
        }
    })?;
    let columns = described.columns().iter();
    let column = |column: &tokio_postgres::Column| Described {
        name: column.name().to_owned(),
        theirs: column.type_().clone(),
        modifier: column.type_modifier(),
    };
    Ok(columns.map(column).collect())
}

/// The word of a query that the server points at: `at` counts characters from 1.
fn place(sql: &str, before: usize, at: u32) -> Option<Part> {
    let at = usize::try_from(at).ok()?.checked_sub(1)?;
    let (start, _) = sql.char_indices().nth(at)?;
    let word = sql[start..].find(|c: char| !c.is_alphanumeric() && c != '_');
    let end = start + word.unwrap_or(sql.len() - start).max(1);
    Some(Part::Bytes(
        start.checked_sub(before)?..end.checked_sub(before)?,
    ))
}

/// How the columns are read, each as the author declares it, or as its type is; adds those that are
/// of no type of ours to `problems`.
pub(super) fn columns(
    described: &[Described],
    names: &[String],
    declared: &BTreeMap<String, Type>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Column>> {
    let mut typeless = Vec::new();
    let mut columns = Vec::new();
    for (described, name) in described.iter().zip(names) {
        let theirs = &described.theirs;
        let natural = of_type(theirs, described.modifier);
        let read = match declared.get(name) {
            Some(ty) => as_declared(*ty, theirs, natural.clone()),
            None => natural.clone(),
        };
        match declared.get(name) {
            Some(ty) if read.is_none() => {
                problems.push(undeclarable(name, *ty, theirs, natural.as_ref()));
            }
            None if read.is_none() => typeless.push((name, theirs)),
            _ => {}
        }
        columns.push(read.map(|read| described.read_as(read)));
    }
    if !typeless.is_empty() {
        problems.push(no_types(&typeless, field));
    }
    columns
}

/// How a column is read that the author says nothing of; `None`: it is of no type of ours.
pub(super) fn natural(described: &Described) -> Option<Column> {
    let read = of_type(&described.theirs, described.modifier);
    read.map(|read| described.read_as(read))
}

impl Described {
    fn read_as(&self, (ty, form, cast): Read) -> Column {
        Column {
            select: format!("{}{cast}", quoted(&self.name)),
            form,
            ty,
            theirs: self.theirs.clone(),
        }
    }
}

/// As what a column is read: its type, how its values come, and what they are cast to before.
type Read = (Type, Form, &'static str);

/// As what a type is read without a word of the author.
fn of_type(theirs: &Theirs, modifier: i32) -> Option<Read> {
    let plain = |ty, form| Some((ty, form, ""));
    match theirs.kind() {
        Kind::Enum(_) => return plain(Type::Text, Form::Text),
        Kind::Domain(base) => return of_type(base, modifier),
        Kind::Array(_) if [Theirs::INT2_VECTOR, Theirs::OID_VECTOR].contains(theirs) => {
            return None;
        }
        Kind::Array(element) => return of_array(element),
        Kind::Simple => {}
        _ => return None,
    }
    match *theirs {
        Theirs::BOOL => plain(Type::Bool, Form::Bool),
        Theirs::INT2 => plain(Type::Int, Form::Int2),
        Theirs::INT4 => plain(Type::Int, Form::Int4),
        Theirs::INT8 => plain(Type::Int, Form::Int8),
        Theirs::OID => plain(Type::Int, Form::Oid),
        Theirs::FLOAT4 => plain(Type::Float, Form::Float4),
        Theirs::FLOAT8 => plain(Type::Float, Form::Float8),
        Theirs::NUMERIC if digits(modifier).is_some_and(|digits| digits <= FLOAT_DIGITS) => {
            plain(Type::Float, Form::NumericFloat)
        }
        Theirs::NUMERIC => plain(Type::Text, Form::Numeric),
        Theirs::TEXT | Theirs::VARCHAR | Theirs::NAME => plain(Type::Text, Form::Text),
        Theirs::UUID => plain(Type::Text, Form::Uuid),
        Theirs::DATE => plain(Type::Date, Form::Date),
        Theirs::TIMESTAMP => plain(Type::Timestamp, Form::Timestamp),
        Theirs::TIMESTAMPTZ => plain(Type::Timestamp, Form::Timestamptz),
        Theirs::JSON => plain(Type::Json, Form::Json),
        Theirs::JSONB => plain(Type::Json, Form::Jsonb),
        Theirs::BPCHAR
        | Theirs::CHAR
        | Theirs::TIME
        | Theirs::TIMETZ
        | Theirs::INTERVAL
        | Theirs::BYTEA => Some((Type::Text, Form::Text, TEXT)),
        _ if theirs.name() == "citext" => plain(Type::Text, Form::Text),
        _ => None,
    }
}

/// Of elements that JSON has no numbers, words or documents for the server makes texts.
fn of_array(element: &Theirs) -> Option<Read> {
    let (_, form, cast) = of_type(element, NO_MODIFIER)?;
    let is_text = !cast.is_empty()
        || matches!(
            form,
            Form::Uuid | Form::Date | Form::Timestamp | Form::Timestamptz
        );
    Some(if is_text {
        (Type::Json, Form::Array(Box::new(Form::Text)), TEXTS)
    } else {
        (Type::Json, Form::Array(Box::new(form)), "")
    })
}

/// As what a type is read when the author declares one of ours.
fn as_declared(ty: Type, theirs: &Theirs, natural: Option<Read>) -> Option<Read> {
    match (ty, natural) {
        (ty, Some(natural)) if natural.0 == ty => Some(natural),
        (Type::Float, Some(_)) if *theirs == Theirs::NUMERIC => {
            Some((Type::Float, Form::NumericFloat, ""))
        }
        (Type::Text, _) => Some((Type::Text, Form::Text, TEXT)),
        _ => None,
    }
}

fn undeclarable(name: &str, ty: Type, theirs: &Theirs, natural: Option<&Read>) -> Problem {
    let message = format!(
        "column `{name}` is of type {} in the database, which is not read as {ty}",
        theirs.name()
    );
    let or = match natural {
        Some((natural, ..)) => format!(", or leave it out: it is read as {natural}"),
        None => String::new(),
    };
    Problem::at(["types", name], message).help(format!("write \"text\"{or}"))
}

/// What is told of columns that are of no type of ours.
fn no_types(columns: &[(&String, &Theirs)], field: &str) -> Problem {
    let told: Vec<String> = columns
        .iter()
        .map(|(name, theirs)| format!("`{name}` is of type {}", theirs.name()))
        .collect();
    let as_text: Vec<String> = columns
        .iter()
        .map(|(name, _)| format!("{} = \"text\"", key(name)))
        .collect();
    Problem::at([field], format!("column {}", told.join(", ")))
        .label("no type of ours holds all its values")
        .help(format!(
            "read it as text: `types = {{ {} }}`",
            as_text.join(", ")
        ))
}

/// A name as a key of TOML.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// What the server casts to.
const TEXT: &str = "::text";
const TEXTS: &str = "::text[]";

/// How many digits a numeric has at most, where that is declared.
fn digits(modifier: i32) -> Option<i32> {
    (modifier >= MODIFIER_OFFSET).then(|| ((modifier - MODIFIER_OFFSET) >> 16) & 0xffff)
}

/// A name as SQL takes it, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Every number of so many decimal digits is another float, from which they can be told.
const FLOAT_DIGITS: i32 = 15;

/// What PostgreSQL adds to a modifier so that none is 0.
const MODIFIER_OFFSET: i32 = 4;
const NO_MODIFIER: i32 = -1;

/// Small is what has a hundredth of what is read as a piece of another table: looking through it then costs little beside that.
const FIND: &str = "
    select n.nspname::text, c.relname::text, c.relkind in ('r', 'p', 'm'),
        c.relkind in ('r', 'm') and coalesce(pg_relation_size(c.oid) <= 1 << 18, false),
        has_any_column_privilege(c.oid, 'select')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relname = $2::text and c.relkind in ('r', 'p', 'm', 'v', 'f')
      and case when $1::text is null then pg_table_is_visible(c.oid) else n.nspname = $1::text end";

const ALL: &str = "
    select n.nspname::text, c.relname::text, pg_table_is_visible(c.oid)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'm', 'v', 'f')
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
    order by 1, 2";
