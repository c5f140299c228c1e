//! Parameters and the pinned now.
//!
//! Until its values are put in, a plan takes them for columns, of tables that no author can name:
//! so types are checked as those of columns are.

use arrow::datatypes::{Date32Type, Field};
use datafusion::common::{Column, ScalarValue, TableReference};

use super::Settings;
use crate::value::Value;

/// The values of parameters and of the pinned now.
pub(super) struct Constants(Vec<Constant>);

struct Constant {
    table: &'static str,
    name: String,
    value: ScalarValue,
}

impl Constants {
    pub(super) fn new(settings: &Settings) -> Self {
        let (instant, day) = instant_and_day(settings);
        let constant = |table, name: &str, value: &Value| Constant {
            table,
            name: name.to_owned(),
            value: literal(value),
        };
        let pinned = [
            constant(PINNED, INSTANT, &instant),
            constant(PINNED, DAY, &day),
        ];
        let params = settings.params.iter();
        let params = params.map(|(name, value)| constant(PARAMS, name, value));
        Constants(pinned.into_iter().chain(params).collect())
    }

    /// As fields of a plan.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Option<TableReference>, Field)> {
        self.0.iter().map(|constant| {
            let table = TableReference::bare(constant.table);
            let field = Field::new(&constant.name, constant.value.data_type(), true);
            (Some(table), field)
        })
    }

    /// The value of a column of a plan, if it is a constant.
    pub(super) fn value(&self, column: &Column) -> Option<&ScalarValue> {
        let table = column.relation.as_ref()?.table();
        self.0
            .iter()
            .find(|constant| constant.table == table && constant.name == column.name)
            .map(|constant| &constant.value)
    }
}

/// The pinned now, as the wall clock in the pipeline's time zone, and its day.
pub(super) fn instant_and_day(settings: &Settings) -> (Value, Value) {
    let now = settings.now.with_timezone(&settings.timezone).naive_local();
    let instant = Value::Timestamp(now.and_utc().timestamp_micros());
    (
        instant,
        Value::Date(Date32Type::from_naive_date(now.date())),
    )
}

fn literal(value: &Value) -> ScalarValue {
    match value.clone() {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(Some(value)),
        Value::Int(value) => ScalarValue::Int64(Some(value)),
        Value::Float(value) => ScalarValue::Float64(Some(value)),
        Value::Text(value) => ScalarValue::Utf8(Some(value)),
        Value::Date(days) => ScalarValue::Date32(Some(days)),
        Value::Timestamp(micros) => ScalarValue::TimestampMicrosecond(Some(micros), None),
    }
}

/// The tables of constants. No name that an author writes is looked up in them.
pub(super) const PARAMS: &str = "$";
pub(super) const PINNED: &str = "now()";
/// The columns of [`PINNED`]: the wall clock in the pipeline's time zone.
pub(super) const INSTANT: &str = "instant";
pub(super) const DAY: &str = "day";
