//! A limit of the bench.

use std::collections::BTreeMap;

use serde::Serialize;

/// A limit, and the figures that were measured against it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// What it is about.
    pub name: String,
    /// The most that it may be.
    pub limit: f64,
    /// The worst that was measured; none if nothing was.
    pub worst: Option<f64>,
    /// Of what.
    pub of: Option<String>,
    /// Whether it is reached.
    pub met: bool,
    /// All that do not reach it, with their figures.
    pub failing: Vec<String>,
}

impl Target {
    /// Of every figure there is of it.
    pub(crate) fn of(
        name: impl Into<String>,
        limit: f64,
        figures: impl IntoIterator<Item = (String, f64)>,
    ) -> Self {
        let mut worst: BTreeMap<String, f64> = BTreeMap::new();
        for (of, figure) in figures {
            let known = worst.entry(of).or_insert(figure);
            *known = known.max(figure);
        }
        let mut figures: Vec<_> = worst.into_iter().collect();
        figures.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let failing = figures.iter().filter(|(_, figure)| *figure > limit);
        let failing: Vec<_> = failing
            .map(|(of, figure)| format!("{of} {figure:.2}"))
            .collect();
        let (of, worst) = figures.into_iter().next().unzip();
        Self {
            name: name.into(),
            limit,
            met: worst.is_some() && failing.is_empty(),
            worst,
            of,
            failing,
        }
    }
}
