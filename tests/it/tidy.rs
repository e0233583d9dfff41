//! The rules of the tree that a compiler does not know.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the inside out: each knows only those before it. Those of one entry do not know
/// each other.
const LAYERS: &[&[&str]] = &[
    &["fault"],
    &["telemetry"],
    &["detect"],
    &["delta"],
    &["sql"],
    &["observe"],
    &["journal"],
    &["checkpoint", "history"],
    &["engine"],
    &["config"],
    &["built_in", "connect", "ingest", "serve", "simulate"],
    &["command"],
];

/// The modules that may use a crate.
const CRATES: &[(&str, &[&str])] = &[
    // Dataflows are built here alone.
    ("timely", &["delta", "engine"]),
    ("differential_dataflow", &["delta", "engine"]),
    // Physical expressions and grouping serve the operators too; plans are made here alone.
    ("datafusion", &["sql", "delta", "history", "serve"]),
    // Async ends where threads begin.
    ("tokio", &["command", "connect", "engine", "serve"]),
    ("rdkafka", &["connect"]),
    ("arrow_avro", &["connect"]),
    ("parquet", &["ingest", "history", "command"]),
    // What is drawn by chance can be drawn again.
    ("rand_chacha", &["simulate"]),
    ("anyhow", &["main"]),
];

/// The most lines of a source file.
const FILE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The module directly below `src/` that `path` belongs to.
fn layer_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// `text` without comments, which may name anything.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_layer_knows_only_those_before_it() {
    for path in files_below(&root().join("src"), "rs") {
        let layer = layer_of(&path);
        let Some(level) = LAYERS.iter().position(|names| names.contains(&layer.as_str())) else {
            assert!(["lib", "main"].contains(&layer.as_str()), "{layer} has no place among the layers");
            continue;
        };
        let text = code(&fs::read_to_string(&path).unwrap());
        for name in LAYERS[level..].iter().copied().flatten().filter(|name| **name != layer) {
            assert!(!text.contains(&format!("crate::{name}")), "{} names {name}", path.display());
        }
    }
}

#[test]
fn each_crate_is_used_where_it_belongs() {
    for path in files_below(&root().join("src"), "rs") {
        let layer = layer_of(&path);
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = code(&fs::read_to_string(&path).unwrap());
        for (name, layers) in CRATES {
            let is_used = text.contains(&format!("{name}::")) || text.contains(&format!("use {name};"));
            assert!(!is_used || layers.contains(&layer.as_str()), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn files_are_short_and_finished() {
    for folder in ["src", "tests", "benches"] {
        for path in files_below(&root().join(folder), "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().count();
            assert!(
                lines <= FILE_LINES_MAX,
                "{} has {lines} lines, {FILE_LINES_MAX} allowed",
                path.display()
            );
            // Split, so that this file does not hold them itself.
            for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
                assert!(!text.contains(word), "{} holds a {word}", path.display());
            }
        }
    }
}

#[test]
fn each_query_is_built_in_documented_and_tested() {
    let files = undercurrent::built_in::QUERIES.iter().chain(undercurrent::built_in::MODELS);
    let listed: BTreeSet<&str> = files.map(|(name, _)| *name).collect();
    let tests: String = files_below(&root().join("tests/it"), "rs")
        .iter()
        .filter(|path| path.to_string_lossy().contains("queries"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let folders = ["queries", "models"].map(|folder| files_below(&root().join(folder), "sql"));
    for path in folders.into_iter().flatten() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(listed.contains(name), "{name} is not listed in src/built_in.rs");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-- "), "{name} does not begin with a comment");
        let view = name.trim_end_matches(".sql");
        // A plain view is tested by way of those that read it.
        let is_tested = tests.contains(view) || text.contains("CREATE VIEW");
        assert!(is_tested, "no test of tests/it/queries names {view}");
    }
}

#[test]
fn each_dataset_says_where_it_comes_from() {
    for entry in fs::read_dir(root().join("datasets")).into_iter().flatten() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default().to_lowercase();
            assert!(
                readme.contains("licen") && readme.contains("source"),
                "{} needs a README.md",
                folder.display()
            );
        }
    }
}
