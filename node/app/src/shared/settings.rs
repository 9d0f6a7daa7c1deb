//! Settings of the node and of the full-screen chat, from `config.toml` and the `HOBNOB_*` variables.
//! Flags override variables, variables override the file, and the file overrides the defaults.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use hobnob::protocol::{Nickname, RelayAddr, RoomName};
use hobnob::{
    AcceptFrom, BandwidthLimits, DirectWith, HoldFor, Proxy, ProxyConfig, ShareWith, Sharing,
};
use hobnob_control::Home;
use hobnob_control::wire::Text;
use hobnob_relay_app::PublicName;
use serde::Deserialize;

use super::erasing::KeepTime;
use super::exit_code::Usage;
use super::key_bindings::KeyBindings;
use super::speed::{Hours, Speed};
use super::values::Size;

/// Maximum size of a settings file in bytes. A larger file is an error.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Every setting with its meaning and its default. `hobnob config` prints it.
pub(crate) const DEFAULTS: &str = include_str!("config.toml");

/// The settings. None means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    pub(crate) nick: Option<Nickname>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) mdns: Option<bool>,
    pub(crate) relays: Option<Vec<Text<RelayAddr>>>,
    pub(crate) relay_token_file: Option<PathBuf>,
    pub(crate) proxy: Option<Text<Proxy>>,
    pub(crate) proxy_only: Option<bool>,
    pub(crate) port_mapping: Option<bool>,
    pub(crate) external_port: Option<NonZero<u16>>,
    pub(crate) contact_relays: Option<bool>,
    pub(crate) relay_for: Option<Text<RelayFor>>,
    pub(crate) relay_listen: Option<SocketAddr>,
    pub(crate) relay_name: Option<Text<PublicName>>,
    pub(crate) rooms: Option<Vec<Text<RoomName>>>,
    pub(crate) direct_with: Option<Text<DirectWith>>,
    share_typing: Option<Text<ShareWith>>,
    share_read: Option<Text<ShareWith>>,
    share_status: Option<Text<ShareWith>>,
    pub(crate) downloads: Option<PathBuf>,
    pub(crate) accept_from: Option<Vec<Text<AcceptFrom>>>,
    pub(crate) accept_max: Option<Text<Size>>,
    pub(crate) keep_executable: Option<bool>,
    pub(crate) download_limit: Option<Text<Speed>>,
    pub(crate) upload_limit: Option<Text<Speed>>,
    pub(crate) transfer_limit: Option<Text<Speed>>,
    pub(crate) limit_hours: Option<Text<Hours>>,
    pub(crate) keep: Option<Text<KeepTime>>,
    pub(crate) hold_for: Option<HeldFor>,
    pub(crate) hold_max: Option<Text<Size>>,
    pub(crate) highlight: Option<Vec<String>>,
    pub(crate) backup: Option<PathBuf>,
    pub(crate) backup_key: Option<String>,
    pub(crate) web: Option<SocketAddr>,
    pub(crate) irc: Option<SocketAddr>,
    pub(crate) lines: Option<SocketAddr>,
    bell: Option<bool>,
    notifications: Option<bool>,
    mouse: Option<bool>,
    sidebars: Option<Sidebars>,
    previews: Option<Previewed>,
    background: Option<Background>,
    keys: Option<KeyBindings>,
}

/// Whose mail the node holds: one word, or a list of contacts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WordOrList")]
pub(crate) struct HeldFor(pub(crate) HoldFor);

/// A text, or a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum WordOrList {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<WordOrList> for HeldFor {
    type Error = hobnob::NotHoldFor;

    fn try_from(value: WordOrList) -> Result<Self, Self::Error> {
        let hold_for = match value {
            WordOrList::Word(word) => word.parse()?,
            WordOrList::List(list) => {
                let peers = list.iter().map(|peer| peer.parse());
                HoldFor::These(peers.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self(hold_for))
    }
}

/// For whom the node is a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayFor {
    Contacts,
    Nobody,
}

impl FromStr for RelayFor {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "contacts" => Ok(RelayFor::Contacts),
            "nobody" => Ok(RelayFor::Nobody),
            _ => Err("one of these words was expected: contacts, nobody"),
        }
    }
}

