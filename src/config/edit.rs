//! Changes one option in the text of a configuration file and leaves every other line as it is.

/// The text with `key = value` in `[section]`: replaced where the option stands, else added.
pub fn with_option(text: &str, section: &str, key: &str, value: &str) -> String {
    let line = format!("{key} = {value}");
    let header = format!("[{section}]");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_header = |text: &str| text.split('#').next().unwrap_or_default().trim() == header;
    let Some(start) = lines.iter().position(|text| is_header(text)) else {
        if lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(String::new());
        }
        lines.extend([header, line]);
        return lines.join("\n") + "\n";
    };
    let end = lines[start + 1..].iter().position(|text| text.trim_start().starts_with('['));
    let end = end.map_or(lines.len(), |offset| start + 1 + offset);
    let is_option = |text: &String| text.split_once('=').is_some_and(|(name, _)| name.trim() == key);
    match lines[start + 1..end].iter().position(is_option) {
        Some(offset) => lines[start + 1 + offset] = line,
        None => lines.insert(start + 1, line),
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::with_option;

    #[test]
    fn one_line_changes_and_every_other_stays() {
        for (before, after) in [
            ("", "[sources.x]\nrank = 2\n"),
            ("[store]\npath = \"a\"\n", "[store]\npath = \"a\"\n\n[sources.x]\nrank = 2\n"),
            (
                "[sources.x] # mine\n# why\nrank = 7 # old\nurl = \"u\"\n[sources.y]\nrank = 1\n",
                "[sources.x] # mine\n# why\nrank = 2\nurl = \"u\"\n[sources.y]\nrank = 1\n",
            ),
            ("[sources.x]\nurl = \"u\"\n\n[y]\nrank = 1\n", "[sources.x]\nrank = 2\nurl = \"u\"\n\n[y]\nrank = 1\n"),
        ] {
            assert_eq!(with_option(before, "sources.x", "rank", "2"), after);
        }
    }
}
