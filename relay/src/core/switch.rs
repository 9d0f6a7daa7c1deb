//! The relay's channels as their ends and the plane see them: who is told, and which routes follow.

use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{ChannelEnd, FromRelay, OpenRefusal};

use super::channels::{Channel, End, Opening};
use super::limits::LimitedAction;
use super::{Output, Relay};
use crate::route::{Route, Update};

impl Relay {
    /// The peer asks for a channel.
    pub(super) fn open(&mut self, now: Duration, peer: PeerId, other: PeerId) {
        if !self.may(now, peer, LimitedAction::Opens) {
            return;
        }
        if peer == other {
            return self.not_opened(peer, other, OpenRefusal::Refused);
        }
        if self.registry.get(other).is_none() {
            return self.not_opened(peer, other, OpenRefusal::NotHere);
        }
        match self.channels.open(now, peer, other, &self.limits) {
            Opening::New(channel) => {
                self.counts.opened += 1;
                self.set_routes(&channel);
                self.say_opened(&channel, other);
                self.say_opened(&channel, peer);
            }
            Opening::Already(channel) => self.say_opened(&channel, peer),
            Opening::Refused(why) => self.not_opened(peer, other, why),
        }
    }

    fn not_opened(&mut self, asker: PeerId, peer: PeerId, why: OpenRefusal) {
        match why {
            OpenRefusal::NotHere => self.counts.not_here += 1,
            OpenRefusal::Refused => self.counts.refused += 1,
            OpenRefusal::Limit => self.counts.over_limit += 1,
        }
        self.say(asker, FromRelay::NotOpened { peer, why });
    }

    fn say_opened(&mut self, channel: &Channel, to: PeerId) {
        let (mine, theirs) = channel.seen_from(to);
        self.say(
            to,
            FromRelay::Opened {
                peer: theirs.peer,
                channel: mine.name,
            },
        );
    }

    /// The peer needs a channel no longer.
    pub(super) fn close(&mut self, peer: PeerId, name: ChannelId) {
        let Some(channel) = self.channels.close(peer, name) else {
            return;
        };
        let (_, theirs) = channel.seen_from(peer);
        self.remove_routes(&channel);
        self.say_ended(theirs, ChannelEnd::Closed);
    }

    /// The peer is gone, or has come again: its channels are over.
    pub(super) fn end_channels(&mut self, peer: PeerId) {
        for channel in self.channels.leave(peer) {
            let (_, theirs) = channel.seen_from(peer);
            self.remove_routes(&channel);
            self.say_ended(theirs, ChannelEnd::PeerGone);
        }
    }

    /// Ends the channels that nobody needs.
    pub(super) fn end_idle(&mut self, now: Duration) {
        for channel in self.channels.idle(now) {
            self.remove_routes(&channel);
            channel
                .ends
                .into_iter()
                .for_each(|end| self.say_ended(end, ChannelEnd::Idle));
        }
    }

    fn say_ended(&mut self, end: End, why: ChannelEnd) {
        self.say(
            end.peer,
            FromRelay::Ended {
                channel: end.name,
                why,
            },
        );
    }

    /// The peer is somewhere else now.
    pub(super) fn move_routes(&mut self, peer: PeerId) {
        let channels: Vec<_> = self.channels.of(peer).cloned().collect();
        for channel in &channels {
            self.set_routes(channel);
        }
    }

    fn set_routes(&mut self, channel: &Channel) {
        let [a, b] = channel.ends;
        for (from, to) in [(a, b), (b, a)] {
            let (Some(sender), Some(receiver)) =
                (self.registry.get(from.peer), self.registry.get(to.peer))
            else {
                continue;
            };
            let route = Route {
                channel: from.name,
                from: sender.addr,
                to: receiver.addr,
                becomes: to.name,
                meter: sender.meter.clone(),
                used: channel.used.clone(),
            };
            self.outputs.push_back(Output::Route(Update::Set(route)));
        }
    }

    fn remove_routes(&mut self, channel: &Channel) {
        for end in channel.ends {
            self.outputs
                .push_back(Output::Route(Update::Remove(end.name)));
        }
    }
}