/// The settings of the full-screen chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScreenSettings {
    /// Whether the terminal's bell rings.
    pub(crate) bell: bool,
    /// Whether the desktop shows notifications (OSC 9).
    pub(crate) notifications: bool,
    /// Whether the wheel scrolls from the start.
    pub(crate) mouse: bool,
    pub(crate) sidebars: Sidebars,
    pub(crate) previews: Previewed,
    pub(crate) background: Background,
    /// The keys with other actions than usual.
    pub(crate) keys: KeyBindings,
}

impl Default for ScreenSettings {
    fn default() -> Self {
        Settings::default().screen()
    }
}

/// The lists beside the messages that are shown at the start, where there is room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Sidebars {
    /// Depends on the width of the screen.
    Auto,
    Both,
    Conversations,
    People,
    None,
}

impl FromStr for Sidebars {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(match word {
            "auto" => Sidebars::Auto,
            "both" => Sidebars::Both,
            "conversations" => Sidebars::Conversations,
            "people" => Sidebars::People,
            "none" => Sidebars::None,
            _ => {
                return Err(
                    "one of these words was expected: auto, both, conversations, people, none",
                );
            }
        })
    }
}

impl TryFrom<String> for Sidebars {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

/// Whose pictures are shown as previews beside their offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Previewed {
    /// The user's own, and those of verified people.
    Verified,
    All,
    None,
}

impl FromStr for Previewed {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(match word {
            "verified" => Previewed::Verified,
            "all" => Previewed::All,
            "none" => Previewed::None,
            _ => return Err("one of these words was expected: verified, all, none"),
        })
    }
}

impl TryFrom<String> for Previewed {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

/// The background of the terminal, for which colours are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Background {
    /// What the terminal says in the variable COLORFGBG; dark if it says nothing.
    Auto,
    Dark,
    Light,
}

impl FromStr for Background {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(match word {
            "auto" => Background::Auto,
            "dark" => Background::Dark,
            "light" => Background::Light,
            _ => return Err("one of these words was expected: auto, dark, light"),
        })
    }
}

impl TryFrom<String> for Background {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

impl Settings {
    /// The settings of a home and of the environment.
    pub(crate) fn of(home: &Home) -> Result<Settings, Usage> {
        let file = read(home.config_file())?.unwrap_or_default();
        let variables =
            from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
        Ok(variables.over(file))
    }

    /// These settings, and `others` where these are not set.
    fn over(self, others: Settings) -> Settings {
        Settings {
            nick: self.nick.or(others.nick),
            listen: self.listen.or(others.listen),
            mdns: self.mdns.or(others.mdns),
            relays: self.relays.or(others.relays),
            relay_token_file: self.relay_token_file.or(others.relay_token_file),
            proxy: self.proxy.or(others.proxy),
            proxy_only: self.proxy_only.or(others.proxy_only),
            port_mapping: self.port_mapping.or(others.port_mapping),
            external_port: self.external_port.or(others.external_port),
            contact_relays: self.contact_relays.or(others.contact_relays),
            relay_for: self.relay_for.or(others.relay_for),
            relay_listen: self.relay_listen.or(others.relay_listen),
            relay_name: self.relay_name.or(others.relay_name),
            rooms: self.rooms.or(others.rooms),
            direct_with: self.direct_with.or(others.direct_with),
            share_typing: self.share_typing.or(others.share_typing),
            share_read: self.share_read.or(others.share_read),
            share_status: self.share_status.or(others.share_status),
            downloads: self.downloads.or(others.downloads),
            accept_from: self.accept_from.or(others.accept_from),
            accept_max: self.accept_max.or(others.accept_max),
            keep_executable: self.keep_executable.or(others.keep_executable),
            download_limit: self.download_limit.or(others.download_limit),
            upload_limit: self.upload_limit.or(others.upload_limit),
            transfer_limit: self.transfer_limit.or(others.transfer_limit),
            limit_hours: self.limit_hours.or(others.limit_hours),
            keep: self.keep.or(others.keep),
            hold_for: self.hold_for.or(others.hold_for),
            hold_max: self.hold_max.or(others.hold_max),
            highlight: self.highlight.or(others.highlight),
            backup: self.backup.or(others.backup),
            backup_key: self.backup_key.or(others.backup_key),
            web: self.web.or(others.web),
            irc: self.irc.or(others.irc),
            lines: self.lines.or(others.lines),
            bell: self.bell.or(others.bell),
            notifications: self.notifications.or(others.notifications),
            mouse: self.mouse.or(others.mouse),
            sidebars: self.sidebars.or(others.sidebars),
            previews: self.previews.or(others.previews),
            background: self.background.or(others.background),
            keys: self.keys.or(others.keys),
        }
    }

