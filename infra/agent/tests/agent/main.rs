//! The agent against a stand-in for the cloud, with real commands.

#[cfg(test)]
mod connection;
#[cfg(test)]
mod key;
#[cfg(test)]
mod printing;
#[cfg(test)]
mod program;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tasks;
