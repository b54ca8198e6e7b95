//! A PostgreSQL server of a bench's own, and `psql \copy` into it as what everything is compared with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant as Moment;

/// The user that PostgreSQL's package creates: the server refuses to run as root.
const USER: &str = "postgres";

/// A server with the settings that PostgreSQL has by itself, but for memory.
pub struct Server {
    pub folder: PathBuf,
    programs: PathBuf,
    port: u16,
}

impl Server {
    pub fn start() -> Server {
        let installed = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed").flatten();
        let programs = installed.map(|entry| entry.path().join("bin")).max().expect("a version of PostgreSQL");
        let folder = std::env::temp_dir().join(format!("tidegate-bench-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let server = Server { folder, programs, port };
        if is_root() {
            run(Command::new("chown").arg(format!("{USER}:")).arg(&server.folder));
        }
        let cluster = server.folder.join("cluster");
        run(server
            .as_user("initdb")
            .args(["-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&cluster));
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=1GB \
             -c max_wal_size=8GB -c checkpoint_timeout=15min"
        );
        run(server
            .as_user("pg_ctl")
            .args(["-w", "-o", &options, "-l"])
            .arg(server.folder.join("log"))
            .arg("-D")
            .arg(&cluster)
            .arg("start"));
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://bench@127.0.0.1:{}/postgres", self.port)
    }

    fn as_user(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(path);
                command
            }
            false => Command::new(path),
        };
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Seconds of `\copy` of a file with or without a header; the table is dropped afterwards.
    #[allow(dead_code, reason = "not every bench compares with it")]
    pub fn psql_copy(&self, csv: &Path, header: bool) -> f64 {
        let psql = |sql: &str| {
            let mut command = Command::new(self.programs.join("psql"));
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url()]);
            run(&mut command);
        };
        psql(
            "create table copied (ts_code text not null, trade_date date not null, open numeric(16, 4), \
             high numeric(16, 4), low numeric(16, 4), close numeric(16, 4), pre_close numeric(16, 4), \
             change numeric(16, 4), pct_chg numeric(16, 4), vol numeric(16, 0), amount numeric(16, 2), \
             primary key (ts_code, trade_date))",
        );
        let started = Moment::now();
        psql(&format!("\\copy copied from '{}' with (format csv, header {header})", csv.display()));
        let seconds = started.elapsed().as_secs_f64();
        psql("drop table copied");
        psql("checkpoint");
        seconds
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let cluster = self.folder.join("cluster");
        let _ = self.as_user("pg_ctl").args(["-m", "immediate", "-w", "stop", "-D"]).arg(&cluster).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

fn run(command: &mut Command) {
    let ran = command.stderr(Stdio::piped()).output().expect("the program starts");
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}