    /// Who sees what the user does.
    pub(crate) fn sharing(&self) -> Sharing {
        let default = Sharing::default();
        let with = |setting: Option<Text<ShareWith>>, default| setting.map_or(default, |it| it.0);
        Sharing {
            typing: with(self.share_typing, default.typing),
            read: with(self.share_read, default.read),
            status: with(self.share_status, default.status),
        }
    }

    /// The limits of the speed of file transfers.
    pub(crate) fn bandwidth(&self) -> BandwidthLimits {
        let speed = |limit: &Option<Text<Speed>>| limit.as_ref().map(|Text(speed)| speed.0);
        let applies = |Text(hours): &Text<Hours>| -> Arc<dyn Fn() -> bool + Send + Sync> {
            let hours = *hours;
            Arc::new(move || hours.are_now())
        };
        BandwidthLimits {
            download: speed(&self.download_limit),
            upload: speed(&self.upload_limit),
            each: speed(&self.transfer_limit),
            applies: self.limit_hours.as_ref().map(applies),
        }
    }

    /// The settings of the full-screen chat.
    pub(crate) fn screen(&self) -> ScreenSettings {
        ScreenSettings {
            bell: self.bell.unwrap_or(true),
            notifications: self.notifications.unwrap_or(true),
            mouse: self.mouse.unwrap_or(false),
            sidebars: self.sidebars.unwrap_or(Sidebars::Auto),
            previews: self.previews.unwrap_or(Previewed::Verified),
            background: self.background.unwrap_or(Background::Auto),
            keys: self.keys.clone().unwrap_or_default(),
        }
    }
}

/// The settings in a file, or none if the file does not exist.
fn read(path: &Path) -> Result<Option<Settings>, Usage> {
    let cant = |why: String| {
        Usage(format!(
            "can't read the settings in {}: {why}",
            path.display()
        ))
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cant(error.to_string())),
        Ok(file) if file.len() > FILE_BYTES_MAX => {
            return Err(cant(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|error| cant(error.to_string()))?;
    parse(&text).map(Some).map_err(|(line, why)| {
        Usage(format!(
            "{}, line {line}: {why} (`hobnob config` shows every setting)",
            path.display()
        ))
    })
}

/// Checks the text of a settings file.
#[cfg(feature = "web")]
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(text)
        .map(drop)
        .map_err(|(line, why)| format!("line {line}: {why}"))
}

/// The settings in a text, or the number of the wrong line and the reason.
fn parse(text: &str) -> Result<Settings, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        (line, error.message().trim().replace('\n', ", "))
    })
}

