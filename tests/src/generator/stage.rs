//! The body of a stage from draws, and what it makes of the columns.

use std::fmt::Write;

use operators::schema::Type;

use super::Draws;
use super::expression::{condition, of_type, value};
use super::pipeline::{File, Stage, Where, holds_keys};

pub(super) fn on_error(draws: &mut Draws) -> &'static str {
    draws
        .pick(&["on_error = \"null\"\n", "on_error = \"drop\"\n"])
        .expect("there are two")
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "stages of other kinds may have no columns to stand on"
)]
pub(super) fn filter(
    _: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    let on_error = on_error(draws);
    let when = condition(&stage.columns, draws);
    Some(format!("type = \"filter\"\nwhen = \"{when}\"\n{on_error}"))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "stages of other kinds may have no columns to stand on"
)]
pub(super) fn derive(
    file: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    let on_error = on_error(draws);
    let mut set = Vec::new();
    for _ in 0..=draws.next() % 2 {
        let (sql, ty) = value(&stage.columns, draws);
        let old = draws.rarely(3).then(|| draws.next() % stage.columns.len());
        let name = if let Some(at) = old {
            let name = stage.columns[at].0.clone();
            if set.iter().any(|(taken, _)| *taken == name) {
                continue;
            }
            stage.key.take_if(|key| *key == name);
            stage.columns[at].1 = ty;
            name
        } else {
            let name = file.fresh();
            stage.columns.push((name.clone(), ty));
            name
        };
        set.push((name, sql));
    }
    let set: Vec<String> = set
        .iter()
        .map(|(name, sql)| format!("{name} = \"{sql}\""))
        .collect();
    Some(format!(
        "type = \"derive\"\nset = {{ {} }}\n{on_error}",
        set.join(", ")
    ))
}

pub(super) fn select(
    file: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    if stage.columns.len() < 3 {
        return None;
    }
    let mut body = "type = \"select\"\n".to_owned();
    if draws.rarely(2) {
        let at = draws.next() % stage.columns.len();
        let new = file.fresh();
        let old = std::mem::replace(&mut stage.columns[at].0, new.clone());
        if stage.key.as_ref() == Some(&old) {
            stage.key = Some(new.clone());
        }
        writeln!(body, "rename = {{ {new} = \"{old}\" }}").expect("a string takes all");
    }
    let at = draws.next() % stage.columns.len();
    let is_key = stage.key.as_ref() == Some(&stage.columns[at].0);
    let one_left = stage
        .columns
        .iter()
        .filter(|(_, ty)| holds_keys(*ty))
        .count()
        < 2;
    if is_key && !draws.rarely(3) || one_left && place == Where::Before {
        return Some(body);
    }
    let (dropped, _) = stage.columns.remove(at);
    stage.key.take_if(|key| *key == dropped);
    writeln!(body, "drop = [\"{dropped}\"]").expect("a string takes all");
    Some(body)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "stages of other kinds may have no columns to stand on"
)]
pub(super) fn rules(
    file: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    let on_error = on_error(draws);
    let columns = stage.columns.clone();
    let mut rules = Vec::new();
    for _ in 0..=draws.next() % 2 {
        let name = file.fresh();
        let when = condition(&columns, draws);
        rules.push(format!("{{ column = \"{name}\", when = \"{when}\" }}"));
        stage.columns.push((name, Type::Text));
    }
    Some(format!(
        "type = \"rules\"\nrules = [{}]\n{on_error}",
        rules.join(", ")
    ))
}

/// A row for each element of a list; its position names it, too.
pub(super) fn unnest(
    file: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    let on_error = on_error(draws);
    let column = draws.pick(&of_type(&stage.columns, Type::Json)).cloned()?;
    let types = [Type::Int, Type::Text, Type::Int, Type::Bool];
    let ty = *draws.pick(&types).expect("there are four");
    let keep_empty = draws.rarely(3);
    let mut body = format!(
        "type = \"unnest\"\ncolumn = \"{column}\"\nvalue = \"{ty}\"\n\
         keep_empty = {keep_empty}\n{on_error}"
    );
    let unnested = stage.columns.iter_mut().find(|(name, _)| *name == column);
    unnested.expect("it is one of them").1 = ty;
    if !draws.rarely(4) {
        let name = format!("{}_id", file.fresh());
        writeln!(body, "position = \"{name}\"").expect("a string takes all");
        stage.columns.push((name, Type::Int));
    }
    Some(body)
}

