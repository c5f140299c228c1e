//! Stages that look at several rows, and stand before the gate where that makes no difference, are
//! brought behind it.
//!
//! ```text
//! as written:   visits --> newest --> with_office --> by_ssn --> ..
//! as it runs:   visits --> by_ssn --> newest --> with_office --> ..
//! ```
//!
//! A `latest` whose `by` holds the key, and a `distinct`, look at rows of one key wherever they
//! stand. So the batch-partition moves up before them, if all stages between carry the key as it is.

use operators::catalog::{Role, TransformConfig};
use operators::transform::lookup::Join;

use crate::graph::{Config, Graph};

impl Graph<'_> {
    /// Moves each batch-partition up before the stages that it can be moved before, as far as
    /// that brings one behind it which looks at several rows.
    pub(crate) fn bring_behind(&mut self) {
        for partition in 0..self.nodes.len() {
            let moved = self.movable(partition);
            let (Some(&last), Some(&first)) = (moved.first(), moved.last()) else {
                continue;
            };
            let before = self.nodes[first].inputs().next();
            let before = before.expect("a stage that is moved has an input");
            for node in 0..self.nodes.len() {
                self.redirect(node, partition, last);
            }
            self.redirect(partition, last, before);
            self.redirect(first, before, partition);
        }
    }

    /// Lets a stage take its rows from another.
    fn redirect(&mut self, node: usize, from: usize, to: usize) {
        for upstream in &mut self.nodes[node].upstream {
            if upstream.role == Role::Input && upstream.stage == from {
                upstream.stage = to;
            }
        }
    }

    /// The stages that are to stand behind a partition and are before it, the last one first; up to
    /// the foremost that looks at several rows.
    fn movable(&self, partition: usize) -> Vec<usize> {
        let Config::Transform(TransformConfig::BatchPartition(config)) =
            &self.nodes[partition].config
        else {
            return Vec::new();
        };
        let key = config.by().map(|(_, column)| column);
        let (mut way, mut foremost) = (Vec::new(), 0);
        let mut user = partition;
        while let [input] = self.nodes[user].inputs().collect::<Vec<_>>()[..] {
            let Config::Transform(config) = &self.nodes[input].config else {
                break;
            };
            let only_user = self.users(input) == [user];
            if !only_user || !self.nodes[input].is_connected || !carries(config, key) {
                break;
            }
            way.push(input);
            if matches!(
                config,
                TransformConfig::Distinct(_) | TransformConfig::Latest(_)
            ) {
                foremost = way.len();
            }
            user = input;
        }
        way.truncate(foremost);
        way
    }

    /// The stages that take rows from one or look rows up in it.
    fn users(&self, stage: usize) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let users = nodes.filter(|(_, node)| node.upstream.iter().any(|it| it.stage == stage));
        users.map(|(at, _)| at).collect()
    }
}

