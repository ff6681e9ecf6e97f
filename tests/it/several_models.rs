//! A server with several models: each is asked by its name, comes when it is asked, and two are compared.

use serde_json::{Value, json};

use crate::support::page::{ask, begin, call, get, post_form};
use crate::support::{PictureFile, Server, TinyCheckpoint, glimpse, png, stderr};

/// What a checkpoint is called: its folder's name.
fn name(model: &TinyCheckpoint) -> String {
    let name = model.folder.path().file_name().expect("it has a name");
    name.to_str().expect("temporary folders have plain names").to_owned()
}

fn server(models: &[&TinyCheckpoint], more: &[&str]) -> Server {
    let mut arguments = Vec::new();
    for model in models {
        arguments.extend(["--model", model.path()]);
    }
    arguments.extend(more);
    Server::start(&arguments)
}

fn request(conversation: &str, more: Value) -> Value {
    let mut request = json!({"conversation": conversation, "question": "hi", "max_new_tokens": 3});
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    json!({ "request": request })
}

fn names_of(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event"].as_str()).collect()
}

fn turns(server: &Server, id: &str) -> Vec<Value> {
    let (_, state) = call(server, "state", &json!({"conversation": id}));
    state["conversation"]["turns"].as_array().cloned().unwrap_or_default()
}

fn states(server: &Server) -> String {
    let metrics = get(server, "metrics");
    let metrics = metrics.as_str().expect("it is text");
    let loaded = metrics.lines().filter(|line| line.starts_with("glimpse_model_loaded"));
    loaded.map(|line| format!("{line}\n")).collect()
}

#[test]
fn each_model_is_asked_by_its_name_and_the_second_is_loaded_for_that() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let (first, second) = (name(&one), name(&other));
    let server = server(&[&one, &other], &[]);
    assert_eq!(get(&server, "readyz")["model"], first.as_str());
    let (_, state) = call(&server, "state", &json!({"conversation": null}));
    let listed: Vec<_> = state["models"].as_array().into_iter().flatten().collect();
    assert_eq!(
        listed.iter().map(|model| &model["name"]).collect::<Vec<_>>(),
        [&json!(first), &json!(second)]
    );
    let loaded = |name: &str, is: u8| format!("glimpse_model_loaded{{model=\"{name}\"}} {is}\n");
    assert!(states(&server).contains(&loaded(&second, 0)), "{}", states(&server));
    let id = begin(&server);
    let events: Vec<Value> = ask(&server, &request(&id, json!({"model": second}))).collect();
    assert_eq!(names_of(&events)[..2], ["queued", "loading"], "{events:?}");
    assert_eq!(events.last().map(|last| &last["event"]), Some(&json!("done")));
    assert!(
        states(&server).contains(&loaded(&second, 1)) && states(&server).contains(&loaded(&first, 1)),
        "{}",
        states(&server)
    );
    let events: Vec<Value> = ask(&server, &request(&id, json!({}))).collect();
    assert!(!names_of(&events).contains(&"loading"), "{events:?}");
    let said = turns(&server, &id);
    assert_eq!(
        said.iter().map(|turn| &turn["model"]).collect::<Vec<_>>(),
        [&json!(second), &json!(first)]
    );
    assert!(said[0]["total_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{}", said[0]);
    let (status, error) = call(&server, "ask", &request(&id, json!({"model": "nobody"})));
    assert_eq!((status, &error["code"]), (404, &json!("not_found")), "{error}");
    let metrics = get(&server, "metrics").to_string();
    for model in [&first, &second] {
        let blocks = format!("glimpse_kv_blocks{{model=\\\"{model}\\\",state=\\\"free\\\"}}");
        assert!(metrics.contains(&blocks), "{metrics}");
    }
    let status = get(&server, "status").to_string();
    assert!(
        status.contains("<h2>Models</h2>") && status.contains(&second),
        "{status}"
    );
}

