//! The command line of `cargo xtask`, and the template.

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod template;
