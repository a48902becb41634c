//! Properties of every shape that the catalogue can express, not only of those it contains today.
//!
//! A [`Model`] is this test's own form of a shape. It writes itself as TOML for the catalogue's reader, makes values
//! that follow its rules, and breaks them one rule at a time, with the pointer to the expected fault.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::check;
use crate::{
    message::payload_error::Fault,
    zoho::catalogue::{Parameters, Validation},
};

#[derive(Debug, Clone)]
enum Model {
    Any,
    Text {
        min: usize,
        max: usize,
    },
    Integer {
        min: i64,
        max: i64,
    },
    Digits {
        max: usize,
    },
    OneOf(usize),
    Email,
    Date,
    Boolean,
    Array {
        min: usize,
        max: usize,
        items: Box<Model>,
    },
    /// Fields: the name, whether it is required, and the shape.
    Object(Vec<(&'static str, bool, Model)>),
    /// An object whose fields depend on one another, like Calendar's `shareData`.
    Share,
}

const WORDS: [&str; 4] = ["view", "edit", "a b", "é"];

/// Field names, some of which a pointer must escape.
const NAMES: [&str; 5] = ["plain", "a/b", "c~d", "é", "0"];

/// Random choices, one byte each.
struct Dice(Vec<u8>);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.pop().unwrap_or_default()) % bound
    }
}

fn scalar() -> impl Strategy<Value = Model> {
    prop_oneof![
        (0..4usize, 0..4usize).prop_map(|(min, more)| Model::Text { min, max: min + more }),
        (any::<i32>(), 0..1000i64)
            .prop_map(|(min, more)| Model::Integer { min: min.into(), max: i64::from(min) + more }),
        (1..=18usize).prop_map(|max| Model::Digits { max }),
        (1..=WORDS.len()).prop_map(Model::OneOf),
        Just(Model::Email),
        Just(Model::Date),
        Just(Model::Boolean),
    ]
}

fn model() -> impl Strategy<Value = Model> {
    let leaf = prop_oneof![8 => scalar(), 1 => Just(Model::Any), 2 => Just(Model::Share)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            (0..3usize, 0..3usize, inner.clone()).prop_map(|(min, more, items)| Model::Array {
                min,
                max: min + more,
                items: Box::new(items)
            }),
            prop::collection::vec((any::<bool>(), inner), 0..=NAMES.len()).prop_map(|fields| {
                Model::Object(
                    NAMES.into_iter().zip(fields).map(|(name, (required, model))| (name, required, model)).collect(),
                )
            }),
        ]
    })
}

