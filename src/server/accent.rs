//! A host's own colour on the page (`--accent`): read strictly, and kept readable in light and dark.

use std::str::FromStr;

use csscolorparser::Color;

/// The grounds that words in the accent stand on, the least forgiving of each theme (`style/_tokens.scss`).
const LIGHT_GROUND: [u8; 3] = [0xf0, 0xee, 0xea];
const DARK_GROUND: [u8; 3] = [0x26, 0x29, 0x2d];

/// What WCAG asks of words.
const LEAST_CONTRAST: f32 = 4.5;

/// A solid colour, as numbers: nothing of what was typed goes onto the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Accent(Color);

impl FromStr for Accent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            "write a colour of CSS, as '#0f6f68', teal, 'rgb(15 111 104)', 'hsl(176 76% 25%)' or 'oklch(49% 0.09 188)'";
        let text = text.trim();
        // The library takes digits without their sign too, which CSS does not; no colour's name is made of such.
        if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let colour = csscolorparser::parse(text).map_err(|_| wrong)?;
        if [colour.r, colour.g, colour.b, colour.a]
            .iter()
            .any(|part| !part.is_finite())
        {
            return Err(wrong);
        }
        if colour.a < 1.0 {
            return Err("the colour is not solid: leave its alpha out");
        }
        Ok(Self(colour.clamp()))
    }
}

impl Accent {
    /// The style that puts it in the place of Glimpse's own. Buttons have the very colour, with black or
    /// white words on it, whichever is read better; words and lines have it as dark, or as light, as they
    /// have to be to be read on the page.
    pub fn style(&self) -> String {
        let fill = bytes(&self.0);
        let (on_fill, further) = match contrast(fill, [0; 3]) > contrast(fill, [255; 3]) {
            true => ([0; 3], 1.0),
            false => ([255; 3], 0.0),
        };
        // What is pointed at goes away from the words on it.
        let strong = Color::new(
            mixed(self.0.r, further),
            mixed(self.0.g, further),
            mixed(self.0.b, further),
            1.0,
        );
        let light = self.readable(LIGHT_GROUND, -0.01);
        let dark = self.readable(DARK_GROUND, 0.01);
        format!(
            ":root{{--accent:light-dark({},{});--fill:{};--fill-strong:{};--on-accent:{}}}",
            hex(light),
            hex(dark),
            hex(fill),
            hex(bytes(&strong)),
            hex(on_fill),
        )
    }

    /// The colour, made darker or lighter by `step` until it is read on this ground.
    fn readable(&self, ground: [u8; 3], step: f32) -> [u8; 3] {
        let [mut lightness, mut a, mut b, _] = self.0.to_oklaba();
        loop {
            let colour = bytes(&Color::from_oklaba(lightness, a, b, 1.0).clamp());
            if contrast(colour, ground) >= LEAST_CONTRAST || !(0.0..=1.0).contains(&lightness) {
                return colour;
            }
            lightness += step;
            // Very dark and very light colours have little of a hue: what does not exist would be cut.
            (a, b) = (a * 0.995, b * 0.995);
        }
    }
}

fn mixed(part: f32, with: f32) -> f32 {
    part * 0.85 + with * 0.15
}

fn bytes(colour: &Color) -> [u8; 3] {
    let [red, green, blue, _] = colour.to_rgba8();
    [red, green, blue]
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// As WCAG has it, from 1 to 21.
fn contrast(one: [u8; 3], other: [u8; 3]) -> f32 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(colour: [u8; 3]) -> f32 {
    let [red, green, blue] = colour.map(|byte| {
        let part = f32::from(byte) / 255.0;
        match part <= 0.04045 {
            true => part / 12.92,
            false => ((part + 0.055) / 1.055).powf(2.4),
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_as_css_writes_them_and_nothing_else_is() {
        for (written, fill) in [
            ("#0f6f68", "#0f6f68"),
            (" #F80 ", "#ff8800"),
            ("rebeccapurple", "#663399"),
            ("Tomato", "#ff6347"),
            ("rgb(15 111 104)", "#0f6f68"),
            ("rgb(15, 111, 104)", "#0f6f68"),
            ("hsl(120 100% 25%)", "#008000"),
            ("oklch(62.8% 0.2577 29.23)", "#ff0000"),
        ] {
            let accent: Accent = written.parse().expect(written);
            let style = accent.style();
            assert!(style.contains(&format!("--fill:{fill};")), "{written}: {style}");
        }
        for wrong in [
            "",
            "0f6f68",
            "fff",
            "teal;}body{display:none",
            "</style><script>",
            "url(https://example.org)",
            "var(--text)",
            "#0f6f6",
            "rgb(15 111)",
            "transparent",
            "#0f6f6880",
            "rgb(0 0 0 / 50%)",
            "currentcolor",
            "hsl(nan 1% 1%)",
            "oklch(inf 0 0)",
        ] {
            assert!(wrong.parse::<Accent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn whatever_the_colour_words_are_read_on_it_and_in_it() {
        let of = |style: &str, name: &str| -> [u8; 3] {
            let text = style.split(name).nth(1).expect(name);
            let number = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("it is hexadecimal");
            [number(1), number(3), number(5)]
        };
        for written in [
            "black", "white", "yellow", "#777", "blue", "#0f6f68", "lime", "hotpink", "navy", "#bada55",
        ] {
            let style = written.parse::<Accent>().expect(written).style();
            let on = of(&style, "--on-accent:");
            assert!(
                contrast(on, of(&style, "--fill:")) >= LEAST_CONTRAST,
                "{written}: {style}"
            );
            assert!(
                contrast(on, of(&style, "--fill-strong:")) >= LEAST_CONTRAST,
                "{written}: {style}"
            );
            assert!(
                contrast(of(&style, "light-dark("), LIGHT_GROUND) >= LEAST_CONTRAST,
                "{written}: {style}"
            );
            let dark = style
                .split("light-dark(")
                .nth(1)
                .and_then(|rest| rest.split_once(','))
                .expect("it has two")
                .1;
            assert!(
                contrast(of(&format!("={dark}"), "="), DARK_GROUND) >= LEAST_CONTRAST,
                "{written}: {style}"
            );
        }
    }
}
