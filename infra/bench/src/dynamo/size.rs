//! How large an item is, by DynamoDB's rules: names count as well as values, in UTF-8 bytes; a
//! number is about a byte for two digits; lists and maps cost 3 bytes and one for each element.

use serde_json::{Map, Value};

/// An item as it is on the wire: each attribute an object of its type and its value.
pub(super) type Item = Map<String, Value>;

/// An item's size in bytes.
pub(super) fn item_size(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

/// The type of an attribute and its value.
pub(super) fn typed(attribute: &Value) -> Option<(&str, &Value)> {
    let (kind, value) = attribute.as_object()?.iter().next()?;
    Some((kind.as_str(), value))
}

fn value_size(attribute: &Value) -> usize {
    let Some((kind, value)) = typed(attribute) else {
        return 0;
    };
    let each = |size: fn(&Value) -> usize| value.as_array().into_iter().flatten().map(size);
    match kind {
        "S" => text_size(value),
        "N" => number_size(value),
        "B" => binary_size(value),
        "BOOL" | "NULL" => 1,
        "SS" => each(text_size).sum(),
        "NS" => each(number_size).sum(),
        "BS" => each(binary_size).sum(),
        "L" => 3 + each(|value| 1 + value_size(value)).sum::<usize>(),
        "M" => {
            3 + value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| 1 + name.len() + value_size(value))
                .sum::<usize>()
        }
        _ => 0,
    }
}

fn text_size(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

/// Of the bytes, not of their base64.
fn binary_size(value: &Value) -> usize {
    let encoded = value.as_str().unwrap_or_default().trim_end_matches('=');
    encoded.len() * 3 / 4
}

/// A byte for two significant digits, one more, and another for a sign; 21 at most.
fn number_size(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    let digits = if mantissa.contains('.') {
        digits
    } else {
        digits.trim_end_matches('0')
    };
    let sign = usize::from(text.starts_with('-'));
    (digits.len().div_ceil(2) + 1 + sign).min(21)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn size(item: &Value) -> usize {
        item_size(item.as_object().unwrap())
    }

    #[test]
    fn names_count_as_well_as_values() {
        assert_eq!(size(&json!({ "pk": { "S": "TASK#1" } })), 2 + 6);
        assert_eq!(size(&json!({ "é": { "S": "ü" } })), 2 + 2);
        assert_eq!(size(&json!({ "late": { "BOOL": true } })), 4 + 1);
    }

    #[test]
    fn a_number_is_a_byte_for_two_digits_and_one_more() {
        assert_eq!(size(&json!({ "n": { "N": "7" } })), 1 + 2);
        assert_eq!(size(&json!({ "n": { "N": "1790000000123" } })), 1 + 8);
        assert_eq!(size(&json!({ "n": { "N": "1000000" } })), 1 + 2);
        assert_eq!(size(&json!({ "n": { "N": "-12.5" } })), 1 + 4);
        assert_eq!(size(&json!({ "n": { "N": "0" } })), 1 + 1);
    }

    #[test]
    fn maps_and_lists_cost_three_bytes_and_one_for_each_element() {
        let map = json!({ "m": { "M": { "a": { "S": "x" }, "b": { "NULL": true } } } });
        assert_eq!(size(&map), 1 + 3 + (1 + 1 + 1) + (1 + 1 + 1));
        let list = json!({ "l": { "L": [{ "S": "xy" }, { "N": "1" }] } });
        assert_eq!(size(&list), 1 + 3 + (1 + 2) + (1 + 2));
        let set = json!({ "s": { "SS": ["ab", "c"] } });
        assert_eq!(size(&set), 1 + 3);
    }
}
