//! The plan as a picture: boxes in columns, from sources on the left to sinks on the right.
//!
//! ```text
//! columns by the longest way --> bends where an arrow passes a column --> order in each column
//!    --> heights --> bands of columns, one below the other like lines of text --> SVG
//! ```
//!
//! The method is that of Sugiyama, Tagawa and Toda (1981, <https://doi.org/10.1109/TSMC.1981.4308636>):
//! in a column each place goes to the mean of its neighbours' places, again and again, so that few
//! arrows cross. The page finds boxes by `data-stage` and fills in what is live.

use std::fmt::Write;

use pipelines::draw::{Arrow, Picture, Shape};

const WIDTH: f64 = 172.0;
const HEIGHT: f64 = 46.0;
/// Between columns: room for arrows.
const GAP: f64 = 48.0;
/// Between boxes of a column.
const SPACE: f64 = 18.0;
/// What an arrow takes of a column that it passes.
const BEND: f64 = 6.0;
const MARGIN: f64 = 12.0;
/// Columns that lie side by side: those that find room on a screen.
const BAND: usize = 6;
/// Between bands, and at their ends: room for the arrows that lead to the next one.
const FOLD: f64 = 40.0;
/// Characters of a name that find room; the whole name is shown to who points at it.
const LETTERS: usize = 20;
/// How often columns are put in order: pictures of fifty boxes do not change any more.
const SWEEPS: usize = 24;
/// What is left of a height when the next box goes by it: so a long pipeline does not drift away from
/// the middle.
const FLAT: f64 = 0.85;

/// The picture as an SVG element.
pub(super) fn svg(picture: &Picture) -> String {
    let layout = Layout::of(picture);
    let (width, height) = layout.size();
    let mut svg = String::new();
    let mut put = |text: String| svg.push_str(&text);
    put(format!(
        "<svg id=\"plan\" role=\"img\" aria-label=\"the stages of the pipeline\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">"
    ));
    for (number, (arrow, stops)) in layout.arrows.iter().enumerate() {
        let class = match arrow {
            Arrow::Rows => "rows",
            Arrow::Errors => "errors",
            Arrow::Lookup | Arrow::Keys => "lookup",
        };
        let path = layout.path(stops, number);
        put(format!("<path class=\"arrow {class}\" d=\"{path}\"/>"));
    }
    for ((name, shape), place) in picture.boxes.iter().zip(&layout.places) {
        let class = match shape {
            Shape::Source => "source",
            Shape::Transform => "transform",
            Shape::Partition => "partition",
            Shape::Sink => "sink",
        };
        let (x, y) = (left(place.column), place.middle - HEIGHT / 2.0);
        let (whole, short) = (escaped(name), escaped(&shortened(name)));
        put(format!(
            "<g class=\"stage {class}\" data-stage=\"{whole}\" transform=\"translate({x:.0} {y:.1})\">\
             <title>{whole}</title><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"7\"/>\
             <text class=\"name\" x=\"10\" y=\"19\">{short}</text>\
             <text class=\"rate\" x=\"10\" y=\"36\"></text></g>"
        ));
    }
    put("</svg>".to_owned());
    svg
}

/// A text as it stands in HTML, in quotes or between tags.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' | '{' | '}' => {
                write!(escaped, "&#{};", u32::from(character)).expect("a text takes any character");
            }
            character => escaped.push(character),
        }
    }
    escaped
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    let start: String = name.chars().take(LETTERS - 1).collect();
    start + "…"
}

/// Where everything lies.
struct Layout {
    /// Boxes by their numbers, then bends.
    places: Vec<Place>,
    /// The places that each arrow touches.
    arrows: Vec<(Arrow, Vec<usize>)>,
    /// Where each band ends.
    bottoms: Vec<f64>,
}

struct Place {
    column: usize,
    middle: f64,
    height: f64,
}

impl Layout {
    fn of(picture: &Picture) -> Layout {
        let columns = columns(picture);
        let place = |column: &usize| Place {
            column: *column,
            middle: 0.0,
            height: HEIGHT,
        };
        let mut layout = Layout {
            places: columns.iter().map(place).collect(),
            arrows: Vec::new(),
            bottoms: Vec::new(),
        };
        for &(from, to, arrow) in &picture.arrows {
            let mut stops = vec![from];
            for column in columns[from] + 1..columns[to] {
                stops.push(layout.places.len());
                layout.places.push(Place {
                    column,
                    middle: 0.0,
                    height: BEND,
                });
            }
            stops.push(to);
            layout.arrows.push((arrow, stops));
        }
        layout.arrange();
        layout.fold();
        layout
    }

