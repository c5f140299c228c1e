//! A conflict-join from draws: of one stage, or with the second side of the partition.

use std::fmt::Write;

use operators::schema::Type;

use super::Draws;
use super::expression::of_type;
use super::pipeline::{File, Stage, Where};
use crate::meaning::Columns;

pub(super) fn conflict_join(
    file: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    if stage.paired {
        return None;
    }
    stage.paired = true;
    let mut on = vec![stage.key.clone()?];
    let (another, _) = draws.pick(&stage.columns)?;
    if draws.rarely(3) && !on.contains(another) {
        on.push(another.clone());
    }
    let mut body = format!("type = \"conflict-join\"\non = {on:?}\n");
    if draws.rarely(2) {
        let (unequal, _) = draws.pick(&stage.columns)?;
        writeln!(body, "unequal = [\"{unequal}\"]").expect("a string takes all");
    }
    if draws.rarely(2) {
        body.push_str("order = \"unordered\"\n");
    }
    let ints = of_type(&stage.columns, Type::Int);
    let bounds = draws
        .pick(&["", "[)", "[]", "()"])
        .copied()
        .unwrap_or_default();
    match (draws.pick(&ints), draws.pick(&ints)) {
        (Some(start), Some(end)) if !bounds.is_empty() => {
            let overlap = format!("start = \"{start}\", end = \"{end}\", bounds = \"{bounds}\"");
            writeln!(body, "overlap = {{ {overlap} }}").expect("a string takes all");
        }
        _ => body.push_str("pairs = \"all\"\n"),
    }
    let prefix = format!("r{}_", file.fresh());
    writeln!(body, "right_prefix = \"{prefix}\"").expect("a string takes all");
    let right = stage
        .columns
        .iter()
        .map(|(name, ty)| (format!("{prefix}{name}"), *ty));
    let right: Columns = right.collect();
    stage.columns.extend(right);
    Some(body)
}

/// The rows with those of the second side, whose columns have other names.
pub(super) fn sides_join(
    file: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    let right = file.side.clone()?;
    let (key, of_right) = (stage.key.clone()?, right.key?);
    let kind = |columns: &Columns, name: &String| {
        let mut columns = columns.iter();
        columns.find_map(|(of, ty)| (of == name).then_some(*ty))
    };
    if stage.paired || kind(&stage.columns, &key) != kind(&right.columns, &of_right) {
        return None;
    }
    stage.paired = true;
    let mut body = format!(
        "type = \"conflict-join\"\nright = \"{}\"\non = {{ {key} = \"{of_right}\" }}\n",
        right.name
    );
    let ints = of_type(&stage.columns, Type::Int);
    let (start, end) = (draws.pick(&ints), draws.pick(&ints));
    if draws.rarely(2)
        && let Some(start) = start
    {
        writeln!(body, "unequal = {{ {start} = \"v\" }}").expect("a string takes all");
    }
    let bounds = ["", "[)", "[]", "()"];
    let bounds = draws.pick(&bounds).expect("there are four");
    match (start, end) {
        (Some(start), Some(end)) if !bounds.is_empty() => {
            let right = "right_start = \"v\", right_end = \"v\"";
            let left = format!("start = \"{start}\", end = \"{end}\"");
            writeln!(
                body,
                "overlap = {{ {left}, {right}, bounds = \"{bounds}\" }}"
            )
            .expect("a string takes all");
        }
        _ => body.push_str("pairs = \"all\"\n"),
    }
    let prefix = format!("r{}_", file.fresh());
    writeln!(body, "right_prefix = \"{prefix}\"").expect("a string takes all");
    let columns = right.columns.iter();
    let columns = columns.map(|(name, ty)| (format!("{prefix}{name}"), *ty));
    stage.columns.extend(columns);
    Some(body)
}
