//! What the specification of `TextEncoder` and `TextDecoder` asks of UTF-8.

use std::borrow::Cow;

/// Invalid bytes as U+FFFD, one for each longest part that could have begun a character: what the specification says.
pub(crate) fn replaced(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).into_owned().into_bytes()
}

/// U+FFFD in place of each lone surrogate, which QuickJS encodes as if it were a character.
pub(crate) fn well_formed(bytes: &[u8]) -> Cow<'_, [u8]> {
    // No other character begins like that: most texts have none such, and the search for one byte is a fast one.
    if !bytes.contains(&0xed) {
        return Cow::Borrowed(bytes);
    }
    let mut copy = bytes.to_vec();
    for at in 1..copy.len() {
        if copy[at - 1] == 0xed && copy[at] >= 0xa0 {
            copy[at - 1..at + 2].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    Cow::Owned(copy)
}

/// The whole characters at the beginning of a text that fit into `room` bytes, and how many UTF-16 units they are.
pub(crate) fn fitting(text: &[u8], room: usize) -> (&[u8], usize) {
    let goes_on = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut end = room.min(text.len());
    while goes_on(end) {
        end -= 1;
    }
    let part = &text[..end];
    // One for each character, two for those of four bytes.
    let units = part.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum();
    (part, units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for text in ["", "plain", "\u{d7ff} 한국어 \u{e000}", "😀"] {
            assert_eq!(well_formed(text.as_bytes()), text.as_bytes(), "{text}");
        }
        // As QuickJS encodes a lone U+D800 before and after a character, and two in the wrong order.
        assert_eq!(&*well_formed(b"a\xed\xa0\x80b"), "a\u{fffd}b".as_bytes());
        assert_eq!(&*well_formed(b"\xed\xb0\x80\xed\xa0\x80"), "\u{fffd}\u{fffd}".as_bytes());
    }

    #[test]
    fn characters_are_not_cut() {
        let text = "a€😀b";
        let expected = [(0, 0), (1, 1), (1, 1), (1, 1), (4, 2), (4, 2), (4, 2), (4, 2), (8, 4), (9, 5), (9, 5)];
        for (room, (written, read)) in expected.into_iter().enumerate() {
            let (part, units) = fitting(text.as_bytes(), room);
            assert_eq!((part.len(), units), (written, read), "room for {room}");
        }
    }
}
