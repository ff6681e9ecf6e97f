//! `glimpse models`: what is known, what is here, and what fits.

use serde_json::Value;

use super::server::{COMMIT, ID};
use super::{User, setting, succeeded};

fn models(user: &User) -> Vec<Value> {
    let output = user.run(["models", "--json", "--device", "cpu", "--max-memory", "9GB"]);
    succeeded(&output);
    serde_json::from_slice(&output.stdout).expect("it is a list")
}

fn find(models: &[Value], id: &str) -> Value {
    let model = models.iter().find(|model| model["id"] == id);
    model.unwrap_or_else(|| panic!("{id} is not in {models:?}")).clone()
}

#[test]
fn published_models_are_listed_with_their_sizes_and_what_fits() {
    let (_checkpoint, hub, user) = setting();
    let models = models(&user);
    assert_eq!(models[0]["id"], Value::Null, "the demo model comes first");
    let large = find(&models, "Salesforce/blip2-opt-2.7b");
    assert_eq!(large["parameters"], 3_744_761_856u64);
    assert_eq!(large["disk_bytes"], 14_979_047_424u64);
    assert_eq!(large["picture_size"], 224);
    assert_eq!(large["downloaded"], "no");
    let fits = large["fits"].as_array().expect("the limit is known");
    assert!(
        fits.contains(&"f16".into()) && !fits.contains(&"f32".into()),
        "{fits:?}"
    );
    assert!(hub.requests().is_empty(), "the list needs no network");
}

#[test]
fn what_was_downloaded_is_listed_once_under_its_best_name() {
    let (_checkpoint, _hub, user) = setting();
    succeeded(&user.run(["fetch", &format!("{ID}@{COMMIT}")]));
    assert_eq!(find(&models(&user), &format!("{ID}@{COMMIT}"))["downloaded"], "yes");
    succeeded(&user.run(["fetch", &format!("{ID}@refs/pr/1")]));
    assert_eq!(find(&models(&user), &format!("{ID}@refs/pr/1"))["downloaded"], "yes");
    succeeded(&user.fetch());
    let models = models(&user);
    assert_eq!(find(&models, ID)["downloaded"], "yes");
    let of_it = |model: &&Value| model["id"].as_str().is_some_and(|id| id.starts_with(ID));
    assert_eq!(models.iter().filter(of_it).count(), 1, "{models:?}");
}

#[test]
fn in_a_log_the_list_is_a_table_of_a_line_a_model() {
    let (_checkpoint, _hub, user) = setting();
    succeeded(&user.fetch());
    std::fs::remove_file(user.file("model.safetensors")).expect("it is there");
    let table = user.run(["models", "--device", "cpu"]);
    succeeded(&table);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let line = |id: &str| table.lines().find(|line| line.starts_with(id)).unwrap_or_default();
    assert!(line(ID).contains("in part"), "{table}");
    assert!(line("Salesforce/blip2-opt-6.7b-coco").contains("364 x 364"), "{table}");
}
