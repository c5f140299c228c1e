//! Values of PostgreSQL that our columns hold as text, in the server's own notation; arrays of them as
//! JSON.

use std::io::Write;

use super::cells::{self, Form, Held, Malformed};
use crate::json;

/// `c56a4180-65aa-42ec-a945-5fd21dec0538`.
pub(super) fn uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";

/// A number of digits to the base 10,000, of which the first has some weight.
struct Numeric<'a> {
    digits: &'a [u8],
    /// The power of 10,000 of the first digit.
    weight: i16,
    sign: u16,
    /// How many decimal digits stand behind the point.
    scale: u16,
}

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

impl<'a> Numeric<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (head, digits) = bytes.split_at_checked(8).ok_or(Malformed)?;
        let word = |at: usize| [head[at], head[at + 1]];
        let numeric = Numeric {
            digits,
            weight: i16::from_be_bytes(word(2)),
            sign: u16::from_be_bytes(word(4)),
            scale: u16::from_be_bytes(word(6)),
        };
        let count = usize::from(u16::from_be_bytes(word(0)));
        if digits.len() == 2 * count {
            Ok(numeric)
        } else {
            Err(Malformed)
        }
    }

    /// The digit of a power of 10,000.
    fn digit(&self, power: i32) -> u16 {
        let at = usize::try_from(i32::from(self.weight) - power);
        let at = at.ok().map(|at| 2 * at);
        let digit = at.and_then(|at| self.digits.get(at..at + 2));
        digit.map_or(0, |digit| u16::from_be_bytes([digit[0], digit[1]]))
    }

    /// What it is if it is no number.
    fn special(&self) -> Option<&'static str> {
        match self.sign {
            NAN => Some("NaN"),
            INFINITY => Some("Infinity"),
            MINUS_INFINITY => Some("-Infinity"),
            _ => None,
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        if self.sign == NEGATIVE {
            out.push(b'-');
        }
        let first = i32::from(self.weight).max(0);
        for power in (0..=first).rev() {
            let digit = self.digit(power);
            if power == first {
                print(out, format_args!("{digit}"));
            } else {
                print(out, format_args!("{digit:04}"));
            }
        }
        if self.scale == 0 {
            return;
        }
        out.push(b'.');
        let end = out.len() + usize::from(self.scale);
        for power in 1..=i32::from(self.scale.div_ceil(4)) {
            print(out, format_args!("{:04}", self.digit(-power)));
        }
        out.truncate(end);
    }
}

/// `-12.3400`, with as many digits as it has.
pub(super) fn numeric(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let numeric = Numeric::of(bytes)?;
    match numeric.special() {
        Some(special) => out.extend(special.bytes()),
        None => numeric.print(out),
    }
    Ok(())
}

/// The nearest float.
pub(super) fn numeric_float(bytes: &[u8]) -> Result<f64, Malformed> {
    let numeric = Numeric::of(bytes)?;
    Ok(match numeric.sign {
        NAN => f64::NAN,
        INFINITY => f64::INFINITY,
        MINUS_INFINITY => f64::NEG_INFINITY,
        sign => {
            let float = exact(&numeric).unwrap_or_else(|| parsed(&numeric));
            if sign == NEGATIVE { -float } else { float }
        }
    })
}

/// A number of at most 15 digits, all of which a float holds, as a quotient of two floats that are
/// exact: so it is rounded once.
fn exact(numeric: &Numeric) -> Option<f64> {
    let count = i32::try_from(numeric.digits.len() / 2).ok()?;
    let least = (i32::from(numeric.weight) - count + 1).min(0);
    let most = i32::from(numeric.weight).max(0);
    if most - least > 3 || least < -5 {
        return None;
    }
    let whole = (least..=most).rev().fold(0_u64, |whole, power| {
        whole * 10_000 + u64::from(numeric.digit(power))
    });
    if whole >= 1 << f64::MANTISSA_DIGITS {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "it has no more bits than a float"
    )]
    let whole = whole as f64;
    Some(whole / 10_f64.powi(-4 * least))
}

