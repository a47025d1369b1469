use std::fmt::Write;

use super::results::{Results, number};
use super::rows::{ALL, COLUMNS, FOREBAY, OURS};

const WIDTH: usize = 900;
const LABEL: usize = 290;
const BAR: usize = 16;

/// A bar chart, one group a row, each group scaled to its own largest value.
pub(super) fn svg(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 20;
    for row in ALL {
        let bars: Vec<_> = COLUMNS.iter().filter_map(|c| Some((*c, results.median(*row, c)?))).collect();
        let Some(largest) = bars.iter().map(|(_, v)| *v).reduce(f64::max).filter(|v| *v > 0.0) else { continue };
        let better = if row.more { "more is better" } else { "less is better" };
        text(&mut body, 10, y + 12, "bold", &format!("{} ({}, {better})", row.label, row.unit));
        y += 20;
        for (column, value) in bars {
            let width = ((value / largest) * (WIDTH - LABEL - 100) as f64).max(1.0) as usize;
            let colour = match column {
                FOREBAY => "#1769aa",
                _ if OURS.contains(&column) => "#76a9d1",
                _ => "#b8c4ce",
            };
            text(&mut body, LABEL - 80, y + 12, "normal", column);
            // A String takes everything.
            let _ = writeln!(body, "<rect x='{LABEL}' y='{y}' width='{width}' height='{}' fill='{colour}'/>", BAR - 3);
            text(&mut body, LABEL + width + 6, y + 11, "normal", &number(value));
            y += BAR;
        }
        y += 10;
    }
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n{body}</svg>\n"
    )
}

fn text(body: &mut String, x: usize, y: usize, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x='{x}' y='{y}' font-weight='{weight}'>{words}</text>");
}
