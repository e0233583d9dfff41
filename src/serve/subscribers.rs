//! The number of open subscriptions of a protocol.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Context;
use crate::sql::error::SqlError;

/// Places for subscriptions; clones share them.
#[derive(Clone)]
pub(super) struct Subscribers {
    places: Arc<Semaphore>,
    open: IntGauge,
    max: usize,
}

/// An open subscription, until dropped.
pub(super) struct Place {
    open: IntGauge,
    _place: OwnedSemaphorePermit,
}

impl Subscribers {
    /// Those of `protocol`.
    pub fn new(context: &Context, protocol: &'static str) -> Self {
        let max = context.config.subscriptions_max;
        let open = context.live.metrics().subscriptions.with_label_values(&[protocol]);
        Subscribers { places: Arc::new(Semaphore::new(max)), open, max }
    }

    /// A place for one more.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn enter(&self) -> Result<Place, SqlError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| SqlError::Limit {
            what: "there are as many subscriptions as",
            limit: format!("{} (limits.subscriptions_max)", self.max),
            hint: "close one, or try again later",
        })?;
        self.open.inc();
        Ok(Place { open: self.open.clone(), _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}
