//! `cargo xtask dead-letters …`.

use anyhow::Result;
use bematic_local::admin::{self, QueueName};
use bematic_local::paths::Workspace;
use bematic_local::ui::Ui;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::admin::Target;

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    target: Target,
    /// Of one queue only.
    #[arg(long, global = true)]
    queue: Option<Queue>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Queue {
    Dispatch,
    Notifications,
    Batch,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, with their reasons: ten of each queue.
    List,
    /// Have all of them tried again.
    Redrive,
}

impl DeadLetters {
    pub(crate) async fn run(&self, workspace: &Workspace, ui: &Ui) -> Result<()> {
        let admin = self.target.admin(workspace, ui).await?;
        let queues = self.queues();
        match self.action {
            Action::List => {
                let found = admin.dead_letters(&queues).await?;
                self.target.print(&found, || text(&found))
            }
            Action::Redrive => {
                let redriven = admin.redrive(&queues).await?;
                let said = json!({ "redriven": redriven });
                self.target
                    .print(&said, || format!("messages given again: {redriven}"))
            }
        }
    }

    fn queues(&self) -> Vec<QueueName> {
        let all = [
            QueueName::Dispatch,
            QueueName::Notifications,
            QueueName::Batch,
        ];
        match self.queue {
            None => all.to_vec(),
            Some(Queue::Dispatch) => vec![QueueName::Dispatch],
            Some(Queue::Notifications) => vec![QueueName::Notifications],
            Some(Queue::Batch) => vec![QueueName::Batch],
        }
    }
}

fn text(queues: &[admin::DeadLetters]) -> String {
    let mut lines = Vec::new();
    for queue in queues {
        let name: &str = queue.queue.into();
        lines.push(format!("{name:<14} {} messages", queue.count));
        for letter in &queue.letters {
            let why = match &letter.reason {
                Some(reason) => format!("{}: {}", reason.code, reason.text),
                None => "the function ended before it could say why".to_owned(),
            };
            lines.push(format!("  {}  {}\n    {why}", letter.since, letter.body));
        }
    }
    lines.join("\n")
}
