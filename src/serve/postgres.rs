//! To be written.

use super::Context;
use super::listener::Listener;

pub(super) async fn serve(_context: Context, listener: Listener) {
    listener.run_http(axum::Router::new()).await;
}
