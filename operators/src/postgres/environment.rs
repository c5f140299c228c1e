//! What a process and its user are told from outside: variables, and files in known places.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::PostgresError;
use super::parameters::{KNOWN, Parameters};
use super::service;

/// The variables of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

/// Where the system's service file is, as Debian builds libpq.
const SYSTEM: &str = "/etc/postgresql-common";

impl Environment {
    /// That of this process. A variable that is no text is none.
    pub(super) fn of_process() -> Environment {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Environment(variables.collect())
    }

    /// What is known of a server where `explicit` is said of it: that, then the entry of the service
    /// that it or the environment names, then the environment.
    ///
    /// # Errors
    /// When the service is not there, or its file is amiss.
    pub(super) fn complete(&self, explicit: Parameters) -> Result<Parameters, PostgresError> {
        let mut parameters = explicit;
        let named = parameters.get("service").or(self.variable("PGSERVICE"));
        if let Some(name) = named.map(str::to_owned) {
            parameters.complete(service::find(&name, &self.service_files())?);
        }
        let mut variables = Parameters::default();
        for (name, variable) in KNOWN {
            if let Some(value) = variable.and_then(|variable| self.variable(variable)) {
                variables.set(name, value);
            }
        }
        parameters.complete(variables);
        Ok(parameters)
    }

    /// A file in the home of the user.
    pub(super) fn in_home(&self, name: &str) -> Option<PathBuf> {
        let home = self.variable("HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(account()?.home)))?;
        Some(home.join(name))
    }

    /// The name of the user, as the system knows it.
    pub(super) fn user(&self) -> Option<String> {
        let name = account().map(|account| account.name);
        name.or_else(|| self.variable("USER").map(str::to_owned))
    }

    /// Where entries of services are looked for, and which of these files must be there.
    fn service_files(&self) -> Vec<(PathBuf, bool)> {
        let users = match self.variable("PGSERVICEFILE") {
            Some(path) => Some((PathBuf::from(path), true)),
            None => self.in_home(".pg_service.conf").map(|path| (path, false)),
        };
        let system = self.variable("PGSYSCONFDIR").unwrap_or(SYSTEM);
        let system = Path::new(system).join("pg_service.conf");
        users.into_iter().chain([(system, false)]).collect()
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Who runs this process.
struct Account {
    name: String,
    home: String,
}

/// The line of the system's file of accounts; none for who is known to a directory only.
fn account() -> Option<Account> {
    let number = fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [name, _, of, _, _, home, ..] if of == number => Some(Account {
                name: name.to_owned(),
                home: home.to_owned(),
            }),
            _ => None,
        }
    })
}

#[cfg(test)]
impl Environment {
    /// One with these variables.
    pub(super) fn with(variables: &[(&str, &str)]) -> Environment {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Environment(variables.iter().map(owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parameters: &[(&'static str, &str)]) -> Parameters {
        let mut said = Parameters::default();
        for (name, value) in parameters {
            said.set(name, *value);
        }
        said
    }

    #[test]
    fn the_section_comes_before_the_service_and_that_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("services");
        let entry = "[s]\nhost=of_service\nport=1\ndbname=of_service\n";
        fs::write(&file, entry).unwrap();
        let environment = Environment::with(&[
            ("PGSERVICE", "s"),
            ("PGSERVICEFILE", file.to_str().unwrap()),
            ("PGHOST", "of_environment"),
            ("PGUSER", "of_environment"),
            ("PGAPPNAME", ""),
        ]);
        let found = environment.complete(said(&[("host", "of_section")]));
        let found = found.unwrap();
        for (name, value) in [
            ("host", Some("of_section")),
            ("port", Some("1")),
            ("dbname", Some("of_service")),
            ("user", Some("of_environment")),
            ("application_name", None),
        ] {
            assert_eq!(found.get(name), value, "{name}");
        }
    }

    #[test]
    fn services_are_looked_for_in_the_users_file_and_then_in_the_systems() {
        let (home, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |folder: &Path, name, text| fs::write(folder.join(name), text).unwrap();
        write(home.path(), ".pg_service.conf", "[a]\nhost=users\n");
        let both = "[a]\nhost=systems\n[b]\nhost=systems\n";
        write(system.path(), "pg_service.conf", both);
        let environment = Environment::with(&[
            ("HOME", home.path().to_str().unwrap()),
            ("PGSYSCONFDIR", system.path().to_str().unwrap()),
        ]);
        for (service, host) in [("a", "users"), ("b", "systems")] {
            let found = environment.complete(said(&[("service", service)]));
            assert_eq!(found.unwrap().get("host"), Some(host));
        }
        let error = environment.complete(said(&[("service", "c")]));
        assert!(error.unwrap_err().to_string().contains("`c`"));
    }

    #[test]
    fn the_user_is_the_accounts() {
        let said = std::process::Command::new("id").arg("-un").output();
        let name = String::from_utf8(said.unwrap().stdout).unwrap();
        assert_eq!(Environment::default().user().unwrap(), name.trim());
    }
}
