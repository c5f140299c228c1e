//! Which operands go together: stricter than `DataFusion`, which would cast a column of text to a
//! number, or a number to a condition, and leave the rows to fail.
//!
//! A constant text is still read as what it is compared with: `visit_date > '2026-01-31'`.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, Like, ScalarFunction};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator};

use super::refusal::{Refusal, spoken};
use crate::schema::Type;

/// Reads constant texts as the type of what they meet, and brings dates that meet a timestamp to
/// timestamps. `DataFusion` would turn a number that meets a text into a text, and bring timestamps
/// to nanoseconds, which end in the year 2262: before 9999-12-31.
pub(super) fn read_constants(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    expr.transform_up(|mut node| {
        for operands in meeting(&mut node) {
            read_constant_operands(operands, schema);
        }
        Ok(Transformed::yes(node))
    })
    .data()
}

/// Refuses an expression of which some operands do not go together.
pub(super) fn check(expr: &Expr, schema: &DFSchema) -> Result<(), Refusal> {
    let mut refusal = None;
    expr.apply(|node| {
        refusal = check_node(node, schema).err();
        Ok(match refusal {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    refusal.map_or(Ok(()), Err)
}

fn read_constant_operands(operands: Vec<&mut Expr>, schema: &DFSchema) {
    let kinds: Vec<Option<Type>> = operands
        .iter()
        .map(|operand| Type::of(&operand.get_type(schema).ok()?))
        .collect();
    let text = Some(Type::Text);
    let text_column = std::iter::zip(&operands, &kinds)
        .any(|(operand, kind)| *kind == text && !operand.column_refs().is_empty());
    // Int < Float and Date < Timestamp: the wider of two that meet.
    let widest = kinds
        .iter()
        .flatten()
        .filter(|kind| **kind != Type::Text)
        .max();
    let (Some(widest), false) = (widest, text_column) else {
        return;
    };
    for (operand, kind) in std::iter::zip(operands, &kinds) {
        let date = *kind == Some(Type::Date) && *widest == Type::Timestamp;
        if *kind == text || date {
            let inner = Box::new(std::mem::take(operand));
            *operand = Expr::Cast(Cast::new(inner, widest.arrow()));
        }
    }
}

/// The operands of a node that are of one type, in groups.
fn meeting(node: &mut Expr) -> Vec<Vec<&mut Expr>> {
    match node {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if compares(*op) || (*op == Operator::Minus && !is_text(left) && !is_text(right)) =>
        {
            vec![vec![left, right]]
        }
        Expr::Between(between) => {
            vec![vec![&mut between.expr, &mut between.low, &mut between.high]]
        }
        Expr::InList(list) => {
            let items = list.list.iter_mut();
            vec![std::iter::once(list.expr.as_mut()).chain(items).collect()]
        }
        Expr::Case(case) => {
            let (mut compared, mut results) = (vec![], vec![]);
            for (when, then) in &mut case.when_then_expr {
                compared.push(when.as_mut());
                results.push(then.as_mut());
            }
            results.extend(case.else_expr.as_deref_mut());
            match &mut case.expr {
                Some(operand) => compared.push(operand),
                None => compared.clear(),
            }
            vec![compared, results]
        }
        Expr::ScalarFunction(function) if OF_ONE_TYPE.contains(&function.func.name()) => {
            vec![function.args.iter_mut().collect()]
        }
        _ => vec![],
    }
}

fn check_node(node: &Expr, schema: &DFSchema) -> Result<(), Refusal> {
    match node {
        Expr::BinaryExpr(binary) => check_binary(binary, schema),
        Expr::Between(Between {
            expr, low, high, ..
        }) => {
            compare(expr, low, schema)?;
            compare(expr, high, schema)
        }
        Expr::InList(InList { expr, list, .. }) => {
            for (at, item) in list.iter().enumerate() {
                compare(expr, item, schema).map_err(|refusal| refusal.of_operand(at))?;
            }
            Ok(())
        }
        Expr::Like(Like { expr, pattern, .. }) | Expr::SimilarTo(Like { expr, pattern, .. }) => {
            for side in [expr, pattern] {
                be(Type::Text, "`like` needs text", side, schema)?;
            }
            Ok(())
        }
        Expr::Case(case) => check_case(case, schema),
        Expr::ScalarFunction(function) => check_function(node, function, schema),
        _ => Ok(()),
    }
}

fn check_binary(binary: &BinaryExpr, schema: &DFSchema) -> Result<(), Refusal> {
    let BinaryExpr { left, op, right } = binary;
    if matches!(op, Operator::And | Operator::Or) {
        let needs = format!("`{}` needs bool", op.to_string().to_lowercase());
        for (at, side) in [left, right].into_iter().enumerate() {
            be(Type::Bool, &needs, side, schema).map_err(|refusal| refusal.of_operand(at))?;
        }
        return Ok(());
    }
    if compares(*op) {
        compare(left, right, schema)?;
    }
    let (Ok(left), Ok(right)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok(());
    };
    if BinaryTypeCoercer::new(&left, op, &right)
        .get_input_types()
        .is_ok()
    {
        return Ok(());
    }
    let words = (spoken(&left), spoken(&right));
    if compares(*op) {
        let message = format!("cannot compare {} with {}", words.0, words.1);
        return Err(Refusal::new(message));
    }
    let refusal = Refusal::new(format!("cannot compute {} {op} {}", words.0, words.1));
    Err(Refusal {
        help: instead_of_text([&left, &right]).map(str::to_owned),
        ..refusal
    })
}

/// What to write where a text was to be counted with. The text is not shown: it may be the value
/// of a parameter.
fn instead_of_text(types: [&DataType; 2]) -> Option<&'static str> {
    match types.map(Type::of) {
        [Some(Type::Date | Type::Timestamp), Some(Type::Text)] => {
            Some("write a span of time as `interval '45 days'`, a day as `date '2026-01-31'`")
        }
        [Some(Type::Text), _] | [_, Some(Type::Text)] => {
            Some("a text is no number before `cast(.. as float)`; texts are joined by `||`")
        }
        _ => None,
    }
}

fn check_case(case: &Case, schema: &DFSchema) -> Result<(), Refusal> {
    for (at, (when, _)) in case.when_then_expr.iter().enumerate() {
        match &case.expr {
            Some(operand) => compare(operand, when, schema),
            None => be(Type::Bool, "a condition is bool", when, schema)
                .map_err(|refusal| refusal.help(COMPARE)),
        }
        .map_err(|refusal| refusal.of_operand(at))?;
    }
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    be_of_one_type("case", results.chain(case.else_expr.as_deref()), schema)
}

fn check_function(
    node: &Expr,
    function: &ScalarFunction,
    schema: &DFSchema,
) -> Result<(), Refusal> {
    let name = function.func.name();
    if OF_ONE_TYPE.contains(&name) {
        be_of_one_type(name, function.args.iter(), schema)?;
    }
    let arguments = function
        .args
        .iter()
        .map(|argument| argument.get_type(schema));
    let Ok(arguments) = arguments.collect::<Result<Vec<_>, _>>() else {
        return Ok(());
    };
    if node.to_field(schema).is_ok() {
        return Ok(());
    }
    let arguments: Vec<String> = arguments.iter().map(spoken).collect();
    let refusal = Refusal::new(match &arguments[..] {
        [] => format!("`{name}` needs arguments"),
        _ => format!("`{name}` does not take ({})", arguments.join(", ")),
    });
    Err(match function.func.documentation() {
        Some(documentation) => {
            refusal.help(format!("its form is `{}`", documentation.syntax_example))
        }
        None => refusal,
    })
}

/// Refuses two values that cannot be compared.
fn compare(left: &Expr, right: &Expr, schema: &DFSchema) -> Result<(), Refusal> {
    match strangers(left, right, schema) {
        None => Ok(()),
        Some((left, right)) => {
            Err(Refusal::new(format!("cannot compare {left} with {right}")).help(CAST))
        }
    }
}

/// Refuses values of which two cannot be values of one column.
fn be_of_one_type<'e>(
    name: &str,
    values: impl Iterator<Item = &'e Expr>,
    schema: &DFSchema,
) -> Result<(), Refusal> {
    let values: Vec<&Expr> = values.collect();
    for (at, value) in values.iter().enumerate() {
        for earlier in &values[..at] {
            if let Some((one, other)) = strangers(earlier, value, schema) {
                let message = format!("`{name}` gives values of one type, not {one} and {other}");
                return Err(Refusal::new(message).help(CAST));
            }
        }
    }
    Ok(())
}

/// The types of two values, if these types do not go together.
fn strangers(left: &Expr, right: &Expr, schema: &DFSchema) -> Option<(String, String)> {
    let types = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let families = (family(&types.0), family(&types.1));
    let go_together = types.0.is_null() || types.1.is_null() || families.0 == families.1;
    (!go_together).then(|| (spoken(&types.0), spoken(&types.1)))
}

/// Refuses a value of another type.
fn be(kind: Type, needs: &str, expr: &Expr, schema: &DFSchema) -> Result<(), Refusal> {
    match expr.get_type(schema) {
        Ok(arrow) if !arrow.is_null() && Type::of(&arrow) != Some(kind) => Err(Refusal::new(
            format!("{needs}, and this is {}", spoken(&arrow)),
        )),
        _ => Ok(()),
    }
}

/// Types whose values can be compared have the same family.
fn family(arrow: &DataType) -> Option<Type> {
    match Type::of(arrow) {
        Some(Type::Int) => Some(Type::Float),
        Some(Type::Timestamp) => Some(Type::Date),
        other => other,
    }
}

/// Whether it is a text as it stands: what is subtracted is not read as the other side, nor is
/// what is added.
fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(_), _))
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// What to do where a condition is no bool.
pub(super) const COMPARE: &str = "compare it with something, as in `x = 1`";

const CAST: &str = "bring one to the type of the other with `cast`";

/// Functions that bring their arguments to one type.
const OF_ONE_TYPE: [&str; 5] = ["coalesce", "nullif", "nvl", "greatest", "least"];
