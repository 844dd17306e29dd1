//! Numbers in JSON. Counts may be written as `3`, `3.0` or `3.2`. Measurements are rounded where they
//! enter, since a store does not take every number that JSON can write.

use serde::{Deserialize, Deserializer, de::Error};

/// Measurements keep nine decimals. DynamoDB takes no number closer to 0 than 1e-130, and none of more
/// than 38 digits
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>).
const DECIMALS: f64 = 1e9;

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

/// Deserializes a measurement, rounded to nine decimals.
pub(crate) fn deserialize_rounded<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<f64, D::Error> {
    f64::deserialize(deserializer).map(round)
}

/// Deserializes as [`deserialize_rounded`] does; `null` is `None`.
pub(crate) fn deserialize_rounded_or_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.map(round))
}

fn round(number: f64) -> f64 {
    let rounded = (number * DECIMALS).round() / DECIMALS;
    // A number that is too large to be multiplied has no decimals.
    if rounded.is_finite() { rounded } else { number }
}
