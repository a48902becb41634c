//! Values that the kind of their key describes completely: durations, sizes, integers, booleans and words.

use std::{num::NonZeroU32, time::Duration};

use super::{ScopeCheck, UnknownRoute, WhenEmpty, keys::Kind, quantity, source::Value};
use crate::{
    listener::ClientAuth,
    redis::Failover,
    telemetry::LogFormat,
    zoho::{
        catalogue::{Pace, Validation},
        data_center::DataCenter,
    },
};

/// A value that can be read by its key's kind alone.
pub(super) trait Scalar: Sized {
    /// `None`: the value has another type. In the environment everything is text.
    fn read(kind: &Kind, value: &Value, from_environment: bool) -> Option<Result<Self, String>>;
}

impl Scalar for Duration {
    fn read(kind: &Kind, value: &Value, _: bool) -> Option<Result<Self, String>> {
        match (kind, value) {
            (Kind::Duration(range), Value::Text(text)) => Some(quantity::duration(text.expose(), range)),
            _ => None,
        }
    }
}

impl Scalar for bool {
    fn read(kind: &Kind, value: &Value, from_environment: bool) -> Option<Result<Self, String>> {
        match value {
            Value::Boolean(boolean) => Some(Ok(*boolean)),
            Value::Text(text) if from_environment => Some(text.expose().parse().map_err(|_| wrong(kind))),
            _ => None,
        }
    }
}

impl Scalar for u64 {
    fn read(kind: &Kind, value: &Value, from_environment: bool) -> Option<Result<Self, String>> {
        let integer = match (kind, value) {
            (Kind::Size(range), Value::Text(text)) => return Some(quantity::size(text.expose(), range)),
            (_, Value::Integer(integer)) => Some(*integer),
            (_, Value::Text(text)) if from_environment => text.expose().parse().ok(),
            _ => return None,
        };
        let fits = |integer: &u32| matches!(kind, Kind::Integer(range) if range.contains(integer));
        let integer = integer.and_then(|integer: i128| u32::try_from(integer).ok()).filter(fits);
        Some(integer.map(u64::from).ok_or_else(|| wrong(kind)))
    }
}

/// Smaller numbers, of keys whose range fits.
macro_rules! numbers {
    ($($number:ty: $from:expr;)+) => {$(
        impl Scalar for $number {
            fn read(kind: &Kind, value: &Value, from_environment: bool) -> Option<Result<Self, String>> {
                let read = u64::read(kind, value, from_environment)?;
                Some(read.and_then(|number| $from(number).ok_or_else(|| wrong(kind))))
            }
        }
    )+};
}

numbers! {
    u32: |number| u32::try_from(number).ok();
    usize: |number| usize::try_from(number).ok();
    NonZeroU32: |number| u32::try_from(number).ok().and_then(NonZeroU32::new);
}

impl<T: Word> Scalar for T {
    fn read(kind: &Kind, value: &Value, _: bool) -> Option<Result<Self, String>> {
        let Value::Text(text) = value else { return None };
        let found = T::words().into_iter().find(|(word, _)| *word == text.expose());
        Some(found.map(|(_, meaning)| meaning).ok_or_else(|| wrong(kind)))
    }
}

fn wrong(kind: &Kind) -> String {
    format!("expected {}", kind.expected())
}

/// A type whose values are words of the configuration.
pub(super) trait Word: Sized {
    /// Each word with its meaning.
    fn words() -> Vec<(&'static str, Self)>;

    /// The words alone.
    fn names() -> Vec<&'static str> {
        Self::words().into_iter().map(|(word, _)| word).collect()
    }
}

/// `throttle = "off"`.
pub(super) struct Off;

macro_rules! words {
    ($($meaning:ident: $words:expr;)+) => {$(
        impl Word for $meaning {
            fn words() -> Vec<(&'static str, Self)> {
                $words.into()
            }
        }
    )+};
}

words! {
    ClientAuth: [("required", Self::Required), ("optional", Self::Optional)];
    WhenEmpty: [("fresh", Self::Fresh), ("assume_lost", Self::AssumeLost)];
    Failover: [("none", Self::None), ("fenced", Self::Fenced)];
    LogFormat: [("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)];
    UnknownRoute: [("limit", Self::Limit), ("deny", Self::Deny)];
    ScopeCheck: [("check", Self::Check), ("off", Self::Off)];
    DataCenter: Self::ALL.map(|center| (center.as_str(), center));
    Pace: [("fair", Self::Fair), ("burst", Self::Burst), ("smooth", Self::Smooth)];
    Validation: Self::ALL;
    Off: [("off", Self)];
}
