//! Which rows a backend has in a run: its variants, the guests of each, and in a matrix the engines.

use super::Filter;
use isobench_core::run::Plan;
use isobench_core::{Description, EngineInfo, Guest, VariantInfo};

/// A variant with a guest, and the engine where that is not the guest's usual one.
type Row<'a> = (&'a VariantInfo, Guest, Option<String>);

/// The engines that backends bring.
pub fn engines<'a>(descriptions: impl IntoIterator<Item = &'a Description>) -> Vec<EngineInfo> {
    descriptions.into_iter().flat_map(|d| d.engines.iter().cloned()).collect()
}

/// The rows of a backend. `engines` are those of all backends.
pub(super) fn rows<'a>(
    description: &'a Description,
    engines: &[EngineInfo],
    filter: &Filter,
    plan: &Plan,
) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for variant in description.variants.iter().filter(|variant| takes(description, variant, filter, plan)) {
        for &guest in &variant.guests {
            rows.push((variant, guest, None));
            if plan.matrix && !description.in_process {
                let fit = |e: &&EngineInfo| e.guests.contains(&guest) && guest.usual_engine() != Some(&e.name);
                rows.extend(engines.iter().filter(fit).map(|e| (variant, guest, Some(e.name.clone()))));
            }
        }
    }
    rows
}

/// Whether a run takes a variant. A matrix takes what is a boundary and what is an engine bare; a quick run what tells
/// most, or what is asked for by the name of its backend or its own; any other run all.
fn takes(description: &Description, variant: &VariantInfo, filter: &Filter, plan: &Plan) -> bool {
    if plan.matrix {
        return variant.matrix || description.engines.iter().any(|e| e.variant == variant.name);
    }
    variant.quick || !plan.quick || filter.names(&description.backend) || filter.names_variant(&variant.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_core::Model;

    fn backend(
        name: &str,
        in_process: bool,
        variants: &[(&str, &[Guest])],
        engines: &[(&str, &[Guest])],
    ) -> Description {
        let variant = |(name, guests): &(&str, &[Guest])| VariantInfo {
            name: (*name).into(),
            guests: guests.to_vec(),
            prepared: String::new(),
            shared: String::new(),
            quick: *name == "usual",
            matrix: !in_process && *name == "usual",
            ..VariantInfo::default()
        };
        let engine = |(name, guests): &(&str, &[Guest])| EngineInfo {
            name: (*name).into(),
            guests: guests.to_vec(),
            variant: "usual".into(),
        };
        Description {
            backend: name.into(),
            model: Model::Null,
            variants: variants.iter().map(variant).collect(),
            in_process,
            hidden: false,
            footprint_instances: 1,
            engines: engines.iter().map(engine).collect(),
        }
    }

    fn named(description: &Description, engines: &[EngineInfo], filter: &Filter, plan: &Plan) -> Vec<String> {
        let name = |(variant, guest, engine): Row| {
            format!("{}/{guest}{}", variant.name, engine.map_or_else(String::new, |e| format!("+{e}")))
        };
        rows(description, engines, filter, plan).into_iter().map(name).collect()
    }

    #[test]
    fn a_matrix_has_every_engine_behind_every_boundary_and_bare() {
        let v8 = backend("v8", true, &[("usual", &[Guest::Js]), ("rung", &[Guest::Js])], &[("v8", &[Guest::Js])]);
        let quickjs = backend("quickjs", true, &[("usual", &[Guest::Js])], &[("quickjs", &[Guest::Js])]);
        let process = backend("process", false, &[("usual", &Guest::ALL), ("rung", &[Guest::Native])], &[]);
        let engines = engines([&v8, &quickjs, &process]);
        let (filter, matrix) = (Filter::default(), Plan { matrix: true, ..Plan::default() });
        assert_eq!(named(&v8, &engines, &filter, &matrix), ["usual/js"]);
        assert_eq!(named(&quickjs, &engines, &filter, &matrix), ["usual/js"]);
        let boundary = ["usual/native", "usual/wasm", "usual/js", "usual/js+quickjs"];
        assert_eq!(named(&process, &engines, &filter, &matrix), boundary);
    }

    #[test]
    fn a_quick_run_has_the_telling_rungs_or_all_of_a_backend_that_is_named() {
        let v8 = backend("v8", true, &[("usual", &[Guest::Js]), ("rung", &[Guest::Js])], &[("v8", &[Guest::Js])]);
        let quick = Plan { quick: true, ..Plan::default() };
        assert_eq!(named(&v8, &[], &Filter::default(), &quick), ["usual/js"]);
        let only = Filter { only: vec!["v8/".parse().unwrap()], ..Filter::default() };
        assert_eq!(named(&v8, &[], &only, &quick), ["usual/js", "rung/js"]);
        assert_eq!(named(&v8, &[], &Filter::default(), &Plan::default()), ["usual/js", "rung/js"]);
    }
}
