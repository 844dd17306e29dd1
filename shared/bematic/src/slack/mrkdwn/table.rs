//! Tables, which mrkdwn does not have, as aligned columns in a code block.

use pulldown_cmark::Alignment;

/// The number of cells in all tables of a text. A text with more of them is shown as it is: the
/// parser completes each row to the columns of the first one, which makes a cell of half a byte.
const MAX_CELLS: usize = 8192;
/// The number of characters that a column is aligned to. A longer cell is neither cut nor aligned:
/// one cell would widen all others of its column.
const MAX_COLUMN_WIDTH: usize = 40;

/// Whether the tables of a Markdown text have at most [`MAX_CELLS`] cells, as far as the number of
/// lines and the widest delimiter row tell.
pub(super) fn has_few_cells(markdown: &str) -> bool {
    let columns = markdown.lines().filter_map(delimiter_row_columns).max();
    let rows = markdown.bytes().filter(|byte| *byte == b'\n').count() + 1;
    columns.unwrap_or(0).saturating_mul(rows) <= MAX_CELLS
}

/// Returns the largest number of columns of a line that may be a table's delimiter row, `|--|:-:|`,
/// within quotes and lists.
fn delimiter_row_columns(line: &str) -> Option<usize> {
    let mut columns = 1;
    for c in line.chars() {
        match c {
            '|' => columns += 1,
            '-' | ':' | ' ' | '\t' | '\r' | '>' | '+' | '*' | '.' | ')' | '0'..='9' => {}
            _ => return None,
        }
    }
    Some(columns)
}

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
        let lengths = cells.map(|cell| cell.chars().count());
        lengths.max().unwrap_or(0).min(MAX_COLUMN_WIDTH)
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
