//! A small file system, which tests fill up.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::broker::WHOLE;

/// The file that takes all the space.
const BALLAST: &str = "ballast";

/// A file system in memory that only processes [`within`](Self::within) see, and nobody needs to be root for. It goes with
/// the process that holds it.
pub struct Disk {
    holder: Child,
    folder: tempfile::TempDir,
}

impl Disk {
    /// One for `bytes`; `None`, and a word about it, where the system does not permit it.
    pub fn mount(bytes: u64) -> Option<Disk> {
        let folder = tempfile::tempdir().expect("a folder");
        // It stays until the pipe to it closes: even where the tests end without a word.
        let mounted = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mounted, "disk"]);
        command.arg(bytes.to_string()).arg(folder.path());
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let reason = match holder {
            Ok(mut holder) => {
                let mut line = String::new();
                BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
                if line == "mounted\n" {
                    return Some(Disk { holder, folder });
                }
                holder.wait().expect("an end").to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(std::env::var_os(WHOLE).is_none(), "a file system cannot be mounted: {reason}");
        eprintln!("left out: a test that fills a disk, for which unshare has to mount one: {reason}");
        None
    }

    /// Where it is, for those within.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command that becomes another one, which sees it.
    pub fn within(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target, "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Where all others find `name` on it.
    fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.path().strip_prefix("/").expect("a whole path")).join(name)
    }

    /// Takes all space, but for `left` bytes.
    pub fn fill(&self, left: u64) {
        let path = self.outside(BALLAST);
        let mut ballast = OpenOptions::new().create(true).append(true).open(path).expect("a file");
        let error = loop {
            if let Err(error) = ballast.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        let length = ballast.metadata().expect("a length").len();
        ballast.set_len(length.saturating_sub(left)).expect("less of it");
    }

    /// Gives it back.
    pub fn free(&self) {
        let ballast = File::options().write(true).open(self.outside(BALLAST)).expect("a file");
        ballast.set_len(0).expect("nothing of it");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
