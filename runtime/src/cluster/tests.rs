//! Processes meet over real sockets, whatever hostile clients do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use operators::secret::Secret as Place;
use pipelines::cluster::{Host, Hosts};

use super::frame::{Hello, Message, Patience, Purpose, Reason, Refusal};
use super::greeting::Greeter;
use super::secret::tests::secret;
use super::{Asked, Cluster, ClusterError, Facts, Peers, Written, meet};

/// Longer than anything takes here.
const LONG: Duration = Duration::from_mins(1);

/// For what is bound not to come about.
const SHORT: Duration = Duration::from_secs(2);

const SECRET: &str = "correct horse battery staple";

static ON: AtomicBool = AtomicBool::new(false);

/// The processes of a run, on ports that the system chose.
fn clusters(processes: usize) -> Vec<Cluster> {
    let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<TcpListener> = (0..processes).map(|_| bound()).collect();
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap())
        .collect();
    let clusters = listeners.into_iter().enumerate();
    let cluster = |(process, listener)| Cluster {
        process,
        addresses: addresses.clone(),
        secret: secret(SECRET),
        deadline: LONG,
        listener,
    };
    clusters.map(cluster).collect()
}

fn facts() -> Facts {
    Facts::default().with("version", "1").with("pipeline", "aa")
}

fn meet_all(clusters: &[Cluster], facts: &[Facts]) -> Vec<Result<Peers, ClusterError>> {
    thread::scope(|scope| {
        let threads: Vec<_> = clusters
            .iter()
            .zip(facts)
            .map(|(cluster, facts)| scope.spawn(|| meet(cluster, facts, &ON)))
            .collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.collect()
    })
}

/// What `process` has to say, if it has this secret; as another visit than that of `meet`.
fn greeter<'a>(cluster: &'a Cluster, facts: &'a Facts, visit: u8) -> Greeter<'a> {
    Greeter {
        process: cluster.process,
        processes: cluster.addresses.len(),
        visit: [visit; 16],
        secret: &cluster.secret,
        facts,
    }
}

fn patient() -> Patience<'static> {
    Patience {
        until: Instant::now() + LONG,
        over: &ON,
    }
}

/// Looks again and again until something holds.
fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LONG, "it does not come to hold");
        thread::yield_now();
    }
}

