//! What came of it, as a page that carries all it needs: `report.html`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::row::{Origin, Row, ScoredText};
use super::score::SettingsFile;
use super::stats::{BARS, Stats, TextStats};
use crate::processor::preview::encode_within;
use crate::processor::{Picture, PictureLimits};
use crate::remote::is_address;

/// Pairs of each kind that are shown.
const SHOWN: usize = 12;

/// Letters of a text that are shown.
const LETTERS: usize = 500;

/// The longer side of a picture that is shown, in pixels.
const SIDE: usize = 192;

/// Share of synthetic texts that the paper's filter removed, drawn and searched with beams (table 2).
const PAPER_NUCLEUS: f64 = 0.25;
const PAPER_BEAMS: f64 = 0.19;

/// A pair that is shown.
#[derive(Clone, Debug)]
struct Example {
    part: String,
    place: u64,
    key: String,
    /// The picture's address, where it has one.
    address: Option<String>,
    text: String,
    from: Origin,
    matching: f32,
    cosine: Option<f32>,
    /// What is kept in its place, if anything is.
    instead: Vec<(String, Option<f32>)>,
}

/// The first few by a number, of those with the same number the first that came.
#[derive(Clone, Debug, Default)]
struct Least(Vec<(f32, Example)>);

impl Least {
    /// Whether something with this number would be among them.
    fn has_room_for(&self, number: f32) -> bool {
        self.0.len() < SHOWN || self.0.last().is_some_and(|(last, _)| number < *last)
    }

    fn add(&mut self, number: f32, example: Example) {
        let place = self.0.partition_point(|(other, _)| *other <= number);
        self.0.insert(place, (number, example));
        self.0.truncate(SHOWN);
    }

    fn iter(&self) -> impl Iterator<Item = &Example> {
        self.0.iter().map(|(_, example)| example)
    }
}

/// The pairs that the report shows.
pub struct Examples {
    threshold: f32,
    nearest_web: Least,
    nearest_synthetic: Least,
    worst_web: Least,
}

impl Examples {
    /// None yet.
    pub fn new(threshold: f32) -> Self {
        Self {
            threshold,
            nearest_web: Least::default(),
            nearest_synthetic: Least::default(),
            worst_web: Least::default(),
        }
    }

