//! Callers that are no processes of the run, while its processes wait for each other.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use tests::harness::{Cluster, Outcome, Scratch};

use crate::rooms::{example, is_current};
use crate::stop::until;

/// Connects to a process that may not listen yet, and sends something.
fn call(address: SocketAddr, said: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(said).unwrap();
    stream
}

/// A process of another run, whose secret is another one, calls process 0.
fn impostor(scratch: &Scratch, address: SocketAddr) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let hosts = format!("{address}\n{}\n", listener.local_addr().unwrap());
    scratch.write("hosts", hosts);
    scratch.write("secret", "another secret, which is wrong");
    fs::set_permissions(scratch.path("secret"), Permissions::from_mode(0o600)).unwrap();
    let mut command = scratch.command(&["run", "--process", "1", "--listen-on-stdin"]);
    command.args([
        "--hosts",
        "hosts",
        "--secret",
        "secret",
        "--meet-timeout",
        "1s",
    ]);
    let piped = command.stdin(Stdio::from(OwnedFd::from(listener)));
    Outcome::ended(&piped.output().unwrap())
}

#[test]
fn a_run_minds_no_strangers() {
    let scratch = example();
    let listen = |_| TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let listeners: Vec<TcpListener> = (0..2).map(listen).collect();
    let addresses = listeners.iter().map(|it| it.local_addr().unwrap());
    let addresses: Vec<SocketAddr> = addresses.collect();
    let mut cluster = Cluster::waiting(addresses.clone());
    let mut listeners = listeners.into_iter();
    let mut start = |cluster: &mut Cluster| {
        let mut command = scratch.command(&["run"]);
        command.arg("--listen-on-stdin");
        command.stdin(OwnedFd::from(listeners.next().unwrap()));
        cluster.add(command);
    };
    start(&mut cluster);
    let silent = call(addresses[0], b"");
    let mut garbage = call(addresses[0], &[0xff; 4096]);
    let _http = call(addresses[0], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    // It hangs up on garbage, when it has heard it.
    let mut heard = Vec::new();
    garbage.read_to_end(&mut heard).ok();
    let refused = impostor(&scratch.copy(), addresses[0]);
    assert_ne!(refused.exit, Some(0), "{refused:#?}");
    until(|| cluster.is_running(0));
    start(&mut cluster);
    for outcome in cluster.end() {
        outcome.exits(0);
    }
    drop(silent);
    is_current(&scratch).unwrap();
}
