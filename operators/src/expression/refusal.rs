//! Why an expression cannot be planned, in our words.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use super::syntax::decapitalized;
use crate::problem::suggest;
use crate::schema::Type;

/// What is wrong with an expression; its place is found by [`super::locate`].
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The operand that is wrong, if it is one of several: the condition of a CASE, the side of
    /// an operator, the item of a list.
    pub(super) operand: Option<usize>,
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Refusal {
            message: message.into(),
            help: None,
            operand: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn of_operand(mut self, operand: usize) -> Self {
        self.operand = Some(operand);
        self
    }
}

/// The first sentence is the message; what follows it says what to do.
impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Self {
        Refusal::from(&error)
    }
}

impl From<&DataFusionError> for Refusal {
    fn from(mut error: &DataFusionError) -> Self {
        loop {
            error = match error {
                DataFusionError::Diagnostic(_, inner) => inner,
                // Which part of the planner found it is nothing that a reader could use.
                DataFusionError::Context(by, inner) if is_of_planner(by) => inner,
                _ => break,
            };
        }
        let text = match error {
            DataFusionError::ArrowError(error, _) => without_values(error),
            // Its message would ask the reader to report a bug of DataFusion.
            DataFusionError::Internal(text) => text.clone(),
            other => other.message().into_owned(),
        };
        let line = text.lines().next().unwrap_or_default();
        let line = KINDS
            .iter()
            .fold(line, |line, kind| line.strip_prefix(kind).unwrap_or(line));
        let line = in_our_types(line.trim_end_matches('.'));
        match line.split_once(". ") {
            Some((message, help)) => Refusal::new(decapitalized(message)).help(decapitalized(help)),
            None => match line.strip_prefix("Unsupported SQL type ") {
                Some(name) => no_type(name),
                None => Refusal::new(decapitalized(&line)),
            },
        }
    }
}

fn is_of_planner(context: &str) -> bool {
    context.contains(" rule ") || context == "type_coercion"
}

fn no_type(name: &str) -> Refusal {
    let ours = Type::ALL.map(|kind| kind.to_string());
    let ours = ours.iter().map(String::as_str);
    let name = name.to_lowercase();
    Refusal::new(format!("there is no type `{name}`")).help(suggest(&name, ours, "types"))
}

/// Arrow quotes the text that it cannot read, which may be the value of a parameter.
fn without_values(error: &ArrowError) -> String {
    let text = match error {
        ArrowError::DivideByZero => return "divide by zero".to_owned(),
        other => other.to_string(),
    };
    let quotes = |letter: char| letter == '\'' || letter == '"';
    let (Some(first), Some(last)) = (text.find(quotes), text.rfind(quotes)) else {
        return text;
    };
    let (before, after) = (text[..first].trim_end(), &text[last + 1..]);
    if let Some(to) = after.strip_prefix(" to value of ") {
        return format!("the text does not read as {}", to.trim_end_matches(" type"));
    }
    let before = before.trim_end_matches(':').trim_end_matches(" from");
    format!("{before}{after}")
}

/// The name of an Arrow type: that of ours which holds its values, else a word of SQL.
pub(crate) fn spoken(arrow: &DataType) -> String {
    match arrow {
        DataType::Null => "null".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::Duration(_) => "duration".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time of day".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".to_owned(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            "list".to_owned()
        }
        DataType::Struct(_) => "struct".to_owned(),
        other => match Type::of(other) {
            Some(kind) => kind.to_string(),
            None => other.to_string().to_lowercase(),
        },
    }
}

/// Names of Arrow types replaced by ours.
fn in_our_types(text: &str) -> String {
    let words = text.split_inclusive(|letter: char| !letter.is_alphanumeric());
    words.fold(String::new(), |told, part| {
        let word = part.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        let rest = &part[word.len()..];
        match word.parse::<DataType>() {
            Ok(arrow) => told + &spoken(&arrow) + rest,
            Err(_) => told + part,
        }
    })
}

/// What Arrow and `DataFusion` put before their messages.
const KINDS: [&str; 4] = [
    "Cast error: ",
    "Parser error: ",
    "Compute error: ",
    "Execution error: ",
];
