//! The look-up of the peer that a target names: by name, id, address, ticket or relay.
//!
//! It is done in the caller's task, because the engine never waits.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_core::peers::ResolveError;
use hobnob_protocol::{HostPort, PersonId, RelayAddr, Target, Ticket};

use crate::engine::Command;
use crate::{Node, SendError};

/// How long after its start a node waits for discovery before it reports a name as unknown.
const DISCOVERY: Duration = Duration::from_secs(3);

impl Node {
    /// Returns the peer that a target names. An address is dialed. Names are looked up as in
    /// [`Node::send`].
    pub async fn resolve(&self, target: Target) -> Result<PersonId, SendError> {
        match target {
            Target::Name(name) => self.resolve_name(name).await,
            Target::Id(peer) => self.resolve_id(peer).await,
            Target::Address(at) => self.resolve_address(at).await,
            Target::Ticket(ticket) => self.resolve_ticket(ticket).await,
            Target::AtRelay(peer, at) => {
                self.reach(peer, Vec::new(), vec![RelayAddr { id: None, at }])
                    .await
            }
        }
    }

    async fn resolve_name(&self, name: String) -> Result<PersonId, SendError> {
        let found = self
            .until_known(|| async {
                match self
                    .ask(|reply| Command::Resolve {
                        name: name.clone(),
                        reply,
                    })
                    .await
                {
                    Ok(Err(unknown @ ResolveError::Unknown { .. })) => {
                        Err(SendError::from(unknown))
                    }
                    Ok(Ok(peer)) => Ok(Ok(peer)),
                    Ok(Err(error)) => Ok(Err(error.into())),
                    Err(_) => Ok(Err(SendError::Stopped)),
                }
            })
            .await;
        found?
    }

    async fn resolve_id(&self, peer: PersonId) -> Result<PersonId, SendError> {
        if peer == self.id {
            return Err(SendError::Myself);
        }
        let known = async || {
            self.ask(|reply| Command::IsKnown { peer, reply })
                .await
                .unwrap_or(false)
        };
        self.until_known(|| async {
            if known().await {
                Ok(peer)
            } else {
                Err(SendError::UnknownId(peer))
            }
        })
        .await
    }

    /// Tries again whenever a peer appears, until the attempt succeeds or discovery has had its time.
    async fn until_known<T, F: Future<Output = Result<T, SendError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, SendError> {
        let deadline = self.clock.at(DISCOVERY);
        let mut met = self.met.clone();
        loop {
            met.borrow_and_update();
            let found = attempt().await;
            if found.is_ok() {
                return found;
            }
            match tokio::time::timeout_at(deadline, met.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return found,
            }
        }
    }

    async fn resolve_address(&self, at: HostPort) -> Result<PersonId, SendError> {
        let mut failure = None;
        for addr in self.look_up(&at).await? {
            match self
                .ask(|reply| Command::Dial {
                    addr,
                    expected: None,
                    reply,
                })
                .await?
            {
                Ok(peer) => return Ok(peer),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or(SendError::Host {
            host: at.host,
            why: "it has no address".to_owned(),
        }))
    }

    async fn resolve_ticket(&self, ticket: Ticket) -> Result<PersonId, SendError> {
        if ticket.id == self.id {
            return Err(SendError::Myself);
        }
        if !ticket.relays.is_empty() {
            return self
                .reach(
                    ticket.id,
                    self.look_up_all(&ticket.addrs).await,
                    ticket.relays,
                )
                .await;
        }
        let mut failure = None;
        for at in &ticket.addrs {
            for addr in self.look_up(at).await.unwrap_or_default() {
                match self
                    .ask(|reply| Command::Dial {
                        addr,
                        expected: Some(ticket.id),
                        reply,
                    })
                    .await?
                {
                    Ok(peer) => return Ok(peer),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        match failure {
            Some(mismatch @ SendError::IdentityMismatch { .. }) => Err(mismatch),
            // The ticket has the id, so a message can wait until the peer is there.
            Some(_) | None => Ok(ticket.id),
        }
    }

    /// Makes a peer at a relay known. Its id is certain, so a message can wait until it is there.
    pub(crate) async fn reach(
        &self,
        peer: PersonId,
        addrs: Vec<SocketAddr>,
        relays: Vec<RelayAddr>,
    ) -> Result<PersonId, SendError> {
        if peer == self.id {
            return Err(SendError::Myself);
        }
        self.ask(|reply| Command::Reach {
            peer,
            addrs,
            relays,
            reply,
        })
        .await?;
        Ok(peer)
    }

    /// The addresses of a host name, by the system's resolver, or the address itself. If only the
    /// proxy may be used, no name is looked up.
    pub(crate) async fn look_up(&self, at: &HostPort) -> Result<Vec<SocketAddr>, SendError> {
        let unknown = |why: String| SendError::Host {
            host: at.host.clone(),
            why,
        };
        let is_name = || {
            let host = at.host.split('%').next().unwrap_or_default();
            host.parse::<IpAddr>().is_err()
        };
        if self.proxy_only && is_name() {
            let why = "with proxy-only, no name is looked up outside the proxy";
            return Err(unknown(why.to_owned()));
        }
        let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
        let found = found.map_err(|error| unknown(error.to_string()))?;
        Ok(found.take(ADDRS_MAX).collect())
    }

    /// The addresses of several hosts, as far as they can be looked up.
    pub(crate) async fn look_up_all(&self, hosts: &[HostPort]) -> Vec<SocketAddr> {
        let mut addrs = Vec::new();
        for at in hosts {
            addrs.extend(self.look_up(at).await.unwrap_or_default());
        }
        addrs
    }
}

/// Addresses of a name that are used.
const ADDRS_MAX: usize = 8;
