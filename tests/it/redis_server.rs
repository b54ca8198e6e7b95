//! A Redis of a test's own on a free port of the loopback, ended when dropped.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub struct RedisServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// What was written survives a kill.
    is_durable: bool,
}

impl RedisServer {
    /// `None` where Redis is not installed.
    pub fn start() -> Option<RedisServer> {
        RedisServer::begin(false)
    }

    /// One that writes everything down before it answers.
    pub fn start_durable() -> Option<RedisServer> {
        RedisServer::begin(true)
    }

    fn begin(is_durable: bool) -> Option<RedisServer> {
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().ok()?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::Builder::new().prefix("tidegate-redis-").tempdir().unwrap();
        let mut server = RedisServer { folder, port, child: None, is_durable };
        server.start_again();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// As a power cut would: everything is forgotten, unless the server is durable.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn start_again(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path().display().to_string());
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--save", ""]);
        let durable = ["--appendonly", "yes", "--appendfsync", "always"];
        command.args(if self.is_durable { &durable[..] } else { &["--appendonly", "no"] });
        self.child = Some(command.stdout(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "Redis does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let told = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        assert!(told.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().trim_end().to_owned()
    }

    /// How many answers are kept.
    pub fn keys(&self) -> u64 {
        let port = self.port.to_string();
        let told = Command::new("redis-cli").args(["-p", &port, "dbsize"]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
