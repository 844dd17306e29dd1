//! HTTP API: slash commands, mentions and health.

use std::sync::Arc;

use bematic::handlers::webhook::{ANSWER_WITHIN, Parts, Request, Response, Webhook};
use bematic_aws::{
    aws::Aws,
    config::{breaker_config, required, task_policy},
};
use bematic_protocol::{ids::RandomIds, time::SystemClock};
use lambda_http::{Body, Error, RequestExt, http, run, service_fn, tracing};
use mimalloc::MiMalloc;

/// A call to AWS is some hundred small allocations: a tenth less processor time than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::load().await;
    let parts = Parts {
        tasks: aws.tasks()?,
        agents: aws.agents()?,
        breakers: aws.breakers()?,
        breaker: breaker_config()?,
        projects: aws.projects()?,
        dispatch: aws.dispatch()?,
        notifications: aws.notifications()?,
        batches: aws.batches()?,
        batch_queue: aws.batch_queue()?,
        dead_letters: aws.dead_letters()?,
        policy: task_policy()?,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let secret = required("SLACK_SIGNING_SECRET")?.into();
    let webhook = &Webhook::new(secret, ANSWER_WITHIN, parts);
    run(service_fn(async |request: lambda_http::Request| {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let slack = Request::new(request.raw_http_path(), header, request.body());
        respond(webhook.handle(slack).await).map_err(Error::from)
    }))
    .await
}

fn respond(response: Response) -> Result<http::Response<Body>, http::Error> {
    let builder = http::Response::builder().status(response.status);
    match response.body {
        Some(body) => builder
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::Text(body.to_string())),
        None => builder.body(Body::Empty),
    }
}
