//! Where wrong expressions are refused, and with which words.

use std::ops::Range;

use super::*;
use crate::problem::Part;

fn refused(sql: &str) -> Problem {
    match language().expression(sql, &Columns::of(&schema())) {
        Ok(expression) => panic!("{sql} is planned as {}", expression.folded()),
        Err(problem) => problem,
    }
}

fn within(problem: &Problem) -> Range<usize> {
    match &problem.part {
        Part::Bytes(bytes) => bytes.clone(),
        other => panic!("an expression is told at its bytes, not at {other:?}"),
    }
}

/// Expressions, the part of each that is wrong, and the message.
const REFUSED: &str = "
    # Names.
    lat > 1 and visitid = 2             => visitid              => there is no column `visitid`
    VISIT_ID = 2                        => VISIT_ID             => there is no column `VISIT_ID`
    old.ssn = ssn                       => old.ssn              => there is no column `old.ssn`
    row.ssn = ssn                       => row.ssn              => there is no column `row.ssn`
    ssn = \"abc\"                       => \"abc\"              => there is no column `abc`
    \"$\".factor * 2                    => \"$\".factor         => there is no column `$.factor`
    lat * $facto                        => $facto               => there is no parameter `facto`
    lat + rond(lat)                     => rond                 => there is no function `rond`
    pg_catalog.abs(lat)                 => pg_catalog.abs       => there is no function `pg_catalog.abs`

    # What no expression can hold.
    sum(lat) > 3                        => sum(lat)             => `sum` is an aggregate
    1 < count(*)                        => count(*)             => `count` is an aggregate
    lag(lat) over () > 3                => lag(lat)             => `lag` is a window function
    row_number() = 1                    => row_number()         => `row_number` is a window function
    (select 1) = 2                      => (select 1)           => an expression cannot hold a query
    open and visit_id in (select 1)     => (select 1)           => an expression cannot hold a query
    not exists (select 1)               => (select 1)           => an expression cannot hold a query
    random() < 0.5                      => random()             => `random` is not the same at every call
    current_time                        => current_time         => `current_time` is not the same at every call
    concat(*)                           => concat(*)            => `*` does not stand for a value
    upper(distinct ssn)                 => upper(distinct ssn)  => `upper` takes no clause, as an aggregate would
    now(3)                              => now(3)               => `now` takes no argument

    # Types.
    lat > 1 and lat + ssn > 3           => lat + ssn            => cannot compute float + text
    -(visit_id + ssn)                   => visit_id + ssn       => cannot compute int + text
    at - '2026-01-01'                   => at - '2026-01-01'    => cannot compute timestamp - text
    visit_id + '5'                      => visit_id + '5'       => cannot compute int + text
    open = 1                            => open = 1             => cannot compare bool with int
    at > 5                              => at > 5               => cannot compare timestamp with int
    visit_id = ssn                      => visit_id = ssn       => cannot compare int with text
    ssn in ('a', 3)                     => 3                    => cannot compare text with int
    day between '2026-01-01' and 3      => day between '2026-01-01' and 3 => cannot compare date with int
    visit_id = 'abc'                    => visit_id = 'abc'     => the text does not read as int
    visit_id = $who                     => visit_id = $who      => the text does not read as int
    at - at > '1 day'                   => at - at > '1 day'    => cannot compare duration with text
    open and lat                        => lat                  => `and` needs bool, and this is float
    open or not lat                     => not lat              => `not` needs bool, and this is float
    - ssn                               => - ssn                => `-` does not take text
    visit_id like 'a'                   => visit_id like 'a'    => `like` needs text, and this is int
    case when lat then 1 else 2 end     => lat                  => a condition is bool, and this is float
    case when open then 1 when ssn then 2 end => ssn            => a condition is bool, and this is text
    1 + case when open then 1 else day end => case when open then 1 else day end => `case` gives values of one type, not int and date
    coalesce(ssn, 0)                    => coalesce(ssn, 0)     => `coalesce` gives values of one type, not text and int
    1 + round(ssn)                      => round(ssn)           => `round` does not take (text)
    round(lat, (1), 3)                  => round(lat, (1), 3)   => `round` does not take (float, int, int)
    round() = 1                         => round()              => `round` needs arguments
    haversine_miles(1, 2, 3)            => haversine_miles(1, 2, 3) => `haversine_miles` does not take (int, int, int)
    ((lat + 1) * (ssn)) > 2             => (lat + 1) * (ssn)    => cannot compute float * text

    # Words and constants.
    open and cast(ssn as foo) = 1       => cast(ssn as foo)     => there is no type `foo`
    ssn::foo = 1                        => ssn::foo             => there is no type `foo`
    at + interval '1 foo'               => interval '1 foo'     => invalid input syntax for type interval
    cast('x' as int) = 1                => cast('x' as int)     => the text does not read as int
    date_trunc('dya', at) = at          => date_trunc('dya', at) => unsupported date_trunc granularity: 'dya'
    lat = extract(foo from at)          => extract(foo from at) => date part 'foo' not supported
    ssn ~ '('                           => ssn ~ '('            => invalid regex
    visit_id = 1 / 0                    => 1 / 0                => divide by zero

    # Results that no column holds.
    at - day                            => at - day             => the value is of type duration
    [1, 2]                              => [1, 2]               => the value is of type list

    # Syntax.
    lat >                               =>                      => expected an expression, found the end
    (lat + 1                            =>                      => expected `)`, found the end
    lat > 'abc                          => 'abc                 => unterminated string literal
    lat > ) 1                           => )                    => expected an expression, found `)`
    lat 1                               => 1                    => expected an operator or the end, found `1`
    lat as x                            => as                   => expected an operator or the end, found `as`
    lat; drop table x                   => ;                    => expected an operator or the end, found `;`
