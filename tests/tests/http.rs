//! Goal: whoever watches a run sees what it does, while it does it, and no person's data.
//!
//! Method: the small pipeline `fixtures/rooms` with slow sources and sinks is run with an address; a
//! real browser opens the page, and a parser of others reads the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use prometheus_parse::{Scrape, Value};
use serde_json::Value as Json;
use tests::harness::{Answer, Browser, Outcome, Scratch, ask, get};

use crate::rooms::example;
use crate::stop::until;

/// A run that goes on, and where it is shown; it ends when this is dropped.
struct Shown {
    run: Child,
    address: String,
}

impl Shown {
    /// Runs with an error in a row of the first batch.
    fn start(scratch: &mut Scratch) -> Shown {
        scratch.workers = 2;
        scratch.fault = Some("slow-fetch:3000,slow-sink:1000".to_owned());
        scratch.sheet("bookings", |bookings| {
            bookings.set(("booking", "1"), "seats", "plenty");
        });
        let mut command = scratch.command(&["run"]);
        let command = command.args(["--http", "127.0.0.1:0"]);
        let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut run = piped.spawn().unwrap();
        let mut said = String::new();
        let stderr = run.stderr.as_mut().unwrap();
        BufReader::new(stderr).read_line(&mut said).unwrap();
        let address = said.strip_prefix("shown at http://");
        let address = address.and_then(|address| address.strip_suffix("/\n"));
        let address = address.unwrap_or_else(|| panic!("it says where: {said}"));
        Shown {
            run,
            address: address.to_owned(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        get(&self.address, path)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.run.kill().ok();
        self.run.wait().ok();
    }
}

/// What a number on the page says, which may be written with commas.
fn number(text: &Json) -> u64 {
    let text = text.as_str().unwrap();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// What a box says below its name.
fn rate(browser: &Browser, stage: &str) -> String {
    let script = format!("return document.querySelector('[data-stage={stage}] .rate').textContent");
    browser.run(&script).as_str().unwrap().to_owned()
}

/// The names of the persons, and the cell that is wrong.
fn secrets(scratch: &Scratch) -> BTreeSet<String> {
    let bookings = scratch.read_sheet("bookings");
    let person = bookings.column("person");
    let persons = bookings.rows().iter().map(|row| row[person].clone());
    let all: BTreeSet<String> = persons.chain(["plenty".to_owned()]).collect();
    all.into_iter().filter(|text| !text.is_empty()).collect()
}

#[test]
fn a_browser_shows_the_stages_their_rates_the_lanes_and_the_errors_of_a_run_while_it_goes_on() {
    let browser = Browser::start();
    let mut scratch = example();
    let mut shown = Shown::start(&mut scratch);
    browser.open(&format!("http://{}/", shown.address));

    let boxes = "return [...document.querySelectorAll('[data-stage]')].map(box => box.dataset.stage).sort()";
    let stages = [
        "booking_table",
        "bookings",
        "by_person",
        "clash_table",
        "clashes",
        "error_table",
        "priced",
        "rooms",
        "seated",
    ];
    assert_eq!(browser.run(boxes), serde_json::json!(stages));
    let arrows = browser.run("return document.querySelectorAll('path.arrow').length");
    assert_eq!(arrows, 8);

    // Before the slow source has given anything, between two commits, and later.
    let read = |stage: &str| {
        number(&Json::from(
            rate(&browser, stage).split(" rows").next().unwrap(),
        ))
    };
    until(|| rate(&browser, "bookings") == "0 rows");
    until(|| {
        rate(&browser, "bookings").contains("30 rows · ")
            && rate(&browser, "bookings").ends_with("/s")
    });
    until(|| read("booking_table") > 0);
    let before = read("booking_table");
    until(|| read("booking_table") > before);
    until(|| number(&browser.run("return document.getElementById('in-flight').textContent")) > 0);
    until(|| number(&browser.run("return document.getElementById('committed').textContent")) > 0);

    let lanes = "return [...document.querySelectorAll('[data-lane]')].filter(lane => {
        const canvas = lane.querySelector('canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.some(part => part > 0);
    }).map(lane => lane.dataset.lane)";
    let worked = browser.run(lanes);
    let worked: BTreeSet<&str> = worked
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Json::as_str)
        .collect();
    for lane in ["dimensions", "worker 0", "writer"] {
        assert!(worked.contains(lane), "{lane}: {worked:?}");
    }
    assert!(
        worked.iter().any(|lane| lane.starts_with("fetch ")),
        "{worked:?}"
    );

    let errors = "return document.getElementById('errors').innerText";
    until(|| browser.run(errors).as_str().unwrap().contains("seated"));
    let errors = browser.run(errors);
    assert!(errors.as_str().unwrap().ends_with("\t1"), "{errors}");
    assert_eq!(
        browser.run("return document.querySelectorAll('.wrong').length"),
        1
    );

    let page = browser.run("return document.documentElement.outerHTML");
    for secret in secrets(&scratch) {
        assert!(!page.as_str().unwrap().contains(&secret), "{secret}");
    }
    let elsewhere = "return performance.getEntriesByType('resource').filter(one => !one.name.startsWith(location.origin)).length";
    assert_eq!(browser.run(elsewhere), 0);

    // What was seen last stays, with word that it is old.
    shown.run.kill().unwrap();
    until(|| browser.run("return document.getElementById('ready').textContent") == "no answer");
    assert!(read("booking_table") > before);
}

/// Asks until the sink has rows, and gives that scrape, with the text that it was read from.
fn scraped(shown: &Shown) -> (Scrape, String) {
    let mut text = String::new();
    until(|| {
        let answer = shown.get("/metrics");
        assert!(
            answer
                .head
                .contains("content-type: text/plain; version=0.0.4"),
            "{}",
            answer.head
        );
        text = answer.body;
        let inserted = "tidemill_sink_rows_total{sink=\"booking_table\",kind=\"inserted\"} ";
        let rows = text.lines().find_map(|line| line.strip_prefix(inserted));
        rows.is_some_and(|rows| rows != "0")
    });
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    (Scrape::parse(lines).unwrap(), text)
}

#[test]
fn metrics_are_read_by_a_parser_of_others_and_are_named_as_prometheus_wants_it() {
    let mut scratch = example();
    let shown = Shown::start(&mut scratch);
    let (scrape, text) = scraped(&shown);
    let mut found: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut series = BTreeSet::new();
    for sample in &scrape.samples {
        let name = &sample.metric;
        let value = match sample.value {
            Value::Counter(value) => {
                assert!(name.ends_with("_total"), "{name}");
                value
            }
            Value::Gauge(value) => {
                assert!(!name.ends_with("_total"), "{name}");
                value
            }
            ref other => panic!("{name}: {other:?}"),
        };
        let help = format!("# HELP {name} ");
        assert_eq!(text.matches(&help).count(), 1, "{name}");
        assert!(
            name.starts_with("tidemill_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            series.insert(format!("{name} {:?}", sample.labels.to_string())),
            "{name} twice"
        );
        let label = sample
            .labels
            .iter()
            .map(|(label, of)| format!("{label}={of}"))
            .collect::<BTreeSet<_>>();
        found.insert(
            (
                name.clone(),
                label.into_iter().collect::<Vec<_>>().join(" "),
            ),
            value,
        );
    }
    let value = |name: &str, labels: &str| found[&(name.to_owned(), labels.to_owned())];
    let is = |name: &str, labels: &str, expected: f64| {
        assert!(
            (value(name, labels) - expected).abs() < 1e-9,
            "{name} {labels}: {found:#?}"
        );
    };
    is("tidemill_source_rows_total", "source=bookings", 30.0);
    is("tidemill_stage_rows_total", "stage=seated", 30.0);
    is(
        "tidemill_keys_opened_total",
        "",
        value("tidemill_keys_seen", ""),
    );
    is("tidemill_passes_total", "", 0.0);
    is("tidemill_ready", "", 0.0);
    is("tidemill_build_info", "pipeline=rooms version=0.1.0", 1.0);
    assert!(
        value(
            "tidemill_sink_rows_total",
            "kind=inserted sink=booking_table"
        ) > 0.0
    );
    assert!(value("tidemill_source_bytes_total", "source=bookings") > 0.0);
    assert!(value("process_resident_memory_bytes", "") > 1e6);
}

#[test]
fn a_run_says_that_it_lives_that_it_is_not_ready_and_nothing_of_a_person() {
    let mut scratch = example();
    let shown = Shown::start(&mut scratch);
    assert_eq!(shown.get("/healthz").code, 200);
    let ready = shown.get("/readyz");
    assert_eq!(
        (ready.code, ready.body.as_str()),
        (503, "no pass has committed yet\n")
    );
    until(|| shown.get("/status.json").json()["errors"]["stages"]["seated"] == 1);
    let status = shown.get("/status.json").json();
    assert_eq!(
        (&status["version"], &status["pipeline"]),
        (&Json::from(1), &Json::from("rooms"))
    );
    for path in ["/", "/status.json", "/metrics"] {
        let body = shown.get(path).body;
        for secret in secrets(&scratch) {
            assert!(!body.contains(&secret), "{path}: {secret}");
        }
    }
    let post = ask(&shown.address, "POST", "/", "{}");
    assert_eq!(post.code, 405);
}

#[test]
fn others_reach_the_page_only_if_that_is_said() {
    let scratch = example();
    let run = |arguments: &[&str]| Outcome::of(scratch.command(&["run"]).args(arguments));
    let refused = run(&["--http", "0.0.0.0:0"]).exits(64);
    assert!(
        refused.error().contains("others could reach `0.0.0.0:0`"),
        "{}",
        refused.error()
    );
    assert!(
        refused.error().contains("no password"),
        "{}",
        refused.error()
    );
    assert!(
        refused.error().contains("--http-public"),
        "{}",
        refused.error()
    );
    let shown = run(&["--http", "0.0.0.0:0", "--http-public"]).exits(0);
    assert!(
        shown.said.starts_with("shown at http://0.0.0.0:"),
        "{}",
        shown.said
    );
    // The option wins over the file, and the file may say that it is meant.
    scratch.edit(
        "pipeline.toml",
        "[sources.rooms]",
        "[http]\nlisten = \"0.0.0.0:1\"\npublic = true\n\n[sources.rooms]",
    );
    let shown = run(&["--http", "127.0.0.1:0", "--quiet"]).exits(0);
    assert_eq!(shown.said, "");
}

#[test]
fn an_address_that_is_taken_ends_the_run_before_it_writes() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let scratch = example();
    let refused = Outcome::of(scratch.command(&["run"]).args(["--http", &address])).exits(74);
    assert!(
        refused
            .error()
            .contains(&format!("cannot listen on {address}")),
        "{}",
        refused.error()
    );
    assert!(scratch.tables().is_empty());
}
