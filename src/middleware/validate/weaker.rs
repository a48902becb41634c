//! Rules with one of them taken away, for the test that each of them refuses something.

use crate::zoho::catalogue::{Array, Field, Kind, List, Object, Parameter, Required, Scalar, ScalarKind, Shape, Terms};

const TEXT: ScalarKind = ScalarKind::Text { min: 0, max: usize::MAX };

/// The parameters without each rule, with its name. The size of a file has a test of its own.
pub(super) fn without_each_rule(parameters: &[Parameter]) -> Vec<(String, Vec<Parameter>)> {
    let mut all = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let mut add = |rule: &str, weaker: Parameter| {
            let mut parameters = parameters.to_vec();
            parameters[index] = weaker;
            all.push((format!("{} {rule}", parameter.name), parameters));
        };
        for (rule, terms) in terms(&parameter.terms) {
            add(rule, Parameter { terms, ..parameter.clone() });
        }
        if !parameter.aliases.is_empty() {
            add("aliases", Parameter { aliases: Vec::new(), ..parameter.clone() });
        }
        for (rule, kind) in kinds(&parameter.kind) {
            add(&rule, Parameter { kind, ..parameter.clone() });
        }
    }
    all
}

fn terms(terms: &Terms) -> Vec<(&'static str, Terms)> {
    let mut all = Vec::new();
    if terms.required != Required::Never {
        all.push(("required", Terms { required: Required::Never, ..terms.clone() }));
    }
    if terms.except.is_some() {
        all.push(("except", Terms { except: None, ..terms.clone() }));
    }
    if !terms.only_with.is_empty() {
        all.push(("only-with", Terms { only_with: Vec::new(), ..terms.clone() }));
    }
    all
}

fn kinds(kind: &Kind) -> Vec<(String, Kind)> {
    let plain = |kind| Kind::Plain(Scalar { kind, called: None, empty: true });
    match kind {
        Kind::Plain(scalar) => {
            scalars(&scalar.kind).into_iter().map(|(rule, kind)| (rule.to_owned(), plain(kind))).collect()
        }
        Kind::Json(shape) => {
            let json = |(rule, shape)| (rule, Kind::Json(shape));
            std::iter::once(("json".to_owned(), plain(TEXT))).chain(shapes(shape).into_iter().map(json)).collect()
        }
        Kind::List(list) => vec![("max".to_owned(), Kind::List(List { max: usize::MAX, ..list.clone() }))],
        Kind::File { .. } => Vec::new(),
    }
}

fn scalars(kind: &ScalarKind) -> Vec<(&'static str, ScalarKind)> {
    match kind {
        ScalarKind::Text { min, max } => [
            (*min > 0).then_some(("min", ScalarKind::Text { min: 0, max: *max })),
            (*max < usize::MAX).then_some(("max", ScalarKind::Text { min: *min, max: usize::MAX })),
        ]
        .into_iter()
        .flatten()
        .collect(),
        ScalarKind::Integer { min, max } => [
            Some(("integer", TEXT)),
            (*min > i64::MIN).then_some(("min", ScalarKind::Integer { min: i64::MIN, max: *max })),
            (*max < i64::MAX).then_some(("max", ScalarKind::Integer { min: *min, max: i64::MAX })),
        ]
        .into_iter()
        .flatten()
        .collect(),
        _ => vec![("kind", TEXT)],
    }
}

fn shapes(shape: &Shape) -> Vec<(String, Shape)> {
    let mut all = Vec::new();
    match shape {
        Shape::Any => {}
        Shape::Scalar(scalar) => {
            let weaker = |kind| Shape::Scalar(Scalar { kind, called: None, empty: true });
            all.extend(scalars(&scalar.kind).into_iter().map(|(rule, kind)| (rule.to_owned(), weaker(kind))));
        }
        Shape::Array(array) => {
            all.push(("array".to_owned(), Shape::Any));
            if array.min > 0 {
                all.push(("min".to_owned(), Shape::Array(Array { min: 0, ..array.clone() })));
            }
            if array.max < usize::MAX {
                all.push(("max".to_owned(), Shape::Array(Array { max: usize::MAX, ..array.clone() })));
            }
            for (rule, items) in shapes(&array.items) {
                all.push((format!("items {rule}"), Shape::Array(Array { items: Box::new(items), ..array.clone() })));
            }
        }
        Shape::Object(object) => {
            all.push(("object".to_owned(), Shape::Any));
            for (index, field) in object.fields.iter().enumerate() {
                for (rule, field) in fields(field) {
                    let mut object = Object { ..object.clone() };
                    let name = field.name.clone();
                    object.fields[index] = field;
                    all.push((format!("{name} {rule}"), Shape::Object(object)));
                }
            }
        }
    }
    all
}

fn fields(field: &Field) -> Vec<(String, Field)> {
    let of_terms = terms(&field.terms).into_iter();
    let of_terms = of_terms.map(|(rule, terms)| (rule.to_owned(), Field { terms, ..field.clone() }));
    let aliases = (!field.aliases.is_empty()).then(|| Field { aliases: Vec::new(), ..field.clone() });
    let of_shape = shapes(&field.shape).into_iter().map(|(rule, shape)| (rule, Field { shape, ..field.clone() }));
    of_terms.chain(aliases.map(|field| ("aliases".to_owned(), field))).chain(of_shape).collect()
}
