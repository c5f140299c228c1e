//! Documents that the server keeps by their meaning, and gives back in other words.

use super::*;

#[test]
fn documents_in_other_words_are_no_change() {
    for sink in [SETS, REPLACED, POLICIES] {
        let visits = Visits::of(Database::create(), sink);
        let pipeline = String::from_utf8(visits.scratch.bytes("pipeline.toml")).unwrap();
        let pipeline = pipeline.replace("note = \"text\"", "note = \"json\"");
        visits.scratch.write("pipeline.toml", pipeline);
        let write = |document: &str| {
            let quoted = document.replace('"', "\"\"");
            let csv = format!("person,visit,hours,note\na,1,5,\"{quoted}\"\nb,2,6,\n");
            visits.scratch.write("visits.csv", csv);
        };
        let documents = "SELECT xmin, note FROM visits ORDER BY visit";
        write(r#"{"b": 1e2, "a": [1.50, null]}"#);
        visits.scratch.run().exits(0);
        let before = visits.query(documents);
        let quiet = visits.scratch.run().exits(0);
        assert_eq!(quiet.number("/keys/open"), 0, "{sink}");
        visits.scratch.verify().exits(0);
        write(r#"{"a":[1.5,null],"b":100}"#);
        let reworded = visits.scratch.run().exits(0);
        assert_eq!(reworded.number("/sinks/table/updated"), 0, "{sink}");
        assert_eq!(visits.query(documents), before, "{sink}");
        visits.scratch.refresh().exits(0);
        assert_eq!(visits.query(documents), before, "{sink}");
        // What means something else is written, and found.
        visits.query("UPDATE visits SET note = '[]' WHERE visit = 1");
        visits.scratch.verify().exits(1);
        write(r#"{"a":[1.5,null],"b":101}"#);
        visits.scratch.run().exits(0);
        visits.scratch.verify().exits(0);
        let held = visits.query("SELECT note FROM visits ORDER BY visit");
        assert_eq!(held, [r#"{"a": [1.5, null], "b": 101}"#, ""], "{sink}");
    }
}
