//! Which of the rows that reach a sink it holds.

use operators::key::Key;
use operators::order::By;
use operators::value::Value;
use pipelines::plan::SinkPlan;

use super::row::{Cells, Fault, Row};
use super::{Collection, Faults, Made};

/// The rows of a sink, and what is wrong with others that it does not hold: of two rows of one id
/// in a group none, unless one is the newest; of two keys that yield one id, the least has the row.
pub(super) fn rows<'scope>(
    sink: &SinkPlan,
    rows: Made<'scope>,
) -> (Collection<'scope, Vec<Value>>, Faults<'scope>) {
    let Some(fenced) = sink.sink.fenced() else {
        let no_errors = rows.clone().flat_map(|_| None::<Fault>);
        return (rows.map(|row| row.cells.0), no_errors);
    };
    let key = fenced.key().to_vec();
    let newest_by: Vec<By> = fenced
        .newest_by()
        .iter()
        .map(|&position| By {
            position,
            descending: false,
        })
        .collect();
    let in_groups = rows
        .map(move |row| ((row.cells.at(&key), row.group.clone()), row))
        .reduce(move |_, rows, output| {
            let rows: Vec<&Row> = rows.iter().map(|(row, _)| *row).collect();
            output.push((newest(&rows, &newest_by).cloned().ok_or(rows.len()), 1));
        });
    let name = sink.name.clone();
    let ambiguous = in_groups.clone().flat_map(move |((_, key), row)| {
        row.err().map(|count| {
            fault(
                &key,
                &name,
                format!("{count} rows of one key have the same id"),
            )
        })
    });
    let one_in_group = in_groups.flat_map(|((id, key), row)| Some((id, (key, row.ok()?.cells))));
    let claims = one_in_group.reduce(|_, claims, output| {
        let winner = &claims[0].0.0;
        for ((key, cells), _) in claims {
            output.push(((key.clone(), winner.clone(), cells.clone()), 1));
        }
    });
    let name = sink.name.clone();
    let lost = claims.clone().flat_map(move |(_, (key, winner, _))| {
        let message = format!("key {winner} yields the same row, and has it");
        (key != winner).then(|| fault(&key, &name, message))
    });
    let held = claims.flat_map(|(_, (key, winner, Cells(row)))| (key == winner).then_some(row));
    (held, ambiguous.concat(lost).distinct())
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
