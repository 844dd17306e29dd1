//! What the store writes without reading is what the rules say of a task that was read: the real
//! adapters on the bench's DynamoDB, which decides their conditions.

#[cfg(test)]
mod writes;
