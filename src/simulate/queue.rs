//! Messages that wait for those who work on them.

use std::collections::BTreeMap;

use super::model::{MODEL, Target};
use super::season::SECOND_NS;

/// The share of their time for which consumers work at the average load, when all is well.
const UTILISATION: f64 = 0.35;

/// No message waits longer than this for those before it: more consumers are started.
const WAIT_NS_MAX: i64 = 180 * SECOND_NS;

/// The consumers of each topic, as many as the average load needs.
pub(super) struct Queues {
    /// For each operation that works on messages.
    consumers: BTreeMap<usize, Consumers>,
}

struct Consumers {
    /// By how much the work on one message delays the next, as a share of that work.
    delay_share: f64,
    /// When all messages that came so far are taken.
    free_at_ns: i64,
}

impl Queues {
    /// Consumers for so many requests per second.
    pub fn new(requests_per_second: f64) -> Self {
        let mut arrivals = vec![0.0; MODEL.operations.len()];
        for visit in &MODEL.visits {
            count(visit.operation, visit.weight * requests_per_second, &mut arrivals);
        }
        let consumers = MODEL.topics.iter().flat_map(|topic| &topic.consumers).map(|&operation| {
            let work_s = median_ns(operation) / SECOND_NS as f64;
            // One consumer at least, which is delayed by the whole of its work.
            let delay_share = (UTILISATION / (arrivals[operation] * work_s)).min(1.0);
            (operation, Consumers { delay_share, free_at_ns: i64::MIN })
        });
        Queues { consumers: consumers.collect() }
    }

    /// How long a message that comes at `at_ns` waits for those before it.
    pub fn wait_ns(&self, operation: usize, at_ns: i64) -> i64 {
        let free_at_ns = self.consumers.get(&operation).map_or(at_ns, |c| c.free_at_ns);
        free_at_ns.saturating_sub(at_ns).clamp(0, WAIT_NS_MAX)
    }

    /// A message that came at `at_ns` takes `work_ns` of work.
    pub fn take(&mut self, operation: usize, at_ns: i64, work_ns: i64) {
        let latest_ns = at_ns + WAIT_NS_MAX;
        if let Some(consumers) = self.consumers.get_mut(&operation) {
            let delay_ns = (work_ns as f64 * consumers.delay_share) as i64;
            consumers.free_at_ns = (consumers.free_at_ns.max(at_ns) + delay_ns).min(latest_ns);
        }
    }
}

/// Adds `rate` to that of an operation, and to those of all that follow from it.
fn count(operation: usize, rate: f64, rates: &mut [f64]) {
    rates[operation] += rate;
    for request in MODEL.operations[operation].stages.iter().flatten() {
        match request.to {
            Target::Operation(called) => count(called, rate * request.share, rates),
            Target::Topic(topic) => {
                MODEL.topics[topic].consumers.iter().for_each(|c| count(*c, rate * request.share, rates));
            }
            _ => {}
        }
    }
}

/// What an operation usually takes.
fn median_ns(operation: usize) -> f64 {
    let operation = &MODEL.operations[operation];
    let steps = operation.stages.iter().map(|stage| stage.iter().map(of_request).fold(0.0, f64::max));
    operation.self_time.median_ns() + steps.sum::<f64>()
}

fn of_request(request: &super::model::Request) -> f64 {
    match request.to {
        Target::Operation(called) => median_ns(called),
        Target::Query(query) => MODEL.queries[query].time.median_ns(),
        Target::Api(api) => MODEL.apis[api].time.median_ns(),
        Target::Topic(topic) => MODEL.topics[topic].time.median_ns(),
        Target::Internal(step) => MODEL.internals[step].time.median_ns(),
    }
}