    /// Learns of a row, at its place in a part; of drawn texts, which all rows of a picture have, by its first.
    pub fn see(&mut self, part: &str, place: u64, row: &Row, is_first_of_picture: bool) {
        let example = |text: &ScoredText, from, matching| Example {
            part: part.to_owned(),
            place,
            key: row.key.clone(),
            address: address_of(row),
            text: text.text.clone(),
            from,
            matching,
            cosine: text.cosine,
            instead: instead(row),
        };
        if let Some(matching) = row.web.matching {
            let off = (matching - self.threshold).abs();
            if self.nearest_web.has_room_for(off) {
                self.nearest_web.add(off, example(&row.web, Origin::Web, matching));
            }
            if matching < self.threshold && self.worst_web.has_room_for(matching) {
                self.worst_web.add(matching, example(&row.web, Origin::Web, matching));
            }
        }
        for text in row.synthetic.iter().filter(|_| is_first_of_picture) {
            let Some(matching) = text.matching else { continue };
            let off = (matching - self.threshold).abs();
            if self.nearest_synthetic.has_room_for(off) {
                self.nearest_synthetic
                    .add(off, example(text, Origin::Synthetic, matching));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Example> {
        self.nearest_web
            .iter()
            .chain(self.nearest_synthetic.iter())
            .chain(self.worst_web.iter())
    }

    /// Where their pictures are: parts, places in them, and keys.
    pub fn places(&self) -> Vec<(&str, u64, &str)> {
        self.iter()
            .map(|example| (example.part.as_str(), example.place, example.key.as_str()))
            .collect()
    }
}

fn address_of(row: &Row) -> Option<String> {
    let text = |name: &str| row.fields.get(name)?.as_str().filter(|text| is_address(text));
    text("image").or_else(|| text("url")).map(str::to_owned)
}

fn instead(row: &Row) -> Vec<(String, Option<f32>)> {
    let texts = row.choice.iter().flat_map(|choice| &choice.texts);
    let synthetic = texts.filter(|text| text.from == Origin::Synthetic);
    synthetic.map(|text| (text.text.clone(), text.matching)).collect()
}

/// Small pictures, as what an `img` takes.
#[derive(Default)]
pub struct Pictures(BTreeMap<(String, u64), String>);

impl Pictures {
    /// Adds a picture, if it is one.
    pub fn add(&mut self, part: &str, place: u64, bytes: &[u8], limits: &PictureLimits) {
        let Ok(picture) = Picture::decode(bytes, limits) else {
            return;
        };
        if let Ok(small) = encode_within(&picture, SIDE) {
            let address = format!("data:image/jpeg;base64,{}", STANDARD.encode(small));
            self.0.insert((part.to_owned(), place), address);
        }
    }
}

/// What the page tells.
pub struct Report<'a> {
    pub stats: &'a Stats,
    pub examples: &'a Examples,
    pub pictures: &'a Pictures,
    pub settings: Option<&'a SettingsFile>,
}

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = String::from(HEAD);
        // Writing to a text cannot fail.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        let stats = self.stats;
        let share = |part: u64, whole: u64| percent((whole > 0).then(|| part as f64 / whole as f64));
        let policy = stats.policy.unwrap_or_default();
        writeln!(
            page,
            "<p class=sum><b>{}</b> of {} pictures keep a text ({}), by the policy <b>{}</b> with a threshold of {}. {} could not be read, {} are there more than once.</p>",
            stats.kept,
            stats.pictures,
            share(stats.kept, stats.pictures),
            escaped(policy),
            stats.threshold,
            stats.unreadable,
            stats.duplicates
        )?;
        writeln!(
            page,
            "<table><tr><th><th>Texts<th>Empty<th>Scored<th>Kept<th>Dropped<th>Noisy<th>Noise ratio<th>In the paper</tr>"
        )?;
        write_counts(page, "From the web", &stats.web, "")?;
        let paper = format!(
            "{} drawn (nucleus), {} by beam search",
            percent(Some(PAPER_NUCLEUS)),
            percent(Some(PAPER_BEAMS))
        );
        write_counts(page, "Synthetic", &stats.synthetic, &paper)?;
        writeln!(page, "</table>")?;
        writeln!(
            page,
            "<p class=note>A text is noisy if its match is below the threshold. That about a quarter of drawn texts are is usual; next to none, or four fifths, speak of a fault or of another kind of pictures.</p>"
        )?;
        writeln!(page, "<h2>Scores</h2><div class=plots>")?;
        for (name, of) in [("web", &stats.web), ("synthetic", &stats.synthetic)] {
            write_histogram(
                page,
                &format!("Match, {name}"),
                &of.match_histogram,
                (0.0, 1.0),
                Some(stats.threshold),
            )?;
            write_histogram(
                page,
                &format!("Cosine, {name}"),
                &of.cosine_histogram,
                (-1.0, 1.0),
                None,
            )?;
        }
        writeln!(page, "</div>")?;
        self.write_examples(page, "Web texts nearest the threshold", &self.examples.nearest_web)?;
        self.write_examples(
            page,
            "Synthetic texts nearest the threshold",
            &self.examples.nearest_synthetic,
        )?;
        self.write_examples(
            page,
            "The worst web texts, and what replaces them",
            &self.examples.worst_web,
        )?;
        self.write_settings(page)?;
        writeln!(page, "</main></html>")
    }

