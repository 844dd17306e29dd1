//! The program, called as an administrator calls it.

#[cfg(test)]
mod complaints;
