//! The adapters that implement Bematic's ports: DynamoDB ([`store`]), SQS ([`queue`]), API Gateway and
//! Slack's Web API ([`slack`]); and [`app`], the composition root.

pub mod app;
pub mod config;
mod gateway;
pub mod queue;
pub mod slack;
pub mod store;