    fn write_examples(&self, page: &mut String, title: &str, examples: &Least) -> std::fmt::Result {
        writeln!(page, "<h2>{}</h2>", escaped(title))?;
        if examples.0.is_empty() {
            return writeln!(page, "<p class=note>There are none.</p>");
        }
        writeln!(page, "<div class=pairs>")?;
        for example in examples.iter() {
            writeln!(page, "<figure>")?;
            match self.pictures.0.get(&(example.part.clone(), example.place)) {
                Some(address) => writeln!(page, "<img alt=\"\" src=\"{}\">", escaped(address))?,
                None => {
                    let told = example.address.as_deref().unwrap_or("The picture is not shown.");
                    writeln!(page, "<p class=none>{}</p>", escaped(&beginning(told)))?;
                }
            }
            let cosine = example
                .cosine
                .map(|cosine| format!(", cosine {cosine:.3}"))
                .unwrap_or_default();
            writeln!(
                page,
                "<figcaption><q>{}</q><small>{} {}, match {:.3}{cosine}</small>",
                escaped(&beginning(&example.text)),
                escaped(example.from.name()),
                escaped(&beginning(&example.key)),
                example.matching
            )?;
            if example.from == Origin::Web && example.matching < self.stats.threshold {
                match example.instead.as_slice() {
                    [] => writeln!(page, "<small>nothing is kept in its place</small>")?,
                    texts => {
                        for (text, matching) in texts {
                            let matching = matching.map(|matching| format!(" {matching:.3}")).unwrap_or_default();
                            writeln!(
                                page,
                                "<small>kept: <q>{}</q>{matching}</small>",
                                escaped(&beginning(text))
                            )?;
                        }
                    }
                }
            }
            writeln!(page, "</figcaption></figure>")?;
        }
        writeln!(page, "</div>")
    }

    fn write_settings(&self, page: &mut String) -> std::fmt::Result {
        let Some(settings) = self.settings else { return Ok(()) };
        writeln!(page, "<h2>Settings</h2><table>")?;
        let input = ("input".to_owned(), settings.input.display().to_string());
        let others = settings.others.iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        });
        for (name, value) in std::iter::once(input).chain(others) {
            writeln!(
                page,
                "<tr><th>{}<td class=text>{}</tr>",
                escaped(&name),
                escaped(&value)
            )?;
        }
        writeln!(page, "</table>")
    }
}

fn write_counts(page: &mut String, name: &str, of: &TextStats, paper: &str) -> std::fmt::Result {
    writeln!(
        page,
        "<tr><th>{name}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td class=text>{paper}</tr>",
        of.texts,
        of.empty,
        of.scored,
        of.kept,
        of.texts - of.kept.min(of.texts),
        of.noisy,
        percent(of.noise_ratio())
    )
}

/// Bars, with a line where the threshold is.
fn write_histogram(
    page: &mut String,
    title: &str,
    counts: &[u64],
    (first, last): (f32, f32),
    threshold: Option<f32>,
) -> std::fmt::Result {
    const WIDTH: f32 = 320.0;
    const HEIGHT: f32 = 100.0;
    let most = counts.iter().copied().max().unwrap_or(0);
    let bar = WIDTH / BARS as f32;
    writeln!(
        page,
        "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {WIDTH} {1}\" role=img aria-label=\"{0}\">",
        escaped(title),
        HEIGHT + 16.0
    )?;
    for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f32 / most as f32 * HEIGHT).max(1.0);
        let from = first + (last - first) * place as f32 / BARS as f32;
        let to = first + (last - first) * (place + 1) as f32 / BARS as f32;
        writeln!(
            page,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{from:.3} to {to:.3}: {count}</title></rect>",
            place as f32 * bar,
            HEIGHT - height,
            bar - 1.0
        )?;
    }
    if let Some(threshold) = threshold {
        let x = threshold.clamp(0.0, 1.0) * WIDTH;
        writeln!(page, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\"/>")?;
    }
    writeln!(
        page,
        "<text x=\"0\" y=\"{0}\">{first}</text><text x=\"{WIDTH}\" y=\"{0}\" text-anchor=\"end\">{last}</text><text x=\"{1}\" y=\"{0}\" text-anchor=\"middle\">most in a bar: {most}</text></svg></figure>",
        HEIGHT + 13.0,
        WIDTH / 2.0
    )
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.1} %", share * 100.0))
}

