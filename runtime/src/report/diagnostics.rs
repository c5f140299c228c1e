//! What is wrong with a pipeline file, as text for people and as JSON for programs.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use pipelines::diagnostic::{BYTE_ORDER_MARK, Diagnostic, Place, Severity, line_and_column};
use pipelines::document::Document;
use serde_json::{Value, json};

/// The diagnostics of a pipeline as text: one after the other, an empty line between two, a newline at
/// the end. With colour, terminal escapes are in it.
pub fn text(document: &Document, diagnostics: &[Diagnostic], with_colour: bool) -> String {
    let renderer = if with_colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let reports: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| renderer.render(&report(document, diagnostic)) + "\n")
        .collect();
    reports.join("\n")
}

/// The diagnostics of a pipeline as a JSON array, one object for each: `severity` (`error`, `warning`),
/// `message`, `label`, `help` (or null), `file`, and the place: `line`, `column`, `end_line`,
/// `end_column`, all from 1 and the end exclusive, and `source_line`, the text of the first line.
/// For the pipeline as a whole, the place is null.
pub fn json(document: &Document, diagnostics: &[Diagnostic]) -> String {
    let objects = diagnostics
        .iter()
        .map(|diagnostic| object(document, diagnostic))
        .collect();
    format!("{:#}\n", Value::Array(objects))
}

fn report<'a>(document: &'a Document, diagnostic: &'a Diagnostic) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&diagnostic.message);
    let what = match &diagnostic.place {
        Some(place) => title.element(snippet(document, place, &diagnostic.label)),
        None => title.element(Origin::path(printable(&document.file(None).name))),
    };
    let help = diagnostic
        .help
        .iter()
        .map(|help| Group::with_title(Level::HELP.secondary_title(printable(help))));
    [what].into_iter().chain(help).collect()
}

fn snippet<'a>(
    document: &'a Document,
    place: &Place,
    label: &'a str,
) -> Snippet<'a, Annotation<'a>> {
    let file = document.file(Some(place));
    let text = document.shown(place);
    let shown = text.trim_start_matches(BYTE_ORDER_MARK);
    let hidden = text.len() - shown.len();
    let start = place.span.start.saturating_sub(hidden);
    let end = place.span.end.saturating_sub(hidden);
    let label = Some(printable(label)).filter(|label| !label.is_empty());
    let annotation = AnnotationKind::Primary.span(start..end.max(after(shown, start)));
    Snippet::source(shown)
        .path(printable(&file.name))
        .annotation(annotation.label(label))
}

/// The end of the character that a point stands before, so that there is something to mark; the
/// point itself at the end of a line.
fn after(text: &str, point: usize) -> usize {
    match text[point..].chars().next() {
        None | Some('\n' | '\r') => point,
        Some(character) => point + character.len_utf8(),
    }
}

/// A text that does nothing to a terminal: the renderer sees to titles and the source alone.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn object(document: &Document, diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    let file = document.file(place);
    let source = &file.text;
    let end = place.map(|place| line_and_column(source, place.span.end));
    json!({
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "help": diagnostic.help,
        "file": file.name,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "end_line": end.map(|(line, _)| line),
        "end_column": end.map(|(_, column)| column),
        "source_line": place.map(|place| line_at(document.shown(place), &place.span)),
    })
}

/// The line that a range begins in, without its end.
fn line_at<'a>(source: &'a str, span: &Range<usize>) -> &'a str {
    let (line, _) = line_and_column(source, span.start);
    let line = source.lines().nth(line - 1).unwrap_or_default();
    line.trim_start_matches(BYTE_ORDER_MARK)
}

#[cfg(test)]
mod tests {
    use operators::problem::{Part, Problem, Step};

    use super::*;

    /// Compares the report of a file but for white space at its ends.
    fn check(source: &str, expected: &str) {
        let (document, found) = Document::parse("p.toml", source);
        let report = text(&document, &found, false);
        assert_eq!(report.trim_end(), expected.trim(), "{report}");
    }

