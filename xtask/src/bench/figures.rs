//! Figures, their goals and limits, and how they are printed.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use serde::Serialize;
use serde_json::Number;

/// One figure. The key names the unit and never changes its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Key in JSON.
    pub key: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Value, in the unit that the key ends with.
    pub value: f64,
    /// What we want it to be at most.
    pub goal: Option<f64>,
    /// What it must be at most (docs/SPECIFICATION.md).
    pub limit: Option<f64>,
}

impl Figure {
    /// A figure without goal and limit.
    #[expect(clippy::cast_precision_loss, reason = "no figure here has 2^53 of anything")]
    pub fn count(key: &'static str, what: &'static str, value: u64) -> Self {
        Self { key, what, value: value as f64, goal: None, limit: None }
    }

    /// A quotient of two times of this run.
    #[expect(clippy::cast_precision_loss, reason = "no figure here has 2^53 of anything")]
    pub fn ratio(key: &'static str, what: &'static str, of: u64, to: u64) -> Self {
        let hundredths = (100.0 * of as f64 / to as f64).round();
        Self { key, what, value: hundredths / 100.0, goal: None, limit: None }
    }

    /// Sets a goal.
    pub fn goal(self, at_most: f64) -> Self {
        Self { goal: Some(at_most), ..self }
    }

    /// Sets a limit.
    #[expect(clippy::cast_precision_loss, reason = "no limit here is 2^53 of anything")]
    pub fn limit(self, at_most: u64) -> Self {
        Self { limit: Some(at_most as f64), ..self }
    }

    /// Whether the limit is broken.
    pub fn breaks_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.value > limit)
    }

    fn mark(&self) -> &'static str {
        match self.goal {
            _ if self.breaks_limit() => "LIMIT BROKEN",
            Some(goal) if self.value > goal => "goal missed",
            _ => "",
        }
    }
}

/// The middle one of some measurements.
pub fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A run's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Commit that was measured, with `-dirty` when the tree differed.
    pub commit: String,
    /// QEMU's accelerator.
    pub accelerator: String,
    /// Boots of each kind, whose median is given.
    pub rounds: u32,
    #[serde(skip)]
    pub figures: Vec<Figure>,
}

impl Report {
    /// One flat JSON object.
    pub fn json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Flat<'a> {
            #[serde(flatten)]
            report: &'a Report,
            #[serde(flatten)]
            figures: BTreeMap<&'static str, Number>,
        }
        // By its text, so that what is whole has no fraction.
        let number = |figure: &Figure| Ok((figure.key, figure.value.to_string().parse()?));
        let figures = self.figures.iter().map(number).collect::<Result<_>>()?;
        Ok(serde_json::to_string_pretty(&Flat { report: self, figures })?)
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let Self { commit, accelerator, rounds, figures } = self;
        let mut text = format!(
            "commit {commit}, accelerator {accelerator}; times are medians of {rounds}. Compare ratios, not times.\n"
        );
        let width = figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or_default();
        writeln!(text, "{:width$}  {:>13}  {:>11}  {:>11}", "", "measured", "goal", "limit").ok();
        for figure in figures {
            let cell = |value: Option<f64>| value.map_or(String::new(), grouped);
            let unit = unit(figure.key);
            let line = format!(
                "{:width$}  {:>13}  {:>11}  {:>11}  {unit:<6} {}",
                figure.what,
                grouped(figure.value),
                cell(figure.goal),
                cell(figure.limit),
                figure.mark()
            );
            writeln!(text, "{}", line.trim_end()).ok();
        }
        text
    }
}

fn unit(key: &str) -> &'static str {
    match key.rsplit('_').next() {
        Some("ms") => "ms",
        Some("kib") => "KiB",
        Some("bytes") => "bytes",
        Some("minutes") => "min",
        _ => "×",
    }
}

/// With thousands set apart; a fraction only where there is one.
fn grouped(value: f64) -> String {
    let text = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    fraction.map_or(out.clone(), |fraction| format!("{out}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[9, 1, 5]), 5);
        assert_eq!(median(&[7]), 7);
    }

    #[test]
    fn a_missed_goal_is_marked_and_a_broken_limit_more() {
        let figure = Figure::count("x_kib", "x", 11).goal(10.0).limit(20);
        assert_eq!((figure.mark(), figure.breaks_limit()), ("goal missed", false));
        let figure = Figure::count("x_kib", "x", 21).goal(10.0).limit(20);
        assert_eq!((figure.mark(), figure.breaks_limit()), ("LIMIT BROKEN", true));
        assert_eq!(Figure::ratio("x_ratio", "x", 3, 2).goal(1.5).mark(), "");
    }

    #[test]
    fn json_is_flat_and_the_table_groups_digits() {
        let figures = vec![Figure::count("a_bytes", "a", 73_125_888), Figure::ratio("b_ratio", "b", 1, 3)];
        let report = Report { commit: "c".into(), accelerator: "tcg".into(), rounds: 3, figures };
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((&json["a_bytes"], &json["b_ratio"]), (&73_125_888.into(), &0.33.into()));
        assert_eq!(json["rounds"], 3);
        let table = report.table();
        assert!(table.contains("73,125,888") && table.contains("0.33") && table.contains("bytes"), "{table}");
    }
}
