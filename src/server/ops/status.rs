//! `GET /status`: what the server does, for people; drawn here, without a script. A program that accepts
//! JSON alone gets [`ModelStates`].

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::model_states::ModelStates;
use super::plots::Plot;
use crate::api::{Base, Language};
use crate::engine::{Health, Steps};
use crate::server::plain_page::PlainPage;
use crate::service::{LastHour, MINUTES, Minute, Service};

const STYLE: &str = "\
body { max-width: 44rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif }
h2 { font-size: 1.125rem; margin: 1.5rem 0 .5rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0 }
dt { color: color-mix(in srgb, CanvasText 75%, Canvas) }
dd { margin: 0; overflow-wrap: anywhere }
figure { margin: 1.5rem 0 0 }
svg { display: block; width: 100%; height: 6rem; border-bottom: 1px solid GrayText }
.bar { fill: #0f6f68 }
.behind { fill: #9fcfc9 }
.axis { display: flex; justify-content: space-between; margin: 0; font-size: .875rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .125rem .75rem .125rem 0; text-align: right; font-weight: inherit }
thead th { border-bottom: 1px solid GrayText }
@media (prefers-color-scheme: dark) {
summary { color: #58c4b6 }
.bar { fill: #58c4b6 }
.behind { fill: #24605a }
}";

pub async fn serve(State(service): State<Arc<Service>>, request: Request) -> Response {
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
        (header::VARY, HeaderValue::from_static("Accept")),
    ];
    if is_for_a_program(request.headers()) {
        return (headers, Json(ModelStates::of(&service))).into_response();
    }
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let (home, again) = (base.at("/"), base.at("/status"));
    let hour = service.activity().last_hour();
    let body = [
        &format!(r#"<p><a href="{again}">Look again</a> · <a href="{home}">Open Glimpse</a></p>"#),
        "\n<h2>Now</h2>\n",
        &now(&service),
        &models(&service),
        "<h2>The last hour</h2>\n",
        &outcomes(&hour),
        &plots(&hour),
        &by_minute(&hour),
    ]
    .concat();
    let page = PlainPage {
        base: &base,
        language: Language::English,
        title: "Status",
        head: "",
        style: STYLE,
        script: "",
        body: &body,
    };
    (headers, page).into_response()
}

/// Browsers name JSON nowhere, or behind HTML.
fn is_for_a_program(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(',')).map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    kinds.find(|kind| kind == "text/html" || kind == "application/json") == Some("application/json".into())
}

/// The model, and what it has to do at this moment.
fn now(service: &Service) -> String {
    let model = service.model();
    let health = match service.health() {
        Health::Ready => "ready".to_owned(),
        Health::Failed(reason) => format!("failed: {reason}"),
    };
    let (queue, (held, limit)) = (service.queue(), service.memory());
    let steps = service.steps();
    let megabytes = |bytes: usize| bytes.div_ceil(1_000_000);
    list(&[
        ("Model", model.name.clone()),
        ("Device", model.device.clone()),
        ("Dtype", model.dtype.clone()),
        ("Health", health),
        ("Running for", long(service.activity().uptime())),
        ("Answers being given", queue.running.to_string()),
        ("Questions waiting", queue.waiting.to_string()),
        ("Step of the model", running_step(&steps)),
        ("Slow steps", slow_steps(&steps)),
        (
            "Memory for pictures",
            format!("{} of {} MB", megabytes(held), megabytes(limit)),
        ),
    ])
}

/// Each model, where there are several.
fn models(service: &Service) -> String {
    if service.models().count() == 1 {
        return String::new();
    }
    let mut rows = String::new();
    for model in ModelStates::of(service).models {
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            r#"<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            escaped(&model.name),
            escaped(&model.told()),
            escaped(&model.dtype),
            model.running,
            model.waiting
        );
    }
    format!(
        r#"<h2>Models</h2>
<div class="wide" role="region" aria-label="Models" tabindex="0">
<table>
<thead><tr><th scope="col">Model</th><th scope="col">State</th><th scope="col">Dtype</th><th scope="col">Answers</th><th scope="col">Waiting</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</div>
"#
    )
}

/// What the model is busy with. No ids: they are in the log.
fn running_step(steps: &Steps) -> String {
    let Some(step) = &steps.running else {
        return "none".to_owned();
    };
    let warning = if step.age < steps.limit { "" } else { ", which is slow" };
    let rows = if step.rows == 1 { "row" } else { "rows" };
    let age = short(step.age.as_secs_f64());
    format!("{}, {} {rows}, for {age}{warning}", step.work, step.rows)
}

fn slow_steps(steps: &Steps) -> String {
    match steps.limit.as_secs() {
        0 => "none".to_owned(),
        limit => format!("{} took longer than {limit} s", steps.slow),
    }
}

/// How the questions of an hour ended.
fn outcomes(hour: &LastHour) -> String {
    let all = sum(hour);
    let counts = [
        ("Answered", all.answered),
        ("Stopped", all.stopped),
        ("Interrupted", all.interrupted),
        ("Refused", all.refused),
        ("Failed", all.failed),
    ];
    list(&counts.map(|(name, count)| (name, count.to_string())))
}

fn plots(hour: &LastHour) -> String {
    let figures = |of: &dyn Fn(&Minute) -> Option<f64>| hour.minutes.iter().map(of).collect::<Vec<_>>();
    let most = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    let all = sum(hour);
    let questions = figures(&|minute| Some(minute.questions().into()));
    let first = [0.95, 0.5].map(|share| figures(&|minute| minute.first_tokens.quantile(share)));
    let [first_95, first_50] = first;
    let tokens: Vec<_> = tokens_a_second(hour).into_iter().map(Some).collect();
    let first_summary = match (all.first_tokens.quantile(0.5), all.first_tokens.quantile(0.95)) {
        (Some(half), Some(most)) => format!(
            "half within {}, 95 % within {} (the paler bars)",
            short(half),
            short(most)
        ),
        _ => "no answers".to_owned(),
    };
    [
        Plot {
            title: "Questions a minute",
            summary: &format!("{} in all, at most {}", all.questions(), most(&questions)),
            series: &[("bar", questions.clone())],
        },
        Plot {
            title: "Time to the first token",
            summary: &first_summary,
            series: &[("behind", first_95), ("bar", first_50)],
        },
        Plot {
            title: "Tokens a second",
            summary: &format!("{} in all, at most {:.1}", all.tokens, most(&tokens)),
            series: &[("bar", tokens.clone())],
        },
    ]
    .map(|plot| plot.html())
    .concat()
}

/// The same in figures: the minutes in which there were any, the latest first. Where the window is
/// narrow, the table alone is scrolled, by keys as well.
fn by_minute(hour: &LastHour) -> String {
    let tokens = tokens_a_second(hour);
    let mut rows = String::new();
    for (index, minute) in hour.minutes.iter().enumerate().rev() {
        if minute.questions() == 0 && minute.tokens == 0 {
            continue;
        }
        let first = |share| minute.first_tokens.quantile(share).map_or("–".to_owned(), short);
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            r#"<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td></tr>"#,
            MINUTES - 1 - index,
            minute.questions(),
            first(0.5),
            first(0.95),
            tokens[index]
        );
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        r#"<details>
<summary>Minute by minute</summary>
<div class="wide" role="region" aria-label="Minute by minute" tabindex="0">
<table>
<thead><tr><th scope="col">Minutes ago</th><th scope="col">Questions</th><th scope="col">First token, half within</th><th scope="col">95 % within</th><th scope="col">Tokens a second</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</div>
</details>
"#
    )
}

fn sum(hour: &LastHour) -> Minute {
    let mut all = Minute::default();
    hour.minutes.iter().for_each(|minute| all.add(minute));
    all
}

/// Of each minute, the last of which is not over.
fn tokens_a_second(hour: &LastHour) -> Vec<f64> {
    let last = hour.minutes.len().saturating_sub(1);
    let seconds = |index| match index == last {
        true => hour.of_the_last.as_secs_f64().max(1.0),
        false => 60.0,
    };
    let minutes = hour.minutes.iter().enumerate();
    minutes
        .map(|(index, minute)| minute.tokens as f64 / seconds(index))
        .collect()
}

/// Names with what they have.
pub(super) fn list(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter();
    let lines = pairs.map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value)));
    format!("<dl>\n{}</dl>\n", lines.collect::<String>())
}

