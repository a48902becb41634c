//! "Did you mean ...?": the names closest to a misspelt one.

use super::environment::flattened;

/// How many edits make a typo.
pub(super) const TYPO: usize = 2;

/// In bytes, longer than any name. A comparison with longer texts would take long.
const LONGEST: usize = 200;

/// The end of a message: the candidates closest to a misspelt name, in either spelling; empty if none is close.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    if name.len() > LONGEST {
        return String::new();
    }
    let name = flattened(name);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let flat: Vec<String> = candidates.iter().map(|candidate| flattened(candidate)).collect();
    // A long name may have more typos.
    let near = nearest(&name, flat.iter().map(String::as_str), TYPO.max(name.len() / 4));
    // Among hundreds of names there is always a second best, so only equally good guesses are shown.
    let best = near.first().map(|first| distance(&name, first));
    let near = near.into_iter().filter(|guess| Some(distance(&name, guess)) == best);
    let original = |near: &str| flat.iter().position(|flat| flat == near).map(|at| candidates[at]);
    match near.filter_map(original).take(3).collect::<Vec<_>>() {
        near if near.is_empty() => String::new(),
        near => format!("; did you mean {}?", near.join(" or ")),
    }
}

/// The candidates within `reach` edits of `name`, the closest first.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, reach: usize) -> Vec<&'a str> {
    if name.len() > LONGEST {
        return Vec::new();
    }
    let measured = candidates.into_iter().map(|candidate| (distance(name, candidate), candidate));
    let mut near: Vec<(usize, &str)> = measured.filter(|(edits, _)| *edits <= reach).collect();
    near.sort();
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// How many characters must be inserted, deleted or replaced to turn one name into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // costs[n]: from the part of `from` seen so far to the first n characters of `to`.
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, c) in from.chars().enumerate() {
        let mut diagonal = costs[0];
        costs[0] = row + 1;
        for (column, d) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = costs[column + 1];
            costs[column + 1] = replaced.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (from, to, edits) in
            [("", "", 0), ("", "abc", 3), ("listen", "listen", 0), ("lsten", "listen", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
    }

    #[test]
    fn names_the_closest_first() {
        assert_eq!(nearest("draim", ["listen", "drain", "train"], 2), ["drain", "train"]);
        assert!(nearest("tls", ["listen", "drain"], 2).is_empty());
    }
}
