//! What the functions gave up on.

use anyhow::{Context, Result};
use bematic::dead_letter::{DeadLetters, QueueName};
use bematic::ports::DeadLetterQueues as _;
use bematic_aws::config::QueueUrls;
use bematic_aws::queue::SqsDeadLetters;
use strum::IntoEnumIterator as _;

use super::Admin;

impl Admin {
    /// Some of the dead letters of these queues, and how many there are.
    pub async fn dead_letters(&self, queues: &[QueueName]) -> Result<Vec<DeadLetters>> {
        let mut found = Vec::new();
        let dead_letters = self.dead_letter_queues()?;
        for queue in queues {
            found.push(dead_letters.list(*queue).await?);
        }
        Ok(found)
    }

    /// Gives what these queues gave up to the functions again, and says how many messages that
    /// were.
    pub async fn redrive(&self, queues: &[QueueName]) -> Result<usize> {
        let mut redriven = 0;
        let dead_letters = self.dead_letter_queues()?;
        for queue in queues {
            redriven += dead_letters.redrive(*queue, usize::MAX).await?;
        }
        Ok(redriven)
    }

    fn dead_letter_queues(&self) -> Result<SqsDeadLetters> {
        let address = |name: &str| {
            let known = self.queues.get(name).cloned();
            known.with_context(|| format!("the deployed stack has no queue {name}"))
        };
        let pairs = QueueName::iter().map(|queue| {
            let name: &str = queue.into();
            let dead = format!("{name}-dead-letters");
            let urls = QueueUrls {
                source: address(name)?,
                dead_letters: address(&dead)?,
            };
            Ok((queue, urls))
        });
        let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
        let client = aws_sdk_sqs::Client::new(&self.config);
        Ok(SqsDeadLetters::new(&client, pairs))
    }
}
