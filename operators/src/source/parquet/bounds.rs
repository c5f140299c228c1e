//! Between which values a column lies in each row group, as the statistics say.
//!
//! Invariant: bounds hold. Where statistics say less than that, nothing is said: of what floats end
//! at, whose statistics leave out NaN; of instants, whose wall clock goes back once a year; and of
//! what old writers ordered by bytes with a sign.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::statistics::Statistics;

use super::cells;
use super::footer::Footer;
use crate::schema::Type;
use crate::source::Bounds;
use crate::value::Value;

/// The bounds of the column at `position`, which is of type `ty`, for each row group.
pub(super) fn of(footer: &Footer, position: usize, ty: Type) -> Vec<Option<Bounds>> {
    let groups = footer.metadata.row_groups();
    all(footer, position, ty).unwrap_or_else(|| vec![None; groups.len()])
}

fn all(footer: &Footer, position: usize, ty: Type) -> Option<Vec<Option<Bounds>>> {
    let field = footer.schema.field(position);
    let is_instant = matches!(field.data_type(), DataType::Timestamp(_, Some(_)));
    if ty == Type::Json || is_instant {
        return None;
    }
    let schema = &footer.schema;
    let converter = StatisticsConverter::try_new(field.name(), schema, footer.leaves()).ok()?;
    let leaf = converter.parquet_column_index()?;
    let groups = footer.metadata.row_groups();
    let brought = |column: ArrayRef| {
        let (values, _) = cells::brought(&column, ty, Tz::UTC).ok()?;
        Some(values)
    };
    let least = brought(converter.row_group_mins(groups).ok()?)?;
    let greatest = brought(converter.row_group_maxes(groups).ok()?)?;
    let bounds = |(at, group): (usize, &parquet::file::metadata::RowGroupMetaData)| {
        let statistics = group.column(leaf).statistics()?;
        if statistics.is_min_max_deprecated() || least.is_null(at) || greatest.is_null(at) {
            return None;
        }
        let (least, mut greatest) = (Value::at(&least, at), Value::at(&greatest, at));
        if let Value::Float(least) = least {
            if least.is_nan() {
                return None;
            }
            // NaN is the greatest float, and statistics leave it out.
            greatest = Value::Float(f64::NAN);
        }
        Some(Bounds {
            least,
            greatest,
            prefix: None,
            nulls: Statistics::null_count_opt(statistics) != Some(0),
        })
    };
    Some(groups.iter().enumerate().map(bounds).collect())
}
