//! What the environment says about how to show things.

use std::io::IsTerminal;

use super::{Color, Format, Stream};

/// What decides, read once and given as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub is_terminal: bool,
    pub term: String,
    pub no_color: String,
    pub clicolor: String,
    pub clicolor_force: String,
}

impl Surroundings {
    pub fn read(stream: Stream) -> Self {
        let is_terminal = match stream {
            Stream::Out => std::io::stdout().is_terminal(),
            Stream::Err => std::io::stderr().is_terminal(),
        };
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Self {
            is_terminal,
            term: variable("TERM"),
            no_color: variable("NO_COLOR"),
            clicolor: variable("CLICOLOR"),
            clicolor_force: variable("CLICOLOR_FORCE"),
        }
    }

    /// Whether lines can be drawn over.
    pub fn can_draw(&self) -> bool {
        self.is_terminal && !self.term.is_empty() && self.term != "dumb"
    }

    /// Whether to colour. What the user spelled out wins, then <https://no-color.org>, then <https://bixense.com/clicolors>.
    pub fn color(&self, wanted: Color) -> bool {
        match wanted {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if !self.no_color.is_empty() => false,
            Color::Auto if !matches!(self.clicolor_force.as_str(), "" | "0") => true,
            Color::Auto => self.can_draw() && self.clicolor != "0",
        }
    }

    /// What `auto` comes to.
    pub fn format(&self, wanted: Format) -> Format {
        match wanted {
            Format::Auto if !self.can_draw() => Format::Plain,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Surroundings {
        Surroundings { is_terminal: true, term: "xterm-256color".into(), ..Surroundings::default() }
    }

    #[test]
    fn only_a_terminal_that_can_is_drawn_on() {
        assert_eq!(terminal().format(Format::Auto), Format::Auto);
        for term in ["", "dumb"] {
            let surroundings = Surroundings { term: term.into(), ..terminal() };
            assert_eq!(surroundings.format(Format::Auto), Format::Plain);
            assert!(!surroundings.color(Color::Auto));
        }
        let pipe = Surroundings { is_terminal: false, ..terminal() };
        assert_eq!(pipe.format(Format::Auto), Format::Plain);
        assert_eq!(pipe.format(Format::Json), Format::Json);
        assert!(!pipe.color(Color::Auto));
    }

    #[test]
    fn colour_is_as_the_user_says_then_as_the_environment_says() {
        let no_color = Surroundings { no_color: "1".into(), clicolor_force: "1".into(), ..terminal() };
        let off = Surroundings { clicolor: "0".into(), ..terminal() };
        let forced = Surroundings { clicolor_force: "1".into(), ..Surroundings::default() };
        let not_forced = Surroundings { clicolor_force: "0".into(), ..Surroundings::default() };
        let auto = [&terminal(), &no_color, &off, &forced, &not_forced].map(|s| s.color(Color::Auto));
        assert_eq!(auto, [true, false, false, true, false]);
        assert!(no_color.color(Color::Always));
        assert!(!terminal().color(Color::Never));
        // Colour is all that these are about: progress stays live.
        assert!(no_color.can_draw() && off.can_draw());
    }
}
