//! The handlers on the production stores, queues and gateway, over an AWS in this process.
//!
//! A test plays agents and operators, calls the functions, and says what a user would see. [`world`] is
//! all that is around the functions.

#[cfg(test)]
mod functions;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod world;
