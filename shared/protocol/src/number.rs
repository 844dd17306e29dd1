//! Counts in JSON, which may be written as `3`, `3.0` or `3.2`.

use serde::{Deserialize, Deserializer, de::Error};

/// Deserializes a non-negative number, and truncates a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked, and the fraction is to be truncated"
)]
pub(crate) fn deserialize_truncated<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let fraction = number.as_f64();
    let fraction = fraction.filter(|number| (0.0..=9_007_199_254_740_992.0).contains(number));
    number
        .as_u64()
        .or_else(|| fraction.map(|number| number as u64))
        .ok_or_else(|| D::Error::custom("expected a number that is not negative"))
}

/// Deserializes as [`deserialize_truncated`] does; `null` is `None`.
pub(crate) fn deserialize_truncated_or_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Truncated(#[serde(deserialize_with = "deserialize_truncated")] u64);
    Ok(Option::<Truncated>::deserialize(deserializer)?.map(|number| number.0))
}
