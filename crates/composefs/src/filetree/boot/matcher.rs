//! Finding the last specification that matches a path.
//!
//! Most specifications are a path, or a path and all below it: those are looked up. The others are sorted by
//! the directory that all their matches are in, and those of a directory are run together, so that a path
//! meets only the few sets of the directories above it.

use std::{collections::HashMap, mem};

use regex_automata::{
    Input, MatchKind, PatternSet,
    meta::{self, Cache, Regex},
    nfa::thompson::WhichCaptures,
};

use super::{
    BootError, BootLimits, SpecFault,
    pattern::{self, Shape},
    spec::Spec,
    subs::Substitutions,
};

/// Expressions that are run together.
const SET: usize = 32;

/// Scratch memory of all searches together, before it is dropped and begun anew.
const SCRATCH_BYTES: usize = 64 << 20;

/// Searches between two measurements of the scratch memory.
const MEASURE_EVERY: u32 = 4096;

/// A policy.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) matcher: Matcher,
    pub(super) substitutions: Substitutions,
}

/// A specification that needs no expression: its place in the order, and the letter of the only file type meant.
#[derive(Clone, Copy, Debug)]
struct Rule {
    order: u32,
    kind: Option<u8>,
}

#[derive(Debug)]
struct Set {
    regex: Regex,
    /// The place in the order of each expression, rising.
    orders: Vec<u32>,
    cache: Option<Cache>,
}

/// The specifications of a policy.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    literals: HashMap<Box<[u8]>, Vec<Rule>>,
    subtrees: HashMap<Box<[u8]>, Vec<Rule>>,
    regexes: HashMap<Box<[u8]>, Vec<Set>>,
    /// The label of each specification; `None` for none.
    results: Vec<Option<u32>>,
    labels: Vec<Box<[u8]>>,
    patterns: Option<PatternSet>,
    subject: Vec<u8>,
    searches: u32,
}

fn last(rules: Option<&Vec<Rule>>, kind: u8) -> Option<u32> {
    let fits = |rule: &&Rule| rule.kind.is_none_or(|only| only == kind);
    rules?.iter().rev().find(fits).map(|rule| rule.order)
}

impl Matcher {
    /// Finds the label of a path of a file whose type has the letter `kind`.
    pub(super) fn find(&mut self, path: &[u8], kind: u8) -> Option<u32> {
        let mut best = last(self.literals.get(path), kind).max(last(self.subtrees.get(path), kind));
        let mut subject = mem::take(&mut self.subject);
        subject.clear();
        subject.extend_from_slice(path);
        subject.push(kind);
        best = best.max(self.search(&[], &subject, best));
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let (above, below) = path.split_at(at);
            best = best.max(last(self.subtrees.get(above), kind));
            let with_slash = path.len().saturating_sub(below.len()).saturating_add(1);
            if let Some(directory) = path.get(..with_slash) {
                best = best.max(self.search(directory, &subject, best));
            }
        }
        self.subject = subject;
        self.tidy();
        self.results.get(usize::try_from(best?).ok()?).copied().flatten()
    }

    /// Returns the text of a label.
    pub(super) fn label(&self, label: u32) -> Option<&[u8]> {
        self.labels.get(usize::try_from(label).ok()?).map(|label| &**label)
    }

    /// Finds the last match among the expressions of a directory, if it comes after `best`.
    fn search(&mut self, directory: &[u8], subject: &[u8], best: Option<u32>) -> Option<u32> {
        let sets = self.regexes.get_mut(directory)?;
        let patterns = self.patterns.get_or_insert_with(|| PatternSet::new(SET));
        for set in sets.iter_mut().rev() {
            if set.orders.last().copied() <= best {
                break;
            }
            patterns.clear();
            let Set { regex, orders, cache } = set;
            let cache = cache.get_or_insert_with(|| regex.create_cache());
            regex.which_overlapping_matches_with(cache, &Input::new(subject), patterns);
            self.searches = self.searches.saturating_add(1);
            if let Some(order) = patterns.iter().filter_map(|id| orders.get(id.as_usize())).max() {
                return Some(*order);
            }
        }
        None
    }

    fn tidy(&mut self) {
        if self.searches < MEASURE_EVERY {
            return;
        }
        self.searches = 0;
        let sets = || self.regexes.values().flatten();
        let used = sets().filter_map(|set| set.cache.as_ref()).map(Cache::memory_usage);
        if used.fold(0, usize::saturating_add) > SCRATCH_BYTES {
            for set in self.regexes.values_mut().flatten() {
                set.cache = None;
            }
        }
    }
}

