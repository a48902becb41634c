//! docs/catalogue.md, which this test writes from the catalogue: `UPDATE_PAGES=1 cargo test --lib catalogue_page`.

use std::{env, fmt::Write, fs};

use super::{limit, methods};
use crate::zoho::{
    catalogue::{Catalogue, Parameter, Required, Route},
    data_center::DataCenter,
    product::Product,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/catalogue.md");

const HEADER: &str = "\
# Catalogue

Every call that the gateway knows, with what Zoho's page states about it. A test writes this page from `config/catalogue/`; `zoho-gateway routes` shows the same with your configuration.

- **Limit**: what may arrive in any window, and how long Zoho refuses the call after one too many. Where there are several, all hold at once.
- **Trust** says where the facts come from, and when that was read. `page` is Zoho's own page, `transcribed` a public transcription of it; `assumed` means that no page states it, and that this is the safe assumption.
- **Scopes**: any one of them is enough.
- **Parameters** are those that the gateway [checks](rules.md); bold ones are required. A dash means that nobody has read the page for parameters, so nothing is checked.
- **Not checked** is what the page demands and no rule can express; {unchecked} demands in all.
- `{name}` in a path stands for one segment. People also answers under `/people/api`, which is the same call.
";

#[test]
fn the_page_has_every_call() {
    let page = page(&Catalogue::published().unwrap());
    if env::var_os("UPDATE_PAGES").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    assert!(fs::read_to_string(PAGE).unwrap() == page, "run this test with UPDATE_PAGES=1");
}

fn page(catalogue: &Catalogue) -> String {
    let unchecked: usize = catalogue.iter().map(|route| route.unchecked.len()).sum();
    let mut page = HEADER.replace("{unchecked}", &unchecked.to_string());
    for product in Product::ALL {
        writeln!(page, "\n## {}", product.host(DataCenter::Us)).unwrap();
        let routes: Vec<_> = catalogue.iter().filter(|route| route.product == product).collect();
        for routes in routes.chunk_by(|one, other| section(one) == section(other)) {
            writeln!(page, "\n### {}\n", section(routes[0])).unwrap();
            page.push_str("| call | method | path | limit | trust | scopes | parameters |\n");
            page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
            routes.iter().for_each(|route| row(route, &mut page));
        }
    }
    page
}

/// `people.lms` of `people.lms.share-course`.
fn section(route: &Route) -> &str {
    let id = route.id.as_str();
    id.rsplit_once('.').map_or(id, |(section, _)| section)
}

fn row(route: &Route, page: &mut String) {
    let paths: Vec<_> = route.templates().map(|path| format!("`{path}`")).collect();
    let paths = if paths.is_empty() { "any other".to_owned() } else { paths.join(" or ") };
    let scopes: Vec<_> = route.scopes.iter().map(|scope| format!("`{scope}`")).collect();
    let read = route.read.map(|date| format!(", {date}")).unwrap_or_default();
    let note = route.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    writeln!(
        page,
        "| [`{}`]({}) | {} | {paths} | {} | {}{read}{note} | {} | {} |",
        route.id,
        route.source,
        methods(route),
        limit(route),
        route.trust.as_str(),
        scopes.join(", "),
        parameters(route),
    )
    .unwrap();
}

fn parameters(route: &Route) -> String {
    let name = |parameter: &Parameter| match parameter.terms.required {
        Required::Always => format!("**`{}`**", parameter.name),
        Required::Never | Required::When(_) | Required::Unless(_) => format!("`{}`", parameter.name),
    };
    match route.parameters.are_documented() {
        false => "-".to_owned(),
        true if route.parameters.is_empty() => "none".to_owned(),
        true => route.parameters.iter().map(name).collect::<Vec<_>>().join(", ") + &unchecked(route),
    }
}

fn unchecked(route: &Route) -> String {
    match route.unchecked.as_slice() {
        [] => String::new(),
        demands => format!("; not checked: {}", demands.join("; ")),
    }
}