/// Insists that the other side closes a connection, whatever it says before.
fn is_hung_up_on(mut stream: TcpStream) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn three_processes_meet_and_each_connection_ends_at_its_purpose() {
    let clusters = clusters(3);
    let met = meet_all(&clusters, &[facts(), facts(), facts()]);
    let met: Vec<Peers> = met.into_iter().map(Result::unwrap).collect();
    for here in 0..3 {
        assert!(met[here].data[here].is_none() && met[here].control[here].is_none());
        for there in (0..3).filter(|there| *there != here) {
            let pairs = [
                (&met[here].data[there], &met[there].data[here]),
                (&met[here].control[there], &met[there].control[here]),
            ];
            for (number, (ours, theirs)) in (0..).zip(pairs) {
                let (mut ours, mut theirs) = (ours.as_ref().unwrap(), theirs.as_ref().unwrap());
                assert!(ours.nodelay().unwrap());
                assert_eq!(ours.read_timeout().unwrap(), None);
                assert_eq!(ours.write_timeout().unwrap(), None);
                let said = [number, u8::try_from(here * 3 + there).unwrap()];
                ours.write_all(&said).unwrap();
                let mut heard = [0; 2];
                theirs.read_exact(&mut heard).unwrap();
                assert_eq!(heard, said);
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_calls_when_all_have_met_is_told_so_at_once() {
    let clusters = clusters(2);
    let met = meet_all(&clusters, &[facts(), facts()]);
    assert!(met.iter().all(Result::is_ok));
    for address in &clusters[0].addresses {
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn hostile_clients_are_refused_and_keep_nobody_waiting() {
    let clusters = clusters(2);
    let address = clusters[0].addresses[0];
    let connect = || TcpStream::connect(address).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| meet(&clusters[0], &facts(), &ON));
        let silent: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
        let mut slow = connect();
        slow.write_all(&[0, 73, 1]).unwrap();
        for said in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[255; 5000],
            &[0, 0],
            &[0, 1, 77],
            b"\x00\x49\x01tidemill/meet/2\n",
        ] {
            let mut garbage = connect();
            let message = match said {
                [0, 0x49, ..] => [said, &[0; 56]].concat(),
                said => said.to_vec(),
            };
            // It may be hung up on before all is sent.
            garbage.write_all(&message).ok();
            is_hung_up_on(garbage);
        }
        drop(connect());
        let began = Instant::now();
        let second = meet(&clusters[1], &facts(), &ON).unwrap();
        first.join().unwrap().unwrap();
        assert!(second.data[0].is_some());
        assert!(began.elapsed() < LONG / 2);
        silent.into_iter().for_each(is_hung_up_on);
        is_hung_up_on(slow);
    });
}

#[test]
fn another_secret_is_told_and_neither_is_shown() {
    let mut clusters = clusters(2);
    clusters[1].secret = secret("incorrect horse battery staple");
    for cluster in &mut clusters {
        cluster.deadline = SHORT;
    }
    let ends = meet_all(&clusters, &[facts(), facts()]);
    for (process, (end, why)) in ends
        .into_iter()
        .zip([
            "it has another secret",
            "it refused this process: it has another secret",
        ])
        .enumerate()
    {
        let error = end.unwrap_err();
        let other = 1 - process;
        let address = clusters[0].addresses[other];
        let expected =
            format!("not all processes met within 2s: process {other} at {address}: {why}");
        assert_eq!(error.to_string(), expected);
        let shown = format!("{error:?} {:?} {:?}", error.help(), clusters[process]);
        assert!(!shown.contains("horse"), "{shown}");
    }
}

#[test]
fn facts_that_differ_end_both_sides_with_both_values() {
    let clusters = clusters(2);
    let there = Facts::default().with("version", "1").with("pipeline", "bb");
    let ends = meet_all(&clusters, &[facts(), there]);
    let said: Vec<String> = ends
        .into_iter()
        .map(|end| end.unwrap_err().to_string())
        .collect();
    let [first, second] = [0, 1].map(|process: usize| clusters[0].addresses[process]);
    let expected = [
        format!("process 1 at {second} runs with another pipeline: bb there, aa here"),
        format!("process 0 at {first} runs with another pipeline: aa there, bb here"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn who_is_missing_at_the_deadline_is_named_and_why() {
    let mut clusters = clusters(3);
    let gone = clusters.remove(0);
    clusters[0].deadline = SHORT;
    drop(gone.listener);
    let error = meet(&clusters[0], &facts(), &ON).unwrap_err();
    let ClusterError::NotMet { missing, .. } = &error else {
        panic!("{error}");
    };
    let why: Vec<(usize, &str)> = missing
        .iter()
        .map(|one| (one.process, one.why.as_str()))
        .collect();
    assert_eq!(why, [(0, "connection refused"), (2, "it did not call")]);
    assert_eq!(missing[0].address, clusters[0].addresses[0]);
}

/// Makes the first of two connections to process 0, and closes it.
fn greets_and_dies(cluster: &Cluster, facts: &Facts) {
    let stream = TcpStream::connect(cluster.addresses[0]).unwrap();
    let greeter = greeter(cluster, facts, 1);
    let greeted = greeter.call(0, Purpose::Data, &stream, patient());
    assert!(greeted.is_ok());
}

#[test]
fn a_process_that_dies_between_its_greetings_may_come_again() {
    let clusters = clusters(2);
    let facts = facts();
    thread::scope(|scope| {
        let first = scope.spawn(|| meet(&clusters[0], &facts, &ON));
        greets_and_dies(&clusters[1], &facts);
        // It does not go away again before the first has seen it.
        let _met = meet(&clusters[1], &facts, &ON).unwrap();
        first.join().unwrap().unwrap();
    });
}

#[test]
fn a_process_that_dies_between_its_greetings_is_not_waited_for_long() {
    let clusters = clusters(3);
    let facts = facts();
    let began = Instant::now();
    thread::scope(|scope| {
        let first = scope.spawn(|| meet(&clusters[0], &facts, &ON));
        greets_and_dies(&clusters[1], &facts);
        let Err(ClusterError::NotMet {
            waited, missing, ..
        }) = first.join().unwrap()
        else {
            panic!("not all met");
        };
        assert!(waited <= began.elapsed() && began.elapsed() < LONG / 2);
        assert_eq!(missing[0].process, 1);
        assert_eq!(missing[0].why, "it went away after it was met");
    });
}

#[test]
fn of_two_processes_of_one_index_the_first_is_met_until_it_is_gone() {
    let clusters = clusters(2);
    let facts = facts();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| meet(&clusters[0], &facts, &stop));
        let call = |visit, purpose| {
            let stream = TcpStream::connect(clusters[1].addresses[0]).unwrap();
            let greeter = greeter(&clusters[1], &facts, visit);
            greeter.call(0, purpose, &stream, patient()).map(|_| stream)
        };
        let held = call(1, Purpose::Data).unwrap();
        for purpose in [Purpose::Data, Purpose::Control] {
            let refused = call(2, purpose).unwrap_err();
            assert_eq!(refused, Reason::Refused(Refusal::Taken));
        }
        let again = call(1, Purpose::Data).unwrap_err();
        assert_eq!(again, Reason::Refused(Refusal::Taken));
        drop(held);
        let mut second = None;
        until(|| {
            second = call(2, Purpose::Data).ok();
            second.is_some()
        });
        stop.store(true, Ordering::Release);
        let end = first.join().unwrap();
        assert!(matches!(end, Err(ClusterError::Stopped)), "{end:?}");
    });
}

#[test]
fn what_was_said_once_proves_nothing_again() {
    let clusters = clusters(3);
    let facts = facts();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| meet(&clusters[0], &facts, &stop));
        let recorded = record(&clusters[1], &facts);
        let mut again = TcpStream::connect(clusters[0].addresses[0]).unwrap();
        again.write_all(&recorded).unwrap();
        let challenge = Message::receive(&again, patient()).unwrap();
        assert!(matches!(challenge, Message::Challenge { .. }));
        let refused = Message::receive(&again, patient()).unwrap();
        assert_eq!(refused, Message::Refusal(Refusal::Secret));
        stop.store(true, Ordering::Release);
        first.join().unwrap().unwrap_err();
    });
}

