//! Lists of which there may be a million rows: bindings and SAs.
//!
//! The control thread gives some places of its tables at a time and has other things to do in
//! between; the API thread puts the pages together, as fast as its client reads. Rows come in no
//! order. What is there all the while is in the list once; what comes or goes meanwhile may be.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hearth_api::{BindingRow, CareOfRow, FlowRow, ListRequest, SaRow, Searched};
use hearth_home_agent::{BindingView, SaView, Timestamp, WallClock};
use hyper::body::{Bytes, Frame};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::control::{Control, Parts};
use crate::server::{Desk, Question, put};

/// Places of a page: what takes the control thread less than a millisecond.
const PLACES: usize = 256;

/// Some rows of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// They.
    pub rows: Vec<T>,
    /// From which place on the others are; none behind the last page.
    pub next: Option<usize>,
}

/// The places of a page, and where the next one begins.
pub(crate) fn places(from: usize, end: usize) -> (Range<usize>, Option<usize>) {
    let to = from.saturating_add(PLACES);
    (from..to.min(end), (to < end).then_some(to))
}

impl Control {
    /// Bindings, from this place on.
    pub(crate) fn bindings(&self, from: usize) -> Page<BindingRow> {
        let (now, home_agent) = (self.now(), &self.parts.home_agent);
        let (here, next) = places(from, home_agent.binding_places());
        Page { rows: home_agent.bindings_at(here).map(|it| binding_row(&it, now)).collect(), next }
    }

    /// SAs, from this place on.
    pub(crate) fn sas(&self, from: usize) -> Page<SaRow> {
        let (clock, home_agent) = (self.wall_clock(), &self.parts.home_agent);
        let (here, next) = places(from, home_agent.sa_places());
        let rows = home_agent.sas_at(here).map(|sa| self.sa_row(&sa, &clock));
        Page { rows: rows.collect(), next }
    }