impl Model {
    /// The keys of the shape's table in the catalogue, without the braces.
    fn toml(&self) -> String {
        match self {
            Self::Any => "kind = 'any'".to_owned(),
            Self::Text { min, max } => format!("kind = 'text', min = {min}, max = {max}"),
            Self::Integer { min, max } => format!("kind = 'integer', min = {min}, max = {max}"),
            Self::Digits { max } => format!("kind = 'digits', max = {max}"),
            Self::OneOf(count) => format!("kind = 'one-of', values = {:?}", &WORDS[..*count]),
            Self::Email => "kind = 'e-mail'".to_owned(),
            Self::Date => "kind = 'date', format = 'yyyy-MM-dd'".to_owned(),
            Self::Boolean => "kind = 'boolean'".to_owned(),
            Self::Array { min, max, items } => {
                format!("kind = 'array', min = {min}, max = {max}, items = {{ {} }}", items.toml())
            }
            Self::Object(fields) => {
                let field = |(name, required, model): &(&str, bool, Self)| {
                    format!("{{ name = '{name}', required = {required}, {} }}", model.toml())
                };
                format!("kind = 'object', fields = [{}]", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
            Self::Share => "kind = 'object', fields = [
                { name = 'type', required = true, kind = 'one-of', values = ['user', 'group'] },
                { name = 'level', kind = 'one-of', values = ['low', 'high'], except = { values = ['high'], when = { type = 'group' } } },
                { name = 'mail', kind = 'e-mail', required-when = { type = ['user'] } },
            ]"
            .to_owned(),
        }
    }

    /// A value that follows the rules.
    fn good(&self, dice: &mut Dice) -> Value {
        match self {
            Self::Any => [json!(null), json!({"x": [1.5]}), json!("text")][dice.below(3)].clone(),
            Self::Text { min, max } => "é".repeat(min + dice.below(max - min + 1)).into(),
            Self::Integer { min, max } => {
                let number = min + (max - min) * i64::from(dice.below(2) == 1);
                if dice.below(2) == 0 { json!(number) } else { number.to_string().into() }
            }
            Self::Digits { max } => {
                let digits = "7".repeat(1 + dice.below(*max));
                if dice.below(2) == 0 { digits.clone().into() } else { json!(digits.parse::<u64>().unwrap()) }
            }
            Self::OneOf(count) => WORDS[dice.below(*count)].into(),
            Self::Email => "rebecca@zylker.com".into(),
            Self::Date => "2024-02-29".into(),
            Self::Boolean => [json!(true), json!("false")][dice.below(2)].clone(),
            Self::Array { min, max, items } => (0..min + dice.below(max - min + 1)).map(|_| items.good(dice)).collect(),
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, required, model) in fields {
                    if *required || dice.below(2) == 0 {
                        object.insert((*name).to_owned(), model.good(dice));
                    } else if dice.below(2) == 0 {
                        object.insert((*name).to_owned(), Value::Null);
                    }
                }
                object.into()
            }
            Self::Share => [
                json!({"type": "user", "mail": "rebecca@zylker.com", "level": "high"}),
                json!({"type": "group", "level": "low"}),
                json!({"type": "group", "mail": "team@zylker.com"}),
                json!({"type": "group", "mail": null, "level": null}),
            ][dice.below(4)]
            .clone(),
        }
    }

    /// Values that each break one rule, with the pointer to the fault.
    fn broken(&self, good: &Value) -> Vec<(Value, String)> {
        let here = |value: Value| (value, String::new());
        match (self, good) {
            (Self::Any, _) => Vec::new(),
            (Self::Text { min, max }, _) => {
                let mut broken = vec![here("é".repeat(max + 1).into()), here(json!(7)), here(json!(null))];
                broken.extend(min.checked_sub(1).map(|less| here("x".repeat(less).into())));
                broken
            }
            (Self::Integer { min, max }, _) => {
                [json!(min - 1), json!(max + 1), json!((max + 1).to_string()), json!("+1"), json!(1.5), json!([])]
                    .map(here)
                    .into()
            }
            (Self::Digits { max }, _) => {
                [json!("1".repeat(max + 1)), json!(-1), json!("1x"), json!(""), json!(true)].map(here).into()
            }
            (Self::OneOf(_), _) => [json!("VIEW"), json!(""), json!(0), json!(["view"])].map(here).into(),
            (Self::Email, _) => [json!("rebecca"), json!(" "), json!({}), json!(null)].map(here).into(),
            (Self::Date, _) => [json!("2026-02-29"), json!("29-02-2024"), json!(20240229)].map(here).into(),
            (Self::Boolean, _) => [json!("yes"), json!(1), json!(null)].map(here).into(),
            (Self::Array { min, max, items }, Value::Array(list)) => {
                let mut broken = vec![here(json!("text")), here(json!({}))];
                broken.extend(min.checked_sub(1).map(|less| here(list[..less].to_vec().into())));
                if let Some(last) = list.last() {
                    let mut long = list.clone();
                    long.resize(max + 1, last.clone());
                    broken.push(here(long.into()));
                }
                for (index, element) in list.iter().enumerate() {
                    for (bad, pointer) in items.broken(element) {
                        let mut list = list.clone();
                        list[index] = bad;
                        broken.push((list.into(), format!("/{index}{pointer}")));
                    }
                }
                broken
            }
            (Self::Object(fields), Value::Object(object)) => {
                let mut broken = vec![here(json!("text")), here(json!([]))];
                for (name, required, model) in fields {
                    let Some(value) = object.get(*name).filter(|value| !value.is_null()) else { continue };
                    let step = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
                    if *required {
                        let mut without = object.clone();
                        without.remove(*name);
                        broken.push((without.into(), step.clone()));
                    }
                    for (bad, pointer) in model.broken(value) {
                        // Typed clients write null for a field that they omit.
                        if bad.is_null() && !required {
                            continue;
                        }
                        let mut object = object.clone();
                        object.insert((*name).to_owned(), bad);
                        broken.push((object.into(), format!("{step}{pointer}")));
                    }
                }
                broken
            }
            (Self::Share, _) => [
                (json!({"level": "high"}), "/type"),
                (json!({"type": "users", "level": "high"}), "/type"),
                (json!({"type": "user"}), "/mail"),
                (json!({"type": "group", "level": "high"}), "/level"),
                (json!({"type": null}), "/type"),
                (json!({"type": "user", "mail": null}), "/mail"),
                (json!({"type": "group", "level": 3, "mail": null}), "/level"),
                (json!([]), ""),
            ]
            .map(|(value, pointer)| (value, pointer.to_owned()))
            .into(),
            _ => unreachable!("a good value is of its model's type"),
        }
    }

    /// Copies of the good value, each with an unknown key in one of its objects.
    fn with_unknown_key(&self, good: &Value) -> Vec<(Value, String)> {
        match (self, good) {
            (Self::Object(_) | Self::Share, Value::Object(object)) => {
                let mut odd = object.clone();
                odd.insert("x/y".to_owned(), json!({"z": 1}));
                let mut all = vec![(odd.into(), "/x~1y".to_owned())];
                if let Self::Object(fields) = self {
                    for (name, _, model) in fields {
                        let Some(value) = object.get(*name).filter(|value| !value.is_null()) else { continue };
                        for (odd, pointer) in model.with_unknown_key(value) {
                            let mut object = object.clone();
                            object.insert((*name).to_owned(), odd);
                            all.push((
                                object.into(),
                                format!("/{}{pointer}", name.replace('~', "~0").replace('/', "~1")),
                            ));
                        }
                    }
                }
                all
            }
            (Self::Array { items, .. }, Value::Array(list)) => {
                let mut all = Vec::new();
                for (index, element) in list.iter().enumerate() {
                    for (odd, pointer) in items.with_unknown_key(element) {
                        let mut list = list.clone();
                        list[index] = odd;
                        all.push((list.into(), format!("/{index}{pointer}")));
                    }
                }
                all
            }
            _ => Vec::new(),
        }
    }

    fn as_json(&self) -> Parameters {
        read(&format!("kind = 'json', value = {{ {} }}", self.toml()))
    }
}