/// A text, or what fits of it onto the page: one from the web may be a book.
fn beginning(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// A text as it stands in HTML, within an attribute too; what a browser does not show is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // These turn the direction of what follows.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

const HEAD: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>CapFilt report</title>
<style>
:root { color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif }
body { margin: 0 }
main { max-width: 70rem; margin: 0 auto; padding: 1rem }
h2 { margin: 2rem 0 .5rem; font-size: 1.15rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .3rem .7rem; border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent); text-align: right; font-variant-numeric: tabular-nums }
th:first-child, .text { text-align: left }
.note { opacity: .75; max-width: 46rem }
.plots, .pairs { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)) }
.pairs { grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
figure { margin: 0; overflow-wrap: anywhere }
svg { width: 100%; fill: currentColor; font-size: 10px }
svg rect { fill: #3b7dd8 }
svg line { stroke: #d33; stroke-width: 2 }
.pairs figure { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .5rem; padding: .6rem }
.pairs img { max-width: 100%; height: 9rem; object-fit: contain; display: block; margin: 0 auto .5rem }
.pairs .none { height: 9rem; margin: 0 0 .5rem; opacity: .6; overflow: hidden }
small { display: block; opacity: .8 }
</style>
<body><main><h1>CapFilt report</h1>
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capfilt::Policy;
    use crate::capfilt::stats::Counter;

    fn row(key: &str, text: &str, web: f32, synthetic: f32) -> Row {
        let scored = |text: &str, matching| ScoredText {
            text: text.into(),
            matching: Some(matching),
            cosine: Some(0.2),
        };
        let mut row = Row {
            key: key.into(),
            web: scored(text, web),
            synthetic: vec![scored("a <i>cat</i>", synthetic)],
            ..Row::default()
        };
        row.choice = Some(Policy::Paper.choose(&row, 0.5));
        row
    }

    #[test]
    fn whatever_a_text_says_it_is_text() {
        let hostile = "<script>alert(1)</script>\"' onerror=x \u{202e}&amp;";
        let mut examples = Examples::new(0.5);
        let mut counter = Counter::new(Some(Policy::Paper), 0.5);
        let row = row("<b>key</b>", hostile, 0.1, 0.9);
        counter.add(&row);
        examples.see("0", 0, &row, true);
        let page = Report {
            stats: &counter.stats,
            examples: &examples,
            pictures: &Pictures::default(),
            settings: None,
        }
        .html();
        assert!(
            !page.contains("<script") && !page.contains("<b>key") && !page.contains("<i>cat"),
            "{page}"
        );
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39; onerror=x &amp;amp;"));
        assert!(page.contains("100.0 %") && page.contains("25.0 % drawn"));
        for elsewhere in ["http://", "https://", "src=\"/", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_very_long_text_is_cut() {
        assert_eq!(beginning("a dog"), "a dog");
        assert_eq!(beginning(&"é".repeat(LETTERS)), "é".repeat(LETTERS));
        assert_eq!(beginning(&"é".repeat(100_000)), "é".repeat(LETTERS) + "…");
    }

    #[test]
    fn the_nearest_and_the_worst_are_shown_in_order() {
        let mut examples = Examples::new(0.5);
        for place in 0..100u64 {
            let row = row(&place.to_string(), "a dog", place as f32 / 100.0, 0.9);
            examples.see("0", place, &row, true);
        }
        let places = |least: &Least| least.iter().map(|example| example.place).collect::<Vec<_>>();
        assert_eq!(places(&examples.nearest_web)[..3], [50, 49, 51]);
        assert_eq!(places(&examples.worst_web), (0..12).collect::<Vec<_>>());
        assert_eq!(places(&examples.nearest_synthetic), (0..12).collect::<Vec<_>>());
    }
}
