//! Tables as kubectl prints them: no borders, aligned columns, a dash where there is nothing.

const GAP: &str = "   ";

/// Rows under a heading. Columns only grow, so that a table can be continued with [`Table::take`].
#[derive(Debug)]
pub struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Table {
        let mut table = Table { widths: Vec::new(), rows: Vec::new() };
        table.row(heading);
        table
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let row: Vec<String> = cells.into_iter().map(|cell| shown(&cell.into())).collect();
        self.widths.resize(self.widths.len().max(row.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
    }

    /// The rows since the last call as text, in columns as wide as all rows so far need.
    pub fn take(&mut self) -> String {
        let mut text = String::new();
        for row in std::mem::take(&mut self.rows) {
            let padded: Vec<String> =
                row.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            text.push_str(padded.join(GAP).trim_end());
            text.push('\n');
        }
        text
    }
}

fn shown(cell: &str) -> String {
    if cell.trim().is_empty() { "-".to_owned() } else { printable(cell) }
}

/// Text of a node made safe for a terminal: one line, no control characters.
pub fn printable(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let mut table = Table::new(["NAME", "STATE", "AGE"]);
        table.row(["kubelet", "running", "5m"]);
        table.row(["apid", "", "12s"]);
        assert_eq!(
            table.take(),
            "NAME      STATE     AGE\nkubelet   running   5m\napid      -         12s\n"
        );
        table.row(["x", "y", ""]);
        assert_eq!(table.take(), "x         y         -\n");
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        let mut table = Table::new(["A"]);
        table.row(["\x1b[31mred\nline"]);
        assert_eq!(table.take(), "A\n [31mred line\n");
    }

    proptest! {
        #[test]
        fn every_row_is_one_line(cells in proptest::collection::vec(".*", 1..5)) {
            let mut table = Table::new(["A", "B"]);
            table.row(cells);
            let text = table.take();
            prop_assert_eq!(text.matches('\n').count(), 2);
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}
