//! Tests of `bematic`: as a program, and of its operations on keys.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod served;
