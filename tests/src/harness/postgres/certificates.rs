//! Certificates, made when they are needed.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::done;

/// Nothing but what the command line says.
const CONFIG: &str = "[req]\ndistinguished_name = dn\n[dn]\n";

/// A key that is made at once.
const KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

/// Makes `ca.crt` in a folder, of who vouches for a server, and `server.crt` with its `server.key`;
/// `names` are the server's, as in `DNS:localhost,IP:127.0.0.1`. `openssl` is run by who owns the folder.
pub(super) fn make(folder: &Path, names: &str, openssl: impl Fn() -> Command) {
    fs::write(folder.join("openssl.cnf"), CONFIG).expect("the folder is ours");
    let make = |name: &str, more: &[&str]| {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let mut openssl = openssl();
        openssl.args(["req", "-x509", "-config", "openssl.cnf", "-days", "2"]);
        openssl.args(["-subj", &format!("/CN={name}"), "-keyout", &key]);
        openssl.args(["-out", &certificate]).args(KEY).args(more);
        let made = done(&mut openssl);
        made.unwrap_or_else(|said| panic!("openssl: {said}"));
    };
    make("ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
    let names = format!("subjectAltName={names}");
    let by_authority = ["-CA", "ca.crt", "-CAkey", "ca.key"];
    make(
        "server",
        &[&by_authority[..], &["-addext", &names]].concat(),
    );
}