";

#[test]
fn refusals_name_the_place_and_what_is_wrong() {
    for [sql, place, message] in cases(REFUSED) {
        let problem = refused(sql);
        assert_eq!(problem.message, message, "{sql}");
        assert_eq!(&sql[within(&problem)], place, "{sql}: {problem:?}");
        assert_eq!(problem.field, vec![], "{sql}");
    }
}

#[test]
fn places_are_bytes_also_behind_letters_of_several_bytes_and_on_later_lines() {
    let cases = [
        ("'é𝄞' = ssn and Größe + ssn = 1", 19..32, "Größe + ssn"),
        ("open\r\n and 'ü' = ssn\n and lat\n and open", 27..30, "lat"),
        ("open -- not lat\n and lats > 1", 21..25, "lats"),
        ("ssn = 'ö' and\n\tlat > > 1", 22..23, ">"),
        ("ssn = 'ö'\n\n  'open", 14..19, "'open"),
        ("  lat + 1  \n - at  \n", 2..17, "lat + 1  \n - at"),
        ("", 0..0, ""),
        (" \n ", 3..3, ""),
    ];
    for (sql, bytes, place) in cases {
        let found = within(&refused(sql));
        assert_eq!((found.clone(), &sql[found]), (bytes, place), "{sql}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let table = "
        visitid              => did you mean `visit_id`?
        LAT                  => did you mean `lat`?
        nothing_like_it      => the columns are `Größe`, `at`, `day`, `lat`, `open`, `ssn`, `visit_id`
        ssn = \"abc\"        => a text is written in single quotes: 'abc'
        $facto               => did you mean `factor`?
        hversine_miles(1)    => did you mean `haversine_miles`?
        haversine_miles(1)   => its form is `haversine_miles(lat1, lon1, lat2, lon2)`
        visit_id = ssn       => bring one to the type of the other with `cast`
        ssn::foo             => the types are `text`, `int`, `float`, `bool`, `date`, `timestamp`, `json`
        day + '45 days'      => write a span of time as `interval '45 days'`, a day as `date '2026-01-31'`
        lat + ssn            => a text is no number before `cast(.. as float)`; texts are joined by `||`
        case when lat then 1 end => compare it with something, as in `x = 1`
        at - at              => `extract(epoch from ..)` gives its seconds
        interval '1 day'     => `extract(epoch from ..)` gives its seconds
        random()             => `now()` and `current_date` are those of the whole run
    ";
    for [sql, help] in cases(table) {
        assert_eq!(refused(sql).help.as_deref(), Some(help), "{sql}");
    }
    let help = refused("foo(lat)").help.unwrap();
    assert!(help.starts_with("see "), "`cos` is not near `foo`: {help}");
}

#[test]
fn an_empty_expression_is_refused() {
    for sql in ["", " \n "] {
        assert_eq!(refused(sql).message, "the expression is empty");
    }
}

#[test]
fn a_condition_is_bool() {
    let language = language();
    let columns = Columns::of(&schema());
    assert_eq!(
        language.condition("lat > 1", &columns).unwrap().kind(),
        Type::Bool
    );
    let problem = language.condition("  visit_id + 1 ", &columns).unwrap_err();
    assert_eq!(problem.message, "a condition is bool, and this is int");
    assert_eq!(within(&problem), 2..14);
}

#[test]
fn an_expression_that_would_exhaust_the_stack_is_refused() {
    let terms = |count: usize| vec!["visit_id = 1"; count].join(" or ");
    assert_eq!(planned(&terms(200)).evaluate(&rows()).errors, vec![]);
    for sql in [
        terms(20_000),
        format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}1", "- ".repeat(5_000)),
    ] {
        let message = refused(&sql).message;
        assert!(message.contains("deep"), "{message}");
    }
}
