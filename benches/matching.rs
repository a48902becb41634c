//! The cost of finding a call's route: `cargo bench --bench matching`.
//!
//! The bench decodes and matches a path of each template in the catalogue, and compares that with the router crate
//! alone on the same paths. It prints the time per call in the best of several rounds. Results of a run are in
//! `docs/benchmarks.md`.

#![expect(clippy::print_stdout, reason = "its table is its result")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use http::Method;
use zoho_gateway::{
    middleware::route::{Matcher, Path},
    zoho::{
        catalogue::{Catalogue, Route},
        product::Product,
    },
};

const ROUNDS: usize = 50;
const TIMES: usize = 100;

fn main() {
    let before = resident();
    let parsing = Instant::now();
    let catalogue = Catalogue::published().expect("the catalogue");
    let parsed = parsing.elapsed();
    let taken = resident().saturating_sub(before);
    let arranging = Instant::now();
    let matcher = Matcher::new(&catalogue).expect("nothing ambiguous");
    let arranged = arranging.elapsed();
    println!(
        "parsing {} routes {parsed:.1?}, {taken} KiB resident, arranging them {arranged:.1?}",
        catalogue.routes.len()
    );

    let calls: Vec<(Product, Method, String)> = catalogue.routes.iter().flat_map(calls).collect();
    let ours = best(&calls, |(product, method, path)| {
        let path = Path::parse(path).expect("a path");
        matcher.known(*product, method, &path).is_some()
    });
    let decoded: Vec<(Product, Method, Path)> = calls
        .iter()
        .map(|(product, method, path)| (*product, method.clone(), Path::parse(path).expect("a path")))
        .collect();
    let matching = best(&decoded, |(product, method, path)| matcher.known(*product, method, path).is_some());

    let mut peer = matchit::Router::new();
    for (number, template) in catalogue.routes.iter().flat_map(Route::templates).enumerate() {
        // Templates of routes that differ only in their method are inserted once.
        let _ = peer.insert(template, number);
    }
    let alone = best(&calls, |(_, _, path)| peer.at(path).is_ok());
    println!("path decoded and matched {ours:>6.0?} ns");
    println!("matched                  {matching:>6.0?} ns");
    println!("matchit alone            {alone:>6.0?} ns");
}

/// The resident memory of this process without its files, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// One call for each template of a route.
fn calls(route: &Route) -> impl Iterator<Item = (Product, Method, String)> {
    let method = route.methods.first().cloned().unwrap_or(Method::GET);
    let path = |template: &str| {
        let segment =
            |segment: &str| if segment.starts_with('{') { "588882000000289003".into() } else { segment.into() };
        template.split('/').map(segment).collect::<Vec<String>>().join("/")
    };
    route.templates().map(move |template| (route.product, method.clone(), path(template)))
}

/// Nanoseconds per call in the best round.
fn best<T>(calls: &[T], find: impl Fn(&T) -> bool) -> f64 {
    let round = || {
        let begun = Instant::now();
        for _ in 0..TIMES {
            for call in calls {
                assert!(find(black_box(call)));
            }
        }
        begun.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX);
    best.as_secs_f64() * 1e9 / (TIMES * calls.len()) as f64
}
