//! Fuzz targets as tests: [`fuzz!`] runs a test on generated input for some seconds.
//!
//! bolero runs the targets. Its bytes are random, or libFuzzer's, which change so that they reach new code.
//! A target reads its input out of the bytes, so that it is made of what means something to the parser
//! under test: [`text`] and [`json_like`] read the frequent kinds. A few bytes are a decision each, so that
//! a changed byte changes a part of the input.
//!
//! `BEMATIC_FUZZ_SECONDS` sets the time of each target: a developer's run takes half a second, CI 20 s.
//! libFuzzer has options of its own.

mod input;

use std::{env, fmt::Debug, panic::AssertUnwindSafe, time::Duration};

use bolero::{
    BorrowedInput, ByteSliceGenerator, DefaultEngine, Driver, TestTarget, generator::ValueGenerator,
};

pub use arbitrary::{Result, Unstructured};
#[doc(hidden)]
pub use bolero;

pub use crate::input::{json_like, text};

/// The variable that sets the time of each target, in seconds.
const SECONDS: &str = "BEMATIC_FUZZ_SECONDS";
const DEFAULT_SECONDS: f64 = 0.5;
/// The number of bytes that an input is read from. Bytes that libFuzzer does not give are zero.
const INPUT_BYTES: usize = 1024;
/// The time after which a failing input is not made smaller.
const SHRINK_TIME: Duration = Duration::from_secs(5);

/// Runs a test on inputs until the time of the target is over: `fuzz!(read, test)`, where `read` reads an
/// input out of an [`Unstructured`], and the test gets a reference to it. Where a number is read, zero should
/// be the simplest choice: a failing input is made smaller by less and smaller bytes.
///
/// A macro, because bolero names a target after the function that calls it.
///
/// # Panics
/// If the test fails, after printing the smallest failing input and the seed that repeats it.
#[macro_export]
macro_rules! fuzz {
    ($read:expr, $test:expr $(,)?) => {
        $crate::run($crate::bolero::check!(), $read, $test)
    };
}

/// Runs a target of bolero; see [`fuzz!`].
#[doc(hidden)]
pub fn run<T: Debug + 'static>(
    target: TestTarget<ByteSliceGenerator, DefaultEngine, BorrowedInput>,
    read: impl Fn(&mut Unstructured<'_>) -> Result<T>,
    test: impl Fn(&T),
) {
    let test = AssertUnwindSafe(test);
    target
        .with_test_time(budget())
        .with_shrink_time(SHRINK_TIME)
        .with_generator(Reader(read))
        .for_each(move |input| (*test)(input));
}

fn budget() -> Duration {
    let seconds = env::var(SECONDS).ok().and_then(|it| it.parse().ok());
    Duration::try_from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS)).unwrap_or_default()
}

/// A generator of bolero that reads its values out of bytes.
struct Reader<F>(F);

impl<T: 'static, F: Fn(&mut Unstructured<'_>) -> Result<T>> ValueGenerator for Reader<F> {
    type Output = T;

    #[expect(
        clippy::expect_used,
        reason = "a target that cannot read an input has no valid ones, and must not pass"
    )]
    fn generate<D: Driver>(&self, driver: &mut D) -> Option<T> {
        // As whole words: bolero makes a failing input smaller by replaying its bytes, and only of whole
        // words do the replayed bytes give the same values.
        let words = (0..INPUT_BYTES / 8).map(|_| driver.produce::<u64>());
        let words: Vec<_> = words.collect::<Option<_>>()?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let input = (self.0)(&mut Unstructured::new(&bytes));
        Some(input.expect("bytes that run out are zero, and there is something to choose from"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds a word, and asserts that its text was made as small as it gets.
    #[test]
    fn a_failure_is_found_and_made_smaller() {
        let smallest = std::cell::RefCell::new(String::new());
        let failure = std::panic::catch_unwind(AssertUnwindSafe(|| {
            fuzz!(|source| text(source, &["needle"]), |text| {
                if text.contains("needle") {
                    smallest.replace(text.clone());
                    panic!("found");
                }
            });
        }));
        // One of some 60 words: sure to be among a thousand.
        assert!(failure.is_err());
        assert_eq!(*smallest.borrow(), "needle");
    }
}