    /// Orders each column by its neighbours, from the left and from the right in turn.
    fn arrange(&mut self) {
        let width = self.places.iter().map(|place| place.column + 1).max();
        let mut columns: Vec<Vec<usize>> = vec![Vec::new(); width.unwrap_or(0)];
        for (number, place) in self.places.iter().enumerate() {
            columns[place.column].push(number);
        }
        let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); self.places.len()];
        for (_, stops) in &self.arrows {
            for pair in stops.windows(2) {
                neighbours[pair[0]].push(pair[1]);
                neighbours[pair[1]].push(pair[0]);
            }
        }
        for column in &columns {
            self.stack(column, |_| 0.0);
        }
        for sweep in 0..SWEEPS {
            let rightwards = sweep % 2 == 0;
            for step in 0..columns.len() {
                let at = if rightwards {
                    step
                } else {
                    columns.len() - 1 - step
                };
                let is_before = |other: usize| {
                    let other = self.places[other].column;
                    if rightwards { other < at } else { other > at }
                };
                // In the last rounds all neighbours pull, and long arrows become straight.
                let all = sweep + 4 >= SWEEPS;
                let wanted = |number: &usize| {
                    let near = neighbours[*number].iter();
                    let near = near.filter(|other| all || is_before(**other));
                    let near = near.map(|other| self.places[*other].middle);
                    FLAT * mean(near).unwrap_or(self.places[*number].middle)
                };
                let wanted: Vec<f64> = columns[at].iter().map(wanted).collect();
                let mut order: Vec<(usize, f64)> =
                    columns[at].iter().copied().zip(wanted).collect();
                order.sort_by(|(_, one), (_, other)| one.total_cmp(other));
                columns[at] = order.iter().map(|(number, _)| *number).collect();
                self.stack(&columns[at], |number| order[number].1);
            }
        }
    }

    /// Puts the bands one below the other.
    fn fold(&mut self) {
        let mut below = MARGIN;
        let bands = self.places.iter().map(|place| place.column / BAND + 1);
        for band in 0..bands.max().unwrap_or(0) {
            let mut places: Vec<&mut Place> = (self.places.iter_mut())
                .filter(|place| place.column / BAND == band)
                .collect();
            let tops = places.iter().map(|place| place.middle - place.height / 2.0);
            let down = below - tops.fold(f64::INFINITY, f64::min);
            let mut bottom = below;
            for place in &mut places {
                place.middle += down;
                bottom = bottom.max(place.middle + place.height / 2.0);
            }
            self.bottoms.push(bottom);
            below = bottom + FOLD;
        }
    }

    /// Puts the places of a column one below the other, each as near as can be to where it is wanted.
    fn stack(&mut self, column: &[usize], wanted: impl Fn(usize) -> f64) {
        let mut least = f64::NEG_INFINITY;
        let mut moved = Vec::with_capacity(column.len());
        for (position, &number) in column.iter().enumerate() {
            let place = &mut self.places[number];
            place.middle = wanted(position).max(least + place.height / 2.0);
            least = place.middle + place.height / 2.0 + SPACE;
            moved.push(place.middle - wanted(position));
        }
        // What was pushed down comes halfway up again, all together.
        let up = mean(moved.into_iter()).unwrap_or(0.0);
        for &number in column {
            self.places[number].middle -= up;
        }
    }

    fn size(&self) -> (f64, f64) {
        let right = self.places.iter().map(|place| left(place.column) + WIDTH);
        let bottom = self.bottoms.last().copied().unwrap_or(0.0);
        (right.fold(0.0, f64::max) + FOLD / 2.0, bottom + MARGIN)
    }

    /// A line from the right of the first place to the left of the last: straight through columns,
    /// curved between them, and around the end of a band. The number of the arrow keeps some apart
    /// there that would lie over each other.
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    fn path(&self, stops: &[usize], number: usize) -> String {
        let stops: Vec<&Place> = stops.iter().map(|stop| &self.places[*stop]).collect();
        let right = |place: &Place| left(place.column) + WIDTH;
        let aside = (number % 5) as f64 * 3.0;
        let between = |pair: &[&Place]| {
            let (from, to) = (right(pair[0]), left(pair[1].column));
            let (start, end) = (pair[0].middle, pair[1].middle);
            if from < to {
                let bend = f64::midpoint(from, to);
                return format!(
                    "L{from:.0} {start:.1}C{bend:.0} {start:.1} {bend:.0} {end:.1} {to:.0} {end:.1}"
                );
            }
            let (out, into) = (from + 5.0 + aside, to - 5.0 - aside);
            let under = self.bottoms[pair[0].column / BAND] + FOLD / 2.0 + aside - 6.0;
            format!("L{from:.0} {start:.1}H{out:.0}V{under:.1}H{into:.0}V{end:.1}H{to:.0}")
        };
        let curves: String = stops.windows(2).map(between).collect();
        format!("M{:.0} {:.1}{curves}", right(stops[0]), stops[0].middle)
    }
}

