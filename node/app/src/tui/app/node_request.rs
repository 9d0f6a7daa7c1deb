//! A request to the node, together with what the chat does with the answer.
//!
//! The answer's type follows from the request, so the compiler checks each pair. JSON becomes a
//! typed answer in this file only.

use std::fmt;

use hobnob::protocol::text::visible;
use hobnob_control::wire::{AnyRequest, Request};
use serde_json::Value;

use super::{App, Tone};

/// A request that waits to be sent.
pub(crate) struct NodeRequest {
    pub(crate) request: AnyRequest,
    pub(crate) handler: AnswerHandler,
}

impl NodeRequest {
    /// A request whose answer `take` receives. The chat shows a failure as a warning.
    pub(super) fn new<R: Request + 'static>(
        request: R,
        take: impl FnOnce(&mut App, R::Answer) + Send + 'static,
    ) -> NodeRequest {
        NodeRequest::with_cleanup(request, take, |_| {})
    }

    /// Like [`NodeRequest::new`]. After a failure, `clean_up` also runs, before the warning.
    pub(super) fn with_cleanup<R: Request + 'static>(
        request: R,
        take: impl FnOnce(&mut App, R::Answer) + Send + 'static,
        clean_up: impl FnOnce(&mut App) + Send + 'static,
    ) -> NodeRequest {
        let handle = move |app: &mut App, outcome: Outcome| match outcome.and_then(read::<R>) {
            Ok(answer) => take(app, answer),
            Err(error) => {
                clean_up(app);
                app.note(Tone::Warning, visible(&error));
            }
        };
        NodeRequest {
            request: request.into(),
            handler: AnswerHandler(Box::new(handle)),
        }
    }
}

impl fmt::Debug for NodeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// The answer of the node: the content of `ok`, or the text of the error.
pub(crate) type Outcome = Result<Value, String>;

/// The function that handles one answer.
pub(crate) struct AnswerHandler(Box<Handle>);

type Handle = dyn FnOnce(&mut App, Outcome) + Send;

impl AnswerHandler {
    pub(super) fn handle(self, app: &mut App, outcome: Outcome) {
        (self.0)(app, outcome);
    }
}

impl fmt::Debug for AnswerHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerHandler")
    }
}

fn read<R: Request>(value: Value) -> Result<R::Answer, String> {
    serde_json::from_value(value).map_err(|error| {
        format!(
            "the node's answer can't be read ({error}): it may be another version of hobnob; \
             restart it"
        )
    })
}
