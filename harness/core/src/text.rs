//! Text that others wrote, made fit to be shown: guests, compilers, daemons and run folders of strangers put what they
//! like into messages and names. Data keeps it as it is; every place where it is shown passes it through here.

use std::borrow::Cow;

/// Escapes every character that moves the cursor, changes colours or reorders what stands beside it: control characters
/// (C0, DEL, C1) but for line ends, line and paragraph separators, and the marks of bidirectional text (Unicode Annex #9).
/// An escaped one is visible, such as `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(hostile) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hostile(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// [`printable`] on one line: line ends and other white space become single spaces.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&words.join(" ")).into_owned()
}

fn hostile(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}') || bidirectional
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_reorders_text_is_visible_and_the_rest_stays() {
        assert_eq!(printable("é 日本 ✓\n… µs"), "é 日本 ✓\n… µs");
        assert_eq!(printable("a\u{1b}[31m\0\u{7}\u{9b}\u{7f}"), "a\\u{1b}[31m\\u{0}\\u{7}\\u{9b}\\u{7f}");
        assert_eq!(printable("\u{202e}gnp.exe\u{2066}\r"), "\\u{202e}gnp.exe\\u{2066}\\u{d}");
        assert_eq!(one_line("one\r\n  two\u{2028}three\t\u{1b}]0;x\u{7}"), "one two three \\u{1b}]0;x\\u{7}");
    }
}
