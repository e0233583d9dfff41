//! Statements counted and timed.

use std::sync::Arc;
use std::time::Instant;

use crate::observe::Metrics;

/// A statement under way: counted when dropped, as failed unless it was said to have ended well.
pub(super) struct Measured {
    metrics: Arc<Metrics>,
    protocol: &'static str,
    begin: Instant,
    status: &'static str,
}

impl Measured {
    /// A statement of `protocol` begins.
    pub fn begin(metrics: &Arc<Metrics>, protocol: &'static str) -> Self {
        Measured { metrics: metrics.clone(), protocol, begin: Instant::now(), status: "error" }
    }

    /// It ended well.
    pub fn ok(&mut self) {
        self.status = "ok";
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.statements.with_label_values(&[self.protocol, self.status]).inc();
        let durations = self.metrics.statement_duration_seconds.with_label_values(&[self.protocol]);
        durations.observe(self.begin.elapsed().as_secs_f64());
    }
}