/// The rows together with what a stage makes of them that changes an int.
pub(super) fn united(
    file: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    let mut ints = of_type(&stage.columns, Type::Int);
    ints.retain(|name| stage.key.as_ref() != Some(name));
    ints.sort_by_key(|name| !name.ends_with("id"));
    let column = if draws.rarely(3) {
        draws.pick(&ints)
    } else {
        ints.first()
    };
    let column = column?.clone();
    let input = Stage {
        name: stage.input.clone(),
        ..stage.clone()
    };
    let added = |_: &mut File, _: &mut Stage, _: Where, draws: &mut Draws| {
        let on_error = on_error(draws);
        Some(format!(
            "type = \"derive\"\nset = {{ {column} = \"{column} + 10\" }}\n{on_error}"
        ))
    };
    let other = file.of_kind(&added, &input, place, draws)?;
    let mut inputs = [input.name, other.name];
    inputs.rotate_left(draws.next() % 2);
    Some(format!("type = \"union\"\ninputs = {inputs:?}\n"))
}

pub(super) fn latest(
    _: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    let mut by = Vec::new();
    if place == Where::Behind {
        by.push(stage.key.clone()?);
    }
    let (another, _) = draws.pick(&stage.columns)?;
    if by.is_empty() || draws.rarely(2) && !by.contains(another) {
        by.push(another.clone());
    }
    let (order, _) = draws.pick(&stage.columns)?;
    let desc = if draws.rarely(2) { " desc" } else { "" };
    Some(format!(
        "type = \"latest\"\nby = {by:?}\norder_by = [\"{order}{desc}\"]\n"
    ))
}

pub(super) fn distinct(
    _: &mut File,
    stage: &mut Stage,
    place: Where,
    _: &mut Draws,
) -> Option<String> {
    (place != Where::Behind || stage.key.is_some()).then(|| "type = \"distinct\"\n".to_owned())
}

/// Edges between two columns of one type.
pub(super) fn components(
    file: &mut File,
    stage: &mut Stage,
    _: Where,
    draws: &mut Draws,
) -> Option<String> {
    let mut within = vec![stage.key.clone()?];
    let (another, _) = draws.pick(&stage.columns)?;
    if draws.rarely(3) && !within.contains(another) {
        within.push(another.clone());
    }
    let types = [Type::Int, Type::Text, Type::Int, Type::Date];
    let ty = *draws.pick(&types).expect("there are four");
    let nodes = of_type(&stage.columns, ty);
    let ends = [draws.pick(&nodes)?, draws.pick(&nodes)?];
    let column = file.fresh();
    let body = format!(
        "type = \"components\"\nwithin = {within:?}\nends = {ends:?}\ncolumn = \"{column}\"\n"
    );
    stage.columns.push((column, ty));
    Some(body)
}

pub(super) fn lookup(
    file: &mut File,
    stage: &mut Stage,
    place: Where,
    draws: &mut Draws,
) -> Option<String> {
    // The second source is the one that is made to be looked up in, and the last stage comes of it.
    // Without a cycle: the way of a dimension looks up in sources only.
    let last = file.dimensions.len() - 1;
    let among: &[usize] = match place {
        Where::Dimension => &[1, 0, 2, 3],
        _ => &[1, last, last, 0, 2, 3],
    };
    let right = file.dimensions[*draws.pick(among)?].clone();
    let pairs: Vec<(&String, &String)> = stage
        .columns
        .iter()
        .flat_map(|(left, ty)| {
            let same = right.columns.iter().filter(move |(_, other)| other == ty);
            same.map(move |(right, _)| (left, right))
        })
        .collect();
    let by_key = pairs.iter().filter(|(left, right)| left == right).copied();
    let pairs: Vec<(&String, &String)> = by_key.chain(pairs.iter().copied()).collect();
    let mut body = format!(
        "type = \"lookup\"\nright = \"{}\"\n{}",
        right.name,
        on_error(draws)
    );
    let ints = (
        of_type(&stage.columns, Type::Int),
        of_type(&right.columns, Type::Int),
    );
    let (value, low, high) = (
        draws.pick(&ints.0),
        draws.pick(&ints.1),
        draws.pick(&ints.1),
    );
    let ranged = draws.rarely(3) && value.is_some() && low.is_some();
    if ranged && let (Some(value), Some(low), Some(high)) = (value, low, high) {
        let range = format!("value = \"{value}\", low = \"{low}\", high = \"{high}\"");
        writeln!(body, "between = {{ {range} }}").expect("a string takes all");
    }
    let pair = draws.pick(&pairs);
    if !ranged || draws.rarely(2) {
        let (left, right) = pair?;
        writeln!(body, "on = {{ {left} = \"{right}\" }}").expect("a string takes all");
    }
    let matches = draws.pick(&["first", "all", "error"])?;
    let (order, _) = draws.pick(&right.columns)?;
    let join = draws.pick(&["left", "inner", "anti", "semi"])?;
    let words = format!("matches = \"{matches}\"\norder_by = [\"{order}\"]\njoin = \"{join}\"\n");
    body.push_str(&words);
    if matches!(*join, "left" | "inner") {
        let (name, (brought, ty)) = (file.fresh(), draws.pick(&right.columns)?);
        writeln!(body, "columns = {{ {name} = \"{brought}\" }}").expect("a string takes all");
        stage.columns.push((name, *ty));
    }
    Some(body)
}
