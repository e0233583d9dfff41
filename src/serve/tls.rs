//! TLS for every port, from one certificate and key.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use super::ServeError;
use crate::config::Config;

/// What accepts TLS connections, where a certificate is configured.
pub(super) fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, ServeError> {
    let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else { return Ok(None) };
    let failed = |path: &Path, reason: &dyn ToString| ServeError::Tls {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|e| failed(certificate, &e))?;
    if chain.is_empty() {
        return Err(failed(certificate, &"it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| failed(key, &e))?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| failed(certificate, &e))?;
    // PostgreSQL's own name first: clients that connect with TLS at once must ask for it.
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"postgresql".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}
