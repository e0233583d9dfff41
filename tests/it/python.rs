//! Clients written in Python, with the packages of `requirements.txt` in an environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Says that an environment is complete, and for which packages.
const STAMP: &str = "requirements.txt";

/// The Python with the packages; the environment is made when first asked for and kept below the folder of the
/// build.
fn interpreter() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/requirements.txt");
        let wanted = std::fs::read_to_string(requirements).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let interpreter = folder.join("bin/python");
        if std::fs::read_to_string(folder.join(STAMP)).is_ok_and(|made| made == wanted) {
            return interpreter;
        }
        let _ = std::fs::remove_dir_all(&folder);
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        succeed(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", "-r", requirements]));
        std::fs::write(folder.join(STAMP), wanted).unwrap();
        interpreter
    })
}

/// What `script`, called with `arguments`, prints. It has to end well.
pub fn run(script: &str, arguments: &[&str]) -> String {
    succeed(Command::new(interpreter()).args(["-c", script]).args(arguments))
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("python3 is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
