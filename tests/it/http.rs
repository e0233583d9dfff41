//! The HTTP API, by curl.

mod hostile;
mod jaeger;
mod operations;
mod sql;
mod subscribe;
