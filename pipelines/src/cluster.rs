//! What `[cluster]` says: where the processes of a run listen, and by which secret they know each other.
//!
//! No name is resolved and no secret is read here; the command line may say either in place of the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use operators::problem::{Problem, Step};
use operators::secret::{Secret, SecretConfig};
use serde::Deserialize;

use crate::diagnostic::Diagnostic;
use crate::document::Section;
use crate::settings::Settings;

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// `host:port` of each process.
    pub hosts: Option<Vec<String>>,
    /// A file with the `host:port` of a process in each line, in place of `hosts`.
    pub hosts_file: Option<String>,
    /// Where the secret is.
    pub secret: Option<SecretConfig>,
}

/// What is known of a cluster from its file; nothing where there is no `[cluster]`.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Where the processes listen.
    pub hosts: Option<Hosts>,
    /// Where the secret is.
    pub secret: Option<Secret>,
}

/// Where the hosts are written.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// In the pipeline file: the place is that of the process.
    Listed(Vec<Host>),
    /// In a file of their own.
    File(PathBuf),
}

/// Where a process listens, as it is written: `name:port`, `192.0.2.1:port` or `[::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// A name or an address, without brackets.
    pub name: String,
    /// The port; never 0, which would be another one each time.
    pub port: u16,
}

impl Host {
    /// Reads a host, or says why it is none.
    pub fn of(text: &str) -> Result<Host, &'static str> {
        let (name, port) = text
            .rsplit_once(':')
            .ok_or("it has no port: write `host:port`")?;
        let inner = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let in_brackets = inner.is_some();
        let name = inner.unwrap_or(name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err("the host is neither a name nor an address: write `host:port`");
        }
        if !in_brackets && name.contains(':') {
            return Err("an IPv6 address stands in brackets: write `[address]:port`");
        }
        let is_number = port.chars().all(|c| c.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number && port > 0 => Ok(Host {
                name: name.to_owned(),
                port,
            }),
            _ => Err("the port is not a number from 1 to 65535"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Cluster {
    /// Reads `[cluster]`; paths are those of the pipeline's settings.
    pub(crate) fn of(section: &Section, settings: &Settings) -> Result<Cluster, Vec<Diagnostic>> {
        let config: ClusterConfig = section.decode()?;
        let mut problems = Vec::new();
        let path = |text: &str| settings.path(text);
        let mut told = |field: &str, problem: Problem| {
            problems.push(problem.under([Step::from(field)]));
        };
        let file = config.hosts_file.as_deref().map(path);
        let file = file.transpose();
        let file = file.unwrap_or_else(|problem| {
            told("hosts_file", problem);
            None
        });
        let secret = config.secret.as_ref().map(|secret| secret.check(&path));
        let secret = secret.transpose().unwrap_or_else(|problem| {
            told("secret", problem);
            None
        });
        if config.hosts.is_some() && config.hosts_file.is_some() {
            let message = "the hosts are written twice";
            let twice = Problem::at(["hosts_file"], message).of_key();
            problems.push(
                twice
                    .label("`hosts` has them, too")
                    .help("keep one of the two"),
            );
        }
        let listed = config.hosts.as_deref().map(list);
        let listed = listed.and_then(|listed| {
            listed
                .map_err(|more| problems.extend(more))
                .ok()
                .map(Hosts::Listed)
        });
        if problems.is_empty() {
            let hosts = listed.or(file.map(Hosts::File));
            return Ok(Cluster { hosts, secret });
        }
        Err(problems
            .into_iter()
            .map(|problem| section.place(problem))
            .collect())
    }
}

/// The hosts of the pipeline file, or all that is wrong with them.
fn list(texts: &[String]) -> Result<Vec<Host>, Vec<Problem>> {
    let mut hosts = Vec::new();
    let mut seen: BTreeMap<Host, usize> = BTreeMap::new();
    let mut problems = Vec::new();
    if texts.is_empty() {
        let none = Problem::at(["hosts"], "a cluster without hosts runs nothing");
        problems.push(none.help("write `host:port` of each process, or leave `hosts` out"));
    }
    for (process, text) in texts.iter().enumerate() {
        let at = [Step::from("hosts"), Step::from(process)];
        match Host::of(text) {
            Ok(host) => {
                if let Some(first) = seen.get(&host) {
                    let message = format!("processes {first} and {process} have one address");
                    problems.push(Problem::at(at, message).help("each process has its own"));
                } else {
                    seen.insert(host.clone(), process);
                }
                hosts.push(host);
            }
            Err(why) => {
                let message = format!("`{text}` is not the address of a process");
                problems.push(Problem::at(at, message).label(why));
            }
        }
    }
    if problems.is_empty() {
        Ok(hosts)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_hosts_is_refused() {
        assert_eq!(list(&[]).unwrap_err().len(), 1);
        assert_eq!(
            list(&["a:1".to_owned(), "b:1".to_owned()]).unwrap().len(),
            2
        );
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for text in [
            "a:1",
            "node-1.example:9101",
            "10.0.0.1:65535",
            "[::1]:9101",
            "[fe80::1%eth0]:9101",
        ] {
            assert_eq!(Host::of(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "a",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:-1",
            "a:+1",
            "::1:9101",
            "[::1]",
            "[]:1",
            "http://a:1",
            "a b:1",
            "é:1",
        ] {
            assert!(Host::of(text).is_err(), "{text}");
        }
    }
}
