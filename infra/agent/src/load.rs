//! How busy the machine is.

use sysinfo::{MemoryRefreshKind, System};

/// Shares of the machine in use, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Of its processors, since the last look.
    pub cpu: f64,
    /// Of its memory.
    pub memory: f64,
}

/// Looks at a machine.
pub trait Machine: Send {
    /// Its load.
    fn load(&mut self) -> Load;
}

/// This machine.
#[derive(Debug, Default)]
pub struct ThisMachine(System);

impl Machine for ThisMachine {
    fn load(&mut self) -> Load {
        self.0.refresh_cpu_usage();
        self.0
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = self.0.total_memory();
        let used = total.saturating_sub(self.0.available_memory());
        Load {
            cpu: share(f64::from(self.0.global_cpu_usage()), 100.0),
            memory: share(bytes(used), bytes(total)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
const fn bytes(count: u64) -> f64 {
    count as f64
}

/// `part / whole`, 0 where that is no number.
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
        let mut machine = ThisMachine::default();
        for _ in 0..2 {
            let load = machine.load();
            assert!((0.0..=1.0).contains(&load.cpu));
            assert!(load.memory > 0.0 && load.memory <= 1.0);
        }
    }
}
