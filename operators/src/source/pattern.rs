//! One part of a path, between two slashes, as a pattern: `*.csv`, `state={state}`, `{ssn}.csv`.

/// A part of a path that stands for many.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Char(char),
    /// `?`: any character.
    One,
    /// `*`: any characters, or none.
    Any,
    /// `{name}`: any characters, one at least; they are the value of a column.
    Named,
}

impl Pattern {
    /// The pattern, and the names of its columns from left to right. Braces that are not closed, or
    /// that hold no name, stand for themselves.
    pub(super) fn of(part: &str) -> (Pattern, Vec<String>) {
        let (mut tokens, mut names) = (Vec::new(), Vec::new());
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            if let Some((name, behind)) = named(rest) {
                names.push(name.to_owned());
                tokens.push(Token::Named);
                rest = behind;
                continue;
            }
            tokens.push(match first {
                '*' => Token::Any,
                '?' => Token::One,
                other => Token::Char(other),
            });
            rest = &rest[first.len_utf8()..];
        }
        (Pattern(tokens), names)
    }

    /// Whether it stands for itself alone.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|token| matches!(token, Token::Char(_)))
    }

    /// What stands in `name` for each column; `None` when the name does not match. A column takes as
    /// little as it can, from left to right. As in a shell a name that begins with a dot matches
    /// only where the dot is written.
    pub(super) fn matches(&self, name: &str) -> Option<Vec<String>> {
        if name.starts_with('.') && self.0.first() != Some(&Token::Char('.')) {
            return None;
        }
        let name: Vec<char> = name.chars().collect();
        let mut found = Vec::new();
        matches(&self.0, &name, &mut found).then(|| {
            found.reverse();
            found
        })
    }
}

/// Takes a `{name}` off the front.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.strip_prefix('{')?.split_once('}')?;
    (!name.is_empty() && !name.contains('{')).then_some((name, behind))
}

/// Whether the tokens match all of `name`; the columns' texts are added to `found`, the last first.
fn matches(tokens: &[Token], name: &[char], found: &mut Vec<String>) -> bool {
    let Some((token, rest)) = tokens.split_first() else {
        return name.is_empty();
    };
    match token {
        Token::Char(char) => name.first() == Some(char) && matches(rest, &name[1..], found),
        Token::One => !name.is_empty() && matches(rest, &name[1..], found),
        Token::Any => (0..=name.len()).any(|taken| matches(rest, &name[taken..], found)),
        Token::Named => (1..=name.len()).any(|taken| {
            let is_match = matches(rest, &name[taken..], found);
            if is_match {
                found.push(name[..taken].iter().collect());
            }
            is_match
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, name: &str) -> Option<Vec<String>> {
        Pattern::of(pattern).0.matches(name)
    }

    #[test]
    fn stars_question_marks_and_names_match() {
        for (pattern, name) in [
            ("a.csv", "a.csv"),
            ("*.csv", "a.csv"),
            ("*.csv", ".csv.csv"),
            ("*", "é"),
            ("?.csv", "é.csv"),
            (".*", ".hidden"),
            ("{}*{", "{}x{"),
        ] {
            let is_hidden = name.starts_with('.') && !pattern.starts_with('.');
            let expected = (!is_hidden).then(Vec::new);
            assert_eq!(found(pattern, name), expected, "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a.csv", "b.csv"),
            ("*.csv", "a.csv.gz"),
            ("?", ""),
            ("?", "ab"),
        ] {
            assert_eq!(found(pattern, name), None, "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_takes_as_little_as_it_can() {
        let texts = |texts: &[&str]| Some(texts.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(found("{a}.csv", "123.csv"), texts(&["123"]));
        assert_eq!(found("{a}.csv", "a.csv.csv"), texts(&["a.csv"]));
        assert_eq!(found("{a}-{b}", "1-2-3"), texts(&["1", "2-3"]));
        assert_eq!(found("state={state}", "state=NY"), texts(&["NY"]));
        assert_eq!(found("state={state}", "state="), None);
        let (_, names) = Pattern::of("{a}-x-{b c}");
        assert_eq!(names, ["a", "b c"]);
    }
}
