//! The HTTP API.
//!
//! | path | answer |
//! |---|---|
//! | `POST /api/v1/sql`, `GET /api/v1/sql?sql=` | a statement's rows as JSON, CSV or Arrow ([`sql`]) |
//! | `GET /api/v1/subscribe?view=` | a view's changes as server-sent events ([`subscribe`]) |
//! | `GET /health`, `/ready`, `/metrics` | for those who operate it ([`operations`]) |
//! | `GET /api/services`, `/api/traces`, ... | Jaeger's queries ([`jaeger`]) |
//!
//! Errors are JSON: `{"error": {"code": ..., "message": ..., "hint": ...}}`, where the code is PostgreSQL's name
//! of the condition.

mod accept;
mod error;
mod format;
mod jaeger;
mod operations;
mod sql;
mod subscribe;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use self::error::ApiError;
use super::Context;
use super::listener::Listener;
use super::subscribers::Subscribers;

/// The name of the protocol in metrics.
const PROTOCOL: &str = "http";

/// What every request needs.
#[derive(Clone)]
struct Http {
    context: Context,
    subscribers: Subscribers,
}

pub(super) async fn serve(context: Context, listener: Listener) {
    let subscribers = Subscribers::new(&context, PROTOCOL);
    listener.run_http(router(Http { context, subscribers })).await;
}

fn router(http: Http) -> Router {
    Router::new()
        .route("/", get(operations::index))
        .route("/api/v1/sql", get(sql::get).post(sql::post))
        .route("/api/v1/subscribe", get(subscribe::subscribe))
        .route("/health", get(operations::health))
        .route("/ready", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .merge(jaeger::router())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn(refuse_other_sites))
        .with_state(http)
}

async fn not_found(request: Request) -> ApiError {
    let message = format!("there is nothing at \"{}\"", request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message).with_hint("GET / lists what there is")
}

async fn not_allowed(request: Request) -> ApiError {
    let message = format!("\"{}\" does not take {}", request.uri().path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// A page of another site must not change anything through the browser of somebody who may.
async fn refuse_other_sites(request: Request, next: Next) -> Result<Response, ApiError> {
    if is_from_another_site(&request) {
        let message = "a page of another site may not send statements".to_owned();
        return Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_privilege", message));
    }
    Ok(next.run(request).await)
}

/// Whether `request` may change something and a browser says that the page of another site sent it.
fn is_from_another_site(request: &Request) -> bool {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    // Over plain HTTP browsers tell no more than the origin of the page.
    let host = text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let is_foreign =
        text("origin").is_some_and(|origin| origin.split_once("://").map(|(_, host)| host) != host);
    is_foreign || matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"))
}
