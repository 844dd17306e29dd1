//! The buttons of tasks' cards and of notices in the operations channel.

use bematic_protocol::time::Timestamp;
use tracing::warn;

use super::{Response, Webhook};
use crate::{
    command::BreakerOrder,
    error::BematicError,
    slack::{
        card::{CardAction, RESET},
        inbound::ButtonPress,
    },
    task::TaskEvent,
};

impl Webhook {
    /// Handles a button. The result is seen in the message of the button. Slack shows anything but
    /// 200 as a failure.
    pub(super) async fn action(&self, action: ButtonPress, now: Timestamp) -> Response {
        self.respond("button", self.press(action, now)).await
    }

    /// Executes a button's action. Returns false only if it could not be done now.
    async fn press(&self, action: ButtonPress, now: Timestamp) -> Result<bool, BematicError> {
        let (name, value) = (action.action_id.as_str(), action.value.as_deref());
        if name == RESET {
            if let Some(Ok(agent)) = value.map(str::parse) {
                let by = &action.user_id;
                let reset = self.operator.order(&agent, &BreakerOrder::Reset, by, now);
                return Ok(reset.await?.is_ok());
            }
        } else if let (Ok(pressed), Some(Ok(task)), Some(channel)) = (
            name.parse::<CardAction>(),
            value.map(str::parse),
            action.channel_id,
        ) {
            let event = match pressed {
                CardAction::Cancel => TaskEvent::CancelRequested(action.user_id),
                CardAction::Retry => TaskEvent::Retried,
            };
            self.operator.change(task, &channel, event, now).await?;
            return Ok(true);
        }
        warn!(action = name, "unknown button");
        Ok(true)
    }
}
