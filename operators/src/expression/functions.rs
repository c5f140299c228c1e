//! The functions that expressions have besides `DataFusion`'s.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// All of them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(HaversineMiles::new()))]
}

/// `haversine_miles(lat1, lon1, lat2, lon2)`: the great-circle distance of two places given in
/// degrees, in miles; null when any argument is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct HaversineMiles {
    signature: Signature,
    documentation: Documentation,
}

impl HaversineMiles {
    fn new() -> Self {
        HaversineMiles {
            signature: Signature::exact(vec![DataType::Float64; 4], Volatility::Immutable),
            documentation: Documentation::builder(
                datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_MATH,
                "The great-circle distance of two places given in degrees, in miles.",
                "haversine_miles(lat1, lon1, lat2, lon2)",
            )
            .build(),
        }
    }
}

impl ScalarUDFImpl for HaversineMiles {
    fn name(&self) -> &'static str {
        "haversine_miles"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|columns| Ok(distances(columns)), vec![])(&args.args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn distances(columns: &[ArrayRef]) -> ArrayRef {
    let [lat1, lon1, lat2, lon2] = [0, 1, 2, 3].map(|at| columns[at].as_primitive::<Float64Type>());
    let nulls = columns.iter().fold(None, |nulls, column| {
        NullBuffer::union(nulls.as_ref(), column.nulls())
    });
    // The slots of nulls hold some number too: to compute them is faster than to step over them.
    let miles = (0..lat1.len()).map(|row| {
        miles(
            lat1.value(row),
            lon1.value(row),
            lat2.value(row),
            lon2.value(row),
        )
    });
    Arc::new(Float64Array::new(miles.collect(), nulls))
}

/// The haversine formula, which keeps its precision for places that are near each other:
/// R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (2), 1984, p. 159.
/// Both directions give the same bits.
fn miles(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let half_chord = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let cosines = lat1.to_radians().cos() * lat2.to_radians().cos();
    let haversine = half_chord(lat1, lat2) + cosines * half_chord(lon1, lon2);
    // Rounding may lift it above 1 for places opposite each other.
    2.0 * EARTH_RADIUS_MILES * haversine.min(1.0).sqrt().asin()
}

/// The mean radius of the earth (IUGG: 6371.0 km) in miles.
const EARTH_RADIUS_MILES: f64 = 3958.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_agree_with_known_ones() {
        // Expected values: an arc of one degree is R * pi / 180; the cities as given by great
        // circle calculators, to a mile.
        let cases = [
            ("one degree north", (0.0, 0.0, 1.0, 0.0), 69.094, 0.001),
            (
                "one degree east at 60 north",
                (60.0, 0.0, 60.0, 1.0),
                34.546,
                0.001,
            ),
            (
                "New York - Los Angeles",
                (40.7128, -74.0060, 34.0522, -118.2437),
                2445.6,
                1.0,
            ),
            (
                "London - Paris",
                (51.5074, -0.1278, 48.8566, 2.3522),
                213.5,
                1.0,
            ),
            (
                "across the date line",
                (0.0, 179.5, 0.0, -179.5),
                69.094,
                0.001,
            ),
            ("opposite", (0.0, 0.0, 0.0, 180.0), 12436.9, 0.1),
            ("the same place", (40.1, -74.3, 40.1, -74.3), 0.0, 0.0),
        ];
        for (name, (lat1, lon1, lat2, lon2), expected, tolerance) in cases {
            let there = miles(lat1, lon1, lat2, lon2);
            assert!((there - expected).abs() <= tolerance, "{name}: {there}");
            let back = miles(lat2, lon2, lat1, lon1);
            assert_eq!(there.to_bits(), back.to_bits(), "{name}: both directions");
        }
    }
}
