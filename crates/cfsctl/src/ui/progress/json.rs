//! A document for each event, one a line.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use composefs::progress::{Event, Observer};
use serde_json::{Value, json};

use super::lock;

/// No piece of work says more often how far it is.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct Json {
    running: Mutex<HashMap<String, Piece>>,
}

struct Piece {
    what: &'static str,
    total: Option<u64>,
    bytes: u64,
    said: Instant,
}

impl Piece {
    fn line(&self, name: &str, state: &str) -> Value {
        line(self.what, name, state, self.bytes, self.total)
    }

    fn state(&self) -> &'static str {
        match self.what {
            "unpack" => "unpacking",
            "pack" => "packing",
            "layer" => "fetching",
            _ => "running",
        }
    }
}

fn line(what: &str, name: &str, state: &str, bytes: u64, total: Option<u64>) -> Value {
    let event = if matches!(what, "unpack" | "pack") { "layer" } else { what };
    json!({"event": event, "digest": name, "state": state, "bytes": bytes, "total": total})
}

impl Json {
    /// What to print for an event, if anything.
    fn document(&self, event: &Event<'_>, now: Instant) -> Option<Value> {
        let mut running = lock(&self.running);
        match event {
            Event::Plan { what, pieces, bytes } => {
                Some(json!({"event": "plan", "what": what, "pieces": pieces, "bytes": bytes}))
            }
            Event::Begin { what, name, total } => {
                let piece = Piece { what, total: *total, bytes: 0, said: now };
                let document = piece.line(name, piece.state());
                running.insert((*name).to_owned(), piece);
                Some(document)
            }
            Event::Advance { name, by } => {
                let piece = running.get_mut(*name)?;
                piece.bytes = piece.bytes.saturating_add(*by);
                if now.duration_since(piece.said) < INTERVAL {
                    return None;
                }
                piece.said = now;
                Some(piece.line(name, piece.state()))
            }
            Event::Done { name } => Some(running.remove(*name)?.line(name, "done")),
            Event::Skipped { what, name } => Some(line(what, name, "present", 0, None)),
            Event::Retry { name, reason, delay } => Some(
                json!({"event": "retry", "digest": name, "reason": reason, "delay_seconds": delay.as_secs_f64()}),
            ),
            Event::Warning { text } => Some(json!({"event": "warning", "text": text})),
            _ => None,
        }
    }
}

impl Observer for Json {
    fn event(&self, event: &Event<'_>) {
        if let Some(document) = self.document(event, Instant::now()) {
            crate::ui::say!("{document}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_says_where_it_is_now_and_then() {
        let json = Json::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        let mut tell = |event: Event<'_>, millis: u64| {
            lines.extend(json.document(&event, start + Duration::from_millis(millis)));
        };
        tell(Event::Plan { what: "layer", pieces: 1, bytes: 1000 }, 0);
        tell(Event::Begin { what: "layer", name: "sha256:a", total: Some(1000) }, 0);
        for at in 1..=9 {
            tell(Event::Advance { name: "sha256:a", by: 100 }, at * 100);
        }
        tell(Event::Advance { name: "sha256:unknown", by: 100 }, 950);
        tell(
            Event::Retry {
                name: "sha256:a",
                reason: "the connection ended",
                delay: Duration::from_millis(1500),
            },
            950,
        );
        tell(Event::Advance { name: "sha256:a", by: 100 }, 960);
        tell(Event::Done { name: "sha256:a" }, 970);
        tell(Event::Skipped { what: "layer", name: "sha256:b" }, 980);
        let bytes: Vec<_> = lines.iter().filter_map(|line| line["bytes"].as_u64()).collect();
        assert_eq!(bytes, [1000, 0, 300, 600, 900, 1000, 0]);
        let states: Vec<_> = lines.iter().filter_map(|line| line["state"].as_str()).collect();
        assert_eq!(states, ["fetching", "fetching", "fetching", "fetching", "done", "present"]);
        assert_eq!(lines[5]["delay_seconds"], 1.5);
    }
}
