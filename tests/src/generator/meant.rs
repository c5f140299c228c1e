//! Queries and checks over the columns that there are, with what they mean.

use operators::schema::Type;

use super::Draws;
use super::expression::of_type;
use super::pipeline::{File, Stage, Where};
use crate::meaning::{Check, Columns, Least, Meaning, Query, Rule, Shape};

/// A query over some of the columns; by the key, or in a dimension by any column.
pub(super) fn sql(
    file: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    let plain = |ty: Type| matches!(ty, Type::Int | Type::Text | Type::Date);
    let mut others: Columns = stage.columns.clone();
    others.retain(|(_, ty)| plain(*ty));
    let by = match place {
        Where::Behind => stage.key.clone()?,
        _ => draws.pick(&others)?.0.clone(),
    };
    let number = draws.pick(&of_type(&stage.columns, Type::Int)).cloned()?;
    let (least, _) = draws.pick(&others)?.clone();
    let shape = if stage.paired {
        draws.next() % 3
    } else {
        draws.next() % 4
    };
    let is_grouped = shape == 1;
    // But for what it is grouped by, what is read is all that there is, or little.
    let reads_all = !is_grouped && draws.rarely(2);
    let mut columns = stage.columns.clone();
    columns.retain(|(name, ty)| {
        let is_named = [&by, &number].contains(&name) || is_grouped && *name == least;
        is_named || reads_all && plain(*ty) || !is_grouped && name.ends_with("id")
    });
    let at = |name: &String| columns.iter().position(|(other, _)| other == name);
    let of = at(&number)?;
    let query = Query {
        by: at(&by)?,
        shape: match shape {
            0 => Shape::Filtered(of),
            1 => Shape::Grouped(of, Least(at(&least)?)),
            2 => Shape::Numbered,
            _ => Shape::Paired(of),
        },
        names: [file.fresh(), file.fresh(), format!("{}_id", file.fresh())],
        columns,
    };
    stage.paired |= matches!(query.shape, Shape::Paired(_));
    stage.columns = query.yields();
    let body = format!("type = \"sql\"\nquery = '{}'\n", query.sql());
    let meaning = Meaning::Query(query);
    file.meanings.insert(stage.name.clone(), meaning);
    Some(body)
}

/// A check, which blocks some keys; a dimension that it blocked would stop the run.
pub(super) fn checks(
    file: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    let rule = [
        Rule::AtMost(2),
        Rule::NotNull,
        Rule::OneOf(&["1", "x", "a1", "b1"]),
        Rule::Unique,
    ];
    let rule = *draws.pick(&rule)?;
    // Of these columns some rows are as they should be and some are not.
    let (mut ints, mut texts) = (
        of_type(&stage.columns, Type::Int),
        of_type(&stage.columns, Type::Text),
    );
    ints.retain(|name| !name.ends_with("id"));
    texts.retain(|name| stage.key.as_ref() != Some(name));
    let any = stage.columns.iter().map(|(name, _)| name.clone()).collect();
    let of = match rule {
        Rule::AtMost(_) => ints,
        Rule::OneOf(_) => texts,
        Rule::NotNull | Rule::Unique => any,
    };
    let mut of = vec![draws.pick(&of)?.clone()];
    if matches!(rule, Rule::Unique) && place == Where::Behind {
        let key = stage.key.clone()?;
        of.extend((!of.contains(&key)).then_some(key));
    }
    let mut columns = stage.columns.clone();
    columns.retain(|(name, _)| of.contains(name));
    let check = Check {
        columns,
        rule,
        blocks: place == Where::Behind && !draws.rarely(4),
    };
    let body = format!("type = \"checks\"\nchecks = [{}]\n", check.toml());
    let meaning = Meaning::Check(check);
    file.meanings.insert(stage.name.clone(), meaning);
    Some(body)
}
