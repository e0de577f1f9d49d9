//! Tells the service manager how the node is (sd_notify(3)); nothing where there is none.

use sd_notify::NotifyState;

/// The service manager, if one started this process and waits to hear.
#[derive(Debug, Default)]
pub struct ServiceManager {
    last: String,
}

impl ServiceManager {
    /// The node has begun: it keeps trying from now on, whatever the network is like.
    pub fn ready(&self) {
        tell(&NotifyState::Ready);
    }

    /// What `systemctl status` shows.
    pub fn status(&mut self, text: &str) {
        if self.is_news(text) {
            tell(&NotifyState::Status(text));
        }
    }

    /// The node ends.
    pub fn stopping(&self) {
        tell(&NotifyState::Stopping);
    }

    fn is_news(&mut self, text: &str) -> bool {
        let is_news = self.last != text;
        if is_news {
            text.clone_into(&mut self.last);
        }
        is_news
    }
}

fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager can't be told: {state}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_told_once() {
        let mut manager = ServiceManager::default();
        let told = ["registered", "registered", "no network", "registered"];
        assert_eq!(told.map(|text| manager.is_news(text)), [true, false, true, true]);
    }
}
