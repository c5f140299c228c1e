//! A server in one text, as libpq takes it: a URL, or words such as `host=a dbname=b`.
//!
//! ```text
//! postgresql://user:password@host:port,host:port/dbname?parameter=value&..
//! ```

use super::error::Unfit;
use super::parameters::Parameters;

/// Reads it.
///
/// # Errors
/// When it is none; what is said shows no part of it but names of parameters.
pub(super) fn read(text: &str) -> Result<Parameters, Unfit> {
    let schemes = ["postgresql://", "postgres://"];
    match schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => url(rest),
        None => words(text),
    }
}

fn url(text: &str) -> Result<Parameters, Unfit> {
    let mut parameters = Parameters::default();
    let (rest, query) = match text.split_once('?') {
        Some((rest, query)) => (rest, query),
        None => (text, ""),
    };
    let (authority, database) = match rest.split_once('/') {
        Some((authority, database)) => (authority, database),
        None => (rest, ""),
    };
    let (who, hosts) = match authority.rsplit_once('@') {
        Some((who, hosts)) => (who, hosts),
        None => ("", authority),
    };
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    parameters.set("user", decoded(user)?);
    parameters.set("password", decoded(password)?);
    parameters.set("dbname", decoded(database)?);
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = host_and_port(host)?;
        names.push(decoded(name)?);
        ports.push(decoded(port)?);
    }
    for (name, list) in [("host", names), ("port", ports)] {
        if list.iter().any(|one| !one.is_empty()) {
            parameters.set(name, list.join(","));
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Unfit::of("a parameter behind `?` has no value"));
        };
        match (decoded(name)?.as_str(), decoded(value)?) {
            ("ssl", value) if value == "true" => parameters.set("sslmode", "require"),
            (name, value) => parameters.set_named(name, value)?,
        }
    }
    Ok(parameters)
}

/// A host and a port, of which either may be missing; an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Result<(&str, &str), Unfit> {
    let Some(rest) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let Some((address, rest)) = rest.split_once(']') else {
        return Err(Unfit::of("a bracket of an address is not closed"));
    };
    match (rest, rest.strip_prefix(':')) {
        ("", _) => Ok((address, "")),
        (_, Some(port)) => Ok((address, port)),
        _ => Err(Unfit::of("behind an address in brackets stands no port")),
    }
}

/// A text whose bytes may be written as `%` and two digits.
fn decoded(text: &str) -> Result<String, Unfit> {
    let amiss = || Unfit::of("`%` is not followed by the two digits of a character");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after
            .get(..2)
            .and_then(|digits| str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.filter(|byte| *byte != 0).ok_or_else(amiss)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| amiss())
}

/// `name = value` with white space between; a value with white space is in quotes, and `\` takes the
/// character behind it as it is.
fn words(text: &str) -> Result<Parameters, Unfit> {
    let mut parameters = Parameters::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, behind)) = rest.split_once('=') else {
            let what = "it is neither a URL nor made of `name=value`";
            return Err(Unfit::of(what).help("write \"postgresql://user@host:port/database\""));
        };
        let mut value = String::new();
        let mut characters = behind.trim_start().chars();
        let quoted = characters.clone().next() == Some('\'');
        if quoted {
            characters.next();
        }
        loop {
            match characters.next() {
                Some('\\') => value.extend(characters.next()),
                Some('\'') if quoted => break,
                None if quoted => return Err(Unfit::of("a quote is not closed")),
                Some(space) if !quoted && space.is_whitespace() => break,
                None => break,
                Some(character) => value.push(character),
            }
        }
        parameters.set_named(name.trim_end(), value)?;
        rest = characters.as_str().trim_start();
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str, expected: &[(&'static str, &str)]) {
        let mut wanted = Parameters::default();
        for (name, value) in expected {
            wanted.set(name, *value);
        }
        let found = read(text).unwrap();
        for (name, _) in super::super::parameters::KNOWN {
            assert_eq!(found.get(name), wanted.get(name), "{name} of {text}");
        }
    }

    /// The examples of libpq's own pages, and of its tests (`uri_regress`).
    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        read_as("postgresql://", &[]);
        read_as("postgresql://localhost", &[("host", "localhost")]);
        read_as("postgres://h:5433", &[("host", "h"), ("port", "5433")]);
        read_as("postgresql://h/mydb", &[("host", "h"), ("dbname", "mydb")]);
        read_as("postgresql://user@h", &[("host", "h"), ("user", "user")]);
        let all = [("host", "h"), ("user", "u"), ("password", "s:e@c/")];
        read_as("postgresql://u:s:e%40c%2F@h", &all);
        let other =
            "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=a%20b";
        let expected = [
            ("user", "other"),
            ("host", "localhost"),
            ("dbname", "otherdb"),
            ("connect_timeout", "10"),
            ("application_name", "a b"),
        ];
        read_as(other, &expected);
        let several = "postgresql://h1:123,h2:456/db?target_session_attrs=any";
        let expected = [
            ("host", "h1,h2"),
            ("port", "123,456"),
            ("dbname", "db"),
            ("target_session_attrs", "any"),
        ];
        read_as(several, &expected);
        let address = [("host", "2001:db8::1234"), ("port", "1")];
        read_as("postgresql://[2001:db8::1234]:1/", &address);
        let socket = [("host", "/var/lib/postgresql"), ("dbname", "dbname")];
        read_as("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", &socket);
        let socket = "postgresql:///dbname?host=/var/lib/postgresql&ssl=true";
        let expected = [
            ("host", "/var/lib/postgresql"),
            ("dbname", "dbname"),
            ("sslmode", "require"),
        ];
        read_as(socket, &expected);
        read_as("postgresql://?client_encoding=latin1&port=", &[]);
    }

    #[test]
    fn words_are_read_as_libpq_reads_them() {
        read_as("", &[]);
        let expected = [("host", "localhost"), ("port", "5432"), ("dbname", "mydb")];
        read_as("host=localhost port = 5432  dbname='mydb' ", &expected);
        let expected = [("user", "a b'\\"), ("password", "x y")];
        read_as(r"user='a b\'\\' password=x\ y ", &expected);
        read_as("user=''", &[]);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        for text in [
            "hunter2",
            "postgresql://u:hunter2%@h",
            "postgresql://u:hunter2%0@h",
            "postgresql://u:hunter2%+1@h",
            "postgresql://u:hunter2%00@h",
            "postgresql://u:hunter2@[::1",
            "postgresql://u:hunter2@[::1]x",
            "postgresql://u:hunter2@h?passwrod=hunter2",
            "postgresql://u:hunter2@h?hunter2",
            "password='hunter2",
            "passwrod=hunter2",
            "postgre://u:hunter2@h?port=1",
            "password=my hunter2 user=x",
        ] {
            let error = read(text).unwrap_err();
            let said = format!("{error:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        let error = read("passwrod=hunter2").unwrap_err();
        assert_eq!(error.help, "did you mean `password`?");
    }
}
