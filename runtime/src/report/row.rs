//! The name of a sink's row, as it is shown.

use operators::key::Key;
use operators::row_id::RowId;
use operators::value::Value;
use pipelines::plan::SinkPlan;

/// A row's identity as `column=value`, its key hashed in whatever column it stands.
pub fn row_name(sink: &SinkPlan, id: &RowId, owner: &Key) -> String {
    let Some(fenced) = sink.sink.fenced() else {
        return String::new();
    };
    let columns = fenced.key().iter().zip(id.values());
    let name = |(&column, value): (&usize, Value)| {
        let name = &sink.schema.columns()[column].0;
        if sink.schema.key() == Some(column) {
            format!("{name}={owner}")
        } else {
            format!("{name}={}", hidden(&value, &[owner]))
        }
    };
    columns.map(name).collect::<Vec<_>>().join(" ")
}

/// A cell as text; one that holds any of these keys as the key's hash.
pub fn hidden(value: &Value, keys: &[&Key]) -> String {
    let text = value.to_string();
    match keys.iter().find(|key| key.text() == text) {
        Some(key) => key.to_string(),
        None => text,
    }
}
