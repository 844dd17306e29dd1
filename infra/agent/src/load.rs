//! The load of the machine.

use sysinfo::{MemoryRefreshKind, System};

/// Shares of the machine in use, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// The share of its processors, since the last measurement.
    pub(crate) cpu: f64,
    /// The share of its memory.
    pub(crate) memory: f64,
}

/// Measures the load of a machine.
pub(crate) type MeasureLoad = Box<dyn FnMut() -> Load + Send>;

/// Measures the load of this machine.
pub(crate) fn this_machine() -> MeasureLoad {
    let mut system = System::new();
    Box::new(move || {
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = system.total_memory();
        let used = total.saturating_sub(system.available_memory());
        Load {
            cpu: share(f64::from(system.global_cpu_usage()), 100.0),
            memory: share(bytes(used), bytes(total)),
        }
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
const fn bytes(count: u64) -> f64 {
    count as f64
}

/// `part / whole`, 0 if that is not a number.
fn share(part: f64, whole: f64) -> f64 {
    let share = part / whole;
    if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_a_share() {
        let mut measure = this_machine();
        for _ in 0..2 {
            let load = measure();
            assert!((0.0..=1.0).contains(&load.cpu));
            assert!(load.memory > 0.0 && load.memory <= 1.0);
        }
    }
}
