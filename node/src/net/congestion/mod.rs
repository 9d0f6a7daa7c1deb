//! Congestion control that keeps queues short, so that a message need not wait behind a file.
//!
//! CUBIC (RFC 9438) puts more and more bytes in flight until packets are lost. Many home routers have
//! long queues. They are full by then, and every packet waits in them, whatever its priority at the
//! sender. So CUBIC's window is bounded here by the capacity of the path and a little more, which
//! [`Path`] measures. On a path with short queues, packets are lost before that, and CUBIC decides
//! alone.

mod path;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::Connection;
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{
    Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig,
};

use self::path::Path;

/// Makes a [`Bounded`] for each path of a connection.
#[derive(Debug, Default)]
pub(super) struct BoundedConfig {
    cubic: Arc<CubicConfig>,
}

/// CUBIC, bounded by the capacity of the path.
#[derive(Debug, Clone)]
struct Bounded {
    cubic: Cubic,
    path: Path,
    /// Set when nothing is held back any more. Copies share it.
    is_lifted: Arc<AtomicBool>,
}

/// Lifts the limits of a connection for its last packet. The caller closes the connection at once.
///
/// While the window is full, quinn holds back a CONNECTION_CLOSE, too. It never sends it then, since a
/// closed connection accepts no acknowledgements (quinn-rs/quinn#2785). Congestion control does not
/// apply to this packet (RFC 9002 section 2).
pub(super) fn lift(connection: &Connection) {
    let state = connection
        .congestion_state()
        .into_any()
        .downcast::<Bounded>();
    state
        .expect("every connection has this controller")
        .is_lifted
        .store(true, Ordering::Relaxed);
}

impl ControllerFactory for BoundedConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(self.cubic.clone(), now, mtu);
        Box::new(Bounded {
            cubic,
            path: Path::of_mtu(mtu),
            is_lifted: Arc::default(),
        })
    }
}

impl Controller for Bounded {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.path.acked(sent, bytes, app_limited);
        // A window that is not used says nothing about the path, so it must not grow (RFC 9002
        // section 7.8).
        let is_unused = self.cubic.window() / 2 > self.path.bound();
        self.cubic
            .on_ack(now, sent, bytes, app_limited || is_unused, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        _app_limited: bool,
        _largest: Option<u64>,
    ) {
        self.path.acks_end(now, in_flight);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent: bool,
        lost_bytes: u64,
    ) {
        self.cubic
            .on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.cubic.on_mtu_update(mtu);
        self.path.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        if self.is_lifted.load(Ordering::Relaxed) {
            return u64::MAX;
        }
        self.cubic.window().min(self.path.bound())
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
