//! Slack in the simulation: the local Slack, which the production client calls in process. A call takes
//! its time, and is noted.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::{Request, Response};
use bematic_aws::slack::Transport;
use tokio::time::{Instant, sleep};

use super::meter::Meter;
use crate::log::{Call, Service};

/// The way from the client to the local Slack.
pub(super) struct Wire {
    meter: Arc<Meter>,
    slack: Arc<local_slack::Slack>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    pub(super) fn new(meter: Arc<Meter>, slack: &Arc<local_slack::Slack>) -> Self {
        let slack = slack.clone();
        Self { meter, slack }
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let began = Instant::now();
        let path = request.uri().path();
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        sleep(self.meter.prices.latency(Service::Slack)).await;
        let answer = local_slack::handle(&self.slack, request).await?;
        self.meter.note(&Call::new(Service::Slack, &method, began));
        Ok(answer)
    }
}
