//! A server that does not write for who asks: by a setting that lasts it is told at once, and what to do.

use super::*;

#[test]
fn a_user_or_a_connection_that_only_reads_is_told_at_once() {
    let visits = Visits::of(Database::create(), SETS);
    visits.are(&version(6, 0));
    let role = format!("reader_of_{}", visits.database.name());
    visits.query(&format!(
        "CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET default_transaction_read_only = on"
    ));
    let url = visits.url.clone();
    for (asks, said, help) in [
        (
            url.replace("//postgres@", &format!("//{role}@")),
            "is set for this user",
            "RESET default_transaction_read_only",
        ),
        (
            format!("{url}?options=-c%20default_transaction_read_only%3Don"),
            "is set for this connection",
            "PGOPTIONS",
        ),
    ] {
        let sets = visits.scratch.never_ran();
        sets.edit("pipeline.toml", &url, &asks);
        // Longer than the watchdog of a test would wait: it is not tried again.
        sets.edit(
            "pipeline.toml",
            "[connections.main]",
            "[connections.main]\nretry_timeout = \"1h\"",
        );
        let ran = sets.run();
        assert_ne!(ran.exit, Some(0));
        let told = ran.report.to_string();
        assert!(told.contains(said) && told.contains(help), "{told}");
    }
    visits.query(&format!("DROP ROLE {role}"));
}
