//! A PostgreSQL server of a test's own: a fresh cluster in a temporary folder, stopped and removed when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct PostgresServer {
    data: TempDir,
    programs: PathBuf,
    port: u16,
}

impl PostgresServer {
    /// Makes a cluster and starts it on a free port of the loopback; `None` where PostgreSQL is not installed.
    pub fn start() -> Option<PostgresServer> {
        let programs = programs()?;
        let data = tempfile::Builder::new().prefix("tidegate-postgres-").tempdir().unwrap();
        own(data.path());
        let server = PostgresServer { data, programs, port: free_port() };
        let cluster = server.cluster();
        let arguments = ["-D", &cluster, "-U", "tidegate", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"];
        run(server.program("initdb").args(arguments));
        server.start_again();
        Some(server)
    }

    /// The address of a database of this server, as `tidegate` is a superuser of it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://tidegate@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and returns its address.
    pub fn create_database(&self, name: &str) -> String {
        self.psql("postgres", &format!("create database \"{name}\""));
        self.url(name)
    }

    /// Runs SQL with the server's own `psql` and returns what it prints, unaligned and without headings.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url(database)]);
        let ran = command.stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{sql}\n{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    /// Says who is let in and how, as lines of `pg_hba.conf`.
    pub fn let_in(&self, rules: &str) {
        std::fs::write(Path::new(&self.cluster()).join("pg_hba.conf"), rules).unwrap();
        self.psql("postgres", "select pg_reload_conf()");
    }

    /// The server shows this certificate from now on, and lets nobody in without TLS.
    pub fn insist_on_tls(&self, certificate: &Path, key: &Path) {
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = Path::new(&self.cluster()).join(name);
            std::fs::copy(from, &to).unwrap();
            run(Command::new("chmod").arg("600").arg(&to));
            own(&to);
        }
        self.psql("postgres", "alter system set ssl = on");
        self.let_in("hostssl all all 127.0.0.1/32 trust\nhostnossl all all 127.0.0.1/32 reject\n");
    }

    /// Ends the server as a power cut would: connections break, nothing is flushed.
    pub fn kill(&self) {
        run(self.program("pg_ctl").args(["-D", &self.cluster(), "-m", "immediate", "-w", "stop"]));
    }

    /// Starts the server after `kill`, on the same port with the same data.
    pub fn start_again(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=300 \
             -c wal_level=logical -c max_replication_slots=20 -c max_wal_senders=20",
            self.port
        );
        let (cluster, log) = (self.cluster(), self.data.path().join("log"));
        run(self
            .program("pg_ctl")
            .args(["-D", &cluster, "-w", "-t", "60", "-o", &options, "-l"])
            .arg(log)
            .arg("start"));
    }

    fn cluster(&self) -> String {
        self.data.path().join("cluster").display().to_string()
    }

    /// A program of PostgreSQL; as another user where this process is root, because the server refuses to be.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(path);
                command
            }
            false => Command::new(path),
        };
        command.current_dir(self.data.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let cluster = self.cluster();
        let _ = self.program("pg_ctl").args(["-D", &cluster, "-m", "immediate", "-w", "stop"]).output();
    }
}

/// The server that tests with a database of their own share. It is stopped when this process ends, in whatever way.
pub fn shared() -> &'static PostgresServer {
    static SHARED: OnceLock<PostgresServer> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = PostgresServer::start().expect("PostgreSQL is installed: see scripts/lib/tools.sh");
        server.stop_with_this_process();
        server
    })
}

impl PostgresServer {
    /// An empty database with a name that nothing else has: the name and the address.
    pub fn fresh_database(&self) -> (String, String) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("fresh_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = self.create_database(&name);
        (name, url)
    }

    /// Statics are never dropped: a shell waits for the end of this process, which closes its input, and cleans up.
    fn stop_with_this_process(&self) {
        let stop = format!(
            "cat >/dev/null; {} -D {} -m immediate -w stop; rm -rf {}",
            self.programs.join("pg_ctl").display(),
            self.cluster(),
            self.data.path().display()
        );
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--", "sh", "-c", &stop]);
                command
            }
            false => {
                let mut command = Command::new("sh");
                command.args(["-c", &stop]);
                command
            }
        };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The pipe stays open until this process ends.
        std::mem::forget(child);
    }
}

/// A relay to a server that can lose the answer to a commit: it passes `commit` on, waits for the server's answer, and
/// closes both sides instead of handing it back.
pub struct AnswerLost {
    pub port: u16,
    armed: Arc<AtomicBool>,
    lost: Arc<AtomicUsize>,
}

impl AnswerLost {
    pub async fn start(server: u16) -> AnswerLost {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let shared = (armed.clone(), lost.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(relay(client, server, shared.0.clone(), shared.1.clone()));
            }
        });
        AnswerLost { port, armed, lost }
    }

    pub fn lose_next_commit(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Answers that were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

async fn relay(client: TcpStream, server: TcpStream, armed: Arc<AtomicBool>, lost: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn({
        let armed = armed.clone();
        async move {
            let mut buffer = vec![0; 65_536];
            while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                // What the server says to a commit that it has made.
                if armed.load(Ordering::SeqCst) && buffer[..count].windows(7).any(|part| part == b"COMMIT\0") {
                    armed.store(false, Ordering::SeqCst);
                    lost.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if to_client.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        }
    });
    let questions = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    // Whichever side ends first ends both.
    let abort = (answers.abort_handle(), questions.abort_handle());
    tokio::select! {
        _ = answers => abort.1.abort(),
        _ = questions => abort.0.abort(),
    }
}

/// The user that PostgreSQL's package creates.
const USER: &str = "postgres";

/// The folder with the newest server's programs.
fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_string_lossy().parse::<u32>().ok());
    let newest =
        installed.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists()).max_by_key(version);
    newest.map(|path| path.join("bin"))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// Gives the folder to the user that runs the server.
fn own(folder: &Path) {
    if is_root() {
        run(Command::new("chown").arg(format!("{USER}:")).arg(folder));
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    let ran = command.stderr(Stdio::piped()).output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_server_of_a_tests_own_is_killed_and_comes_back_with_what_was_written() {
    let Some(server) = PostgresServer::start() else {
        return eprintln!("PostgreSQL is not installed");
    };
    let url = server.create_database("own");
    assert_eq!(url, format!("postgres://tidegate@127.0.0.1:{}/own", server.port()));
    server.psql("own", "create table kept (id int primary key); insert into kept values (7)");
    server.kill();
    server.start_again();
    assert_eq!(server.psql("own", "select id from kept"), "7");
}
