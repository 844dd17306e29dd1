//! Tables, which mrkdwn does not have, as aligned columns in a code block.

use pulldown_cmark::Alignment;

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) alignments: Vec<Alignment>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn push_cell(&mut self, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(row) = self.rows.last_mut() {
            row.push(text);
        }
    }

    /// Renders the table as lines of plain text, with a rule under the first.
    pub(super) fn render_plain_text(&self) -> String {
        let widths: Vec<_> = (0..self.alignments.len())
            .map(|column| self.column_width(column))
            .collect();
        let mut lines: Vec<_> = self
            .rows
            .iter()
            .map(|row| self.render_row(row, &widths))
            .collect();
        let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
        lines.insert(lines.len().min(1), rule.join("-+-"));
        lines.join("\n")
    }

    fn column_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    fn render_row(&self, row: &[String], widths: &[usize]) -> String {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .zip(&self.alignments)
            .map(|((cell, width), alignment)| match alignment {
                Alignment::Right => format!("{cell:>width$}"),
                Alignment::Center => format!("{cell:^width$}"),
                Alignment::Left | Alignment::None => format!("{cell:<width$}"),
            })
            .collect();
        cells.join(" | ").trim_end().to_owned()
    }
}
