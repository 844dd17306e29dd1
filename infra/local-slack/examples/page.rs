//! Serves the local Slack alone, on port 3900, to look at the page without a stack.

use local_slack::{Config, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::new("local-signing-secret", "xoxb-local");
    config.port = 3900;
    config.webhook = std::env::args().nth(1);
    let server = Server::start(config).await?;
    println!(
        "The page: {}   The Web API: {}",
        server.page_url(),
        server.api_url()
    );
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
