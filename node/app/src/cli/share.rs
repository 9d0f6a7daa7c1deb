//! `hobnob share`: a link to a file, for people without hobnob.

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
    let uses = times.map(|times| match times {
        1 => "one download".to_owned(),
        times => format!("{times} downloads"),
    });
    let within = args.time.map(|time| format!("{} s", time.as_secs()));
    let until = match (uses, within) {
        (Some(uses), None) => uses,
        (Some(uses), Some(time)) => format!("{uses}, within {time}"),
        (None, Some(time)) => time,
        (None, None) => unreachable!("without a time, the number is limited"),
    };
    output::say(&format!(
        "The link works for {until}. {} Ctrl-C ends it.",
        who(args.anywhere)
    ));
    loop {
        let happened = tokio::select! {
            happened = share.next() => happened,
            () = signals.any() => None,
        };
        let Some(happened) = happened else { break };
        output::say(&sentence(&happened));
        if matches!(happened, Happened::Over(_)) {
            break;
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

fn sentence(happened: &Happened) -> String {
    match happened {
        Happened::Visited(ip) => format!("{ip} looks at the page"),
        Happened::Began(ip) => format!("{ip} downloads the file"),
        Happened::Downloaded { ip, left: None } => format!("{ip} has the file"),
        Happened::Downloaded {
            ip,
            left: Some(left),
        } => format!("{ip} has the file; downloads left: {left}"),
        Happened::Refused(ip) => {
            format!("refused {ip}, which is on no network of this machine (--anywhere permits it)")
        }
        Happened::Over(End::Used) => "the file was downloaded as often as permitted".to_owned(),
        Happened::Over(End::Expired) => "the time is over".to_owned(),
    }
}
