//! `GET /metrics`: what the server does, in Prometheus' text format.
//!
//! Wherever something happens it is noted by the macros of the crate `metrics`; here is what there
//! is. Names begin with `glimpse_`, units are seconds and bytes, and a label has a few values that
//! are all known beforehand: never a visitor's words, address or id. A `code` is that of
//! [`chat::Error`](crate::chat::Error::code), but for `glimpse_errors_total`.
//!
//! | name | type | unit | labels | what |
//! |---|---|---|---|---|
//! | `glimpse_questions_total` | counter | | `outcome`: `answered`, `stopped`, `interrupted`, `refused`, `failed`; `code` of the last two | questions, by how they ended |
//! | `glimpse_questions_waiting` | gauge | | | questions in the queue |
//! | `glimpse_answers_running` | gauge | | | questions that the model is answering |
//! | `glimpse_queue_wait_seconds` | histogram | seconds | | from the question until the model began |
//! | `glimpse_time_to_first_token_seconds` | histogram | seconds | | from the question to the first token, waiting included |
//! | `glimpse_time_per_token_seconds` | histogram | seconds | | between two tokens, as the mean of an answer |
//! | `glimpse_tokens_generated_total` | counter | | | tokens of answers, those that were stopped included |
//! | `glimpse_uploads_total` | counter | | `outcome`: `kept`, `refused` | pictures that were put in, as files, examples or by address |
//! | `glimpse_upload_bytes_total` | counter | bytes | | their files |
//! | `glimpse_picture_memory_held_bytes` | gauge | bytes | | memory that is held for bodies and pictures |
//! | `glimpse_picture_memory_limit_bytes` | gauge | bytes | | how much may be (`--max-picture-memory`) |
//! | `glimpse_process_memory_bytes` | gauge | bytes | | memory of the process, in which a model on the CPU lies; Linux alone tells |
//! | `glimpse_http_requests_total` | counter | | `status`: `1xx` … `5xx` | requests, by the class of their answer |
//! | `glimpse_errors_total` | counter | | `code`: of [`api::ErrorCode`](crate::api::ErrorCode) | errors that requests of any kind were answered with |
//! | `glimpse_ready` | gauge | | | 1 where the model answers, 0 where it is being loaded or has failed |
//! | `glimpse_model_info` | gauge | | `model`, `device`, `dtype` | 1, of each model |
//! | `glimpse_model_loaded` | gauge | | `model` | 1 where the model is in memory |
//! | `glimpse_model_loads_total` | counter | | `model`; `outcome`: `loaded`, `failed` | models of several that were loaded when they were asked, or at the start |
//! | `glimpse_model_unloads_total` | counter | | `model` | models of several that made room for another |
//! | `glimpse_batch_rows` | histogram | | `model` | sequences of one forward pass (noted by the engine, as all that follow) |
//! | `glimpse_cache_hits_total` | counter | | `model`; `cache`: `picture`, `prefix` | what was found in a cache |
//! | `glimpse_cache_misses_total` | counter | | `model`, `cache` | what was not |
//! | `glimpse_cache_bytes` | gauge | bytes | `model`, `cache` | what a cache holds; 0 where the model is not loaded |
//! | `glimpse_kv_blocks` | gauge | | `model`; `state`: `used`, `free` | blocks of the KV cache |
//! | `glimpse_slow_steps_total` | counter | | | steps of the model (a pass of answers, a layer of prompts or of a picture) that took longer than ten times `--max-gap`, and 5 s |
//! | `glimpse_running_step_seconds` | gauge | seconds | | how long the step that runs has taken by now; 0 where none does |
//!
//! An engine that does not note one of `glimpse_batch_rows` to `glimpse_kv_blocks` has it not.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::api::ErrorCode;
use crate::engine::{Health, Presence};
use crate::service::Service;

/// Seconds that waiting and answering take, from a small model alone to a queue of an hour's.
const LONG: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0,
];

