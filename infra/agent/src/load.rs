//! The load of the machine.

use sysinfo::{MemoryRefreshKind, System};

/// Shares of the machine in use, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// The share of the processors, since the last measurement.
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
}

/// Measures the load of this machine.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
pub(crate) fn measure(system: &mut System) -> Load {
    system.refresh_cpu_usage();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let total = system.total_memory();
    let used = total.saturating_sub(system.available_memory());
    let share = |share: f64| match share {
        _ if share.is_finite() => share.clamp(0.0, 1.0),
        _ => 0.0,
    };
    Load {
        cpu: share(f64::from(system.global_cpu_usage()) / 100.0),
        memory: share(used as f64 / total as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_a_share() {
        let mut system = System::new();
        for _ in 0..2 {
            let load = measure(&mut system);
            assert!((0.0..=1.0).contains(&load.cpu));
            assert!(load.memory > 0.0 && load.memory <= 1.0);
        }
    }
}
