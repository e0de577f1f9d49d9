//! A watch inside this process, for what follows the SAs without being a home agent.

use std::sync::OnceLock;

use hearth_wire::directory::{Update, Usage, decode_update, deframe};
use tokio::sync::mpsc;

use super::store;
use super::writer::{Frame, Watch, WatchError};

/// Records that are read from the snapshot at a time.
const PAGE: usize = 256;

/// Words of home agents that wait for who follows them; beyond, they are lost: it asks again.
const USAGES: usize = 65_536;

/// What a home agent says that an SA has carried.
pub type Said = (Box<str>, Usage);

/// Who wants to know what SAs carry, if anybody does.
#[derive(Default)]
pub(super) struct Usages(OnceLock<mpsc::Sender<Said>>);

impl Usages {
    /// What is said from now on; to the first who asks for it.
    pub(super) fn follow(&self) -> mpsc::Receiver<Said> {
        let (sender, said) = mpsc::channel(USAGES);
        let _ = self.0.set(sender);
        said
    }

    pub(super) fn say(&self, home_agent: &str, usage: Usage) {
        if let Some(sender) = self.0.get() {
            let _ = sender.try_send((home_agent.into(), usage));
        }
    }
}

/// Changes after the snapshot of a watch.
pub struct Changes(mpsc::Receiver<Frame>);

impl Watch {
    /// Hands every record that `home_agent` had when the watch began to `each`, and lets go of the
    /// snapshot.
    ///
    /// # Errors
    /// [`WatchError::Unavailable`]: the store failed.
    pub async fn replay(
        self,
        home_agent: &str,
        mut each: impl FnMut(Update),
    ) -> Result<Changes, WatchError> {
        let mut after = 0;
        loop {
            let page = store::page(&self.snapshot, home_agent, after, PAGE)
                .map_err(|_| WatchError::Unavailable)?;
            page.records.iter().filter_map(|frame| decode(frame)).for_each(&mut each);
            match page.last {
                Some(last) => after = last,
                None => return Ok(Changes(self.changes)),
            }
            // A million records are no reason to keep a thread from the sessions.
            tokio::task::yield_now().await;
        }
    }
}

impl Changes {
    /// The next change; `None`: this watch lagged too far behind, or the directory was closed.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            if let Some(update) = decode(&self.0.recv().await?) {
                return Some(update);
            }
        }
    }
}

fn decode(frame: &[u8]) -> Option<Update> {
    let (message, _) = deframe(frame).ok()??;
    decode_update(message).ok()
}
