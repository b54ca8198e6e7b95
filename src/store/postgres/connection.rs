//! Connections: a bounded pool, TLS where the address asks for it, and sessions that never go back half way through a
//! transaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Step};
use super::values::quoted;
use crate::model::{Error, Result};

/// How the database is used.
#[derive(Clone, Debug, PartialEq)]
pub struct PostgresOptions {
    /// Create the schema and the ledger when they are missing.
    pub create: bool,
    /// Open a store into which a copy has not been finished, too.
    pub unfinished: bool,
    /// Where the tables are; several stores may live in one database.
    pub schema: String,
    /// Connections at the same time.
    pub connections: usize,
    /// Seconds to wait for one of them.
    pub wait_seconds: u64,
    /// Seconds for a connection to be made.
    pub connect_seconds: u64,
    /// Seconds for one statement of a commit or a read of the ledger; 0: no limit. Scans have none.
    pub statement_seconds: u64,
    /// Seconds to wait for somebody else's lock.
    pub lock_seconds: u64,
    /// Seconds for which a step is tried again when the server went away.
    pub reconnect_seconds: u64,
    /// Rows in a batch of a scan.
    pub scan_batch_rows: usize,
}

impl Default for PostgresOptions {
    fn default() -> PostgresOptions {
        PostgresOptions {
            create: false,
            unfinished: false,
            schema: "tidegate".to_owned(),
            connections: 8,
            wait_seconds: 30,
            connect_seconds: 10,
            statement_seconds: 600,
            lock_seconds: 120,
            reconnect_seconds: 60,
            scan_batch_rows: 8_192,
        }
    }
}

/// An address without what tokio-postgres does not know of it.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
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
    pub(super) fn parse(url: &str, options: &PostgresOptions) -> Result<Address> {
        Address::read(url, "store.url", Duration::from_secs(options.connect_seconds))
    }

    /// As `parse`; errors name the option or field that the address stands in, and never the address.
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

    /// Server, database and schema for people, without a password.
    pub(super) fn place(&self, schema: &str) -> String {
        format!("{} schema {schema}", self.server())
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

    pub(super) fn pool(&self, options: &PostgresOptions) -> Result<Pool> {
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match self.config.get_ssl_mode() {
            SslMode::Disable => Manager::from_config(self.config.clone(), NoTls, manager_config),
            _ => Manager::from_config(self.config.clone(), self.tls()?, manager_config),
        };
        let settings = settings(options);
        let set = Hook::async_fn(move |client, _| {
            let settings = settings.clone();
            Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(options.connections.max(2))
            .wait_timeout(Some(Duration::from_secs(options.wait_seconds)))
            .create_timeout(Some(Duration::from_secs(options.connect_seconds)))
            .runtime(Runtime::Tokio1)
            .post_create(set);
        pool.build().map_err(|error| Error::bug("making a pool of connections failed").caused_by(error))
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

/// What every connection is told first.
fn settings(options: &PostgresOptions) -> String {
    format!(
        "set search_path to {}; set statement_timeout to '{}s'; set lock_timeout to '{}s'; \
         set time zone 'Asia/Shanghai'; set standard_conforming_strings to on; set client_min_messages to warning; \
         set extra_float_digits to 1",
        quoted(&options.schema),
        options.statement_seconds,
        options.lock_seconds
    )
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

/// A connection in use. Dropped within a transaction it is closed, so that nobody goes on in it.
pub(super) struct Session {
    client: Option<Object>,
    in_transaction: AtomicBool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && self.in_transaction.load(Ordering::Relaxed)
        {
            drop(Object::take(client));
        }
    }
}

impl Session {
    pub(super) async fn open(pool: &Pool) -> Step<Session> {
        Ok(Session { client: Some(pool.get().await?), in_transaction: AtomicBool::new(false) })
    }

    pub(super) fn client(&self) -> Step<&Object> {
        self.client.as_ref().ok_or_else(|| Fault::Stated(Error::bug("a session has lost its connection")))
    }

    pub(super) async fn begin(&self, how: &str) -> Step<()> {
        self.in_transaction.store(true, Ordering::Relaxed);
        self.run(&format!("begin {how}")).await
    }

    pub(super) async fn commit(&self) -> Step<()> {
        self.run("commit").await?;
        self.in_transaction.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Ends a transaction that failed; a connection that cannot even do that is closed when the session ends.
    pub(super) async fn roll_back(&self) {
        if self.run("rollback").await.is_ok() {
            self.in_transaction.store(false, Ordering::Relaxed);
        }
    }

    /// Statements without parameters and without an answer.
    pub(super) async fn run(&self, sql: &str) -> Step<()> {
        Ok(self.client()?.batch_execute(sql).await?)
    }

    /// A statement that is used again: it stays prepared.
    pub(super) async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Step<Vec<Row>> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, values).await?)
    }

    pub(super) async fn query_one(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Step<Row> {
        let row = self.query(sql, values).await?.into_iter().next();
        row.ok_or_else(|| Fault::Stated(Error::bug("a question that always has an answer had none")))
    }

    pub(super) async fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Step<u64> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.execute(&statement, values).await?)
    }

    /// A question that is asked once, with its values inside.
    pub(super) async fn ask(&self, sql: &str) -> Step<Vec<Row>> {
        Ok(self.client()?.query_typed(sql, &[]).await?)
    }

    /// A number from a question that is asked once.
    pub(super) async fn ask_count(&self, sql: &str) -> Step<u64> {
        let rows = self.ask(sql).await?;
        let count: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        Ok(count as u64)
    }

    /// Nobody else holds this lock until the transaction ends.
    pub(super) async fn lock(&self, number: i64) -> Step<()> {
        self.execute("select pg_advisory_xact_lock($1)", &[&number]).await?;
        Ok(())
    }
}
