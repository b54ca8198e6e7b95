//! What a reader is asked to see, with the names and forms in which people ask for it.

use crate::model::{Day, Error, Instant, Result};

/// Which rows are seen, and in which price base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The store as it was believed at this instant.
    pub as_of: Option<Instant>,
    /// Of each statement the version that had been announced last on this day.
    pub known_on: Option<Day>,
    /// Prices as they were when `None`.
    pub adjust: Option<Adjust>,
    /// The day whose prices stay as they are in forward adjustment; see `Reader::anchor` for what counts without it.
    pub anchor: Option<Day>,
    /// Adjusted rows say in two further columns to what they are adjusted and by whose factors.
    pub told: bool,
}

/// How prices are adjusted. Volumes and amounts never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// `qfq`: raw price x factor of the day / factor of the anchor day.
    Forward,
    /// `hfq`: raw price x factor of the day.
    Backward,
}

/// The parameters that a view is asked by.
pub const PARAMETERS: [&str; 4] = ["as_of", "known_on", "adjust", "anchor"];

impl View {
    /// Sets what one of the [`PARAMETERS`] says; an empty value says nothing. `Invalid` when it cannot be read.
    pub fn set(&mut self, parameter: &str, value: &str) -> Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        match parameter {
            "as_of" => self.as_of = Some(instant(value)?),
            "known_on" => self.known_on = Some(Day::parse(value)?),
            "adjust" => self.adjust = adjust(value)?,
            "anchor" => self.anchor = Some(Day::parse(value)?),
            _ => return Err(Error::bug(format!("nothing is seen by {parameter:?}"))),
        }
        Ok(())
    }

    /// What is asked by the [`PARAMETERS`] that `given` finds; the name of the first that cannot be read otherwise.
    pub fn asked<'a>(given: impl Fn(&'static str) -> Option<&'a str>) -> std::result::Result<View, &'static str> {
        let mut view = View::default();
        for name in PARAMETERS {
            if let Some(value) = given(name) {
                view.set(name, value).map_err(|_| name)?;
            }
        }
        view.check().map_err(|_| "anchor")?;
        Ok(view)
    }

    /// The view with what follows an `@` in the name of a user: `anonymous@2024-06-28`. A name whose `@` is not followed by
    /// a digit is an address, and says nothing. `Invalid` when a digit begins no instant and no day.
    pub fn of_user(user: &str) -> Result<View> {
        let mut view = View::default();
        if let Some((_, then)) = user.rsplit_once('@')
            && then.starts_with(|first: char| first.is_ascii_digit())
        {
            view.set("as_of", then)?;
        }
        Ok(view)
    }

    /// Only the instant: for tables that a server reads beside the one that is asked for.
    pub fn at_instant(&self) -> View {
        View { as_of: self.as_of, ..View::default() }
    }

    /// `Invalid` when the parts do not go together.
    pub fn check(&self) -> Result<()> {
        if self.anchor.is_some() && self.adjust != Some(Adjust::Forward) {
            return Err(Error::invalid("an anchor is the base of forward adjusted prices").hint("add qfq"));
        }
        Ok(())
    }
}

/// An instant in RFC 3339, or the end of a day in Beijing.
fn instant(text: &str) -> Result<Instant> {
    if let Ok(day) = Day::parse(text) {
        return Ok(Instant(Instant::at(day.next(), 0).0 - 1));
    }
    let unreadable = || {
        Error::invalid(format!("{text:?} is neither an instant nor a day"))
            .hint("write 2024-06-28T18:00:00+08:00, or 2024-06-28 for the end of that day in Beijing")
    };
    // In the query of a URL a plus sign is a space.
    Instant::parse(&text.replacen(' ', "+", 1)).ok_or_else(unreadable)
}

fn adjust(text: &str) -> Result<Option<Adjust>> {
    match text {
        "none" => Ok(None),
        "qfq" => Ok(Some(Adjust::Forward)),
        "hfq" => Ok(Some(Adjust::Backward)),
        _ => Err(Error::invalid(format!("{text:?} is no way to adjust prices")).hint("choose qfq, hfq or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_means_its_end_in_beijing_and_an_instant_itself() {
        for (text, expected) in [
            ("2024-06-28", Some("2024-06-28T15:59:59.999Z")),
            ("20240628", Some("2024-06-28T15:59:59.999Z")),
            ("2024-06-28T18:00:00+08:00", Some("2024-06-28T10:00:00Z")),
            ("2024-06-28T18:00:00 08:00", Some("2024-06-28T10:00:00Z")),
            ("2024-06-28T10:00:00Z", Some("2024-06-28T10:00:00Z")),
            ("yesterday", None),
            ("2024-06-28 18:00", None),
        ] {
            let mut view = View::default();
            let read = view.set("as_of", text).map(|()| view.as_of.unwrap().to_string());
            assert_eq!(read.ok(), expected.map(|text| Instant::parse(text).unwrap().to_string()), "{text}");
        }
    }

    #[test]
    fn a_user_may_say_as_of_when() {
        for (user, expected) in [
            ("anonymous", Some(None)),
            ("me@example.com", Some(None)),
            ("anonymous@2024-06-28", Some(Some("2024-06-28T15:59:59.999Z"))),
            ("me@example.com@20240628", Some(Some("2024-06-28T15:59:59.999Z"))),
            ("anonymous@2024-06-28T10:00:00Z", Some(Some("2024-06-28T10:00:00Z"))),
            ("anonymous@2024-13-28", None),
        ] {
            let view = View::of_user(user).ok();
            let expected = expected.map(|as_of| as_of.map(|text| Instant::parse(text).unwrap().to_string()));
            assert_eq!(view.map(|view| view.as_of.map(|as_of| as_of.to_string())), expected, "{user}");
        }
    }

    #[test]
    fn parameters_are_read_and_checked_together() {
        let view = |parameters: &[(&str, &str)]| {
            let mut view = View::default();
            let set = parameters.iter().try_for_each(|(name, value)| view.set(name, value));
            set.and_then(|()| view.check()).map(|()| view)
        };
        let qfq = view(&[("adjust", "qfq"), ("anchor", "20240628"), ("known_on", ""), ("as_of", "")]).unwrap();
        assert_eq!((qfq.adjust, qfq.anchor), (Some(Adjust::Forward), Day::parse("20240628").ok()));
        assert_eq!(view(&[("adjust", "none")]).unwrap(), View::default());
        for wrong in [("adjust", "forward"), ("known_on", "soon"), ("anchor", "20240628")] {
            assert!(view(&[wrong]).unwrap_err().hint_text().is_some() || wrong.0 == "known_on", "{wrong:?}");
        }
    }
}
