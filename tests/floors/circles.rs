//! Files of a crate do not import each other in a circle.
//!
//! A file that uses what its own folder's `mod.rs` says is inside of it, and makes no circle with it. Everything else counts,
//! so a file that two others both need is a third one below them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::imports;
use crate::{FLOORS, sources};

/// What each module of a crate imports of the same crate.
type Graph = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

#[test]
fn the_files_of_a_crate_import_each_other_in_no_circle() {
    let source_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut circles = Vec::new();
    for (name, _) in FLOORS {
        let root = source_root.join(name);
        let files = sources(&root).into_iter().map(|file| {
            let module = module_of(file.strip_prefix(&root).unwrap());
            (module, fs::read_to_string(&file).unwrap())
        });
        let found = circles_of(&graph(&files.collect()));
        circles.extend(found.into_iter().map(|circle| format!("src/{name}: {}", circle.join(" -> "))));
    }
    assert!(circles.is_empty(), "what both need is a file of its own below them:\n{}", circles.join("\n"));
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<_> = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

fn graph(files: &BTreeMap<Vec<String>, String>) -> Graph {
    let is_test = |module: &[String]| module.iter().any(|part| part == "tests");
    let of = |(module, source): (&Vec<String>, &String)| {
        let used = imports(source).into_iter().filter_map(|import| {
            let mut path = absolute(module, &import.path)?;
            while !files.contains_key(&path) {
                path.pop()?;
            }
            (!path.is_empty() && !module.starts_with(&path)).then_some(path)
        });
        (module.clone(), used.collect())
    };
    files.iter().filter(|(module, _)| !is_test(module)).map(of).collect()
}

/// A path of the same crate, from its root.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let rest = path.get(supers.max(1)..)?;
    match path.first()?.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => Some([module.get(..module.len().checked_sub(supers)?)?, rest].concat()),
        _ => None,
    }
}

/// Of each set of modules that lead to each other, the shortest way around from its first.
fn circles_of(graph: &Graph) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for start in graph.keys() {
        if seen.contains(start) {
            continue;
        }
        if let Some(way) = way_back(graph, start) {
            seen.extend(way.iter().cloned());
            circles.push(way.iter().map(|module| module.join("::")).collect());
        }
    }
    circles
}

/// The shortest way from a module to itself.
fn way_back(graph: &Graph, start: &Vec<String>) -> Option<Vec<Vec<String>>> {
    let mut ways = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in graph.get(way.last()?).into_iter().flatten() {
                let further = [way.clone(), vec![next.clone()]].concat();
                if next == start {
                    return Some(further);
                }
                if seen.insert(next.clone()) {
                    longer.push(further);
                }
            }
        }
        ways = longer;
    }
    None
}

#[test]
fn a_circle_is_found_and_a_folder_makes_none() {
    let files = |files: &[(&str, &str)]| {
        files.iter().map(|(name, source)| (module_of(Path::new(name)), (*source).to_owned())).collect()
    };
    let circle = files(&[
        ("a.rs", "use crate::b::c::C;"),
        ("b/mod.rs", "pub mod c; use c::C;"),
        ("b/c.rs", "use super::d; use super::B;"),
        ("b/d.rs", "fn f() { crate::a::g() } #[cfg(test)] mod tests { use crate::b::c; }"),
    ]);
    assert_eq!(circles_of(&graph(&circle)), [["a", "b::c", "b::d", "a"]]);
    let none = files(&[
        ("a.rs", "use crate::b::c::C;"),
        ("b/mod.rs", "pub mod c; use self::c::C;"),
        ("b/c.rs", "use super::B; #[cfg(test)] mod tests { use crate::a; }"),
    ]);
    assert!(circles_of(&graph(&none)).is_empty());
}
