//! The adapters that implement Bematic's ports: DynamoDB ([`store`]), SQS ([`queue`]), API Gateway
//! ([`gateway`]), Secrets Manager ([`secrets`]) and Slack's Web API ([`slack`]); and [`app`], the
//! composition root.

pub mod app;
pub mod config;
pub mod gateway;
pub mod queue;
pub mod secrets;
pub mod slack;
pub mod store;
