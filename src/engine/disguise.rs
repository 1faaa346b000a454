//! Changes every letter of kboot's own words, so that tests can show that nothing decides by them.
//!
//! Only builds with debug assertions can, where `KBOOT_WORDS=disguised` is in the environment: letters are then those of Unicode's
//! mathematical monospace alphabet, as in 𝚠𝚘𝚛𝚍𝚜. The end-to-end tests restore the letters of what they read. An agent does not have the
//! controller's environment; on a host, the file [`ON_HOST`] has the same effect.

/// Where the two alphabets begin.
#[cfg(debug_assertions)]
const CAPITALS: u32 = 0x1d670;
#[cfg(debug_assertions)]
const SMALL: u32 = 0x1d68a;

/// If this file exists, an agent changes the letters.
#[cfg(debug_assertions)]
const ON_HOST: &str = "/run/kboot.disguise";

#[cfg(debug_assertions)]
fn is_on() -> bool {
    static IS_ON: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IS_ON.get_or_init(|| {
        std::env::var("KBOOT_WORDS").is_ok_and(|words| words == "disguised") || std::path::Path::new(ON_HOST).exists()
    })
}

#[cfg(not(debug_assertions))]
pub fn words(words: String) -> String {
    words
}

/// The words as they are shown.
#[cfg(debug_assertions)]
pub fn words(words: String) -> String {
    if is_on() { disguised(&words) } else { words }
}

#[cfg(debug_assertions)]
fn disguised(words: &str) -> String {
    let letter = |c: char| match c {
        'A'..='Z' => char::from_u32(CAPITALS + u32::from(c) - u32::from('A')).unwrap_or(c),
        'a'..='z' => char::from_u32(SMALL + u32::from(c) - u32::from('a')).unwrap_or(c),
        other => other,
    };
    words.chars().map(letter).collect()
}