/// Seconds between two tokens.
const SHORT: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Sequences of a forward pass.
const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// How often what was noted is added up, which otherwise grows until somebody looks.
const UPKEEP: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What there is, in Prometheus' own terms: type, name, unit and help.
const ALL: [(Kind, &str, Option<Unit>, &str); 26] = [
    (
        Kind::Counter,
        "glimpse_questions_total",
        None,
        "Questions, by how they ended.",
    ),
    (
        Kind::Gauge,
        "glimpse_questions_waiting",
        None,
        "Questions in the queue.",
    ),
    (
        Kind::Gauge,
        "glimpse_answers_running",
        None,
        "Questions that the model is answering.",
    ),
    (
        Kind::Histogram(&LONG),
        "glimpse_queue_wait_seconds",
        Some(Unit::Seconds),
        "From the question until the model began.",
    ),
    (
        Kind::Histogram(&LONG),
        "glimpse_time_to_first_token_seconds",
        Some(Unit::Seconds),
        "From the question to the first token, waiting included.",
    ),
    (
        Kind::Histogram(&SHORT),
        "glimpse_time_per_token_seconds",
        Some(Unit::Seconds),
        "Between two tokens, as the mean of an answer.",
    ),
    (
        Kind::Counter,
        "glimpse_tokens_generated_total",
        None,
        "Tokens of answers.",
    ),
    (
        Kind::Counter,
        "glimpse_uploads_total",
        None,
        "Pictures that were put in.",
    ),
    (
        Kind::Counter,
        "glimpse_upload_bytes_total",
        Some(Unit::Bytes),
        "Bytes of the files of pictures that were put in.",
    ),
    (
        Kind::Gauge,
        "glimpse_picture_memory_held_bytes",
        Some(Unit::Bytes),
        "Memory that is held for bodies and pictures.",
    ),
    (
        Kind::Gauge,
        "glimpse_picture_memory_limit_bytes",
        Some(Unit::Bytes),
        "Memory that may be held for bodies and pictures.",
    ),
    (
        Kind::Gauge,
        "glimpse_process_memory_bytes",
        Some(Unit::Bytes),
        "Memory of the process.",
    ),
    (
        Kind::Counter,
        "glimpse_http_requests_total",
        None,
        "Requests, by the class of their answer.",
    ),
    (
        Kind::Counter,
        "glimpse_errors_total",
        None,
        "Errors that requests were answered with, by code.",
    ),
    (Kind::Gauge, "glimpse_ready", None, "Whether the model answers."),
    (Kind::Gauge, "glimpse_model_info", None, "The models, as labels."),
    (
        Kind::Gauge,
        "glimpse_model_loaded",
        None,
        "Whether a model is in memory.",
    ),
    (
        Kind::Counter,
        "glimpse_model_loads_total",
        None,
        "Models that were loaded, or could not be.",
    ),
    (
        Kind::Counter,
        "glimpse_model_unloads_total",
        None,
        "Models that made room for another.",
    ),
    (
        Kind::Histogram(&ROWS),
        "glimpse_batch_rows",
        None,
        "Sequences of one forward pass.",
    ),
    (
        Kind::Counter,
        "glimpse_cache_hits_total",
        None,
        "What was found in a cache.",
    ),
    (
        Kind::Counter,
        "glimpse_cache_misses_total",
        None,
        "What was not found in a cache.",
    ),
    (
        Kind::Gauge,
        "glimpse_cache_bytes",
        Some(Unit::Bytes),
        "Bytes that a cache holds.",
    ),
    (Kind::Gauge, "glimpse_kv_blocks", None, "Blocks of the KV cache."),
    (
        Kind::Counter,
        "glimpse_slow_steps_total",
        None,
        "Steps of the model that took too long.",
    ),
    (
        Kind::Gauge,
        "glimpse_running_step_seconds",
        Some(Unit::Seconds),
        "How long the step of the model that runs has taken by now.",
    ),
];

enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// What has been noted in this process: there is one recorder, whoever asks for it first.
fn recorded() -> &'static PrometheusHandle {
    static RECORDED: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for (kind, name, ..) in ALL {
            if let Kind::Histogram(buckets) = kind {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
                    .expect("there are buckets");
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("/metrics stays empty: this process notes what happens elsewhere");
        }
        for (kind, name, unit, help) in ALL {
            // What has no unit of its own counts things.
            let unit = unit.unwrap_or(Unit::Count);
            match kind {
                Kind::Counter => describe_counter!(name, unit, help),
                Kind::Gauge => describe_gauge!(name, unit, help),
                Kind::Histogram(_) => describe_histogram!(name, unit, help),
            }
        }
        begin_at_zero();
        handle
    })
}