    pub(crate) fn sa_row(&self, sa: &SaView<'_>, clock: &WallClock) -> SaRow {
        let Parts { tables, .. } = &self.parts;
        let usage = tables.sa_usage(sa.spi).unwrap_or_default();
        let in_device = tables.sa_is_in_device(sa.spi) == Some(true);
        SaRow {
            spi: sa.spi.get(),
            mn_id: sa.mn_id.to_string(),
            suite: sa.suite.to_string(),
            scope: sa.scope.digit(),
            state: sa.state.name().into(),
            home_address: sa.home_address,
            crypto: if in_device { "device" } else { "cpu" }.into(),
            ends: clock.unix_seconds(sa.ends),
            packets_in: usage.in_packets,
            octets_in: usage.in_octets,
            packets_out: usage.out_packets,
            octets_out: usage.out_octets,
            next_sequence: usage.next_outbound,
            highest_sequence: usage.highest_inbound.map(|seq| seq.0),
        }
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

pub(crate) fn binding_row(binding: &BindingView<'_>, now: Timestamp) -> BindingRow {
    BindingRow {
        mn_id: binding.mn_id.to_string(),
        home_address: binding.home_address,
        ipv4_home_address: binding.ipv4_home_address,
        care_of_address: binding.care_of.ip(),
        care_of_port: binding.care_of.port(),
        home_agent_address: binding.local.ip(),
        nat: binding.nat == Some(true),
        spi: binding.spi.get(),
        sequence: binding.sequence,
        lifetime: seconds(binding.lifetime),
        remaining: seconds(binding.expires.since(now)),
        mobile_router: binding.mobile_router,
        prefixes: binding.prefixes.iter().map(ToString::to_string).collect(),
        care_of_addresses: binding
            .care_of_addresses()
            .map(|it| CareOfRow {
                bid: it.bid,
                priority: it.priority,
                care_of_address: it.care_of.ip(),
                care_of_port: it.care_of.port(),
                home_agent_address: it.local.ip(),
                nat: it.nat == Some(true),
                lifetime: seconds(it.lifetime),
                remaining: seconds(it.expires.since(now)),
            })
            .collect(),
        flows: binding
            .flows()
            .map(|it| FlowRow {
                id: it.id,
                priority: it.priority,
                bids: it.bids.to_vec(),
                active: it.active,
                selector: it.selector.to_string(),
            })
            .collect(),
    }
}

/// Which rows are wanted, and how many of them are still to come.
struct Wanted {
    search: String,
    left: usize,
}

impl Wanted {
    fn new(request: &ListRequest) -> Self {
        let left = request.count.unwrap_or(usize::MAX);
        Self { search: request.search.to_lowercase(), left }
    }

    /// Leaves what is wanted of a page; behind the last row that is, there is no other page.
    fn of<T: Searched>(&mut self, mut page: Page<T>) -> Page<T> {
        if !self.search.is_empty() {
            page.rows.retain(|row| row.has(&self.search));
        }
        page.rows.truncate(self.left);
        self.left -= page.rows.len();
        page.next = page.next.filter(|_| self.left > 0);
        page
    }
}

/// Answers with all rows that are wanted, page by page.
pub(crate) async fn list<T: Searched + Serialize + Send + 'static>(
    desk: Desk,
    request: ListRequest,
    question: fn(usize, oneshot::Sender<Page<T>>) -> Question,
) -> Response {
    let mut wanted = Wanted::new(&request);
    let first = match put(&desk, |sender| question(0, sender)).await {
        Ok(page) => wanted.of(page),
        Err(status) => return status.into_response(),
    };
    let (sender, listing) = mpsc::channel(1);
    tokio::spawn(async move {
        // What has begun with 200 can only be broken off; without a receiver nobody hears of it.
        if let Err(error) = write_pages((first, wanted), &desk, question, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    ([(CONTENT_TYPE, "application/json")], Body::new(Listing(listing))).into_response()
}

/// Those of all `rows` that are wanted.
pub(crate) fn wanted<T: Searched>(request: &ListRequest, rows: Vec<T>) -> Vec<T> {
    Wanted::new(request).of(Page { rows, next: None }).rows
}

/// Writes the JSON of `page` and of those behind it, one at a time.
async fn write_pages<T: Searched + Serialize>(
    (mut page, mut wanted): (Page<T>, Wanted),
    desk: &Desk,
    question: fn(usize, oneshot::Sender<Page<T>>) -> Question,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut list = List::default();
    loop {
        to.send(Ok(list.part(&page)?.into())).await.map_err(gone)?;
        let Some(next) = page.next else { return Ok(()) };
        let more = put(desk, |sender| question(next, sender)).await;
        page = wanted.of(more.map_err(|status| io::Error::other(status.to_string()))?);
    }
}

/// A JSON list that is written in parts.
#[derive(Debug, Default)]
struct List {
    has_rows: bool,
}

impl List {
    fn part<T: Serialize>(&mut self, page: &Page<T>) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        for row in &page.rows {
            text.push(if self.has_rows { b',' } else { b'[' });
            self.has_rows = true;
            serde_json::to_writer(&mut text, row)?;
        }
        if page.next.is_none() {
            text.extend_from_slice(if self.has_rows { b"]" } else { b"[]" });
        }
        Ok(text)
    }
}

/// The body of the answer.
struct Listing(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Listing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_one_list_and_some_may_be_empty() {
        let page = |rows: &[u32], next| Page { rows: rows.to_vec(), next };
        for (pages, expected) in [
            (vec![page(&[], None)], "[]"),
            (vec![page(&[1], None)], "[1]"),
            (vec![page(&[], Some(1)), page(&[], None)], "[]"),
            (vec![page(&[1, 2], Some(1)), page(&[], Some(2)), page(&[3], None)], "[1,2,3]"),
            (vec![page(&[], Some(1)), page(&[1], Some(2)), page(&[], None)], "[1]"),
        ] {
            let mut list = List::default();
            let parts: Vec<_> = pages.iter().map(|page| list.part(page).unwrap()).collect();
            assert_eq!(String::from_utf8(parts.concat()).unwrap(), expected);
        }
    }

    #[derive(Debug, Clone, PartialEq)]
    struct Number(u32);

    impl Searched for Number {
        fn has(&self, text: &str) -> bool {
            self.0.to_string().contains(text)
        }
    }

    #[test]
    fn a_search_takes_what_it_wants_and_no_more() {
        let request = ListRequest { search: "1".into(), count: Some(3) };
        let of = |wanted: &mut Wanted, rows: &[u32], next| {
            let page = wanted.of(Page { rows: rows.iter().copied().map(Number).collect(), next });
            (page.rows.iter().map(|row| row.0).collect::<Vec<_>>(), page.next)
        };
        let mut wanted = Wanted::new(&request);
        assert_eq!(of(&mut wanted, &[1, 2, 21], Some(3)), (vec![1, 21], Some(3)));
        assert_eq!(of(&mut wanted, &[5], Some(6)), (vec![], Some(6)));
        assert_eq!(of(&mut wanted, &[12, 13, 14], Some(9)), (vec![12], None));
        let mut all = Wanted::new(&ListRequest::default());
        assert_eq!(of(&mut all, &[1, 2], Some(2)), (vec![1, 2], Some(2)));
    }

    #[test]
    fn pages_meet_and_are_bounded() {
        let (mut from, mut seen) = (Some(0), Vec::new());
        while let Some(start) = from {
            let (here, next) = places(start, 1000);
            assert!(here.len() <= PLACES);
            seen.extend(here);
            from = next;
        }
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert_eq!(places(0, 0), (0..0, None));
        assert_eq!(places(0, PLACES), (0..PLACES, None));
        // It has never shrunk, but nothing depends on it.
        assert_eq!(places(usize::MAX, 10).1, None);
        assert!(places(usize::MAX, 10).0.is_empty());
    }
}