fn parsed(numeric: &Numeric) -> f64 {
    let unsigned = Numeric {
        sign: 0,
        ..*numeric
    };
    let mut text = Vec::new();
    unsigned.print(&mut text);
    let text = String::from_utf8(text).expect("digits and a point are text");
    text.parse().expect("digits with a point are a number")
}

/// A JSON array; nested as there are dimensions. One whose elements are not counted from 1 cannot be
/// held: where they begin would be lost.
pub(super) fn array(element: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<Held, Malformed> {
    let mut rest = bytes;
    let dimensions = word(&mut rest)?;
    let (_flags, _type) = (word(&mut rest)?, word(&mut rest)?);
    if dimensions == 0 {
        out.extend(b"[]");
        return Ok(true);
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(word(&mut rest)?).map_err(|_| Malformed)?);
        if word(&mut rest)? != 1 {
            return Ok(false);
        }
    }
    nested(&lengths, element, &mut rest, out)
}

fn nested(
    lengths: &[usize],
    element: &Form,
    rest: &mut &[u8],
    out: &mut Vec<u8>,
) -> Result<Held, Malformed> {
    let [length, inner @ ..] = lengths else {
        let length = word(rest)?;
        let Ok(length) = usize::try_from(length) else {
            out.extend(b"null");
            return Ok(true);
        };
        let (bytes, more) = rest.split_at_checked(length).ok_or(Malformed)?;
        *rest = more;
        return item(element, bytes, out);
    };
    let mut is_held = true;
    out.push(b'[');
    for at in 0..*length {
        if at > 0 {
            out.push(b',');
        }
        is_held &= nested(inner, element, rest, out)?;
    }
    out.push(b']');
    Ok(is_held)
}

/// An element of an array: a number, a bool, a document, or else a string.
fn item(form: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<Held, Malformed> {
    match form {
        Form::Bool => {
            let is_true = cells::array::<1>(bytes)? != [0];
            print(out, format_args!("{is_true}"));
        }
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => {
            print(out, format_args!("{}", cells::int(form, bytes)?));
        }
        Form::Float4 => {
            let float = f32::from_be_bytes(cells::array(bytes)?);
            number(float.is_finite(), &format!("{float:?}"), out);
        }
        Form::Float8 | Form::NumericFloat => {
            let float = cells::float(form, bytes)?;
            number(float.is_finite(), &format!("{float:?}"), out);
        }
        Form::Numeric => {
            let numeric = Numeric::of(bytes)?;
            let mut text = Vec::new();
            self::numeric(bytes, &mut text)?;
            let text = String::from_utf8(text).expect("digits and a point are text");
            number(numeric.special().is_none(), &text, out);
        }
        Form::Text => match std::str::from_utf8(bytes) {
            Ok(text) => string(text, out),
            Err(_) => return Ok(false),
        },
        Form::Json | Form::Jsonb => {
            let document = if *form == Form::Jsonb {
                bytes.get(1..)
            } else {
                Some(bytes)
            };
            match std::str::from_utf8(document.ok_or(Malformed)?) {
                Ok(document) => out.extend(json::compact(document).bytes()),
                Err(_) => return Ok(false),
            }
        }
        // Of these the server makes texts.
        Form::Uuid | Form::Date | Form::Timestamp | Form::Timestamptz | Form::Array(_) => {
            return Err(Malformed);
        }
    }
    Ok(true)
}

/// What is no number in JSON is a string.
fn number(is_number: bool, text: &str, out: &mut Vec<u8>) {
    if is_number {
        out.extend(text.bytes());
    } else {
        string(text, out);
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text can be written to memory");
}

/// The next four bytes.
fn word(rest: &mut &[u8]) -> Result<i32, Malformed> {
    let (word, more) = rest.split_first_chunk().ok_or(Malformed)?;
    *rest = more;
    Ok(i32::from_be_bytes(*word))
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("memory takes any text");
}
