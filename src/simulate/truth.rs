//! What was simulated, for measuring what is found in its telemetry.

use jiff::Timestamp;
use serde::Serialize;

use super::edge::Edge;
use super::fault::{Deploy, Fault, as_text};

/// The truth about a simulation: one JSON object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Truth<'a> {
    /// Always empty. With it the truth is an OTLP request without spans, which a replay of the folder that the truth
    /// lies in passes over.
    #[serde(rename = "resourceSpans")]
    pub resource_spans: [(); 0],
    /// What chance was drawn from.
    pub seed: u64,
    /// When it started.
    #[serde(serialize_with = "as_text")]
    pub started_at: Timestamp,
    /// The end of the last second told.
    #[serde(serialize_with = "as_text")]
    pub ended_at: Timestamp,
    /// Requests of visitors per second, averaged over a week.
    pub requests_per_second: f64,
    /// The services that report.
    pub services: Vec<&'static str>,
    /// What went wrong, in the order in which it began.
    pub faults: &'a [Fault],
    /// New versions, in the order in which they came.
    pub deploys: &'a [Deploy],
    /// Who called whom, and how often.
    pub edges: Vec<Edge>,
}