/// The column of each box: behind all that leads to it, and no further from where it leads to than it
/// must be. Sinks stand next to what they are told by.
fn columns(picture: &Picture) -> Vec<usize> {
    let mut columns = vec![0; picture.boxes.len()];
    let mut moved = true;
    while moved {
        moved = false;
        for &(from, to, _) in &picture.arrows {
            if columns[to] <= columns[from] {
                columns[to] = columns[from] + 1;
                moved = true;
            }
        }
    }
    moved = true;
    while moved {
        moved = false;
        for number in 0..columns.len() {
            let next = picture.arrows.iter().filter(|(from, _, _)| *from == number);
            if let Some(next) = next.map(|(_, to, _)| columns[*to]).min()
                && columns[number] + 1 < next
            {
                columns[number] = next - 1;
                moved = true;
            }
        }
    }
    columns
}

#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
fn left(column: usize) -> f64 {
    FOLD / 2.0 + (column % BAND) as f64 * (WIDTH + GAP)
}

#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let numbers: Vec<f64> = numbers.collect();
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn picture(boxes: &[(&str, Shape)], arrows: &[(usize, usize)]) -> Picture {
        let named = |(name, shape): &(&str, Shape)| (Arc::from(*name), *shape);
        let rows = |(from, to): &(usize, usize)| (*from, *to, Arrow::Rows);
        Picture {
            boxes: boxes.iter().map(named).collect(),
            arrows: arrows.iter().map(rows).collect(),
        }
    }

    #[test]
    fn names_are_text_and_no_markup() {
        let name = "</title><script>alert('{picture}')</script>";
        let svg = svg(&picture(&[(name, Shape::Source)], &[]));
        assert!(
            !svg.contains("<script>") && !svg.contains("{picture}"),
            "{svg}"
        );
        assert_eq!(shortened("ä".repeat(40).as_str()).chars().count(), LETTERS);
    }

    #[test]
    fn a_source_stands_before_the_stage_that_reads_it() {
        let boxes = ["visits", "flat", "by_ssn", "joined", "offices"];
        let boxes = boxes.map(|name| (name, Shape::Transform));
        let picture = picture(&boxes, &[(0, 1), (1, 2), (2, 3), (4, 3)]);
        assert_eq!(columns(&picture), [0, 1, 2, 3, 2]);
    }

    proptest! {
        #[test]
        fn boxes_of_a_column_never_lie_over_each_other(
            arrows in prop::collection::vec((0_usize..20, 0_usize..20), 0..60),
        ) {
            let forward: BTreeSet<(usize, usize)> =
                arrows.into_iter().filter(|(from, to)| from < to).collect();
            let boxes = vec![("stage", Shape::Transform); 20];
            let forward: Vec<(usize, usize)> = forward.into_iter().collect();
            let layout = Layout::of(&picture(&boxes, &forward));
            for (at, one) in layout.places.iter().enumerate() {
                prop_assert!(one.middle >= MARGIN);
                for other in &layout.places[at + 1..] {
                    let apart = (one.middle - other.middle).abs();
                    let room = f64::midpoint(one.height, other.height) + SPACE;
                    prop_assert!(one.column != other.column || apart > room - 1e-6);
                }
            }
        }
    }
}