    #[test]
    fn a_problem_of_a_stage_is_shown_at_its_value() {
        let source = "[sinks.x]\ninputs = [\"orders\", \"custmers\"]\n";
        let (document, _) = Document::parse("pipelines/orders.toml", source);
        let field = [Step::from("inputs"), Step::from(1)];
        let problem = Problem::at(field, "input `custmers` is not defined")
            .label("no source, partition or operator has this name")
            .help("did you mean `customers`?");
        let found = [document.sections()[0].place(problem)];
        let expected = r#"
error: input `custmers` is not defined
 --> pipelines/orders.toml:2:21
  |
2 | inputs = ["orders", "custmers"]
  |                     ^^^^^^^^^^ no source, partition or operator has this name
  |
help: did you mean `customers`?
"#;
        assert_eq!(text(&document, &found, false).trim(), expected.trim());
        let coloured = text(&document, &found, true);
        assert!(coloured.contains("\u{1b}[") && coloured.contains("custmers"));
    }

    #[test]
    fn all_errors_of_a_file_are_shown() {
        check(
            r#"[pipeline]
[source.orders]
type = "csv"
path 'x'
[sinks.orders]
	typ = 'é'
"#,
            r"
error: `source` is not a part of a pipeline file
 --> p.toml:2:2
  |
2 | [source.orders]
  |  ^^^^^^ there is no such table
  |
help: did you mean `sources`?

error: key with no value
 --> p.toml:4:6
  |
4 | path 'x'
  |      ^ expected `=`

error: the sink `orders` has no type
 --> p.toml:5:1
  |
5 | [sinks.orders]
  | ^^^^^^^^^^^^^^ `type` is missing
  |
help: is `typ` meant to be `type`?

error: there is a source `orders` already
 --> p.toml:5:8
  |
5 | [sinks.orders]
  |        ^^^^^^ the second of this name
  |
help: rename one of them; the first is in line 2
",
        );
    }

