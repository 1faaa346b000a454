//! Makes text from hosts safe to show: a hostile log line must not move the cursor, recolour the screen or reverse its text.
//!
//! Knows nothing of events. All that people are shown passes through here: what `page` prints, and what `cli` prints itself.

/// Longer lines are cut: a log line of a megabyte helps nobody.
const LONGEST: usize = 2_000;

/// What a tab becomes.
const TAB: &str = "    ";

/// One line without any control character; line breaks become spaces. A long one is cut.
pub(super) fn line(text: &str) -> String {
    up_to(LONGEST, text)
}

/// One line without any control character, however long; line breaks become spaces.
pub fn clean_line(text: &str) -> String {
    up_to(usize::MAX, text)
}

/// The same line by line: the text's own line breaks stay, also at its end.
pub fn clean_text(text: &str) -> String {
    text.replace("\r\n", "\n").split('\n').map(clean_line).collect::<Vec<_>>().join("\n")
}

/// JSON lets DEL, C1 control characters and those that change the direction of text stand as they are; a terminal that the text
/// ends up on would obey them.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => escaped.push('\n'),
            // All of them are in the basic plane, so one escape is enough.
            c if is_hostile(c) => escaped.push_str(&format!("\\u{:04x}", c as u32)),
            c => escaped.push(c),
        }
    }
    escaped
}

fn up_to(longest: usize, text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut length = 0;
    let mut rest = text.trim_end_matches(['\r', '\n']);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = after_escape(rest) {
            rest = after;
            continue;
        }
        rest = &rest[first.len_utf8()..];
        if length == longest {
            let more = rest.chars().count() + 1;
            shown.push_str(&format!("… ({more} more characters)"));
            break;
        }
        length += 1;
        match first {
            '\t' => shown.push_str(TAB),
            '\n' | '\r' => shown.push(' '),
            hidden if is_hostile(hidden) => shown.push(char::REPLACEMENT_CHARACTER),
            plain => shown.push(plain),
        }
    }
    shown
}

/// The lines of a text, each as [`line`] makes it. A lone carriage return ends a line too, so that nothing overwrites what came before.
pub(super) fn lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n");
    text.trim_end_matches('\n').split(['\n', '\r']).map(line).collect()
}

/// Control characters (C0, DEL, C1) and those that change the direction or the lines of the text around them.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What follows a terminal's escape sequence (ECMA-48) at the start of the text; None where there is none, or none that ends.
fn after_escape(text: &str) -> Option<&str> {
    if let Some(body) = text.strip_prefix('\u{9b}').or_else(|| text.strip_prefix("\x1b[")) {
        let end = body.find(|c: char| !matches!(c, '\x20'..='\x3f'))?;
        return matches!(body.as_bytes()[end], 0x40..=0x7e).then(|| &body[end + 1..]);
    }
    let body = text.strip_prefix('\x1b')?;
    if let Some(string) = body.strip_prefix([']', 'P', 'X', '^', '_']) {
        let end = string.find(['\x07', '\x1b', '\u{9c}'])?;
        let tail = &string[end..];
        return tail.strip_prefix("\x1b\\").or_else(|| tail.strip_prefix(['\x07', '\u{9c}']));
    }
    let end = body.find(|c: char| !matches!(c, '\x20'..='\x2f'))?;
    matches!(body.as_bytes()[end], 0x30..=0x7e).then(|| &body[end + 1..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_vanish_and_their_text_stays() {
        assert_eq!(line("\x1b[31mred\x1b[0m and \x1b]8;;http://x\x07link\x1b]8;;\x1b\\"), "red and link");
        assert_eq!(line("\x1b(Bplain \u{9b}2Jclear"), "plain clear");
    }

    #[test]
    fn what_is_no_whole_sequence_is_made_visible() {
        assert_eq!(line("a\x1b"), "a\u{fffd}");
        assert_eq!(line("a\x1b]0;title without an end"), "a\u{fffd}]0;title without an end");
        assert_eq!(line("a\x1b[31"), "a\u{fffd}[31");
        assert_eq!(line("bell\x07 \u{202e}txt.exe"), "bell\u{fffd} \u{fffd}txt.exe");
    }

    #[test]
    fn a_carriage_return_does_not_hide_what_was_before_it() {
        assert_eq!(lines("error: bad\rfine\r\nnext\n"), ["error: bad", "fine", "next"]);
        assert_eq!(line("one\r\n"), "one");
        assert_eq!(line("one\ntwo\tthree"), "one two    three");
    }

    #[test]
    fn a_text_keeps_its_lines_and_json_its_meaning() {
        assert_eq!(clean_text("a\x1b[2J\n\n  b\rc\n"), "a\n\n  b c\n");
        assert_eq!(clean_line(&"x".repeat(LONGEST + 7)).len(), LONGEST + 7);
        let value = serde_json::json!({"a": "\u{9b}31m \u{202e} \x7f \x1b é\n"});
        let escaped = escape_json(&value.to_string());
        assert!(!escaped.contains(is_hostile), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn a_long_line_is_cut_with_a_count() {
        let shown = line(&"x".repeat(LONGEST + 7));
        assert_eq!(shown, format!("{}… (7 more characters)", "x".repeat(LONGEST)));
        assert_eq!(line(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    proptest! {
        #[test]
        fn no_control_character_survives(text in any::<Vec<u8>>().prop_map(|b| String::from_utf8_lossy(&b).into_owned())) {
            prop_assert!(!line(&text).contains(is_hostile));
            prop_assert!(!lines(&text).concat().contains(is_hostile));
            prop_assert!(!clean_line(&text).contains(is_hostile));
            prop_assert!(!clean_text(&text).replace('\n', "").contains(is_hostile));
            prop_assert!(!escape_json(&text).replace('\n', "").contains(is_hostile));
        }

        #[test]
        fn not_even_one_of_many_pieces_of_escape_sequences(
            pieces in proptest::collection::vec(
                prop_oneof!["\x1b", "\\[", "\\]", "[0-9;]{0,3}", "\u{9b}", "\x07", "\r", "\n", "\t", "\\\\", "m", "P", "é", "\u{202e}", "\u{85}"],
                0..40,
            ),
        ) {
            let text = pieces.concat();
            prop_assert!(!line(&text).contains(is_hostile), "{:?}", line(&text));
        }

        #[test]
        fn harmless_text_is_left_alone(text in "[ -~äöü→…]{0,100}") {
            prop_assert_eq!(line(&text), text);
        }
    }
}
