//! How a connection is protected, as libpq's `sslmode` says
//! ([libpq](https://www.postgresql.org/docs/15/libpq-ssl.html)).
//!
//! | mode | encrypted | the certificate |
//! |---|---|---|
//! | disable | never | |
//! | prefer | where the server can | of whomever |
//! | require | always | of whomever; of the file, where there is one |
//! | verify-ca | always | of the file, or of whom the system trusts |
//! | verify-full | always | of the same, and for this host |
//!
//! A file of certificates that vouch for servers is compared with in any mode that encrypts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::environment::Environment;
use super::error::Unfit;
use super::parameters::Parameters;

/// How a connection is protected.
#[derive(Clone)]
pub(super) enum Protection {
    /// Not at all.
    Without,
    /// Where the server can.
    WherePossible(MakeRustlsConnect),
    /// Always.
    Always(MakeRustlsConnect),
}

/// Whom the server must prove to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Whoever it is.
    Nobody,
    /// Somebody who is vouched for.
    Vouched,
    /// The host that is called, vouched for.
    Host,
}

/// The user's file of certificates that vouch for servers, in the home.
const USERS: &str = ".postgresql/root.crt";

impl Protection {
    /// What parameters say of it.
    ///
    /// # Errors
    /// When there is no such mode, or a file of certificates holds none.
    pub(super) fn of(parameters: &Parameters, environment: &Environment) -> Result<Self, Unfit> {
        let file = match parameters.get("sslrootcert") {
            Some("system") => None,
            Some(path) => Some(PathBuf::from(path)),
            None => environment.in_home(USERS).filter(|path| path.exists()),
        };
        let vouched = if file.is_some() {
            Proof::Vouched
        } else {
            Proof::Nobody
        };
        let file = file.as_deref();
        Ok(match parameters.get("sslmode").unwrap_or("prefer") {
            "disable" => Protection::Without,
            "prefer" => Protection::WherePossible(connector(vouched, file)?),
            "require" => Protection::Always(connector(vouched, file)?),
            "verify-ca" => Protection::Always(connector(Proof::Vouched, file)?),
            "verify-full" => Protection::Always(connector(Proof::Host, file)?),
            _ => {
                let what = "`sslmode` is none of disable, prefer, require, verify-ca, verify-full";
                return Err(Unfit::of(what));
            }
        })
    }
}

fn connector(proof: Proof, file: Option<&Path>) -> Result<MakeRustlsConnect, Unfit> {
    let provider = Arc::new(ring::default_provider());
    let vouching = if proof == Proof::Nobody {
        None
    } else {
        let roots = Arc::new(roots(file)?);
        let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let built = built.build();
        Some(built.map_err(|error| Unfit::of(error.to_string()))?)
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions();
    let config = config.expect("ring speaks TLS 1.2 and 1.3").dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Verifier {
        names_count: proof == Proof::Host,
        vouching,
        provider,
    }));
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

/// The certificates of a file, or those that the system trusts.
fn roots(file: Option<&Path>) -> Result<RootCertStore, Unfit> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let what = "the system trusts no certificate of anybody";
            return Err(Unfit::of(what).help("write `ca_file`"));
        }
        return Ok(roots);
    };
    let wrong = |why: String| Unfit::of(format!("{}: {why}", file.display()));
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Looks at a certificate no more closely than the mode insists on. The server always proves that it is
/// its own.
#[derive(Debug)]
struct Verifier {
    /// Who may vouch for it; none: it is not looked at.
    vouching: Option<Arc<WebPkiServerVerifier>>,
    /// Whether it must name the host.
    names_count: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        status: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(vouching) = &self.vouching else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = vouching.verify_server_cert(certificate, between, host, status, now);
        match verified {
            // The name is compared last: everything else was right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names_count => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
