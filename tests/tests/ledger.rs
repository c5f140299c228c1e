//! A pipeline over Parquet files in several stretches, with a folder of Parquet files as a sink: the
//! entries of accounts, and what they add up to.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use operators::value::Value;
use tests::harness::{Scratch, Tables, read_parquet, scratch_folder, write_parquet};

use crate::visits::PROGRAM;

const PIPELINE: &str = r#"
[pipeline]
name      = "ledger"
state_dir = "output/.tidemill"

[sources.entries]
type = "parquet"
path = "entries/*.parquet"
id   = ["entry"]

[sources.currencies]
type  = "csv"
path  = "inputs/currencies.csv"
types = { currency = "text", rate = "float" }

[transforms.converted]                  # before the gate: what is looked up is part of a row
type    = "lookup"
left    = "entries"
right   = "currencies"
on      = { currency = "currency" }
columns = { rate = "rate" }

[transforms.by_account]
type  = "batch-partition"
input = "converted"
by    = "account"
cut   = { prefix = 1 }

[transforms.sums]
type  = "aggregate"
input = "by_account"
by    = ["account"]
set   = { total = "sum(amount * rate)", entries = "count(*)", note = "max(note)" }

[sinks.sum_table]
type  = "sqlite"
input = "sums"
path  = "output/ledger.db"
table = "sums"
key   = ["account"]

[sinks.entry_files]
type           = "parquet"
input          = "by_account"
path           = "output/entries"
key            = ["entry"]
row_group_rows = 16
"#;

/// A row of the source.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: i64,
    pub(crate) account: String,
    pub(crate) amount: f64,
    pub(crate) currency: &'static str,
    pub(crate) note: String,
    /// The version of the row.
    pub(crate) changed: i64,
}

/// 240 entries of 24 accounts. Their sums depend on the order in which they are added.
pub(crate) fn entries() -> Vec<Entry> {
    let amounts = [1e16, 1.0, -1e16, 3.7, 0.1, 1e-3];
    let entry = |at: usize| {
        let account = at / amounts.len() % 24;
        let number = i64::try_from(at).unwrap();
        Entry {
            number,
            account: format!("{}{}", ["a", "b", "c", "d"][account % 4], account / 4),
            amount: amounts[at % amounts.len()],
            currency: ["EUR", "USD", "GBP"][account % 3],
            note: format!("note {number}"),
            changed: 1,
        }
    };
    (0..240).map(entry).collect()
}

/// The pipeline over these entries, in files of 40 rows in the order of accounts.
pub(crate) fn ledger(entries: &[Entry]) -> Scratch {
    let empty = scratch_folder();
    let mut scratch = Scratch::of(empty.path(), PROGRAM);
    "output/ledger.db".clone_into(&mut scratch.database);
    scratch.write("pipeline.toml", PIPELINE);
    let rates = "currency,rate\nEUR,1.0\nUSD,0.9\nGBP,1.2\n";
    scratch.write("inputs/currencies.csv", rates);
    let mut entries = entries.to_vec();
    entries.sort_by(|a, b| a.account.cmp(&b.account));
    write(&scratch, &entries, 40, 15);
    scratch
}

/// Writes entries as they stand, in files and row groups of so many.
pub(crate) fn write(scratch: &Scratch, entries: &[Entry], file_rows: usize, group_rows: usize) {
    let folder = scratch.path("entries");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    for (number, entries) in entries.chunks(file_rows).enumerate() {
        let path = folder.join(format!("{number:03}.parquet"));
        write_parquet(&path, &rows(entries), group_rows);
    }
}

fn rows(entries: &[Entry]) -> RecordBatch {
    let ints = |of: fn(&Entry) -> i64| {
        Arc::new(entries.iter().map(of).collect::<Int64Array>()) as ArrayRef
    };
    let texts = |of: fn(&Entry) -> &str| {
        let texts = entries.iter().map(|entry| Some(of(entry)));
        Arc::new(texts.collect::<StringArray>()) as ArrayRef
    };
    let amounts: Float64Array = entries.iter().map(|entry| entry.amount).collect();
    let columns = [
        ("entry", ints(|entry| entry.number)),
        ("account", texts(|entry| &entry.account)),
        ("amount", Arc::new(amounts)),
        ("currency", texts(|entry| entry.currency)),
        ("note", texts(|entry| &entry.note)),
        ("changed", ints(|entry| entry.changed)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What the sinks hold: tables, and the rows of files by entry.
pub(crate) fn held(scratch: &Scratch) -> (Tables, BTreeMap<String, Vec<String>>) {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for batch in read_parquet(&scratch.path("output/entries")) {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter();
            let cells: Vec<String> = cells.map(|it| Value::at(it, row).to_string()).collect();
            rows.entry(cells[0].clone())
                .or_default()
                .push(cells.join("|"));
        }
    }
    (scratch.tables(), rows)
}

/// Nothing is left to do, `verify` finds nothing, and a run from nothing holds the same.
pub(crate) fn is_current(scratch: &Scratch) -> Result<(), String> {
    let verified = scratch.verify();
    if verified.exit != Some(0) || verified.number("/not_yet_run") > 0 {
        return Err(format!("verify: {verified:#?}"));
    }
    let fresh = scratch.never_ran();
    fresh.run().exits(0);
    if held(scratch) != held(&fresh) {
        return Err(format!(
            "{:#?}, and from nothing {:#?}",
            held(scratch),
            held(&fresh)
        ));
    }
    Ok(())
}
