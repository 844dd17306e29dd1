//! SQS `notifications.fifo`: renders tasks into Slack.

fn main() {}