/// What has not happened yet has happened 0 times: without that its first time is no increase.
fn begin_at_zero() {
    for outcome in ["answered", "stopped", "interrupted"] {
        counter!("glimpse_questions_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["kept", "refused"] {
        counter!("glimpse_uploads_total", "outcome" => outcome).increment(0);
    }
    for class in CLASSES {
        counter!("glimpse_http_requests_total", "status" => class).increment(0);
    }
    counter!("glimpse_tokens_generated_total").increment(0);
    counter!("glimpse_upload_bytes_total").increment(0);
    counter!("glimpse_slow_steps_total").increment(0);
}

/// Notes what happens in this process from now on, until `ending` is cancelled.
pub async fn record(ending: CancellationToken) {
    let recorded = recorded();
    loop {
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => recorded.run_upkeep(),
            () = ending.cancelled() => return,
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A request was answered with this status.
pub fn count_request(status: axum::http::StatusCode) {
    let class = usize::from(status.as_u16() / 100).checked_sub(1);
    if let Some(class) = class.and_then(|class| CLASSES.get(class)) {
        counter!("glimpse_http_requests_total", "status" => *class).increment(1);
    }
}

/// A request was answered with an error.
pub fn count_error(code: ErrorCode) {
    // A word, as everywhere on the wire.
    let code = serde_json::to_value(code).ok();
    let code = code.as_ref().and_then(serde_json::Value::as_str).unwrap_or("unknown");
    counter!("glimpse_errors_total", "code" => code.to_owned()).increment(1);
}

/// `GET /metrics`.
pub async fn serve(State(service): State<Arc<Service>>) -> Response {
    let recorded = recorded();
    let (queue, (held, limit)) = (service.queue(), service.memory());
    gauge!("glimpse_questions_waiting").set(queue.waiting as f64);
    gauge!("glimpse_answers_running").set(queue.running as f64);
    gauge!("glimpse_picture_memory_held_bytes").set(held as f64);
    gauge!("glimpse_picture_memory_limit_bytes").set(limit as f64);
    if let Some(bytes) = process_memory() {
        gauge!("glimpse_process_memory_bytes").set(bytes as f64);
    }
    let age = service.steps().running.map_or(Duration::ZERO, |step| step.age);
    gauge!("glimpse_running_step_seconds").set(age.as_secs_f64());
    let is_ready = service.health() == Health::Ready;
    gauge!("glimpse_ready").set(f64::from(u8::from(is_ready)));
    for engine in service.models() {
        let model = engine.description();
        gauge!("glimpse_model_info", "model" => model.name.clone(), "device" => model.device.clone(),
               "dtype" => model.dtype.clone())
        .set(1.0);
        let is_loaded = engine.presence() == Presence::Loaded;
        gauge!("glimpse_model_loaded", "model" => model.name.clone()).set(f64::from(u8::from(is_loaded)));
    }
    text(recorded)
}

/// Bytes of the process that are in memory, those of mapped files included, where the system tells.
fn process_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// `GET /metrics` before the model is there.
pub async fn serve_while_loading() -> Response {
    let recorded = recorded();
    gauge!("glimpse_ready").set(0.0);
    text(recorded)
}

fn text(recorded: &PrometheusHandle) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], recorded.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_metric_with_its_type_and_unit() {
        let lines = include_str!("metrics.rs").lines();
        let table = lines.filter_map(|line| line.strip_prefix("//! | `"));
        let told: Vec<String> = table
            .map(|line| line.split('|').take(3).map(str::trim).collect::<Vec<_>>().join(" "))
            .collect();
        let described = ALL.map(|(kind, name, unit, _)| {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            format!("{name}` {kind} {}", unit.map_or("", |unit| unit.as_str()))
        });
        assert_eq!(told, described);
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for (kind, name, unit, help) in ALL {
            assert!(name.starts_with("glimpse_") && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
            let bare = name.trim_end_matches("_total");
            let unit = unit.map(|unit| unit.as_str());
            for word in ["seconds", "bytes"] {
                assert_eq!(bare.ends_with(&format!("_{word}")), unit == Some(word), "{name}");
            }
        }
    }

    #[test]
    fn what_is_noted_is_told_however_often_the_recorder_is_asked_for() {
        recorded();
        count_error(ErrorCode::QueueFull);
        count_request(axum::http::StatusCode::NOT_FOUND);
        let text = recorded().render();
        assert!(text.contains("glimpse_errors_total{code=\"queue_full\"} "), "{text}");
        assert!(text.contains("glimpse_tokens_generated_total 0"), "{text}");
    }
}