/// Whether a stage yields for the rows of each key what it yields of them among others, and leaves
/// the key's column as it is. A key of all rows has no column.
fn carries(config: &TransformConfig, key: Option<&str>) -> bool {
    let is_key = |name: &str| key == Some(name);
    match config {
        TransformConfig::Distinct(_) | TransformConfig::Filter(_) => true,
        TransformConfig::Latest(config) => {
            key.is_none() || config.by.iter().any(|name| is_key(name))
        }
        TransformConfig::Derive(config) => !config.set.iter().any(|(name, _)| is_key(name)),
        // Without `columns` it is not known here what a lookup brings.
        TransformConfig::Lookup(config) => match &config.columns {
            Some(columns) => !columns.iter().any(|(name, _)| is_key(name)),
            None => matches!(config.join, Join::Semi | Join::Anti),
        },
        TransformConfig::Select(config) => {
            let renamed = |(new, old): (&String, &String)| is_key(new) || is_key(old);
            let listed = config.columns.as_ref();
            !config.rename.iter().any(renamed)
                && !config.drop.iter().any(|name| is_key(name))
                && listed.is_none_or(|names| key.is_none() || names.iter().any(|it| is_key(it)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::document::Document;
    use crate::graph::Graph;

    /// The stages on the way to the sink, in the order in which they run.
    fn way(partition: &str, stages: &str) -> String {
        let text = format!(
            "[pipeline]\nname = 'p'\n[sources.s]\ntype = 'csv'\npath = 's'\n[sources.d]\ntype = 'csv'\n\
             path = 'd'\n{stages}\n[transforms.p]\ntype = 'batch-partition'\ninput = 'x'\n{partition}\n\
             [transforms.behind]\ntype = 'filter'\ninput = 'p'\nwhen = 'true'\n\
             [sinks.out]\ntype = 'console'\ninput = 'behind'\n"
        );
        let (document, mut diagnostics) = Document::parse("p.toml", &text);
        let graph = Graph::of(&document, &mut diagnostics);
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
        let nodes = 0..graph.nodes.len();
        let mut sinks = nodes.filter(|&node| graph.nodes[node].name() == "out");
        let way = graph.way_to(sinks.next().unwrap());
        let names = way.iter().map(|&node| graph.nodes[node].name());
        names.collect::<Vec<_>>().join(" ")
    }

    const NEWEST: &str =
        "[transforms.l]\ntype = 'latest'\ninput = 's'\nby = ['k', 'id']\norder_by = ['at']\n";

    #[test]
    fn a_partition_moves_up_before_what_looks_at_several_rows_of_a_key() {
        let plain = "[transforms.x]\ntype = 'filter'\ninput = 'l'\nwhen = 'true'\n";
        let stages = format!("{NEWEST}{plain}");
        assert_eq!(way("by = 'k'", &stages), "s p l x behind out");
        assert_eq!(way("by = 'id'", &stages), "s p l x behind out");
        assert_eq!(way("whole = true", &stages), "s p l x behind out");
        // It groups by something else.
        assert_eq!(way("by = 'at'", &stages), "s l x p behind out");
        // Nothing looks at several rows.
        let plain = plain.replace("'l'", "'s'");
        assert_eq!(way("by = 'k'", &plain), "s x p behind out");
        let before = "[transforms.f]\ntype = 'filter'\ninput = 's'\nwhen = 'true'\n\
                      [transforms.x]\ntype = 'distinct'\ninput = 'f'\n";
        assert_eq!(way("by = 'k'", before), "s f p x behind out");
    }

    #[test]
    fn it_stays_where_a_stage_between_changes_the_key_or_has_another_user() {
        for (stage, moves) in [
            ("type = 'derive'\ninput = 'l'\nset = { a = '1' }", true),
            ("type = 'derive'\ninput = 'l'\nset = { k = '1' }", false),
            ("type = 'select'\ninput = 'l'\ndrop = ['a']", true),
            ("type = 'select'\ninput = 'l'\ndrop = ['k']", false),
            ("type = 'select'\ninput = 'l'\nrename = { k = 'a' }", false),
            ("type = 'select'\ninput = 'l'\ncolumns = ['id']", false),
            (
                "type = 'lookup'\nleft = 'l'\nright = 'd'\non = { a = 'a' }\ncolumns = { v = 'v' }",
                true,
            ),
            (
                "type = 'lookup'\nleft = 'l'\nright = 'd'\non = { a = 'a' }\ncolumns = { k = 'v' }",
                false,
            ),
            (
                "type = 'lookup'\nleft = 'l'\nright = 'd'\non = { a = 'a' }",
                false,
            ),
            (
                "type = 'lookup'\nleft = 'l'\nright = 'd'\non = { a = 'a' }\njoin = 'semi'",
                true,
            ),
            (
                "type = 'lookup'\nleft = 's'\nright = 'l'\non = { a = 'a' }\ncolumns = { v = 'v' }",
                false,
            ),
            ("type = 'union'\ninputs = ['l', 's']", false),
        ] {
            let way = way("by = 'k'", &format!("{NEWEST}[transforms.x]\n{stage}\n"));
            assert_eq!(way.contains("p l x behind"), moves, "{stage}: {way}");
        }
    }
}