fn read(keys: &str) -> Parameters {
    #[derive(Deserialize)]
    struct File {
        parameters: Parameters,
    }
    let text = format!("parameters = [{{ name = 'p', in = ['form'], required = true, {keys} }}]");
    toml::from_str::<File>(&text).unwrap_or_else(|error| panic!("{text}: {error}")).parameters
}

fn faults_of(parameters: &Parameters, validation: Validation, value: &str) -> Vec<Fault> {
    let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    check(parameters, validation, None, Some(format!("p={encoded}").as_bytes())).err().unwrap_or_default()
}

fn pointers(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.pointer.as_str()).collect()
}

/// Any JSON, sometimes with the models' keys and words.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("user")),
        Just(json!("high")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![any::<String>(), "type|level|mail|plain|a/b|c~d|é|0"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn accepts_good_values_and_finds_each_broken_rule(model in model(), dice in any::<[u8; 32]>()) {
        let parameters = model.as_json();
        let good = model.good(&mut Dice(dice.into()));
        for validation in [Validation::Documented, Validation::Strict] {
            let faults = faults_of(&parameters, validation, &good.to_string());
            prop_assert_eq!(&faults, &[], "{}: {}", model.toml(), good);
            for (bad, pointer) in model.broken(&good) {
                let faults = faults_of(&parameters, validation, &bad.to_string());
                prop_assert_eq!(pointers(&faults), [pointer], "{}: {}: {:?}", model.toml(), bad, faults);
                prop_assert!(faults[0].detail.starts_with("expected "), "{}", faults[0].detail);
            }
        }
    }

    #[test]
    fn only_strict_rejects_unknown_keys(model in model(), dice in any::<[u8; 32]>()) {
        let parameters = model.as_json();
        let good = model.good(&mut Dice(dice.into()));
        for (odd, pointer) in model.with_unknown_key(&good) {
            prop_assert_eq!(faults_of(&parameters, Validation::Documented, &odd.to_string()), []);
            let faults = faults_of(&parameters, Validation::Strict, &odd.to_string());
            prop_assert_eq!(pointers(&faults), [pointer], "{}: {}", model.toml(), odd);
        }
    }

    #[test]
    fn plain_text_has_the_same_rules(model in scalar(), dice in any::<[u8; 8]>()) {
        let parameters = read(&model.toml());
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let good = model.good(&mut Dice(dice.into()));
        prop_assert_eq!(faults_of(&parameters, Validation::Documented, &plain(&good)), []);
        // A JSON value of the wrong type may be a valid text: 7 is a text.
        for (bad, _) in model.broken(&good).into_iter().filter(|(bad, _)| bad.is_string()) {
            let faults = faults_of(&parameters, Validation::Documented, &plain(&bad));
            prop_assert_eq!(pointers(&faults), [""], "{}: {}", model.toml(), bad);
        }
    }

    #[test]
    fn never_panics_and_points_into_the_value(model in model(), value in any_json()) {
        let parameters = model.as_json();
        for validation in [Validation::Documented, Validation::Strict] {
            for fault in faults_of(&parameters, validation, &value.to_string()) {
                // A missing value does not exist, but its parent does.
                let around = fault.pointer.rsplit_once('/').map_or("", |(around, _)| around);
                prop_assert!(value.pointer(around).is_some(), "{:?} in {}", fault, value);
                prop_assert!(!fault.detail.contains(char::is_control), "{:?}", fault);
            }
        }
    }
}
