//! One self-contained page a run, one a comparison: no network, no script, the plots inline.

mod about;
mod compare;
mod floors;
mod index;
mod ladders;
mod load;
mod matrix;
mod page;
mod plots;
mod sections;
mod starts;
mod style;
mod tables;

pub use compare::compare_page;
pub use index::{IndexEntry, index};
pub use matrix::matrix_page;
pub use page::{PageOptions, page};

use isobench_core::text::printable;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The frame that every page shares.
fn document(title: &str, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(style::CSS)) }
            }
            body { (body) }
        }
    };
    printable(&markup.into_string()).into_owned()
}

/// Text in which names stand in backticks. Where one has no partner they are somebody's quotation marks, and no names.
fn prose(text: &str) -> Markup {
    if text.matches('`').count() % 2 == 1 {
        return html! { (unbroken(text)) };
    }
    html! {
        @for (i, part) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (unbroken(part)) }
        }
    }
}

/// No line ends between a number and what it counts.
fn unbroken(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        let after_number = c == ' ' && result.ends_with(|last: char| last.is_ascii_digit());
        result.push(if after_number { '\u{a0}' } else { c });
    }
    result
}