/// The settings of the environment. Commas separate the values of a list.
fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, Usage> {
    Ok(Settings {
        nick: one("HOBNOB_NICK", &variable, Nickname::new)?,
        listen: one("HOBNOB_LISTEN", &variable, SocketAddr::from_str)?,
        mdns: one("HOBNOB_MDNS", &variable, bool::from_str)?,
        relays: one("HOBNOB_RELAY", &variable, list)?,
        relay_token_file: variable("HOBNOB_RELAY_TOKEN_FILE").map(PathBuf::from),
        proxy: one("HOBNOB_PROXY", &variable, |word| word.parse().map(Text))?,
        proxy_only: one("HOBNOB_PROXY_ONLY", &variable, bool::from_str)?,
        port_mapping: one("HOBNOB_PORT_MAPPING", &variable, bool::from_str)?,
        external_port: one("HOBNOB_EXTERNAL_PORT", &variable, NonZero::from_str)?,
        contact_relays: one("HOBNOB_CONTACT_RELAYS", &variable, bool::from_str)?,
        relay_for: one("HOBNOB_RELAY_FOR", &variable, |word| word.parse().map(Text))?,
        relay_listen: one("HOBNOB_RELAY_LISTEN", &variable, SocketAddr::from_str)?,
        relay_name: one("HOBNOB_RELAY_NAME", &variable, |word| {
            word.parse().map(Text)
        })?,
        rooms: one("HOBNOB_ROOM", &variable, list)?,
        direct_with: one("HOBNOB_DIRECT_WITH", &variable, |word| {
            word.parse().map(Text)
        })?,
        share_typing: one("HOBNOB_SHARE_TYPING", &variable, |word| {
            word.parse().map(Text)
        })?,
        share_read: one("HOBNOB_SHARE_READ", &variable, |word| {
            word.parse().map(Text)
        })?,
        share_status: one("HOBNOB_SHARE_STATUS", &variable, |word| {
            word.parse().map(Text)
        })?,
        downloads: variable("HOBNOB_DOWNLOADS").map(PathBuf::from),
        accept_from: one("HOBNOB_ACCEPT_FROM", &variable, list)?,
        accept_max: one("HOBNOB_ACCEPT_MAX", &variable, |word| {
            word.parse().map(Text)
        })?,
        keep_executable: one("HOBNOB_KEEP_EXECUTABLE", &variable, bool::from_str)?,
        download_limit: one("HOBNOB_DOWNLOAD_LIMIT", &variable, |word| {
            word.parse().map(Text)
        })?,
        upload_limit: one("HOBNOB_UPLOAD_LIMIT", &variable, |word| {
            word.parse().map(Text)
        })?,
        transfer_limit: one("HOBNOB_TRANSFER_LIMIT", &variable, |word| {
            word.parse().map(Text)
        })?,
        limit_hours: one("HOBNOB_LIMIT_HOURS", &variable, |word| {
            word.parse().map(Text)
        })?,
        keep: one("HOBNOB_KEEP", &variable, |word| word.parse().map(Text))?,
        hold_for: one("HOBNOB_HOLD_FOR", &variable, |word| {
            word.parse().map(HeldFor)
        })?,
        hold_max: one("HOBNOB_HOLD_MAX", &variable, |word| word.parse().map(Text))?,
        highlight: variable("HOBNOB_HIGHLIGHT").map(|words| {
            let words = words.split(',').map(str::trim);
            words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        }),
        backup: variable("HOBNOB_BACKUP").map(PathBuf::from),
        backup_key: variable("HOBNOB_BACKUP_KEY"),
        web: one("HOBNOB_WEB", &variable, SocketAddr::from_str)?,
        irc: one("HOBNOB_IRC", &variable, SocketAddr::from_str)?,
        lines: one("HOBNOB_LINES", &variable, SocketAddr::from_str)?,
        bell: one("HOBNOB_BELL", &variable, bool::from_str)?,
        notifications: one("HOBNOB_NOTIFICATIONS", &variable, bool::from_str)?,
        mouse: one("HOBNOB_MOUSE", &variable, bool::from_str)?,
        sidebars: one("HOBNOB_SIDEBARS", &variable, Sidebars::from_str)?,
        previews: one("HOBNOB_PREVIEWS", &variable, Previewed::from_str)?,
        background: one("HOBNOB_BACKGROUND", &variable, Background::from_str)?,
        keys: one("HOBNOB_KEYS", &variable, KeyBindings::from_str)?,
    })
}

fn one<T, E: std::fmt::Display>(
    name: &str,
    variable: impl Fn(&str) -> Option<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Usage> {
    let value = variable(name).map(|word| parse(&word)).transpose();
    value.map_err(|error| Usage(format!("the variable {name}: {error}")))
}

fn list<T: FromStr>(words: &str) -> Result<Vec<Text<T>>, T::Err> {
    words
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map(Text))
        .collect()
}

