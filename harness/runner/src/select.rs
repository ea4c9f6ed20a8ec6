//! Which cells are wanted: patterns over the names of cells, and what to say of a pattern that matches none.

mod suggest;

pub use suggest::NoMatch;

use isobench_core::Cell;
use std::fmt::{self, Display};
use std::str::FromStr;

/// The parts of a cell's name, as messages list them.
const PARTS: &str = "backend/variant/guest/workload/case";

/// Reads a part of a cell's name.
type PartOf = fn(&Cell) -> String;

/// A part of a pattern: a glob that matches one whole component of a cell's name, such as `v8` or `image-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component(glob::Pattern);

/// One or more components, which match as many neighbouring components of a cell's name, anywhere in it: `v8/`,
/// `process/spawn`, `*/echo/small`, `/echo/`. Slashes at both ends may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    components: Vec<Component>,
}

/// An invalid pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It has no component.
    #[error("an empty pattern: a pattern is one or more parts of a name {PARTS}, such as `v8/` or `*/echo/small`")]
    Empty,
    /// A component is an invalid glob.
    #[error("`{component}`: {message}; `*`, `?` and `[ab]` are special, `[*]` is an asterisk")]
    Glob {
        /// The component.
        component: String,
        /// What is wrong with it.
        message: &'static str,
    },
    /// A name has more than one component.
    #[error("`{0}` has a `/`: this option takes the name of one part; `--only` takes several")]
    Slash(String),
    /// It has more components than a name.
    #[error("`{0}` has more parts than the name of a cell, {PARTS}")]
    TooLong(String),
}

impl Component {
    /// Returns whether the whole of `word` matches.
    pub fn matches(&self, word: &str) -> bool {
        self.0.matches(word)
    }

    /// Returns whether this component says more than "any": `*` names nothing.
    fn names(&self, word: &str) -> bool {
        self.0.as_str().chars().any(|c| c != '*') && self.matches(word)
    }

    fn parse(component: &str) -> Result<Component, PatternError> {
        let invalid = |e: glob::PatternError| PatternError::Glob { component: component.into(), message: e.msg };
        glob::Pattern::new(component).map(Component).map_err(invalid)
    }
}

