//! The views, models and tables that come with the engine: the files of `queries/` and `models/`, compiled in.

use crate::engine::BuiltIns;
use crate::sql::error::SqlError;

/// Names files of a folder and holds their text.
macro_rules! files {
    ($folder:literal: $($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../", $folder, "/", $file)))),*]
    };
}

/// Each file of `queries/`: its name and its text.
pub const QUERIES: &[(&str, &str)] = files!["queries":
    "anomalies.sql",
    "anomaly_acknowledgements.sql",
    "anomaly_events.sql",
    "baselines.sql",
    "change_points.sql",
    "dependency_cycles.sql",
    "log_anomalies.sql",
    "log_patterns.sql",
    "log_rates.sql",
    "log_templates.sql",
    "log_window_features.sql",
    "metric_rollups.sql",
    "missing_data.sql",
    "new_dependencies.sql",
    "operation_latency.sql",
    "performance_metrics.sql",
    "predictive_alerts.sql",
    "request_anomalies.sql",
    "request_latency_features.sql",
    "service_calls.sql",
    "service_dependencies.sql",
    "service_dependencies_1m.sql",
    "service_dependencies_by_kind.sql",
    "service_graph_edges.sql",
    "service_graph_nodes.sql",
    "service_health.sql",
    "service_reachability.sql",
    "service_slo.sql",
    "slow_queries.sql",
    "trace_critical_path.sql",
    "trace_error_origins.sql",
    "traces.sql",
];

/// Each file of `models/`: its name and its text.
pub const MODELS: &[(&str, &str)] = files!["models": "log_windows.sql", "request_latency.sql"];

/// All built-in views, models and tables.
pub fn views() -> Result<BuiltIns, SqlError> {
    let mut views = BuiltIns::default();
    QUERIES.iter().chain(MODELS).try_for_each(|(_, sql)| views.add(sql))?;
    Ok(views)
}
