//! The throttles of the template's routes, which API Gateway enforces and the emulator does not: a
//! token bucket for each route
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html>).

#![expect(
    clippy::disallowed_methods,
    reason = "it limits real requests by real time"
)]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::http::{Method, Uri};
use serde::Deserialize;
use serde_norway::Value;
use tokio::time::Instant;

/// The route of a WebSocket handshake.
const CONNECT_ROUTE: &str = "$connect";

/// The routes with a throttle of their own.
#[derive(Debug, Default)]
pub(crate) struct Throttles(BTreeMap<String, Mutex<TokenBucket>>);

/// A route's setting in the template.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RouteSetting {
    /// Requests a second.
    throttling_rate_limit: f64,
    /// Requests at once.
    throttling_burst_limit: f64,
}

#[derive(Debug)]
struct TokenBucket {
    setting: RouteSetting,
    tokens: f64,
    filled_at: Instant,
}

impl Throttles {
    /// Reads the settings of the routes of all stages of a template.
    pub(crate) fn parse(template: &str) -> Result<Self> {
        let template: Value = serde_norway::from_str(template).context("it is not YAML")?;
        let resources = template["Resources"].as_mapping().into_iter().flatten();
        let stages = resources.filter(|(_, it)| it["Type"] == "AWS::ApiGatewayV2::Stage");
        let settings = stages.filter_map(|(_, it)| it["Properties"]["RouteSettings"].as_mapping());
        let mut buckets = BTreeMap::new();
        for (route, setting) in settings.flatten() {
            let route = route.as_str().context("a route is a text")?.to_owned();
            let setting: RouteSetting = serde_norway::from_value(setting.clone())
                .with_context(|| format!("the throttle of {route} is incomplete"))?;
            let bucket = TokenBucket {
                setting,
                tokens: setting.throttling_burst_limit,
                filled_at: Instant::now(),
            };
            buckets.insert(route, Mutex::new(bucket));
        }
        Ok(Self(buckets))
    }

    /// Whether a request of a deployed API may pass now. A handshake is one of the route `$connect`.
    pub(crate) fn admits(&self, method: &Method, uri: &Uri, is_handshake: bool) -> bool {
        let path = uri.path();
        let is_route = |route: &str| match route.split_once(' ') {
            Some((of, suffix)) => !is_handshake && of == method.as_str() && path.ends_with(suffix),
            None => is_handshake && route == CONNECT_ROUTE,
        };
        let found = self.0.iter().find(|(route, _)| is_route(route));
        found.is_none_or(|(_, bucket)| {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(Instant::now())
        })
    }
}

impl TokenBucket {
    /// Takes a token, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.duration_since(self.filled_at).as_secs_f64();
        let filled = self.tokens + elapsed * self.setting.throttling_rate_limit;
        self.tokens = filled.min(self.setting.throttling_burst_limit);
        self.filled_at = now;
        let is_there = self.tokens >= 1.0;
        if is_there {
            self.tokens -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_route_admits_its_burst_and_then_its_rate() {
        let template = include_str!("../../../../template.yaml");
        let throttles = Throttles::parse(template).unwrap();
        let uri = Uri::from_static("/_aws/execute-api/a1/$default/slack/commands");
        let commands = || throttles.admits(&Method::POST, &uri, false);
        let admitted = (0..1000).filter(|_| commands()).count();
        assert_eq!(admitted, 400);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..1000).filter(|_| commands()).count(), 200);
        // Other routes have room of their own.
        let connect = Uri::from_static("/_aws/execute-api/a1/prod");
        assert!(throttles.admits(&Method::GET, &connect, true));
        let health = Uri::from_static("/_aws/execute-api/a1/$default/health");
        assert!(throttles.admits(&Method::GET, &health, false));
        let other = Uri::from_static("/");
        assert!((0..1000).all(|_| throttles.admits(&Method::POST, &other, false)));
    }
}
