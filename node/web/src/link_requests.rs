//! Requests about links to files that the page makes: each is a [`Share`] of a file that the browser has
//! sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use hobnob_control::wire::{Done, Right};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::body::{Content, checked_name, create_file, pass};
use crate::clock;
use crate::folder::read_line;
use crate::kept_uploads;
use crate::links::{LINKS_MAX, Link, Links};
use crate::response::{HttpError, authorized, json};
use crate::share::{End, Happened, Share, ShareConfig};
use crate::shared::Shared;
use crate::tokens::after;
use crate::upload::Stored;

/// How long a request for news waits, so that a browser that has gone is noticed.
const NEWS_WITHIN: Duration = Duration::from_secs(60);

/// The line before the content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    name: String,
    /// How many downloads may begin. None: any number, and then it needs a time.
    times: Option<u32>,
    /// For how many seconds it works.
    seconds: Option<u64>,
    /// Whether people on other networks than those of this machine may use it.
    #[serde(default)]
    anywhere: bool,
}

/// Makes a link. The body has a line of JSON, and then the content of the file.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let links = &shared.links;
    let busy = || HttpError::busy(format!("{LINKS_MAX} links work already: end one first"));
    let begun = links.begin().ok_or_else(busy)?;
    let stored = Stored::create(&links.folder, "file").map_err(HttpError::fault)?;
    let (told, head) = tokio::sync::oneshot::channel();
    let path = stored.path.clone();
    let store = move |mut content: Content| {
        let head: NewLink = read_line(&mut content)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the body is empty"))?;
        let mut file = create_file(&path)?;
        io::copy(&mut content, &mut file)?;
        let _request_has_gone = told.send(head);
        Ok(())
    };
    pass(body, kept_uploads::BYTES_MAX, store).await?;
    let new = head.await.map_err(HttpError::fault)?;
    if new.times == Some(0) || new.times.is_none() && new.seconds.is_none() {
        return Err(HttpError::usage(
            "a link needs a number of downloads or a time",
        ));
    }
    let named = stored.path.with_file_name(checked_name(&new.name)?);
    std::fs::rename(&stored.path, &named).map_err(HttpError::fault)?;
    let time = new.seconds.map(Duration::from_secs);
    let share = Share::start(ShareConfig {
        path: named,
        addr: None,
        times: new.times,
        time,
        anywhere: new.anywhere,
    });
    let share = share.await.map_err(HttpError::fault)?;
    let stop = shared.stop.child_token();
    let file = share.file();
    let link = links.add(|number| Link {
        number,
        name: file.name.clone(),
        size: file.size,
        sha256: file.sha256.clone(),
        blake3: file.blake3.clone(),
        links: share.links().to_vec(),
        fingerprint: share.fingerprint().to_owned(),
        left: new.times,
        downloads: 0,
        until: time.map(|time| after(clock::now_ms(), time)),
        anywhere: new.anywhere,
        ended: None,
        stop: stop.clone(),
    });
    drop(begun);
    let answer = json(&link);
    let follower = Arc::clone(&shared);
    shared.tasks.spawn(async move {
        follow(&follower.links, link.number, share, stop).await;
        drop(stored);
    });
    Ok(answer)
}

/// Keeps the list up to date until the link ends.
async fn follow(links: &Links, number: u64, mut share: Share, stop: CancellationToken) {
    let ended = loop {
        let happened = tokio::select! {
            happened = share.next() => happened,
            () = stop.cancelled() => break "stopped",
        };
        match happened {
            Some(Happened::Downloaded { left, .. }) => links.change(number, |link| {
                link.left = left;
                link.downloads += 1;
            }),
            Some(Happened::Visited(_) | Happened::Began(_) | Happened::Refused(_)) => {}
            Some(Happened::Over(End::Used)) => break "used",
            Some(Happened::Over(End::Expired)) => break "expired",
            None => break "stopped",
        }
    };
    share.stop().await;
    links.change(number, |link| link.ended = Some(ended));
}

/// The links, and how many changes there were.
#[derive(Serialize)]
struct LinkList {
    seen: u64,
    links: Vec<Link>,
}

/// The links, once there were other than `seen` changes. Without news, it answers after a minute.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Path(seen): Path<u64>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let mut changes = shared.links.changes();
    tokio::select! {
        _ = changes.wait_for(|count| *count != seen) => {}
        () = tokio::time::sleep(NEWS_WITHIN) => {}
        () = shared.stop.cancelled() => {}
    }
    let seen = *changes.borrow();
    let links = shared.links.list();
    Ok(json(&LinkList { seen, links }))
}

/// Ends a link, or removes one that has ended from the list.
pub(crate) async fn end(
    State(shared): State<Arc<Shared>>,
    Path(number): Path<u64>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    match shared.links.end(number) {
        true => Ok(json(&Done {})),
        false => Err(HttpError::usage("there is no such link any more")),
    }
}
