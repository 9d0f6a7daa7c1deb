//! `hobnob share`: a link to a file, for people without hobnob.

use std::net::IpAddr;

use hobnob_local::signals::Signals;
use hobnob_web::share::{End, Happened, Share, ShareConfig};
use serde_json::json;

use super::args::ShareArgs;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::{qr, wording};

/// Shares a file until it was downloaded often enough, its time is over, or a signal arrives.
pub(crate) async fn share(out: Output, args: ShareArgs) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    // A link without any limit would be forgotten, and stay.
    let times = args.times.or(args.time.is_none().then_some(1));
    let config = ShareConfig {
        path: args.file,
        addr: args.address,
        times,
        time: args.time,
        anywhere: args.anywhere,
    };
    let mut share = tokio::select! {
        share = Share::start(config) => share?,
        () = signals.any() => return Ok(Exit::Done),
    };
    announce(&share, out)?;
    let until = match (times, args.time) {
        (Some(1), None) => "The link works for one download.".to_owned(),
        (Some(times), None) => format!("The link works for {times} downloads."),
        (Some(1), Some(time)) => {
            format!(
                "The link works for one download, within {} s.",
                time.as_secs()
            )
        }
        (Some(times), Some(time)) => {
            format!(
                "The link works for {times} downloads, within {} s.",
                time.as_secs()
            )
        }
        (None, Some(time)) => format!("The link works for {} s.", time.as_secs()),
        (None, None) => unreachable!("without a time, the number is limited"),
    };
    output::say(&format!("{until} {} Ctrl-C ends it.", who(args.anywhere)));
    loop {
        let happened = tokio::select! {
            happened = share.next() => happened,
            () = signals.any() => None,
        };
        match happened {
            Some(Happened::Over(End::Used)) | None => break,
            Some(Happened::Over(End::Expired)) => {
                output::say("The time is over.");
                break;
            }
            Some(happened) => output::say(&sentence(happened)),
        }
    }
    share.stop().await;
    Ok(Exit::Done)
}

fn who(anywhere: bool) -> &'static str {
    if anywhere {
        "Everybody who reaches this machine can use it."
    } else {
        "People on the networks of this machine can use it."
    }
}

/// Prints the links, the QR code, and what the other side compares.
fn announce(share: &Share, out: Output) -> anyhow::Result<()> {
    let file = share.file();
    if out.json {
        let about = json!({
            "links": share.links(),
            "fingerprint": share.fingerprint(),
            "name": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "blake3": file.blake3,
        });
        output::raw(&hobnob_control::wire::to_line(&about))?;
        return Ok(());
    }
    for link in share.links() {
        output::line(link)?;
    }
    let first = share.links().first();
    for line in first.map(|link| qr::lines(link)).unwrap_or_default() {
        output::say_on_terminal(&line);
    }
    let name = hobnob::protocol::text::visible(&file.name);
    output::say(&format!("{name}, {}", wording::size(file.size)));
    output::say(&format!("SHA-256 {}", file.sha256));
    output::say(&format!("BLAKE3  {}", file.blake3));
    output::say(&format!(
        "The browser warns about the certificate. Its SHA-256 fingerprint must be\n{}",
        share.fingerprint()
    ));
    Ok(())
}

fn sentence(happened: Happened) -> String {
    let of = |ip: IpAddr| ip.to_string();
    match happened {
        Happened::Visited(ip) => format!("{} looks at the page", of(ip)),
        Happened::Began(ip) => format!("{} downloads the file", of(ip)),
        Happened::Downloaded { ip, left: None } => format!("{} has the file", of(ip)),
        Happened::Downloaded {
            ip,
            left: Some(left),
        } => format!("{} has the file; downloads left: {left}", of(ip)),
        Happened::Refused(ip) => format!(
            "refused {}, which is on no network of this machine (--anywhere permits it)",
            of(ip)
        ),
        Happened::Over(End::Used) => "the file was downloaded as often as permitted".to_owned(),
        Happened::Over(End::Expired) => "the time is over".to_owned(),
    }
}
