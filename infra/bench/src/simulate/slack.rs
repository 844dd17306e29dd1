//! Slack in the simulation: it takes every message. Its client has sockets of its own, so that it is the
//! port that is answered here; one method is one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bematic::slack::Message;
use bematic::slack::api::{Destination, SlackApi, SlackError};
use bematic_protocol::ids::{ChannelId, MessageTs, Subject, UserId};
use bematic_protocol::time::Timestamp;
use tokio::time::{Instant, sleep};

use super::meter::Meter;
use crate::log::{Call, Service};

pub(super) struct Slack {
    meter: Arc<Meter>,
    shown: AtomicU64,
}

impl Slack {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            shown: AtomicU64::new(0),
        }
    }

    async fn called(&self, method: &str) {
        let began = Instant::now();
        sleep(self.meter.prices.latency(Service::Slack)).await;
        self.meter.note(&Call::new(Service::Slack, method, began));
    }
}

#[async_trait]
impl SlackApi for Slack {
    async fn post(
        &self,
        _: &Destination,
        _: &Message,
        _: Option<Subject>,
    ) -> Result<MessageTs, SlackError> {
        let method = "chat.postMessage";
        self.called(method).await;
        let shown = self.shown.fetch_add(1, Ordering::Relaxed) + 1;
        let ts = MessageTs::try_from(format!("1795590000.{shown:06}"));
        ts.map_err(|error| SlackError::Unavailable {
            method,
            source: error.into(),
        })
    }

    async fn update(&self, _: &ChannelId, _: &MessageTs, _: &Message) -> Result<(), SlackError> {
        self.called("chat.update").await;
        Ok(())
    }

    async fn find_marked(
        &self,
        _: &Destination,
        _: Subject,
        _: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError> {
        self.called("conversations.history").await;
        Ok(None)
    }

    async fn post_ephemeral(
        &self,
        _: &Destination,
        _: &UserId,
        _: &Message,
    ) -> Result<(), SlackError> {
        self.called("chat.postEphemeral").await;
        Ok(())
    }
}
