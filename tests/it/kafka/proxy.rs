//! A network that fails when it is told to: what stands between the engine and a broker.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch::{Receiver, Sender, channel};

/// How much is passed on at once, and how long that takes where the network is slow.
const PIECE_BYTES: usize = 8 << 10;
const SLOW: Duration = Duration::from_millis(40);

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// It passes everything on.
    Passes,
    /// It does, after a while, and not much at once.
    IsSlow,
    /// It takes connections, keeps those that there are, and passes nothing on: what is under way arrives later.
    Stalls,
    /// It resets all connections and refuses new ones.
    IsCut,
}

impl Network {
    fn is_whole(self) -> bool {
        matches!(self, Network::Passes | Network::IsSlow)
    }
}

/// The way from one port of this machine to another, until it is dropped.
pub struct Proxy {
    port: u16,
    network: Sender<Network>,
    _runtime: Runtime,
}

impl Proxy {
    /// Takes connections on port `from`, and makes one to port `to` for each.
    pub fn start(from: u16, to: u16) -> Proxy {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (network, told) = channel(Network::Passes);
        // It takes connections from here on.
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", from))).expect("the port");
        runtime.spawn(serve(listener, to, told));
        Proxy { port: from, network, _runtime: runtime }
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has the network do something else from now on.
    pub fn tell(&self, network: Network) {
        self.network.send_replace(network);
    }
}

/// Waits until the network does what `is_wanted`; it does not once the proxy is gone.
async fn until(told: &mut Receiver<Network>, is_wanted: impl FnMut(&Network) -> bool) -> Option<Network> {
    told.wait_for(is_wanted).await.ok().map(|network| *network)
}

async fn serve(mut listener: TcpListener, to: u16, mut told: Receiver<Network>) {
    let address = listener.local_addr().expect("an address");
    loop {
        tokio::select! {
            biased;
            network = until(&mut told, |network| *network == Network::IsCut) => {
                // Without a listener the system refuses whoever comes.
                drop(listener);
                let network = match network {
                    Some(_) => until(&mut told, |network| *network != Network::IsCut).await,
                    None => None,
                };
                if network.is_none() {
                    return;
                }
                listener = TcpListener::bind(address).await.expect("the port that it had");
            }
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("a connection");
                tokio::spawn(connect(client, to, told.clone()));
            }
        }
    }
}

/// Carries bytes between `client` and the port `to`, until both have ended or the network is cut.
async fn connect(mut client: TcpStream, to: u16, told: Receiver<Network>) {
    let mut cut = told.clone();
    tokio::select! {
        () = carry_both(&mut client, to, told) => {}
        _ = until(&mut cut, |network| *network == Network::IsCut) => {}
    }
    // What ended by itself has left nothing that this could take away.
    let _ = client.set_zero_linger();
}

async fn carry_both(client: &mut TcpStream, to: u16, mut told: Receiver<Network>) {
    until(&mut told, |network| network.is_whole()).await;
    let Ok(mut broker) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (from_client, to_client) = client.split();
    let (from_broker, to_broker) = broker.split();
    tokio::join!(carry(from_client, to_broker, told.clone()), carry(from_broker, to_client, told));
}

/// Passes on what comes, as long as the network does, and in the end that it has ended.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut told: Receiver<Network>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        until(&mut told, |network| network.is_whole()).await;
        let read = from.read(&mut buffer).await;
        // What has come as it stalled waits.
        let network = until(&mut told, |network| network.is_whole()).await;
        if network == Some(Network::IsSlow) {
            tokio::time::sleep(SLOW).await;
        }
        match read {
            Ok(length) if length > 0 && to.write_all(&buffer[..length]).await.is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown().await;
}
