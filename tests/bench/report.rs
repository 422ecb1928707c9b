//! Numbers beside their targets, as a table for the terminal and as `BENCHMARKS.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::machine::Facts;

/// What the numbers of a row count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds, shown in the unit that suits their size.
    Time,
    /// Mebibytes.
    Memory,
    /// Per second.
    Rate,
    /// How many times as much.
    Ratio,
}

/// A number that a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The median, or the only number.
    Median,
    /// 95 of 100 are not above.
    P95,
    /// 99 of 100 are not above.
    P99,
    /// The largest.
    Most,
}

/// One thing that was measured, as often as there are samples.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    unit: Unit,
    samples: Vec<f64>,
    targets: Vec<(Figure, f64)>,
}

impl Row {
    /// Times.
    pub(crate) fn times(what: impl Into<String>, samples: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(what, Unit::Time, samples.into_iter().map(|sample| sample.as_secs_f64()).collect())
    }

    /// One number.
    pub(crate) fn single(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self::new(what, unit, vec![value])
    }

    fn new(what: impl Into<String>, unit: Unit, mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        samples.sort_by(f64::total_cmp);
        Self { what: what.into(), unit, samples, targets: Vec::new() }
    }

    /// Sets a target: seconds, mebibytes and so on; an upper limit, of a rate a lower one.
    pub(crate) fn target(mut self, figure: Figure, limit: f64) -> Self {
        self.targets.push((figure, limit));
        self
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        self.figure(Figure::Median)
    }

    fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Median => self.percentile(50),
            Figure::P95 => self.percentile(95),
            Figure::P99 => self.percentile(99),
            Figure::Most => self.percentile(100),
        }
    }

    /// By nearest rank, so that every number shown is one that was measured.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.samples.len() * percent).div_ceil(100).max(1);
        self.samples[rank - 1]
    }

    fn meets(&self, (figure, limit): (Figure, f64)) -> bool {
        let value = self.figure(figure);
        if self.unit == Unit::Rate { value >= limit } else { value <= limit }
    }

    /// What was measured, number of samples, four figures, target, verdict.
    fn cells(&self) -> [String; 8] {
        let many = self.samples.len() > 1;
        let shown = |percent| if many { self.unit.show(self.percentile(percent)) } else { String::new() };
        let targets: Vec<_> = self.targets.iter().map(|target| self.described(*target)).collect();
        let verdict = match self.targets.iter().all(|target| self.meets(*target)) {
            _ if self.targets.is_empty() => "",
            true => "met",
            false => "MISSED",
        };
        [
            self.what.clone(),
            self.samples.len().to_string(),
            self.unit.show(self.median()),
            shown(95),
            shown(99),
            shown(100),
            targets.join(", "),
            verdict.to_owned(),
        ]
    }

    fn described(&self, (figure, limit): (Figure, f64)) -> String {
        let sign = if self.unit == Unit::Rate { "≥" } else { "≤" };
        let figure = match figure {
            _ if self.samples.len() == 1 => "",
            Figure::Median => "p50 ",
            Figure::P95 => "p95 ",
            Figure::P99 => "p99 ",
            Figure::Most => "max ",
        };
        format!("{figure}{sign} {}", self.unit.show(limit))
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Time if value < 0.000_1 => format!("{:.2} µs", value * 1e6),
            Self::Time if value < 10.0 => format!("{:.1} ms", value * 1e3),
            Self::Time => format!("{value:.1} s"),
            Self::Memory => format!("{value:.1} MiB"),
            Self::Rate => format!("{value:.0}/s"),
            Self::Ratio => format!("{value:.2}"),
        }
    }
}

const HEAD: [&str; 8] = ["measured", "n", "p50", "p95", "p99", "max", "target", ""];

/// What all sections gave.
#[derive(Debug)]
pub(crate) struct Report {
    facts: Facts,
    sections: Vec<(&'static str, &'static str, Vec<Row>)>,
    missed: Vec<&'static str>,
}

impl Report {
    /// An empty one; asks the machine for its load before we are the load.
    pub(crate) fn new() -> Self {
        Self { facts: Facts::gather(), sections: Vec::new(), missed: Vec::new() }
    }

    /// Adds what a section gave, and how it came by it.
    pub(crate) fn add(&mut self, name: &'static str, method: &'static str, rows: Vec<Row>) {
        self.sections.push((name, method, rows));
    }

    /// Notes that a section could not be measured.
    pub(crate) fn missed(&mut self, name: &'static str) {
        self.missed.push(name);
    }

    /// Whether all that was to be measured was.
    pub(crate) fn is_complete(&self) -> bool {
        self.missed.is_empty()
    }

    /// All rows for the terminal.
    pub(crate) fn table(&self) -> String {
        let rows = self.sections.iter().flat_map(|(_, _, rows)| rows.iter().map(Row::cells));
        let mut text = aligned(&rows.collect::<Vec<_>>());
        for name in &self.missed {
            writeln!(text, "{name}: COULD NOT BE MEASURED").unwrap();
        }
        text
    }

    /// Writes `BENCHMARKS.md` of the crate anew.
    pub(crate) fn write(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("BENCHMARKS.md");
        std::fs::write(&path, self.markdown()).unwrap();
        println!("{} is refreshed", path.display());
    }

    fn markdown(&self) -> String {
        let mut text = String::from(
            "# Benchmarks\n\nWritten by `make bench`; do not edit. Real processes throughout: the release binary, \
             OpenVPN daemons and clients in network namespaces, and MongoDB beside them on the same cores. Percentiles \
             are nearest ranks.\n\n",
        );
        for (name, value) in self.facts.lines() {
            writeln!(text, "- {name}: {value}").unwrap();
        }
        for (name, method, rows) in &self.sections {
            write!(text, "\n## {name}\n\n{method}\n\n").unwrap();
            writeln!(text, "| {} |\n|{}", HEAD.join(" | "), "---|".repeat(HEAD.len())).unwrap();
            for row in rows {
                writeln!(text, "| {} |", row.cells().join(" | ")).unwrap();
            }
        }
        text
    }
}

fn aligned(rows: &[[String; 8]]) -> String {
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().cloned()).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:<width$}  ").unwrap();
        }
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}
