//! The story of the guide `settlement.md`: the script of the example itself, run as a reader would run it.

use std::path::Path;
use std::process::Command;

#[test]
fn the_script_of_the_guide_ends_with_tables_that_are_equal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let ran = Command::new(root.join("examples/settlement/run.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder.path())
        .env("TMPDIR", "/tmp")
        .env("TIDEGATE", env!("CARGO_BIN_EXE_tidegate"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    let (_, proof) = said.split_once("== the receiver's tables equal the sender's").unwrap();
    let (_, taken) = proof.split_once("== what was taken in").unwrap();
    for text in ["61249.5", "FP-0002", "1001"] {
        assert!(taken.contains(text), "{text}: {said}");
    }
    assert_eq!(taken.matches("applied").count(), 5, "{said}");
    assert!(!taken.contains("waiting") && !taken.contains("conflicting"), "{said}");
}

#[test]
fn the_guide_shows_the_commands_that_the_script_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (guide, script) = (read("docs/guide/settlement.md"), read("examples/settlement/run.sh"));
    for command in [
        "inbound add settlement --file",
        "--types 'l1_confirmed,voucher.*,invoice.*,settlement.*'",
        r#"'{"source": "/settlement", "outbox": {"table": "outbox", "mode": "mark", "listen": "outbox"}}'"#,
        "insert into invoice values (1001, 'FP-0001', 'L1-20260102-001', 60000.00, '2026-01-05')",
        "update invoice set amount = 61249.50 where id = 1001",
        "insert into settlement_sheet select 1, 'JS-0001', contract_no, count(*), sum(amount) from invoice group by contract_no",
        "store:tax_invoice_cache",
        "--name id=invoice_id --name version=source_version",
        "inbound check settlement 1001 --dataset tax_invoice_cache",
    ] {
        assert!(guide.contains(command) && script.contains(command), "{command}");
    }
}
