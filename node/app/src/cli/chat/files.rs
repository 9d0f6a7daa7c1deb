//! Files in the line chat: offer, list, accept, decline; and the profile picture.

use hobnob::MessageId;
use hobnob_control::wire::{
    AcceptFile, Base64, DeclineFile, Done, FileLine, FileList, ListFiles, OfferFile, PauseFile,
    Request, SetPicture, Text, WaitOptions,
};
use hobnob_control::{Client, ClientError};

use super::{Chat, Reply};
use crate::shared::chat_input::To;
use crate::shared::typed_path::{PathWord, Places};
use crate::shared::values::ConversationArg;
use crate::shared::wording::{self, Names};
use crate::shared::{offers, policy};
use crate::tui;

impl Chat {
    /// Offers a file. The answer arrives once the file has been read.
    pub(super) async fn offer(&mut self, client: &Client, to: Option<To>, word: &PathWord) {
        let path = Places::here().path(word);
        let (target, room) = match to {
            Some(to) => to.fields(),
            None => ConversationArg::from(self.current.clone()).fields(),
        };
        let request = OfferFile {
            caption: String::new(),
            client_id: None,
            target,
            room,
            path,
            options: WaitOptions::ON_DISK,
        };
        self.begin(client, request, Reply::Sent).await;
    }

    /// Sets the profile picture, or removes it.
    pub(super) fn picture(&mut self, client: &Client, word: Option<PathWord>) {
        let client = client.clone();
        self.replies.spawn(async move {
            let chosen = match word {
                Some(word) => tui::profile_picture(Places::here().path(&word))
                    .await
                    .map(Some),
                None => Ok(None),
            };
            let bytes = match chosen {
                Ok(file) => file.map(Base64),
                Err(why) => return Reply::Error(why),
            };
            let done = policy::picture_set(bytes.is_some());
            match client.ask(SetPicture { bytes }).await {
                Ok(Done {}) => Reply::Lines(vec![done.to_owned()]),
                Err(error) => Reply::Error(error.to_string()),
            }
        });
    }

    /// Lists the files of all conversations, because the line chat shows all conversations.
    pub(super) fn files(&mut self, client: &Client) {
        let client = client.clone();
        self.replies.spawn(async move {
            match tokio::try_join!(client.ask(ListFiles {}), Names::ask(&client)) {
                Ok((FileList { files }, _)) if files.is_empty() => {
                    Reply::Lines(vec!["no files have been offered".to_owned()])
                }
                Ok((FileList { files }, names)) => Reply::Lines(wording::files(&files, &names)),
                Err(error) => Reply::Error(error.to_string()),
            }
        });
    }

    pub(super) fn accept(&mut self, client: &Client, word: Option<String>) {
        let accepted = |file| {
            (
                AcceptFile { offer: file },
                "accepted: the transfer starts when somebody who has it is connected",
            )
        };
        self.decide(client, word, "accept", offers::waits_for_answer, accepted);
    }

    pub(super) fn pause(&mut self, client: &Client, word: Option<String>) {
        let paused = |file| (PauseFile { offer: file }, "paused: /resume continues it");
        self.decide(client, word, "pause", offers::can_pause, paused);
    }

    pub(super) fn decline(&mut self, client: &Client, word: Option<String>) {
        let declined = |file| {
            (
                DeclineFile { offer: file },
                "declined; the other side learns of it",
            )
        };
        self.decide(client, word, "decline", offers::can_end, declined);
    }

    /// Finds the file by `word`, or the only one that `fits`. Events report its progress.
    fn decide<R: Request<Answer = Done> + Send + 'static>(
        &mut self,
        client: &Client,
        word: Option<String>,
        verb: &'static str,
        fits: fn(&FileLine) -> bool,
        then: impl FnOnce(Text<MessageId>) -> (R, &'static str) + Send + 'static,
    ) {
        let client = client.clone();
        self.replies.spawn(async move {
            let decided = async {
                let FileList { files } = client.ask(ListFiles {}).await?;
                let file = match offers::meant(files.iter(), word.as_deref(), verb, fits) {
                    Ok(file) => file,
                    Err(error) => return Ok(Reply::Error(error)),
                };
                let (request, words) = then(Text(file));
                let Done {} = client.ask(request).await?;
                Ok::<_, ClientError>(Reply::Lines(vec![words.to_owned()]))
            };
            decided
                .await
                .unwrap_or_else(|error| Reply::Error(error.to_string()))
        });
    }
}
