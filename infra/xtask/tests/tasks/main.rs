//! The command line of `cargo xtask`.

#[cfg(test)]
mod command_line;
