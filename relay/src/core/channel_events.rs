//! Frames and routes that follow from changes of channels: what the two ends and the plane learn.
//!
//! The channels themselves are in [`super::channels`].

use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{ChannelEnd, FromRelay, OpenRefusal};

use super::channels::{Channel, End, Opening};
use super::limits::LimitedAction;
use super::{ConnectionId, Found, Output, Relay};
use crate::route::{Route, Update};

impl Relay {
    /// Opens the channel that a peer asks for.
    pub(super) fn open(&mut self, now: Duration, peer: DeviceId, other: DeviceId) {
        if !self.may(now, peer, LimitedAction::Opens) {
            return;
        }
        if peer == other {
            return self.send_not_opened(peer, other, OpenRefusal::Refused);
        }
        if self.is_here(other) {
            return self.open_here(now, peer, other);
        }
        // A guest looks for one peer, and a visitor asks its own relay.
        let may_find = !self.invitations.is_guest(peer) && !self.visitors.is_visitor(peer);
        if self.limits.fleet && may_find {
            let connection = self.registry.connected_mut(peer).connection;
            let connection = connection.expect("the peer has just sent a frame");
            self.outputs.push_back(Output::Find(connection, other));
        } else {
            self.send_not_opened(peer, other, OpenRefusal::NotHere);
        }
    }

    /// The relays of the fleet have looked for a peer.
    pub(super) fn found(
        &mut self,
        now: Duration,
        asker: ConnectionId,
        other: DeviceId,
        found: Found,
    ) {
        let Some(peer) = self.registry.peer_of(asker) else {
            return;
        };
        // It may have registered here in the meantime.
        if self.is_here(other) {
            return self.open_here(now, peer, other);
        }
        match found {
            Found::At(relay) => {
                self.counts.elsewhere += 1;
                self.send(peer, FromRelay::Elsewhere { peer: other, relay });
            }
            Found::Nowhere => self.send_not_opened(peer, other, OpenRefusal::NotHere),
            Found::Unsure => self.send_not_opened(peer, other, OpenRefusal::Unsure),
        }
    }

    /// Whether a peer is registered: it is connected, or it sleeps.
    fn is_here(&self, peer: DeviceId) -> bool {
        self.registry.get(peer).is_some() || self.is_asleep(peer)
    }

    /// Opens a channel with a registered peer, or wakes it.
    pub(super) fn open_here(&mut self, now: Duration, peer: DeviceId, other: DeviceId) {
        if !self.invitations.may_open(peer, other) {
            return self.send_not_opened(peer, other, OpenRefusal::Refused);
        }
        if self.is_asleep(other) {
            return self.wake(now, other, peer);
        }
        match self.channels.open(now, peer, other, &self.limits) {
            Opening::New(channel) => {
                self.counts.opened += 1;
                self.set_routes(&channel);
                self.send_opened(now, &channel, other);
                self.send_opened(now, &channel, peer);
                self.registry.active(peer);
            }
            Opening::Already(channel) => self.send_opened(now, &channel, peer),
            Opening::Refused(why) => self.send_not_opened(peer, other, why),
        }
    }

    pub(super) fn send_not_opened(&mut self, asker: DeviceId, peer: DeviceId, why: OpenRefusal) {
        match why {
            OpenRefusal::NotHere => self.counts.not_here += 1,
            OpenRefusal::Refused | OpenRefusal::Unknown(_) => self.counts.refused += 1,
            OpenRefusal::Limit => self.counts.over_limit += 1,
            OpenRefusal::Unsure => self.counts.unsure += 1,
        }
        self.send(asker, FromRelay::NotOpened { peer, why });
    }

    fn send_opened(&mut self, now: Duration, channel: &Channel, to: DeviceId) {
        let (mine, theirs) = channel.seen_from(to);
        let origin = self.origin(now, theirs.peer);
        self.send(
            to,
            FromRelay::Opened {
                peer: theirs.peer,
                channel: mine.name,
                origin,
            },
        );
    }

    /// Closes a channel that the peer no longer needs.
    pub(super) fn close(&mut self, peer: DeviceId, name: ChannelId) {
        let Some(channel) = self.channels.close(peer, name) else {
            return;
        };
        let (_, theirs) = channel.seen_from(peer);
        self.remove_routes(&channel);
        self.send_ended(theirs, ChannelEnd::Closed);
    }

    /// Ends all channels of a peer that is gone or has a new connection.
    pub(super) fn end_channels(&mut self, peer: DeviceId) {
        for channel in self.channels.leave(peer) {
            let (_, theirs) = channel.seen_from(peer);
            self.remove_routes(&channel);
            self.send_ended(theirs, ChannelEnd::PeerGone);
        }
    }

    /// Ends the idle channels.
    pub(super) fn end_idle(&mut self, now: Duration) {
        for channel in self.channels.idle(now) {
            self.remove_routes(&channel);
            channel
                .ends
                .into_iter()
                .for_each(|end| self.send_ended(end, ChannelEnd::Idle));
        }
    }

    fn send_ended(&mut self, end: End, why: ChannelEnd) {
        self.send(
            end.peer,
            FromRelay::Ended {
                channel: end.name,
                why,
            },
        );
    }

    /// Changes the routes of a peer whose address has changed.
    pub(super) fn move_routes(&mut self, peer: DeviceId) {
        let channels: Vec<_> = self.channels.of(peer).cloned().collect();
        for channel in &channels {
            self.set_routes(channel);
        }
    }

    fn set_routes(&mut self, channel: &Channel) {
        let [a, b] = channel.ends;
        for (from, to) in [(a, b), (b, a)] {
            let [sender, receiver] = [from, to].map(|end| {
                self.registry
                    .get(end.peer)
                    .expect("a peer that disconnects loses its channels")
            });
            let route = Route {
                channel: from.name,
                from: sender.frame_addr(),
                to: receiver.frame_addr(),
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
