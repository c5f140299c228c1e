//! A window of days moves when a day begins, also over files that were read before and stand.

use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::follow::Follow;
use runtime::load::Request;
use runtime::run::{self, Event};
use runtime::stop::Asked;
use tests::harness;

use super::NOW;

const PIPELINE: &str = r#"
[pipeline]
name = "window"
state_dir = "state"

[sources.visits]
type = "csv"
path = "in/*.csv"
id   = ["id"]

[transforms.in_window]
type  = "filter"
input = "visits"
when  = "day >= current_date"

[transforms.by_ssn]
type  = "batch-partition"
input = "in_window"
by    = "ssn"

[sinks.out]
type  = "sqlite"
input = "by_ssn"
path  = "out.db"
table = "visits"
key   = ["id"]
"#;

#[test]
fn rows_of_files_that_stand_leave_a_window_that_moves() {
    let folder = harness::scratch_folder();
    let folder = folder.path();
    std::fs::write(folder.join("pipeline.toml"), PIPELINE).unwrap();
    std::fs::create_dir(folder.join("in")).unwrap();
    let write = |name: &str, rows: &str| {
        std::fs::write(folder.join("in").join(name), format!("id,ssn,day\n{rows}")).unwrap();
    };
    write("a.csv", "1,a,2026-01-15\n2,a,2026-01-16\n3,b,2026-01-15\n");
    NOW.set("2026-01-15T06:00:00Z".parse().unwrap());
    let asked = Asked::default();
    let request = Request {
        follow: Some(Follow {
            every: Duration::from_millis(1),
            full_every: Duration::from_hours(1),
            clock: || NOW.get(),
        }),
        stop: Asked::clone(&asked),
        ..Request::of(folder.join("pipeline.toml"), NOW.get())
    };
    let mut retracted = Vec::new();
    run::start(&request, &mut |event| {
        let Event::Passed(ran) = event else {
            panic!("a pass fails")
        };
        let report = serde_json::to_value(&ran.report).unwrap();
        retracted.push(report.pointer("/sinks/out/retracted").unwrap().as_u64());
        if retracted.len() == 1 {
            NOW.set("2026-01-16T06:00:00Z".parse().unwrap());
            write("b.csv", "4,c,2026-01-20\n");
        } else {
            asked.store(true, Ordering::Release);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(retracted, [Some(0), Some(2)]);
}
