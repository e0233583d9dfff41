//! A broker of Apache Kafka in a process of its own.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// A broker that is killed when dropped.
pub struct Broker {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(name)
}

impl Broker {
    /// Starts one.
    pub fn start() -> Broker {
        let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
        let fetched = Command::new(script("jars.sh")).arg(&jars).status().unwrap();
        assert!(fetched.success(), "java and mvn are needed");
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(script("broker.sh"));
        command.arg(&jars).arg(folder.path()).arg(port.to_string()).arg("-Xmx1g");
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The port opens when it can serve.
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        Broker { process, port, _folder: folder }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client of it.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("message.max.bytes", "2000000");
        config
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic =
            NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "2000000");
        let created = futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()));
        created.unwrap().into_iter().for_each(|topic| drop(topic.unwrap()));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
