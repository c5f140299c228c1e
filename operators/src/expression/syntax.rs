//! The text of an expression: from SQL to a syntax tree, and from a node of the tree back to the
//! bytes that it was written with.
//!
//! The parser keeps positions, but only those of names and literals: brackets, operators in front
//! and words like `cast(` are missing from the span of a node. [`Places`] finds them again among
//! the tokens.

use std::collections::BTreeSet;
use std::ops::Range;

use datafusion::sql::sqlparser::ast::{CastKind, Expr, Query, Spanned};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::problem::{Part, Problem};

/// The syntax tree of an expression, and where its nodes stand.
pub(super) fn parse(sql: &str) -> Result<(Expr, Places), Problem> {
    let (expr, next, places) = parsed(sql, "the expression is empty", Parser::parse_expr)?;
    if next.token == Token::EOF {
        return Ok((expr, places));
    }
    let message = format!("expected an operator or the end, found `{}`", next.token);
    Err(problem(places.bytes(next.span), message).label("the expression ends before this"))
}

/// The syntax tree of a query, and where its nodes stand.
pub(super) fn parse_query(sql: &str) -> Result<(Box<Query>, Places), Problem> {
    let (query, next, places) = parsed(sql, "the query is empty", |parser| {
        let query = parser.parse_query()?;
        let _: bool = parser.consume_token(&Token::SemiColon);
        Ok(query)
    })?;
    if next.token == Token::EOF {
        return Ok((query, places));
    }
    let message = format!("expected the end of the query, found `{}`", next.token);
    Err(problem(places.bytes(next.span), message).label("the query ends before this"))
}

/// What a text is parsed to, the token behind it, and where its nodes stand.
fn parsed<T>(
    sql: &str,
    empty: &str,
    parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
) -> Result<(T, TokenWithSpan, Places), Problem> {
    let dialect = &PostgreSqlDialect {};
    let places = Places::new(sql);
    if places.whole().is_empty() {
        return Err(problem(places.whole(), empty));
    }
    let tokens = Tokenizer::new(dialect, sql)
        .tokenize_with_location()
        .map_err(|error| {
            let from = places.byte(error.location).min(places.whole().end);
            problem(from..places.whole().end, decapitalized(&error.message))
        })?;
    let places = places.with_tokens(tokens.iter().map(|token| (&token.token, token.span)));
    let mut parser = Parser::new(dialect).with_tokens_with_locations(tokens);
    let tree = parse(&mut parser).map_err(|error| places.syntax_error(error))?;
    let next = parser.peek_token();
    Ok((tree, next, places))
}

/// The words of an expression, also of one that is wrong: each name in it is one of them.
pub(crate) fn words(sql: &str) -> BTreeSet<String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize();
    let word = |token| match token {
        Token::Word(word) => Some(word.value),
        _ => None,
    };
    tokens.into_iter().flatten().filter_map(word).collect()
}

/// The caller of an expression knows its field.
pub(super) const NO_FIELD: [&str; 0] = [];

/// A problem at these bytes of an expression.
pub(super) fn problem(within: Range<usize>, message: impl Into<String>) -> Problem {
    Problem {
        part: Part::Bytes(within),
        ..Problem::at(NO_FIELD, message)
    }
}

/// The tokens of an expression and the bytes of each.
pub(super) struct Places {
    sql: String,
    /// The byte at which each character starts, and behind them the end.
    characters: Vec<usize>,
    /// The position among the characters at which each line starts.
    lines: Vec<usize>,
    tokens: Vec<(Token, Range<usize>)>,
}

impl Places {
    fn new(sql: &str) -> Self {
        let starts = sql.char_indices().map(|(byte, _)| byte);
        let after_breaks = sql
            .chars()
            .enumerate()
            .filter(|(_, letter)| *letter == '\n');
        Places {
            sql: sql.to_owned(),
            characters: starts.chain([sql.len()]).collect(),
            lines: std::iter::once(0)
                .chain(after_breaks.map(|(at, _)| at + 1))
                .collect(),
            tokens: Vec::new(),
        }
    }

