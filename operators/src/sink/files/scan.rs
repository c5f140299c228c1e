//! JSON objects in a text, one after the other, with the values of their members as they stand: so
//! a nested value keeps its numbers and the order of its members.

use std::borrow::Cow;

/// A place in a text of JSON: the objects of an array, or of lines.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    is_array: bool,
    is_first: bool,
}

impl<'a> Scan<'a> {
    /// The beginning of a text.
    pub(super) fn of(text: &'a str, is_array: bool) -> Self {
        Scan {
            text,
            at: 0,
            is_array,
            is_first: true,
        }
    }

    /// Goes to the next object; false behind the last.
    pub(super) fn next(&mut self) -> Result<bool, String> {
        let is_first = std::mem::take(&mut self.is_first);
        if self.is_array && is_first {
            self.take(b'[')?;
        }
        if self.is_array && self.is_at(b']') {
            self.take(b']')?;
            self.skip_space();
            if self.at < self.text.len() {
                return Err("there is text behind the array".to_owned());
            }
            return Ok(false);
        }
        if self.is_array && !is_first {
            self.take(b',')?;
        }
        self.skip_space();
        Ok(self.is_array || self.at < self.text.len())
    }

    /// Reads the object here: the name of each member and the text of its value.
    pub(super) fn members(&mut self, member: &mut dyn FnMut(&str, &'a str)) -> Result<(), String> {
        self.take(b'{')?;
        if self.is_at(b'}') {
            return self.take(b'}');
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            let name: Cow<'_, str> = if name.contains('\\') {
                Cow::Owned(serde_json::from_str(name).map_err(|error| error.to_string())?)
            } else {
                Cow::Borrowed(&name[1..name.len() - 1])
            };
            self.take(b':')?;
            self.skip_space();
            let value = self.value()?;
            member(&name, value);
            if !self.is_at(b',') {
                return self.take(b'}');
            }
            self.take(b',')?;
        }
    }

    fn skip_space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| is_space(**byte));
        self.at += spaces.count();
    }

    fn is_at(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.text.as_bytes().get(self.at) == Some(&byte)
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        if !self.is_at(byte) {
            return Err(format!(
                "there is no `{}` where one is due",
                char::from(byte)
            ));
        }
        self.at += 1;
        Ok(())
    }

    /// The string here, with its quotes.
    fn string(&mut self) -> Result<&'a str, String> {
        let rest = &self.text[self.at..];
        let length = string_length(rest.as_bytes()).ok_or("a string is missing or does not end")?;
        self.at += length;
        Ok(&rest[..length])
    }

    /// The value here, of whatever kind.
    fn value(&mut self) -> Result<&'a str, String> {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let (mut depth, mut length) = (0_usize, 0);
        while let Some(&byte) = bytes.get(length) {
            match byte {
                b'"' => {
                    length += string_length(&bytes[length..]).ok_or("a string does not end")? - 1;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'}' | b']' | b',' if depth == 0 => break,
                byte if is_space(byte) && depth == 0 => break,
                _ => {}
            }
            length += 1;
        }
        if length == 0 || depth > 0 {
            return Err("a value is missing or does not end".to_owned());
        }
        self.at += length;
        Ok(&rest[..length])
    }
}

/// A value without the spaces between its parts.
pub(super) fn compact(value: &str) -> Cow<'_, str> {
    if !value.bytes().any(is_space) {
        return Cow::Borrowed(value);
    }
    let mut compact = String::with_capacity(value.len());
    let mut is_string = false;
    let mut is_escaped = false;
    for character in value.chars() {
        if is_string || !character.is_ascii_whitespace() {
            compact.push(character);
        }
        if character == '"' && !is_escaped {
            is_string = !is_string;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    Cow::Owned(compact)
}

/// How many bytes the string at the front has, with its quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let (b'"', mut rest) = bytes.split_first()? else {
        return None;
    };
    loop {
        let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if rest[at] == b'"' {
            return Some(bytes.len() - rest.len() + at + 1);
        }
        rest = rest.get(at + 2..)?;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str, is_array: bool) -> Result<Vec<Vec<(String, String)>>, String> {
        let mut scan = Scan::of(text, is_array);
        let mut found = Vec::new();
        while scan.next()? {
            let mut members = Vec::new();
            scan.members(&mut |name, value| members.push((name.to_owned(), value.to_owned())))?;
            found.push(members);
        }
        Ok(found)
    }

    #[test]
    fn members_come_with_their_values_as_they_stand() {
        let text = " [ {\"a\" : 1.10, \"b\\n\":{\"x\":[1, \"]}\"]} } ,\n{} , {\"\":\"\\\\\"}] \n";
        let found = scanned(text, true).unwrap();
        let expected = [
            vec![("a", "1.10"), ("b\n", "{\"x\":[1, \"]}\"]}")],
            vec![],
            vec![("", "\"\\\\\"")],
        ];
        let expected = expected.map(|members| {
            let owned = members.into_iter();
            owned
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<Vec<_>>()
        });
        assert_eq!(found, expected);
        assert_eq!(scanned("{\"a\":1}\n\n{\"a\":2}\n", false).unwrap().len(), 2);
        assert_eq!(scanned("[]", true).unwrap().len(), 0);
        assert_eq!(scanned("", false).unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_json_is_told_and_ends() {
        let texts = [
            "",
            "[",
            "[{",
            "[{\"a",
            "[{\"a\"",
            "[{\"a\":",
            "[{\"a\":}",
            "[{\"a\":1",
            "[{\"a\":1}",
            "[{\"a\":1},",
            "[{} {}]",
            "[]x",
            "{}",
            "[1]",
            "[{\"a\":\"\\",
            "[{\"a\":[1}]",
        ];
        for text in texts {
            assert!(scanned(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn spaces_go_but_for_those_in_strings() {
        assert_eq!(
            compact("{ \"a b\" : [1,\n 2], \"\\\" \": 3 }"),
            "{\"a b\":[1,2],\"\\\" \":3}"
        );
        assert_eq!(compact("1"), "1");
    }
}
