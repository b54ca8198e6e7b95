//! The catalogue against its documentation and, where the shared reference is present, against the vendor's columns.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tidegate::catalog::{Catalog, check, document};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_reference_page_is_what_the_catalogue_generates() {
    let path = root().join("docs/reference/datasets.md");
    let generated = document::markdown(&Catalog::builtin().unwrap());
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "docs/reference/datasets.md differs from the catalogue (first at line {:?}); \
         regenerate it with `TIDEGATE_BLESS=1 cargo test --test it catalogue`",
        differs.map(|line| line + 1)
    );
}

#[test]
fn the_example_of_the_guide_is_a_dataset() {
    let guide = fs::read_to_string(root().join("docs/guide/catalogue.md")).unwrap();
    let (_, rest) = guide.split_once("```toml\n").expect("the guide has an example");
    let (example, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("margin_secs.toml"), example).unwrap();
    let catalog = Catalog::load(Some(folder.path())).unwrap();
    assert_eq!(catalog.get("margin_secs").unwrap().columns.len(), 4);
}

#[test]
fn the_guide_names_every_rule() {
    let guide = fs::read_to_string(root().join("docs/guide/catalogue.md")).unwrap();
    for rule in check::RULES {
        assert!(guide.contains(&format!("`{rule}`")), "docs/guide/catalogue.md lacks the rule {rule}");
    }
}

#[test]
fn every_builtin_has_the_columns_of_the_vendor() {
    let shared = std::env::var_os("TIDEGATE_SHARED").map_or(root().join("../shared"), PathBuf::from);
    let path = shared.join("reference/datasets.csv");
    if !path.exists() {
        eprintln!("{} is absent: columns are not compared", path.display());
        return;
    }
    let mut expected: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
    for record in csv::Reader::from_path(path).unwrap().records() {
        let record = record.unwrap();
        let nullable = &record[5] == "1";
        expected.entry(record[0].into()).or_default().push((record[1].into(), nullable));
    }
    assert_eq!(expected.len(), 34);
    let catalog = Catalog::builtin().unwrap();
    for (name, columns) in expected {
        let dataset = catalog.get(&name).unwrap();
        let sent = dataset.columns.iter().filter(|column| column.derived.is_none());
        let actual: Vec<_> = sent.map(|column| (column.name.clone(), column.nullable)).collect();
        assert_eq!(actual, columns, "{name}");
    }
}
