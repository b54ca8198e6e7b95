//! Addresses of PostgreSQL databases, and TLS as they ask for it: the same for the store, for sources, for what is compared and
//! for what events are taken from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::model::{Error, Result};

/// An address without what tokio-postgres does not know of it.
#[derive(Clone)]
pub struct Address {
    config: Config,
    verify: Verify,
    root: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    Nothing,
    Everything,
}

impl Address {
    /// Reads `postgres://...`. `sslmode=verify-full` (or `verify-ca`) and `sslrootcert` are ours to understand.
    ///
    /// # Errors
    ///
    /// What is no such address; `field` names the option or field that it stands in, and the address is not repeated.
    pub fn read(url: &str, field: &str, connect: Duration) -> Result<Address> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut verify, mut root, mut rest) = (Verify::Nothing, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "verify-full" | "verify-ca")) => {
                    verify = Verify::Everything;
                    rest.push("sslmode=require");
                }
                Some(("sslrootcert", path)) => {
                    root = Some(PathBuf::from(percent_encoding::percent_decode_str(path).decode_utf8_lossy().as_ref()));
                }
                _ => rest.push(pair),
            }
        }
        let separator = if rest.is_empty() { "" } else { "?" };
        let text = format!("{base}{separator}{}", rest.join("&"));
        let mut config: Config = text.parse().map_err(|_| {
            // The cause may quote the address, and with it the password.
            Error::invalid(format!("`{field}` is not an address of a PostgreSQL database"))
                .hint("write postgres://user:password@host:5432/database?sslmode=verify-full")
        })?;
        config.connect_timeout(connect);
        config.application_name("tidegate");
        config.keepalives_idle(Duration::from_secs(30));
        Ok(Address { config, verify, root })
    }

    /// What the driver knows of it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Server and database for people, without user and password.
    pub fn server(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            _ => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres");
        format!("postgres://{host}:{port}/{database}")
    }

    /// As the address asks for it.
    pub fn tls(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::bug("setting up TLS failed").caused_by(error))?;
        let config = match self.verify {
            Verify::Everything => builder.with_root_certificates(self.roots()?).with_no_client_auth(),
            // What `require` promises: nobody can listen; who answers is not checked.
            Verify::Nothing => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth(),
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.root else {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            return Ok(roots);
        };
        let unreadable = |what: String| {
            Error::invalid(format!("the certificates in {} cannot be used: {what}", path.display()))
                .hint("`sslrootcert` names a PEM file with the certificate that signed the server's")
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() { Err(unreadable("there is none in it".to_owned())) } else { Ok(roots) }
    }
}

/// What is wrong with the server's certificate, where a connection failed for that.
pub fn untrusted(error: &tokio_postgres::Error, server: &str) -> Option<Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let held = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = held.map_or_else(|| inner.downcast_ref(), |held| held.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) = tls {
            return Some(
                Error::denied(format!("the certificate of the server at {server} does not count: {why}"))
                    .hint("add sslrootcert=FILE.pem with the authority that signed it, and use the host's own name"),
            );
        }
        cause = inner.source();
    }
    None
}

/// Accepts every certificate, but checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
