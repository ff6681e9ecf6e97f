//! Small plots of the last hour, as SVG without a style or a script of its own.

use std::fmt::Write;

/// Units of the drawing, which is stretched to the page's width.
const WIDTH: usize = 600;
const HEIGHT: f64 = 100.0;

/// One plot: bars from an hour ago until now, each series before the one ahead of it.
pub struct Plot<'a> {
    pub title: &'a str,
    /// In words, for whoever does not see it.
    pub summary: &'a str,
    /// With the class that the page's style knows; none is a minute without a figure.
    pub series: &'a [(&'a str, Vec<Option<f64>>)],
}

impl Plot<'_> {
    /// As a figure. Title, summary and classes are our own words, and are not escaped.
    pub fn html(&self) -> String {
        let Self { title, summary, .. } = self;
        let mut bars = String::new();
        let highest = self.highest();
        for (class, values) in self.series {
            let width = WIDTH / values.len().max(1);
            for (index, value) in values.iter().enumerate() {
                let Some(value) = value.filter(|value| *value > 0.0) else {
                    continue;
                };
                // What is there is seen, however small.
                let height = (value / highest * HEIGHT).max(1.0);
                let (x, y) = (index * width, HEIGHT - height);
                // Writing to a string cannot fail.
                let _ = write!(
                    bars,
                    r#"<rect class="{class}" x="{x}" y="{y:.1}" width="{}" height="{height:.1}"/>"#,
                    width - 1
                );
            }
        }
        format!(
            r#"<figure>
<figcaption><b>{title}</b> {summary}</figcaption>
<svg role="img" aria-label="{title}, minute by minute: {summary}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{bars}</svg>
<p class="axis"><span>an hour ago</span><span>now</span></p>
</figure>
"#
        )
    }

    /// What reaches the top.
    fn highest(&self) -> f64 {
        let values = self.series.iter().flat_map(|(_, values)| values).flatten();
        values.copied().fold(f64::MIN_POSITIVE, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_reaches_the_top_and_none_is_above() {
        let plot = Plot {
            title: "Questions",
            summary: "at most 4",
            series: &[("bar", vec![Some(4.0), None, Some(0.0), Some(1.0)])],
        };
        let html = plot.html();
        assert_eq!(html.matches("<rect").count(), 2, "{html}");
        assert!(html.contains(r#"x="0" y="0.0" width="149" height="100.0""#), "{html}");
        assert!(html.contains(r#"x="450" y="75.0" width="149" height="25.0""#), "{html}");
    }

    #[test]
    fn an_hour_without_anything_is_an_empty_plot() {
        let plot = Plot {
            title: "Questions",
            summary: "none",
            series: &[("bar", vec![None; 60])],
        };
        assert!(!plot.html().contains("<rect") && plot.html().contains("<svg"));
    }
}
