//! What to say of a pattern that matches nothing: the nearest pattern that matches.

use super::{PARTS, Pattern};
use std::str::FromStr;

/// How alike two names must be, by Jaro's measure, for one to be suggested for the other. Clap's limit for its own.
const ALIKE: f64 = 0.7;

/// A pattern that matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMatch {
    /// One pattern.
    #[error("{option} `{pattern}` matches no cell: {help} (`isobench list --cells` has the names)")]
    Pattern {
        /// The option.
        option: &'static str,
        /// The pattern.
        pattern: String,
        /// What to write instead.
        help: String,
    },
    /// Each pattern matches a cell, and no cell is wanted by all conditions.
    #[error(
        "no cell meets all conditions: --only, --backend, --guest, --workload and --case combine by AND, and --skip \
         takes cells away; `isobench list --cells` has the names"
    )]
    Together,
    /// The pattern matches cells, all of which the other options leave out.
    #[error(
        "--only `{0}` matches only cells that the other options leave out: a quick run, a matrix and a run under load \
         take some of the variants and cases, and --skip, --backend, --guest, --workload and --case take cells away"
    )]
    Unplanned(String),
    /// A name that the command line gives for a workload.
    #[error("no workload `{name}`{help} (`isobench list` has the names)")]
    Workload {
        /// The name.
        name: String,
        /// What to write instead.
        help: String,
    },
}

impl NoMatch {
    pub(super) fn of(option: &'static str, pattern: &str, suggestion: Option<String>) -> NoMatch {
        NoMatch::Pattern { option, pattern: pattern.into(), help: help(pattern, suggestion) }
    }

    /// Returns the error of a workload that does not exist, with the name in `names` that is most like it.
    pub fn workload<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> NoMatch {
        let help = nearest(name, names).map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        NoMatch::Workload { name: name.into(), help }
    }
}

fn help(pattern: &str, suggestion: Option<String>) -> String {
    match suggestion {
        _ if pattern.contains(',') => "give the option once for each name, without a comma".into(),
        Some(suggestion) => format!("did you mean `{suggestion}`?"),
        None => format!("a cell's name is {PARTS}, and a pattern matches whole parts (`*` is a wildcard)"),
    }
}

impl Pattern {
    /// A pattern like this one that matches one of `names`: with the nearest name for each component that matches none,
    /// and with `*` for each component between two that are not neighbours.
    pub(super) fn suggestion(&self, names: &[String]) -> Option<String> {
        let words: Vec<&str> = names.iter().flat_map(|name| name.split('/')).collect();
        let corrected = self.components.iter().map(|component| {
            let known = words.iter().any(|word| component.matches(word));
            let glob = component.0.as_str();
            if known { Some(glob) } else { nearest(glob, words.iter().copied()) }
        });
        let corrected = Pattern::from_str(&corrected.collect::<Option<Vec<_>>>()?.join("/")).ok()?;
        if names.iter().any(|name| corrected.matches(name)) {
            return Some(corrected.text);
        }
        names.iter().find_map(|name| corrected.spread_over(name))
    }

    /// This pattern with `*` put between its components until it matches `name`; `None` if their order is another.
    fn spread_over(&self, name: &str) -> Option<String> {
        let mut wanted = self.components.iter();
        let mut next = wanted.next();
        let mut parts: Vec<String> = Vec::new();
        for word in name.split('/') {
            let Some(component) = next else { break };
            if component.matches(word) {
                parts.push(component.to_string());
                next = wanted.next();
            } else if !parts.is_empty() {
                parts.push("*".into());
            }
        }
        next.is_none().then(|| parts.join("/"))
    }
}

/// Returns the name that is most like `word`, if one is like it at all.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &'a str| (strsim::jaro(word, name), name);
    let alike = names.into_iter().map(likeness).filter(|(likeness, _)| *likeness > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))).map(|(_, name)| name)
}
