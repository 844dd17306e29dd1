//! Percentiles.

use std::time::Duration;

/// Milliseconds of a duration.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The value that `percent` of the values do not exceed (nearest rank); nothing of nothing.
pub fn percentile(values: &[f64], percent: u32) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let percent = usize::try_from(percent.min(100)).unwrap_or(100);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<_> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(100.0));
        assert_eq!(percentile(&values, 99), Some(198.0));
        assert_eq!(percentile(&values, 100), Some(200.0));
        assert_eq!(percentile(&values, 0), Some(1.0));
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_slow_one_in_a_hundred_does_not_count_for_the_99th_but_two_do() {
        let mut values = vec![1.0; 99];
        values.push(50.0);
        assert_eq!(percentile(&values, 99), Some(1.0));
        values[0] = 50.0;
        assert_eq!(percentile(&values, 99), Some(50.0));
    }
}