/// Collects specifications in their order.
pub(super) struct Builder<'l> {
    limits: &'l BootLimits,
    matcher: Matcher,
    numbers: HashMap<Box<[u8]>, u32>,
    /// The expressions by directory.
    regexes: HashMap<Box<[u8]>, Vec<(u32, String)>>,
    /// Bytes of all these expressions; those beyond the limit are counted and not kept.
    regex_bytes: usize,
}

impl<'l> Builder<'l> {
    pub(super) fn new(limits: &'l BootLimits) -> Self {
        Self {
            limits,
            matcher: Matcher::default(),
            numbers: HashMap::new(),
            regexes: HashMap::new(),
            regex_bytes: 0,
        }
    }

    /// Adds a specification, which comes after all before it; `false` if there are too many.
    pub(super) fn add(&mut self, spec: Spec<'_>) -> Result<bool, SpecFault> {
        let Spec { regex, kind, label } = spec;
        let order = self.matcher.results.len();
        let Some(order) = u32::try_from(order).ok().filter(|_| order < self.limits.specs) else {
            return Ok(false);
        };
        match pattern::shape(regex) {
            Shape::Literal(path) => {
                self.matcher.literals.entry(path.into()).or_default().push(Rule { order, kind });
            }
            Shape::Subtree(path) => {
                self.matcher.subtrees.entry(path.into()).or_default().push(Rule { order, kind });
            }
            Shape::Regex(directory) => {
                let whole = pattern::whole(regex, kind)?;
                self.regex_bytes = self.regex_bytes.saturating_add(whole.len());
                if self.regex_bytes <= self.limits.compiled_bytes {
                    self.regexes.entry(directory.into()).or_default().push((order, whole));
                }
            }
        }
        let labels = &mut self.matcher.labels;
        let number = label.map(|label| {
            *self.numbers.entry(label.as_bytes().into()).or_insert_with(|| {
                labels.push(label.as_bytes().into());
                u32::try_from(labels.len().saturating_sub(1)).unwrap_or(u32::MAX)
            })
        });
        self.matcher.results.push(number);
        Ok(true)
    }

    /// Compiles all expressions.
    pub(super) fn build(self, substitutions: Substitutions) -> Result<Labels, BootError> {
        let limit = self.limits.compiled_bytes;
        let too_complex = || BootError::TooComplex(limit);
        if self.regex_bytes > limit {
            return Err(too_complex());
        }
        let mut matcher = self.matcher;
        let mut left = limit;
        for (directory, rules) in self.regexes {
            let mut sets = Vec::new();
            for rules in rules.chunks(SET) {
                let patterns: Vec<&str> = rules.iter().map(|(_, whole)| whole.as_str()).collect();
                let config = meta::Config::new()
                    .match_kind(MatchKind::All)
                    .which_captures(WhichCaptures::None)
                    .utf8_empty(false)
                    .nfa_size_limit(Some(left))
                    .hybrid_cache_capacity(1 << 20);
                let regex = Regex::builder()
                    .configure(config)
                    .syntax(pattern::dialect())
                    .build_many(&patterns)
                    .map_err(|_| too_complex())?;
                left = left.checked_sub(regex.memory_usage()).ok_or_else(too_complex)?;
                let orders = rules.iter().map(|(order, _)| *order).collect();
                sets.push(Set { regex, orders, cache: None });
            }
            matcher.regexes.insert(directory, sets);
        }
        Ok(Labels { matcher, substitutions })
    }
}
