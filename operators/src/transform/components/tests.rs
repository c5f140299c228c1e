use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::schema::Type;
use crate::transform::Place;
use crate::transform::fixture::{at, chunk, lines, table, told};
use crate::value::Value;

fn config(within: &[&str]) -> ComponentsConfig {
    ComponentsConfig {
        input: "edges".to_owned(),
        within: within.iter().map(|name| (*name).to_owned()).collect(),
        ends: ["from".to_owned(), "to".to_owned()],
        column: "group".to_owned(),
    }
}

const EDGES: &str = "
    from text | to text | day int
    d         | c       | 1
    b         | c       | 1
    x         | y       | 1
    y         | a       | 2
    -         | x       | 1
    -         | -       | 1
    z         | z       | 1
";

fn groups(within: &[&str], origins: &[u32]) -> Vec<String> {
    let (schema, edges) = table(EDGES);
    let edges = edges.with_origin(origins.to_vec().into());
    let (stage, _) = Components::check(&config(within), &schema).unwrap();
    let made = stage
        .evaluate(&[edges], &mut at(Place::BehindGate))
        .unwrap();
    let group = |line: String| line.rsplit(' ').next().unwrap().to_owned();
    lines(&made).into_iter().map(group).collect()
}

#[test]
fn an_edge_is_given_the_least_node_of_its_component() {
    assert_eq!(groups(&[], &[0; 7]), ["b", "b", "a", "a", "a", "-", "z"]);
}

#[test]
fn edges_of_two_days_or_of_two_keys_are_of_two_graphs() {
    let apart = ["b", "b", "x", "a", "x", "-", "z"];
    assert_eq!(groups(&["day"], &[0; 7]), apart);
    assert_eq!(groups(&[], &[0, 0, 0, 1, 0, 0, 0]), apart);
}

#[test]
fn ends_and_the_new_column_are_checked() {
    let (schema, _) = table("from text | to int | group text");
    let wrong = |config| told(Components::check(&config, &schema));
    assert_eq!(
        wrong(config(&["day"])),
        [
            "within.0: there is no column `day`",
            "column: there is a column `group` already",
            "ends: the nodes of an edge are of two types",
        ]
    );
    let ends = ["form", "to"].map(str::to_owned);
    assert_eq!(
        wrong(ComponentsConfig {
            ends,
            column: "id".to_owned(),
            ..config(&[])
        }),
        ["ends.0: there is no column `form`"]
    );
}

#[test]
fn what_is_not_needed_is_not_read() {
    let (schema, _) = table("a int | from text | to text | day int");
    let (stage, out) = Components::check(&config(&["day"]), &schema).unwrap();
    assert_eq!(
        out.columns().last(),
        Some(&("group".to_owned(), Type::Text))
    );
    assert_eq!(
        stage.reads(&BTreeSet::from([4])),
        [BTreeSet::from([1, 2, 3])]
    );
    assert_eq!(
        stage.reads(&BTreeSet::from([0])),
        [BTreeSet::from([0, 1, 2, 3])]
    );
}

proptest! {
    /// As it is defined: two nodes are in one component if a way of edges leads from one to the other.
    #[test]
    fn components_are_what_can_be_reached(
        edges in proptest::collection::vec((0_i64..12, 0_i64..12), 0..16),
    ) {
        let column = |name: &str| (name.to_owned(), Type::Int);
        let schema = Schema::new(vec![column("from"), column("to")]);
        let row = |(from, to): &(i64, i64)| vec![Value::Int(*from), Value::Int(*to)];
        let rows: Vec<Vec<Value>> = edges.iter().map(row).collect();
        let rows = chunk(&schema, &rows).with_origin(vec![0; edges.len()].into());
        let (stage, _) = Components::check(&config(&[]), &schema).unwrap();
        let made = stage.evaluate(&[rows], &mut at(Place::BehindGate)).unwrap();

        let nodes = edges.iter().flat_map(|(from, to)| [*from, *to]);
        let mut least: BTreeMap<i64, i64> = nodes.map(|node| (node, node)).collect();
        for _ in 0..edges.len() {
            for (from, to) in &edges {
                let lesser = least[from].min(least[to]);
                least.extend([(*from, lesser), (*to, lesser)]);
            }
        }
        for (row, (from, _)) in edges.iter().enumerate() {
            prop_assert_eq!(Value::at(made.rows().column(2), row), Value::Int(least[from]));
        }
    }
}
