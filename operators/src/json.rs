//! JSON documents (RFC 8259), read value by value without a tree of them.
//!
//! A number is the text that it is written with, so that nothing of it is lost, and a value that
//! nests is the piece of the document that it is. What is read is checked: a text that is no JSON
//! is [`Malformed`], however little of it is used.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use chrono_tz::Tz;

use crate::schema::Type;
use crate::source::decode;
use crate::value::Value;

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(Cow<'a, str>),
    /// What its escapes stand for.
    Text(Cow<'a, str>),
    /// With its brackets.
    Array(&'a str),
    /// With its brackets.
    Object(&'a str),
}

/// The text is no JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A document, whole.
pub(crate) fn read(text: &str) -> Result<Item<'_>, Malformed> {
    let mut cursor = Cursor::new(text);
    let item = cursor.item()?;
    cursor.end()?;
    Ok(item)
}

/// The members of an object, in order: a text that begins as one, and is checked on the way.
pub(crate) struct Members<'a> {
    cursor: Cursor<'a>,
    is_first: bool,
}

impl<'a> Members<'a> {
    /// Those of the object that the text is; `None` when it is something else.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        cursor.take(b'{').then_some(Members {
            cursor,
            is_first: true,
        })
    }

    /// The next member; `None` at the end, behind which nothing stands.
    pub(crate) fn next(&mut self) -> Result<Option<(Cow<'a, str>, Item<'a>)>, Malformed> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        if !self.cursor.goes_on(is_first, b'}')? {
            self.cursor.end()?;
            return Ok(None);
        }
        let name = self.cursor.name()?;
        Ok(Some((name, self.cursor.item()?)))
    }
}

/// The elements of an array that was read.
pub(crate) fn elements(array: &str) -> Result<Vec<Item<'_>>, Malformed> {
    let mut cursor = Cursor::new(array);
    let mut elements = Vec::new();
    if !cursor.take(b'[') {
        return Err(Malformed);
    }
    while cursor.goes_on(elements.is_empty(), b']')? {
        elements.push(cursor.item()?);
    }
    Ok(elements)
}

/// The same document without the spaces between its parts.
pub(crate) fn compact(document: &str) -> String {
    let mut compact = String::with_capacity(document.len());
    let (mut is_text, mut is_escaped) = (false, false);
    for letter in document.chars() {
        if is_text || !matches!(letter, ' ' | '\t' | '\r' | '\n') {
            compact.push(letter);
        }
        if letter == '"' && !is_escaped {
            is_text = !is_text;
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    compact
}

/// The cell of a type; `None` where the value is none of it. JSON's null is null in every type.
///
/// A text is a string, or a number or a bool as it is written; an int is a number without a
/// fraction; dates and timestamps are strings as a CSV file has them, an offset being brought to
/// the wall clock of `zone`; a value that nests is json only.
pub(crate) fn cell(item: &Item, ty: Type, zone: Tz) -> Option<Value> {
    Some(match (ty, item) {
        (_, Item::Null) => Value::Null,
        (Type::Json, item) => Value::Text(document(item)),
        (Type::Text, Item::Text(text) | Item::Number(text)) => Value::Text(text.to_string()),
        (Type::Text, Item::Bool(value)) => Value::Text(value.to_string()),
        (Type::Bool, Item::Bool(value)) => Value::Bool(*value),
        (Type::Int, Item::Number(number)) => Value::Int(int(number)?),
        (Type::Float, Item::Number(number)) => Value::Float(decode::float(number)?),
        (Type::Date, Item::Text(text)) => Value::Date(decode::date(text)?),
        (Type::Timestamp, Item::Text(text)) => Value::Timestamp(decode::timestamp(text, zone)?),
        _ => return None,
    })
}

/// A value as a document of its own.
pub(crate) fn document(item: &Item) -> String {
    match item {
        Item::Null => "null".to_owned(),
        Item::Bool(value) => value.to_string(),
        Item::Number(number) => number.to_string(),
        Item::Text(text) => serde_json::Value::from(text.as_ref()).to_string(),
        Item::Array(nested) | Item::Object(nested) => compact(nested),
    }
}

/// The int that a number is; also one with a point, as tables with nulls are often written, up to
/// where floats have every int.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it has no fraction and is in range"
)]
pub(crate) fn int(number: &str) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(int) = number.parse() {
        return Some(int);
    }
    let float = decode::float(number)?;
    (float.fract() == 0.0 && float.abs() < EXACT).then_some(float as i64)
}