#[test]
fn a_question_is_put_to_two_models_whose_answers_are_followed_kept_and_stopped() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let (first, second) = (name(&one), name(&other));
    let server = server(&[&one, &other], &["--preload", "--max-new-tokens", "4000"]);
    let id = begin(&server);
    let both = json!({"model": first, "compare_with": second});
    let events: Vec<Value> = ask(&server, &request(&id, both.clone())).collect();
    let beside = &events[0]["beside"][0];
    let follow = |answer: &Value| {
        let (status, text) = call(
            &server,
            "follow",
            &json!({"conversation": id, "answer": answer, "after": 0}),
        );
        assert_eq!(status, 200, "{text}");
        text.as_str().unwrap_or_default().to_owned()
    };
    assert!(
        follow(beside)
            .lines()
            .last()
            .is_some_and(|line| line.contains("\"done\""))
    );
    let said = turns(&server, &id);
    assert_eq!(said.len(), 1);
    let compared = &said[0]["compared"][0];
    assert_eq!((&said[0]["model"], &compared["model"]), (&json!(first), &json!(second)));
    assert_eq!(said[0]["answer"], compared["answer"], "they are alike");
    assert_eq!((&compared["id"], &compared["answer_id"]), (&said[0]["id"], beside));

    let mut long = both.clone();
    long["max_new_tokens"] = json!(4000);
    let mut events = ask(&server, &request(&id, long));
    let queued = events.next().expect("it says that it waits");
    assert!(events.any(|event| event["event"] == "token"));
    assert_eq!(call(&server, "cancel", &json!({"conversation": id})).0, 200);
    assert_eq!(
        events.last().map(|last| last["finish_reason"].clone()),
        Some(json!("cancelled"))
    );
    let last = follow(&queued["beside"][0]);
    assert!(
        last.lines().last().is_some_and(|line| line.contains("cancelled")),
        "{last}"
    );

    let (status, error) = call(
        &server,
        "ask",
        &request(&id, json!({"model": first, "compare_with": first})),
    );
    assert_eq!(status, 400, "{error}");
}

#[test]
fn a_model_that_cannot_be_loaded_is_told_and_the_other_answers() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let second = name(&other);
    let server = server(&[&one, &other], &[]);
    other.remove("model.safetensors");
    let id = begin(&server);
    let last = ask(&server, &request(&id, json!({"model": second}))).last();
    let last = last.expect("it ends");
    assert_eq!(
        (&last["event"], &last["code"]),
        (&json!("error"), &json!("model_not_loaded")),
        "{last}"
    );
    let message = last["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(&second) && !message.contains(other.path()),
        "{message}"
    );
    let last = ask(&server, &request(&id, json!({}))).last();
    assert_eq!(last.map(|last| last["event"].clone()), Some(json!("done")));
    other.save(|_| {});
    let last = ask(&server, &request(&id, json!({"model": second}))).last();
    assert_eq!(
        last.map(|last| last["event"].clone()),
        Some(json!("done")),
        "it is tried again"
    );
    assert_eq!(get(&server, "readyz")["status"], "ready");
}

#[test]
fn models_take_turns_where_they_have_no_room_together() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let (first, second) = (name(&one), name(&other));
    // One of them takes about 6 MB.
    let server = server(&[&one, &other], &["--model-memory", "9MB"]);
    let id = begin(&server);
    for model in [&second, &first, &second] {
        let last = ask(&server, &request(&id, json!({"model": model}))).last();
        let last = last.expect("it ends");
        assert_eq!(last["event"], "done", "{last}");
        let loaded = states(&server);
        assert!(
            loaded.contains(&format!("\"{model}\"}} 1")) && loaded.matches("} 1\n").count() == 1,
            "{loaded}"
        );
    }
}

#[test]
fn a_browser_without_javascript_chooses_a_model_and_compares_two() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let (first, second) = (name(&one), name(&other));
    let server = server(&[&one, &other], &[]);
    let page = get(&server, "").to_string();
    assert!(
        page.contains("aria-label=\\\"Model\\\"") || page.contains("aria-label=\"Model\""),
        "{page}"
    );
    let picture = png([1, 2, 3]);
    let (status, page) = post_form(
        &server,
        &[
            ("picture", "p.png", &picture),
            ("question", "", b"hi"),
            ("max_new_tokens", "", b"3"),
            ("model", "", second.as_bytes()),
            ("compare_with", "", first.as_bytes()),
        ],
    );
    assert_eq!(status, 200, "{page}");
    assert_eq!(page.matches("class=\"of-model\"").count(), 2, "{page}");
}