    fn with_tokens<'t>(mut self, tokens: impl Iterator<Item = (&'t Token, Span)>) -> Self {
        self.tokens = tokens
            .filter(|(token, _)| !matches!(token, Token::Whitespace(_)))
            .map(|(token, span)| (token.clone(), self.bytes(span)))
            .collect();
        self
    }

    /// The bytes of the whole expression, without the white space around it.
    pub(super) fn whole(&self) -> Range<usize> {
        let start = self.sql.len() - self.sql.trim_start().len();
        start..self.sql.trim_end().len().max(start)
    }

    /// The bytes of a span of the parser, whose lines and columns (in characters) count from one.
    /// A span that the parser does not know is the whole expression.
    pub(super) fn bytes(&self, span: Span) -> Range<usize> {
        if span.start.line == 0 {
            return self.whole();
        }
        self.byte(span.start)..self.byte(span.end)
    }

    /// The bytes of a node, with its brackets and words.
    pub(super) fn of(&self, expr: &Expr) -> Range<usize> {
        let inner = match expr {
            Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => self.of(inner),
            _ => self.bytes(expr.span()),
        };
        let Some((first, last)) = self.tokens_of(&inner) else {
            return inner;
        };
        let (first, last) = match expr {
            Expr::Nested(_) => (first.saturating_sub(1), last + 1),
            Expr::UnaryOp { .. } | Expr::Interval(_) | Expr::TypedString(_) => {
                (first.saturating_sub(1), last)
            }
            Expr::Cast {
                kind: CastKind::DoubleColon,
                ..
            } => (first, last + 2),
            Expr::Cast { .. }
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Overlay { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. } => match self.bracket_before(first) {
                Some(bracket) => (bracket.saturating_sub(1), last),
                None => (first, last),
            },
            Expr::Function(_) if self.is(last + 1, &Token::LParen) => (first, last + 1),
            _ => (first, last),
        };
        self.balanced(first, last.min(self.tokens.len() - 1))
    }

    /// The bytes of the brackets around a span of the parser and of what is between them.
    pub(super) fn brackets_around(&self, span: Span) -> Range<usize> {
        let inner = self.bytes(span);
        let Some((first, last)) = self.tokens_of(&inner) else {
            return inner;
        };
        self.balanced(self.bracket_before(first).unwrap_or(first), last)
    }

    /// The first and the last token that stand in these bytes.
    fn tokens_of(&self, bytes: &Range<usize>) -> Option<(usize, usize)> {
        let inside = |(_, token): &(Token, Range<usize>)| {
            bytes.start <= token.start && token.end <= bytes.end
        };
        Some((
            self.tokens.iter().position(inside)?,
            self.tokens.iter().rposition(inside)?,
        ))
    }

    /// The nearest bracket that opens before a token and is still open there.
    fn bracket_before(&self, first: usize) -> Option<usize> {
        let mut unopened = 1;
        (0..first).rev().find(|at| {
            unopened -= self.opens(*at);
            unopened == 0
        })
    }

    /// The bytes of these tokens and of as many more as close every bracket.
    fn balanced(&self, mut first: usize, mut last: usize) -> Range<usize> {
        let (mut depth, mut lowest) = (0, 0);
        for at in first..=last {
            depth += self.opens(at);
            lowest = lowest.min(depth);
        }
        let (mut unopened, mut unclosed) = (-lowest, depth - lowest);
        while unopened > 0 && first > 0 {
            first -= 1;
            unopened -= self.opens(first);
        }
        while unclosed > 0 && last + 1 < self.tokens.len() {
            last += 1;
            unclosed += self.opens(last);
        }
        self.tokens[first].1.start..self.tokens[last].1.end
    }

    /// 1 for a bracket that opens, -1 for one that closes.
    fn opens(&self, at: usize) -> i32 {
        match self.tokens[at].0 {
            Token::LParen | Token::LBracket => 1,
            Token::RParen | Token::RBracket => -1,
            _ => 0,
        }
    }

    fn is(&self, at: usize, token: &Token) -> bool {
        self.tokens.get(at).is_some_and(|(there, _)| there == token)
    }

    fn byte(&self, location: Location) -> usize {
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1) - 1;
        let line = self.lines.get(index(location.line));
        line.and_then(|start| {
            let character = start.checked_add(index(location.column))?;
            self.characters.get(character).copied()
        })
        .unwrap_or(self.sql.len())
    }

    /// The parser tells the place of a token in its text only, and none for the end.
    fn syntax_error(&self, error: ParserError) -> Problem {
        let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
            return problem(self.whole(), "the expression is nested too deeply");
        };
        let (message, place) = match text.rsplit_once(" at Line: ") {
            Some((message, place)) => (message, self.token_at(place)),
            None => (text.as_str(), None),
        };
        let end = self.whole().end;
        let within = place.unwrap_or(end..end);
        let message = match message.strip_prefix("Expected: ") {
            Some(rest) => match rest.split_once(", found: ") {
                Some((expected, "EOF")) => format!("expected {}, found the end", quoted(expected)),
                Some((expected, found)) => {
                    format!("expected {}, found `{found}`", quoted(expected))
                }
                None => format!("expected {rest}"),
            },
            None => decapitalized(message),
        };
        problem(within, message)
    }

    /// The token at a place written as `1, Column: 7`.
    fn token_at(&self, place: &str) -> Option<Range<usize>> {
        let (line, column) = place.split_once(", Column: ")?;
        let start = self.byte(Location {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        });
        let mut tokens = self.tokens.iter().map(|(_, bytes)| bytes.clone());
        Some(
            tokens
                .find(|bytes| bytes.start == start)
                .unwrap_or(start..start),
        )
    }
}

/// A message as ours begin: in lower case, unless it begins with an abbreviation.
pub(super) fn decapitalized(message: &str) -> String {
    let mut letters = message.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}

/// A sign in quotes; words as they are.
fn quoted(expected: &str) -> String {
    if expected.contains(char::is_alphabetic) {
        expected.to_owned()
    } else {
        format!("`{expected}`")
    }
}
