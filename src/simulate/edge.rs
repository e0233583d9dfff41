//! The service map, counted as calls are made.

use std::collections::BTreeMap;

use serde::Serialize;

/// How one calls another: the names that the view `service_dependencies` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionType {
    /// A request that a service answered.
    Direct,
    /// A message that a service worked on.
    MessagingSystem,
    /// A request to a database or cache, which reports nothing itself.
    Database,
    /// A request from a visitor, or to something that reports nothing or did not answer.
    VirtualNode,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The caller; `user` for visitors.
    pub source: &'static str,
    /// The service, database or interface that is called.
    pub target: &'static str,
    /// How.
    pub connection_type: ConnectionType,
    /// Calls, each attempt counted.
    pub call_count: u64,
    /// Those that failed on either side.
    pub error_count: u64,
}

#[derive(Default)]
pub(super) struct Edges(BTreeMap<(&'static str, &'static str, ConnectionType), (u64, u64)>);

impl Edges {
    pub fn count(
        &mut self,
        source: &'static str,
        target: &'static str,
        connection_type: ConnectionType,
        is_error: bool,
    ) {
        let (calls, errors) = self.0.entry((source, target, connection_type)).or_default();
        *calls += 1;
        *errors += u64::from(is_error);
    }

    pub fn all(&self) -> Vec<Edge> {
        let edge = |(&(source, target, connection_type), &(call_count, error_count))| Edge {
            source,
            target,
            connection_type,
            call_count,
            error_count,
        };
        self.0.iter().map(edge).collect()
    }
}
