//! Tests of `bematic` as a program.

#[cfg(test)]
mod failures;
