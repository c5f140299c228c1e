//! Which of the rows that reach a sink it holds.

use operators::key::Key;
use operators::order::By;
use operators::value::Value;
use pipelines::plan::SinkPlan;

use super::row::{Cells, Fault, Row};
use super::{Collection, Faults, Keys, Made};

/// The rows of a sink with their owners, and what is wrong with others that it does not hold: none with
/// a null in its id; of two rows of one id in a group none, unless one is the newest; of two keys that
/// yield one id, the least has the row. Keys that are blocked have the rows that are held of them, against all others.
pub(super) fn rows<'scope>(
    sink: &SinkPlan,
    rows: Made<'scope>,
    blocked: Keys<'scope>,
    held: Collection<'scope, (Key, Vec<Value>)>,
) -> (Collection<'scope, (Key, Vec<Value>)>, Faults<'scope>) {
    let blocked = blocked.distinct();
    let Some(fenced) = sink.sink.fenced() else {
        let no_errors = rows.clone().flat_map(|_| None::<Fault>);
        let rows = rows.map(|row| (row.group, row.cells));
        let rows = rows.antijoin(blocked).map(|(key, Cells(row))| (key, row));
        return (rows, no_errors);
    };
    let key = fenced.key().to_vec();
    let newest_by = order_of(fenced.newest_by());
    let id = key.clone();
    let null = move |row: &Row| {
        id.iter()
            .copied()
            .find(|at| row.cells.0[*at] == Value::Null)
    };
    let (name, names) = (sink.name.clone(), sink.schema.clone());
    let is_null = null.clone();
    let nameless = rows.clone().flat_map(move |row| {
        let column = &names.columns()[is_null(&row)?].0;
        let message = format!("`{column}` is null, and the sink finds a row by its key");
        Some(fault(&row.group, &name, message))
    });
    let id = key.clone();
    let in_groups = rows
        .filter(move |row| null(row).is_none())
        .map(move |row| ((row.group.clone(), row.cells.at(&id)), row))
        .reduce(move |_, rows, output| {
            let rows: Vec<&Row> = rows.iter().map(|(row, _)| *row).collect();
            output.push((newest(&rows, &newest_by).cloned().ok_or(rows.len()), 1));
        });
    let name = sink.name.clone();
    let ambiguous = in_groups.clone().flat_map(move |((key, _), row)| {
        row.err().map(|count| {
            fault(
                &key,
                &name,
                format!("{count} rows of one key have the same id"),
            )
        })
    });
    let yielded = in_groups.flat_map(|((key, id), row)| Some((key, (id, row.ok()?.cells))));
    let yielded = yielded.antijoin(blocked.clone());
    let held = held.map(move |(owner, row)| {
        let cells = Cells(row);
        (owner, (cells.at(&key), cells))
    });
    let kept = held.semijoin(blocked);
    let claim =
        |is_new| move |(key, (id, cells)): (Key, (Cells, Cells))| (id, (is_new, key, cells));
    // Of several claims what is kept is the first, and then what the least key yields.
    let claims = kept.map(claim(false)).concat(yielded.map(claim(true)));
    let claims = claims.reduce(|_, claims, output| {
        let (is_new, winner, _) = claims[0].0;
        for ((_, key, cells), _) in claims {
            output.push(((key.clone(), winner.clone(), *is_new, cells.clone()), 1));
        }
    });
    let name = sink.name.clone();
    let lost = claims
        .clone()
        .flat_map(move |(_, (key, winner, is_new, _))| {
            let message = format!("key {winner} yields the same row, and has it");
            (is_new && key != winner).then(|| fault(&key, &name, message))
        });
    let owned =
        claims.flat_map(|(_, (key, winner, _, Cells(row)))| (key == winner).then_some((key, row)));
    (owned, nameless.concat(ambiguous).concat(lost).distinct())
}

/// The rows of `<stage>.errors` without their id: stage, message, row, key.
pub(super) fn errors<'scope>(
    stage: &str,
    errors: Faults<'scope>,
) -> Collection<'scope, Vec<Value>> {
    let stage = stage.to_owned();
    let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    errors
        .filter(move |fault| fault.stage == stage)
        .distinct()
        .map(move |fault| {
            let key = (!fault.key.is_reserved()).then(|| fault.key.text().to_owned());
            vec![
                text(Some(fault.stage)),
                text(Some(fault.message)),
                text(fault.row),
                text(key),
            ]
        })
}

fn order_of(columns: &[usize]) -> Vec<By> {
    let columns = columns.iter().map(|&position| By {
        position,
        descending: false,
    });
    columns.collect()
}

/// The only row, or the one that is last by `newest_by`, the first in canonical order of those.
fn newest<'a>(rows: &[&'a Row], newest_by: &[By]) -> Option<&'a Row> {
    if rows.len() > 1 && newest_by.is_empty() {
        return None;
    }
    let order = |a: &&Row, b: &&Row| {
        b.cells
            .compare(&a.cells, newest_by)
            .then_with(|| a.place.cmp(&b.place))
    };
    rows.iter().copied().min_by(order)
}

fn fault(key: &Key, sink: &str, message: String) -> Fault {
    Fault {
        key: key.clone(),
        stage: sink.to_owned(),
        message,
        row: None,
    }
}