/// A few seconds, or less.
fn short(seconds: f64) -> String {
    match seconds {
        ..0.995 => format!("{:.0} ms", seconds * 1e3),
        ..9.95 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// A while.
fn long(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Text that is not ours, such as the name of a folder.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{RunningStep, Work};

    #[test]
    fn durations_are_read_at_a_glance() {
        let told = [0.0123, 0.5, 0.999, 2.345, 61.2].map(short);
        assert_eq!(told, ["12 ms", "500 ms", "1.0 s", "2.3 s", "61 s"]);
        let told = [7, 60, 3 * 3600 + 61, 2 * 86400 + 3600].map(|seconds| long(Duration::from_secs(seconds)));
        assert_eq!(told, ["less than a minute", "1 min", "3 h 1 min", "2 d 1 h"]);
    }

    #[test]
    fn a_step_that_is_slow_is_seen_to_be() {
        let mut steps = Steps {
            running: None,
            slow: 0,
            limit: Duration::from_secs(5),
        };
        assert_eq!(
            (running_step(&steps), slow_steps(&steps)),
            ("none".into(), "0 took longer than 5 s".into())
        );
        let step = |rows, seconds| RunningStep {
            work: Work::Tokens,
            rows,
            requests: Vec::new(),
            age: Duration::from_secs(seconds),
        };
        steps.running = Some(step(1, 2));
        assert_eq!(running_step(&steps), "a pass of answers, 1 row, for 2.0 s");
        steps.running = Some(step(16, 75));
        assert_eq!(
            running_step(&steps),
            "a pass of answers, 16 rows, for 75 s, which is slow"
        );
    }

    #[test]
    fn the_minute_that_is_not_over_is_no_slower_than_it_was() {
        let minute = |tokens| Minute {
            tokens,
            ..Minute::default()
        };
        let hour = LastHour {
            minutes: vec![minute(120), minute(30)],
            of_the_last: Duration::from_secs(15),
        };
        assert_eq!(tokens_a_second(&hour), [2.0, 2.0]);
    }

    #[test]
    fn what_a_folder_is_called_is_no_markup() {
        assert!(list(&[("Model", "<b>&\"".into())]).contains("<dd>&lt;b&gt;&amp;&quot;</dd>"));
    }
}
