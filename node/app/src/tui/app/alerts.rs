//! Bells and desktop notifications for messages that arrive while nobody looks.

use hobnob::protocol::text::visible;
use hobnob_control::wire::{MessageLine, Time};

use crate::shared::settings::ScreenSettings;
use crate::shared::wording;
use crate::tui::text::fit;

/// Time between two alerts, so that a flood of messages rings once.
const ALERT_EVERY_MS: u64 = 2_000;

/// Columns of a message in a desktop notification.
const DESKTOP_COLUMNS: usize = 80;

/// A bell, a desktop notification, or both.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) bell: bool,
    pub(crate) desktop: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Alerts {
    bell: bool,
    notifications: bool,
    last: Time,
}

impl Alerts {
    pub(crate) fn new(settings: &ScreenSettings) -> Alerts {
        Alerts {
            bell: settings.bell,
            notifications: settings.notifications,
            last: Time(0),
        }
    }

    /// The alert for this message, unless alerts are off or the last one was just now.
    pub(crate) fn alert(&mut self, now: Time, message: &MessageLine) -> Option<Alert> {
        let is_on = self.bell || self.notifications;
        if !is_on || now.0.saturating_sub(self.last.0) < ALERT_EVERY_MS {
            return None;
        }
        self.last = now;
        // A desktop notification is written to the terminal, so nothing from a peer may be raw.
        let text = format!(
            "{}: {}",
            visible(&message.nick),
            wording::body(&message.body)
        );
        Some(Alert {
            bell: self.bell,
            desktop: self.notifications.then(|| fit(&text, DESKTOP_COLUMNS)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages;

    fn alerts(bell: bool, notifications: bool) -> Alerts {
        Alerts::new(&ScreenSettings {
            bell,
            notifications,
            ..ScreenSettings::default()
        })
    }

    fn message(text: &str) -> MessageLine {
        test_messages::message(1, text)
    }

    #[test]
    fn a_flood_of_messages_rings_once() {
        let mut alerts = alerts(true, false);
        let mut rings = |at| alerts.alert(Time(at), &message("hi")).is_some();
        assert!(rings(10_000) && !rings(11_999) && rings(12_000));
    }

    #[test]
    fn a_notification_is_safe_to_write_to_the_terminal() {
        let alert = alerts(false, true).alert(Time(10_000), &message("\u{1b}[2J two\nlines"));
        assert_eq!(
            alert.unwrap(),
            Alert {
                bell: false,
                desktop: Some("bob: ␛[2J two␊lines".into())
            }
        );
    }

    #[test]
    fn the_settings_can_turn_alerts_off() {
        let alert = alerts(false, false).alert(Time(10_000), &message("hi"));
        assert_eq!(alert, None);
    }
}
