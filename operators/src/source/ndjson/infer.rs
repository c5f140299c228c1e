//! The types of members from all their values.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::blocks::Block;
use crate::json::{Item, Members, int};
use crate::schema::Type;
use crate::source::decode;

/// What the members of some lines hold.
#[derive(Default)]
pub(super) struct Kinds(BTreeMap<String, Kind>);

/// What the values of a member are, as far as they were seen; null is in every type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a member may hold values of each kind"
)]
struct Kind {
    bools: bool,
    ints: bool,
    /// Numbers that are no ints.
    floats: bool,
    dates: bool,
    timestamps: bool,
    /// Other texts.
    texts: bool,
    nested: bool,
}

impl Kinds {
    /// Those of a block. What is wrong with a line is told when it is read for its row.
    pub(super) fn of(block: &Block) -> Self {
        let mut kinds = Kinds::default();
        for (_, line) in block.lines() {
            let Some(mut members) = line.and_then(Members::of) else {
                continue;
            };
            while let Ok(Some((name, item))) = members.next() {
                match kinds.0.get_mut(name.as_ref()) {
                    Some(kind) => kind.see(&item),
                    None => kinds.0.entry(name.into_owned()).or_default().see(&item),
                }
            }
        }
        kinds
    }

    /// Adds what others hold.
    pub(super) fn merge(&mut self, others: Kinds) {
        for (name, other) in others.0 {
            self.0.entry(name).or_default().merge(other);
        }
    }

    /// The narrowest type of each member, in which every value that was seen is one.
    pub(super) fn types(self) -> BTreeMap<String, Type> {
        let types = self.0.into_iter();
        types.map(|(name, kind)| (name, kind.narrowest())).collect()
    }
}

impl Kind {
    fn see(&mut self, item: &Item) {
        match item {
            Item::Null => {}
            Item::Bool(_) => self.bools = true,
            Item::Number(number) if !number.contains(['.', 'e', 'E']) && int(number).is_some() => {
                self.ints = true;
            }
            Item::Number(_) => self.floats = true,
            Item::Text(_) if self.texts => {}
            Item::Text(text) if decode::date(text).is_some() => self.dates = true,
            Item::Text(text) if decode::timestamp(text, Tz::UTC).is_some() => {
                self.timestamps = true;
            }
            Item::Text(_) => self.texts = true,
            Item::Array(_) | Item::Object(_) => self.nested = true,
        }
    }

    fn merge(&mut self, other: Kind) {
        self.bools |= other.bools;
        self.ints |= other.ints;
        self.floats |= other.floats;
        self.dates |= other.dates;
        self.timestamps |= other.timestamps;
        self.texts |= other.texts;
        self.nested |= other.nested;
    }

    fn narrowest(self) -> Type {
        let numbers = self.ints || self.floats;
        let days = self.dates || self.timestamps;
        let others = [self.bools, numbers, days, self.texts];
        match others.iter().filter(|seen| **seen).count() {
            _ if self.nested => Type::Json,
            1 if self.bools => Type::Bool,
            1 if numbers && !self.floats => Type::Int,
            1 if numbers => Type::Float,
            1 if days && !self.timestamps => Type::Date,
            1 if days => Type::Timestamp,
            _ => Type::Text,
        }
    }
}
