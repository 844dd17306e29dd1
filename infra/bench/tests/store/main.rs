//! The real adapters on the bench's DynamoDB, which decides their conditions.

#[cfg(test)]
#[cfg(test)]
mod connections;
#[cfg(test)]
mod stored;
