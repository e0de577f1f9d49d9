//! Events on their way to a listener, as server-sent events (HTML Standard s.9.2).

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hearth_api::events::LostRow;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::chronicle::Listening;
use crate::outlet::{Gone, Outlet, outlet};

/// After so long a silence a comment says that the connection lives.
const ALIVE: Duration = Duration::from_secs(15);

/// An answer that goes on until the listener goes or the daemon ends.
pub(crate) fn answer(listening: Listening) -> Response {
    let (outlet, inlet) = outlet();
    tokio::spawn(async move {
        tokio::select! {
            _ended = carry(listening, &outlet) => {}
            () = outlet.gone() => {}
        }
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::new(inlet)).into_response()
}

async fn carry(mut listening: Listening, to: &Outlet) -> Result<(), Gone> {
    // The listener knows by it that it misses nothing from now on.
    to.send_when_ready(&b": hearthd\n\n"[..]).await?;
    loop {
        let text = match timeout(ALIVE, listening.recv()).await {
            Ok(Ok(row)) => match serde_json::to_string(&*row) {
                Ok(json) => format!("id: {}\ndata: {json}\n\n", row.number),
                Err(_) => continue,
            },
            Ok(Err(RecvError::Lagged(events))) => {
                let json = serde_json::to_string(&LostRow { events }).unwrap_or_default();
                format!("event: lost\ndata: {json}\n\n")
            }
            Ok(Err(RecvError::Closed)) => return Ok(()),
            Err(_) => ": alive\n\n".into(),
        };
        to.send_when_ready(text).await?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use hearth_api::events::{EventRow, What};
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_listener_reads_events_and_what_it_lost_and_the_end() {
        let (to, listening) = broadcast::channel(2);
        for number in 1..=5 {
            let what = What::CareOfEnded { bid: 7 };
            let row = EventRow { number, time_ms: 9, mn_id: None, home_address: None, what };
            to.send(Arc::new(row)).unwrap();
        }
        drop(to);
        let body = axum::body::to_bytes(answer(listening).into_body(), 4096).await.unwrap();
        let event = |number| {
            format!(
                "id: {number}\ndata: {{\"number\":{number},\"time_ms\":9,\
                 \"event\":\"care_of_ended\",\"bid\":7}}\n\n"
            )
        };
        let lost = "event: lost\ndata: {\"events\":3}\n\n";
        let expected = format!(": hearthd\n\n{lost}{}{}", event(4), event(5));
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    }
}
