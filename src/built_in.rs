//! The views that come with the engine: the files of `queries/`, compiled in.

use crate::engine::BuiltIns;
use crate::sql::error::SqlError;

/// Names files of `queries/` and holds their text.
macro_rules! queries {
    ($($file:literal),* $(,)?) => { &[$(($file, include_str!(concat!("../queries/", $file)))),*] };
}

/// Each file of `queries/`: its name and its text.
pub const QUERIES: &[(&str, &str)] = queries![
    "anomalies.sql",
    "anomaly_events.sql",
    "baselines.sql",
    "change_points.sql",
    "dependency_cycles.sql",
    "log_patterns.sql",
    "log_rates.sql",
    "log_templates.sql",
    "metric_rollups.sql",
    "new_dependencies.sql",
    "operation_latency.sql",
    "performance_metrics.sql",
    "service_calls.sql",
    "service_dependencies.sql",
    "service_dependencies_1m.sql",
    "service_dependencies_by_kind.sql",
    "service_graph_edges.sql",
    "service_graph_nodes.sql",
    "service_health.sql",
    "service_reachability.sql",
    "slow_queries.sql",
    "trace_critical_path.sql",
    "trace_error_origins.sql",
    "traces.sql",
];

/// All built-in views.
pub fn views() -> Result<BuiltIns, SqlError> {
    let mut views = BuiltIns::default();
    QUERIES.iter().try_for_each(|(_, sql)| views.add(sql))?;
    Ok(views)
}