/// What a process says to process 0 in its greeting, heard by somebody in between.
fn record(cluster: &Cluster, facts: &Facts) -> Vec<u8> {
    let between = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = between.local_addr().unwrap();
    thread::scope(|scope| {
        let said = scope.spawn(|| {
            let (mut caller, _) = between.accept().unwrap();
            let mut called = TcpStream::connect(cluster.addresses[0]).unwrap();
            let (mut to, mut from) = (caller.try_clone().unwrap(), called.try_clone().unwrap());
            scope.spawn(move || std::io::copy(&mut from, &mut to));
            let (mut said, mut part) = (Vec::new(), [0; 4096]);
            loop {
                match caller.read(&mut part).unwrap() {
                    0 => break,
                    count => {
                        called.write_all(&part[..count]).unwrap();
                        said.extend_from_slice(&part[..count]);
                    }
                }
            }
            called.shutdown(Shutdown::Both).unwrap();
            said
        });
        let stream = TcpStream::connect(address).unwrap();
        let greeter = greeter(cluster, facts, 1);
        assert!(greeter.call(0, Purpose::Data, &stream, patient()).is_ok());
        stream.shutdown(Shutdown::Both).unwrap();
        said.join().unwrap()
    })
}

#[test]
fn a_proof_that_is_sent_back_proves_nothing() {
    let clusters = clusters(2);
    let listener = &clusters[0].listener;
    thread::scope(|scope| {
        scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let hello = Message::receive(&stream, patient()).unwrap();
            let Message::Hello(Hello { visit, nonce, .. }) = hello else {
                panic!("{hello:?}");
            };
            let challenge = Message::Challenge { visit, nonce };
            challenge.send(&stream, patient()).unwrap();
            let proof = Message::receive(&stream, patient()).unwrap();
            let Message::Proof { mac, facts } = proof else {
                panic!("{proof:?}");
            };
            let answer = Message::Answer { mac, facts };
            answer.send(&stream, patient()).unwrap();
        });
        let stream = TcpStream::connect(clusters[0].addresses[0]).unwrap();
        let facts = facts();
        let greeter = greeter(&clusters[1], &facts, 1);
        let called = greeter.call(0, Purpose::Data, &stream, patient());
        assert_eq!(called.err(), Some(Reason::Secret));
    });
}

