//! A watch inside this process, for what follows the SAs without being a home agent.

use std::sync::{Arc, OnceLock};

use hearth_wire::directory::{Update, Usage, decode_update, deframe};
use tokio::sync::mpsc;

use super::store;
use super::writer::{Told, Watch, WatchError};

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
pub struct Changes(mpsc::Receiver<Told>);

impl Watch {
    /// Hands every record that `home_agent` had when the watch began to `each`, with what is kept of it
    /// for accounting, and lets go of the snapshot.
    ///
    /// # Errors
    /// [`WatchError::Unavailable`]: the store failed.
    pub async fn replay(
        self,
        home_agent: &str,
        mut each: impl FnMut(Update, Option<&[u8]>),
    ) -> Result<Changes, WatchError> {
        let mut after = 0;
        loop {
            let page = store::page(&self.snapshot, home_agent, after, PAGE)
                .map_err(|_| WatchError::Unavailable)?;
            for (frame, account) in page.records.iter().zip(&page.accounts) {
                if let Some(update) = decode(frame) {
                    each(update, account.as_deref());
                }
            }
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
    /// The next change, with what is kept of a new SA for accounting; `None`: this watch lagged too far
    /// behind, or the directory was closed.
    pub async fn next(&mut self) -> Option<(Update, Option<Arc<[u8]>>)> {
        loop {
            let Told { frame, account } = self.0.recv().await?;
            if let Some(update) = decode(&frame) {
                return Some((update, account));
            }
        }
    }
}

fn decode(frame: &[u8]) -> Option<Update> {
    let (message, _) = deframe(frame).ok()??;
    decode_update(message).ok()
}
