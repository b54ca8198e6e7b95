//! The mirror of a real store, read by the unmodified official client and by a second Tidegate.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::world::{Ran, Wanted, World, program};

/// `tidegate serve --mirror` on a free port; it ends when it is dropped.
struct Mirror {
    child: Child,
    url: String,
}

impl Mirror {
    fn of(mut command: Command) -> Mirror {
        command.args(["serve", "--mirror", "--listen", "127.0.0.1:0", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("\"url\": \"")?.1.replace('"', "")));
        Mirror { url: url.expect("the mirror says where it is"), child }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small market, every table of it.
fn every_table() -> World {
    let world = World::new(Wanted { securities: 40, first: "2023-03-01", last: "2024-02-02", ..Wanted::default() });
    world.create_store();
    let mut ran = world.tidegate(&["sync", "--all", "--from", "2023-12-31", "--to", "2024-02-02", "--quiet", "--json"]);
    ran.args(["--set", "sync.skip=", "--set", "sync.datasets_at_once=4"]);
    Ran::of(ran.output().unwrap(), 0, &["sync", "--all"]);
    // Dividends are announced in spring, and few securities are ever suspended.
    world.run(&["sync", "dividend", "suspend_d", "--from", "2023-03-01", "--to", "2023-12-30", "--quiet"], 0);
    world
}

#[test]
fn the_official_client_reads_every_table_from_the_mirror() {
    let world = every_table();
    let mirror = Mirror::of({
        let mut command = world.tidegate(&[]);
        command.args(["--set", "mirror.tokens=official:15000"]);
        command
    });
    let python = std::env::var("TIDEGATE_PYTHON").expect("scripts/test sets TIDEGATE_PYTHON: run the tests through it");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut script = Command::new(python);
    script.arg(root.join("tests/official/read_mirror.py")).args(["--url", &mirror.url, "--token", "official"]);
    script.arg("--store").arg(world.store_path()).arg("--catalog").arg(root.join("catalog"));
    let ran = script.current_dir(world.folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    eprintln!("{out}");
}

/// `tushare.pro_bar` asks for raw bars and factors and adjusts by itself: it must come to what the mirror computes.
#[test]
fn pro_bar_of_the_official_client_agrees_with_the_mirror_s_adjusted_prices() {
    let world = World::new(Wanted { securities: 12, first: "2023-03-01", last: "2024-02-02", ..Wanted::default() });
    world.create_store();
    let tables = ["stock_basic", "daily", "weekly", "monthly", "adj_factor"];
    let span = ["--from", "2023-03-01", "--to", "2024-02-02", "--quiet"];
    world.run(&[&["sync"], &tables[..], &span].concat(), 0);
    let mirror = Mirror::of(world.tidegate(&[]));
    let python = std::env::var("TIDEGATE_PYTHON").expect("scripts/test sets TIDEGATE_PYTHON: run the tests through it");
    let mut script = Command::new(python);
    script.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/official/pro_bar.py"));
    script.args(["--url", &mirror.url, "--token", "any", "--from", "20230301", "--to", "20240202"]);
    let ran = script.current_dir(world.folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    eprintln!("{out}");
}

/// The folder with real market data, when it is there.
fn real_data() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let named = std::env::var_os("TIDEGATE_SHARED").map(|shared| PathBuf::from(shared).join("data"));
    named.into_iter().chain([beside]).find(|folder| folder.join("README.md").exists())
}

/// Real files in, served by the mirror, synced by a second Tidegate: the two stores agree row for row.
#[test]
fn a_second_tidegate_syncs_imported_files_from_the_mirror() {
    let Some(data) = real_data() else {
        eprintln!("no real data beside the project: nothing to import");
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let tidegate = |store: &str| {
        let mut command = program(folder.path());
        command.args(["--set", &format!("store.path={store}"), "--quiet"]);
        command
    };
    let file = |name: &str| data.join(name).display().to_string();
    let run =
        |store: &str, arguments: &[&str]| Ran::of(tidegate(store).args(arguments).output().unwrap(), 0, arguments);
    run("first.db", &["import", "stock_basic", &file("lists/stock_basic_cnheader.csv.gz")]);
    for name in [
        "tushare_raw_2019_2020.tar.gz",
        "tushare_raw_2019_2020_earlier_download.tar.gz",
        "tushare_raw_603186_2019_2020.csv.gz",
    ] {
        run("first.db", &["import", "daily", &file(&format!("daily/{name}"))]);
    }
    let mirror = Mirror::of(tidegate("first.db"));
    run("second.db", &["init"]);
    let source = format!("sources.tushare.url={}", mirror.url);
    let sync = [
        "sync",
        "stock_basic",
        "daily",
        "--from",
        "2019-01-02",
        "--to",
        "2020-05-08",
        "--set",
        &source,
        "--set",
        "sources.tushare.token=any",
        "--set",
        "sources.tushare.points=15000",
    ];
    // A market of which half is missing looks thin, and a calendar is not there: the rows count, not the outcome.
    tidegate("second.db").args(sync).output().unwrap();
    for table in ["stock_basic", "daily"] {
        assert_eq!(rows(&folder, "first.db", table), rows(&folder, "second.db", table), "{table}");
    }
}

/// Every row of a table as text, without provenance, in the order of the key.
fn rows(folder: &tempfile::TempDir, store: &str, table: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(folder.path().join(store)).unwrap();
    let mut statement = connection.prepare(&format!("select * from \"{table}\" order by 1, 2")).unwrap();
    let columns: Vec<usize> =
        (0..statement.column_count()).filter(|column| statement.column_name(*column).unwrap() != "_seq").collect();
    let read = statement.query_map([], |row| {
        columns.iter().map(|column| row.get::<_, rusqlite::types::Value>(*column)).collect::<Result<Vec<_>, _>>()
    });
    read.unwrap().map(|row| format!("{:?}", row.unwrap())).collect()
}
