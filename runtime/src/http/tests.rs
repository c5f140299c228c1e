//! The endpoint on a real socket, asked by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use operators::sink::Applied;
use tempfile::TempDir;

use crate::epoch::RETRIES;
use crate::error::RunError;
use crate::load::{Loaded, Request};
use crate::run;
use crate::state::State;

use super::*;

/// The quickstart, which never ran.
fn quickstart(folder: &TempDir) -> Request {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    for file in ["pipeline.toml", "bookings.csv"] {
        std::fs::copy(root.join(file), folder.path().join(file)).unwrap();
    }
    let now = "2026-01-15T06:00:00Z".parse().unwrap();
    Request::of(folder.path().join("pipeline.toml"), now)
}

/// Serves a status, of which nothing is noted yet.
fn serve_status(request: &Request) -> (SocketAddr, Arc<Status>) {
    let plan = run::check(&Loaded::of(request).unwrap()).unwrap();
    let status = Arc::new(Status::of(&plan));
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    (serve(any, &Arc::from("the page"), &status).unwrap(), status)
}

fn served() -> SocketAddr {
    serve_status(&quickstart(&tempfile::tempdir().unwrap())).0
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    )
}

#[test]
fn each_path_is_answered_and_the_connection_closed() {
    let address = served();
    let page = get(address, "/");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\nthe page"));
    assert!(page.contains("Content-Security-Policy: default-src 'none'; "));
    assert!(get(address, "/healthz").ends_with("the process runs\n"));
    let ready = get(address, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert!(ready.ends_with("no pass has committed yet\n"), "{ready}");
    assert!(
        get(address, "/metrics")
            .contains("tidemill_sink_rows_total{sink=\"table\",kind=\"inserted\"} 0\n")
    );
    let status = get(address, "/status.json");
    let told: serde_json::Value =
        serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(told["version"], 1);
    let head = format!("HEAD / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let head = exchange(address, &head);
    assert!(head.contains("Content-Length: 8\r\n") && head.ends_with("\r\n\r\n"));
}

#[test]
fn what_is_refused_is_told_why_even_when_more_is_sent() {
    let address = served();
    let host = format!("Host: {address}\r\n");
    let post = format!(
        "POST / HTTP/1.1\r\n{host}Content-Length: 20000\r\n\r\n{}",
        "x".repeat(20_000)
    );
    let refused = exchange(address, &post);
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    assert!(refused.contains("\r\nAllow: GET, HEAD\r\n"), "{refused}");
    let rebound = exchange(address, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
    let long = format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(10_000));
    assert!(exchange(address, &long).starts_with("HTTP/1.1 431 "));
    assert!(exchange(address, "\0\x01\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

#[test]
fn clients_that_say_nothing_keep_the_others_waiting_no_longer_than_the_deadline() {
    let address = served();
    let silent = || TcpStream::connect(address).unwrap();
    let _silent: Vec<TcpStream> = (0..CONNECTIONS).map(|_| silent()).collect();
    assert!(get(address, "/healthz").ends_with("the process runs\n"));
}

#[test]
fn what_is_noted_is_measured_and_a_pass_that_commits_makes_it_ready() {
    let folder = tempfile::tempdir().unwrap();
    let request = quickstart(&folder);
    let report = run::run(&request).unwrap().report;
    let (address, status) = serve_status(&request);
    let state = State::in_memory("double-bookings").unwrap();
    let measures = |line: &str| {
        let metrics = get(address, "/metrics");
        assert!(
            metrics.contains(&format!("\n{line}\n")),
            "{line}: {metrics}"
        );
    };
    status.begins(&state);
    status.opened(3);
    // Each worker starts an epoch; a second try is not another one.
    for epoch in [1, 1, 2] {
        status.starts(epoch);
    }
    status.committed(&[1, RETRIES + 1]);
    status.settled(2);
    let applied = Applied {
        inserted: 5,
        retracted: 1,
        ..Applied::default()
    };
    status.wrote("table", &applied);
    measures("tidemill_epochs_in_flight 1");
    measures("tidemill_epochs_committed_total 1");
    measures("tidemill_keys_open 1");
    measures("tidemill_keys_opened_total 3");
    measures("tidemill_stage_rows_total{stage=\"table\"} 6");
    measures("tidemill_ready 0");
    status.ended(Ok(&report), &state);
    assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 "));
    measures("tidemill_ready 1");
    measures("tidemill_passes_total 1");
    measures("tidemill_keys_seen 3");
    measures("tidemill_keys_unclean 1");
    measures("tidemill_epochs_in_flight 0");
    status.begins(&state);
    status.ended(Err(&RunError::Stopped), &state);
    let ready = get(address, "/readyz");
    assert!(
        ready.contains("503 ") && ready.contains("an error ended the last pass"),
        "{ready}"
    );
    measures("tidemill_passes_failed_total 1");
}
