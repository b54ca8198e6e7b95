//! Paths into a message: which attribute, or which value of its content.

use std::fmt;

use crate::model::{Error, Result};

/// Where a path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// The content.
    Data,
    /// One of the items that a mapping explodes.
    Item,
    /// The number of that item, from 1.
    Index,
    /// An attribute of the event by its name: `id`, `subject`, an extension.
    Attribute(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The field of an object.
    Field(String),
    /// The element of a list, from 0.
    At(usize),
}

/// `data.items[0].sku`, `item["unit price"]`, `subject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub root: Root,
    pub steps: Vec<Step>,
    text: String,
}

/// Longer paths lead nowhere: content is not nested so deep.
const STEPS_MAX: usize = 100;

impl Path {
    pub fn parse(text: &str) -> Result<Path> {
        let wrong = || {
            let error = Error::invalid(format!("{text:?} is no path"));
            error.hint("write it like data.amount, data.items[0].sku, data[\"unit price\"] or subject")
        };
        let plain = |letter: char| !letter.is_control() && !['.', '[', ']', '"'].contains(&letter);
        let word = |rest: &str| rest.find(|letter| !plain(letter)).unwrap_or(rest.len());
        let (first, mut rest) = text.split_at(word(text));
        let root = match first {
            "" => return Err(wrong()),
            "data" => Root::Data,
            "item" => Root::Item,
            "index" => Root::Index,
            name => Root::Attribute(name.to_owned()),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest, word).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        let leads_in = matches!(root, Root::Data | Root::Item) || steps.is_empty();
        if !leads_in || steps.len() > STEPS_MAX {
            return Err(wrong());
        }
        Ok(Path { root, steps, text: text.to_owned() })
    }
}

/// The first step of what follows, and the rest.
fn step(rest: &str, word: impl Fn(&str) -> usize) -> Option<(Step, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let (name, after) = rest.split_at(word(rest));
        return (!name.is_empty()).then(|| (Step::Field(name.to_owned()), after));
    }
    let inside = rest.strip_prefix('[')?;
    if let Some(quoted) = inside.strip_prefix('"') {
        let (name, after) = quoted.split_once("\"]")?;
        return (!name.is_empty()).then(|| (Step::Field(name.to_owned()), after));
    }
    let (number, after) = inside.split_once(']')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((Step::At(number.parse().ok().filter(|_| digits)?), after))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_attributes_fields_and_elements_and_nothing_else() {
        let field = |name: &str| Step::Field(name.to_owned());
        for (text, root, steps) in [
            ("data", Root::Data, vec![]),
            ("data.amount", Root::Data, vec![field("amount")]),
            ("data.items[12].sku", Root::Data, vec![field("items"), Step::At(12), field("sku")]),
            ("data[\"a.b\"].单价", Root::Data, vec![field("a.b"), field("单价")]),
            ("item.qty", Root::Item, vec![field("qty")]),
            ("index", Root::Index, vec![]),
            ("subject", Root::Attribute("subject".to_owned()), vec![]),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!((&path.root, &path.steps), (&root, &steps), "{text}");
            assert_eq!(path.to_string(), text);
        }
        for text in [
            "",
            ".",
            "data.",
            "data..a",
            "data[",
            "data[]",
            "data[-1]",
            "data[x]",
            "data[\"\"]",
            "subject.a",
            "index[0]",
            "data]a",
            "[0]",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
