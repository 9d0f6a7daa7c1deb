//! The link to a relay of a fleet: how the relay shows that it is a member, and how this node registers
//! there.

use std::sync::atomic::Ordering;

use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::Checked;
use hobnob_protocol::relay::{FromRelay, ToRelay, close, features};
use hobnob_protocol::{DeviceId, RoomTag};
use tokio::time::timeout;

use super::connected::Connected;
use super::error::LinkDown;
use super::race::{DIAL_LIMIT, Shaken, Way, dial};
use super::{LinkEvent, RelayLink, tags};
use crate::net::close::hang_up;
use crate::net::endpoint::Endpoint;
use hobnob_core::Rng;

impl RelayLink {
    /// Whether a relay that proves another identity than the expected one is asked for the list of its
    /// fleet. It learns this node's identity, so others are not asked.
    pub(super) fn may_be_fleet(&self) -> bool {
        self.config.may_be_fleet || self.config.fleet.is_some()
    }

    /// Another identity than the expected one answers by this way. It may be that of a member of a
    /// fleet, if the expected one is the fleet's. Then the relay shows the fleet's signed list.
    pub(super) fn fleet_or_other(
        &mut self,
        way: Way,
        expected: DeviceId,
        found: DeviceId,
    ) -> impl Future<Output = (Way, Result<Shaken, LinkDown>)> + Send + use<> {
        let (endpoint, rng) = (self.endpoint.clone(), Rng::new(self.rng.draw()));
        let (relay, member_of) = (self.config.relay, self.config.fleet);
        let events = self.events.clone();
        async move {
            let fleet = member_of.unwrap_or(expected);
            let other = LinkDown::Identity { expected, found };
            let down = match list_of(&endpoint, fleet, &way, found, rng).await {
                Some(list) if member_of.is_none() => LinkDown::Fleet(Box::new(list)),
                Some(list) => {
                    // The address of a member has passed to another one. If this list is newer, the
                    // member's link learns its new address.
                    let list = FromRelay::FleetList(Some(list.signed().clone()));
                    // Nobody listens when the node stops.
                    let _stopping = events.send((relay, LinkEvent::Received(list))).await;
                    other
                }
                None => other,
            };
            (way, Err(down))
        }
    }

    /// The abilities that this node names in its registration.
    pub(super) fn features(&self) -> u64 {
        let mut bits = 0;
        if self.config.guest.load(Ordering::Relaxed) {
            bits |= features::GUEST;
        }
        if self.config.fleet.is_some() {
            bits |= features::FLEET;
            if self.config.visiting {
                bits |= features::VISITOR;
            }
        } else {
            bits |= features::SLEEP;
        }
        bits
    }

    /// The names of this node's rooms at the relay. The relays of a fleet know a room by the same name.
    /// A relay that this node only visits learns none.
    pub(super) fn room_tags(&self, relay: DeviceId) -> Vec<RoomTag> {
        if self.config.visiting {
            return Vec::new();
        }
        tags(&self.rooms, self.config.fleet.unwrap_or(relay))
    }
}

/// The list of a fleet, if the relay with the identity `found` has it and is on it. The relay learns
/// nothing about this node but its identity.
async fn list_of(
    endpoint: &Endpoint,
    fleet: DeviceId,
    way: &Way,
    found: DeviceId,
    rng: Rng,
) -> Option<Checked<FleetList>> {
    let asking = async {
        let shaken = dial(endpoint, Some(found), way, rng).await.ok()?;
        let connection = shaken.connection.clone();
        let mut connected = Connected::open(shaken).await.ok()?;
        connected.send(&ToRelay::FleetList(0)).await.ok()?;
        let answer = connected.next().await.ok()?;
        hang_up(&connection, close::BYE, "");
        match answer {
            FromRelay::FleetList(list) => list,
            FromRelay::Welcome(_)
            | FromRelay::Roster(_)
            | FromRelay::Opened { .. }
            | FromRelay::NotOpened { .. }
            | FromRelay::Ended { .. }
            | FromRelay::Observed(_)
            | FromRelay::DialedBack { .. }
            | FromRelay::Invitation(..)
            | FromRelay::Elsewhere { .. }
            | FromRelay::MaySleep { .. }
            | FromRelay::Sleep { .. }
            | FromRelay::Unknown(_) => None,
        }
    };
    let list = timeout(DIAL_LIMIT, asking).await.ok()??;
    let list = list.check::<FleetList>(fleet).ok()?;
    let is_usable = !list.record().needs_newer_version() && list.record().member(found).is_some();
    is_usable.then_some(list)
}
