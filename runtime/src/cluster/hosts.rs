//! Where the processes listen: names become addresses, and none that rows must not reach.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use pipelines::cluster::{Host, Hosts};

use super::error::ClusterError;

/// The addresses of the processes, in order.
pub(super) fn addresses(
    hosts: &Hosts,
    allow_public: bool,
) -> Result<Vec<SocketAddr>, ClusterError> {
    let placed = match hosts {
        Hosts::Listed(hosts) => {
            let places = (1..).map(|number| format!("`hosts` in `[cluster]`, number {number}"));
            places.zip(hosts.iter().cloned()).collect()
        }
        Hosts::File(path) => read(path)?,
    };
    let mut seen: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    let mut addresses = Vec::new();
    for (process, (place, host)) in placed.into_iter().enumerate() {
        let wrong = |why: String, help| ClusterError::Host {
            place: place.clone(),
            why,
            help,
        };
        let address = resolve(&host).map_err(|error| {
            let why = format!("`{host}` has no address: {error}");
            wrong(why, "write an address, or a name that this machine knows")
        })?;
        if let Some((why, help)) = forbidden(address.ip(), allow_public) {
            let shown = if address.ip().to_string() == host.name {
                format!("`{host}`")
            } else {
                format!("`{host}`, which is {address},")
            };
            return Err(wrong(format!("{shown} is {why}"), help));
        }
        if let Some(first) = seen.insert(address, process) {
            let why = format!("processes {first} and {process} have one address, {address}");
            return Err(wrong(
                why,
                "each process has an address or a port of its own",
            ));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// A host in each line, with its place; what follows a `#` is a comment.
fn read(path: &Path) -> Result<Vec<(String, Host)>, ClusterError> {
    let text = fs::read_to_string(path).map_err(|source| ClusterError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut hosts = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let written = line.split('#').next().unwrap_or_default().trim();
        if written.is_empty() {
            continue;
        }
        let place = format!("{}:{number}", path.display());
        match Host::of(written) {
            Ok(host) => hosts.push((place, host)),
            Err(why) => {
                return Err(ClusterError::Host {
                    place,
                    why: format!("`{}`: {why}", written.escape_debug()),
                    help: "write a `host:port` in each line: the first is process 0",
                });
            }
        }
    }
    if hosts.is_empty() {
        return Err(ClusterError::Host {
            place: path.display().to_string(),
            why: "there is no host in it".to_owned(),
            help: "write a `host:port` in each line: the first is process 0",
        });
    }
    Ok(hosts)
}

/// The address of a host: of several the first of IPv4, so that all machines that know the same ones
/// take the same, whichever kind they prefer.
fn resolve(host: &Host) -> io::Result<SocketAddr> {
    let all: Vec<SocketAddr> = (host.name.as_str(), host.port).to_socket_addrs()?.collect();
    let first = all.iter().find(|address| address.is_ipv4()).or(all.first());
    first.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Why a process may not listen at an address, and what to do.
fn forbidden(ip: IpAddr, allow_public: bool) -> Option<(&'static str, &'static str)> {
    let ip = ip.to_canonical();
    let is_of_many = match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    if ip.is_unspecified() {
        let help = "name the address at which the other processes call this one";
        Some(("every address of a machine, and none", help))
    } else if is_of_many {
        Some((
            "the address of many",
            "each process has an address of its own",
        ))
    } else if allow_public || is_private(ip) {
        None
    } else {
        let help = "rows travel in clear: take a private address, or that of a tunnel (WireGuard, \
                    IPsec); `--allow-public` takes this one all the same";
        Some(("a public address", help))
    }
}

/// Loopback, private (RFC 1918, RFC 4193), link-local (RFC 3927, RFC 4291) and shared (RFC 6598)
/// addresses.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && second & 0b1100_0000 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(text: &str, allow_public: bool) -> Result<Vec<SocketAddr>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, text).unwrap();
        addresses(&Hosts::File(path), allow_public).map_err(|error| {
            let folder = format!("{}/", folder.path().display());
            error.to_string().replace(&folder, "")
        })
    }

    #[test]
    fn a_line_is_a_process_but_for_comments_and_blank_lines() {
        let text = "# two\n\n 127.0.0.1:9101 # first\r\n[::1]:9102\n";
        let expected: Vec<SocketAddr> = ["127.0.0.1:9101", "[::1]:9102"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(of_file(text, false), Ok(expected));
        let named = of_file("localhost:9101", false).unwrap();
        assert!(named[0].ip().is_loopback());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let told = |text: &str| of_file(text, false).unwrap_err();
        assert_eq!(told("# none\n"), "hosts: there is no host in it");
        let no_port = "hosts:2: `10.0.0.2`: it has no port: write `host:port`";
        assert_eq!(told("10.0.0.1:1\n10.0.0.2\n"), no_port);
        let twice = "hosts:3: processes 0 and 1 have one address, 10.0.0.1:1";
        assert_eq!(told("10.0.0.1:1\n\n10.0.0.1:1\n"), twice);
        assert!(
            told("no-such-host.invalid:1").starts_with("hosts:1: `no-such-host.invalid:1` has")
        );
    }

    #[test]
    fn public_addresses_are_allowed_by_the_author_alone() {
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "[2001:db8::1]",
            "[::ffff:8.8.8.8]",
        ] {
            let text = format!("{ip}:9101");
            assert!(
                of_file(&text, false).unwrap_err().contains("public"),
                "{ip}"
            );
            assert!(of_file(&text, true).is_ok(), "{ip}");
        }
        for ip in [
            "127.9.9.9",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.127.0.1",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
        ] {
            assert!(of_file(&format!("{ip}:9101"), false).is_ok(), "{ip}");
        }
    }

    #[test]
    fn an_address_of_every_or_many_machines_is_refused_whatever_is_allowed() {
        for ip in [
            "0.0.0.0",
            "[::]",
            "[::ffff:0.0.0.0]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
        ] {
            assert!(of_file(&format!("{ip}:9101"), true).is_err(), "{ip}");
        }
    }
}
