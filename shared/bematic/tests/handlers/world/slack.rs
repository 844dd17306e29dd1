//! A Slack in memory: as much of its Web API as the notifier needs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bematic::slack::{
    Message,
    api::{Destination, SlackApi, SlackError},
};
use bematic_protocol::{
    ids::{ChannelId, MessageTs, Subject, UserId},
    time::Timestamp,
};
use fake_aws::When;

use super::Calls;

/// A message in Slack.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Post {
    pub(crate) to: Destination,
    pub(crate) message: Message,
    pub(crate) marker: Option<Subject>,
    pub(crate) updates: usize,
}

/// What Slack has.
pub(crate) struct Slack {
    calls: Arc<Calls>,
    posts: Mutex<BTreeMap<MessageTs, Post>>,
    /// What it answers instead of doing the next thing that it is asked.
    says: Mutex<Option<SlackError>>,
}

impl Slack {
    pub(super) fn new(calls: Arc<Calls>) -> Self {
        Self {
            calls,
            posts: Mutex::default(),
            says: Mutex::default(),
        }
    }

    /// The messages that it shows, the oldest first.
    pub(crate) fn posts(&self) -> MutexGuard<'_, BTreeMap<MessageTs, Post>> {
        self.posts.lock().unwrap()
    }

    /// Has it answer this instead of doing the next thing that it is asked.
    pub(crate) fn says(&self, error: SlackError) {
        *self.says.lock().unwrap() = Some(error);
    }

    /// A call, of which the test's failure may be.
    fn call<T>(
        &self,
        name: &str,
        effect: impl FnOnce(&mut BTreeMap<MessageTs, Post>) -> Result<T, SlackError>,
    ) -> Result<T, SlackError> {
        let failure = self.calls.note(name.to_owned());
        let broken = || SlackError::Unavailable {
            method: "test",
            source: "made to fail".into(),
        };
        match failure {
            None => effect(&mut self.posts()),
            Some(When::Before) => Err(broken()),
            Some(When::After) => effect(&mut self.posts()).and(Err(broken())),
        }
    }

    fn refuses(&self) -> Result<(), SlackError> {
        self.says.lock().unwrap().take().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl SlackApi for Slack {
    async fn post(
        &self,
        to: &Destination,
        message: &Message,
        marker: Option<Subject>,
    ) -> Result<MessageTs, SlackError> {
        self.refuses()?;
        self.call("slack post", |posts| {
            let ts = format!("1700000000.{:06}", posts.len() + 1);
            let ts: MessageTs = ts.parse().unwrap();
            let post = Post {
                to: to.clone(),
                message: message.clone(),
                marker,
                updates: 0,
            };
            posts.insert(ts.clone(), post);
            Ok(ts)
        })
    }

    async fn update(
        &self,
        _: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), SlackError> {
        self.refuses()?;
        self.call("slack update", |posts| {
            let post = posts.get_mut(ts).ok_or(SlackError::Gone {
                method: "chat.update",
                error: "message_not_found".into(),
            })?;
            post.message = message.clone();
            post.updates += 1;
            Ok(())
        })
    }

    async fn find_marked(
        &self,
        _: &Destination,
        about: Subject,
        _: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError> {
        self.call("slack find", |posts| {
            let marked = posts.iter().find(|(_, post)| post.marker == Some(about));
            Ok(marked.map(|(ts, _)| ts.clone()))
        })
    }

    async fn post_ephemeral(
        &self,
        _: &Destination,
        _: &UserId,
        _: &Message,
    ) -> Result<(), SlackError> {
        self.call("slack ephemeral", |_| Ok(()))
    }
}
