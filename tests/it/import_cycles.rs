//! No two files of `src/` import each other, not even through other files: a reader can start with the files that import
//! nothing.
//!
//! Imports of a file's own parents and children do not count. An import of a re-exported item counts as an import of the
//! file that defines it. Modules behind a `cfg` (tests, the model, fuzz targets) are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::architecture::{code, source};

/// The modules by their paths, such as `["ledger", "store"]`.
type Modules = BTreeMap<Vec<String>, Imports>;

/// What a module imports.
#[derive(Default)]
struct Imports {
    /// The paths in `use` and those that begin with `crate` or `super` anywhere else.
    paths: Vec<Vec<String>>,
    /// The paths of re-exported items, by the items' names.
    reexports: BTreeMap<String, Vec<String>>,
}

#[test]
fn no_two_files_import_each_other() {
    let mut modules = Modules::new();
    read(&source().join("lib.rs"), &[], &mut modules);
    assert!(modules.len() > 200, "only {} modules were found", modules.len());
    let cycles = cycles(&modules);
    assert!(cycles.is_empty(), "\n{}", cycles.join("\n"));
}

#[test]
fn an_import_cycle_through_a_reexport_is_found() {
    let sources = [
        ("one", "use crate::two::{self, Two as Second};"),
        ("two", "pub(crate) use self::inner::{Two, other::Other};\nuse crate::one;\nuse super::three::Three;"),
        ("two::inner", "fn two() { crate::three::three() }"),
        ("three", "//"),
        ("three::child", "use super::super::one;\nuse super::Three;"),
    ];
    let path = |module: &str| module.split("::").map(str::to_owned).collect();
    let mut modules: Modules = sources.map(|(module, code)| (path(module), Imports::of(code))).into();
    assert_eq!(cycles(&modules), ["one -> two", "two -> one"]);
    modules.insert(path("three"), Imports::of("use crate::two::Two;"));
    assert_eq!(cycles(&modules), ["one -> two", "three -> two::inner", "two -> one", "two::inner -> three"]);
}

/// Reads a module and those that it declares.
fn read(file: &Path, module: &[String], modules: &mut Modules) {
    let code = code(file);
    let is_folder = file.ends_with("lib.rs") || file.ends_with("mod.rs");
    let folder = if is_folder { file.parent().expect("a folder").to_owned() } else { file.with_extension("") };
    let mut has_cfg = false;
    for line in code.lines() {
        let (_, declaration) = visibility(line);
        if let Some(name) = declaration.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
            && !has_cfg
        {
            let file = folder.join(format!("{name}.rs"));
            let file = if file.exists() { file } else { folder.join(name).join("mod.rs") };
            read(&file, &[module, &[name.to_owned()]].concat(), modules);
        }
        has_cfg = line.trim_start().starts_with("#[cfg(");
    }
    modules.insert(module.to_owned(), Imports::of(&code));
}

impl Imports {
    fn of(code: &str) -> Self {
        let mut imports = Self::default();
        for statement in code.split(';') {
            let (mut other, mut at) = (statement, 0);
            for line in statement.split_inclusive('\n') {
                let (is_public, item) = visibility(line);
                if let Some(rest) = item.strip_prefix("use ") {
                    imports.add_tree(&statement[at + line.len() - rest.len()..], "", is_public);
                    other = &statement[..at];
                    break;
                }
                at += line.len();
            }
            for (at, _) in other.match_indices("crate::").chain(other.match_indices("super::")) {
                let is_start = !other[..at].ends_with(|before: char| is_name(before) || before == ':');
                let path = other[at..].split(|c: char| !is_name(c) && c != ':').next().unwrap_or_default();
                if is_start {
                    imports.paths.push(segments(path));
                }
            }
        }
        imports
    }

    /// Adds the paths in the tree of a `use`.
    fn add_tree(&mut self, tree: &str, before: &str, is_public: bool) {
        if let Some((base, list)) = tree.split_once('{') {
            let before = format!("{before}{}", base.trim());
            let list = list.trim_end().strip_suffix('}').unwrap_or(list);
            let mut depth = 0;
            let is_end = |c: char| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                c == ',' && depth == 0
            };
            list.split(is_end)
                .filter(|item| !item.trim().is_empty())
                .for_each(|item| self.add_tree(item, &before, is_public));
            return;
        }
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path = segments(&format!("{before}{}", path.trim()));
        match (is_public, path.last()) {
            (true, Some(name)) => {
                let name = if alias.is_empty() { name } else { alias.trim() }.to_owned();
                self.reexports.insert(name, path);
            }
            _ => self.paths.push(path),
        }
    }
}

/// Each import that leads back to its file, as `file -> imported file`.
fn cycles(modules: &Modules) -> Vec<String> {
    let mut edges: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, imports) in modules {
        let defining = imports.paths.iter().filter_map(|path| resolve(&absolute(path, module, modules)?, modules));
        let others = defining.filter(|other| !other.starts_with(module) && !module.starts_with(other));
        edges.insert(module, others.collect());
    }
    let mut reached = BTreeMap::new();
    for module in edges.keys() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*module]);
        while let Some(module) = open.pop() {
            open.extend(edges[module].iter().filter(|next| seen.insert(**next)));
        }
        reached.insert(*module, seen);
    }
    let pairs = edges.iter().flat_map(|(from, imported)| imported.iter().map(move |to| (*from, *to)));
    pairs
        .filter(|(from, to)| reached[to].contains(from))
        .map(|(from, to)| [from.join("::"), to.join("::")].join(" -> "))
        .collect()
}

/// A path from the root of the crate; `None` for a path into another crate.
fn absolute(path: &[String], module: &[String], modules: &Modules) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        "crate" => (&[][..], &path[1..]),
        "super" => (&module[..module.len().checked_sub(supers)?], &path[supers..]),
        child => (modules.contains_key(&[module, &[child.to_owned()]].concat()).then_some(module)?, path),
    };
    Some([base, rest].concat())
}

/// The module that defines the item at a path.
fn resolve<'m>(path: &[String], modules: &'m Modules) -> Option<&'m [String]> {
    let (module, imports) = (0..=path.len()).rev().find_map(|length| modules.get_key_value(&path[..length]))?;
    let Some(reexport) = path.get(module.len()).and_then(|name| imports.reexports.get(name)) else {
        return Some(module);
    };
    match absolute(reexport, module, modules) {
        Some(defining) if defining != path => resolve(&[&defining, &path[module.len() + 1..]].concat(), modules),
        _ => Some(module),
    }
}

/// Whether a line is public, and the line without its visibility.
fn visibility(line: &str) -> (bool, &str) {
    let line = line.trim_start();
    match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => (true, rest.split_once(") ").map_or("", |(_, item)| item)),
        Some(rest) => (true, rest.trim_start()),
        None => (false, line),
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").filter(|segment| !segment.is_empty() && *segment != "self").map(str::to_owned).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
