//! How a column of a table holds cells of one of our types: the server casts them in, and back.
//!
//! | type      | a table made here | also held by                                             |
//! |-----------|-------------------|----------------------------------------------------------|
//! | text      | text              | varchar, char, and what is no type of ours: uuid, bytea  |
//! |           |                   | in hex, time, interval, numeric, enums, inet, citext, .. |
//! | int       | bigint            | integer, smallint, numeric, double precision             |
//! | float     | double precision  | real, numeric                                            |
//! | bool      | boolean           |                                                          |
//! | date      | date              |                                                          |
//! | timestamp | timestamp         | timestamptz, in the pipeline's time zone                 |
//! | json      | jsonb             | json, text                                               |
//!
//! and by domains over them. A column that does not hold every cell of our type is asked of each: a
//! cell that does not come back as it went in is refused, never rounded or cut. Of json the meaning
//! is held, not the text.

use crate::schema::Type;

/// How a column of the server holds cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    ty: Type,
    /// As the server writes the column's type: `numeric(12,2)`.
    declared: String,
    holds: Holds,
    /// A cast from float to numeric keeps 15 digits only; its text keeps all.
    by_text: bool,
    /// Cells that are equal to the server may differ in their texts (1.5 and 1.50), or it does not
    /// compare them at all (json): so their texts are compared.
    texts_differ: bool,
}

/// Which cells of our type a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// All of them, in their own type.
    All,
    /// Those that come back as they went in.
    Some,
    /// Json: what it means.
    Meaning,
}

/// A type as the catalog of the server has it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// As the server writes it, where it must be cast to.
    pub(super) written: String,
    /// Its name; of a domain that of its base.
    pub(super) base: String,
    /// Whether it is narrowed, by a length, a precision or a domain.
    pub(super) narrowed: bool,
    /// Whether it is an enum.
    pub(super) is_enum: bool,
}

impl Kind {
    /// The column of a table that is made here.
    pub(super) fn made(ty: Type) -> Kind {
        Kind {
            ty,
            declared: made(ty).to_owned(),
            holds: if ty == Type::Json {
                Holds::Meaning
            } else {
                Holds::All
            },
            by_text: false,
            texts_differ: false,
        }
    }

    /// How a column that is declared so holds cells of a type; `None` when it does not.
    pub(super) fn of(ty: Type, declared: &Declared) -> Option<Kind> {
        let whole = |holds| {
            if declared.narrowed {
                Holds::Some
            } else {
                holds
            }
        };
        let holds = match (ty, declared.base.as_str()) {
            (Type::Text | Type::Json, "text" | "varchar")
            | (Type::Int, "int8")
            | (Type::Float, "float8")
            | (Type::Bool, "bool")
            | (Type::Date, "date")
            | (Type::Timestamp, "timestamp") => whole(Holds::All),
            (Type::Int, "int4" | "int2" | "numeric" | "float8")
            | (Type::Float, "float4" | "numeric")
            | (Type::Timestamp, "timestamptz") => Holds::Some,
            (Type::Text, base) if !OURS.contains(&base) => Holds::Some,
            (Type::Json, "jsonb" | "json") => Holds::Meaning,
            _ => return None,
        };
        Some(Kind {
            ty,
            declared: declared.written.clone(),
            holds,
            by_text: ty == Type::Float && declared.base == "numeric",
            texts_differ: declared.base == "json"
                || ty == Type::Text && holds == Holds::Some && !declared.has_one_text(),
        })
    }

    /// A cell of ours, in the type of the column.
    pub(super) fn cast_in(&self, cell: &str) -> String {
        match self.holds {
            Holds::All => cell.to_owned(),
            _ if self.by_text => format!("{cell}::text::{}", self.declared),
            _ => format!("{cell}::{}", self.declared),
        }
    }

    /// A cell of the column, in our type.
    pub(super) fn cast_out(&self, cell: &str) -> String {
        match self.holds {
            Holds::All => cell.to_owned(),
            Holds::Some | Holds::Meaning => format!("{cell}::{}", staged(self.ty)),
        }
    }

    /// Holds when two cells of the column differ.
    pub(super) fn differs(&self, one: &str, other: &str) -> String {
        if self.texts_differ {
            return format!("({one})::text IS DISTINCT FROM ({other})::text");
        }
        format!("{one} IS DISTINCT FROM {other}")
    }

    /// Holds when a cell of ours would not come back as it is, and fails when it is no value of the
    /// column; `None` where every one is.
    pub(super) fn loses(&self, cell: &str) -> Option<String> {
        let back = || self.cast_out(&format!("({})", self.cast_in(cell)));
        match self.holds {
            Holds::All => None,
            Holds::Some => Some(format!("{} IS DISTINCT FROM {cell}", back())),
            Holds::Meaning => Some(format!("({} IS NULL) <> ({cell} IS NULL)", back())),
        }
    }

    /// Whether it has each cell's own bytes, so that rows can be copied straight into the table.
    pub(super) fn takes_bytes(&self) -> bool {
        self.holds == Holds::All || self.declared == "jsonb"
    }

    /// Whether its bytes are those of `jsonb`.
    pub(super) fn is_jsonb(&self) -> bool {
        self.declared == "jsonb"
    }

    /// Whether what comes back of a cell may be another text of the same meaning.
    pub(super) fn keeps_meaning(&self) -> bool {
        self.holds == Holds::Meaning
    }

    /// Whether cells that are equal to the server are the same to us, as those of a key must be.
    pub(super) fn identifies(&self) -> bool {
        !self.texts_differ
    }

    /// As the server writes the type.
    pub(super) fn declared(&self) -> &str {
        &self.declared
    }
}

impl Declared {
    /// Whether values that are equal have one text.
    fn has_one_text(&self) -> bool {
        let one = [
            "text", "varchar", "bpchar", "uuid", "time", "timetz", "bytea", "inet", "cidr",
            "macaddr",
        ];
        // With its digits declared a numeric is written with all of them.
        let has_digits = self.written.starts_with("numeric(");
        self.is_enum || has_digits || one.contains(&self.base.as_str())
    }
}

/// Types of the server that hold another one of ours: a text for them was not meant as one.
const OURS: [&str; 12] = [
    "bool",
    "int2",
    "int4",
    "int8",
    "oid",
    "float4",
    "float8",
    "date",
    "timestamp",
    "timestamptz",
    "json",
    "jsonb",
];

/// The type of a column that is made here.
pub(super) fn made(ty: Type) -> &'static str {
    match ty {
        Type::Json => "jsonb",
        other => staged(other),
    }
}

/// The type in which cells come to the server, and go from it.
pub(super) fn staged(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "boolean",
        Type::Int => "bigint",
        Type::Float => "double precision",
        Type::Text | Type::Json => "text",
        Type::Date => "date",
        Type::Timestamp => "timestamp",
    }
}