impl Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for Component {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Component, PatternError> {
        match text.trim_matches('/') {
            "" => Err(PatternError::Empty),
            inner if inner.contains('/') => Err(PatternError::Slash(text.into())),
            inner => Component::parse(inner),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let parts = text.split('/').filter(|part| !part.is_empty());
        let components: Vec<Component> = parts.map(Component::parse).collect::<Result<_, _>>()?;
        match components.len() {
            0 => Err(PatternError::Empty),
            1..=5 => Ok(Pattern { text: text.into(), components }),
            _ => Err(PatternError::TooLong(text.into())),
        }
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Returns whether the pattern matches neighbouring components of `name`.
    pub fn matches(&self, name: &str) -> bool {
        let words: Vec<&str> = name.split('/').collect();
        words.windows(self.components.len()).any(|window| self.components.iter().zip(window).all(|(c, w)| c.matches(w)))
    }
}

/// Which cells are wanted. The conditions combine by AND; the patterns of one condition by OR.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Keep cells whose name matches one of these; empty keeps all.
    pub only: Vec<Pattern>,
    /// Drop cells whose name matches one of these.
    pub skip: Vec<Pattern>,
    /// Keep cells of these backends; empty keeps all.
    pub backend: Vec<Component>,
    /// Keep cells of these guests, with or without an engine named; empty keeps all.
    pub guest: Vec<Component>,
    /// Keep cells of these workloads; empty keeps all.
    pub workload: Vec<Component>,
    /// Keep these cases; empty keeps all.
    pub case: Vec<Component>,
    /// Only the small case of each workload, and cases that are named.
    pub small_only: bool,
}

impl Filter {
    /// Returns whether `name` (`backend/variant/guest/workload/case`) is wanted.
    pub fn wants(&self, name: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|p| p.matches(name)))
            && !self.skip.iter().any(|p| p.matches(name))
            && self.wants_parts(name)
    }

    fn wants_parts(&self, name: &str) -> bool {
        let mut words = name.split('/');
        let (backend, _, guest) = (words.next(), words.next(), words.next());
        let (workload, case) = (words.next(), words.next());
        let taken = |wanted: &[Component], word: Option<&str>| {
            wanted.is_empty() || word.is_some_and(|word| wanted.iter().any(|c| c.matches(word)))
        };
        let bare = guest.map(|guest| guest.split('+').next().unwrap_or(guest));
        taken(&self.backend, backend)
            && (taken(&self.guest, guest) || taken(&self.guest, bare))
            && taken(&self.workload, workload)
            && taken(&self.case, case)
    }

    /// Returns whether a backend was asked for by its full name: a hidden one, or all variants in a quick run.
    pub fn names(&self, backend: &str) -> bool {
        let first = self.only.iter().map(|pattern| &pattern.components[0]);
        first.chain(&self.backend).any(|component| component.0.as_str() == backend)
    }

    /// Returns whether a variant was asked for by name.
    pub fn names_variant(&self, variant: &str) -> bool {
        self.part_of_only(variant)
    }

    /// Returns whether a workload was asked for by name.
    pub fn names_workload(&self, workload: &str) -> bool {
        self.part_of_only(workload) || self.workload.iter().any(|c| c.names(workload))
    }

    /// Returns whether a case was asked for by name.
    pub fn names_case(&self, case: &str) -> bool {
        self.part_of_only(case) || self.case.iter().any(|c| c.names(case))
    }

    fn part_of_only(&self, word: &str) -> bool {
        self.only.iter().flat_map(|pattern| &pattern.components).any(|component| component.names(word))
    }

    /// Returns the first pattern that matches none of `cells`, or the conditions if no cell meets all of them.
    ///
    /// # Errors
    /// [`NoMatch`], which names the pattern and, if there is one that is alike, a pattern that matches.
    pub fn check(&self, cells: &[Cell]) -> Result<(), NoMatch> {
        let names: Vec<String> = cells.iter().map(ToString::to_string).collect();
        for (option, patterns) in [("--only", &self.only), ("--skip", &self.skip)] {
            if let Some(pattern) = patterns.iter().find(|p| !names.iter().any(|name| p.matches(name))) {
                return Err(NoMatch::of(option, &pattern.text, pattern.suggestion(&names)));
            }
        }
        let parts: [(_, _, PartOf); 4] = [
            ("--backend", &self.backend, |cell| cell.backend.clone()),
            ("--guest", &self.guest, |cell| cell.guest.to_string()),
            ("--workload", &self.workload, |cell| cell.workload.clone()),
            ("--case", &self.case, |cell| cell.case.clone()),
        ];
        for (option, wanted, part) in parts {
            // Of a guest with an engine named, both names do.
            let engines = cells.iter().filter(|_| option == "--guest").map(Cell::guest_on_engine);
            let words: Vec<String> = cells.iter().map(part).chain(engines).collect();
            if let Some(component) = wanted.iter().find(|c| !words.iter().any(|word| c.matches(word))) {
                let nearest = suggest::nearest(component.0.as_str(), words.iter().map(String::as_str));
                return Err(NoMatch::of(option, component.0.as_str(), nearest.map(Into::into)));
            }
        }
        if names.iter().any(|name| self.wants(name)) { Ok(()) } else { Err(NoMatch::Together) }
    }

    /// Returns the first pattern of `only` that matches none of the cells that a run is to measure.
    ///
    /// # Errors
    /// [`NoMatch::Unplanned`], which names the pattern.
    pub fn check_planned(&self, cells: &[Cell]) -> Result<(), NoMatch> {
        let names: Vec<String> = cells.iter().map(ToString::to_string).collect();
        match self.only.iter().find(|p| !names.iter().any(|name| p.matches(name))) {
            Some(pattern) => Err(NoMatch::Unplanned(pattern.text.clone())),
            None if names.is_empty() => Err(NoMatch::Together),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_core::Guest;

    const NAMES: [&str; 9] = [
        "bare-http/spawn/native/echo/small",
        "http/mine/js/echo/small",
        "process/spawn/js/json/large",
        "process/spawn/wasm+v8/echo/small",
        "v8/fresh/js/echo/small",
        "v8/snapshot/js/echo/large",
        "wasmtime/pooling-no-cow/wasm/echo/small",
        "wasmtime/pooling-resident/wasm/echo/small",
        "wasmtime/pooling/wasm/echo/small",
    ];

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    fn cells() -> Vec<Cell> {
        let cell = |name: &&str| {
            let words: Vec<&str> = name.split('/').collect();
            let (guest, engine) = words[2].split_once('+').map_or((words[2], None), |(g, e)| (g, Some(e.into())));
            Cell {
                backend: words[0].into(),
                variant: words[1].into(),
                guest: Guest::ALL.into_iter().find(|g| g.to_string() == guest).unwrap(),
                engine,
                workload: words[3].into(),
                case: words[4].into(),
            }
        };
        NAMES.iter().map(cell).collect()
    }

    /// The numbers of the names that are wanted.
    fn wanted(filter: &Filter) -> Vec<usize> {
        (0..NAMES.len()).filter(|&i| filter.wants(NAMES[i])).collect()
    }

    #[test]
    fn a_pattern_matches_whole_components_anywhere() {
        let matched = |text: &str| wanted(&Filter { only: vec![pattern(text)], ..Filter::default() });
        assert_eq!(matched("http/"), [1]);
        assert_eq!(matched("http"), [1]);
        assert_eq!(matched("*http"), [0, 1]);
        assert_eq!(matched("wasmtime/pooling"), [8]);
        assert_eq!(matched("wasmtime/pooling*/"), [6, 7, 8]);
        assert_eq!(matched("v8/"), [4, 5]);
        assert_eq!(matched("v8/*/js"), [4, 5]);
        assert_eq!(matched("*/echo/small"), [0, 1, 3, 4, 6, 7, 8]);
        assert_eq!(matched("/json/"), [2]);
        assert_eq!(matched("wasm*/echo"), [3, 6, 7, 8]);
        assert_eq!(matched("v8/fresh/js/echo/small"), [4]);
        assert_eq!(matched("[vh]*/*/js/echo"), [1, 4, 5]);
        assert_eq!(matched("v8/js"), [0; 0]);
    }

    #[test]
    fn conditions_combine_by_and() {
        let component = |text: &str| vec![text.parse().unwrap()];
        let only = Filter { only: vec![pattern("v8/"), pattern("process/")], ..Filter::default() };
        assert_eq!(wanted(&only), [2, 3, 4, 5]);
        assert_eq!(wanted(&Filter { workload: component("echo"), ..only.clone() }), [3, 4, 5]);
        assert_eq!(wanted(&Filter { case: component("large"), guest: component("js"), ..only.clone() }), [2, 5]);
        assert_eq!(wanted(&Filter { skip: vec![pattern("process")], ..only.clone() }), [4, 5]);
        assert_eq!(wanted(&Filter { guest: component("wasm"), ..only.clone() }), [3], "with an engine named, too");
        assert_eq!(wanted(&Filter { guest: component("wasm+v8"), ..Filter::default() }), [3]);
        assert_eq!(wanted(&Filter { backend: component("*http"), ..Filter::default() }), [0, 1]);
    }

    #[test]
    fn a_pattern_without_a_match_is_an_error_even_beside_others() {
        let message = |only: &[&str]| {
            let filter = Filter { only: only.iter().map(|p| pattern(p)).collect(), ..Filter::default() };
            filter.check(&cells()).unwrap_err().to_string()
        };
        assert!(message(&["v8/", "wasmtme"]).contains("--only `wasmtme` matches no cell: did you mean `wasmtime`?"));
        assert!(message(&["v8/frehs/js"]).contains("did you mean `v8/fresh/js`?"));
        assert!(message(&["v8/js"]).contains("did you mean `v8/*/js`?"));
        assert!(message(&["v8,wasmtime"]).contains("once for each name"));
        assert!(message(&["zzzzz"]).contains("backend/variant/guest/workload/case"));
        let filter = Filter { guest: vec!["ntaive".parse().unwrap()], ..Filter::default() };
        assert!(
            filter
                .check(&cells())
                .unwrap_err()
                .to_string()
                .contains("--guest `ntaive` matches no cell: did you mean `native`?")
        );
        let filter = Filter { only: vec![pattern("v8/")], guest: vec!["native".parse().unwrap()], ..Filter::default() };
        assert_eq!(filter.check(&cells()), Err(NoMatch::Together));
        let filter = Filter { only: vec![pattern("v8/"), pattern("*/echo/small")], ..Filter::default() };
        assert_eq!(filter.check(&cells()), Ok(()));
    }

    #[test]
    fn a_word_is_named_unless_it_is_matched_by_a_star_alone() {
        let only = |text: &str| Filter { only: vec![pattern(text)], ..Filter::default() };
        assert!(only("v8/").names("v8") && only("v8/fresh/js").names("v8"));
        assert!(!only("*/echo").names("v8") && !only("v?/").names("v8") && !only("process/spawn/wasm+v8").names("v8"));
        assert!(only("/echo/").names_workload("echo") && only("/ec*/").names_workload("echo"));
        assert!(!only("v8/*/*/*").names_workload("echo"));
        assert!(only("*/echo/large").names_case("large") && only("snapshot").names_variant("snapshot"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!("//".parse::<Pattern>(), Err(PatternError::Empty));
        assert_eq!("a/b/c/d/e/f".parse::<Pattern>(), Err(PatternError::TooLong("a/b/c/d/e/f".into())));
        assert!(matches!("v8/[a".parse::<Pattern>(), Err(PatternError::Glob { component, .. }) if component == "[a"));
        assert_eq!("v8/fresh".parse::<Component>(), Err(PatternError::Slash("v8/fresh".into())));
        assert!("v8/".parse::<Component>().unwrap().matches("v8"));
    }
}
