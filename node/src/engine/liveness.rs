//! Light pings: whether QUIC has acknowledged anything since one went out.

use super::Engine;
use hobnob_core::Now;
use hobnob_core::presence;
use hobnob_protocol::frame::PING_LIGHT;

impl Engine {
    pub(super) fn note_light_ping(&mut self, output: &presence::Output) {
        if let presence::Output::Ping(session, PING_LIGHT) = output
            && let Some(link) = self.links.get(session)
        {
            self.light_pings.insert(*session, link.session.acks());
        }
    }

    /// Tells which light pings were answered. Asked when their time is up, as nobody tells of
    /// acknowledgements.
    pub(super) fn note_acks(&mut self, now: Now) {
        let Self {
            light_pings,
            links,
            presence,
            ..
        } = self;
        light_pings.retain(|session, before| {
            let Some(link) = links.get(session) else {
                return false;
            };
            let answered = link.session.acks() > *before;
            if answered {
                presence.handle(now, presence::Input::Acked(*session));
            }
            !answered
        });
    }
}