/// A place in a document.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Cursor { text, at: 0 }
    }

    /// The value that comes next.
    fn item(&mut self) -> Result<Item<'a>, Malformed> {
        self.spaces();
        Ok(match self.peek() {
            Some(b'"') => Item::Text(self.string()?),
            Some(b'{') => Item::Object(self.nested()?),
            Some(b'[') => Item::Array(self.nested()?),
            Some(b't') => self.word("true", Item::Bool(true))?,
            Some(b'f') => self.word("false", Item::Bool(false))?,
            Some(b'n') => self.word("null", Item::Null)?,
            _ => Item::Number(Cow::Borrowed(self.number()?)),
        })
    }

    /// Whether another part comes before the bracket that closes; takes the comma before it.
    fn goes_on(&mut self, is_first: bool, close: u8) -> Result<bool, Malformed> {
        if self.take(close) {
            return Ok(false);
        }
        if is_first || self.take(b',') {
            return Ok(true);
        }
        Err(Malformed)
    }

    /// The name of a member and its colon.
    fn name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.spaces();
        let name = self.string()?;
        if self.take(b':') {
            Ok(name)
        } else {
            Err(Malformed)
        }
    }

    /// Holds when nothing but spaces is left.
    fn end(&mut self) -> Result<(), Malformed> {
        self.spaces();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    /// Takes a sign and the spaces before it, if it comes next.
    fn take(&mut self, sign: u8) -> bool {
        self.spaces();
        let is_next = self.peek() == Some(sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, item: Item<'a>) -> Result<Item<'a>, Malformed> {
        let is_next = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        if is_next { Ok(item) } else { Err(Malformed) }
    }

    /// An array or an object, checked to its end, without recursion.
    fn nested(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.spaces();
            let is_first = match self.peek() {
                Some(b'{') => Some(b'}'),
                Some(b'[') => Some(b']'),
                _ => None,
            };
            if let Some(close) = is_first {
                self.at += 1;
                open.push(close);
                if open.len() > MAX_DEPTH {
                    return Err(Malformed);
                }
            } else {
                self.item()?;
            }
            // Close what ends here, up to the next value.
            let mut is_first = is_first.is_some();
            loop {
                let Some(&close) = open.last() else {
                    return Ok(&self.text[start..self.at]);
                };
                if self.goes_on(is_first, close)? {
                    if close == b'}' {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
                is_first = false;
            }
        }
    }

    fn number(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    /// A string, of which most are without escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if self.peek() != Some(b'"') {
            return Err(Malformed);
        }
        self.at += 1;
        let start = self.plain()?;
        if self.take_byte(b'"') {
            return Ok(Cow::Borrowed(start));
        }
        let mut text = start.to_owned();
        while !self.take_byte(b'"') {
            text.push(self.escape()?);
            text.push_str(self.plain()?);
        }
        Ok(Cow::Owned(text))
    }

    /// What stands before the next quote or escape.
    fn plain(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let stop = rest.iter().position(|&byte| STOPS[byte as usize]);
        self.at += stop.ok_or(Malformed)?;
        match self.peek() {
            Some(b'"' | b'\\') => Ok(&self.text[start..self.at]),
            _ => Err(Malformed),
        }
    }

    fn take_byte(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// What an escape stands for.
    fn escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let sign = self.peek().ok_or(Malformed)?;
        self.at += 1;
        Ok(match sign {
            b'"' | b'\\' | b'/' => sign.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Malformed),
        })
    }

    /// Four digits, or twice four: a character beyond them is written as two (RFC 8259, 7).
    fn unicode(&mut self) -> Result<char, Malformed> {
        let first = self.hex()?;
        if let Some(letter) = char::from_u32(first) {
            return Ok(letter);
        }
        if !(self.take_byte(b'\\') && self.take_byte(b'u')) {
            return Err(Malformed);
        }
        let units = [first, self.hex()?].map(|unit| u16::try_from(unit).unwrap_or_default());
        let mut letters = char::decode_utf16(units);
        match (letters.next(), letters.next()) {
            (Some(Ok(letter)), None) => Ok(letter),
            _ => Err(Malformed),
        }
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.ok_or(Malformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, &byte| {
            let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
            Ok(number * 16 + digit)
        })
    }
}

/// The bytes at which a plain piece of a string ends: quotes, escapes, and what may not stand there.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        stops[byte] = true;
        byte += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// How deep a document may nest. Others that read it later recurse.
const MAX_DEPTH: usize = 127;