#[test]
fn a_caller_whose_list_of_hosts_is_another_is_told_so() {
    let clusters = clusters(2);
    let facts = facts();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| meet(&clusters[0], &facts, &stop));
        for (process, called) in [(1, 1), (2, 0), (0, 0), (usize::MAX >> 32, 0)] {
            let greeter = Greeter {
                process,
                ..greeter(&clusters[1], &facts, 1)
            };
            let stream = TcpStream::connect(clusters[0].addresses[0]).unwrap();
            let refused = greeter.call(called, Purpose::Data, &stream, patient());
            assert_eq!(refused.err(), Some(Reason::Refused(Refusal::Hosts)));
        }
        stop.store(true, Ordering::Release);
        first.join().unwrap().unwrap_err();
    });
}

#[test]
fn who_is_asked_to_stop_waits_for_nobody() {
    let clusters = clusters(3);
    let stop = AtomicBool::new(true);
    let end = meet(&clusters[1], &facts(), &stop);
    assert!(matches!(end, Err(ClusterError::Stopped)), "{end:?}");
}

/// What `[cluster]` says of hosts on this machine.
fn written(hosts: usize) -> Written {
    let host = |at| Host::of(&format!("127.0.0.1:{}", 1 + at)).unwrap();
    Written {
        hosts: Some(Hosts::Listed((0..hosts).map(host).collect())),
        secret: Some(Place::File("/nowhere/of-the-file".into())),
    }
}

#[test]
fn a_run_is_of_several_processes_when_there_are_several_hosts() {
    let asked = |process| Asked {
        process,
        ..Asked::default()
    };
    let end = |process, written: &Written| Cluster::of(&asked(process), written);
    let one = written(1);
    assert!(end(None, &Written::default()).unwrap().is_none());
    assert!(end(None, &one).unwrap().is_none());
    assert!(end(Some(0), &one).unwrap().is_none());
    let told = |process, written: &Written| {
        let error = end(process, written).unwrap_err();
        format!("{error}; {}", error.help().unwrap_or_default())
    };
    let known = "a process of several needs to know where the others are; say `--hosts FILE`";
    assert!(told(Some(0), &Written::default()).starts_with(known));
    let said = told(None, &written(3));
    assert!(said.contains("3 processes") && said.contains("`--process I`, I from 0 to 2"));
    assert!(told(Some(3), &written(3)).starts_with("there is no process 3 among 3"));
    let without = Written {
        secret: None,
        ..written(2)
    };
    assert!(told(Some(0), &without).contains("say `--secret FILE`"));
    assert!(told(Some(0), &written(2)).starts_with("cannot read /nowhere/of-the-file"));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1:1\n127.0.0.1:2\n").unwrap();
    let mut asked = Asked {
        process: Some(2),
        hosts: Some(hosts),
        secret: Some("/nowhere/of-the-line".into()),
        ..Asked::default()
    };
    let error = Cluster::of(&asked, &written(3)).unwrap_err();
    assert_eq!(error.to_string(), "there is no process 2 among 2");
    asked.process = Some(1);
    let error = Cluster::of(&asked, &written(3)).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/of-the-line");
}
