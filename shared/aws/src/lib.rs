//! The adapters of Bematic's ports: DynamoDB ([`store`]), SQS ([`queue`]), API Gateway ([`gateway`]) and
//! Slack's Web API ([`slack`]); and [`aws`], which builds them from a function's environment.

pub mod aws;
pub mod config;
pub mod gateway;
pub mod queue;
pub mod slack;
pub mod store;