    #[test]
    fn what_is_wrong_with_names_types_and_parameters_is_shown() {
        check(
            r#"[pipeline]
[transforms.'']
type = 3
[transforms.'a.b']
type = "x"
q = [1, 2
[params]
at = 07:30:00
"#,
            r#"
error: a transform needs a name
 --> p.toml:2:13
  |
2 | [transforms.'']
  |             ^^ this name is empty

error: a type is a string, not an integer
 --> p.toml:3:8
  |
3 | type = 3
  |        ^
  |
help: write `type = "..."`

error: the name of a transform cannot hold a dot
 --> p.toml:4:13
  |
4 | [transforms.'a.b']
  |             ^^^^^ holds a dot
  |
help: write `a_b`

error: the value is not closed
 --> p.toml:6:1
  |
6 | q = [1, 2
  | ^^^^^^^^^ begins here
  |
help: a quote, a bracket or a brace is missing

error: a parameter cannot be a time without a date
 --> p.toml:8:6
  |
8 | at = 07:30:00
  |      ^^^^^^^^ a time of any day
  |
help: write a date and time such as `2024-02-29T12:00:00`, or a string
"#,
        );
    }

    #[test]
    fn columns_count_characters_whatever_stands_before() {
        check(
            "\u{feff}[pipeline]\r\n\tset = { \"é\" = 1, b = x }\r\n",
            r#"
error: a string is not in quotes
 --> p.toml:2:23
  |
2 |     set = { "é" = 1, b = x }
  |                          ^ not a value
  |
help: write "x"
"#,
        );
        check(
            "\u{feff}source = 1",
            r#"
error: `[pipeline]` is missing
--> p.toml
 |
help: write `[pipeline]` and below it `name = "..."`

error: `source` is not a part of a pipeline file
 --> p.toml:1:1
  |
1 | source = 1
  | ^^^^^^ there is no such table
  |
help: did you mean `sources`?

error: `sources` must be a table, not an integer
 --> p.toml:1:10
  |
1 | source = 1
  |          ^
"#,
        );
    }

    #[test]
    fn an_error_at_the_end_of_the_file_is_shown() {
        check(
            "[pipeline]\nname =",
            r"
error: there is no value after `=`
 --> p.toml:2:7
  |
2 | name =
  |       ^ expected a value
",
        );
        check(
            "[pipeline]\nname = \"\"\"\nx\n",
            r#"
error: the value is not closed
 --> p.toml:2:1
  |
2 | name = """
  | ^^^^^^^^^^ begins here
  |
help: a quote, a bracket or a brace is missing
"#,
        );
    }

    #[test]
    fn a_long_line_is_cut_and_control_characters_do_not_reach_the_terminal() {
        let source = format!("{} = \u{1b}[31m {}", "a".repeat(400), "b".repeat(5000));
        let (document, found) = Document::parse("p\u{1b}[0m.toml", &source);
        let report = text(&document, &found, false);
        let longest = report.lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(200), "{report}");
        assert!(!report.contains('\u{1b}'), "{report:?}");
        let source = "[pipeline]\n[sources.\"\\u001b.\"]\n\"\\u001b\" = 1";
        let (document, found) = Document::parse("p.toml", source);
        assert!(!text(&document, &found, false).contains('\u{1b}'));
    }

    #[test]
    fn json_holds_the_same() {
        let source = "[pipeline]\n[sources.é]\n";
        let (document, found) = Document::parse("p.toml", source);
        let expected = r#"[
  {
    "severity": "error",
    "message": "invalid unquoted key",
    "label": "expected letters, numbers, `-`, `_`",
    "help": null,
    "file": "p.toml",
    "line": 2,
    "column": 10,
    "end_line": 2,
    "end_column": 11,
    "source_line": "[sources.é]"
  }
]
"#;
        assert_eq!(json(&document, &found), expected);
        assert_eq!(json(&document, &[]), "[]\n");
        let whole = json(&document, &[Diagnostic::warning("x")]);
        let whole: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(whole[0]["severity"], "warning");
        assert!(whole[0]["line"].is_null() && whole[0]["source_line"].is_null());
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[expect(dead_code, reason = "it is only decoded")]
        path: String,
    }

    const SOUND: &str = "\u{feff}[pipeline]\r\nname = 'é'\n[params]\nday = 2024-02-29T10:00:00Z\n\
        [sources.a]\ntype = \"csv\"\npath = \"\"\"\\\n  a\\u00e9b\n\"\"\"\n\
        [transforms.b]\ntype = 'sql'\nset = { x = [1, 0x2], y.z = inf }\n\
        [[transforms.b.rules]]\nwhen = '''\nq'''\n";

    #[test]
    fn every_text_that_is_one_edit_away_from_a_sound_one_has_a_report() {
        assert!(Document::parse("p.toml", SOUND).1.is_empty());
        let edits = [
            "", "[", "]", "{", "}", "\"", "'", "\\", "=", "\n", ".", "#", "é", "\u{1}",
        ];
        for (start, character) in SOUND.char_indices() {
            let end = start + character.len_utf8();
            for edit in edits {
                let source = format!("{}{edit}{}", &SOUND[..start], &SOUND[end..]);
                let (document, mut found) = Document::parse("p.toml", &source);
                for section in document.sections() {
                    found.extend(section.decode::<Config>().err().into_iter().flatten());
                    let problem = Problem {
                        part: Part::Bytes(1..4),
                        ..Problem::at(["path"], "m")
                    };
                    found.push(section.place(problem));
                }
                let lines = text(&document, &found, false).matches("p.toml").count();
                assert!(found.len() <= lines, "{source}");
                assert!(json(&document, &found).starts_with('['));
            }
        }
    }
}
