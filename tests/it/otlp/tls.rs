//! TLS on both ports, from one certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use super::client::{Answer, PROTOBUF, connect, exchange, head, send};
use super::spans;
use crate::in_process::InProcess;

/// A service with a certificate of its own.
struct Secured {
    service: InProcess,
    pem: String,
    certificate: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl Secured {
    fn start(settings: &[(&'static str, &str)]) -> Secured {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let (certificate, key) = (certificate.to_str().expect("text"), key.to_str().expect("text"));
        let tls = [("tls.certificate", certificate), ("tls.key", key)];
        let service = InProcess::start(&[&tls[..], settings].concat());
        Secured { service, pem: made.cert.pem(), certificate: made.cert.der().clone(), _folder: folder }
    }

    /// A stream to `address` that trusts the certificate.
    fn connect(&self, address: SocketAddr) -> impl std::io::Read + std::io::Write {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a configuration");
        StreamOwned::new(connection, connect(address))
    }

    fn post(&self, body: &[u8]) -> Answer {
        let request = head("POST", "/v1/traces", &[("content-type", PROTOBUF)], body.len());
        send(self.connect(self.service.otlp_http()), &request, body)
    }

    fn trace_client(&self) -> TraceServiceClient<Channel> {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.pem)).domain_name("localhost");
        let endpoint =
            Channel::from_shared(format!("https://{}", self.service.otlp_grpc())).expect("an address");
        let endpoint = endpoint.tls_config(tls).expect("a configuration");
        TraceServiceClient::new(self.service.runtime.block_on(async { endpoint.connect_lazy() }))
    }
}

#[test]
fn clients_that_trust_the_certificate_are_served() {
    let secured = Secured::start(&[]);
    assert_eq!(secured.post(&spans(0..3, "GET").encode_to_vec()).status, 200);
    let mut client = secured.trace_client();
    secured.service.runtime.block_on(client.export(spans(3..5, "GET"))).expect("success");
    secured.service.wait_for("SELECT count(*) FROM spans", &["5"]);
}

#[test]
fn plain_clients_are_refused_and_harm_nobody() {
    let secured = Secured::start(&[]);
    let body = spans(0..3, "GET").encode_to_vec();
    let request = head("POST", "/v1/traces", &[("content-type", PROTOBUF)], body.len());
    for address in [secured.service.otlp_http(), secured.service.otlp_grpc()] {
        let answer = exchange(connect(address), &[request.as_bytes(), &body].concat());
        // At most an alert of TLS, never an answer.
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let mut plain = TraceServiceClient::new({
        let endpoint =
            Channel::from_shared(format!("http://{}", secured.service.otlp_grpc())).expect("an address");
        secured.service.runtime.block_on(async { endpoint.connect_lazy() })
    });
    assert!(secured.service.runtime.block_on(plain.export(spans(0..1, "GET"))).is_err());
    assert_eq!(secured.post(&body).status, 200);
    secured.service.wait_for("SELECT count(*) FROM spans", &["3"]);
}

#[test]
fn those_without_a_place_are_told_in_tls() {
    let secured = Secured::start(&[("limits.connections_max", "1")]);
    let _places = [connect(secured.service.otlp_http()), connect(secured.service.otlp_grpc())];
    let answer = secured.post(&spans(0..3, "GET").encode_to_vec());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    let mut client = secured.trace_client();
    let status = secured.service.runtime.block_on(client.export(spans(0..1, "GET"))).expect_err("no place");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("too many connections"), "{status:?}");
}
