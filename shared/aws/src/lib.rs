//! The adapters that implement Bematic's ports: DynamoDB ([`store`]), SQS ([`queue`]), API Gateway,
//! Secrets Manager ([`secrets`]) and Slack's Web API ([`slack`]); and [`app`], the composition root.

pub mod app;
pub mod config;
mod gateway;
pub mod queue;
pub mod secrets;
pub mod slack;
pub mod store;
