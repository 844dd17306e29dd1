//! What calls cost in tables.

use std::{
    iter::Sum,
    ops::{Add, AddAssign, Mul},
};

use serde::Serialize;

/// Request units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units.
    pub write: f64,
}

impl Units {
    /// Units of reads alone.
    pub const fn reads(read: f64) -> Self {
        Self { read, write: 0.0 }
    }

    /// Units of writes alone.
    pub const fn writes(write: f64) -> Self {
        Self { read: 0.0, write }
    }
}

impl Add for Units {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            write: self.write + other.write,
        }
    }
}

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f64> for Units {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        Self {
            read: self.read * times,
            write: self.write * times,
        }
    }
}

impl Sum for Units {
    fn sum<I: Iterator<Item = Self>>(units: I) -> Self {
        units.fold(Self::default(), Add::add)
    }
}

/// One access to one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    /// The table, or its index as `table/index`.
    pub resource: String,
    /// The partition key's value; empty for a scan.
    pub partition: String,
    /// What it costs.
    pub units: Units,
}
