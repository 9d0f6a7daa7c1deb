//! Takes the settings that can change while the node runs.

use hobnob_protocol::Activity;

use super::state::Engine;
use crate::api::{LiveConfig, Sharing};
use crate::transfers::messages::ToTransfers;

impl Engine {
    /// Takes other settings from now on.
    pub(super) fn configure(&mut self, config: LiveConfig) {
        let LiveConfig {
            direct_with,
            sharing,
            keep,
            highlights,
            accept_from,
            size_max,
            limits,
        } = config;
        self.set_highlights(&highlights);
        self.erasing.set_default(keep);
        self.files.send(ToTransfers::Configure {
            accept_from,
            size_max,
            limits,
        });
        self.set_sharing(sharing);
        self.policy.set_direct_with(direct_with);
        for session in self.sessions.ids() {
            self.update_direct_path(session);
        }
    }

    /// Peers that may no longer see the status see that it is gone, and those that may now see it.
    fn set_sharing(&mut self, sharing: Sharing) {
        if sharing == self.activities.sharing {
            return;
        }
        let sessions = self.sessions.ids();
        let status = self.activities.status();
        if status.is_some() && sharing.status != self.activities.sharing.status {
            for session in &sessions {
                self.share_status(*session, Activity::Status(false, String::new()));
            }
        }
        self.activities.sharing = sharing;
        for session in sessions {
            self.share_activity(session);
        }
    }
}
