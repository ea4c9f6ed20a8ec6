//! A thin layer over plotters' SVG backend: ink by role instead of colour, so that a plot follows the page's theme.

use isobench_core::words::Model;
use plotters::prelude::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

/// What a mark stands for. Its colour is a variable of the style sheet; the value here is that of the light theme,
/// written into the SVG first and replaced by the variable afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Labels.
    Text,
    /// Axes' labels and notes.
    Muted,
    /// Grid lines.
    Grid,
    /// Text on a full-strength bar.
    OnStrong,
    /// One colour a model, the same on the whole page.
    Model(Model),
}

/// Every ink with its value in the light theme and its variable.
const INKS: [(Ink, u32, &str); 11] = [
    (Ink::Text, 0x1B1F24, "--text"),
    (Ink::Muted, 0x5B6570, "--muted"),
    (Ink::Grid, 0xE4E7EB, "--line"),
    (Ink::OnStrong, 0xFFFFFE, "--on-strong"),
    (Ink::Model(Model::Process), 0x6B7480, "--process"),
    (Ink::Model(Model::Isolate), 0x0072B2, "--isolate"),
    (Ink::Model(Model::Wasm), 0x8A4FBF, "--wasm"),
    (Ink::Model(Model::Container), 0x00866A, "--container"),
    (Ink::Model(Model::Microvm), 0xC8500A, "--microvm"),
    (Ink::Model(Model::Remote), 0xB0357E, "--remote"),
    (Ink::Model(Model::Null), 0x9A9A99, "--null"),
];

impl Ink {
    fn rgb(self) -> RGBColor {
        let value = INKS.iter().find(|(ink, ..)| *ink == self).map_or(0, |(_, value, _)| *value);
        RGBColor((value >> 16) as u8, (value >> 8) as u8, value as u8)
    }
}

/// Where a text stands against its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// A drawing of a fixed size in CSS pixels; the page scales it to its column.
pub struct Canvas<'a> {
    backend: SVGBackend<'a>,
    /// Font size of labels.
    pub font: f64,
}

/// Draws an SVG of `width` × `height`, described to those who cannot see it by `title`.
pub fn draw(width: i32, height: i32, title: &str, paint: impl FnOnce(&mut Canvas)) -> String {
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (width as u32, height as u32));
        let mut canvas = Canvas { backend, font: 12.0 };
        paint(&mut canvas);
        // Writing into a string cannot fail, here and below.
        let _ = canvas.backend.present();
    }
    themed(&svg, width, height, title)
}

/// Replaces colours by variables. Only whole attribute values match: text cannot hold a bare quotation mark.
fn themed(svg: &str, width: i32, height: i32, title: &str) -> String {
    let mut svg = svg.to_string();
    for (_, value, variable) in INKS {
        svg = svg.replace(&format!("\"#{value:06X}\""), &format!("\"var({variable})\""));
    }
    // The page sets size and font; plotters writes a fixed size and the name of a family.
    let title: String = maud::html! { (title) }.into_string();
    let sized = format!("<svg width=\"{width}\" height=\"{height}\"");
    svg = svg.replacen(&sized, &format!("<svg role=\"img\" aria-label=\"{title}\""), 1);
    svg.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "").replace('\n', "")
}

fn style(ink: Ink, opacity: f64, stroke: u32) -> ShapeStyle {
    ShapeStyle { color: ink.rgb().mix(opacity), filled: false, stroke_width: stroke }
}

impl Canvas<'_> {
    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, opacity: f64, stroke: u32) {
        let _ = self.backend.draw_line(round(from), round(to), &style(ink, opacity, stroke));
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], ink: Ink, opacity: f64, stroke: u32) {
        let _ = self.backend.draw_path(points.iter().copied().map(round), &style(ink, opacity, stroke));
    }

    /// A dashed line through points: what is emulated, or a fit.
    pub fn dashes(&mut self, points: &[(f64, f64)], ink: Ink, opacity: f64, stroke: u32, on: f64, off: f64) {
        let mut travelled = 0.0;
        for pair in points.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let at = |along: f64| {
                let share = if length > 0.0 { along / length } else { 0.0 };
                (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
            };
            let mut along = 0.0;
            while along < length {
                let phase: f64 = travelled % (on + off);
                let drawn = phase < on;
                let step = (if drawn { on - phase } else { on + off - phase }).max(0.01).min(length - along);
                if drawn {
                    self.line(at(along), at(along + step), ink, opacity, stroke);
                }
                along += step;
                travelled += step;
            }
        }
    }

    /// A filled rectangle.
    pub fn bar(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, opacity: f64) {
        let _ = self.backend.draw_rect(round(from), round(to), &style(ink, opacity, 1), true);
    }

    /// An outlined rectangle with diagonal strokes: emulated.
    pub fn hatched(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, opacity: f64) {
        // Faint enough for a label on top.
        self.bar(from, to, ink, opacity * 0.2);
        let height = to.1 - from.1;
        let mut x = from.0 - height + 4.0;
        while x < to.0 {
            let (left, right) = (x.max(from.0), (x + height).min(to.0));
            if right > left {
                self.line((left, to.1 - (left - x)), (right, to.1 - (right - x)), ink, 0.1 + opacity * 0.2, 1);
            }
            x += 6.0;
        }
        let _ = self.backend.draw_rect(round(from), round(to), &style(ink, opacity.max(0.6), 1), false);
    }

    /// A dot, hollow where emulated.
    pub fn dot(&mut self, at: (f64, f64), radius: u32, ink: Ink, hollow: bool) {
        let _ = self.backend.draw_circle(round(at), radius, &style(ink, 1.0, 2), !hollow);
    }

    /// A text, centred on the height of `at`.
    pub fn text(&mut self, text: &str, at: (f64, f64), anchor: Anchor, ink: Ink, bold: bool) {
        let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
        // plotters writes size/1.24, what it holds for the height of a font of that size.
        let font = FontDesc::new(FontFamily::SansSerif, self.font * 1.24, weight);
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let color = ink.rgb();
        let style = TextStyle::from(font).color(&color).pos(Pos::new(horizontal, VPos::Center));
        let _ = self.backend.draw_text(text, &style, round(at));
    }

    /// About how wide a text is: system fonts average 0.56 of their size a character.
    pub fn width_of(&self, text: &str) -> f64 {
        text.chars().count() as f64 * self.font * 0.56
    }
}

fn round((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}
