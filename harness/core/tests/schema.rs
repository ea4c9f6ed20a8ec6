//! The committed JSON Schemas are what the types give, and both say yes and no where the readers do.

mod lines;

use isobench_core::{Record, RunFile, schema};
use jsonschema::Validator;
use lines::lines;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn validator(schema: schemars::Schema) -> Validator {
    jsonschema::validator_for(schema.as_value()).expect("a valid schema")
}

/// Fails with what is wrong, and where.
fn valid(validator: &Validator, value: &Value) {
    let faults: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    let start: String = value.to_string().chars().take(300).collect();
    assert!(faults.is_empty(), "{start}\n{}", faults.join("\n"));
}

/// With `INSTA_UPDATE=always` the committed files are written anew, as the other snapshots are.
#[test]
fn the_committed_schemas_are_those_of_the_types() {
    for (name, schema) in [("run", schema::run()), ("sample", schema::sample())] {
        let path = root().join(format!("docs/schema/{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == text,
            "{} is not what the types give: INSTA_UPDATE=always cargo test -p isobench-core --test schema",
            path.display()
        );
    }
}

#[test]
fn the_reference_run_is_valid() {
    let run: Value =
        serde_json::from_str(&fs::read_to_string(root().join("results/reference/run.json")).unwrap()).unwrap();
    valid(&validator(schema::run()), &run);
    let samples = validator(schema::sample());
    for line in fs::read_to_string(root().join("results/reference/samples.jsonl")).unwrap().lines() {
        valid(&samples, &serde_json::from_str(line).unwrap());
    }
}

#[test]
fn every_kind_of_line_is_valid() {
    let samples = validator(schema::sample());
    for record in lines() {
        valid(&samples, &serde_json::to_value(record).unwrap());
    }
}

/// Every key of every line taken away or doubled under another name, every value replaced by one of another type:
/// the schema refuses wherever the reader does.
#[test]
fn what_the_reader_refuses_is_not_valid() {
    let samples = validator(schema::sample());
    let mut refused = 0;
    for record in lines() {
        let line = serde_json::to_value(record).unwrap();
        for key in line.as_object().unwrap().keys() {
            let mut without = line.clone();
            without.as_object_mut().unwrap().remove(key);
            let mut unknown = line.clone();
            unknown[format!("{key}_")] = line[key].clone();
            let mut other_type = line.clone();
            other_type[key] = json!({"of": "another type"});
            let mut negative = line.clone();
            negative[key] = json!(-1);
            for wrong in [without, unknown, other_type, negative] {
                let reads = serde_json::from_value::<Record>(wrong.clone()).is_ok();
                assert_eq!(samples.is_valid(&wrong), reads, "reader says {reads}: {wrong}");
                refused += usize::from(!reads);
            }
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn a_run_with_another_key_or_without_one_is_not_valid() {
    let runs = validator(schema::run());
    let text = fs::read_to_string(root().join("results/reference/run.json")).unwrap();
    let run: Value = serde_json::from_str(&text).unwrap();
    let reads = |value: &Value| serde_json::from_value::<RunFile>(value.clone()).is_ok();
    for pointer in ["", "/plan", "/machine", "/backends/0", "/backends/0/description", "/workloads/0", "/cells/0/cell"]
    {
        let mut wrong = run.clone();
        wrong.pointer_mut(pointer).unwrap()["surprise"] = json!(1);
        assert!(!runs.is_valid(&wrong) && !reads(&wrong), "{pointer}");
    }
    for (pointer, key) in [("", "plan"), ("/plan", "seed"), ("/cells/0", "id"), ("/backends/0/availability", "state")] {
        let mut wrong = run.clone();
        wrong.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
        assert!(!runs.is_valid(&wrong) && !reads(&wrong), "{pointer}/{key}");
    }
    let mut wrong = run;
    wrong["cells"][0]["cell"]["guest"] = json!("lua");
    assert!(!runs.is_valid(&wrong) && !reads(&wrong));
}
