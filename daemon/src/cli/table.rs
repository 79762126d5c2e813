//! Rows and columns for people, with colours where a terminal shows them. Pure.

use std::io::IsTerminal as _;

use chrono::{DateTime, Utc};

use crate::overview::words::span;

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// What fits standard output, and the wish that <https://no-color.org> describes.
    pub fn of_output() -> Paint {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|wish| !wish.is_empty());
        if std::io::stdout().is_terminal() && !unwanted { Paint::Coloured } else { Paint::Plain }
    }
}

/// How a cell is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        // What stands in objects must not steer the terminal.
        let text = text.into().chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        Cell { text, tone }
    }

    fn painted(&self, width: usize, paint: Paint) -> String {
        let Cell { text, tone } = self;
        let padded = format!("{text:width$}");
        let code = match (paint, tone) {
            (Paint::Plain, _) | (Paint::Coloured, Tone::Plain) => return padded,
            (Paint::Coloured, Tone::Good) => 32,
            (Paint::Coloured, Tone::Doubtful) => 33,
            (Paint::Coloured, Tone::Bad) => 31,
        };
        format!("\u{1b}[{code}m{padded}\u{1b}[0m")
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::toned(text, Tone::Plain)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(heads: &[&'static str]) -> Table {
        Table { heads: heads.to_vec(), rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn text(&self, paint: Paint) -> String {
        let heads: Vec<Cell> = self.heads.iter().map(|head| Cell::from(*head)).collect();
        let lines = || std::iter::once(&heads).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .filter_map(|cells| cells.get(column))
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |cells: &Vec<Cell>| {
            let last = cells.len().saturating_sub(1);
            let painted =
                cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                    cell.painted(if column == last { 0 } else { *width }, paint)
                });
            painted.collect::<Vec<String>>().join("   ") + "\n"
        };
        lines().map(line).collect()
    }
}

/// How long ago; a dash where it is unknown.
pub fn ago(instant: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    instant.map_or_else(|| "-".to_owned(), |instant| span(now - instant))
}

/// In how long.
pub fn ahead(instant: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    instant.map_or_else(|| "-".to_owned(), |instant| span(instant - now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_control_characters_are_gone() {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(["a-long-name".into(), Cell::toned("Completed", Tone::Good)]);
        table.row(["b\u{1b}[2J".into(), Cell::toned("Failed", Tone::Bad)]);
        assert_eq!(
            table.text(Paint::Plain),
            "NAME          PHASE\na-long-name   Completed\nb [2J         Failed\n"
        );
        assert!(table.text(Paint::Coloured).contains("\u{1b}[31mFailed\u{1b}[0m\n"));
    }
}