/// The proxy that the usual variables name, and the hosts that are reached without it. A proxy of a
/// kind that hobnob does not use is ignored: the variables are for all programs.
pub(crate) fn proxy_of_variables(variable: impl Fn(&str) -> Option<String>) -> ProxyConfig {
    let first = |names: [&str; 4]| {
        let mut values = names.into_iter().filter_map(&variable);
        values.find(|value| !value.is_empty())
    };
    let named = first(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
    let excluded = ["NO_PROXY", "no_proxy"].into_iter().find_map(&variable);
    ProxyConfig {
        proxy: named.and_then(|text| text.parse().ok()),
        no_proxy: excluded.unwrap_or_default(),
        ..ProxyConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    /// The documented settings, without the `#` before each.
    fn uncommented() -> String {
        let setting = |line: &str| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = "))
                .map(str::to_owned)
        };
        DEFAULTS
            .lines()
            .map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n")
            .collect()
    }

    #[test]
    fn the_printed_defaults_set_nothing_and_document_every_setting() {
        assert_eq!(parse(DEFAULTS), Ok(Settings::default()));
        let documented = parse(&uncommented()).unwrap();
        let screen = ScreenSettings {
            keys: KeyBindings::default(),
            ..documented.screen()
        };
        assert_eq!(screen, ScreenSettings::default());
        let Settings {
            bell,
            notifications,
            mouse,
            sidebars,
            previews,
            background,
            keys,
            ..
        } = documented.clone();
        assert!(
            bell.is_some()
                && notifications.is_some()
                && mouse.is_some()
                && sidebars.is_some()
                && previews.is_some()
                && background.is_some()
                && keys.is_some_and(|keys| keys.names().count() == 2)
        );
        let Settings {
            nick,
            listen,
            mdns,
            relays,
            relay_token_file,
            proxy,
            proxy_only,
            port_mapping,
            external_port,
            rooms,
            direct_with,
            downloads,
            accept_from,
            accept_max,
            keep,
            hold_for,
            hold_max,
            highlight,
            backup,
            backup_key,
            web,
            download_limit,
            upload_limit,
            transfer_limit,
            limit_hours,
            ..
        } = documented;
        assert!(
            download_limit.is_some()
                && upload_limit.is_some()
                && transfer_limit.is_some()
                && limit_hours.is_some()
        );
        assert!(backup.is_some() && backup_key.is_some() && web.is_some());
        assert!(
            nick.is_some()
                && listen.is_some()
                && relays.is_some()
                && relay_token_file.is_some()
                && proxy.is_some()
                && rooms.is_some()
        );
        assert!(downloads.is_some() && accept_from.is_some() && keep.is_some());
        assert!(highlight.is_some());
        assert_eq!(accept_max, Some(Text(Size(20_000_000))));
        assert_eq!(hold_max, Some(Text(Size(500_000_000))));
        let both = HoldFor::These(vec!["bob".parse().unwrap(), "carol".parse().unwrap()]);
        assert_eq!(hold_for, Some(HeldFor(both)));
        for word in ["contacts", "nobody"] {
            let parsed = parse(&format!("hold-for = \"{word}\"")).unwrap();
            assert_eq!(parsed.hold_for.unwrap().0, word.parse().unwrap());
        }
        assert_eq!((mdns, proxy_only), (Some(true), Some(false)));
        assert_eq!((port_mapping, external_port.is_some()), (Some(true), true));
        assert_eq!(direct_with, Some(Text(DirectWith::default())));
    }

    #[test]
    fn the_usual_variables_name_a_proxy() {
        let proxy = |values: &[(&str, &str)]| {
            let of = |asked: &str| {
                let mut all = values.iter();
                all.find(|(name, _)| *name == asked)
                    .map(|(_, value)| (*value).to_owned())
            };
            let config = proxy_of_variables(of);
            (config.proxy.map(|proxy| proxy.to_string()), config.no_proxy)
        };
        let (named, excluded) = proxy(&[
            ("HTTPS_PROXY", ""),
            ("ALL_PROXY", "socks5://p:1080"),
            ("no_proxy", "localhost"),
        ]);
        assert_eq!(named.as_deref(), Some("socks5://p:1080"));
        assert_eq!(excluded, "localhost");
        assert_eq!(proxy(&[("https_proxy", "gopher://p")]).0, None);
    }

    /// A setting, as `hobnob config` prints it.
    struct Documented {
        /// The line of the comment above that names variable and flag.
        ways: String,
        /// Whether the section or the comment explains why there is no flag.
        without_flag: bool,
        key: String,
        value: toml::Value,
    }

    impl Documented {
        fn all() -> Vec<Documented> {
            let mut section = "";
            let of = |block: &'static str| {
                let setting = block
                    .trim_end()
                    .rsplit_once("\n# ")
                    .and_then(|(comment, line)| {
                        let (key, value) = toml::from_str::<toml::Table>(line)
                            .ok()?
                            .into_iter()
                            .next()?;
                        let without_flag = [comment, section]
                            .iter()
                            .any(|text| text.contains("no flags: "));
                        Some(Documented {
                            ways: comment.lines().last()?.to_owned(),
                            without_flag,
                            key,
                            value,
                        })
                    });
                if setting.is_none() {
                    section = block;
                }
                setting
            };
            DEFAULTS.split("\n\n").filter_map(of).collect()
        }

        /// The first word that begins with `beginning`.
        fn names(&self, beginning: &str) -> Option<String> {
            let mut words = self
                .ways
                .split(|letter: char| letter.is_whitespace() || ",.(".contains(letter));
            words
                .find(|word| word.starts_with(beginning))
                .map(str::to_owned)
        }

        /// As a line of the file.
        fn line(&self) -> String {
            let written = match (self.value.as_bool(), self.value.as_array()) {
                (Some(value), _) => value.to_string(),
                (None, _) if self.value.is_integer() => self.words()[0].clone(),
                (None, Some(_)) => format!("{:?}", self.words()),
                (None, None) => format!("{:?}", self.words()[0]),
            };
            format!("{} = {written}\n", self.key)
        }

        /// The words of its value: a variable has them with commas between, a flag takes each.
        fn words(&self) -> Vec<String> {
            let word = |value: &toml::Value| match (value.as_bool(), value.as_integer()) {
                (Some(value), _) => value.to_string(),
                (None, Some(value)) => value.to_string(),
                (None, None) => value
                    .as_str()
                    .unwrap_or_else(|| panic!("{}: add to this test how it is written", self.key))
                    .to_owned(),
            };
            self.value.as_array().map_or_else(
                || vec![word(&self.value)],
                |values| values.iter().map(word).collect(),
            )
        }

        /// The flags with the same effect.
        fn flags(&self) -> Option<Vec<String>> {
            let flag = self.names("--")?;
            Some(match self.value.as_bool() {
                Some(true) => vec![flag],
                Some(false) => vec![
                    self.names("--no-")
                        .unwrap_or_else(|| panic!("{}: no flag for false", self.key)),
                ],
                None => self
                    .words()
                    .into_iter()
                    .flat_map(|word| [flag.clone(), word])
                    .collect(),
            })
        }
    }

    /// The file, the variable and the flag that are named with a setting have the same effect. If
    /// there is no flag, the comment explains why.
    #[test]
    fn every_setting_can_be_set_by_a_variable_and_by_a_flag() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "for friends").unwrap();
        let home = Home::at(folder.path()).unwrap();
        let config = |file: &str, flags: &[String]| {
            std::fs::write(home.config_file(), file).unwrap();
            let line = ["hobnob".to_owned()]
                .into_iter()
                .chain(flags.iter().cloned());
            let args = args::parse(line).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
            format!("{:?}", args.flags.config(&home).unwrap())
        };
        let all = Documented::all();
        assert_eq!(
            all.len(),
            uncommented()
                .lines()
                .filter(|line| !line.starts_with('#') && line.contains(" = "))
                .count()
        );
        for mut setting in all {
            if setting.key.ends_with("-file") {
                setting.value = toml::Value::String(token.display().to_string());
            }
            let values = match setting.value.as_bool() {
                Some(_) => vec![true.into(), false.into()],
                None => vec![setting.value.clone()],
            };
            for value in values {
                setting.value = value;
                let line = setting.line();
                // A size says nothing alone.
                let beside = if setting.key == "accept-max" {
                    "accept-from = [\"verified\"]\n"
                } else {
                    ""
                };
                let name = setting
                    .names("HOBNOB_")
                    .unwrap_or_else(|| panic!("{}: no variable is named", setting.key));
                let of_variable =
                    from_variables(|asked| (asked == name).then(|| setting.words().join(",")))
                        .unwrap();
                assert_eq!(parse(&line), Ok(of_variable), "{name}");
                match setting.flags() {
                    Some(flags) => assert_eq!(
                        config(&(beside.to_owned() + &line), &[]),
                        config(beside, &flags),
                        "{flags:?}"
                    ),
                    None => assert!(
                        setting.without_flag,
                        "{}: neither a flag nor the reason why there is none",
                        setting.key
                    ),
                }
            }
        }
        let not = |flags: &[&str]| {
            config(
                "mdns = false\n",
                &flags
                    .iter()
                    .map(|flag| (*flag).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert!(not(&["--mdns"]).contains("mdns: true") && not(&[]).contains("mdns: false"));
        assert_eq!(
            (not(&["--mdns", "--no-mdns"]), not(&["--no-mdns", "--mdns"])),
            (not(&[]), not(&["--mdns"])),
            "the last one counts"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, says) in [
            ("mdns = true\n\nnik = \"ann\"\n", 3, "unknown field `nik`"),
            ("nick = \"ann\"\nmdns = \"yes\"\n", 2, "boolean"),
            (
                "mdns = true\nrelays = [\n  \"a.example:4627\",\n  \"b:0\",\n]\n",
                2,
                "\"b:0\" has no valid port",
            ),
            ("nick = \"ann\"\nnick = \"bob\"\n", 2, "duplicate"),
            ("nick = \"ann\n", 1, "string"),
            ("accept-from = [\"bob\"]\n", 1, "whole id, or `verified`"),
            ("\naccept-max = \"much\"\n", 2, "such as 20M"),
            (
                "direct-with = \"friends\"\n",
                1,
                "contacts, members, everyone, nobody",
            ),
            ("bell = true\n\nbel = true\n", 3, "unknown field `bel`"),
            (
                "mouse = false\nsidebars = \"left\"\n",
                2,
                "auto, both, conversations, people, none",
            ),
        ] {
            let (at, why) = parse(text).expect_err(text);
            assert!(
                at == line && why.contains(says),
                "{text:?}: line {at}: {why}"
            );
        }
    }

    #[test]
    fn variables_stand_over_the_file() {
        let file = parse("nick = \"ann\"\nmdns = false\nrooms = [\"ops\"]\n").unwrap();
        let variable = |name: &str| match name {
            "HOBNOB_NICK" => Some("bob".to_owned()),
            "HOBNOB_ROOM" => Some("dev, #chess".to_owned()),
            _ => None,
        };
        let settings = from_variables(variable).unwrap().over(file);
        let rooms = ["dev", "chess"]
            .map(|room| Text(room.parse().unwrap()))
            .to_vec();
        assert_eq!(
            (settings.nick, settings.mdns, settings.rooms),
            (Nickname::new("bob").ok(), Some(false), Some(rooms))
        );
        let screen = |name: &str| match name {
            "HOBNOB_SIDEBARS" => Some("people".to_owned()),
            "HOBNOB_BELL" | "HOBNOB_NOTIFICATIONS" => Some("false".to_owned()),
            "HOBNOB_MOUSE" => Some("true".to_owned()),
            "HOBNOB_PREVIEWS" => Some("all".to_owned()),
            "HOBNOB_BACKGROUND" => Some("light".to_owned()),
            "HOBNOB_KEYS" => Some("alt-u=next-unread".to_owned()),
            _ => None,
        };
        let settings = from_variables(screen)
            .unwrap()
            .over(parse("sidebars = \"none\"\nbell = true\n").unwrap());
        let ScreenSettings {
            bell,
            notifications,
            mouse,
            sidebars,
            previews,
            background,
            keys,
        } = settings.screen();
        assert_eq!(
            (bell, notifications, mouse, sidebars),
            (false, false, true, Sidebars::People)
        );
        assert_eq!((previews, background), (Previewed::All, Background::Light));
        assert_eq!(keys, "alt-u=next-unread".parse().unwrap());
        let wrong = |_: &str| Some("\u{1b}".to_owned());
        assert!(
            from_variables(wrong)
                .expect_err("no nickname")
                .to_string()
                .starts_with("the variable HOBNOB_NICK: ")
        );
    }
}
