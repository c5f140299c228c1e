//! Goal: what a server says of a row is not told, for it quotes the row.
//!
//! Method: a query fails for a value, by the server itself and by a function that says too much.

use tests::harness::{Database, Scratch};

use super::pipeline;

const FUNCTION: &str = "
    create function secretive(text) returns text language plpgsql as $$ begin
        if $1 = '078-05-0007' then
            raise exception 'message of %', $1 using detail = 'detail of ' || $1, hint = 'hint of ' || $1;
        end if;
        return $1;
    end $$";

#[test]
fn what_a_server_says_of_a_row_stays_there() {
    let database = Database::create();
    let scratch = pipeline::folder(&database);
    database.sql(FUNCTION);
    for (ssn, code) in [("secretive(ssn)", "P0001"), ("ssn::int::text", "22P02")] {
        let ran = failed(&scratch, ssn);
        assert!(ran.contains(code), "{ran}");
        assert!(!ran.contains("078-05"), "{ran}");
    }
}

/// What a run says that reads persons by an expression.
fn failed(scratch: &Scratch, ssn: &str) -> String {
    let scratch = scratch.never_ran();
    let query = format!(
        "query = \"select visit, {ssn} ssn, office, starts, hours, tags from work.visits\""
    );
    scratch.edit("pipeline.toml", "table      = \"work.visits\"", &query);
    let ran = scratch.run();
    assert_ne!(ran.exit, Some(0));
    format!("{}{}", ran.report, ran.said)
}
