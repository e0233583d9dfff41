//! A real broker of Kafka, from its own jars.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::proxy::Proxy;
use crate::server::eventually;

/// Set where no test may be left out.
pub const WHOLE: &str = "UNDERCURRENT_LEAVE_NOTHING_OUT";

/// A broker, which ends with the process of the tests.
pub struct Broker {
    process: Mutex<Child>,
    jars: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    /// Where it listens for a proxy, and the proxy.
    behind: Option<(u16, u16)>,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(name)
}

/// The jars of the broker; `None`, and a word about it, where there is no Java.
fn jars() -> Option<PathBuf> {
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let fetch = || {
        let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
        let status = Command::new(script("jars.sh")).arg(&jars).status().expect("bash");
        match status.code() {
            Some(0) => Some(jars),
            Some(3) if std::env::var_os(WHOLE).is_none() => {
                eprintln!("left out: tests with a broker of Kafka, which need java and mvn");
                None
            }
            _ => panic!("the jars of Kafka cannot be fetched: {status}"),
        }
    };
    JARS.get_or_init(fetch).clone()
}

/// A port that is free, below those that the system gives to whoever asks for any.
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port")
}

impl Broker {
    /// A broker that tests share, each with topics of its own.
    pub fn shared() -> Option<&'static Broker> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        SHARED.get_or_init(Broker::start).as_ref()
    }

    /// A broker for one test.
    pub fn start() -> Option<Broker> {
        Broker::start_on(free_port(), None)
    }

    /// The same with a proxy, which is the way to it for whoever begins there.
    pub fn start_with_proxy() -> Option<(Broker, Proxy)> {
        let [port, behind, via] = [free_port(), free_port(), free_port()];
        let broker = Broker::start_on(port, Some((behind, via)))?;
        Some((broker, Proxy::start(via, behind)))
    }

    fn start_on(port: u16, behind: Option<(u16, u16)>) -> Option<Broker> {
        let (jars, folder) = (jars()?, tempfile::tempdir().expect("a folder"));
        let process = Mutex::new(launch(&jars, folder.path(), port, behind));
        let broker = Broker { process, jars, folder, port, behind };
        broker.wait();
        Some(broker)
    }

    fn wait(&self) {
        let ask = || -> bool {
            let consumer: BaseConsumer = self.client().create().expect("a client");
            consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok_and(|m| !m.brokers().is_empty())
        };
        eventually(ask, |is_there| *is_there);
    }

    /// Ends it, as a crash would.
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        drop(process.stdin.take());
        let _ = process.wait();
    }

    /// Has it stand still for `time`, as a machine that swaps does.
    pub fn pause(&self, time: Duration) {
        let signal = |name: &str| {
            let script = self.process.lock().unwrap_or_else(PoisonError::into_inner).id().to_string();
            // The broker is the only child of the shell that guards it, beside what waits for the pipe.
            let sent = Command::new("pkill").args(["-x", "-P", &script, "--signal", name, "java"]).status();
            assert!(sent.expect("pkill").success(), "the broker runs");
        };
        signal("STOP");
        std::thread::sleep(time);
        signal("CONT");
    }

    /// Starts it again, on what it had.
    pub fn restart(&self) {
        let launched = launch(&self.jars, self.folder.path(), self.port, self.behind);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = launched;
        self.wait();
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What its own tools need.
    pub fn jars(&self) -> &Path {
        &self.jars
    }

    /// A client of it, to be completed.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.address())
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        config
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let created =
            self.administer(async |admin| admin.create_topics([&topic], &AdminOptions::new()).await);
        created.expect("an answer").into_iter().for_each(|topic| drop(topic.expect("a topic")));
    }

    /// Deletes all records of a partition before `offset`.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        self.administer(async |admin| admin.delete_records(&list, &AdminOptions::new()).await)
            .expect("an answer");
    }

    fn administer<T>(&self, work: impl AsyncFnOnce(AdminClient<DefaultClientContext>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work(self.client().create().expect("a client")))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a broker that is killed when the pipe to it closes: even where the tests end without a word.
fn launch(jars: &Path, folder: &Path, port: u16, behind: Option<(u16, u16)>) -> Child {
    let behind = behind.map(|(behind, via)| format!(",{behind}:{via}")).unwrap_or_default();
    let guarded = "\"$@\" < /dev/null & pid=$!; cat > /dev/null; kill -9 $pid; wait $pid";
    let mut command = Command::new("bash");
    command
        .args(["-c", guarded, "broker"])
        .arg(script("broker.sh"))
        .arg(jars)
        .arg(folder)
        .arg(format!("{port}{behind}"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("bash")
}