#[test]
fn models_are_named_in_a_list_too_and_each_once() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let mut program = glimpse();
    program.env("GLIMPSE_MODEL", format!("{},{}", one.path(), other.path()));
    let server = Server::start_as(program, "127.0.0.1", &[]);
    let (_, state) = call(&server, "state", &json!({"conversation": null}));
    assert_eq!(state["models"].as_array().map(Vec::len), Some(2), "{state}");
    for (arguments, status, words) in [
        (["serve", "--model", one.path(), "--model", one.path()], 2, "twice"),
        (["serve", "--model", one.path(), "--model", "/nowhere"], 1, "/nowhere"),
    ] {
        let mut program = glimpse();
        program.args(arguments).args(["--addr", "127.0.0.1:0"]);
        let output = program.output().expect("the program starts");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

/// What `glimpse` with these arguments says.
fn said(arguments: &[&str]) -> std::process::Output {
    let mut program = glimpse();
    program.args(arguments).stdin(std::process::Stdio::null());
    program.output().expect("the program starts")
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it is UTF-8")
}

#[test]
fn in_the_terminal_too_a_question_is_put_to_several_models() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let names = [name(&one), name(&other)];
    let picture = PictureFile::new();
    let mut ask = vec![
        "ask",
        "--model",
        one.path(),
        "--model",
        other.path(),
        "--max-new-tokens",
        "3",
    ];
    ask.extend([picture.path(), "hi"]);
    let output = said(&ask);
    let (text, mut lines) = (stdout(&output), Vec::new());
    lines.extend(text.lines().map(|line| line.split('\t').collect::<Vec<_>>()));
    assert_eq!(lines.iter().map(|line| line[0]).collect::<Vec<_>>(), names, "{text}");
    assert!(
        lines.iter().all(|line| line.len() == 3 && line[1].ends_with(" s")),
        "{text}"
    );
    let alone = stdout(&said(&[&ask[..1], &ask[3..]].concat()));
    assert_eq!(lines[1][2], alone.trim_end_matches('\n'), "as it answers alone");

    ask.push("--json");
    other.remove("model.safetensors");
    let output = said(&ask);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    assert_eq!((&lines[0]["model"], lines.len()), (&json!(names[0]), 2), "{lines:?}");
    assert!(lines[0]["timings_ms"]["total"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(
        lines[1]["error"].as_str().is_some_and(|error| !error.is_empty()),
        "{lines:?}"
    );

    for more in [
        &["--question", "hi", picture.path(), picture.path()][..],
        &["--batch", "-"],
    ] {
        let output = said(&[&ask[..5], more].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains("Name one picture, or one model."),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn the_list_of_models_says_what_a_server_has_loaded() {
    let [one, other] = [TinyCheckpoint::new(), TinyCheckpoint::new()];
    let (first, second) = (name(&one), name(&other));
    let server = server(&[&one, &other], &[]);
    let addr = server.address.trim_start_matches("http://").to_owned();
    let list = |more: &[&str]| stdout(&said(&[&["models", "--addr", &addr], more].concat()));
    let text = list(&[]);
    assert!(
        text.contains(&format!("    {first}: loaded (f32 on CPU)\n    {second}: unloaded ")),
        "{text}"
    );
    let json: Value = serde_json::from_str(&list(&["--json"])).expect("it is JSON");
    let rows = json.as_array().expect("it is a list");
    let of = |name: &str| {
        rows.iter()
            .find(|row| row["id"] == name)
            .map(|row| row["state"].clone())
    };
    assert_eq!(
        (of(&first), of(&second)),
        (Some(json!("loaded")), Some(json!("unloaded"))),
        "{json}"
    );
    assert_eq!(
        (&rows[0]["id"], &rows[0]["state"]),
        (&Value::Null, &Value::Null),
        "the demo model is not there"
    );
    drop(server);
    let text = list(&[]);
    assert!(text.contains("Loaded: none; no server answers at "), "{text}");
}
